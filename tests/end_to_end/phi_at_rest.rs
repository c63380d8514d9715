//! What lies on the disks holds no readable patient, and the key lies nowhere but in its own file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::hl7_peer::RawMllp;
use tests::house::Target;
use tests::people::{CLINIC_DAY, adt_a04, oru_r01};

use crate::world::{World, arrive, edit, patient_page};

fn files_under(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_under(&entry.path())?);
        } else if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// As UTF-8 and UTF-16, as written, in capitals and in small letters.
fn forms(word: &str) -> Vec<Vec<u8>> {
    let spelled = [word.to_owned(), word.to_uppercase(), word.to_lowercase()];
    let wide = |text: &String| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    spelled
        .iter()
        .map(|text| text.clone().into_bytes())
        .chain(spelled.iter().map(wide))
        .collect()
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[tokio::test]
async fn no_file_of_agent_or_hub_and_no_log_holds_a_readable_patient() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let (walk_in, registered) = (&CLINIC_DAY[5], &CLINIC_DAY[10]);
    arrive(&mut desk, walk_in).await?;
    let mut peer = RawMllp::connect(world.mllp()?).await?;
    for message in [
        adt_a04(registered, "T-PHI-1"),
        oru_r01(registered, "T-PHI-2", "97"),
        adt_a04(registered, "T-PHI-3").replace("A04", "A40"),
    ] {
        peer.send(message.as_bytes(), Duration::from_secs(5)).await?;
    }
    let page = patient_page(&mut desk, walk_in.family).await?;
    edit(&mut desk, &page, "email", "hubertus@example.org").await?;
    world
        .agent
        .program
        .verb(&["patient", registered.family, "--json"], None)
        .await?;
    world
        .hub
        .program
        .verb(&["patient", "find", registered.family, "--json"], None)
        .await?;
    world.until_agreed().await?;
    let while_running = readable_in(&world)?;
    world.agent.stop().await?;
    world.hub.stop().await?;

    assert_eq!(while_running, [] as [String; 0]);
    assert_eq!(readable_in(&world)?, [] as [String; 0]);
    Ok(())
}

/// Each file that holds something of a patient, with what.
fn readable_in(world: &World) -> Result<Vec<String>> {
    let people = [&CLINIC_DAY[5], &CLINIC_DAY[10]];
    let words: Vec<&str> = people
        .iter()
        .flat_map(|person| [person.family, person.given, person.phone, person.mrn])
        .collect();
    let mut found = Vec::new();
    let mut looked_at = 0;
    for home in [world.agent.program.home(), world.hub.program.home()] {
        for file in files_under(home)? {
            let bytes = std::fs::read(&file)?;
            looked_at += 1;
            for word in words.iter().chain(&["hubertus@example.org"]) {
                if forms(word).iter().any(|form| holds(&bytes, form)) {
                    found.push(format!("{} holds {word}", file.display()));
                }
            }
        }
    }
    anyhow::ensure!(looked_at > 4, "only {looked_at} files were found to look at");
    Ok(found)
}

#[tokio::test]
async fn the_key_is_in_no_other_file_no_environment_and_no_command_line() -> Result<()> {
    let world = World::open(Target::Person).await?;

    for service in [&world.agent, &world.hub] {
        let home = service.program.home();
        let key_file = home.join("keys/store.key");
        let key = std::fs::read_to_string(&key_file)?;
        // The longest words of the key file are the key, whatever its heading says.
        let secrets: Vec<&str> = key.split_whitespace().filter(|word| word.len() >= 16).collect();
        assert!(!secrets.is_empty(), "the key file holds no key");
        let id = service.running()?.process_id()?;
        let proc = PathBuf::from(format!("/proc/{id}"));
        let places = files_under(home)?.into_iter().filter(|file| *file != key_file);
        for place in places.chain([proc.join("environ"), proc.join("cmdline")]) {
            let bytes = std::fs::read(&place).with_context(|| format!("{}", place.display()))?;
            for secret in &secrets {
                assert!(!holds(&bytes, secret.as_bytes()), "{} holds the key", place.display());
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_status_says_that_no_hardware_protects_the_key() -> Result<()> {
    let world = World::open(Target::Person).await?;

    let status = world.status().await?;

    let warnings = status["warnings"].as_array().context("no warnings")?;
    let said = warnings
        .iter()
        .any(|one| one["severity"] == "critical" && one["text"] == "key not protected by hardware");
    assert!(said, "{status}");
    Ok(())
}
