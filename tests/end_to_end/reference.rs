//! Reference data: loaded at the hub, searched at the site, also with the hub dead and the line cut.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::house::Target;
use tests::page::{Page, View};

use crate::world::{World, until_shown};

const ARRIVES: Duration = Duration::from_secs(40);

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../config/reference")
        .join(name)
}

async fn load(world: &World, set: &str, file: &Path) -> Result<Value> {
    let file = file.to_str().context("the file's name is not UTF-8")?;
    world.hub.answer(&["reference", "load", set, file, "--json"]).await
}

async fn search(desk: &mut Page, place: &str, words: &str) -> Result<View> {
    let page = desk.open("/reference").await?;
    let form = page.form_to("/reference/search")?;
    desk.submit(&form, &[("place", place), ("q", words)]).await
}

async fn until_searched(world: &World, set: &str, version: &str, patience: Duration) -> Result<()> {
    let what = format!("{set} {version} to be searched");
    let is_it = |status: &Value| {
        let sets = status["references"].as_array().cloned().unwrap_or_default();
        sets.iter()
            .any(|one| one["set"] == set && one["searched"] == version && one["state"] == "current")
    };
    world.until_status(&what, patience, is_it).await?;
    Ok(())
}

#[tokio::test]
async fn sets_are_shown_and_searched_at_the_site_with_the_hub_dead_and_the_line_cut() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let loaded = load(&world, "icd-10-cm", &sample("icd-10-cm.txt")).await?;
    for (set, name) in [
        ("cvx", "cvx.txt"),
        ("providers", "providers.csv"),
        ("payers", "payers.csv"),
        ("forms", "forms.csv"),
    ] {
        load(&world, set, &sample(name)).await?;
    }
    let version = loaded["version"].as_str().context("no version")?.to_owned();
    until_searched(&world, "icd-10-cm", &version, ARRIVES).await?;
    let mut desk = world.desk().await?;
    let page = until_shown(&mut desk, "/reference", "Vaccines (CVX)", ARRIVES).await?;
    assert!(
        page.text().contains(&version) && page.text().contains("icd-10-cm.txt"),
        "{}",
        page.text()
    );

    // The last that was loaded.
    let link = tests::until(ARRIVES, "the form to be listed", async || {
        let forms = search(&mut desk, "forms", "downtime").await?;
        let links = forms.attributes("a[href^='/reference/forms/']", "href");
        Ok(links.into_iter().next())
    })
    .await?;
    let form = tests::until(ARRIVES, "the form to be here", async || desk.fetch(&link).await).await?;
    assert!(form.starts_with(b"ARRIVAL DURING DOWNTIME"));

    world.hub.kill9().await?;
    world.line.cut().await?;

    let found = search(&mut desk, "icd-10-cm", "acute pharyn").await?;
    assert_eq!(found.texts("#reference-found tbody th"), ["J02.9"], "{}", found.text());
    let found = search(&mut desk, "icd-10-cm", "s934").await?;
    assert_eq!(found.texts("#reference-found tbody th").len(), 2, "{}", found.text());
    assert!(
        search(&mut desk, "providers", "pediatrics")
            .await?
            .text()
            .contains("Dufresne, Noor")
    );
    assert!(search(&mut desk, "payers", "").await?.text().contains("8 found"));
    assert!(
        search(&mut desk, "icd-10-cm", "nothing such")
            .await?
            .text()
            .contains("Nothing found")
    );
    Ok(())
}

#[tokio::test]
async fn a_new_version_replaces_the_old_one_and_a_broken_file_leaves_what_stands() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("codes.txt");
    std::fs::write(&file, "J029    Acute pharyngitis, unspecified\n")?;
    let first = load(&world, "icd-10-cm", &file).await?;
    let again = load(&world, "icd-10-cm", &file).await?;
    assert_eq!(
        (again["written"].as_u64(), &again["version"]),
        (Some(0), &first["version"])
    );
    let first = first["version"].as_str().context("no version")?;
    until_searched(&world, "icd-10-cm", first, ARRIVES).await?;

    std::fs::write(&file, "J029    Acute pharyngitis, unspecified\nR509\n")?;
    let refused = load(&world, "icd-10-cm", &file)
        .await
        .err()
        .context("a broken file was taken")?;
    assert!(format!("{refused:#}").contains("line 2, column text"), "{refused:#}");
    let hub = world.hub.answer(&["status", "--json"]).await?;
    assert_eq!(hub["references"][0]["refused"]["why"]["broken"][0]["line"], 2, "{hub}");
    until_searched(&world, "icd-10-cm", first, ARRIVES).await?;

    std::fs::write(&file, "R509    Fever, unspecified\n")?;
    let file = file.to_str().context("the file's name is not UTF-8")?;
    world
        .hub
        .answer(&["reference", "load", "icd-10-cm", file, "--version", "2027", "--json"])
        .await?;
    until_searched(&world, "icd-10-cm", "2027", ARRIVES).await?;
    let mut desk = world.desk().await?;
    assert!(search(&mut desk, "icd-10-cm", "fev").await?.text().contains("R50.9"));
    assert!(
        search(&mut desk, "icd-10-cm", "pharyn")
            .await?
            .text()
            .contains("Nothing found")
    );
    Ok(())
}

