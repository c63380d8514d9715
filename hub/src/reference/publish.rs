//! A sound file becomes records, and a code set one file with its digest, in one transaction: all of it or nothing. Only
//! what differs is written. What a new list no longer names is ended, if it was this loader that named it: what the EHR
//! told of stays the EHR's.

use std::collections::BTreeMap;

use clinic::booking::appointment_id;
use clinic::catalogue::{
    CHECKED_EVERY_MS, EHR_SOURCE, Field, appointment, form, patient, payer, provider, reference_checked_ms,
    reference_set, room,
};
use clinic::index::{Wanted, content_term, identifier_term};
use clinic::value::{BlobDigest, Identifier, Value};
use clinic::{Action, Channel, Writing};
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::{ChangeId, KindId, Phi, RecordId, RecordState, ScopeId};

use super::booked::Booking;
use super::finding::Findings;
use super::rows::{Form, Payer, Provider, Room};
use super::{Content, File, Read, Refused, Set};
use crate::db::{Db, DbError, LeaseOwner, ReferenceFile, Site, Txn, random};
use crate::exit::Failure;

/// The work that one process at a time does.
pub(super) const LEASE: &[u8] = b"reference-refresh";

/// What came of a file that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub version: String,
    pub entries: u64,
    /// Records that were written; none when the same stood already.
    pub written: u64,
    /// Entries that the list no longer names.
    pub ended: u64,
}

#[derive(Debug)]
pub enum LoadError {
    Refused(Refused),
    Failed(Failure),
    /// Another process does this now.
    LeaseLost,
}

impl From<DbError> for LoadError {
    fn from(error: DbError) -> LoadError {
        LoadError::Failed(error.into())
    }
}

impl From<HubError<DbError>> for LoadError {
    fn from(error: HubError<DbError>) -> LoadError {
        LoadError::Failed(error.into())
    }
}

impl From<Refused> for LoadError {
    fn from(refused: Refused) -> LoadError {
        LoadError::Refused(refused)
    }
}

/// Reads a file and publishes what it says. `lease`: whose lease must still hold in the transaction that writes.
pub async fn load(
    db: &Db,
    set: Set,
    file: File,
    version: Option<String>,
    lease: Option<LeaseOwner>,
) -> Result<Outcome, LoadError> {
    let digest = file.digest();
    let name = file.name.clone();
    let read = tokio::task::spawn_blocking(move || {
        let read = file.read(set).map_err(LoadError::Refused)?;
        let packed =
            match &read.content {
                Content::Codes(list) => Some(list.packed().map_err(|error| {
                    LoadError::Failed(Failure::failed(format!("the set cannot be packed: {error}")))
                })?),
                Content::Providers(_)
                | Content::Payers(_)
                | Content::Forms(_)
                | Content::Rooms(_)
                | Content::Schedules(_) => None,
            };
        Ok::<_, LoadError>((read, packed))
    });
    let (read, packed) = read
        .await
        .map_err(|_| LoadError::Failed(Failure::failed("reading the file ended in a fault of this program")))??;
    db.write(move |txn| {
        if let Some(owner) = lease
            && !txn.holds_lease(LEASE, owner)?
        {
            return Err(LoadError::LeaseLost);
        }
        let mut publication = Publication::new(txn, set)?;
        let outcome = publication.publish(&read, packed.as_deref(), &name, digest, version.clone())?;
        let now_ms = txn.now_ms();
        txn.note_reference_file(&ReferenceFile {
            set: set.word().to_owned(),
            file: name.clone(),
            digest,
            at_ms: now_ms,
            taken_ms: Some(now_ms),
            refused: None,
        })?;
        Ok(outcome)
    })
    .await
}

/// Notes why a file was not taken.
pub async fn note_refused(db: &Db, set: Set, file: String, digest: [u8; 32], refused: &Refused) -> Result<(), DbError> {
    let refused = serde_json::to_string(refused).unwrap_or_default();
    db.write(move |txn| {
        let at_ms = txn.now_ms();
        txn.note_reference_file(&ReferenceFile {
            set: set.word().to_owned(),
            file: file.clone(),
            digest,
            at_ms,
            taken_ms: None,
            refused: Some(refused.clone()),
        })
    })
    .await
}

/// The record that names a set and its version, if a file of it was ever loaded. What the EHR lists under the same name is
/// a set of its own.
fn named(txn: &mut Txn<'_>, word: &str) -> Result<Option<RecordState>, DbError> {
    let all = txn.all_of_kind(reference_set::KIND)?;
    let is_it = |state: &RecordState| {
        reference_set::NAME.value(state).as_deref() == Some(word)
            && reference_set::SOURCE.value(state).as_deref() != Some(EHR_SOURCE)
    };
    Ok(all.into_iter().find(is_it))
}

