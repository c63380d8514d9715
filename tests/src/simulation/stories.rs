//! The failures that the design was learnt from, as scripts: the shortest course of events that shows each, and what must
//! come of it. Random runs find some of them once in tens of thousands of seeds.

use std::collections::BTreeSet;

use sync_protocol::cbor::Raw;
use sync_protocol::hub::Standing;
use sync_protocol::rules::{self, Ask};
use sync_protocol::{Act, ChangeId, FieldId, RecordId};

use super::network::{Line, Message};
use super::plan::{Rates, Setup, Topology};
use super::records::{self, ALLERGY, ASSERTION, BIRTH_DATE, EMAIL, PATIENT, PHONE, REASON, VISIT};
use super::rng::Rng;
use super::trace::{Checked, Failure, Invariant, hold};
use super::world::{Crash, World};
use super::writers::{Wish, Writer};

mod delivery;
mod hub_lives;
mod identity;
mod load;
mod proof;
mod scopes;

pub struct Story {
    pub number: u32,
    pub name: &'static str,
    pub says: &'static str,
    pub tell: fn(Setup) -> Result<(), Failure>,
}

pub const STORIES: &[Story] = &[
    Story {
        number: 1,
        name: "a clone pulls before it pushes",
        says: "both copies write their next change under the same dot; neither may take the other's for its own",
        tell: a_clone_pulls_before_it_pushes,
    },
    Story {
        number: 2,
        name: "quarantine resurrects",
        says: "a quarantined value is released after the value that replaced it; it must not come back",
        tell: quarantine_resurrects,
    },
    Story {
        number: 3,
        name: "an alias that changes nothing",
        says: "a change is pushed, the reply lost, the agent reborn and the change pushed again; it must not stay pending",
        tell: an_alias_that_changes_nothing,
    },
    Story {
        number: 4,
        name: "forget, then acknowledge",
        says: "two stores of a site agree to forget a record and words are lost; both must forget it, with equal roots",
        tell: scopes::forget_then_acknowledge,
    },
    Story {
        number: 5,
        name: "a stale form after a purge",
        says: "its change must be accepted, enter the record again and come back in a base",
        tell: scopes::a_stale_form_after_a_purge,
    },
    Story {
        number: 6,
        name: "a vector that over-claims",
        says: "a form after a purge shows less than the writer's vector covers; what it did not show must stay",
        tell: scopes::a_vector_that_over_claims,
    },
    Story {
        number: 7,
        name: "dots held outside the store",
        says: "a form is open while its agent is reborn; what it showed must be replaced all the same",
        tell: identity::dots_held_outside_the_store,
    },
    Story {
        number: 8,
        name: "one dot, two contents",
        says: "hub and agent go back before a change, and another takes its number; both must stay, each under a number of its own",
        tell: hub_lives::one_dot_two_contents,
    },
    Story {
        number: 9,
        name: "facts of the dead",
        says: "the hub goes back and a machine is lost; what only another site holds must come back, and be pulled over by nothing",
        tell: hub_lives::facts_of_the_dead,
    },
    Story {
        number: 10,
        name: "a root across lanes",
        says: "one lane is at its head and another behind; nothing must be taken for damage",
        tell: proof::one_lane_behind,
    },
    Story {
        number: 11,
        name: "a hub that was put back, noticed and not",
        says: "it writes on, under numbers that it gave before if nothing told it; what is new must stay, and what it lost come back",
        tell: hub_lives::a_hub_that_was_put_back,
    },
    Story {
        number: 12,
        name: "a partner that commits and is not heard",
        says: "the task must be done once, and never confirmed as withdrawn",
        tell: delivery::a_partner_that_commits_and_is_not_heard,
    },
    Story {
        number: 13,
        name: "two hub restores, a rebirth and a quarantined change",
        says: "in every order of these events nothing stays pending at its author, and the change has its effect once",
        tell: hub_lives::two_restores_a_rebirth_and_a_quarantine,
    },
    Story {
        number: 14,
        name: "acknowledged, and gone with the hub",
        says: "the hub goes back before a change that it acknowledged and that no base holds; its author must push it again",
        tell: hub_lives::acknowledged_and_gone_with_the_hub,
    },
    Story {
        number: 15,
        name: "penicillin and sulfa",
        says: "an agent and its clone each add an allergy; both must be active everywhere",
        tell: penicillin_and_sulfa,
    },
    Story {
        number: 16,
        name: "the last agreed birth date",
        says: "two sites replace it; it must go on being shown while both new values wait for a person",
        tell: the_last_agreed_birth_date,
    },
    Story {
        number: 17,
        name: "the repeated message",
        says: "an outside source repeats an old phone after a person corrected it; the correction must stand",
        tell: the_repeated_message,
    },
    Story {
        number: 18,
        name: "the lost word of a quarantine",
        says: "the reply that told of a quarantined change is lost; the next one must tell its author again",
        tell: the_lost_word_of_a_quarantine,
    },
    Story {
        number: 101,
        name: "slow against fast transaction",
        says: "a hub process commits after a faster one; its rows must reach whoever pulled in between",
        tell: load::slow_against_fast,
    },
    Story {
        number: 102,
        name: "delete against a concurrent severity change",
        says: "an allergy is refuted while another site changes its severity; it must stay active until a person saw both",
        tell: delete_against_a_severity_change,
    },
    Story {
        number: 103,
        name: "three minutes slow, ten years fast",
        says: "clocks must lose nothing, and a value that was seen must be replaced whatever they say",
        tell: load::clocks_far_apart,
    },
    Story {
        number: 104,
        name: "leave and enter again while edited offline",
        says: "what was written in between must reach the hub, and the record the site",
        tell: scopes::left_and_entered_while_edited_offline,
    },
    Story {
        number: 105,
        name: "differences that cancel",
        says: "two values of a base are exchanged by rot; the proof must tell",
        tell: proof::differences_that_cancel,
    },
    Story {
        number: 106,
        name: "a vector that rotted",
        says: "a base counts a change less; the proof must tell",
        tell: proof::a_vector_that_rotted,
    },
    Story {
        number: 107,
        name: "a resurrecting tombstone",
        says: "agents come back from before a refutation and a purge; neither must be undone",
        tell: scopes::a_resurrecting_tombstone,
    },
    Story {
        number: 108,
        name: "poison in front of five hundred good changes",
        says: "it is set apart and the five hundred must arrive in the same exchange",
        tell: load::poison_in_front,
    },
    Story {
        number: 109,
        name: "the same TEMP number after a clone",
        says: "two patients with one number must both stay, apart, and the next numbers must differ",
        tell: identity::the_same_number_after_a_clone,
    },
    Story {
        number: 110,
        name: "a thousand sites after a hub restart",
        says: "all must come back within the window, spread over it, with nothing pending",
        tell: load::a_thousand_sites_after_a_restart,
    },
    Story {
        number: 111,
        name: "two of the hub's own in one returned state",
        says: "the hub is put back from before it wrote both; neither may hide behind the other's number",
        tell: hub_lives::two_of_the_hubs_own_in_one_state,
    },
    Story {
        number: 112,
        name: "gone while an edit waits",
        says: "a record leaves the scope when one change on it was pushed and another was not; both must stay shown",
        tell: scopes::gone_while_an_edit_waits,
    },
    Story {
        number: 113,
        name: "a record that is full",
        says: "two sites add to one record more than it may hold; what is too much is set apart, and nothing else stops",
        tell: load::a_record_that_is_full,
    },
];

