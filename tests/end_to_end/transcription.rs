//! A site whose EHR is a person: the same tasks, entered by hand, with the number the EHR gave.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::house::Target;
use tests::people::CLINIC_DAY;

use crate::world::{World, arrive, until_shown};

const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_registration_is_entered_by_hand_and_its_number_kept() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let person = &CLINIC_DAY[5];
    arrive(&mut desk, person).await?;
    let work = until_shown(&mut desk, "/work", person.family, SOON).await?;
    let task = work
        .attributes("a[href^='/tasks/']", "href")
        .into_iter()
        .next()
        .context("no task to enter by hand")?;

    let screen = desk.open(&task).await?;
    let values = screen.texts(".copy-list .value").join(" ");
    let entered = desk
        .submit(&screen.form_to("/tasks/")?, &[("already", "no"), ("number", "9000001")])
        .await?;

    assert!(
        values.contains(person.family) && values.contains(person.given),
        "{values}"
    );
    assert!(entered.status < 400, "{}", entered.text());
    let after = until_shown(&mut desk, &task, "9000001", SOON).await?;
    assert!(after.text().contains("Entered by"), "{}", after.text());
    world.until_agreed().await?;
    Ok(())
}
