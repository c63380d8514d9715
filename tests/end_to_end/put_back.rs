//! Stores that go back to an older copy, or run twice: the hub's database, an agent's, an agent's whole folder. Whatever a store
//! that still runs has confirmed is at the hub in the end, both sides hold the same, and the operator is told why.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::house::{Service, Target};
use tests::people::{CLINIC_DAY, Person};
use tests::postgres::Cluster;
use tests::process::{Binaries, Program};
use tests::region::Store;

use crate::several::Several;
use crate::world::{World, arrive, edit, patient_page};

const SOON: Duration = Duration::from_secs(30);

/// Copies a folder as a backup would; what is in the way there goes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let (entry, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let target = to.join(entry.file_name().context("a name")?);
        if kind.is_dir() {
            copy(&entry, &target)?;
        } else if kind.is_file() {
            fs::copy(&entry, &target)?;
        }
    }
    Ok(())
}

fn causes(status: &Value) -> Vec<String> {
    let rebirths = status["rebirths"].as_array().into_iter().flatten();
    rebirths
        .filter_map(|rebirth| rebirth["cause"].as_str())
        .map(str::to_owned)
        .collect()
}

async fn at_hub(hub: &Service, person: &Person) -> Result<usize> {
    let found = hub.answer(&["patient", "find", person.family, "--json"]).await?;
    Ok(found["patients"].as_array().map_or(0, Vec::len))
}

#[tokio::test]
async fn a_hub_whose_database_was_put_back_to_an_older_copy_is_healed_by_its_site() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world.until_agreed().await?;
    let status = world.hub.answer(&["status", "--json"]).await?;
    ensure!(
        status["begun"] == serde_json::json!([]) && status["backup"].is_null(),
        "{status}"
    );
    let said = world.hub.program.verb(&["status"], None).await?;
    ensure!(said.stdout.contains("no backup"), "{}", said.stdout);
    let (data, kept) = (world.hub.program.home().join("data"), world.folder().join("backup"));
    world.hub.stop().await?;
    copy(&data, &kept)?;
    world.hub.start().await?;

    arrive(&mut desk, &CLINIC_DAY[1]).await?;
    let page = patient_page(&mut desk, CLINIC_DAY[0].family).await?;
    edit(&mut desk, &page, "email", "after@example.org").await?;
    world.until_agreed().await?;
    world.hub.stop().await?;
    copy(&kept, &data)?;
    arrive(&mut desk, &CLINIC_DAY[2]).await?;
    world.hub.start().await?;

    world
        .until_status("the site to enter the new epoch", SOON, |status| {
            !causes(status).is_empty()
        })
        .await?;
    let agent = world.until_agreed().await?;
    ensure!(
        causes(&agent) == ["the hub's store was restored from an older copy"],
        "{agent}"
    );
    for person in &CLINIC_DAY[..3] {
        ensure!(
            at_hub(&world.hub, person).await? == 1,
            "{} is not at the hub once",
            person.family
        );
    }
    let page = patient_page(&mut desk, CLINIC_DAY[0].family).await?;
    ensure!(page.text().contains("after@example.org"), "the edit is gone");
    let status = world.hub.answer(&["status", "--json"]).await?;
    ensure!(status["begun"].as_array().map_or(0, Vec::len) == 1, "{status}");

    let confirmed = world
        .hub
        .answer(&["backup-confirmed", "--until", "2026-01-01T00:00:00Z", "--json"])
        .await?;
    ensure!(confirmed["until"] == "2026-01-01T00:00:00Z", "{confirmed}");
    let status = world.hub.answer(&["status", "--json"]).await?;
    ensure!(status["backup"] == "2026-01-01T00:00:00Z", "{status}");
    Ok(())
}

