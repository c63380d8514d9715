//! A clinic's proxy between agent and hub: one that connects through, with and without its password, and one that breaks
//! TLS open, where the hub does not allow that and where it does.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::Result;
use tests::house::Target;
use tests::people::CLINIC_DAY;
use tests::proxy::HttpProxy;

use crate::world::{World, arrive};

const PATIENCE: Duration = Duration::from_secs(40);

/// Has the agent reach the hub through a proxy from its next start on.
fn through(world: &World, proxy: &HttpProxy, credentials: Option<&str>) -> Result<()> {
    let home = world.agent.program.home();
    let mut settings = format!(
        "[page]\nlisten = \"127.0.0.1:0\"\n\n[mllp]\nlisten = \"127.0.0.1:0\"\n\n[sync]\nproxy = \"{}\"\nbackoff_max_secs = 1\n",
        proxy.url()
    );
    if let Some(credentials) = credentials {
        let file = home.join("proxy-credentials");
        std::fs::write(&file, format!("{credentials}\n"))?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
        settings.push_str(&format!("proxy_credentials_file = \"{}\"\n", file.display()));
    }
    std::fs::write(home.join("agent.toml"), settings)?;
    Ok(())
}

#[tokio::test]
async fn through_a_connecting_proxy_with_its_password_everything_works() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let proxy = HttpProxy::connecting(Some("clinic:let me through")).await?;
    world.agent.stop().await?;
    through(&world, &proxy, Some("clinic:let me through"))?;
    let before = world.line.passed().connections;
    world.agent.start().await?;

    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    let status = world.until_agreed().await?;

    assert!(proxy.connected() > 0);
    assert_eq!(proxy.refused(), 0);
    // Whatever reached the hub came through the proxy, which may count it a moment later.
    tests::until(
        PATIENCE,
        "every connection to have come through the proxy",
        async || Ok((world.line.passed().connections - before <= proxy.connected()).then_some(())),
    )
    .await?;
    assert_eq!(status["channel"]["proxy"], proxy.url());
    assert_eq!(status["channel"]["inspected_by"], serde_json::Value::Null);
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_is_named_with_the_remedy() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let proxy = HttpProxy::connecting(Some("clinic:let me through")).await?;
    world.agent.stop().await?;
    through(&world, &proxy, None)?;
    world.agent.start().await?;

    let status = world
        .until_status("the proxy to be named", PATIENCE, |status| status["line"] == "cut off")
        .await?;

    let trouble = status["trouble"].as_str().unwrap_or_default();
    assert!(
        trouble.contains("sync.proxy") && trouble.contains("proxy_credentials_file"),
        "{trouble}"
    );
    assert!(proxy.refused() > 0);
    assert_eq!(proxy.connected(), 0);
    Ok(())
}

#[tokio::test]
async fn an_inspecting_proxy_is_named_and_where_the_hub_allows_it_reads_nothing_but_sealed_bodies() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let proxy = HttpProxy::inspecting("Acme Web Filter").await?;
    world.agent.stop().await?;
    through(&world, &proxy, None)?;
    world.agent.start().await?;

    // Not allowed: named, with whose it is and what to do; nothing was said to it but what is public or sealed.
    let status = world
        .until_status("the inspecting proxy to be named", PATIENCE, |status| {
            status["trouble"]
                .as_str()
                .is_some_and(|trouble| trouble.contains("inspects the line"))
        })
        .await?;
    let trouble = status["trouble"].as_str().unwrap_or_default();
    assert!(
        trouble.contains("Acme Web Filter") && trouble.contains("--inspection allowed"),
        "{trouble}"
    );
    assert_eq!(status["line"], "cut off");

    // Allowed: everything works, and `status` goes on saying who reads along.
    let site = world.site.clone();
    world
        .hub
        .answer(&["site", "set", &site, "--inspection", "allowed", "--json"])
        .await?;
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    let status = world.until_agreed().await?;
    let inspected_by = status["channel"]["inspected_by"].as_str().unwrap_or_default();
    assert!(inspected_by.starts_with("Acme Web Filter"), "{status}");

    // What the proxy read: that there is a hub, and sealed bodies. No name, no route, no agent, no certificate of one.
    assert!(proxy.has_read(b"POST /sealed"));
    assert!(proxy.read_bytes() > 10_000);
    for secret in ["/v1/push", "/v1/hello", "keyid", CLINIC_DAY[0].family, &world.site] {
        assert!(!proxy.has_read(secret.as_bytes()), "the proxy read {secret:?}");
    }

    // Taken back: refused at once.
    world
        .hub
        .answer(&["site", "set", &site, "--inspection", "refused", "--json"])
        .await?;
    world
        .until_status("the line to be refused", PATIENCE, |status| status["line"] == "cut off")
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_an_inspecting_proxy_alters_changes_nothing_and_is_sent_again() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let site = world.site.clone();
    world
        .hub
        .answer(&["site", "set", &site, "--inspection", "allowed", "--json"])
        .await?;
    let proxy = HttpProxy::inspecting("Acme Web Filter").await?;
    world.agent.stop().await?;
    through(&world, &proxy, None)?;
    world.agent.start().await?;
    let mut desk = world.desk().await?;
    let before = world.until_agreed().await?["accepted"].clone();

    proxy.alter(true);
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world
        .until_status("the altered line to be given up", PATIENCE, |status| {
            status["line"] == "cut off"
        })
        .await?;
    assert_eq!(world.status().await?["accepted"], before);

    proxy.alter(false);
    let status = world.until_agreed().await?;
    assert_ne!(status["accepted"], before);
    Ok(())
}

#[tokio::test]
async fn behind_an_inspecting_proxy_a_site_enrols_where_the_hub_allows_it() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let proxy = HttpProxy::inspecting("Acme Web Filter").await?;
    world.agent.stop().await?;
    std::fs::remove_dir_all(world.agent.program.home())?;
    std::fs::create_dir_all(world.agent.program.home())?;
    through(&world, &proxy, None)?;
    let token = world.token().await?;

    let refused = world.agent.program.verb(&["enrol"], Some(&token)).await?;
    let site = world.site.clone();
    world
        .hub
        .answer(&["site", "set", &site, "--inspection", "allowed", "--json"])
        .await?;
    world.agent.program.answer(&["enrol", "--json"], Some(&token)).await?;
    world.agent.start().await?;
    world.until_agreed().await?;

    assert_eq!(refused.code(), Some(10), "{}", refused.stderr);
    assert!(refused.stderr.contains("Acme Web Filter"), "{}", refused.stderr);
    assert!(!proxy.has_read(token.trim().as_bytes()));
    Ok(())
}
