//! HL7 in: committed before it is answered, known when it comes again, never on the wrong patient, never unanswered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::hl7_peer::{Acknowledgement, RawMllp, send_with_mllp_send};
use tests::house::Target;
use tests::people::{CLINIC_DAY, adt_a03, adt_a04, adt_a08, oru_r01};

use crate::world::{World, count, patient_page, until_shown};

const ONE_SECOND: Duration = Duration::from_secs(1);
const ANSWERED: Duration = Duration::from_secs(5);

async fn send(world: &World, message: &str) -> Result<Acknowledgement> {
    let mut peer = RawMllp::connect(world.mllp()?).await?;
    Ok(peer.send(message.as_bytes(), ANSWERED).await?.0)
}

#[tokio::test]
async fn a_registration_is_on_the_board_within_a_second_and_its_repeat_changes_nothing() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[0];
    let file = world.message_file("a04.hl7", &adt_a04(person, "T-A04-1"))?;

    let first = send_with_mllp_send(world.mllp()?, &file).await?;
    until_shown(&mut desk, "/board", person.family, ONE_SECOND).await?;
    let before = count(&world.status().await?, "/counter")?;
    let again = send_with_mllp_send(world.mllp()?, &file).await?;
    let after = count(&world.status().await?, "/counter")?;

    assert_eq!((first[0].code(), first[0].answers()), ("AA", "T-A04-1"));
    assert_eq!(again, first, "the repeat did not get the stored acknowledgement");
    assert_eq!(after, before, "the repeat made a change");
    assert_eq!(desk.open("/board").await?.texts("tr.visit").len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_result_reaches_the_patient_it_names_within_a_second() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[1];
    send(&world, &adt_a04(person, "T-A04-2")).await?;
    let page = patient_page(&mut desk, person.mrn).await?;

    let answer = send(&world, &oru_r01(person, "T-R01-1", "113")).await?;

    assert_eq!(answer.code(), "AA");
    let shown = until_shown(&mut desk, &page.path, "113", ONE_SECOND).await?;
    assert!(shown.texts(".result").concat().contains("Glucose"));
    Ok(())
}

#[tokio::test]
async fn a_result_with_the_same_number_from_another_authority_waits_for_a_person() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[2];
    send(&world, &adt_a04(person, "T-A04-3")).await?;
    let page = patient_page(&mut desk, person.mrn).await?;
    let foreign = oru_r01(person, "T-R01-2", "114").replace("^^^RIVERSIDE^MR", "^^^ELSEWHERE^MR");

    let answer = send(
        &world,
        &foreign.replace(person.family, "Somebody").replace(person.given, "Else"),
    )
    .await?;

    assert_eq!(answer.code(), "AA");
    assert_eq!(count(&world.status().await?, "/unmatched")?, 1);
    until_shown(&mut desk, "/work", "Result without a patient", ONE_SECOND).await?;
    assert!(
        !desk.open(&page.path).await?.text().contains("114"),
        "it is on somebody's page"
    );
    Ok(())
}

#[tokio::test]
async fn a_result_whose_number_agrees_but_neither_name_nor_birth_date_waits_for_a_person() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let person = &CLINIC_DAY[3];
    send(&world, &adt_a04(person, "T-A04-4")).await?;
    let born = person.birth_date.replace('-', "");
    let mistaken = oru_r01(person, "T-R01-3", "115")
        .replace(&born, "19010101")
        .replace(person.family, "Somebody");

    let answer = send(&world, &mistaken.replace(person.given, "Else")).await?;

    assert_eq!(answer.code(), "AA");
    assert_eq!(count(&world.status().await?, "/unmatched")?, 1);
    Ok(())
}

#[tokio::test]
async fn an_update_and_a_discharge_reach_the_visit_they_are_about() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[4];
    send(&world, &adt_a04(person, "T-A04-5")).await?;
    let page = patient_page(&mut desk, person.mrn).await?;

    let updated = send(
        &world,
        &adt_a08(person, "T-A08-1").replace(person.phone, "312-555-0199"),
    )
    .await?;
    until_shown(&mut desk, &page.path, "555-0199", ONE_SECOND).await?;
    let ended = send(&world, &adt_a03(person, "T-A03-1")).await?;

    assert_eq!((updated.code(), ended.code()), ("AA", "AA"));
    until_shown(&mut desk, &page.path, "Discharged", ONE_SECOND).await?;
    Ok(())
}

