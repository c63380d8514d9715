//! Bringing in what the EHR holds: patients, their insurance, appointments, and whom and where they are with. The EHR is
//! asked again and again what changed; each page is taken in one transaction, together with how far it was read.
//!
//! What it refuses: to write while another process reads; to write what only comes back or is written another way; to
//! guess a place or a person; to delete anything here because it was deleted there; to follow an address elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use formats::fhir::FeedEntry;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::journal::StoreError;
use super::pace::May;
use super::partner::{Partner, TOO_LONG};
use crate::db::{Db, DbError, InboundFeed, LeaseOwner, Txn, Waiting};
use crate::matching::Matcher;

pub mod config;
mod places;
mod reading;
mod take;

pub use config::{Config, ResourceType};

use reading::Reading;
use take::{Taking, Tally};

/// One process at a time reads the EHR.
pub(super) const LEASE: &[u8] = b"ehr-poll";
/// How long a process that was stopped keeps the others waiting; longer than any request takes.
const LEASE_MS: u64 = 120_000;
/// What waits for a site, for a patient or for a provider that is tried again in one run, of each.
const RETRIES_MAX: usize = 200;
/// So many of them, or of so many bytes, are taken in one transaction.
const RETRIES_AT_ONCE: usize = 20;
const RETRIES_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum PollError {
    #[error("{0}")]
    Ehr(String),
    /// The EHR says no, and would again.
    #[error("{0}")]
    Refused(String),
    /// The EHR does not have what was asked for, which is no failure.
    #[error("{0}")]
    NotServed(String),
    #[error("{TOO_LONG}")]
    TooLong,
    #[error("the EHR is left in peace for now")]
    Resting,
    #[error("another process reads the EHR")]
    LostLease,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the hub stops")]
    Stopped,
}

impl From<DbError> for PollError {
    fn from(error: DbError) -> PollError {
        PollError::Store(StoreError::Ledger(error))
    }
}

impl From<Failure> for PollError {
    fn from(failure: Failure) -> PollError {
        if matches!(&failure, Failure::Unavailable { note, .. } if note == TOO_LONG) {
            return PollError::TooLong;
        }
        match failure {
            Failure::Refused { class, note } => PollError::Refused(format!("{}: {note}", class.word())),
            Failure::Unavailable { class, note, .. } | Failure::Unknown { class, note } => {
                PollError::Ehr(format!("{}: {note}", class.word()))
            }
            Failure::Conflict { note } => PollError::Ehr(note),
        }
    }
}

/// Reads the EHR, as one process.
pub(super) struct Poller {
    db: Db,
    partner: Arc<Partner>,
    config: Config,
    matcher: Matcher,
    owner: LeaseOwner,
    stop: CancellationToken,
    /// Readings that did not come to their end in one run, by feed; the next run goes on with them.
    left_off: Mutex<BTreeMap<&'static str, Reading>>,
}

impl Poller {
    pub(super) fn new(
        db: Db,
        partner: Arc<Partner>,
        config: Config,
        matcher: Matcher,
        stop: CancellationToken,
    ) -> Result<Poller, DbError> {
        Ok(Poller {
            db,
            partner,
            config,
            matcher,
            owner: crate::db::random()?,
            stop,
            left_off: Mutex::default(),
        })
    }

    #[cfg(test)]
    pub(super) fn owner(&self) -> LeaseOwner {
        self.owner
    }

