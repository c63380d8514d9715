//! Taking one resource of the EHR: finding whose record it is, and writing what is new of it, inside a transaction.

use std::collections::BTreeMap;

use clinic::Writing;
use clinic::booking::{AppointmentSaid, appointment_id};
use clinic::catalogue::{Field, appointment, coverage, link, location, patient, provider};
use clinic::fhir::{
    BookingPlaces, CoverageCopy, LocationCopy, PatientCopy, ProviderCopy, SOURCE, appointment_number, appointment_said,
    instant_ms,
};
use clinic::following::{Alike, Noted, follow_copy};
use clinic::index::{Wanted, identifier_term};
use clinic::linking;
use clinic::rules::EHR_SYSTEM;
use clinic::value::{AppointmentStatus, LinkStanding};
use formats::fhir::{Appointment, Content, Coverage, FeedEntry, Location, Patient, Practitioner};
use formats::hl7::Sent;
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::{ChangeId, Phi, RecordId, RecordState, ScopeId};

use super::places::{self, of_hub, renew};
use crate::connectors::journal::StoreError;
use crate::connectors::partner::is_id;
use crate::db::{DbError, Seen, Txn, Waiting, Wants, random};
use crate::matching::Matcher;

/// What became of the resources of a page.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    pub(super) taken: u64,
    pub(super) unknown: u64,
    pub(super) broken: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// As it was.
    Same,
    News,
    Unknown,
    Broken,
}

impl Tally {
    pub(super) fn add(&mut self, taken: Taken) {
        match taken {
            Taken::Same => {}
            Taken::News => self.taken += 1,
            Taken::Unknown => self.unknown += 1,
            Taken::Broken => self.broken += 1,
        }
    }
}

/// What a resource is here, and what it waits for.
#[derive(Default)]
struct Found {
    record: Option<RecordId>,
    waits: Option<(Wants, String)>,
}

impl Found {
    fn is(record: RecordId) -> Found {
        Found {
            record: Some(record),
            waits: None,
        }
    }

    fn waits(wants: Wants, named: &str) -> Found {
        Found {
            record: None,
            waits: Some((wants, named.to_owned())),
        }
    }
}

pub(super) fn digest(entry: &FeedEntry) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &entry.bytes).as_ref());
    digest
}

/// What waits and need not wait any longer.
pub(super) fn ready(txn: &mut Txn<'_>, at_most: usize) -> Result<Vec<Waiting>, DbError> {
    let sites = places::sites(txn)?;
    let mut ready = Vec::new();
    for waiting in txn.waiting(at_most)? {
        let known = match waiting.wants {
            Wants::Patient => patient_of(txn, &waiting.named)?.is_some(),
            Wants::Site => sites.contains_key(&waiting.named),
            Wants::Provider => places::provider_of(txn, &waiting.named)?.is_some(),
        };
        if known {
            ready.push(waiting);
        }
    }
    Ok(ready)
}

/// The record of a patient by the EHR's id.
fn patient_of(txn: &mut Txn<'_>, ehr_id: &str) -> Result<Option<RecordState>, DbError> {
    let found = txn.search(patient::KIND, &[vec![Wanted::Exactly(identifier_term(ehr_id))]])?;
    let carries = |state: &RecordState| {
        let standing = patient::IDENTIFIER.standing(state);
        let mut numbers = standing.iter().map(|said| said.value.expose());
        numbers.any(|id| id.system == EHR_SYSTEM && id.value == ehr_id && id.kind == linking::EHR_ID_KIND)
    };
    Ok(found.into_iter().find(carries))
}

/// Takes resources inside one transaction.
pub(super) struct Taking<'t, 'c> {
    txn: &'t mut Txn<'c>,
    sites: BTreeMap<String, RecordId>,
    appointment_system: Option<&'t str>,
    matcher: &'t Matcher,
}

impl<'t, 'c> Taking<'t, 'c> {
    pub(super) fn new(
        txn: &'t mut Txn<'c>,
        matcher: &'t Matcher,
        appointment_system: Option<&'t str>,
    ) -> Result<Taking<'t, 'c>, StoreError> {
        let sites = places::sites(txn)?;
        Ok(Taking {
            txn,
            sites,
            appointment_system,
            matcher,
        })
    }

