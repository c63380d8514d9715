//! The rules of the house that a compiler does not hold: each heavy thing has one door, the pure crates touch nothing.

use std::collections::BTreeSet;
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

/// The modules that a file names from the top of its crate, also in a list: `use crate::{log, service};`.
fn named_from_the_top(text: &str) -> BTreeSet<&str> {
    let word = |text: &str| {
        text.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len())
    };
    let mut named = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            named.insert(&rest[..word(rest)]);
            continue;
        };
        let mut depth = 0_usize;
        for part in list
            .split(';')
            .next()
            .unwrap_or_default()
            .split_inclusive([',', '{', '}'])
        {
            let name = part.trim_start();
            if depth == 0 && word(name) > 0 {
                named.insert(&name[..word(name)]);
            }
            match part.chars().last() {
                Some('{') => depth += 1,
                Some('}') => depth = depth.saturating_sub(1),
                Some(_) | None => {}
            }
        }
    }
    named
}

/// The program is in layers; a module imports nothing of its own layer, nor of one before it. Tests may.
fn only_downwards(sources_of: &str, layers: &[&[&str]]) -> Result<()> {
    let sources = sources(sources_of)?;
    for (at, layer) in layers.iter().enumerate() {
        for module in *layer {
            let (file, folder) = (format!("{sources_of}/{module}.rs"), format!("{sources_of}/{module}/"));
            let of_module = sources
                .iter()
                .filter(|(name, _)| *name == file || name.starts_with(&folder));
            let shipped: Vec<_> = of_module.filter(|(name, _)| !name.contains("/tests")).collect();
            assert!(!shipped.is_empty(), "{sources_of} has no {module}");
            for (name, text) in shipped {
                let named = named_from_the_top(text);
                let barred = layers[..=at].iter().copied().flatten().filter(|other| *other != module);
                let strays: Vec<_> = barred.filter(|other| named.contains(*other)).collect();
                assert!(strays.is_empty(), "{name} imports {strays:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn inside_a_program_no_module_imports_its_neighbour_or_what_stands_on_it() -> Result<()> {
    let agent: [&[&str]; 4] = [
        &["service"],
        &["web", "intake", "sync", "jobs", "local"],
        &["access", "reference"],
        &["store"],
    ];
    only_downwards("agent/src", &agent)?;
    let hub: [&[&str]; 5] = [
        &["service"],
        &["console"],
        &["server", "admin", "connectors", "intake", "scopes", "continuity"],
        &["matching", "reference", "proof", "snapshots"],
        &["db"],
    ];
    only_downwards("hub/src", &hub)
}

#[test]
fn modules_are_found_in_every_form_of_import() {
    let text = "use crate::db::Db;\nuse crate::{log, service::{self, run}, tls};\nlet x = crate::clock::now();";
    let found: Vec<&str> = named_from_the_top(text).into_iter().collect();
    assert_eq!(found, ["clock", "db", "log", "service", "tls"]);
}
