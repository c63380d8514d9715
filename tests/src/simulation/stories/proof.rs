//! What the proof must notice, and what it must not take for damage.

use sync_protocol::proof;
use sync_protocol::{Lane, RecordState};

use super::super::leaf;
use super::*;

pub(super) fn one_lane_behind(setup: Setup) -> Result<(), Failure> {
    let (mut world, _) = clinic(setup, Topology::OneSite)?;
    let site = world.sites[0];
    let allergy = world.new_record(ALLERGY, site);
    world.assert_allergy(A, allergy, "latex")?;
    for at in 0..20 {
        let patient = world.new_record(PATIENT, site);
        world.write(A, patient, PHONE, &format!("602-555-02{at:02}"))?;
    }
    world.exchange(0)?;

    // The upper lane is at its head long before the others; every page's root is compared as it comes.
    for _ in 0..40 {
        world.send_pull(1, 400, false)?;
        world.settle_line(1)?;
    }

    world.heal_and_check()
}

/// Whether a look at the rows themselves, as at night, tells that an agent's bases are not the hub's.
fn is_noticed(world: &mut World, agent: usize, lane: Lane) -> bool {
    let site = world.agents[agent].site;
    let states = world.agents[agent].disk.store.bases.values();
    let states: Vec<RecordState> = states
        .filter(|(place, _)| place.lane == lane)
        .map(|(_, state)| (**state).clone())
        .collect();
    let sums = leaf::sums_of(world.variant, &world.key, states.iter());
    world.hub_root(site, lane) != Some(proof::root(site, lane, sums))
}

/// Rots the base of a record at agent 1 and expects the proof to tell.
fn rot(setup: Setup, what: &str, rot: impl Fn(&mut RecordState)) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    world.write(A, patient, EMAIL, "ada@example.org")?;
    world.heal_and_check()?;
    let lane = records::lane(PATIENT);
    hold(Invariant::RootsEqual, !is_noticed(&mut world, 1, lane), || {
        "the proof tells of damage where there is none".to_owned()
    })?;

    if let Some((_, base)) = world.agents[1].disk.store.bases.get_mut(&patient) {
        rot(std::sync::Arc::make_mut(base));
    }

    hold(Invariant::RootsEqual, is_noticed(&mut world, 1, lane), || {
        format!("{what}, and the roots are equal")
    })
}

pub(super) fn differences_that_cancel(setup: Setup) -> Result<(), Failure> {
    rot(setup, "two values were exchanged", |base| {
        let values: Vec<_> = [PHONE, EMAIL]
            .iter()
            .filter_map(|field| base.registers.remove(field))
            .collect();
        for (field, register) in [EMAIL, PHONE].into_iter().zip(values) {
            base.registers.insert(field, register);
        }
    })
}

pub(super) fn a_vector_that_rotted(setup: Setup) -> Result<(), Failure> {
    rot(setup, "the vector counts a change less", |base| {
        for entry in base.vector.entries.values_mut() {
            entry.upto -= 1;
        }
    })
}
