//! Copies, clones, and what is named outside the store.

use clinic::numbering;

use super::records::IDENTIFIER;
use super::*;

pub(super) fn dots_held_outside_the_store(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let before = world.agents[0].disk.store.head.replica;
    let first = world.write(A, patient, PHONE, "602-555-0108")?;
    let form = world.open_form(A, patient, PATIENT);
    let shown = form
        .fields
        .get(&PHONE)
        .is_some_and(|live| live.iter().any(|(id, _)| *id == first));
    world.reborn(0, Crash::Never)?;
    world.expect_reborn(0, before)?;

    let second = world.submit(&form, &Wish::field(PHONE, "602-555-0109"), Crash::Never)?;

    world.heal_and_check()?;
    hold(Invariant::SaysNothing, shown && second.is_some(), || {
        "the form did not show what was written before".to_owned()
    })?;
    world.expect_live(patient, PHONE, &second.into_iter().collect::<Vec<_>>())
}

pub(super) fn the_same_number_after_a_clone(setup: Setup) -> Result<(), Failure> {
    let (mut world, _) = clinic(setup, Topology::OneSite)?;
    let site = world.sites[0];
    let (series, counter) = (7, 5);
    world.clone_agent(0)?;
    let (here, there) = (world.new_record(PATIENT, site), world.new_record(PATIENT, site));
    let number = records::number(&numbering::mint(series, counter, None).unwrap_or_default());
    for (writer, patient) in [(A, here), (CLONE, there)] {
        world.write(writer, patient, PHONE, "602-555-0110")?;
        let known = Wish::element(IDENTIFIER, Act::Assert, number.clone(), &[]);
        world.edit(writer, patient, PATIENT, &known)?;
    }

    world.heal_and_check()?;

    // Two persons keep one number each, side by side, for a person to tell apart; neither is the other.
    for agent in 0..world.agents.len() {
        for patient in [here, there] {
            let view = world.agents[agent].disk.store.view(patient);
            let known = view.is_some_and(|view| view.elements(IDENTIFIER).any(|(_, element)| element.value == number));
            hold(Invariant::NothingLost, known, || {
                format!("agent {agent} does not know {patient:?} by its number")
            })?;
        }
    }
    let replicas = [0, 2].map(|agent| world.agents[agent].disk.store.head.replica);
    let next = replicas.map(|replica| numbering::mint(series, counter + 1, Some(replica)));
    hold(Invariant::DotNamesOneContent, next[0] != next[1], || {
        "after the rebirth both still give the same numbers".to_owned()
    })
}
