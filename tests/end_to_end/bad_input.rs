//! What an operator can get wrong: each is a clear error that names the remedy, with its own exit code, and nothing changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::copy_folder;
use tests::house::{Service, Target};
use tests::people::CLINIC_DAY;
use tests::process::{Finished, Program};
use tests::small_disk::SmallDisk;
use vault::EnrolmentToken;

use crate::world::{World, arrive};

mod code {
    pub(super) const USAGE: i32 = 2;
    pub(super) const CONFIG: i32 = 3;
    pub(super) const ALREADY_RUNNING: i32 = 4;
    pub(super) const PORT_TAKEN: i32 = 5;
    pub(super) const STORE: i32 = 6;
    pub(super) const NO_SPACE: i32 = 7;
    pub(super) const TOKEN_REFUSED: i32 = 8;
    pub(super) const HUB_NOT_REACHED: i32 = 9;
    pub(super) const WRONG_HUB: i32 = 10;
    pub(super) const NOT_ENROLLED: i32 = 11;
    pub(super) const NOT_RUNNING: i32 = 12;
}

/// What the home folder holds that must not change when a start is refused. An empty file holds nothing: a store that is
/// opened gets an empty log beside it.
fn contents(home: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![home.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let kept = matches!(
                path.extension().and_then(|name| name.to_str()),
                Some("db" | "db-wal" | "key" | "toml")
            );
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if kept && entry.metadata()?.len() > 0 {
                found.insert(path.clone(), std::fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

fn unchanged(home: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let after = contents(home)?;
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed: Vec<_> = paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert!(changed.is_empty(), "the refused start changed {changed:?}");
    Ok(())
}

fn refused(finished: &Finished, code: i32, names: &[&str]) {
    assert_eq!(
        finished.code(),
        Some(code),
        "it said: {}{}",
        finished.stderr,
        finished.stdout
    );
    for name in names {
        assert!(
            finished.stderr.contains(name),
            "the error does not name {name}: {}",
            finished.stderr
        );
    }
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

/// A second agent, on a home of its own.
fn newcomer(world: &World, name: &str) -> Program {
    Program::new(&world.binaries.agent, &world.folder().join(name))
}

async fn enrol(program: &Program, token: &str) -> Result<Finished> {
    program.verb(&["enrol", "--json"], Some(token)).await
}

#[tokio::test]
async fn a_token_is_refused_when_it_is_mistyped_made_up_or_used() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let token = world.token().await?;
    let (head, tail) = token.split_at(20);
    let mistyped = format!("{head}{}{}", if tail.starts_with('b') { 'c' } else { 'b' }, &tail[1..]);
    let real = EnrolmentToken::parse(&token)?;
    let made_up = EnrolmentToken::issue(real.hub_url(), real.authority())?
        .render()
        .to_string();
    let (first, second) = (newcomer(&world, "first"), newcomer(&world, "second"));

    let mistyped = enrol(&first, &mistyped).await?;
    let made_up = enrol(&first, &made_up).await?;
    let used_once = enrol(&first, &token).await?;
    let used_twice = enrol(&second, &token).await?;

    refused(&mistyped, code::TOKEN_REFUSED, &["token"]);
    refused(&made_up, code::TOKEN_REFUSED, &["token"]);
    assert_eq!(used_once.code(), Some(0), "{}", used_once.stderr);
    refused(&used_twice, code::TOKEN_REFUSED, &["token"]);
    let run = second.verb(&["run"], None).await?;
    refused(&run, code::NOT_ENROLLED, &["enrol"]);
    Ok(())
}

#[tokio::test]
async fn a_token_is_refused_when_it_has_expired() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let answer = world
        .hub
        .answer(&["token", "--site", &world.site, "--valid-hours", "1", "--json"])
        .await?;
    let token = answer["token"].as_str().context("no token")?.to_owned();
    world.hub.stop().await?;
    world.hub.program = world.hub.program.clone().with_clock_off_by("+2h");
    world.hub.start().await?;

    let late = enrol(&newcomer(&world, "late"), &token).await?;

    refused(&late, code::TOKEN_REFUSED, &["expired"]);
    Ok(())
}

#[tokio::test]
async fn a_hub_that_is_not_the_one_the_token_names_is_refused() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let other = World::open(Target::Person).await?;
    let token = world.token().await?;
    let impostor = other.hub_address;
    world.line.lead_to(impostor);
    world.line.cut().await?;
    world.line.restore().await?;

    let fooled = enrol(&newcomer(&world, "newcomer"), &token).await?;

    refused(&fooled, code::WRONG_HUB, &["not the hub"]);
    Ok(())
}

#[tokio::test]
async fn a_hub_that_cannot_be_reached_is_named_and_the_token_stays_good() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let token = world.token().await?;
    let newcomer = newcomer(&world, "newcomer");
    world.line.cut().await?;

    let unreached = enrol(&newcomer, &token).await?;
    world.line.restore().await?;
    let reached = enrol(&newcomer, &token).await?;

    refused(&unreached, code::HUB_NOT_REACHED, &[&world.line.address().to_string()]);
    assert_eq!(reached.code(), Some(0), "{}", reached.stderr);
    Ok(())
}

#[tokio::test]
async fn a_second_run_on_the_same_folder_is_refused_and_the_first_goes_on() -> Result<()> {
    let world = World::open(Target::Person).await?;

    let agent = world.agent.program.verb(&["run"], None).await?;
    let hub = world.hub.program.verb(&["run"], None).await?;

    refused(&agent, code::ALREADY_RUNNING, &[]);
    refused(&hub, code::ALREADY_RUNNING, &[]);
    world.until_agreed().await?;
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_named_and_nothing_is_changed() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    world.agent.stop().await?;
    world.hub.stop().await?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let refusals = [
        (
            &world.agent,
            "agent.toml",
            format!("[page]\nlisten = \"{address}\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n"),
        ),
        (
            &world.agent,
            "agent.toml",
            format!("[page]\nlisten = \"127.0.0.1:0\"\n[mllp]\nlisten = \"{address}\"\n"),
        ),
        (&world.hub, "hub.toml", format!("[server]\nlisten = \"{address}\"\n")),
    ];

    for (service, file, config) in &refusals {
        let home = service.program.home();
        std::fs::write(home.join(file), config)?;
        let before = contents(home)?;
        let finished = service.program.verb(&["run"], None).await?;
        refused(&finished, code::PORT_TAKEN, &[&address]);
        unchanged(home, &before)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_config_that_cannot_be_read_is_named_with_file_and_line() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    world.agent.stop().await?;
    world.hub.stop().await?;
    let broken = [
        "[page]\nlisten = \n",
        "[page]\nlisten = \"nowhere\"\n",
        "[page]\nlissten = \"127.0.0.1:0\"\n",
    ];

    for config in broken {
        std::fs::write(world.agent.program.home().join("agent.toml"), config)?;
        for verb in ["run", "check-config"] {
            let finished = world.agent.program.verb(&[verb], None).await?;
            refused(&finished, code::CONFIG, &["agent.toml", "line"]);
        }
    }
    std::fs::write(world.hub.program.home().join("hub.toml"), "[server]\nlisten = 8443\n")?;
    let finished = world.hub.program.verb(&["run"], None).await?;
    refused(&finished, code::CONFIG, &["hub.toml", "line"]);
    Ok(())
}

#[tokio::test]
async fn a_verb_that_does_not_exist_is_a_usage_error() -> Result<()> {
    let world = World::open(Target::Person).await?;

    let agent = world.agent.program.verb(&["frobnicate"], None).await?;
    let hub = world.hub.program.verb(&["frobnicate"], None).await?;

    refused(&agent, code::USAGE, &[]);
    refused(&hub, code::USAGE, &[]);
    Ok(())
}

#[tokio::test]
async fn a_verb_without_the_service_says_that_it_does_not_run() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    world.agent.stop().await?;

    for verb in ["status", "board", "queue"] {
        let finished = world.agent.program.verb(&[verb, "--json"], None).await?;
        refused(&finished, code::NOT_RUNNING, &[]);
    }
    Ok(())
}

/// Breaks `service`'s store by `harm`, and sees it refused without a byte of it changed.
async fn store_is_refused(service: &mut Service, harm: impl FnOnce(&Path) -> Result<()>, names: &[&str]) -> Result<()> {
    service.stop().await?;
    let home = service.program.home().to_path_buf();
    harm(&home)?;
    let before = contents(&home)?;

    let finished = service.program.verb(&["run"], None).await?;

    refused(&finished, code::STORE, names);
    unchanged(&home, &before)?;
    Ok(())
}

fn store_file(home: &Path) -> Result<PathBuf> {
    let stores = contents(home)?
        .into_keys()
        .filter(|path| path.extension().is_some_and(|name| name == "db"));
    let stores: Vec<_> = stores.collect();
    stores
        .into_iter()
        .next()
        .with_context(|| format!("{} holds no store", home.display()))
}

#[tokio::test]
async fn a_store_with_another_key_is_refused_and_never_made_anew() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let other = World::open(Target::Person).await?;
    let foreign_agent = other.agent.program.home().join("keys/store.key");
    let foreign_hub = other.hub.program.home().join("keys/store.key");
    let swap = |foreign: PathBuf| {
        move |home: &Path| {
            std::fs::copy(foreign, home.join("keys/store.key"))?;
            Ok(())
        }
    };

    store_is_refused(&mut world.agent, swap(foreign_agent), &["key"]).await?;
    store_is_refused(&mut world.hub, swap(foreign_hub), &["key"]).await
}

