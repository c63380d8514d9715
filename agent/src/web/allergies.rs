//! Allergies: what is active, what was refuted by whom and why, and what was said again without the refuter's knowing.

use clinic::catalogue::allergy;
use clinic::policy::Permission;
use clinic::read::Said;
use clinic::value::AllergyStatement;
use sync_protocol::{Phi, RecordId, RecordState, rules};

use super::patient_page::as_of;
use super::reading::{Reading, ids};
use super::views::{AllergyEntry, AllergyPanel};
use crate::access::links;
use crate::store::TxError;

pub(super) fn allergies(reading: &Reading<'_, '_>, patient: RecordId) -> Result<AllergyPanel, TxError> {
    let (mut active, mut refuted) = (Vec::new(), Vec::new());
    // What is known of a linked record is known of this person.
    let mut stored = Vec::new();
    for record in links::cluster(reading.tx, patient)? {
        stored.extend(reading.tx.linked(record, allergy::KIND)?);
    }
    for stored in stored {
        let state = &stored.state;
        if !rules::assertions(state, allergy::STATEMENT.id).asserted.is_empty() {
            let is_active = rules::assertions(state, allergy::STATEMENT.id).active;
            let group = if is_active { &mut active } else { &mut refuted };
            group.push(allergy_entry(reading, state, is_active)?);
        }
    }
    active.sort_by_key(|entry: &AllergyEntry| entry.substance.to_lowercase());
    Ok(AllergyPanel {
        active,
        refuted,
        none_known: false,
        may_refute: reading.may(Permission::RefuteAllergy),
        as_of: as_of(reading),
    })
}

fn allergy_entry(reading: &Reading<'_, '_>, state: &RecordState, is_active: bool) -> Result<AllergyEntry, TxError> {
    let asserted = allergy::STATEMENT.asserted(state);
    let mut said: Vec<&Said<_>> = asserted.values().collect();
    said.sort_by_key(|said| (said.event_ms, said.entered_ms, said.change));
    let latest = said.last().map(|said| said.value.expose().clone()).unwrap_or_default();
    let told = match said.first() {
        Some(first) => format!(
            "{}, {}",
            reading.clock.spoken(first.event_ms),
            reading.who(first.actor)?
        ),
        None => String::new(),
    };
    let refutations = rules::assertions(state, allergy::STATEMENT.id).refuted_by;
    let refuted = match refutations.last() {
        Some((_, element)) => {
            let why = element.value.to_text().unwrap_or_default();
            let who = reading.who(element.origin.actor)?;
            let when = reading.clock.spoken(element.origin.event_ms);
            Some(format!("refuted {when} by {who}: “{why}”"))
        }
        None => None,
    };
    Ok(AllergyEntry {
        allergy: state.record.to_string(),
        substance: latest.substance.clone(),
        reaction: reactions(&said),
        reopened: refuted
            .as_ref()
            .filter(|_| is_active)
            .map(|refuted| format!("Said {told}; {refuted}, without seeing all that was said of it.")),
        story: match (is_active, refuted) {
            (false, Some(refuted)) => refuted,
            (true, _) | (false, None) => told,
        },
        marks: Vec::new(),
        shown: ids(asserted.keys()),
    })
}

/// Every reaction that was ever said, each once: no later statement hides an earlier one.
fn reactions(said: &[&Said<Phi<AllergyStatement>>]) -> String {
    let mut all: Vec<&str> = Vec::new();
    for statement in said {
        let statement = statement.value.expose();
        for part in [statement.reaction.as_str(), &statement.severity] {
            if !part.is_empty() && !all.contains(&part) {
                all.push(part);
            }
        }
    }
    all.join(", ")
}