/// Writes down that a set's file was looked at and is the one that stands, if that was not written down lately.
pub(super) async fn note_checked(db: &Db, set: Set) -> Result<(), LoadError> {
    db.write(move |txn| {
        if let Some(standing) = named(txn, set.word())? {
            renew_checked(txn, &standing)?;
        }
        Ok(())
    })
    .await
}

fn renew_checked(txn: &mut Txn<'_>, standing: &RecordState) -> Result<(), HubError<DbError>> {
    let now_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
    if reference_checked_ms(standing).is_some_and(|last| now_ms < last.saturating_add(CHECKED_EVERY_MS)) {
        return Ok(());
    }
    let writing = Writing::new(
        reference_set::KIND,
        standing.record,
        Action::Administer,
        Channel::Hub.program(),
        now_ms,
    )
    .replace(
        reference_set::CHECKED_MS,
        &now_ms,
        &standing.shown(reference_set::CHECKED_MS.id),
    );
    let scope = txn.organisation().scope();
    txn.author(&writing.done(), Some(scope))?;
    Ok(())
}

/// One set on its way into the store.
struct Publication<'t, 'c> {
    txn: &'t mut Txn<'c>,
    set: Set,
    now_ms: i64,
    sites: Vec<Site>,
    /// Names that a row gives and nobody has.
    findings: Findings,
    written: u64,
    ended: u64,
}

impl<'t, 'c> Publication<'t, 'c> {
    fn new(txn: &'t mut Txn<'c>, set: Set) -> Result<Publication<'t, 'c>, DbError> {
        // Two files of one set never mix.
        let mut lock = [0; 16];
        for (place, byte) in lock.iter_mut().zip(format!("ref {}", set.word()).bytes()) {
            *place = byte;
        }
        txn.lock(&[lock])?;
        Ok(Publication {
            now_ms: i64::try_from(txn.now_ms()).unwrap_or(i64::MAX),
            sites: txn.sites()?,
            txn,
            set,
            findings: Findings::default(),
            written: 0,
            ended: 0,
        })
    }

    fn publish(
        &mut self,
        read: &Read,
        packed: Option<&[u8]>,
        file: &str,
        digest: [u8; 32],
        version: Option<String>,
    ) -> Result<Outcome, LoadError> {
        let entries = match &read.content {
            Content::Codes(list) => list.len(),
            Content::Providers(all) => self.providers(all)?,
            Content::Payers(all) => self.payers(all)?,
            Content::Forms(all) => self.forms(all)?,
            Content::Rooms(all) => self.rooms(all)?,
            Content::Schedules(all) => self.schedules(all)?,
        };
        std::mem::take(&mut self.findings).none()?;
        let version = version.or_else(|| read.version.clone());
        let version = self.name_version(entries as u64, packed, file, digest, version)?;
        Ok(Outcome {
            version,
            entries: entries as u64,
            written: self.written,
            ended: self.ended,
        })
    }

    /// Says which version stands; says nothing where the same one stands already.
    fn name_version(
        &mut self,
        entries: u64,
        packed: Option<&[u8]>,
        file: &str,
        digest: [u8; 32],
        version: Option<String>,
    ) -> Result<String, LoadError> {
        let standing = named(self.txn, self.set.word())?;
        let before = standing.as_ref().and_then(|state| reference_set::CONTENT.value(state));
        let content = match packed {
            Some(bytes) => Some(BlobDigest(self.txn.put_blob(bytes)?)),
            None => None,
        };
        let unchanged = standing.is_some() && self.written == 0 && content == before;
        let was = standing.as_ref().and_then(|state| reference_set::VERSION.value(state));
        let version = version.or_else(|| was.clone().filter(|_| unchanged));
        let version = version.unwrap_or_else(|| data_encoding::HEXLOWER.encode(&digest[..6]));
        if let Some(state) = standing
            .as_ref()
            .filter(|_| unchanged && was.as_deref() == Some(&version))
        {
            renew_checked(self.txn, state)?;
            return Ok(version);
        }
        let record = standing
            .as_ref()
            .map_or_else(|| random().map(RecordId), |state| Ok(state.record))?;
        let writing = self.writing(reference_set::KIND, record);
        let state = standing.as_ref();
        let writing = say(writing, state, reference_set::NAME, Some(&self.set.word().to_owned()));
        let writing = say(writing, state, reference_set::TITLE, Some(&self.set.title().to_owned()));
        let writing = say(writing, state, reference_set::VERSION, Some(&version));
        let writing = say(writing, state, reference_set::ENTRIES, Some(&stored(entries)));
        let writing = say(writing, state, reference_set::SOURCE, Some(&file.to_owned()));
        let writing = say(writing, state, reference_set::LOADED_MS, Some(&self.now_ms));
        let writing = say(writing, state, reference_set::CONTENT, content.as_ref());
        let size = packed.map(|bytes| stored(bytes.len() as u64));
        let writing = say(writing, state, reference_set::BYTES, size.as_ref());
        self.write(writing, None)?;
        if let Some(old) = before.filter(|old| Some(*old) != content) {
            self.drop_unnamed(old)?;
        }
        Ok(version)
    }