const A: Writer = Writer::Agent(0);
const B: Writer = Writer::Agent(1);
/// The first clone comes after the two agents that every world begins with.
const CLONE: Writer = Writer::Agent(2);

/// A world with one patient whom every agent knows.
fn clinic(setup: Setup, topology: Topology) -> Checked<(World, RecordId)> {
    let mut world = World::new(topology, 1, setup, true);
    let site = world.sites[0];
    let patient = world.new_record(PATIENT, site);
    world.edit(A, patient, PATIENT, &Wish::field(PHONE, "602-555-0100"))?;
    world.edit(A, patient, PATIENT, &Wish::field(BIRTH_DATE, "1980-02-03"))?;
    world.exchange(0)?;
    world.exchange(1)?;
    Ok((world, patient))
}

impl World {
    /// Writes a field from a fresh form; it must be a change.
    fn write(&mut self, writer: Writer, record: RecordId, field: FieldId, value: &str) -> Checked<ChangeId> {
        let written = self.edit(writer, record, PATIENT, &Wish::field(field, value))?;
        written.ok_or_else(|| Failure::new(Invariant::SaysNothing, "a new value was no change"))
    }

    fn assert_allergy(&mut self, writer: Writer, record: RecordId, substance: &str) -> Checked<ChangeId> {
        let wish = Wish::element(ASSERTION, Act::Assert, records::statement(substance), &[]);
        let written = self.edit(writer, record, ALLERGY, &wish)?;
        written.ok_or_else(|| Failure::new(Invariant::SaysNothing, "an allergy was no change"))
    }

    /// The hub commits the agent's push, and its reply never arrives.
    fn push_and_lose_the_reply(&mut self, agent: usize) -> Checked<()> {
        self.send_push(agent, 4_000)?;
        while let Some(at) = self
            .network
            .iter()
            .position(|envelope| envelope.message == Message::Push)
        {
            let envelope = self.network.remove(at);
            self.deliver(agent, envelope.open()?, Crash::After)?;
        }
        Ok(())
    }