    /// Takes a resource if it is another than it was, or `again` whatever it was.
    pub(super) fn take(&mut self, entry: &FeedEntry, again: bool) -> Result<Taken, StoreError> {
        let kind = entry.kind.as_str();
        let Some(id) = entry.id.as_deref().filter(|id| is_id(id)) else {
            tracing::warn!(kind, "a resource of the EHR has no id that R4 allows; it is left out");
            return Ok(Taken::Broken);
        };
        let digest = digest(entry);
        let seen = self.txn.seen(kind, id)?;
        if !again && seen.as_ref().is_some_and(|seen| seen.digest == digest) {
            return Ok(Taken::Same);
        }
        let record = seen.and_then(|seen| seen.record);
        let found = match self.write(entry, id, record) {
            Ok(found) => found,
            Err(HubError::TooLarge { .. } | HubError::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        let (taken, found) = match (&entry.content, found) {
            (Content::Unknown, _) => (Taken::Unknown, Found::default()),
            (_, Some(found)) => (Taken::News, found),
            (_, None) => {
                tracing::warn!(kind, id, "a resource of the EHR cannot be used; it is left out");
                (Taken::Broken, Found::default())
            }
        };
        let waits = found.waits.as_ref().map(|(wants, named)| (*wants, named.as_str()));
        self.txn.set_waiting(kind, id, waits)?;
        let record = found.record.or(record);
        // Somebody of ours may be this patient; whatever else it is, there is nothing to compare.
        if let (Taken::News, Some(record)) = (taken, record) {
            self.matcher.consider(self.txn, &[record])?;
        }
        self.txn.set_seen(kind, id, &Seen { digest, record })?;
        Ok(taken)
    }

    /// `None` for what cannot be used.
    fn write(&mut self, entry: &FeedEntry, id: &str, record: Option<RecordId>) -> Result<Option<Found>, StoreError> {
        let updated_ms = entry.updated.as_deref().and_then(instant_ms).unwrap_or(0);
        match &entry.content {
            Content::Patient(resource) => self.patient(id, resource, updated_ms).map(Some),
            Content::Coverage(resource) => self.coverage(resource, record).map(Some),
            Content::Practitioner(resource) => self.provider(id, resource),
            Content::Location(resource) => self.location(id, resource),
            Content::Appointment(resource) => self.appointment(id, resource, record).map(Some),
            Content::Deleted => self.deleted(record).map(Some),
            Content::Unknown | Content::Broken => Ok(None),
        }
    }

    fn state(&mut self, record: RecordId) -> Result<Option<RecordState>, StoreError> {
        self.txn.lock(&[record.0])?;
        Ok(self.txn.state(record)?)
    }

    /// Writes what is new, and keeps what the EHR said.
    fn keep(
        &mut self,
        record: RecordId,
        writing: Writing,
        noted: Vec<Noted>,
        scope: Option<ScopeId>,
    ) -> Result<Option<ChangeId>, StoreError> {
        let change = match writing.is_empty() {
            true => None,
            false => self.txn.author(&writing.done(), scope)?.map(|written| written.change),
        };
        for noted in noted {
            let field = noted.field;
            self.txn.set_last_word(SOURCE, record, field, &noted.said(change))?;
        }
        Ok(change)
    }

    fn patient(&mut self, id: &str, resource: &Patient, updated_ms: i64) -> Result<Found, StoreError> {
        let copy = PatientCopy::read(resource);
        let known = match patient_of(self.txn, id)? {
            Some(state) => Some(state),
            // We made it there, and the answer is not written down yet.
            None => match copy.own_record.as_deref().and_then(RecordId::parse) {
                Some(own) => self.txn.state(own)?.filter(|state| state.kind == patient::KIND),
                None => None,
            },
        };
        let record = match &known {
            Some(state) => state.record,
            None => RecordId(random()?),
        };
        let known = self.state(record)?;
        let last = self.txn.last_words(SOURCE, record)?;
        let (mut writing, noted) = copy.follow(
            of_hub(self.txn, patient::KIND, record),
            known.as_ref(),
            &last,
            updated_ms,
        );
        // A change holds one element of a field, so every further number is a change of its own.
        let mut numbers = copy.new_numbers(known.as_ref(), id).into_iter().map(Phi::new);
        if let Some(first) = numbers.next() {
            writing = writing.assert(patient::IDENTIFIER, &first);
        }
        let change = self.keep(record, writing, noted, None)?;
        for number in numbers {
            let mut writing = of_hub(self.txn, patient::KIND, record).assert(patient::IDENTIFIER, &number);
            if let Some(cause) = change {
                writing = writing.because(cause);
            }
            self.txn.author(&writing.done(), None)?;
        }
        let mut found = Found::is(record);
        for other in &copy.same_person {
            match patient_of(self.txn, other)? {
                Some(other) => self.join(record, other.record)?,
                None => found.waits = Some((Wants::Patient, other.clone())),
            }
        }
        Ok(found)
    }

    /// The EHR says that two records are of one person.
    fn join(&mut self, one: RecordId, other: RecordId) -> Result<(), StoreError> {
        if one == other {
            return Ok(());
        }
        let id = linking::link_id(one, other);
        let known = self.state(id)?;
        let last = self.txn.last_words(SOURCE, id)?;
        let (left, right) = linking::sides(one, other);
        let mut writing = of_hub(self.txn, link::KIND, id);
        if known.is_none() {
            writing = writing.set(link::LEFT, &left).set(link::RIGHT, &right);
        }
        let linked = Sent::Value(LinkStanding::Linked);
        let (writing, noted) = follow_copy(
            writing,
            link::STANDING,
            known.as_ref(),
            &linked,
            last.get(&link::STANDING.id),
            &Alike::by(|a, b| a == b),
        );
        match self.keep(id, writing, noted.into_iter().collect(), None)? {
            Some(_) => self.matcher.consider(self.txn, &[id]),
            None => Ok(()),
        }
    }

    fn coverage(&mut self, resource: &Coverage, record: Option<RecordId>) -> Result<Found, StoreError> {
        let copy = CoverageCopy::read(resource);
        let Some(insured) = &copy.patient else {
            return Ok(Found::default());
        };
        let Some(person) = patient_of(self.txn, insured)? else {
            return Ok(Found::waits(Wants::Patient, insured));
        };
        let known = match record {
            Some(record) => self.txn.state(record)?,
            None => {
                let all = self.txn.linked_to(person.record, coverage::KIND)?;
                all.into_iter().find(|state| copy.is_of(state))
            }
        };
        // What is void was never taken, or is left to people.
        if copy.void || (known.is_none() && copy.payer.value().is_none()) {
            return Ok(known.map_or_else(Found::default, |state| Found::is(state.record)));
        }
        let record = match &known {
            Some(state) => state.record,
            None => RecordId(random()?),
        };
        let known = self.state(record)?;
        let last = self.txn.last_words(SOURCE, record)?;
        let mut writing = of_hub(self.txn, coverage::KIND, record);
        if known.is_none() {
            writing = writing.set(coverage::PATIENT, &person.record);
        }
        let (writing, noted) = copy.follow(writing, known.as_ref(), &last);
        self.keep(record, writing, noted, None)?;
        Ok(Found::is(record))
    }

    fn provider(&mut self, id: &str, resource: &Practitioner) -> Result<Option<Found>, StoreError> {
        let Some(copy) = ProviderCopy::read(resource) else {
            return Ok(None);
        };
        let known = places::provider_of(self.txn, id)?;
        let record = match &known {
            Some(state) => state.record,
            None => RecordId(random()?),
        };
        let known = self.state(record)?;
        let known = known.as_ref();
        let mut writing = of_hub(self.txn, provider::KIND, record);
        writing = renew(writing, provider::NAME, known, &copy.name);
        if let Some(npi) = &copy.npi {
            writing = renew(writing, provider::NPI, known, npi);
        }
        writing = renew(writing, provider::EHR_ID, known, &id.to_owned());
        writing = self.in_use(writing, provider::ENDED_MS, known, copy.active);
        self.keep(record, writing, Vec::new(), None)?;
        Ok(Some(Found::is(record)))
    }

    fn location(&mut self, id: &str, resource: &Location) -> Result<Option<Found>, StoreError> {
        let Some(copy) = LocationCopy::read(resource) else {
            return Ok(None);
        };
        let known = places::location_of(self.txn, id)?;
        let record = match &known {
            Some(state) => state.record,
            None => RecordId(random()?),
        };
        let known = self.state(record)?;
        let known = known.as_ref();
        let mut writing = of_hub(self.txn, location::KIND, record);
        writing = renew(writing, location::NAME, known, &copy.name);
        writing = renew(writing, location::EHR_ID, known, &id.to_owned());
        if let Some(site) = self.sites.get(id) {
            writing = renew(writing, location::SITE, known, site);
        }
        writing = self.in_use(writing, location::ENDED_MS, known, copy.active);
        self.keep(record, writing, Vec::new(), None)?;
        Ok(Some(Found::is(record)))
    }

    /// Since when it is no longer in use, or that it is again.
    fn in_use(&self, writing: Writing, ended: Field<i64>, known: Option<&RecordState>, active: bool) -> Writing {
        let since = known.and_then(|state| ended.value(state));
        let shown = || known.map(|state| state.shown(ended.id)).unwrap_or_default();
        match (active, since) {
            (true, None) | (false, Some(_)) => writing,
            (true, Some(_)) => writing.clear(ended, &shown()),
            (false, None) => {
                let now_ms = i64::try_from(self.txn.now_ms()).unwrap_or(i64::MAX);
                writing.replace(ended, &now_ms, &shown())
            }
        }
    }

    fn appointment(&mut self, id: &str, resource: &Appointment, record: Option<RecordId>) -> Result<Found, StoreError> {
        let Some(of) = resource.participant_of("Patient") else {
            return Ok(Found::default());
        };
        let place = resource.participant_of("Location").unwrap_or_default();
        let Some(site) = self.sites.get(place).copied() else {
            return Ok(Found::waits(Wants::Site, place));
        };
        let Some(person) = patient_of(self.txn, of)? else {
            return Ok(Found::waits(Wants::Patient, of));
        };
        let (provider, missing) = match resource.participant_of("Practitioner") {
            Some(named) => match places::provider_of(self.txn, named)? {
                Some(state) => (Some(state.record), None),
                None => (None, Some((Wants::Provider, named.to_owned()))),
            },
            None => (None, None),
        };
        let number = appointment_number(resource, id, self.appointment_system);
        let record = record.unwrap_or_else(|| appointment_id(&number));
        let places = BookingPlaces {
            patient: person.record,
            site,
            provider,
        };
        let Some(said) = appointment_said(resource, number, places) else {
            return Ok(Found::default());
        };
        self.book(record, &said, Some(ScopeId(site.0)))?;
        Ok(Found {
            record: Some(record),
            waits: missing,
        })
    }

    fn book(&mut self, record: RecordId, said: &AppointmentSaid, scope: Option<ScopeId>) -> Result<(), StoreError> {
        let known = self.state(record)?;
        let last = self.txn.last_words(SOURCE, record)?;
        let (writing, noted) = said.follow(of_hub(self.txn, appointment::KIND, record), known.as_ref(), &last);
        self.keep(record, writing, noted, scope)?;
        Ok(())
    }

    /// What is gone there is not deleted here: a booking never was, a provider or place is no longer in use.
    fn deleted(&mut self, record: Option<RecordId>) -> Result<Found, StoreError> {
        let state = match record {
            Some(record) => self.state(record)?,
            None => None,
        };
        let Some(state) = state else {
            return Ok(Found::default());
        };
        match state.kind {
            appointment::KIND => {
                let said = AppointmentSaid {
                    status: Sent::Value(AppointmentStatus::EnteredInError),
                    ..AppointmentSaid::default()
                };
                let site = appointment::SITE.value(&state).map(|site| ScopeId(site.0));
                self.book(state.record, &said, site)?;
            }
            provider::KIND => {
                let writing = of_hub(self.txn, provider::KIND, state.record);
                let writing = self.in_use(writing, provider::ENDED_MS, Some(&state), false);
                self.keep(state.record, writing, Vec::new(), None)?;
            }
            location::KIND => {
                let writing = of_hub(self.txn, location::KIND, state.record);
                let writing = self.in_use(writing, location::ENDED_MS, Some(&state), false);
                self.keep(state.record, writing, Vec::new(), None)?;
            }
            _ => {}
        }
        Ok(Found::is(state.record))
    }
}
