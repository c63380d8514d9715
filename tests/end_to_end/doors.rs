//! The rules of the house that a compiler does not hold: each heavy thing has one door, the pure crates touch nothing.

use std::fs;

use anyhow::{Context as _, Result};
use tests::process::workspace_root;

/// Every source file below a folder, as a path from the root, with its text.
fn sources(folder: &str) -> Result<Vec<(String, String)>> {
    let root = workspace_root()?;
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path.strip_prefix(&root)?.to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    Ok(found)
}

fn only_in(what: &str, folders: &[&str], doors: &[&str]) -> Result<()> {
    let mut strays = Vec::new();
    for folder in folders {
        let named = sources(folder)?.into_iter().filter(|(_, text)| text.contains(what));
        let outside = named.filter(|(name, _)| !doors.iter().any(|door| name.starts_with(door)));
        strays.extend(outside.map(|(name, _)| name));
    }
    assert!(
        strays.is_empty(),
        "{what} is named outside its doors {doors:?}: {strays:?}"
    );
    Ok(())
}

const CRATES: [&str; 6] = [
    "sync-protocol/src",
    "formats/src",
    "clinic/src",
    "vault/src",
    "agent/src",
    "hub/src",
];

#[test]
fn sqlite_is_opened_and_spoken_to_behind_three_doors() -> Result<()> {
    only_in(
        "rusqlite",
        &CRATES,
        &["vault/src/sqlite", "agent/src/store", "hub/src/db"],
    )
}

#[test]
fn postgresql_is_spoken_to_behind_one_door() -> Result<()> {
    only_in("postgres::", &CRATES, &["hub/src/db"])
}

#[test]
fn http_is_asked_for_behind_few_doors() -> Result<()> {
    let doors = ["agent/src/hub_client", "agent/src/local.rs", "hub/src/connectors"];
    only_in("reqwest", &CRATES, &doors)
}

#[test]
fn the_pure_crates_touch_nothing() -> Result<()> {
    let pure = ["sync-protocol/src", "formats/src", "clinic/src"];
    for what in [
        "SystemTime",
        "Instant::",
        "Timestamp::now",
        "Zoned::now",
        "std::fs",
        "std::net",
        "SystemRandom",
        "async fn",
        "tokio",
    ] {
        only_in(what, &pure, &[])?;
    }
    Ok(())
}

#[test]
fn agent_and_hub_do_not_know_each_other() -> Result<()> {
    for (one, other) in [
        ("agent", "mainstay-hub"),
        ("hub", "mainstay-agent"),
        ("tests", "mainstay-hub"),
    ] {
        let manifest = fs::read_to_string(workspace_root()?.join(one).join("Cargo.toml"))?;
        let dependencies = manifest.split("[dependencies]").nth(1);
        let dependencies = dependencies.with_context(|| format!("{one} has no dependencies"))?;
        assert!(!dependencies.contains(other), "{one} depends on {other}");
    }
    Ok(())
}

#[test]
fn tests_know_the_agent_by_its_store_alone_and_that_in_the_simulator() -> Result<()> {
    let folders = ["tests/src", "tests/simulation", "tests/end_to_end"];
    let (simulator, here) = ("tests/src/simulation/", "tests/end_to_end/doors.rs");
    only_in("mainstay_agent", &folders, &[simulator, here])?;
    for (name, text) in sources("tests/src/simulation")? {
        for named in text.split("mainstay_agent::").skip(1) {
            assert!(
                named.starts_with("store"),
                "{name} takes more of the agent than its store"
            );
        }
    }
    Ok(())
}

#[test]
fn siblings_inside_a_program_never_import_each_other() -> Result<()> {
    let siblings = ["web", "intake", "sync", "jobs", "local"];
    for sibling in siblings {
        let files = sources("agent/src")?.into_iter().filter(|(name, _)| {
            name == &format!("agent/src/{sibling}.rs") || name.starts_with(&format!("agent/src/{sibling}/"))
        });
        for (name, text) in files {
            for other in siblings.iter().filter(|other| **other != sibling) {
                assert!(!text.contains(&format!("crate::{other}::")), "{name} imports {other}");
            }
        }
    }
    Ok(())
}