    /// What was asked reaches the hub, and no answer comes back.
    fn deliver_requests_and_lose_answers(&mut self) -> Checked<()> {
        for envelope in std::mem::take(&mut self.network) {
            self.deliver(envelope.agent, envelope.open()?, Crash::After)?;
        }
        self.network.clear();
        Ok(())
    }

    fn live_at_hub(&self, record: RecordId, field: FieldId) -> BTreeSet<ChangeId> {
        let register = self
            .hub
            .store
            .states
            .get(&record)
            .and_then(|state| state.register(field));
        register
            .into_iter()
            .flat_map(|register| register.values.keys().copied())
            .collect()
    }

    fn expect_live(&self, record: RecordId, field: FieldId, expected: &[ChangeId]) -> Checked<()> {
        let live = self.live_at_hub(record, field);
        hold(
            Invariant::EffectEqualsOracle,
            live == expected.iter().copied().collect(),
            || format!("live are {live:?}, should be {expected:?}"),
        )
    }

    /// The number of incarnations that an agent's changes at the hub come from tells whether somebody was reborn.
    fn expect_reborn(&self, agent: usize, before: sync_protocol::ReplicaId) -> Checked<()> {
        let now = self.agents[agent].disk.store.head.replica;
        hold(Invariant::DotNamesOneContent, now != before, || {
            format!("agent {agent} kept its incarnation")
        })
    }
}

fn a_clone_pulls_before_it_pushes(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    world.clone_agent(0)?;
    let shared = world.agents[2].disk.store.head.replica;
    let phone = world.write(A, patient, PHONE, "602-555-0101")?;
    let email = world.write(CLONE, patient, EMAIL, "ada@example.org")?;
    world.exchange(0)?;

    world.send_pull(2, 4_000, false)?;
    world.settle_line(2)?;

    world.expect_reborn(2, shared)?;
    world.heal_and_check()?;
    world.expect_live(patient, PHONE, &[phone])?;
    world.expect_live(patient, EMAIL, &[email])
}

fn quarantine_resurrects(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let newer = Wish {
        fields: vec![(PHONE, records::of_newer_form(1, 1))],
        elements: Vec::new(),
    };
    let first = world.edit(A, patient, PATIENT, &newer)?;
    let second = world.write(A, patient, PHONE, "602-555-0102")?;
    world.exchange(0)?;
    world.expect_live(patient, PHONE, &[second])?;

    world.release(1)?;

    world.expect_live(patient, PHONE, &[second])?;
    let released = first.is_some_and(|id| world.hub.store.applied_to(patient).contains(&id));
    hold(Invariant::QuarantineIsAdmission, released, || {
        "the first value was not released".to_owned()
    })?;
    world.heal_and_check()
}

fn an_alias_that_changes_nothing(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let before = world.agents[0].disk.store.head.replica;
    let change = world.write(A, patient, PHONE, "602-555-0103")?;
    world.push_and_lose_the_reply(0)?;

    world.reborn(0, Crash::Never)?;
    world.exchange(0)?;

    world.expect_reborn(0, before)?;
    let pending = world.agents[0].disk.store.unsettled().count();
    hold(Invariant::PendingEnds, pending == 0, || {
        format!("{pending} changes are pending for ever")
    })?;
    let again = world
        .hub
        .store
        .kept
        .values()
        .filter(|kept| kept.standing == Standing::Alias)
        .count();
    hold(Invariant::EffectOnce, again == 1, || {
        format!("{again} aliases where the change was pushed twice")
    })?;
    world.heal_and_check()?;
    world.expect_live(patient, PHONE, &[change])
}

fn penicillin_and_sulfa(setup: Setup) -> Result<(), Failure> {
    let (mut world, _) = clinic(setup, Topology::TwoSites)?;
    let site = world.sites[0];
    let (penicillin, sulfa, list) = (
        world.new_record(ALLERGY, site),
        world.new_record(ALLERGY, site),
        world.new_record(ALLERGY, site),
    );
    world.assert_allergy(A, list, "none recorded yet")?;
    world.exchange(0)?;
    world.clone_agent(0)?;

    // Under the same dots, on records of their own and on one that both have.
    world.assert_allergy(A, penicillin, "penicillin")?;
    world.assert_allergy(CLONE, sulfa, "sulfa")?;
    let on_list = [
        world.assert_allergy(A, list, "penicillin")?,
        world.assert_allergy(CLONE, list, "sulfa")?,
    ];
    world.heal_and_check()?;

    for agent in 0..world.agents.len() {
        for record in [penicillin, sulfa, list] {
            let view = world.agents[agent].disk.store.view(record);
            let active = view.is_some_and(|view| rules::assertions(view, ASSERTION).active);
            hold(Invariant::AllergyStays, active, || {
                format!("agent {agent} does not show {record:?} as active")
            })?;
        }
        let view = world.agents[agent].disk.store.view(list);
        let listed = on_list
            .iter()
            .all(|id| view.is_some_and(|view| view.elements(ASSERTION).any(|(e, _)| e == id)));
        hold(Invariant::AllergyStays, listed, || {
            format!("agent {agent} lacks one of two assertions")
        })?;
    }
    Ok(())
}

