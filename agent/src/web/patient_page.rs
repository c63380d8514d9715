//! One patient: what is known, who said it when, and what is on its way. Nothing stands above the allergies, no losing
//! value is hidden, no old coverage is called active.

use std::rc::Rc;

use clinic::catalogue::{Field, coverage, patient, task, visit};
use clinic::linking::identifiers;
use clinic::policy::Permission;
use clinic::task::state_of;
use sync_protocol::{Phi, RecordId, RecordState};

use super::allergies::allergies;
use super::conflicts;
use super::fields::fields;
use super::frame::shell;
use super::links::{maybe_same, same_person};
use super::names::{number_kind, number_shown, second_words};
use super::reading::Reading;
use super::refusal::{Built, Refusal};
use super::results::results;
use super::task_rows::task_row;
use super::views::{CoverageEntry, Fact, PatientBody, PatientHead, PatientNumber, PatientView, TaskRow};
use super::visit_story::visit_stories;
use crate::access::links;
use crate::store::TxError;

/// Tasks on one page; what is open goes first.
const TASKS_MAX: usize = 50;

pub(super) fn patient_view(reading: &Reading<'_, '_>, id: RecordId) -> Built<PatientView> {
    let state = known(reading, id)?;
    Ok(PatientView {
        shell: shell(reading, None)?,
        head: head(reading, &state)?,
        body: body(reading, &state)?,
    })
}

pub(super) fn patient_body(reading: &Reading<'_, '_>, id: RecordId) -> Built<PatientBody> {
    Ok(body(reading, &*known(reading, id)?)?)
}

pub(super) fn patient_head(reading: &Reading<'_, '_>, id: RecordId) -> Built<PatientHead> {
    Ok(head(reading, &*known(reading, id)?)?)
}

fn known(reading: &Reading<'_, '_>, id: RecordId) -> Built<Rc<RecordState>> {
    let state = reading.state(id)?.filter(|state| state.kind == patient::KIND);
    state.ok_or(Refusal::NotFound)
}

fn head(reading: &Reading<'_, '_>, state: &RecordState) -> Result<PatientHead, TxError> {
    let named = reading.name_of(state);
    let sex = patient::SEX.ask(state).standing().map(|sex| sex.word().to_owned());
    let said = second_words(&named.second);
    let is_said = |number: &PatientNumber| format!("{} {}", number.kind, number.value) == said;
    let number = |id: &clinic::value::Identifier| PatientNumber {
        kind: number_kind(id).to_owned(),
        value: number_shown(id),
        assigner: if id.system.starts_with("urn:mainstay:") {
            String::new()
        } else {
            id.system.clone()
        },
    };
    // Every number of the person, whichever of the linked records it was written on.
    let records = links::records(reading.tx, state.record)?;
    let numbers = identifiers(&records)
        .iter()
        .map(|numbered| number(numbered.said.value.expose()))
        .filter(|number| !is_said(number))
        .collect();
    Ok(PatientHead {
        patient: state.record.to_string(),
        name: named.name,
        second: named.second,
        numbers,
        remarks: sex.into_iter().collect(),
    })
}

fn body(reading: &Reading<'_, '_>, state: &RecordState) -> Result<PatientBody, TxError> {
    let visits = reading.tx.linked(state.record, visit::KIND)?;
    let (visit, earlier) = visit_stories(reading, visits.into_iter().map(|stored| stored.state).collect())?;
    Ok(PatientBody {
        keys: reading.keys.clone(),
        patient: state.record.to_string(),
        notice: None,
        allergies: allergies(reading, state.record)?,
        conflicts: conflicts::of_patient(reading, state)?,
        same_person: same_person(reading, state.record)?,
        maybe_same: maybe_same(reading, state.record)?,
        visit,
        earlier,
        results: results(reading, state.record)?,
        tasks: tasks(reading, state.record)?,
        fields: fields(reading, state)?,
        fields_as_of: as_of(reading),
        coverage: coverages(reading, state.record)?,
        may_edit: reading.may(Permission::EditPatient),
    })
}

/// How old what came from elsewhere may be; what was written here is always of now.
pub(super) fn as_of(reading: &Reading<'_, '_>) -> String {
    match reading.line.exchanged_ms {
        Some(ms) => format!(
            "hub as of {}, this site as of {}",
            reading.clock.at(ms),
            reading.clock.now()
        ),
        None => format!("this site as of {}; the hub not reached yet", reading.clock.now()),
    }
}

fn tasks(reading: &Reading<'_, '_>, patient: RecordId) -> Result<Vec<TaskRow>, TxError> {
    let mut found = reading.tx.linked(patient, task::KIND)?;
    // What is open first, the latest first among equals.
    found.sort_by_key(|stored| state_of(&stored.state).is_final());
    found
        .iter()
        .take(TASKS_MAX)
        .map(|stored| task_row(reading, &stored.state))
        .collect()
}

fn coverages(reading: &Reading<'_, '_>, patient: RecordId) -> Result<Vec<CoverageEntry>, TxError> {
    let mut all = Vec::new();
    for stored in reading.tx.linked(patient, coverage::KIND)? {
        let state = &stored.state;
        let known = |field: Field<Phi<String>>| field.latest(state);
        let parts = [
            known(coverage::PAYER),
            known(coverage::PLAN),
            known(coverage::MEMBER_ID),
        ];
        let Some(last) = parts.iter().flatten().max_by_key(|said| said.entered_ms) else {
            continue;
        };
        let (last_ms, by) = (last.event_ms, reading.who(last.actor)?);
        let [payer, plan, member] = parts.map(|said| said.map(|said| said.value.into_exposed()).unwrap_or_default());
        let mut facts = Vec::new();
        if !plan.is_empty() && !payer.is_empty() {
            facts.push(Fact::new("Plan", plan.clone()));
        }
        if !member.is_empty() {
            facts.push(Fact::code("Member", member));
        }
        all.push(CoverageEntry {
            plan: if payer.is_empty() { plan } else { payer },
            facts,
            said: format!("by {by}; not checked since"),
            as_of: format!("as of {}", reading.clock.at(last_ms)),
        });
    }
    Ok(all)
}
