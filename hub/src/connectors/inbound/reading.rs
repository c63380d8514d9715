//! Reading one feed of the EHR page by page: what changed in the order in which it did, and what was deleted.
//!
//! It refuses: to follow an address elsewhere; to go in circles; to let one resource that is too long, or a feed that is too
//! long for one run, keep what stands behind it from being read.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use formats::fhir::{Content, Feed, FeedEntry};

use super::config::ResourceType;
use super::{NOT_FHIR, PollError, Poller, hold_lease, take};
use crate::connectors::partner::{is_id, now};
use crate::db::InboundFeed;

/// A server's way of saying that it keeps no history to be asked for.
const NO_HISTORY: [u16; 6] = [400, 403, 404, 405, 410, 501];
/// The longest resource that is read for itself.
const RESOURCE_MAX_BYTES: usize = 16 * 1024 * 1024;
/// The longest page of which only is read which resources are on it.
const OUTLINE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// So many pages of fewer resources than configured have to have been short enough before more are asked for again.
const FITTING_MIN: u32 = 16;
/// A reading that left off at a page of the server's is begun anew when it was not given that page so many times.
const TRIES_MAX: u32 = 3;

/// How far one reading of one feed has come.
pub(super) struct Reading {
    pub(super) feed: InboundFeed,
    pub(super) began_ms: i64,
    /// Pages came in the order in which things changed, so that what was read is known page by page.
    pub(super) in_order: bool,
    pub(super) newest_ms: Option<i64>,
    pub(super) changed: bool,
    /// From when on changes are asked for; of nothing from the beginning.
    from_ms: Option<i64>,
    /// Resources asked for at once.
    size: u32,
    fitting: u32,
    /// The page that the server named as the next one, where one asked anew would not lead further.
    next: Option<String>,
    /// The pages that were read.
    read: BTreeSet<reqwest::Url>,
    /// How often the next page was not to be had.
    tries: u32,
}

/// How a run ended that nothing went wrong with.
enum Read {
    Whole,
    /// There is more to be read; the others have their turn first.
    InPart,
}

impl Reading {
    fn new(feed: InboundFeed, overlap_secs: u64, size: u32) -> Reading {
        let overlap_ms = i64::try_from(overlap_secs).unwrap_or(0).saturating_mul(1_000);
        Reading {
            from_ms: feed.since_ms.map(|since| since - overlap_ms),
            feed,
            began_ms: now(),
            in_order: true,
            newest_ms: None,
            changed: false,
            size,
            fitting: 0,
            next: None,
            read: BTreeSet::new(),
            tries: 0,
        }
    }

    /// Up to when the EHR was read, by its clock. What changed since the reading began may stand on a page that was read before,
    /// so it is read again; and so is all of an EHR whose clock is ahead, so that nothing is missed when it is set right.
    fn until_ms(&self, newest_ms: Option<i64>) -> Option<i64> {
        newest_ms.map(|newest| newest.min(self.began_ms))
    }

    fn may_ask_for(&self, address: &reqwest::Url) -> Result<(), PollError> {
        if self.read.contains(address) {
            return Err(PollError::Ehr("its pages lead back to one that was read".to_owned()));
        }
        Ok(())
    }

    /// Takes note of a page that was too long: fewer resources are asked for, from where it stands. False where that would
    /// not help: of one resource, or of a server whose pages have no order to ask by.
    fn shrinks(&mut self) -> bool {
        if self.size == 1 || (self.next.is_some() && !self.in_order) {
            return false;
        }
        self.size = (self.size / 4).max(1);
        self.fitting = 0;
        self.next = None;
        true
    }

