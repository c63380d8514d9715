//! Work that is done by the clock. A job is a one-shot for the next time of day on the site's clock, computed anew after
//! each run: a repeating schedule in local time goes wrong where the clocks change.

use std::time::Duration;

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use sync_protocol::RecordId;
use sync_protocol::proof::ProofKey;
use sync_protocol::replica::{self, ReplicaError};
use sync_protocol::wire::Cursor;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::access::site::Site;
use crate::app::App;
use crate::clock;
use crate::config::TimeOfDay;
use crate::store::{Priority, TxError, WriteError};
use crate::verified::{self, Repair};

/// Runs the jobs until told to stop.
pub async fn run(app: App, stop: CancellationToken) -> Result<(), JobSchedulerError> {
    let mut scheduler = JobScheduler::new().await?;
    scheduler.start().await?;
    while !stop.is_cancelled() {
        let at = app.config.borrow().jobs.recompute_roots_at;
        let zone = match app.store.read(Site::of).await {
            Ok(site) => TimeZone::get(&site.zone).unwrap_or(TimeZone::UTC),
            Err(_) => TimeZone::UTC,
        };
        let wait = until(at, &zone, Timestamp::now());
        let (done, finished) = tokio::sync::oneshot::channel();
        let done = std::sync::Mutex::new(Some(done));
        let job_app = app.clone();
        let job = Job::new_one_shot_async(wait, move |_, _| {
            let app = job_app.clone();
            let done = done.lock().ok().and_then(|mut done| done.take());
            Box::pin(async move {
                recompute_roots(&app).await;
                prune(&app).await;
                if let Some(done) = done {
                    done.send(()).ok();
                }
            })
        })?;
        let id = scheduler.add(job).await?;
        tokio::select! {
            () = stop.cancelled() => {}
            _ = finished => {}
        }
        scheduler.remove(&id).await.ok();
    }
    scheduler.shutdown().await
}

/// How long it is to the next time the site's clock shows this. A time that the clock skips is taken where it goes on.
fn until(at: TimeOfDay, zone: &TimeZone, now: Timestamp) -> Duration {
    let here = now.to_zoned(zone.clone());
    let time = civil::Time::new(at.hour, at.minute, 0, 0).unwrap_or(civil::Time::midnight());
    let on = |date: civil::Date| date.to_datetime(time).to_zoned(zone.clone());
    let today = on(here.date());
    let next = match today {
        Ok(today) if today > here => Ok(today),
        Ok(_) | Err(_) => here.date().checked_add(1.day()).and_then(on),
    };
    let day = Duration::from_secs(24 * 60 * 60);
    let wait = next
        .ok()
        .and_then(|next| Duration::try_from(next.timestamp().duration_since(now)).ok());
    wait.unwrap_or(day).max(Duration::from_secs(1))
}

/// Finds rot in what is at rest: sums the bases again from their rows and compares with the sums kept beside them. A sum is set
/// to what the rows say; if it was the rows that rotted, the next pull finds another root than the hub's, and the exchange
/// repairs them. What is shown of a record is compared with its base and what is pending.
async fn recompute_roots(app: &App) {
    match look_for_rot(app).await {
        Ok(0) => tracing::info!("the store's proof was recomputed from its rows and holds"),
        Ok(rotted) => tracing::error!(
            rotted,
            "rows of the store and the sums kept of them had come apart: check this machine's disk; what differs from the hub \
             is fetched again"
        ),
        Err(error) => tracing::error!(%error, "the store's proof could not be recomputed"),
    }
}

async fn look_for_rot(app: &App) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let key = ProofKey::new(&app.enrolment.proof_key);
    let mut all = 0;
    for Cursor { scope, lane, .. } in app.store.read(|tx| tx.cursors()).await? {
        let reading = key.clone();
        let wrong = app.store.read(move |tx| tx.miscounted(scope, lane, &reading)).await?;
        let mut rotted = 0;
        for one in wrong {
            let key = key.clone();
            let recounted = app.store.write(Priority::Sync, move |tx| {
                replica::recount(tx, &key, one.scope, one.lane, one.bucket)
            });
            rotted += u64::from(recounted.await?);
        }
        if rotted > 0 {
            tracing::error!(?lane, rotted, "buckets of this lane had rotted");
            let repair = Repair {
                at_ms: clock::now_ms(),
                scope,
                lane,
                rotted,
                mended: 0,
                ahead: 0,
            };
            let noted = app
                .store
                .write(Priority::Sync, move |tx| verified::note_repair(tx, &repair));
            noted.await?;
        }
        all += rotted;
    }
    Ok(all + show_anew(app).await?)
}

/// Records that one write looks at; the desk waits no longer for it.
const SHOWN_AT_ONCE: usize = 64;

async fn show_anew(app: &App) -> Result<u64, WriteError<ReplicaError<TxError>>> {
    let (mut after, mut rotted) = (Some(RecordId::NIL), 0);
    while let Some(from) = after {
        let looked = app
            .store
            .write(Priority::Sync, move |tx| tx.show_anew(from, SHOWN_AT_ONCE))
            .await?;
        (after, rotted) = (looked.last, rotted + looked.rotted);
    }
    if rotted > 0 {
        tracing::error!(
            rotted,
            "what was shown of records was not what they hold; it is shown anew"
        );
    }
    Ok(rotted)
}

/// Answers to forms are kept for as long as a browser could send one again.
const ANSWERS_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

async fn prune(app: &App) {
    let now = clock::now_ms();
    let before = (now - ANSWERS_KEPT_MS).max(0).cast_unsigned();
    let pruned = app.store.write(Priority::Sync, move |tx| {
        tx.prune_sign_ins(now.max(0).cast_unsigned())?;
        tx.prune_answers(before)
    });
    if let Err(error) = pruned.await {
        tracing::warn!(%error, "old sign-ins and answers could not be pruned");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(now: &str, hour: i8, minute: i8) -> u64 {
        let zone = TimeZone::get("America/Chicago").unwrap();
        until(TimeOfDay { hour, minute }, &zone, now.parse().unwrap()).as_secs()
    }

    #[test]
    fn the_next_time_is_today_or_tomorrow_on_the_sites_clock() {
        assert_eq!(wait("2026-07-01T05:00:00Z", 2, 30), 2 * 3600 + 1800);
        assert_eq!(wait("2026-07-01T08:00:00Z", 2, 30), 23 * 3600 + 1800);
    }

    #[test]
    fn a_night_whose_clock_skips_the_time_still_has_its_run() {
        // 2026-03-08 02:00 becomes 03:00 in Chicago; 02:30 is taken as 03:30.
        assert_eq!(wait("2026-03-08T07:00:00Z", 2, 30), 3600 + 1800);
    }

    #[test]
    fn a_night_whose_clock_repeats_the_time_has_one_run() {
        // 2026-11-01 01:30 comes twice; the first one counts, the next is a day later.
        assert_eq!(wait("2026-11-01T05:00:00Z", 1, 30), 3600 + 1800);
        assert_eq!(wait("2026-11-01T06:31:00Z", 1, 30), 25 * 3600 - 60);
    }
}