#[tokio::test]
async fn hub_processes_whose_postgresql_is_put_back_under_them_go_on_and_are_healed_by_their_sites() -> Result<()> {
    let cluster = Cluster::start()?;
    let several = Several::open(
        &Store::Postgres(cluster.url()),
        2,
        &[("Northside", 0), ("Southside", 1)],
    )
    .await?;
    let (north, south) = (&several.clinics[0], &several.clinics[1]);
    let mut desk = north.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    north.until_agreed().await?;
    let backup = cluster.dump()?;

    arrive(&mut desk, &CLINIC_DAY[1]).await?;
    let page = patient_page(&mut desk, CLINIC_DAY[0].family).await?;
    edit(&mut desk, &page, "email", "after@example.org").await?;
    north.until_agreed().await?;
    // Nobody stops either process.
    cluster.put_back(&backup)?;
    arrive(&mut south.desk().await?, &CLINIC_DAY[2]).await?;

    for clinic in [north, south] {
        clinic
            .until_status("the site to enter the new epoch", SOON, |status| {
                !causes(status).is_empty()
            })
            .await?;
        let agent = clinic.until_agreed().await?;
        ensure!(
            causes(&agent) == ["the hub's store was restored from an older copy"],
            "{agent}"
        );
    }
    for hub in &several.hubs {
        for person in &CLINIC_DAY[..3] {
            tests::until(SOON, "everybody to be at the hub", async || {
                Ok((at_hub(&hub.service, person).await? == 1).then_some(()))
            })
            .await?;
        }
        let status = hub.service.answer(&["status", "--json"]).await?;
        ensure!(status["begun"].as_array().map_or(0, Vec::len) == 1, "{status}");
        ensure!(
            status["warnings"].to_string().contains("put back to an older copy"),
            "{status}"
        );
    }
    let page = patient_page(&mut desk, CLINIC_DAY[0].family).await?;
    ensure!(page.text().contains("after@example.org"), "the edit is gone");
    Ok(())
}

#[tokio::test]
async fn an_agent_whose_store_was_put_back_takes_a_new_identity_before_it_writes() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world.until_agreed().await?;
    let (data, kept) = (world.agent.program.home().join("data"), world.folder().join("backup"));
    world.agent.stop().await?;
    copy(&data, &kept)?;
    world.agent.start().await?;
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[1]).await?;
    world.until_agreed().await?;
    world.agent.stop().await?;

    world.line.cut().await?;
    copy(&kept, &data)?;
    world.agent.start().await?;
    // Before it has heard of the hub.
    let agent = world.status().await?;
    ensure!(causes(&agent).len() == 1, "{agent}");
    let mut desk = world.desk_of(&world.lead).await?;
    arrive(&mut desk, &CLINIC_DAY[2]).await?;
    world.line.restore().await?;

    let agent = world.until_agreed().await?;
    ensure!(causes(&agent).len() == 1, "{agent}");
    for person in &CLINIC_DAY[..3] {
        ensure!(
            at_hub(&world.hub, person).await? == 1,
            "{} is not at the hub once",
            person.family
        );
        patient_page(&mut desk, person.family).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_and_a_copy_of_its_folder_both_go_on_under_names_of_their_own() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world.until_agreed().await?;
    let (home, twin) = (world.agent.program.home().to_owned(), world.folder().join("twin"));
    world.agent.stop().await?;
    copy(&home, &twin)?;
    world.agent.start().await?;
    let mut twin = Service::new(Program::new(&Binaries::find()?.agent, &twin));
    twin.start().await?;

    let told = twin.answer(&["status", "--json"]).await?;
    ensure!(causes(&told) == ["this store's file was replaced by a copy"], "{told}");
    let original = world.status().await?;
    ensure!(causes(&original).is_empty(), "{original}");
    ensure!(told["incarnation"] != original["incarnation"], "both are one");
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[1]).await?;
    let mut there = tests::page::Page::at(twin.running()?.ready("page")?)?;
    there.sign_in(&world.lead.login, &world.lead.passphrase).await?;
    arrive(&mut there, &CLINIC_DAY[2]).await?;

    for person in &CLINIC_DAY[..3] {
        tests::until(SOON, "everybody to be at the hub", async || {
            Ok((at_hub(&world.hub, person).await? == 1).then_some(()))
        })
        .await?;
    }
    world.until_agreed().await?;
    ensure!(
        causes(&world.status().await?).is_empty(),
        "the original took a new identity"
    );
    twin.stop().await
}
