//! Sites and what the EHR calls them, and the sets that providers and locations make.

use std::collections::BTreeMap;

use clinic::catalogue::{CHECKED_EVERY_MS, EHR_SOURCE, location, provider, reference_checked_ms, reference_set, site};
use clinic::index::{Wanted, partner_term};
use clinic::write::{Action, Channel};
use clinic::{Value, Writing};
use sync_protocol::hub::HubLedger;
use sync_protocol::{RecordId, RecordState};

use super::config::ResourceType;
use crate::connectors::journal::StoreError;
use crate::db::{DbError, Txn, random};

/// More providers or locations than this are not counted into their set's version.
const SET_MAX: usize = 50_000;

/// The sites by the EHR's id of the location that each is.
pub(super) fn sites(txn: &mut Txn<'_>) -> Result<BTreeMap<String, RecordId>, DbError> {
    let mut sites = BTreeMap::new();
    let records: Vec<RecordId> = txn.sites()?.iter().map(|one| RecordId(one.scope.0)).collect();
    txn.fetch_states(&records.iter().copied().collect())?;
    for record in records {
        let state = txn.state(record)?;
        if let Some(id) = state.and_then(|state| site::EHR_LOCATION.value(&state)) {
            sites.insert(id, record);
        }
    }
    Ok(sites)
}

/// The record of a place that the EHR lists.
pub(super) fn location_of(txn: &mut Txn<'_>, ehr_id: &str) -> Result<Option<RecordState>, DbError> {
    let found = txn.search(location::KIND, &[vec![Wanted::Exactly(partner_term(ehr_id))]])?;
    let of_id = |state: &RecordState| location::EHR_ID.value(state).as_deref() == Some(ehr_id);
    Ok(found.into_iter().find(of_id))
}

/// The record of a provider that the EHR lists.
pub(super) fn provider_of(txn: &mut Txn<'_>, ehr_id: &str) -> Result<Option<RecordState>, DbError> {
    let found = txn.search(provider::KIND, &[vec![Wanted::Exactly(partner_term(ehr_id))]])?;
    let of_id = |state: &RecordState| provider::EHR_ID.value(state).as_deref() == Some(ehr_id);
    Ok(found.into_iter().find(of_id))
}

/// Places that do not say yet which site they are.
pub(super) fn unsettled(txn: &mut Txn<'_>) -> Result<Vec<(RecordState, RecordId)>, DbError> {
    let mut unsettled = Vec::new();
    for (ehr_id, site) in sites(txn)? {
        let place = location_of(txn, &ehr_id)?;
        unsettled.extend(
            place
                .filter(|place| location::SITE.value(place) != Some(site))
                .map(|place| (place, site)),
        );
    }
    Ok(unsettled)
}

pub(super) fn settle(txn: &mut Txn<'_>) -> Result<(), StoreError> {
    for (place, site) in unsettled(txn)? {
        let writing =
            of_hub(txn, location::KIND, place.record).replace(location::SITE, &site, &place.shown(location::SITE.id));
        txn.author_if_room(&writing.done(), None)?;
    }
    Ok(())
}

/// The set that resources of a type make, by name and title.
pub(super) fn set_of(kind: ResourceType) -> Option<(&'static str, &'static str)> {
    match kind {
        ResourceType::Practitioner => Some(("providers", "Providers")),
        ResourceType::Location => Some(("locations", "Locations")),
        ResourceType::Patient | ResourceType::Coverage | ResourceType::Appointment => None,
    }
}

/// The record of a set of the EHR's; a file of the same name makes another one.
fn known_set(txn: &mut Txn<'_>, name: &str) -> Result<Option<RecordState>, DbError> {
    let known = txn.few_of_kind(reference_set::KIND, SET_MAX)?;
    Ok(known.into_iter().find(|state| {
        reference_set::NAME.value(state).as_deref() == Some(name)
            && reference_set::SOURCE.value(state).as_deref() == Some(EHR_SOURCE)
    }))
}