    /// Takes note of where the next page is. Asked anew from where it stands, nothing slips by that moves while pages are
    /// turned; within one second, which is all that some servers know of time, pages are turned.
    fn goes_on(&mut self, newest: Option<i64>, next: String, size_max: u32) {
        self.fitting = self.fitting.saturating_add(1);
        let Some(newest) = newest.filter(|newest| {
            let is_later = self.from_ms.is_none_or(|from| second(*newest) > second(from));
            self.in_order && is_later
        }) else {
            self.next = Some(next);
            return;
        };
        (self.from_ms, self.next) = (Some(newest), None);
        if self.fitting >= FITTING_MIN && self.size < size_max {
            self.size = self.size.saturating_mul(2).min(size_max);
            self.fitting = 0;
        }
    }
}

impl Poller {
    /// Reads what changed, on from where the last run left off.
    pub(super) async fn read_feed(&self, kind: ResourceType) -> Result<(), PollError> {
        let name = kind.name();
        let mut reading = self.take_up(name).await?;
        match self.read_pages(kind, &mut reading).await {
            Ok(Read::Whole) => self.finish(kind, &reading).await,
            Ok(Read::InPart) => {
                tracing::info!(
                    feed = name,
                    "there is more to be read of the EHR; the others have their turn first"
                );
                self.leave_off(name, reading);
                Ok(())
            }
            Err(error) => {
                reading.tries += 1;
                if reading.next.is_some() && reading.tries < TRIES_MAX {
                    self.leave_off(name, reading);
                }
                Err(error)
            }
        }
    }

    async fn take_up(&self, name: &'static str) -> Result<Reading, PollError> {
        let feed = self.begin(name).await?;
        let left = self
            .left_off
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        // Another process may have read everything since.
        let read_since = |began_ms: i64| {
            feed.polled_ms
                .is_some_and(|polled| i64::try_from(polled).is_ok_and(|at| at > began_ms))
        };
        Ok(match left.filter(|left| !read_since(left.began_ms)) {
            Some(left) => Reading { feed, ..left },
            None => Reading::new(feed, self.config.overlap_secs, self.config.page_size),
        })
    }

