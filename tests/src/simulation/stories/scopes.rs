//! Records that leave a site's scope and come back, while somebody writes on them.

use super::*;

pub(super) fn forget_then_acknowledge(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let site = world.sites[0];
    world.no_longer_needed(site, patient)?;
    // Both hear of the offer while somebody works with the patient.
    for agent in 0..2 {
        world.send_pull(agent, 4_000, true)?;
        world.settle_line(agent)?;
    }

    // One agrees and its word is lost; the other agrees, and the answer to that is lost.
    world.send_pull(0, 4_000, false)?;
    world.network.clear();
    world.send_pull(1, 4_000, false)?;
    world.deliver_requests_and_lose_answers()?;

    world.heal_and_check()?;
    for agent in 0..2 {
        let held = world.agents[agent].disk.store.bases.contains_key(&patient);
        hold(Invariant::BasesEqual, !held, || {
            format!("agent {agent} still holds what its site forgot")
        })?;
    }
    Ok(())
}

/// The site of agent 0 forgets the patient, and both its agents have heard.
fn forgotten(world: &mut World, patient: RecordId) -> Checked<()> {
    let site = world.sites[0];
    world.no_longer_needed(site, patient)?;
    for _ in 0..3 {
        for agent in 0..world.agents.len() {
            world.exchange(agent)?;
        }
    }
    let held = world.agents[0].disk.store.bases.contains_key(&patient);
    hold(Invariant::BasesEqual, !held, || {
        "the patient was not forgotten".to_owned()
    })
}

pub(super) fn a_stale_form_after_a_purge(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let form = world.open_form(A, patient, PATIENT);
    forgotten(&mut world, patient)?;

    let change = world.submit(&form, &Wish::field(PHONE, "602-555-0104"), Crash::Never)?;

    world.heal_and_check()?;
    let change: Vec<_> = change.into_iter().collect();
    world.expect_live(patient, PHONE, &change)?;
    let base = world.agents[0].disk.store.bases.get(&patient);
    let shown = base.and_then(|(_, base)| base.register(PHONE));
    hold(
        Invariant::BasesEqual,
        change.len() == 1 && shown.is_some_and(|register| register.values.keys().eq(change.iter())),
        || "the change of a stale form never came back in a base".to_owned(),
    )
}

pub(super) fn a_vector_that_over_claims(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let first = world.write(A, patient, PHONE, "602-555-0105")?;
    world.exchange(0)?;
    let stale = world.open_form(A, patient, PATIENT);
    forgotten(&mut world, patient)?;
    world.submit(&stale, &Wish::field(EMAIL, "ada@example.org"), Crash::Never)?;

    // What is shown now is the e-mail alone; whoever fills in a phone has seen none.
    let second = world.write(A, patient, PHONE, "602-555-0106")?;

    world.heal_and_check()?;
    world.expect_live(patient, PHONE, &[first, second])
}

pub(super) fn left_and_entered_while_edited_offline(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::TwoSites)?;
    let there = world.sites[1];
    // Offered, and needed again, while the line is cut.
    world.agents[1].line = Line::Cut;
    let offline = world.write(B, patient, PHONE, "602-555-0107")?;
    world.no_longer_needed(there, patient)?;
    world.needed_again(there, patient)?;
    world.agents[1].line = Line::Whole;
    world.exchange(1)?;

    // Gone at the hub, which the site has not heard when it writes.
    world.no_longer_needed(there, patient)?;
    world.send_pull(1, 4_000, true)?;
    world.settle_line(1)?;
    world.send_pull(1, 4_000, false)?;
    world.deliver_requests_and_lose_answers()?;
    let unheard = world.write(B, patient, EMAIL, "ada@example.org")?;
    world.needed_again(there, patient)?;

    world.heal_and_check()?;
    world.expect_live(patient, PHONE, &[offline])?;
    world.expect_live(patient, EMAIL, &[unheard])?;
    let held = world.agents[1].disk.store.bases.contains_key(&patient);
    hold(Invariant::BasesEqual, held, || {
        "the site lacks what it needs again".to_owned()
    })
}

pub(super) fn gone_while_an_edit_waits(setup: Setup) -> Result<(), Failure> {
    let (mut world, _) = clinic(setup, Topology::OneSite)?;
    let site = world.sites[0];
    let allergy = world.new_record(ALLERGY, site);
    world.assert_allergy(B, allergy, "latex")?;
    world.send_push(1, 4_000)?;
    world.settle_line(1)?;
    // The other store of the site lets it go before its author has had it in a base.
    world.exchange(0)?;
    world.no_longer_needed(site, allergy)?;
    world.exchange(0)?;
    world.exchange(0)?;
    world.assert_allergy(B, allergy, "peanut")?;

    world.send_pull(1, 4_000, false)?;
    world.settle_line(1)?;

    // Whatever has the view made anew meanwhile shows both.
    world.reborn(1, Crash::Never)?;
    world.check_at_agent(1, allergy)?;
    world.heal_and_check()?;
    let view = world.agents[1].disk.store.view(allergy);
    let asserted = view.map_or(0, |view| view.elements(ASSERTION).count());
    hold(Invariant::AllergyStays, asserted == 2, || {
        format!("{asserted} of two assertions are shown")
    })
}

pub(super) fn a_resurrecting_tombstone(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let site = world.sites[0];
    let allergy = world.new_record(ALLERGY, site);
    let asserted = world.assert_allergy(A, allergy, "latex")?;
    world.exchange(0)?;
    world.exchange(1)?;
    world.copy_agent(1)?;
    world.clone_agent(1)?;
    let refuted = Wish::element(ASSERTION, Act::Refute, Raw::null(), &[asserted]);
    world.edit(A, allergy, ALLERGY, &refuted)?;
    world.heal_and_check()?;
    world.no_longer_needed(site, patient)?;
    world.heal_and_check()?;

    // Whoever comes back from before either holds both as they were.
    world.restore_agent(1)?;
    world.write(B, patient, EMAIL, "eve@example.org")?;
    world.restore_agent(1)?;
    world.heal_and_check()?;

    for agent in 0..world.agents.len() {
        let view = world.agents[agent].disk.store.view(allergy);
        let active = view.is_none_or(|view| rules::assertions(view, ASSERTION).active);
        hold(Invariant::EffectEqualsOracle, !active, || {
            format!("agent {agent} shows an allergy again that was refuted")
        })?;
        let held = world.agents[agent].disk.store.bases.contains_key(&patient);
        hold(Invariant::BasesEqual, !held, || {
            format!("agent {agent} holds a record again that its site forgot")
        })?;
    }
    Ok(())
}
