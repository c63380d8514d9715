//! The watched folder: looked through when a file in it changes, at a time of day, and at the start. One process at a
//! time does it, by lease. A file that was taken or refused is left alone until it changes; at the time of day refused
//! ones are tried again, since what they name may have come.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use notify_debouncer_full::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use super::publish::{LEASE, LoadError, note_checked};
use super::{Config, File, Set, load, note_refused};
use crate::db::{Db, DbError, LeaseOwner, ReferenceFile, now_ms, random};

/// How long the lease is held for one file; the largest takes seconds.
const LEASE_MS: u64 = 10 * 60 * 1000;
/// When a folder that cannot be watched is tried again.
const WATCH_AGAIN: Duration = Duration::from_secs(60);

pub struct Refresh {
    db: Db,
    config: Config,
    folder: PathBuf,
    owner: LeaseOwner,
    changed: Arc<Notify>,
    due: Arc<Notify>,
}

type Watcher = Debouncer<RecommendedWatcher, RecommendedCache>;

impl Refresh {
    /// `None` when no folder is set.
    pub fn of(db: &Db, config: &Config) -> Result<Option<Refresh>, DbError> {
        let Some(folder) = config.folder.clone() else {
            return Ok(None);
        };
        Ok(Some(Refresh {
            db: db.clone(),
            config: config.clone(),
            folder,
            owner: random()?,
            changed: Arc::default(),
            due: Arc::default(),
        }))
    }

    /// Runs until told to stop.
    pub async fn run(self, stop: CancellationToken) -> Result<(), JobSchedulerError> {
        let mut scheduler = JobScheduler::new().await?;
        scheduler.start().await?;
        self.schedule(&scheduler).await?;
        let mut watcher = self.watch();
        let mut again = false;
        loop {
            self.look_through(again, &stop).await;
            again = tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => false,
                () = self.due.notified() => {
                    self.schedule(&scheduler).await?;
                    true
                }
                () = tokio::time::sleep(WATCH_AGAIN), if watcher.is_none() => {
                    watcher = self.watch();
                    false
                }
            };
        }
        scheduler.shutdown().await
    }

    fn watch(&self) -> Option<Watcher> {
        let changed = self.changed.clone();
        let tell = move |events: DebounceEventResult| {
            if events.is_ok() {
                changed.notify_one();
            }
        };
        let watched =
            new_debouncer(Duration::from_secs(self.config.settle_secs), None, tell).and_then(|mut watcher| {
                watcher.watch(&self.folder, RecursiveMode::NonRecursive)?;
                Ok(watcher)
            });
        match watched {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), %error, "the folder of reference data cannot be watched: create it");
                None
            }
        }
    }

    /// A one-shot for the next time of day: a repeating schedule in local time goes wrong where the clocks change.
    async fn schedule(&self, scheduler: &JobScheduler) -> Result<(), JobSchedulerError> {
        let zone = TimeZone::get(&self.config.zone).unwrap_or(TimeZone::UTC);
        let time = self.config.time().unwrap_or_default();
        let wait = until(time, &zone, Timestamp::now());
        let due = Mutex::new(Some(self.due.clone()));
        let job = Job::new_one_shot_async(wait, move |_, _| {
            let due = due.lock().ok().and_then(|mut due| due.take());
            Box::pin(async move {
                if let Some(due) = due {
                    due.notify_one();
                }
            })
        })?;
        scheduler.add(job).await?;
        Ok(())
    }

    async fn look_through(&self, again: bool, stop: &CancellationToken) {
        for set in Set::ALL {
            if stop.is_cancelled() {
                return;
            }
            if let Err(error) = self.look_at(set, again).await {
                tracing::error!(set = set.word(), %error, "a file of reference data could not be taken in");
            }
        }
        let owner = self.owner;
        let released = self.db.write(move |txn| txn.release_lease(LEASE, owner)).await;
        if let Err(error) = released {
            tracing::debug!(%error, "the lease could not be given back");
        }
    }

    async fn look_at(&self, set: Set, again: bool) -> Result<(), DbError> {
        let Some(path) = found(&self.folder, set) else {
            return Ok(());
        };
        let owner = self.owner;
        let taken = self
            .db
            .write(move |txn| txn.take_lease(LEASE, owner, now_ms() + LEASE_MS));
        if !taken.await? {
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = tokio::task::spawn_blocking(move || File::open(set, &path));
        let file = match read.await.map_err(|_| DbError::Panicked)? {
            Ok(file) => file,
            Err(reason) => {
                tracing::warn!(set = set.word(), reason, "a file of reference data cannot be read");
                return Ok(());
            }
        };
        let digest = file.digest();
        let known = self.db.read(|txn| txn.reference_files()).await?;
        if let Some(settled) = known.iter().find(|known| is_settled(known, set, digest, again)) {
            if settled.refused.is_none()
                && let Err(LoadError::Failed(failure)) = note_checked(&self.db, set).await
            {
                tracing::error!(
                    set = set.word(),
                    error = failure.message,
                    "that a file of reference data stands unchanged could not be written down"
                );
            }
            return Ok(());
        }
        match load(&self.db, set, file, None, Some(owner)).await {
            Ok(outcome) => {
                tracing::info!(
                    set = set.word(),
                    file = name,
                    version = outcome.version,
                    entries = outcome.entries,
                    written = outcome.written,
                    ended = outcome.ended,
                    "reference data was taken in"
                );
            }
            Err(LoadError::LeaseLost) => {}
            Err(LoadError::Failed(failure)) => {
                tracing::error!(
                    set = set.word(),
                    error = failure.message,
                    "reference data could not be kept"
                );
            }
            Err(LoadError::Refused(refused)) => {
                tracing::warn!(
                    set = set.word(), file = name, %refused,
                    "a file of reference data is broken and was not taken; what stood before stands"
                );
                note_refused(&self.db, set, name, digest, &refused).await?;
            }
        }
        Ok(())
    }
}

fn is_settled(known: &ReferenceFile, set: Set, digest: [u8; 32], again: bool) -> bool {
    known.set == set.word() && known.digest == digest && !(again && known.refused.is_some())
}

fn found(folder: &Path, set: Set) -> Option<PathBuf> {
    let paths = set.file_names().iter().map(|name| folder.join(name));
    paths.into_iter().find(|path| path.is_file())
}

/// How long it is to the next time the zone's clock shows this.
fn until(time: jiff::civil::Time, zone: &TimeZone, now: Timestamp) -> Duration {
    let here = now.to_zoned(zone.clone());
    let on = |date: jiff::civil::Date| date.to_datetime(time).to_zoned(zone.clone());
    let next = match on(here.date()) {
        Ok(today) if today > here => Ok(today),
        Ok(_) | Err(_) => here.date().checked_add(1.day()).and_then(on),
    };
    let wait = next
        .ok()
        .and_then(|next| Duration::try_from(next.timestamp().duration_since(now)).ok());
    wait.unwrap_or(Duration::from_secs(24 * 60 * 60))
        .max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_today_or_tomorrow_on_the_zones_clock() {
        let zone = TimeZone::get("America/Chicago").unwrap();
        let time = jiff::civil::time(3, 30, 0, 0);
        let wait = |now: &str| until(time, &zone, now.parse().unwrap()).as_secs();

        assert_eq!(wait("2026-07-01T08:00:00Z"), 30 * 60);
        assert_eq!(wait("2026-07-01T09:00:00Z"), 23 * 3600 + 30 * 60);
        // The night in which two o'clock is followed by three.
        assert_eq!(wait("2026-03-08T07:00:00Z"), 90 * 60);
    }
}