    fn writing(&self, kind: KindId, record: RecordId) -> Writing {
        Writing::new(kind, record, Action::Administer, Channel::Hub.program(), self.now_ms)
    }

    fn write(&mut self, writing: Writing, scope: Option<ScopeId>) -> Result<(), LoadError> {
        if writing.is_empty() {
            return Ok(());
        }
        let scope = scope.or_else(|| Some(self.txn.organisation().scope()));
        self.written += u64::from(self.txn.author(&writing.done(), scope)?.is_some());
        Ok(())
    }

    /// Forgets a content that no record names any more.
    fn drop_unnamed(&mut self, digest: BlobDigest) -> Result<(), LoadError> {
        if !is_named(self.txn, digest)? {
            self.txn.drop_blob(digest.0)?;
        }
        Ok(())
    }

    /// Ends what this loader named before and the list no longer does.
    fn end(
        &mut self,
        gone: Vec<RecordState>,
        named_by: fn(&RecordState) -> Option<u8>,
        ended: Field<i64>,
    ) -> Result<(), LoadError> {
        for state in gone {
            if ended.value(&state).is_some() || named_by(&state) != Some(Channel::Hub as u8) {
                continue;
            }
            let writing = self.writing(state.kind, state.record);
            let writing = say(writing, Some(&state), ended, Some(&self.now_ms));
            self.write(writing, None)?;
            self.ended += 1;
        }
        Ok(())
    }

    fn providers(&mut self, all: &[Provider]) -> Result<usize, LoadError> {
        let mut standing = BTreeMap::new();
        let mut by_ehr_id = BTreeMap::new();
        for state in self.txn.all_of_kind(provider::KIND)? {
            let (npi, id) = (provider::NPI.value(&state), provider::EHR_ID.value(&state));
            if let Some(id) = &id {
                by_ehr_id.insert(id.clone(), state.record);
            }
            let key = npi.unwrap_or_else(|| format!("EHR {}", id.unwrap_or_default()));
            standing.insert(key, state);
        }
        for one in all {
            let twin = one.ehr_id.as_ref().and_then(|id| by_ehr_id.get(id)).copied();
            let state = take(&mut standing, &one.key(), twin);
            let record = record_of(state.as_ref())?;
            let (state, writing) = (state.as_ref(), self.writing(provider::KIND, record));
            let writing = say(writing, state, provider::NAME, Some(&one.name));
            let writing = say(writing, state, provider::NPI, one.npi.as_ref());
            let writing = say(writing, state, provider::SPECIALTY, one.specialty.as_ref());
            // Where the list has no id of the EHR's, what the EHR itself said of it stands.
            let writing = match &one.ehr_id {
                Some(id) => say(writing, state, provider::EHR_ID, Some(id)),
                None => writing,
            };
            let writing = say(writing, state, provider::ENDED_MS, None);
            self.write(writing, None)?;
        }
        let by = |state: &RecordState| provider::NAME.latest(state).map(|said| said.actor.channel);
        self.end(standing.into_values().collect(), by, provider::ENDED_MS)?;
        Ok(all.len())
    }

    fn payers(&mut self, all: &[Payer]) -> Result<usize, LoadError> {
        let mut standing = self.by_name(payer::KIND, payer::PAYER_ID)?;
        for one in all {
            let state = standing.remove(&one.payer_id);
            let record = record_of(state.as_ref())?;
            let (state, writing) = (state.as_ref(), self.writing(payer::KIND, record));
            let writing = say(writing, state, payer::NAME, Some(&one.name));
            let writing = say(writing, state, payer::PAYER_ID, Some(&one.payer_id));
            let writing = say(writing, state, payer::PHONE, one.phone.as_ref());
            let writing = say(writing, state, payer::ENDED_MS, None);
            self.write(writing, None)?;
        }
        let by = |state: &RecordState| payer::NAME.latest(state).map(|said| said.actor.channel);
        self.end(standing.into_values().collect(), by, payer::ENDED_MS)?;
        Ok(all.len())
    }