/// Codes with long words that no packing makes much shorter: they come in many pieces.
fn many_codes() -> String {
    let mut drawn = 1_u64;
    let mut letter = || {
        // Any spread will do; it must be the same every time (Knuth, MMIX).
        drawn = drawn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (drawn >> 33) as u8 % 26)
    };
    let mut text = String::new();
    for number in 0..13_000 {
        let first = char::from(b'A' + (number / 1_000) as u8);
        let words: String = (0..200).map(|_| letter()).collect();
        text += &format!("{first}{:03}    {words}\n", number % 1_000);
    }
    text
}

/// How much of the set has been fetched, in percent, while it is; all of it afterwards.
fn fetched(status: &Value) -> Option<u64> {
    let sets = status["references"].as_array()?;
    let set = sets.iter().find(|one| one["set"] == "icd-10-cm")?;
    match set["state"].as_str()? {
        "fetching" => set["percent"].as_u64(),
        _ => Some(100),
    }
}

async fn until_fetched(world: &World, percent: u64) -> Result<u64> {
    let enough = |status: &Value| fetched(status).is_some_and(|now| now >= percent);
    let status = world.until_status("the transfer to go on", ARRIVES, enough).await?;
    fetched(&status).context("no transfer")
}

/// What the agent says of the content that it has fetched and proved: its size.
fn proved_bytes(world: &World) -> Result<Option<u64>> {
    for file in std::fs::read_dir(world.agent.program.home().join("logs"))? {
        for line in std::fs::read_to_string(file?.path())?.lines() {
            let entry: Value = serde_json::from_str(line)?;
            if entry["fields"]["message"] == "a content was fetched and is what its digest says" {
                return Ok(entry["fields"]["bytes"].as_u64());
            }
        }
    }
    Ok(None)
}

#[tokio::test]
async fn a_transfer_that_kill_9_and_a_cut_line_broke_off_goes_on_where_it_was() -> Result<()> {
    /// What may come twice: the piece that was on its way, at each break.
    const PIECES: u64 = 2 * 64 * 1024;
    /// What else goes down the line meanwhile: handshakes, pages, answers to probes, and what frames the pieces.
    const ELSE: u64 = 160 * 1024;
    let mut world = World::open(Target::Person).await?;
    world.until_agreed().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("codes.txt");
    std::fs::write(&file, many_codes())?;
    world.line.set_delay(Duration::from_millis(60));
    let before = world.line.passed().bytes_down;
    load(&world, "icd-10-cm", &file).await?;

    let first = until_fetched(&world, 40).await?;
    world.agent.kill9().await?;
    world.agent.start().await?;
    let second = until_fetched(&world, 0).await?;
    assert!(first < 100 && second >= first, "{second} % after {first} %");
    let third = until_fetched(&world, 70).await?;
    world.line.cut().await?;
    world.line.restore().await?;
    let fourth = until_fetched(&world, 0).await?;
    assert!(third < 100 && fourth >= third, "{fourth} % after {third} %");
    until_fetched(&world, 100).await?;
    let passed = world.line.passed().bytes_down - before;
    world.line.set_delay(Duration::ZERO);

    let bytes = tests::until(ARRIVES, "the content to be proved", async || proved_bytes(&world)).await?;
    assert!(
        bytes > 4 * (PIECES + ELSE),
        "a transfer of {bytes} bytes proves nothing"
    );
    assert!(
        (bytes..bytes + PIECES + ELSE).contains(&passed),
        "{passed} bytes came for a content of {bytes}"
    );
    Ok(())
}

/// The official list, by hand: `MAINSTAY_CORPUS_DIR` names a folder with `codes/` in it.
#[tokio::test]
async fn the_full_official_list_is_fetched_built_and_searched() -> Result<()> {
    let Some(folder) = std::env::var_os("MAINSTAY_CORPUS_DIR") else {
        println!("MAINSTAY_CORPUS_DIR is not set: the official list was not loaded");
        return Ok(());
    };
    let world = World::open(Target::Person).await?;
    let list = Path::new(&folder).join("codes/icd10cm-tabular-2026-04.xml.gz");
    let loaded = load(&world, "icd-10-cm", &list).await?;
    println!("loaded: {loaded}");
    let began = Instant::now();
    until_searched(&world, "icd-10-cm", "2026", Duration::from_secs(300)).await?;
    println!("fetched and built in {:?}", began.elapsed());
    let mut desk = world.desk().await?;
    let page = desk.open("/reference").await?;
    let form = page.form_to("/reference/search")?;
    for words in [
        "J02",
        "j029",
        "acute pharyn",
        "fracture left radius initial",
        "a",
        "S52",
        "diabetes type 2",
    ] {
        let began = Instant::now();
        let found = desk.submit(&form, &[("place", "icd-10-cm"), ("q", words)]).await?;
        let codes = found.texts("#reference-found tbody th");
        println!(
            "{words:?}: {:?} in {:?} with the whole page",
            codes.iter().take(4).collect::<Vec<_>>(),
            began.elapsed()
        );
        assert!(!codes.is_empty(), "{words}");
    }
    Ok(())
}