#[tokio::test]
async fn a_store_without_its_key_file_is_refused_and_no_key_is_made() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let lose = |home: &Path| Ok(std::fs::remove_file(home.join("keys/store.key"))?);

    store_is_refused(&mut world.agent, lose, &["store.key"]).await?;
    store_is_refused(&mut world.hub, lose, &["store.key"]).await
}

#[tokio::test]
async fn a_key_file_open_to_others_is_refused() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let open_up = |home: &Path| {
        let key = home.join("keys/store.key");
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).map_err(Into::into)
    };

    store_is_refused(&mut world.agent, open_up, &["store.key"]).await
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_never_made_anew() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let damage = |home: &Path| {
        let path = store_file(home)?;
        let mut bytes = std::fs::read(&path)?;
        bytes[64..128].fill(0x55);
        Ok(std::fs::write(path, bytes)?)
    };

    store_is_refused(&mut world.agent, damage, &["agent.db"]).await?;
    store_is_refused(&mut world.hub, damage, &[]).await
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let from_the_future = |home: &Path| {
        let key = vault::key_file::load(&home.join("keys/store.key"))?;
        let tuning = vault::sqlite::Tuning::default();
        let store = vault::sqlite::open(&store_file(home)?, &key, vault::sqlite::Mode::Existing, &tuning)?;
        store.pragma_update(None, "user_version", 9_999)?;
        store.close().map_err(|(_, failed)| failed)?;
        Ok(())
    };

    store_is_refused(&mut world.agent, from_the_future, &["newer"]).await?;
    store_is_refused(&mut world.hub, from_the_future, &["newer"]).await
}

#[tokio::test]
async fn a_disk_without_space_at_the_start_is_said_and_nothing_is_changed() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world.agent.stop().await?;
    let small = world.folder().join("small");
    let Some(disk) = SmallDisk::mount(&small, 16)? else {
        return Ok(());
    };
    let home = world.agent.program.home().to_path_buf();
    copy_folder(&home, &small)?;
    disk.fill()?;
    let before = contents(&small)?;
    let on_small = Program::new(&world.binaries.agent, &small);

    let finished = on_small.verb(&["run"], None).await?;

    refused(&finished, code::NO_SPACE, &["space"]);
    unchanged(&small, &before)?;
    disk.make_room()?;
    let mut running = on_small.run_until_ready(Duration::from_secs(10)).await?;
    running.stop().await?;
    Ok(())
}