    fn forms(&mut self, all: &[Form]) -> Result<usize, LoadError> {
        let mut standing = self.by_name(form::KIND, form::NAME)?;
        let mut replaced = Vec::new();
        for one in all {
            let state = standing.remove(&one.name);
            let record = record_of(state.as_ref())?;
            let content = BlobDigest(self.txn.put_blob(&one.bytes)?);
            let before = state.as_ref().and_then(|state| form::CONTENT.value(state));
            replaced.extend(before.filter(|before| *before != content));
            let (state, writing) = (state.as_ref(), self.writing(form::KIND, record));
            let writing = say(writing, state, form::NAME, Some(&one.name));
            let writing = say(writing, state, form::TITLE, Some(&one.title));
            let writing = say(writing, state, form::VERSION, Some(&one.version));
            let writing = say(writing, state, form::MEDIA, Some(&one.media.to_owned()));
            let writing = say(writing, state, form::CONTENT, Some(&content));
            let writing = say(writing, state, form::BYTES, Some(&stored(one.bytes.len() as u64)));
            let writing = say(writing, state, form::ENDED_MS, None);
            self.write(writing, None)?;
        }
        let by = |state: &RecordState| form::NAME.latest(state).map(|said| said.actor.channel);
        self.end(standing.into_values().collect(), by, form::ENDED_MS)?;
        for digest in replaced {
            self.drop_unnamed(digest)?;
        }
        Ok(all.len())
    }

    /// Rooms are added and never taken away: a visit may still be in one.
    fn rooms(&mut self, all: &[Room]) -> Result<usize, LoadError> {
        for one in all {
            let Some(scope) = self.site_of(&one.site, one.line).map(|site| site.scope) else {
                continue;
            };
            let site = RecordId(scope.0);
            let here = self.txn.linked_to(site, room::KIND)?;
            let is_it = |state: &RecordState| {
                room::NAME
                    .value(state)
                    .is_some_and(|name| name.eq_ignore_ascii_case(&one.name))
            };
            if here.iter().any(|state| is_it(state)) {
                continue;
            }
            let writing = self.writing(room::KIND, RecordId(random()?));
            let writing = writing.set(room::SITE, &site).set(room::NAME, &one.name);
            self.write(writing, Some(scope))?;
        }
        Ok(all.len())
    }

    fn schedules(&mut self, all: &[Booking]) -> Result<usize, LoadError> {
        let mut providers = BTreeMap::new();
        for state in self.txn.all_of_kind(provider::KIND)? {
            providers.extend(provider::NPI.value(&state).map(|npi| (npi, state.record)));
        }
        for one in all {
            let site = self
                .site_of(&one.site, one.line)
                .map(|site| (site.scope, site.zone.clone()));
            let patient = self.patient_of(one)?;
            let provider = one.npi.as_ref().map(|npi| providers.get(npi).copied());
            if provider == Some(None) {
                self.findings
                    .add(one.line, "npi", "is of no provider: load the providers first");
            }
            let (Some((scope, zone)), Some(patient)) = (site, patient) else {
                continue;
            };
            let zone = jiff::tz::TimeZone::get(&zone).unwrap_or(jiff::tz::TimeZone::UTC);
            let (Some(starts), ends) = (one.starts.ms(&zone), one.ends.map(|ends| ends.ms(&zone))) else {
                self.findings.add(one.line, "starts", "is no time that there is");
                continue;
            };
            if ends.flatten().is_some_and(|ends| ends <= starts) {
                self.findings.add(one.line, "ends", "is not after starts");
                continue;
            }
            let number = Identifier {
                system: one.system.clone(),
                value: one.number.clone(),
                kind: String::new(),
            };
            let record = appointment_id(&number);
            let state = self.txn.state(record)?;
            let (state, writing) = (state.as_deref(), self.writing(appointment::KIND, record));
            let writing = say_again(writing, state, appointment::PATIENT, Some(&patient));
            let writing = say_again(writing, state, appointment::SITE, Some(&RecordId(scope.0)));
            let writing = say_again(writing, state, appointment::PROVIDER, provider.flatten().as_ref());
            let writing = say_again(writing, state, appointment::STARTS_MS, Some(&starts));
            let writing = say_again(writing, state, appointment::ENDS_MS, ends.flatten().as_ref());
            let reason = one.reason.clone().map(Phi::new);
            let writing = say_again(writing, state, appointment::REASON, reason.as_ref());
            let writing = say_again(writing, state, appointment::STATUS, Some(&one.status));
            let writing = say_again(writing, state, appointment::NUMBER, Some(&Phi::new(number)));
            self.write(writing, Some(scope))?;
        }
        Ok(all.len())
    }

