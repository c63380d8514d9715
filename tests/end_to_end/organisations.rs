//! Two organisations at one hub: each has its sites, staff and patients, and nothing that is asked of one reaches the
//! other, whoever asks.

use anyhow::{Context as _, Result};
use serde_json::Value;
use sync_protocol::ScopeId;
use tests::fleet::{HubSocket, SimAgent};
use tests::house::Target;
use tests::people::CLINIC_DAY;

use crate::world::{World, arrive};

fn found(answer: &Value) -> Result<usize> {
    let patients = answer.get("patients").context("no list of patients")?;
    Ok(patients.as_array().context("no list of patients")?.len())
}

#[tokio::test]
async fn nothing_of_one_organisation_is_reached_from_another() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world.until_agreed().await?;
    let family = CLINIC_DAY[0].family;

    let added = world
        .hub
        .answer(&["organisation", "add", "Lakeside Group", "--json"])
        .await?;
    let other = added["organisation"].as_str().context("it has no id")?.to_owned();
    let listed = world.hub.answer(&["organisation", "list", "--json"]).await?;
    let again = world
        .hub
        .program
        .verb(&["organisation", "add", "Lakeside Group"], None)
        .await?;
    let socket = HubSocket::of(world.hub.program.home())?.of_organisation(&other);
    let site = socket.add_site("Lakeside").await?;
    let agent = SimAgent::enrol(&socket, &site).await?;
    let first = ScopeId::parse(&world.site).context("the site's scope")?;

    assert_eq!(listed["organisations"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(again.code(), Some(1), "{}", again.stderr);
    assert_eq!(
        found(&world.hub.answer(&["patient", "find", family, "--json"]).await?)?,
        1
    );
    let there = ["patient", "find", family, "--organisation", &other, "--json"];
    assert_eq!(found(&world.hub.answer(&there).await?)?, 0);
    for (of, refused_site) in [(Some(other.as_str()), world.site.as_str()), (None, site.as_str())] {
        let mut verb = vec!["token", "--site", refused_site];
        verb.extend(of.into_iter().flat_map(|of| ["--organisation", of]));
        let refused = world.hub.program.verb(&verb, None).await?;
        assert_eq!(refused.code(), Some(1), "{}", refused.stdout);
        assert!(refused.stderr.contains("there is no site"), "{}", refused.stderr);
    }
    let refusal = agent.asks_for(first).await.unwrap_err();
    assert!(refusal.contains("403"), "{refusal}");
    agent.asks_for(agent.site).await.map_err(anyhow::Error::msg)?;
    let unknown = world
        .hub
        .program
        .verb(&["status", "--organisation", &world.site], None)
        .await?;
    assert_eq!(unknown.code(), Some(1), "{}", unknown.stdout);
    assert!(unknown.stderr.contains("organisation list"), "{}", unknown.stderr);
    Ok(())
}
