//! The demo, driven as a program drives it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::page::Page;
use tests::plain_http;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::world::until_shown;

const READY: Duration = Duration::from_secs(120);
const ENDS: Duration = Duration::from_secs(20);

async fn started(folder: &std::path::Path) -> Result<(Child, Value)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command
        .args(["--headless", "--json", "--no-build", "--dir"])
        .arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let line = tokio::time::timeout(READY, lines.next_line())
        .await
        .context("the demo is not ready")??;
    let places = serde_json::from_str(&line.context("the demo ended before it was ready")?)?;
    Ok((child, places))
}

/// The command lines of every process that mentions the folder.
fn still_running(folder: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(words) = std::fs::read(entry?.path().join("cmdline")) else {
            continue;
        };
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.contains(folder) {
            found.push(words);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn the_demo_shows_a_day_cuts_and_restores_the_line_and_ends_cleanly() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("mainstay-test-").tempdir()?;
    let home = folder.path().join("demo");
    let (mut demo, places) = started(&home).await?;
    let place = |name: &str| places[name].as_str().with_context(|| format!("no {name} in {places}"));
    let mut desk = Page::at(place("page")?)?;
    let sign_in = &places["sign_in"];
    desk.sign_in(
        sign_in["login"].as_str().unwrap_or_default(),
        sign_in["passphrase"].as_str().unwrap_or_default(),
    )
    .await?;
    let set_line = async |up: bool| -> Result<()> {
        let wanted = json!({ "site": places["site"], "up": up });
        let reply = plain_http()?
            .post(format!("{}/line", place("control")?))
            .json(&wanted)
            .send()
            .await?;
        ensure!(
            reply.status().is_success(),
            "the control page answered {}",
            reply.status()
        );
        Ok(())
    };

    let people = desk.open("/board").await?.texts("tr.visit").len();
    let _open = desk.stay_open().await?;
    set_line(false).await?;
    until_shown(&mut desk, "/banner", "Cut off since", Duration::from_secs(5)).await?;
    set_line(true).await?;
    tests::until(
        Duration::from_secs(30),
        "the banner to say that the line is back",
        async || Ok((!desk.open("/banner").await?.text().contains("Cut off")).then_some(())),
    )
    .await?;
    let id = Pid::from_raw(i32::try_from(demo.id().context("the demo has ended")?)?).context("no process id")?;
    kill_process(id, Signal::TERM)?;
    let status = tokio::time::timeout(ENDS, demo.wait())
        .await
        .context("the demo does not end")??;

    assert!(people >= 8, "only {people} people on the board");
    assert!(status.success(), "{status}");
    assert_eq!(still_running(&home.to_string_lossy())?, [] as [String; 0]);
    Ok(())
}

#[tokio::test]
async fn the_demo_refuses_a_folder_that_holds_something() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("agent.toml"), "")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command
        .args(["--headless", "--json", "--no-build", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null());

    let refused = command.output().await?;

    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not empty"));
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
    Ok(())
}
