//! A walk-in whom the EHR knows under another spelling: a person joins the two records, and the TEMP number goes on
//! finding the patient for as long as an analyser may print it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::hl7_peer::RawMllp;
use tests::house::Target;
use tests::people::{CLINIC_DAY, oru_r01};
use tests::until;

use crate::world::{World, arrive, count, patient_id, patient_page, temp_number, until_shown};

const SOON: Duration = Duration::from_secs(60);
const ANSWERED: Duration = Duration::from_secs(5);

/// The pair that waits for a person, once there is one.
async fn asked(world: &World) -> Result<Option<(String, String)>> {
    let answer = world.hub.answer(&["match", "list", "--json"]).await?;
    let pairs = answer.pointer("/pairs").or_else(|| answer.pointer("/reply/pairs"));
    let pair = pairs.and_then(Value::as_array).and_then(|pairs| pairs.first());
    Ok(pair.and_then(|pair| Some((pair["a"].as_str()?.to_owned(), pair["b"].as_str()?.to_owned()))))
}

#[tokio::test]
async fn a_result_with_a_temp_number_finds_the_patient_a_week_after_the_join() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let ehr = tests::ehr::Ehr::start(world.folder()).await?;
    world.hub.stop().await?;
    let file = world.hub.program.home().join("hub.toml");
    let config = std::fs::read_to_string(&file)?;
    let reading = format!(
        "\n[ehr]\nbase_url = \"{}\"\n\n[ehr.inbound]\nenabled = true\npoll_secs = 1\n",
        ehr.base_url()
    );
    std::fs::write(&file, config + &reading)?;
    world.hub.start().await?;
    let person = &CLINIC_DAY[0];
    let mut desk = world.desk().await?;
    let arrived = arrive(&mut desk, person).await?;
    let temp = temp_number(&arrived)?;
    let walk_in = patient_page(&mut desk, &temp).await?;

    // The same person as the EHR spells them: one letter of the family name is another.
    let misspelt = format!("{}e", person.family);
    let known = json!({"resourceType": "Patient", "name": [{"family": misspelt, "given": [person.given]}],
        "birthDate": person.birth_date, "telecom": [{"system": "phone", "value": person.phone}]});
    ehr.create(&known).await?;
    let (a, b) = until(SOON, "the two records to wait for a person", async || {
        asked(&world).await
    })
    .await?;
    ensure!([&a, &b].contains(&&patient_id(&walk_in)?), "the pair is of others");
    world.hub.answer(&["match", "link", &a, &b, "--json"]).await?;
    world.until_agreed().await?;

    world.agent.stop().await?;
    world.hub.stop().await?;
    world.agent.program = world.agent.program.clone().with_clock_off_by("+7d");
    world.hub.program = world.hub.program.clone().with_clock_off_by("+7d");
    world.hub.start().await?;
    world.agent.start().await?;
    let mut peer = RawMllp::connect(world.mllp()?).await?;
    let result = oru_r01(person, "W-1", "118").replace(person.mrn, &temp);
    let answer = peer.send(result.as_bytes(), ANSWERED).await?.0;

    assert_eq!(answer.code(), "AA", "{}", answer.field("ERR", 8));
    let mut desk = world.desk().await?;
    // One line for both records, and the result on the page it leads to.
    let page = patient_page(&mut desk, &temp).await?;
    until_shown(&mut desk, &page.path, "118", SOON).await?;
    assert_eq!(count(&world.status().await?, "/unmatched")?, 0);
    Ok(())
}
