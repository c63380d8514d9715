//! What must be true when everything runs again and has had its time.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use clinic::catalogue::{allergy, patient};
use serde_json::Value;
use tests::fleet::{Fleet, SimAgent, substances};

use super::patience;
use super::sites::{Sites, rebirths};
use super::writer::Sent;

/// Heals, waits until all agree, and looks at the hub with eyes that have never been there: a new store at each site.
pub(super) async fn check(sites: &mut Sites, written: &[Vec<Sent>]) -> Result<()> {
    all_agree(sites).await?;
    told_of_new_identities(sites).await?;
    told_of_new_lives(sites).await?;

    let socket = sites.socket()?;
    let mut fresh = Vec::new();
    for clinic in &sites.several.clinics {
        fresh.push(SimAgent::enrol(&socket, &clinic.site).await?);
    }
    let mut fleet = Fleet::of(fresh);
    fleet.start();
    fleet.until_agreed(patience()).await?;
    for (site, sent) in written.iter().enumerate() {
        once_each(&fleet.agents[site], sent).with_context(|| format!("site {site}"))?;
    }
    let total = fleet.total();
    ensure!(total.refused.is_empty() && total.unequal == 0, "{total}");
    fleet.stop().await;
    Ok(())
}

async fn all_agree(sites: &Sites) -> Result<()> {
    let mut last = Vec::new();
    let agreed = tests::until(patience(), "every agent to agree with the hub", async || {
        last = sites.statuses().await?;
        Ok(last.iter().all(|(_, status)| agrees(status)).then_some(()))
    })
    .await;
    agreed.with_context(|| {
        let behind = last.iter().filter(|(_, status)| !agrees(status));
        let told: Vec<String> = behind.map(|(name, status)| how_it_stands(name, status)).collect();
        told.join("; ")
    })
}

/// What a status says of the exchange, for whoever reads of a failure.
pub(super) fn how_it_stands(name: &str, status: &Value) -> String {
    let told = [
        "pending",
        "quarantined",
        "behind",
        "filling",
        "frozen",
        "line",
        "repairs",
        "roots",
        "warnings",
    ];
    let told = told.map(|part| format!("{part} {}", status[part]));
    format!("{name}: {}", told.join(", "))
}

fn agrees(status: &Value) -> bool {
    tests::house::agrees(status) && status["quarantined"] == 0
}

/// The hub says which lives of its store began and why, and warns of them.
async fn told_of_new_lives(sites: &Sites) -> Result<()> {
    let status = sites.several.hubs[0].service.answer(&["status", "--json"]).await?;
    let begun = status["begun"].as_array().context("the hub lists no lives")?;
    ensure!(
        begun.is_empty() != sites.hub_was_put_back,
        "the hub's store was put back or was not, and it says: {}",
        status["begun"]
    );
    for life in begun {
        ensure!(
            life["cause"].as_str().is_some_and(|cause| !cause.is_empty()),
            "the hub does not say why a life began: {life}"
        );
    }
    let warned = status["warnings"].to_string();
    ensure!(
        begun.is_empty() || warned.contains("put back to an older copy"),
        "the hub does not warn that it was put back: {warned}"
    );
    Ok(())
}

/// Whoever was put back, and one at least of the two that were one, has another name and says why.
async fn told_of_new_identities(sites: &Sites) -> Result<()> {
    let statuses = sites.statuses().await?;
    for (name, status) in &statuses {
        for rebirth in status["rebirths"].as_array().into_iter().flatten() {
            let cause = rebirth["cause"].as_str().unwrap_or_default();
            ensure!(!cause.is_empty(), "{name} does not say why it took a new identity");
        }
        let warned = status["warnings"].to_string();
        ensure!(
            rebirths(status) == 0 || warned.contains("identity"),
            "{name} does not warn of its new identity: {warned}"
        );
    }
    let [_, (_, restored), (_, cloned), second @ ..] = statuses.as_slice() else {
        anyhow::bail!("three sites were expected");
    };
    ensure!(
        rebirths(restored) >= sites.restored_rebirths,
        "the agent that was put back to a copy took no new identity: {}",
        restored["rebirths"]
    );
    if let [(_, second)] = second {
        ensure!(
            rebirths(cloned) + rebirths(second) > 0 && cloned["incarnation"] != second["incarnation"],
            "two machines ran one folder and are still one"
        );
    }
    Ok(())
}

/// Every confirmed message that some store kept is there once; no message is there twice.
fn once_each(agent: &SimAgent, sent: &[Sent]) -> Result<()> {
    let (mut people, mut allergies) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    for state in agent.bases_of(patient::KIND) {
        for identifier in patient::IDENTIFIER.standing(&state) {
            *people.entry(identifier.value.expose().value.clone()).or_default() += 1;
        }
    }
    for substance in agent.bases_of(allergy::KIND).iter().flat_map(substances) {
        *allergies.entry(substance).or_default() += 1;
    }
    // TEMP numbers among them: none is given to two people, whichever life of the hub gave out its series.
    for (number, times) in &people {
        ensure!(*times == 1, "{times} people have the number {number}");
    }
    for message in sent {
        for (what, found) in [("patient", &people), ("allergy", &allergies)] {
            let times = found.get(&message.number).copied().unwrap_or_default();
            ensure!(times <= 1, "the {what} of {message:?} is there {times} times");
            ensure!(
                times == 1 || !message.confirmed || message.disk_lost,
                "the {what} of {message:?} is lost"
            );
        }
    }
    Ok(())
}
