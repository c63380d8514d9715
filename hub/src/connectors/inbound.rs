//! Bringing in what the EHR holds: patients, their insurance, appointments, and whom and where they are with. The EHR is
//! asked again and again what changed; each page is taken in one transaction, together with how far it was read.
//!
//! What it refuses: to write while another process reads; to write what only comes back or is written another way; to
//! guess a place or a person; to delete anything here because it was deleted there; to follow an address elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use formats::fhir::{Feed, FeedEntry};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::journal::StoreError;
use super::pace::May;
use super::partner::{Partner, TOO_LONG, now};
use crate::db::{Db, DbError, InboundFeed, LeaseOwner, Txn};
use crate::matching::Matcher;

pub mod config;
mod places;
mod take;

pub use config::{Config, ResourceType};

use take::{Taking, Tally};

/// One process at a time reads the EHR.
const LEASE: &[u8] = b"ehr-poll";
/// How long a process that was stopped keeps the others waiting; longer than any request takes.
const LEASE_MS: u64 = 120_000;
/// What waits for something that is tried again in one run.
const RETRIES_MAX: usize = 200;
/// A server's way of saying that it keeps no history to be asked for.
const NO_HISTORY: [u16; 6] = [400, 403, 404, 405, 410, 501];

#[derive(Debug, thiserror::Error)]
pub(super) enum PollError {
    #[error("{0}")]
    Ehr(String),
    /// The EHR does not have what was asked for, which is no failure.
    #[error("{0}")]
    NotServed(String),
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
        PollError::Ehr(match failure {
            Failure::Refused { class, note }
            | Failure::Unavailable { class, note, .. }
            | Failure::Unknown { class, note } => {
                format!("{}: {note}", class.word())
            }
            Failure::Conflict { note } => note,
        })
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
}