    fn by_name(&mut self, kind: KindId, name: Field<String>) -> Result<BTreeMap<String, RecordState>, DbError> {
        let all = self.txn.all_of_kind(kind)?.into_iter();
        Ok(all.filter_map(|state| Some((name.value(&state)?, state))).collect())
    }

    fn site_of(&mut self, said: &str, line: u64) -> Option<&Site> {
        let mut fits = self
            .sites
            .iter()
            .filter(|site| site.name.eq_ignore_ascii_case(said) || site.scope.to_string() == said);
        match (fits.next(), fits.next()) {
            (Some(site), None) => Some(site),
            (None, _) => {
                self.findings
                    .add(line, "site", "is no site's name or id: see mainstay-hub status");
                None
            }
            (Some(_), Some(_)) => {
                self.findings
                    .add(line, "site", "is the name of several sites: give the id");
                None
            }
        }
    }

    fn patient_of(&mut self, one: &Booking) -> Result<Option<RecordId>, DbError> {
        let term = Wanted::Exactly(identifier_term(&one.patient_number));
        let found = self.txn.search(patient::KIND, &[vec![term]])?;
        let has = |state: &&RecordState| {
            patient::IDENTIFIER.standing(state).iter().any(|said| {
                let number = said.value.expose();
                number.system == one.patient_system && number.value == one.patient_number
            })
        };
        let mut fits = found.iter().filter(has);
        match (fits.next(), fits.next()) {
            (Some(state), None) => Ok(Some(state.record)),
            (None, _) => {
                let reason = "is no patient's number in that system: a booking is only taken for a known patient";
                self.findings.add(one.line, "patient_number", reason);
                Ok(None)
            }
            (Some(_), Some(_)) => {
                self.findings.add(
                    one.line,
                    "patient_number",
                    "is the number of several patients: join them first",
                );
                Ok(None)
            }
        }
    }
}

/// Whether any record of the organisation's scope names this content.
pub(crate) fn is_named(txn: &mut Txn<'_>, digest: BlobDigest) -> Result<bool, DbError> {
    let words = [vec![Wanted::Exactly(content_term(&digest))]];
    Ok(!txn.search(reference_set::KIND, &words)?.is_empty() || !txn.search(form::KIND, &words)?.is_empty())
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn record_of(state: Option<&RecordState>) -> Result<RecordId, DbError> {
    state.map_or_else(|| random().map(RecordId), |state| Ok(state.record))
}

/// The standing record of a key, or of the same person as the EHR names it.
fn take(standing: &mut BTreeMap<String, RecordState>, key: &str, twin: Option<RecordId>) -> Option<RecordState> {
    if let Some(state) = standing.remove(key) {
        return Some(state);
    }
    let twin = twin?;
    let key = standing
        .iter()
        .find(|(_, state)| state.record == twin)
        .map(|(key, _)| key.clone())?;
    standing.remove(&key)
}

/// Sets a field to what the list says of it, if it says anything else than what stands.
fn say<T: Value>(writing: Writing, state: Option<&RecordState>, field: Field<T>, value: Option<&T>) -> Writing {
    let standing = state
        .and_then(|state| field.value(state))
        .map(|standing| standing.to_raw());
    if standing == value.map(Value::to_raw) {
        return writing;
    }
    let register = state.and_then(|state| state.register(field.id));
    let shown: Vec<ChangeId> = register
        .map(|register| register.values.keys().copied().collect())
        .unwrap_or_default();
    match value {
        Some(value) => writing.replace(field, value, &shown),
        None => writing.clear(field, &shown),
    }
}

/// As [`say`], for a field that others write too: what somebody else has said since stands.
fn say_again<T: Value>(writing: Writing, state: Option<&RecordState>, field: Field<T>, value: Option<&T>) -> Writing {
    let by = state
        .and_then(|state| field.latest(state))
        .map(|said| said.actor.channel);
    match by {
        Some(channel) if channel != Channel::Hub as u8 => writing,
        Some(_) | None => say(writing, state, field, value),
    }
}
