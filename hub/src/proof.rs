//! Looks every day whether the rows that sites hold still are what was written: the sums that the roots are made of are
//! computed anew from the rows, bucket by bucket. A sum that rotted is set right and told; a record that cannot be read is
//! named by its id, and stays as it is. One process of the hub does it at a time.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use sync_protocol::hub::HubError;
use sync_protocol::{Lane, RecordId, ScopeId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::db::{Db, DbError, LeaseOwner, random};

/// Table `[proof]`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// After how many hours the rows of a lane are compared again with the sums kept of them.
    pub recompute_hours: u64,
    /// The pause between two of its 256 buckets, in which others are served.
    pub pause_ms: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            recompute_hours: 24,
            pause_ms: 20,
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        if self.recompute_hours == 0 {
            return Err("recompute_hours must be at least 1".to_owned());
        }
        Ok(())
    }
}

const LEASE: &[u8] = b"proof";
const LEASE_MS: u64 = 60_000;
/// How often it is looked whether a lane is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LANES_AT_ONCE: usize = 64;
const HOUR_MS: u64 = 3_600_000;

type CheckError = HubError<DbError>;

/// Looks at what is due until told to stop.
pub fn start(db: Db, config: Config, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Ok(owner) = random() else { return };
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = check_all(&db, &config, owner, &stop).await {
                tracing::warn!(%error, "the proof could not be computed anew; it is tried again");
            }
        }
        if let Err(error) = give_back(&db, owner).await {
            tracing::warn!(%error, "the lease of the proof could not be given back; it runs out by itself");
        }
    })
}

async fn give_back(db: &Db, owner: LeaseOwner) -> Result<(), DbError> {
    for organisation in db.organisations().await? {
        if let Some(db) = db.of(organisation.org) {
            db.write(move |txn| txn.release_lease(LEASE, owner)).await?;
        }
    }
    Ok(())
}

async fn check_all(db: &Db, config: &Config, owner: LeaseOwner, stop: &CancellationToken) -> Result<(), CheckError> {
    for organisation in db.organisations().await? {
        if let Some(db) = db.of(organisation.org) {
            check_due(&db, config, owner, stop).await?;
        }
    }
    Ok(())
}

async fn check_due(db: &Db, config: &Config, owner: LeaseOwner, stop: &CancellationToken) -> Result<(), CheckError> {
    let every_ms = config.recompute_hours.saturating_mul(HOUR_MS);
    let due = db.read(move |txn| {
        let since_ms = txn.now_ms().saturating_sub(every_ms);
        txn.lanes_to_check(since_ms, LANES_AT_ONCE)
    });
    for (scope, lane) in due.await? {
        if stop.is_cancelled() || !hold(db, owner).await? {
            return Ok(());
        }
        check_lane(db, scope, lane, Duration::from_millis(config.pause_ms), stop).await?;
    }
    Ok(())
}

async fn hold(db: &Db, owner: LeaseOwner) -> Result<bool, DbError> {
    db.write(move |txn| {
        let until_ms = txn.now_ms() + LEASE_MS;
        txn.take_lease(LEASE, owner, until_ms)
    })
    .await
}

/// What a look at one lane found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Buckets whose sum was set right.
    pub miscounted: u64,
    pub unreadable: Vec<RecordId>,
}

/// Looks at the rows of one lane, sets right what can be, and notes what was found.
pub async fn check_lane(
    db: &Db,
    scope: ScopeId,
    lane: Lane,
    pause: Duration,
    stop: &CancellationToken,
) -> Result<Found, CheckError> {
    let mut found = Found::default();
    for bucket in 0..=u8::MAX {
        if stop.is_cancelled() {
            return Ok(found);
        }
        let one = db.read(move |txn| txn.check_bucket(scope, lane, bucket)).await?;
        for record in one.unreadable {
            tracing::error!(%scope, ?lane, %record, "a record as stored cannot be read: restore a backup");
            found.unreadable.push(record);
        }
        if one.is_miscounted && set_right(db, scope, lane, bucket).await? {
            found.miscounted += 1;
        }
        tokio::time::sleep(pause).await;
    }
    let (miscounted, unreadable) = (found.miscounted, found.unreadable.len() as u64);
    db.write(move |txn| txn.note_proof_check(scope, lane, miscounted, unreadable))
        .await?;
    Ok(found)
}

/// Counts a bucket anew. True when the sum that was kept had rotted.
pub async fn set_right(db: &Db, scope: ScopeId, lane: Lane, bucket: u8) -> Result<bool, CheckError> {
    let was_wrong = db.write(move |txn| txn.recount(scope, lane, bucket)).await?;
    if was_wrong {
        tracing::error!(
            %scope, ?lane, bucket,
            "a sum that the proof is made of was not that of its rows: it was set right; check the store's disk"
        );
    }
    Ok(was_wrong)
}