/// Writes down that the EHR was asked and had nothing new, if that was not written down lately.
pub(super) fn note_unchanged(txn: &mut Txn<'_>, kind: ResourceType) -> Result<(), StoreError> {
    let Some((name, _)) = set_of(kind) else { return Ok(()) };
    let now_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
    let is_due = |state: &RecordState| {
        reference_checked_ms(state).is_none_or(|last| now_ms >= last.saturating_add(CHECKED_EVERY_MS))
    };
    if let Some(known) = known_set(txn, name)?.filter(is_due) {
        let writing = of_hub(txn, reference_set::KIND, known.record);
        let writing = renew(writing, reference_set::CHECKED_MS, Some(&known), &now_ms);
        txn.author_if_room(&writing.done(), None)?;
    }
    Ok(())
}

/// Writes down that the set of providers or locations is another one than before, if it is.
pub(super) fn note_set(txn: &mut Txn<'_>, kind: ResourceType) -> Result<(), StoreError> {
    let Some((name, title)) = set_of(kind) else {
        return Ok(());
    };
    let (of, ended) = match kind {
        ResourceType::Practitioner => (provider::KIND, provider::ENDED_MS),
        ResourceType::Location => (location::KIND, location::ENDED_MS),
        ResourceType::Patient | ResourceType::Coverage | ResourceType::Appointment => return Ok(()),
    };
    let all = txn.few_of_kind(of, SET_MAX)?;
    let of_ehr = all.iter().filter(|state| match kind {
        ResourceType::Practitioner => provider::EHR_ID.value(state).is_some(),
        ResourceType::Location => location::EHR_ID.value(state).is_some(),
        ResourceType::Patient | ResourceType::Coverage | ResourceType::Appointment => false,
    });
    let current: Vec<&RecordState> = of_ehr.filter(|state| ended.value(state).is_none()).collect();
    let mut content = ring::digest::Context::new(&ring::digest::SHA256);
    for state in &current {
        content.update(&state.record.0);
        for register in state.registers.values() {
            register
                .values
                .values()
                .for_each(|live| content.update(live.value.as_bytes()));
        }
    }
    let version = data_encoding::HEXLOWER.encode(&content.finish().as_ref()[..6]);
    let known = known_set(txn, name)?;
    if known
        .as_ref()
        .and_then(|state| reference_set::VERSION.value(state))
        .as_ref()
        == Some(&version)
    {
        return note_unchanged(txn, kind);
    }
    let record = match &known {
        Some(state) => state.record,
        None => RecordId(random()?),
    };
    let loaded_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
    let entries = i64::try_from(current.len()).unwrap_or(i64::MAX);
    let known = known.as_ref();
    let mut writing = of_hub(txn, reference_set::KIND, record);
    writing = renew(writing, reference_set::NAME, known, &name.to_owned());
    writing = renew(writing, reference_set::TITLE, known, &title.to_owned());
    writing = renew(writing, reference_set::VERSION, known, &version);
    writing = renew(writing, reference_set::ENTRIES, known, &entries);
    writing = renew(writing, reference_set::SOURCE, known, &EHR_SOURCE.to_owned());
    writing = renew(writing, reference_set::LOADED_MS, known, &loaded_ms);
    txn.author_if_room(&writing.done(), None)?;
    Ok(())
}

pub(super) fn of_hub(txn: &Txn<'_>, kind: sync_protocol::KindId, record: RecordId) -> Writing {
    let now_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
    Writing::new(kind, record, Action::Message, Channel::Connector.program(), now_ms)
}

/// Sets a field of the hub's own, if it is another one.
pub(super) fn renew<T: Value + PartialEq>(
    writing: Writing,
    field: clinic::catalogue::Field<T>,
    known: Option<&RecordState>,
    value: &T,
) -> Writing {
    match known {
        Some(state) if field.value(state).as_ref() == Some(value) => writing,
        Some(state) => writing.replace(field, value, &state.shown(field.id)),
        None => writing.set(field, value),
    }
}
