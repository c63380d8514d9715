//! Snapshots of lanes for sites that are new or far behind: made when one is asked for, kept for `keep_hours`, so that a
//! transfer that broke off goes on. One process of the hub makes them at a time, chunk by chunk in transactions of their own;
//! another goes on where it was cut off. It holds no more in memory than one chunk.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use sync_protocol::hub::{HubError, next_chunk};
use sync_protocol::wire::{BODY_MAX_BYTES, CHUNKS_MAX};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::db::{Db, DbError, LeaseOwner, Snapshot, random};

/// Table `[snapshots]`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a snapshot is kept, so that a transfer that broke off can go on.
    pub keep_hours: u64,
    /// The rows of one chunk, in bytes before compression. Compressed it is never larger than a body.
    pub chunk_max_bytes: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            keep_hours: 24,
            chunk_max_bytes: 512 * 1024,
        }
    }
}

const CHUNK_MIN_BYTES: u64 = 16 * 1024;
const CHUNK_MAX_BYTES: u64 = 4 * BODY_MAX_BYTES as u64;
const HOUR_MS: u64 = 3_600_000;

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        if self.keep_hours == 0 {
            return Err("keep_hours must be at least 1".to_owned());
        }
        if !(CHUNK_MIN_BYTES..=CHUNK_MAX_BYTES).contains(&self.chunk_max_bytes) {
            return Err(format!(
                "chunk_max_bytes must be between {CHUNK_MIN_BYTES} and {CHUNK_MAX_BYTES}"
            ));
        }
        Ok(())
    }

    fn keep_ms(&self) -> u64 {
        self.keep_hours.saturating_mul(HOUR_MS)
    }

    /// A snapshot that was asked for before this is handed out no more: too little of its time is left.
    pub fn useful_since_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.keep_ms() / 2)
    }
}

const LEASE: &[u8] = b"snapshots";
/// A process that makes snapshots says so anew with every chunk; one that is gone is replaced after this.
const LEASE_MS: u64 = 15_000;
/// How often it is looked for what another process was asked for, and for what is too old.
const LOOK_EVERY: Duration = Duration::from_secs(15);
const DROPPED_AT_ONCE: u64 = 16;

type MakeError = HubError<DbError>;

/// Rung by whoever has asked for a snapshot.
#[derive(Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

/// Makes what is asked for, and drops what is too old, until told to stop.
pub fn start(db: Db, config: Config, bell: Bell, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Ok(owner) = random() else { return };
        loop {
            if let Err(error) = look(&db, &config, owner, &stop).await {
                tracing::warn!(%error, "a snapshot was not made; sites are fed page by page, and it is tried again");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = bell.0.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        if let Err(error) = give_back(&db, owner).await {
            tracing::warn!(%error, "the lease of the snapshots could not be given back; it runs out by itself");
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

async fn look(db: &Db, config: &Config, owner: LeaseOwner, stop: &CancellationToken) -> Result<(), MakeError> {
    for organisation in db.organisations().await? {
        let Some(db) = db.of(organisation.org) else { continue };
        while let Some(snapshot) = db.read(|txn| txn.snapshot_to_make()).await? {
            if stop.is_cancelled() || !make(&db, config, owner, snapshot, stop).await? {
                break;
            }
        }
        drop_old(&db, config, owner, stop).await?;
    }
    Ok(())
}

/// Makes what is left of a snapshot. False when another process does, or when the hub stops.
async fn make(
    db: &Db,
    config: &Config,
    owner: LeaseOwner,
    mut snapshot: Snapshot,
    stop: &CancellationToken,
) -> Result<bool, MakeError> {
    let bytes_max = config.chunk_max_bytes;
    while !stop.is_cancelled() {
        let (of, after) = (snapshot.of, snapshot.made_to);
        let next = match snapshot.chunks < CHUNKS_MAX as u64 {
            true => db.read(move |txn| next_chunk(txn, &of, after, bytes_max)).await?,
            false => None,
        };
        let is_last = next.is_none();
        let reached = next.as_ref().map_or(after, |packed| packed.chunk.to);
        let kept = db.write(move |txn| {
            let until_ms = txn.now_ms() + LEASE_MS;
            // Whoever had the lease meanwhile has gone on with it.
            let goes_on = txn.take_lease(LEASE, owner, until_ms)?
                && txn.snapshot_to_make()?.is_some_and(|stands| stands == snapshot);
            match &next {
                _ if !goes_on => {}
                Some(packed) => txn.add_snapshot_chunk(&snapshot, packed)?,
                None => txn.finish_snapshot(&snapshot)?,
            }
            Ok::<_, DbError>(goes_on)
        });
        if !kept.await? {
            return Ok(false);
        }
        if is_last {
            tracing::info!(
                scope = %snapshot.of.scope, lane = ?snapshot.of.lane, chunks = snapshot.chunks,
                "a snapshot of a lane was made"
            );
            return Ok(true);
        }
        snapshot.made_to = reached;
        snapshot.chunks += 1;
    }
    Ok(false)
}

async fn drop_old(db: &Db, config: &Config, owner: LeaseOwner, stop: &CancellationToken) -> Result<(), DbError> {
    let keep_ms = config.keep_ms();
    loop {
        let old = db.read(move |txn| {
            let before_ms = txn.now_ms().saturating_sub(keep_ms);
            txn.snapshot_to_drop(before_ms)
        });
        let Some(id) = old.await? else { return Ok(()) };
        if stop.is_cancelled() {
            return Ok(());
        }
        let dropped = db.write(move |txn| {
            let until_ms = txn.now_ms() + LEASE_MS;
            if !txn.take_lease(LEASE, owner, until_ms)? {
                return Ok::<_, DbError>(false);
            }
            txn.drop_snapshot(id, DROPPED_AT_ONCE)?;
            Ok(true)
        });
        if !dropped.await? {
            return Ok(());
        }
    }
}
