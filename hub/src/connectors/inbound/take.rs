//! Taking one resource of the EHR: finding whose record it is, and writing what is new of it, inside a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use clinic::Writing;
use clinic::booking::{AppointmentSaid, appointment_id};
use clinic::catalogue::{Field, appointment, coverage, link, location, patient, provider};
use clinic::fhir::{
    BookingPlaces, CoverageCopy, LocationCopy, PatientCopy, ProviderCopy, SOURCE, appointment_is_made,
    appointment_number, appointment_over_ms, appointment_said, instant_ms,
};
use clinic::following::{Alike, Noted, follow_copy};
use clinic::index::{Wanted, identifier_term, partner_term};
use clinic::linking;
use clinic::rules::EHR_SYSTEM;
use clinic::value::{AppointmentStatus, LinkStanding};
use formats::fhir::{Appointment, Content, Coverage, FeedEntry, Location, Patient, Practitioner};
use formats::hl7::Sent;
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::{ChangeId, KindId, Phi, RecordId, RecordState, ScopeId};

use super::places::{self, of_hub, renew};
use crate::connectors::journal::StoreError;
use crate::connectors::partner::is_id;
use crate::db::{DbError, Seen, Txn, Waiting, Waits, Wants, random};
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
    waits: Option<Waits>,
}

impl Found {
    fn is(record: RecordId) -> Found {
        Found {
            record: Some(record),
            waits: None,
        }
    }

    fn waits(waits: Waits) -> Found {
        Found {
            record: None,
            waits: Some(waits),
        }
    }
}

fn waits_for(wants: Wants, named: &str, until_ms: Option<i64>) -> Waits {
    Waits {
        wants,
        named: named.to_owned(),
        term: term_of(wants, named),
        until_ms,
    }
}

/// By which term the index finds what has this id at the EHR; of a site nothing is indexed.
fn term_of(wants: Wants, named: &str) -> String {
    match wants {
        Wants::Patient => identifier_term(named),
        Wants::Site | Wants::Provider => partner_term(named),
    }
}

pub(super) fn digest(entry: &FeedEntry) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &entry.bytes).as_ref());
    digest
}

/// What waits and need not wait any longer, the longest waiting first, so many at most of each.
pub(super) fn ready(txn: &mut Txn<'_>, at_most: usize) -> Result<Vec<Waiting>, DbError> {
    let sites = places::sites(txn)?;
    let terms: Vec<String> = sites.keys().map(|id| term_of(Wants::Site, id)).collect();
    let mut ready = txn.waiting_for(Wants::Site, &terms, at_most)?;
    ready.retain(|one| sites.contains_key(&one.named));
    ready.extend(ready_for(txn, Wants::Patient, patient::KIND, at_most, |txn, named| {
        Ok(patient_of(txn, named)?.is_some())
    })?);
    ready.extend(ready_for(
        txn,
        Wants::Provider,
        provider::KIND,
        at_most,
        |txn, named| Ok(places::provider_of(txn, named)?.is_some()),
    )?);
    Ok(ready)
}

fn ready_for(
    txn: &mut Txn<'_>,
    wants: Wants,
    kind: KindId,
    at_most: usize,
    is_known: impl Fn(&mut Txn<'_>, &str) -> Result<bool, DbError>,
) -> Result<Vec<Waiting>, DbError> {
    let (mut ready, mut after) = (Vec::new(), (0, [0; 16]));
    loop {
        let page = txn.waiting_for_known(wants, kind, after, at_most)?;
        let is_last = page.len() < at_most;
        for waiting in page {
            after = waiting.place;
            // Another number that is the same one finds it too.
            if is_known(txn, &waiting.named)? {
                ready.push(waiting);
            }
            if ready.len() == at_most {
                return Ok(ready);
            }
        }
        if is_last {
            return Ok(ready);
        }
    }
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
            (_, None) => (Taken::Broken, Found::default()),
        };
        let now_ms = i64::try_from(self.txn.now_ms()).unwrap_or(i64::MAX);
        let in_use = |waits: &&Waits| waits.until_ms.is_none_or(|until_ms| until_ms >= now_ms);
        self.txn.set_waiting(kind, id, found.waits.as_ref().filter(in_use))?;
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
        Ok(self.txn.state(record)?.map(Arc::unwrap_or_clone))
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
                Some(own) => self
                    .txn
                    .state(own)?
                    .filter(|state| state.kind == patient::KIND)
                    .map(Arc::unwrap_or_clone),
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
            self.txn.author_if_room(&writing.done(), None)?;
        }
        let mut found = Found::is(record);
        for other in &copy.same_person {
            match patient_of(self.txn, other)? {
                Some(other) => self.join(record, other.record)?,
                None => found.waits = Some(waits_for(Wants::Patient, other, None)),
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
            return Ok(Found::waits(waits_for(Wants::Patient, insured, None)));
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

    /// A booking. One that is known is followed wherever it goes: moved to a place that is no site, or given to somebody who
    /// is not known here, it is expected nowhere.
    fn appointment(&mut self, id: &str, resource: &Appointment, record: Option<RecordId>) -> Result<Found, StoreError> {
        let number = appointment_number(resource, id, self.appointment_system);
        let record = record.unwrap_or_else(|| appointment_id(&number));
        let known = self.state(record)?.filter(|state| state.kind == appointment::KIND);
        if known.is_none() && !appointment_is_made(resource) {
            return Ok(Found::default());
        }
        let (places, waits) = self.booking_places(resource)?;
        let is_whole = places.patient.is_some() && places.site.is_some();
        if known.is_none() && !is_whole {
            return Ok(waits.map_or_else(Found::default, Found::waits));
        }
        let Some(said) = appointment_said(resource, number, places) else {
            return Ok(Found::default());
        };
        // The site that had it hears that it has it no more.
        let had = known.as_ref().and_then(|state| appointment::SITE.value(state));
        let site = said.site.value().copied().or(had);
        self.book(record, &said, site.map(|site| ScopeId(site.0)))?;
        Ok(Found {
            record: Some(record),
            waits,
        })
    }

    /// Whom, where and with whom a booking is, as far as they are known, and the first of these that is to be waited for.
    fn booking_places(&mut self, resource: &Appointment) -> Result<(BookingPlaces, Option<Waits>), StoreError> {
        let until_ms = appointment_over_ms(resource);
        let place = resource.participant_of("Location").unwrap_or_default();
        let site = self.sites.get(place).copied();
        let mut waits = site.is_none().then(|| waits_for(Wants::Site, place, until_ms));
        let patient = match resource.participant_of("Patient") {
            Some(named) => {
                let patient = patient_of(self.txn, named)?.map(|state| state.record);
                if patient.is_none() {
                    waits = waits.or_else(|| Some(waits_for(Wants::Patient, named, until_ms)));
                }
                patient
            }
            // Nobody is named, so there is nobody to wait for.
            None => {
                waits = None;
                None
            }
        };
        let provider = match resource.participant_of("Practitioner") {
            Some(named) => {
                let provider = places::provider_of(self.txn, named)?.map(|state| state.record);
                if provider.is_none() && patient.is_some() {
                    waits = waits.or_else(|| Some(waits_for(Wants::Provider, named, until_ms)));
                }
                provider
            }
            None => None,
        };
        let places = BookingPlaces {
            patient,
            site,
            provider,
        };
        Ok((places, waits))
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