fn the_last_agreed_birth_date(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::TwoSites)?;
    let here = world.write(A, patient, BIRTH_DATE, "1980-03-02")?;
    let there = world.write(B, patient, BIRTH_DATE, "1980-02-23")?;
    world.heal_and_check()?;

    for agent in 0..2 {
        let register = world.agents[agent]
            .disk
            .store
            .view(patient)
            .and_then(|view| view.register(BIRTH_DATE));
        let listed = match register.map(rules::ask) {
            Some(Ask::Open { standing, values }) => {
                let ids: BTreeSet<_> = values.iter().map(|(id, _)| **id).collect();
                standing == Some(&Raw::text("1980-02-03")) && ids == BTreeSet::from([here, there])
            }
            Some(Ask::Nothing | Ask::Agreed(_)) | None => false,
        };
        hold(Invariant::AskRetrievable, listed, || {
            format!("agent {agent} does not show what was agreed and both new")
        })?;
    }

    let decided = world.write(B, patient, BIRTH_DATE, "1980-03-02")?;
    world.heal_and_check()?;
    world.expect_live(patient, BIRTH_DATE, &[decided])
}

fn the_repeated_message(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let message = |world: &mut World, phone: &str| {
        let form = world.open_message(A, 1, patient, PHONE);
        world.submit(&form, &Wish::field(PHONE, phone), Crash::Never)
    };
    message(&mut world, "602-555-0199")?;
    let corrected = world.write(A, patient, PHONE, "602-555-0177")?;
    world.exchange(0)?;

    let repeated = message(&mut world, "602-555-0199")?;

    hold(Invariant::SaysNothing, repeated.is_none(), || {
        "the repeated message was a change".to_owned()
    })?;
    world.expect_live(patient, PHONE, &[corrected])?;

    // A new number is news: it stands beside the person's edit, which its source never saw.
    let news = message(&mut world, "602-555-0188")?;
    world.heal_and_check()?;
    let both: Vec<_> = news.into_iter().chain([corrected]).collect();
    world.expect_live(patient, PHONE, &both)
}

fn the_lost_word_of_a_quarantine(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let newer = Wish {
        fields: vec![(PHONE, records::of_newer_form(1, 1))],
        elements: Vec::new(),
    };
    let change = world.edit(A, patient, PATIENT, &newer)?;
    world.push_and_lose_the_reply(0)?;

    world.exchange(0)?;

    let told = change.and_then(|id| world.agents[0].disk.store.quarantined.get(&id).copied());
    hold(Invariant::PendingEnds, told == Some(records::NEWER_FORM), || {
        format!("the author was told {told:?} of its quarantined change")
    })?;
    world.heal_and_check()
}

fn delete_against_a_severity_change(setup: Setup) -> Result<(), Failure> {
    let (mut world, _) = clinic(setup, Topology::TwoSites)?;
    let site = world.sites[0];
    let allergy = world.new_record(ALLERGY, site);
    let mild = world.assert_allergy(A, allergy, "peanut, mild")?;
    world.heal_and_check()?;

    let refutation = Wish::element(ASSERTION, Act::Refute, Raw::null(), &[mild]);
    world.edit(A, allergy, ALLERGY, &refutation)?;
    let severe = world.assert_allergy(B, allergy, "peanut, severe")?;
    world.heal_and_check()?;
    expect_active(&world, allergy, true)?;

    // Somebody who sees both may say that neither is so.
    let refutation = Wish::element(ASSERTION, Act::Refute, Raw::null(), &[mild, severe]);
    world.edit(B, allergy, ALLERGY, &refutation)?;
    world.heal_and_check()?;
    expect_active(&world, allergy, false)
}

fn expect_active(world: &World, allergy: RecordId, expected: bool) -> Checked<()> {
    for (at, agent) in world.agents.iter().enumerate() {
        let view = agent.disk.store.view(allergy);
        let active = view.is_some_and(|view| world.shows_as_active(view));
        hold(Invariant::AllergyStays, active == expected, || {
            format!("agent {at} shows the allergy as active: {active}, should be: {expected}")
        })?;
    }
    Ok(())
}