    fn leave_off(&self, name: &'static str, reading: Reading) {
        self.left_off
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, reading);
    }

    async fn read_pages(&self, kind: ResourceType, reading: &mut Reading) -> Result<Read, PollError> {
        let name = kind.name();
        for _ in 0..self.config.pages_per_run_max {
            let address = match &reading.next {
                None => self.first_page(name, reading.from_ms, reading.size),
                Some(next) => self.next_page(name, next)?,
            };
            reading.may_ask_for(&address)?;
            let page = match self.page(&address).await {
                Err(PollError::TooLong) if reading.shrinks() => continue,
                Err(PollError::TooLong) => self.page_by_resource(&address).await?,
                page => page?,
            };
            let (newest, last) = (newest_ms(&page), page.next.is_none());
            let before = if reading.next.is_some() {
                reading.newest_ms
            } else {
                reading.from_ms
            };
            let in_order = reading.in_order && is_in_order(&page, before);
            let so_far = reading.newest_ms.max(newest);
            let until_ms = reading.until_ms(so_far).filter(|_| in_order || last);
            self.take_page(name, page.entries, reading, until_ms, last).await?;
            // A page that could not be taken is asked for again.
            reading.read.insert(address);
            (reading.in_order, reading.newest_ms, reading.tries) = (in_order, so_far, 0);
            let Some(next) = page.next else {
                return Ok(Read::Whole);
            };
            reading.goes_on(newest, next, self.config.page_size);
            self.rest().await?;
        }
        Ok(Read::InPart)
    }

    /// A page that is too long, resource by resource. What is too long even for itself, or refused, counts as broken.
    async fn page_by_resource(&self, address: &reqwest::Url) -> Result<Feed, PollError> {
        let mut page = self.outline(address).await?;
        for entry in &mut page.entries {
            let Some(id) = entry.id.clone() else { continue };
            match self.resource(&entry.kind, &id).await {
                // Where it stands among the others is what the page says.
                Ok(Some(whole)) => {
                    let updated = entry.updated.take();
                    *entry = FeedEntry { updated, ..whole };
                }
                Ok(None) | Err(PollError::TooLong | PollError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// Which resources are on a page, and which were deleted; not what they say.
    async fn outline(&self, address: &reqwest::Url) -> Result<Feed, PollError> {
        self.may_ask().await?;
        let (_, body) = self.partner.get_up_to(address.clone(), &[], OUTLINE_MAX_BYTES).await?;
        Feed::outline(&body).map_err(|_| PollError::Ehr(NOT_FHIR.to_owned()))
    }

    pub(super) async fn read_history(&self, kind: ResourceType, feed: &str) -> Result<(), PollError> {
        let mut reading = Reading::new(self.begin(feed).await?, 0, self.config.page_size);
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
        let since = instant(since_ms - overlap_ms);
        let first = |size: u32| self.partner.address(&format!("{feed}?_since={since}&_count={size}"));
        let (mut address, mut deleted) = (first(reading.size), Vec::new());
        reading.newest_ms = Some(since_ms);
        for _ in 0..self.config.pages_per_run_max {
            reading.may_ask_for(&address)?;
            let page = match self.history_page(&address).await {
                // Its pages name no place to go on from, so it is begun again.
                Err(PollError::TooLong) if reading.shrinks() => {
                    address = first(reading.size);
                    continue;
                }
                Err(PollError::TooLong) => self.outline(&address).await?,
                page => page?,
            };
            reading.read.insert(address);
            reading.newest_ms = reading.newest_ms.max(newest_ms(&page));
            let gone = |entry: &FeedEntry| matches!(entry.content, Content::Deleted);
            deleted.extend(page.entries.into_iter().filter(gone));
            match page.next {
                Some(next) => address = self.next_page(feed, &next)?,
                None => {
                    let deleted = self.still_absent(deleted).await?;
                    let until_ms = reading.until_ms(reading.newest_ms);
                    return self.take_page(feed, deleted, &mut reading, until_ms, true).await;
                }
            }
            self.rest().await?;
        }
        Err(PollError::Ehr(
            "its history has more pages than are read in one run".to_owned(),
        ))
    }

    async fn history_page(&self, address: &reqwest::Url) -> Result<Feed, PollError> {
        self.may_ask().await?;
        let (status, body) = self.partner.get(address.clone(), &NO_HISTORY).await?;
        if NO_HISTORY.contains(&status) {
            return Err(PollError::NotServed(format!(
                "it tells of no deletions (status {status})"
            )));
        }
        Feed::read(&body).map_err(|_| PollError::Ehr(NOT_FHIR.to_owned()))
    }

    /// Of what was deleted, what was not created again. What the EHR does not give, or is too long, may be there.
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
            if known.is_none_or(|seen| seen.digest == take::digest(&entry)) {
                continue;
            }
            match self
                .resource(&entry.kind, entry.id.as_deref().unwrap_or_default())
                .await
            {
                Ok(None) => absent.push(entry),
                Ok(Some(_)) | Err(PollError::TooLong | PollError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(absent)
    }

    async fn begin(&self, feed: &str) -> Result<InboundFeed, PollError> {
        self.may_ask().await?;
        let (owner, name) = (self.owner, feed.to_owned());
        self.db
            .write(move |txn| {
                hold_lease(txn, owner)?;
                Ok::<_, PollError>(txn.inbound_feed(&name)?)
            })
            .await
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
    pub(super) async fn resource(&self, kind: &str, id: &str) -> Result<Option<FeedEntry>, PollError> {
        const ABSENT: [u16; 2] = [404, 410];
        if !is_id(id) {
            return Ok(None);
        }
        self.may_ask().await?;
        let address = self.partner.address(&format!("{kind}/{id}"));
        let (status, body) = self.partner.get_up_to(address, &ABSENT, RESOURCE_MAX_BYTES).await?;
        if ABSENT.contains(&status) {
            return Ok(None);
        }
        let resource = serde_json::from_slice(&body).map_err(|_| PollError::Ehr(NOT_FHIR.to_owned()))?;
        Ok(Some(FeedEntry::of_resource(resource)))
    }
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