/// How far one reading of one feed has come.
struct Reading {
    feed: InboundFeed,
    began_ms: i64,
    /// Pages came in the order in which things changed, so that what was read is known page by page.
    in_order: bool,
    newest_ms: Option<i64>,
    changed: bool,
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
        })
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
                Err(error @ (PollError::Ehr(_) | PollError::NotServed(_) | PollError::Store(_))) => {
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
                    Err(error @ PollError::Ehr(_)) => trouble = Some(error),
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

    async fn read_feed(&self, kind: ResourceType) -> Result<(), PollError> {
        let name = kind.name();
        let mut reading = self.begin(name).await?;
        let mut size = self.config.page_size;
        let overlap_ms = i64::try_from(self.config.overlap_secs)
            .unwrap_or(0)
            .saturating_mul(1_000);
        let mut from_ms = reading.feed.since_ms.map(|since| since - overlap_ms);
        let mut asked = BTreeSet::new();
        let mut next: Option<String> = None;
        for _ in 0..self.config.pages_per_run_max {
            let address = match &next {
                None => self.first_page(name, from_ms, size),
                Some(next) => self.next_page(name, next)?,
            };
            if !asked.insert(address.clone()) {
                return Err(PollError::Ehr("its pages lead back to one that was read".to_owned()));
            }
            let page = match self.page(&address).await {
                Err(PollError::Ehr(note)) if note.ends_with(TOO_LONG) && size > 1 => {
                    (size, next) = (size / 4, None);
                    size = size.max(1);
                    continue;
                }
                page => page?,
            };
            let newest = newest_ms(&page);
            let before = if next.is_some() { reading.newest_ms } else { from_ms };
            reading.in_order &= is_in_order(&page, before);
            reading.newest_ms = reading.newest_ms.max(newest);
            let last = page.next.is_none();
            let further = page.next.clone();
            self.take_page(name, page.entries, &mut reading, last).await?;
            let Some(further) = further else {
                return self.finish(kind, &reading).await;
            };
            // Asked anew from where it stands, nothing slips by that moves while pages are turned; within one second, which
            // is all that some servers know of time, pages are turned.
            match (newest, reading.in_order) {
                (Some(newest), true) if from_ms.is_none_or(|from| second(newest) > second(from)) => {
                    (from_ms, next) = (Some(newest), None);
                }
                (_, _) => next = Some(further),
            }
            self.rest().await?;
        }
        tracing::info!(
            feed = name,
            "there is more to be read of the EHR; the others have their turn first"
        );
        Ok(())
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
            Err(PollError::NotServed(_)) => Ok(()),
            result => result,
        }
    }

    async fn read_history(&self, kind: ResourceType, feed: &str) -> Result<(), PollError> {
        let mut reading = self.begin(feed).await?;
        let changes = kind.name();
        let since_ms = match reading.feed.since_ms {
            Some(since) => since,
            // Nothing was taken before, so nothing that was deleted before matters.
            None => match self.db.read(move |txn| txn.inbound_feed(changes)).await?.since_ms {
                Some(since) => since,
                None => return Ok(()),
            },
        };
        let overlap_ms = i64::try_from(self.config.overlap_secs)
            .unwrap_or(0)
            .saturating_mul(1_000);
        let query = format!(
            "{feed}?_since={}&_count={}",
            instant(since_ms - overlap_ms),
            self.config.page_size
        );
        let (mut address, mut asked) = (self.partner.address(&query), BTreeSet::new());
        let mut deleted = Vec::new();
        reading.newest_ms = Some(since_ms);
        for _ in 0..self.config.pages_per_run_max {
            if !asked.insert(address.clone()) {
                return Err(PollError::Ehr("its pages lead back to one that was read".to_owned()));
            }
            self.may_ask().await?;
            let (status, body) = self.partner.get(address, &NO_HISTORY).await?;
            if NO_HISTORY.contains(&status) {
                return Err(PollError::NotServed(format!(
                    "it tells of no deletions (status {status})"
                )));
            }
            let page = Feed::read(&body).map_err(|_| PollError::Ehr(NOT_FHIR.to_owned()))?;
            reading.newest_ms = reading.newest_ms.max(newest_ms(&page));
            let gone = |entry: &FeedEntry| matches!(entry.content, formats::fhir::Content::Deleted);
            deleted.extend(page.entries.into_iter().filter(gone));
            match page.next {
                Some(next) => address = self.next_page(feed, &next)?,
                None => {
                    let deleted = self.still_absent(deleted).await?;
                    return self.take_page(feed, deleted, &mut reading, true).await;
                }
            }
            self.rest().await?;
        }
        Err(PollError::Ehr(
            "its history has more pages than are read in one run".to_owned(),
        ))
    }

    /// Of what was deleted, what was not created again.
    async fn still_absent(&self, deleted: Vec<FeedEntry>) -> Result<Vec<FeedEntry>, PollError> {
        let mut absent: Vec<FeedEntry> = Vec::new();
        for entry in deleted {
            let Some(id) = entry.id.clone() else { continue };
            let same = |one: &FeedEntry| one.kind == entry.kind && one.id == entry.id;
            if absent.iter().any(same) {
                continue;
            }
            let kind = entry.kind.clone();
            let known = self.db.read(move |txn| txn.seen(&kind, &id)).await?;
            let news = known.is_some_and(|seen| seen.digest != take::digest(&entry));
            if news
                && self
                    .resource(&entry.kind, entry.id.as_deref().unwrap_or_default())
                    .await?
                    .is_none()
            {
                absent.push(entry);
            }
        }
        Ok(absent)
    }

    async fn begin(&self, feed: &str) -> Result<Reading, PollError> {
        self.may_ask().await?;
        let (owner, name) = (self.owner, feed.to_owned());
        let feed = self.db.write(move |txn| {
            hold_lease(txn, owner)?;
            Ok::<_, PollError>(txn.inbound_feed(&name)?)
        });
        Ok(Reading {
            feed: feed.await?,
            began_ms: now(),
            in_order: true,
            newest_ms: None,
            changed: false,
        })
    }

    fn first_page(&self, kind: &str, from_ms: Option<i64>, size: u32) -> reqwest::Url {
        let from = from_ms
            .map(|from| format!("_lastUpdated=ge{}&", instant(from)))
            .unwrap_or_default();
        self.partner
            .address(&format!("{kind}?{from}_sort=_lastUpdated&_count={size}"))
    }

    /// The next page, always asked of the server that we know: one behind a gateway names itself differently.
    fn next_page(&self, path: &str, next: &str) -> Result<reqwest::Url, PollError> {
        let elsewhere = || PollError::Ehr("its next page is at another address".to_owned());
        let base = self.partner.address("");
        let next = base.join(next).map_err(|_| elsewhere())?;
        if next.origin() == base.origin() {
            return Ok(next);
        }
        if !next.path().ends_with(&format!("/{path}")) {
            return Err(elsewhere());
        }
        let mut own = self.partner.address(path);
        own.set_query(next.query());
        Ok(own)
    }

    async fn page(&self, address: &reqwest::Url) -> Result<Feed, PollError> {
        self.may_ask().await?;
        let (_, body) = self.partner.get(address.clone(), &[]).await?;
        Feed::read(&body).map_err(|_| PollError::Ehr(NOT_FHIR.to_owned()))
    }

    /// `None` when there is none, or no longer.
    async fn resource(&self, kind: &str, id: &str) -> Result<Option<FeedEntry>, PollError> {
        const ABSENT: [u16; 2] = [404, 410];
        if !super::partner::is_id(id) {
            return Ok(None);
        }
        self.may_ask().await?;
        let (status, body) = self
            .partner
            .get(self.partner.address(&format!("{kind}/{id}")), &ABSENT)
            .await?;
        if ABSENT.contains(&status) {
            return Ok(None);
        }
        let resource = serde_json::from_slice(&body).map_err(|_| PollError::Ehr(NOT_FHIR.to_owned()))?;
        Ok(Some(FeedEntry::of_resource(resource)))
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

    /// Takes a page: its records and how far it was read, in one transaction.
    async fn take_page(
        &self,
        feed: &str,
        entries: Vec<FeedEntry>,
        reading: &mut Reading,
        last: bool,
    ) -> Result<(), PollError> {
        let (owner, name) = (self.owner, feed.to_owned());
        let mut to = reading.feed.clone();
        if reading.in_order || last {
            // An EHR whose clock is ahead is read again up to ours, so that nothing is missed when it is set right.
            to.since_ms = to.since_ms.max(reading.newest_ms.map(|newest| newest.min(now())));
        }
        if last {
            to.filled = true;
            to.polled_ms = u64::try_from(reading.began_ms).ok();
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
        let Err(PollError::Ehr(problem) | PollError::NotServed(problem)) = result else {
            return Ok(());
        };
        let (name, problem, owner) = (feed.to_owned(), problem.clone(), self.owner);
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

    /// What named a place or a person that is known by now is read again.
    async fn retry_what_waits(&self) -> Result<(), PollError> {
        let ready = self.db.read(|txn| take::ready(txn, RETRIES_MAX)).await?;
        for waiting in ready {
            let Some(entry) = self.resource(&waiting.kind, &waiting.id).await? else {
                let owner = self.owner;
                self.db
                    .write(move |txn| {
                        hold_lease(txn, owner)?;
                        Ok::<_, PollError>(txn.set_waiting(&waiting.kind, &waiting.id, None)?)
                    })
                    .await?;
                continue;
            };
            let (owner, system) = (self.owner, self.config.appointment_system.clone());
            let matcher = self.matcher.clone();
            self.db
                .write(move |txn| {
                    hold_lease(txn, owner)?;
                    Taking::new(txn, &matcher, system.as_deref())?.take(&entry, true)?;
                    Ok::<_, PollError>(())
                })
                .await?;
        }
        Ok(())
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

fn newest_ms(page: &Feed) -> Option<i64> {
    let times = page.entries.iter().filter_map(|entry| entry.updated.as_deref());
    times.filter_map(clinic::fhir::instant_ms).max()
}

/// Whether a page tells what changed in the order in which it did, after what was read before. Every time must be told.
fn is_in_order(page: &Feed, before: Option<i64>) -> bool {
    let mut last = before.map(second);
    page.entries.iter().all(|entry| {
        let at = entry.updated.as_deref().and_then(clinic::fhir::instant_ms).map(second);
        let follows = at.is_some() && at >= last;
        last = at;
        follows
    })
}

fn second(ms: i64) -> i64 {
    ms.div_euclid(1_000)
}

/// An R4 instant to the second, which every server can compare.
fn instant(ms: i64) -> String {
    jiff::Timestamp::from_second(second(ms))
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}
