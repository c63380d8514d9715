//! Looks again and again whether a store that several hub processes share has gone back under them, and how far the others
//! have brought it. A process that seldom writes notices a restored database as soon as one that writes all the time does.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::db::{Db, DbError};

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks until told to stop.
pub fn start(db: Db, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match db.look_at_mark().await {
                // Whoever needs the store says that it is away.
                Ok(()) | Err(DbError::Away { .. } | DbError::Conflict { .. } | DbError::Unknown | DbError::Closed) => {}
                Err(error) => tracing::warn!(%error, "whether the store has gone back could not be looked at"),
            }
        }
    })
}
