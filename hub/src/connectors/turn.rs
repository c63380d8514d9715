//! Whose turn it is with a patient, over every process of the hub. One piece of work holds the lease of each record of the
//! person it works on, so that two records that are linked while either is worked on still are worked on one after the
//! other. Nothing is sent, and nothing written of a delivery, without it.

use sync_protocol::RecordId;

use super::config::Config;
use super::partner::now;
use crate::db::{Db, DbError, LeaseOwner, Txn, random};
use crate::matching::cluster_of;

const PREFIX: &[u8] = b"ehr:";

/// How long leases are taken for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    lease_ms: u64,
    request_ms: i64,
}

impl Terms {
    pub(super) fn of(config: &Config) -> Terms {
        Terms {
            lease_ms: config.lease_secs.saturating_mul(1_000),
            request_ms: i64::try_from(config.attempt_timeout_secs.saturating_mul(1_000)).unwrap_or(i64::MAX),
        }
    }
}

/// One piece of work. Its owner is drawn anew each time, so that whatever was left by another, of this process or of one
/// that was killed, is told from its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    owner: LeaseOwner,
    terms: Terms,
}

impl Turn {
    pub(super) fn begin(terms: Terms) -> Result<Turn, DbError> {
        Ok(Turn {
            owner: random()?,
            terms,
        })
    }

    /// Takes or prolongs the leases of everybody who is one person with this patient; none of them while somebody else
    /// has one.
    pub(super) fn take(&self, txn: &mut Txn<'_>, patient: RecordId) -> Result<bool, DbError> {
        let until_ms = txn.now_ms() + self.terms.lease_ms;
        for record in cluster_of(txn, patient)? {
            if !txn.take_lease(&name(record), self.owner, until_ms)? {
                txn.release_leases_of(self.owner)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Until when a request may be begun that was committed at this time: its answer has to be in, or given up, while the
    /// lease still holds.
    pub(super) fn begin_before_ms(&self, committed_ms: i64) -> i64 {
        let lease_ms = i64::try_from(self.terms.lease_ms).unwrap_or(i64::MAX);
        committed_ms
            .saturating_add(lease_ms)
            .saturating_sub(self.terms.request_ms)
    }

    pub(super) async fn end(self, db: &Db) {
        let ended = db.write(move |txn| txn.release_leases_of(self.owner)).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "leases could not be given back: they run out by themselves");
        }
    }
}

fn name(record: RecordId) -> Vec<u8> {
    [PREFIX, &record.0].concat()
}

/// Whether a request that had to be begun by then still may be.
pub(super) fn in_time(begin_before_ms: i64) -> bool {
    now() < begin_before_ms
}