    /// Reads until told to stop.
    pub(super) async fn run(self) {
        let mut failures = 0u32;
        loop {
            let result = tokio::select! {
                () = self.stop.cancelled() => break,
                result = self.poll() => result,
            };
            failures = match result {
                Ok(()) => 0,
                Err(PollError::LostLease | PollError::Resting | PollError::Stopped) => failures,
                Err(
                    error @ (PollError::Ehr(_)
                    | PollError::Refused(_)
                    | PollError::NotServed(_)
                    | PollError::TooLong
                    | PollError::Store(_)),
                ) => {
                    if failures == 0 {
                        tracing::warn!(%error, "the EHR could not be read");
                    }
                    failures.saturating_add(1)
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(self.pause(failures)) => {}
            }
        }
        let owner = self.owner;
        if let Err(error) = self.db.write(move |txn| txn.release_lease(LEASE, owner)).await {
            tracing::debug!(%error, "the lease for reading the EHR was not given back");
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.config.poll_secs.saturating_mul(1 << failures.min(16));
        Duration::from_secs(doubled.min(self.config.back_off_max_secs.max(self.config.poll_secs)))
    }

    /// Asks once for everything that changed. One type's trouble does not keep the others from being read.
    pub(super) async fn poll(&self) -> Result<(), PollError> {
        let mut trouble = None;
        let wanted = ResourceType::ALL
            .into_iter()
            .filter(|one| self.config.types.contains(one));
        for kind in wanted {
            for result in [self.read_changes(kind).await, self.read_deletions(kind).await] {
                match result {
                    Ok(()) => {}
                    Err(error @ (PollError::Ehr(_) | PollError::Refused(_) | PollError::TooLong)) => {
                        trouble = Some(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.settle_places().await?;
        self.retry_what_waits().await?;
        trouble.map_or(Ok(()), Err)
    }

    async fn read_changes(&self, kind: ResourceType) -> Result<(), PollError> {
        let feed = kind.name();
        let result = self.read_feed(kind).await;
        self.note_problem(feed, &result).await?;
        result
    }

    /// What was deleted at the EHR, where it tells: newest first, so that only a whole reading counts.
    async fn read_deletions(&self, kind: ResourceType) -> Result<(), PollError> {
        if !kind.has_deletions() {
            return Ok(());
        }
        let feed = format!("{}/_history", kind.name());
        let result = self.read_history(kind, &feed).await;
        self.note_problem(&feed, &result).await?;
        match result {
            // Another try would not help, so nothing else is read more seldom for it.
            Err(PollError::NotServed(_) | PollError::TooLong) => Ok(()),
            result => result,
        }
    }

    /// Deliveries and their probes go first: while the EHR does not serve them, it is not read either.
    async fn may_ask(&self) -> Result<(), PollError> {
        if self.stop.is_cancelled() {
            return Err(PollError::Stopped);
        }
        match self.partner.may() {
            May::Go => Ok(()),
            May::Probe if self.partner.probe().await => Ok(()),
            May::Probe | May::NotBefore(_) => Err(PollError::Resting),
        }
    }

    async fn rest(&self) -> Result<(), PollError> {
        tokio::time::sleep(Duration::from_millis(self.config.page_pause_ms)).await;
        self.may_ask().await
    }

    /// Takes a page: its records and up to when everything was read with it, if that is known, in one transaction.
    async fn take_page(
        &self,
        feed: &str,
        entries: Vec<FeedEntry>,
        reading: &mut Reading,
        until_ms: Option<i64>,
        last: bool,
    ) -> Result<(), PollError> {
        let (owner, name) = (self.owner, feed.to_owned());
        let mut to = reading.feed.clone();
        to.since_ms = to.since_ms.max(until_ms);
        if last {
            to.filled = true;
            to.polled_ms = to.polled_ms.max(u64::try_from(reading.began_ms).ok());
            to.problem = None;
        }
        let count = entries.len();
        let (appointment_system, matcher) = (self.config.appointment_system.clone(), self.matcher.clone());
        let (to, tally) = self
            .db
            .write(move |txn| {
                hold_lease(txn, owner)?;
                let mut taking = Taking::new(txn, &matcher, appointment_system.as_deref())?;
                let mut tally = Tally::default();
                for entry in &entries {
                    tally.add(taking.take(entry, false)?);
                }
                let to = InboundFeed {
                    taken: to.taken + tally.taken,
                    unknown: to.unknown + tally.unknown,
                    broken: to.broken + tally.broken,
                    ..to.clone()
                };
                txn.set_inbound_feed(&name, &to)?;
                Ok::<_, PollError>((to, tally))
            })
            .await?;
        reading.changed |= tally.taken > 0;
        if tally.broken > 0 {
            tracing::warn!(
                feed,
                broken = tally.broken,
                "resources of the EHR cannot be used; they are left out"
            );
        }
        if !reading.feed.filled {
            tracing::info!(
                feed,
                page = count,
                taken = to.taken,
                done = last,
                "the EHR is being read for the first time"
            );
        } else if tally.taken > 0 {
            tracing::info!(feed, taken = tally.taken, "the EHR has changed");
        }
        reading.feed = to;
        Ok(())
    }

    async fn finish(&self, kind: ResourceType, reading: &Reading) -> Result<(), PollError> {
        if !reading.changed && places::set_of(kind).is_none() {
            return Ok(());
        }
        let (owner, changed) = (self.owner, reading.changed);
        self.db
            .write(move |txn| {
                hold_lease(txn, owner)?;
                match changed {
                    true => places::note_set(txn, kind)?,
                    false => places::note_unchanged(txn, kind)?,
                }
                Ok::<_, PollError>(())
            })
            .await
    }

    async fn note_problem(&self, feed: &str, result: &Result<(), PollError>) -> Result<(), PollError> {
        let problem = match result {
            Err(error @ (PollError::Ehr(_) | PollError::Refused(_) | PollError::NotServed(_) | PollError::TooLong)) => {
                error.to_string()
            }
            Err(PollError::Resting | PollError::LostLease | PollError::Store(_) | PollError::Stopped) | Ok(()) => {
                return Ok(());
            }
        };
        let (name, owner) = (feed.to_owned(), self.owner);
        self.db
            .write(move |txn| {
                hold_lease(txn, owner)?;
                let feed = InboundFeed {
                    problem: Some(problem.clone()),
                    ..txn.inbound_feed(&name)?
                };
                txn.set_inbound_feed(&name, &feed)?;
                Ok::<_, PollError>(())
            })
            .await
    }

    async fn settle_places(&self) -> Result<(), PollError> {
        if self.db.read(places::unsettled).await?.is_empty() {
            return Ok(());
        }
        let owner = self.owner;
        self.db
            .write(move |txn| {
                hold_lease(txn, owner)?;
                places::settle(txn)?;
                Ok::<_, PollError>(())
            })
            .await
    }

    /// What named a place or a person that is known by now is read again. One that cannot be read keeps no other waiting.
    async fn retry_what_waits(&self) -> Result<(), PollError> {
        let owner = self.owner;
        if self.db.read(|txn| txn.any_waited_out()).await? {
            self.db
                .write(move |txn| {
                    hold_lease(txn, owner)?;
                    Ok::<_, PollError>(txn.drop_waited_out()?)
                })
                .await?;
        }
        let (mut again, mut bytes, mut ended) = (Vec::new(), 0, Ok(()));
        for waiting in self.db.read(|txn| take::ready(txn, RETRIES_MAX)).await? {
            let found = match self.read_again(&waiting).await {
                Ok(found) => found,
                // What was read so far is taken all the same.
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            };
            bytes += found.bytes();
            again.push((waiting, found));
            if again.len() == RETRIES_AT_ONCE || bytes >= RETRIES_BYTES {
                bytes = 0;
                self.take_again(std::mem::take(&mut again)).await?;
            }
        }
        self.take_again(again).await?;
        ended
    }

    async fn read_again(&self, waiting: &Waiting) -> Result<Again, PollError> {
        match self.resource(&waiting.kind, &waiting.id).await {
            Ok(Some(entry)) => Ok(Again::Is(entry)),
            Ok(None) => Ok(Again::IsGone),
            Err(error @ (PollError::Ehr(_) | PollError::Refused(_) | PollError::NotServed(_) | PollError::TooLong)) => {
                tracing::debug!(%error, "a resource of the EHR that waited could not be read again");
                Ok(Again::IsNotGiven)
            }
            Err(error @ (PollError::Resting | PollError::LostLease | PollError::Store(_) | PollError::Stopped)) => {
                Err(error)
            }
        }
    }

    async fn take_again(&self, again: Vec<(Waiting, Again)>) -> Result<(), PollError> {
        if again.is_empty() {
            return Ok(());
        }
        let (owner, system, matcher) = (self.owner, self.config.appointment_system.clone(), self.matcher.clone());
        self.db
            .write(move |txn| {
                hold_lease(txn, owner)?;
                for (waiting, found) in &again {
                    match found {
                        Again::Is(_) => {}
                        Again::IsGone => txn.set_waiting(&waiting.kind, &waiting.id, None)?,
                        Again::IsNotGiven => txn.wait_on(&waiting.kind, &waiting.id)?,
                    }
                }
                let mut taking = Taking::new(txn, &matcher, system.as_deref())?;
                for (_, found) in &again {
                    if let Again::Is(entry) = found {
                        taking.take(entry, true)?;
                    }
                }
                Ok::<_, PollError>(())
            })
            .await
    }
}

/// What became of a resource that waited.
enum Again {
    Is(FeedEntry),
    IsGone,
    IsNotGiven,
}

impl Again {
    fn bytes(&self) -> usize {
        match self {
            Again::Is(entry) => entry.bytes.len(),
            Again::IsGone | Again::IsNotGiven => 0,
        }
    }
}

const NOT_FHIR: &str = "an answer that is not FHIR: check base_url and the account";

/// Takes or prolongs the lease in the transaction that writes: a process that lost it writes nothing.
fn hold_lease(txn: &mut Txn<'_>, owner: LeaseOwner) -> Result<(), PollError> {
    let until_ms = txn.now_ms() + LEASE_MS;
    if txn.take_lease(LEASE, owner, until_ms)? {
        return Ok(());
    }
    Err(PollError::LostLease)
}
