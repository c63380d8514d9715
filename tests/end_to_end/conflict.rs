//! The same patient changed on both sides of a cut line: what can merge merges, what only a person can settle asks one.

use std::time::Duration;

use anyhow::Result;
use tests::house::Target;
use tests::people::CLINIC_DAY;

use crate::world::{World, arrive, count, edit, patient_id, patient_page, until_shown};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn phone_and_email_merge_both_allergies_stand_and_the_birth_date_waits_for_a_person() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[6];
    arrive(&mut desk, person).await?;
    let page = patient_page(&mut desk, person.family).await?;
    let patient = patient_id(&page)?;
    world.until_agreed().await?;

    world.line.cut().await?;
    let edits = [
        "--phone",
        "312-555-0177",
        "--birth-date",
        "1983-12-13",
        "--add-allergy",
        "Penicillin",
    ];
    world
        .hub
        .answer(&[&["patient", "edit", &patient], &edits[..], &["--json"]].concat())
        .await?;
    let page = edit(&mut desk, &page, "email", "jose@example.org").await?;
    let page = edit(&mut desk, &page, "birth_date", "12 11 1983").await?;
    desk.submit(
        &page.form_to(&format!("/patients/{patient}/allergies"))?,
        &[("substance", "Sulfa")],
    )
    .await?;
    world.line.restore().await?;
    world.until_agreed().await?;

    let path = format!("/patients/{patient}");
    let shown = until_shown(&mut desk, &path, "Penicillin", SOON).await?;
    let text = shown.text();
    for stands in ["555-0177", "jose@example.org", "Sulfa"] {
        assert!(text.contains(stands), "{stands} is not shown: {text}");
    }
    let active = shown.texts(".allergy-list .what").concat();
    assert!(active.contains("Penicillin") && active.contains("Sulfa"), "{active}");
    let sides = shown.texts(".sides .side");
    assert!(sides.iter().any(|side| side.contains("13 Dec 1983")), "{sides:?}");
    assert!(
        sides
            .iter()
            .any(|side| side.contains("11 Dec 1983") && side.contains("Quintero")),
        "{sides:?}"
    );
    assert_eq!(count(&world.status().await?, "/conflicts")?, 1);
    Ok(())
}

#[tokio::test]
async fn a_decided_birth_date_stands_on_both_sides() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[8];
    arrive(&mut desk, person).await?;
    let page = patient_page(&mut desk, person.family).await?;
    let patient = patient_id(&page)?;
    world.until_agreed().await?;
    world.line.cut().await?;
    world
        .hub
        .answer(&["patient", "edit", &patient, "--birth-date", "1969-03-01", "--json"])
        .await?;
    edit(&mut desk, &page, "birth_date", "02 27 1969").await?;
    world.line.restore().await?;
    world.until_agreed().await?;

    let asked = until_shown(&mut desk, &page.path, "two values", SOON).await?;
    let form = asked.form_to("/conflicts/")?;
    let kept = asked.attributes(".sides .side:first-child input[name=keep]", "value");
    desk.submit(&form, &[("keep", &kept[0])]).await?;
    world.until_agreed().await?;

    assert_eq!(count(&world.status().await?, "/conflicts")?, 0);
    assert!(!desk.open(&page.path).await?.text().contains("two values"));
    Ok(())
}