#[tokio::test]
async fn a_type_that_is_not_taken_is_refused_with_its_reason_and_listed() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let cancelled = adt_a08(&CLINIC_DAY[5], "T-A11-1").replace("ADT^A08^ADT_A01", "ADT^A11^ADT_A09");

    let answer = send(&world, &cancelled).await?;

    assert_eq!((answer.code(), answer.answers()), ("AR", "T-A11-1"));
    assert_eq!(answer.field("ERR", 3).split('^').next(), Some("201"));
    until_shown(&mut desk, "/work", "ADT^A11", ONE_SECOND).await?;
    Ok(())
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_answered_with_segment_and_field() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let person = &CLINIC_DAY[6];
    let born = person.birth_date.replace('-', "");

    let answer = send(&world, &adt_a04(person, "T-A04-6").replace(&born, "19831399")).await?;

    assert!(matches!(answer.code(), "AE" | "AR"), "{answer:?}");
    assert_eq!(answer.field("ERR", 2), "PID^1^7");
    assert!(
        !format!("{answer:?}").contains("19831399"),
        "the answer repeats the content"
    );
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_no_message_are_answered_or_hung_up_on_and_harm_nobody_else() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut rubbish = RawMllp::connect(world.mllp()?).await?;

    let answered = rubbish.send(b"GET / HTTP/1.1\r\n\r\n", ANSWERED).await;
    let after = send(&world, &adt_a04(&CLINIC_DAY[7], "T-A04-7")).await?;

    assert!(answered.is_err() || answered.is_ok_and(|(answer, _)| matches!(answer.code(), "AE" | "AR")));
    assert_eq!(after.code(), "AA");
    Ok(())
}

/// Every message of a corpus nobody here wrote: taken when it is one of ours, refused by name when not, always answered.
#[tokio::test]
async fn every_message_of_the_corpus_is_answered_within_five_seconds() -> Result<()> {
    let Some(corpus) = std::env::var_os("MAINSTAY_CORPUS_DIR") else {
        println!("MAINSTAY_CORPUS_DIR is not set: no corpus was sent");
        return Ok(());
    };
    let world = World::open(Target::Person).await?;
    let files = messages_in(&Path::new(&corpus).join("microsoft"))?;
    let mut refused = 0;

    for file in &files {
        let name = file.display();
        let bytes = std::fs::read(file)?;
        let mut peer = RawMllp::connect(world.mllp()?).await?;
        let (answer, _) = peer.send(&bytes, ANSWERED).await.with_context(|| format!("{name}"))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let ours = [
            "ADT^A04", "ADT^A08", "ADT^A03", "ADT^A40", "ORU^R01", "SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15",
            "SIU^S26",
        ];
        let ours = ours
            .iter()
            .any(|kind| text.lines().next().unwrap_or_default().contains(kind));
        match (ours, answer.code()) {
            (true, "AA") => {}
            (false, "AR") => {
                assert_eq!(error_code(&answer), "201", "{name}: {answer:?}");
                refused += 1;
            }
            (_, code) => panic!("{name} was answered {code}: {answer:?}"),
        }
    }

    assert_eq!(count(&world.status().await?, "/rejected_messages")?, refused);
    let mut desk = world.desk().await?;
    until_shown(&mut desk, "/work", "Messages not taken", ONE_SECOND).await?;
    Ok(())
}

/// The corpus's own example of one number from two authorities.
#[tokio::test]
async fn the_corpus_result_with_a_number_of_another_authority_ends_unmatched() -> Result<()> {
    let Some(corpus) = std::env::var_os("MAINSTAY_CORPUS_DIR") else {
        println!("MAINSTAY_CORPUS_DIR is not set: no corpus was sent");
        return Ok(());
    };
    let world = World::open(Target::Person).await?;
    let folder = Path::new(&corpus).join("microsoft");
    let registered = send_with_mllp_send(world.mllp()?, &folder.join("ADT-A04-01.hl7")).await?;
    let mut peer = RawMllp::connect(world.mllp()?).await?;

    let (result, _) = peer
        .send(&std::fs::read(folder.join("LRI_2.0-NG_CBC_Typ_Message.hl7"))?, ANSWERED)
        .await?;

    assert_eq!((registered[0].code(), result.code()), ("AA", "AA"));
    assert_eq!(count(&world.status().await?, "/unmatched")?, 1);
    Ok(())
}

/// ERR-3.1, which every answer of ours has, whatever the sender's version.
fn error_code(answer: &Acknowledgement) -> &str {
    answer.field("ERR", 3).split('^').next().unwrap_or_default()
}

fn messages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "hl7") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
