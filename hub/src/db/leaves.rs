//! What the rows of a lane say, apart from the sums that are kept of them: for repairs, and for the look whether anything
//! rotted. A row that cannot be read is named, never skipped silently.

use std::collections::BTreeMap;

use sync_protocol::Lane;
use sync_protocol::hub::{self, HubError, HubLeaves, HubLedger};
use sync_protocol::proof::ProofKey;
use sync_protocol::repair::{Leaf, total};

use super::sealing::unseal;
use super::sql::values;
use super::*;

/// When the rows of a lane were last looked at, and what was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProofCheck {
    pub scope: ScopeId,
    pub lane: Lane,
    pub checked_ms: u64,
    pub found_ms: Option<u64>,
    /// Sums that were not those of their rows when something was last found.
    pub miscounted: u64,
    /// Records whose state could not be read at the last look.
    pub unreadable: u64,
}

/// One bucket as its rows are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BucketFound {
    /// The sum that is kept is not that of the rows.
    pub is_miscounted: bool,
    pub unreadable: Vec<RecordId>,
}

fn lane_of(number: u8) -> Result<Lane, DbError> {
    Lane::from_number(number).ok_or(DbError::Damaged { what: "a lane" })
}

impl Txn<'_> {
    /// The records of a bucket with their leaves, and those that cannot be read.
    fn leaf_rows(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        bucket: u8,
        key: &ProofKey,
    ) -> Result<(Vec<Leaf>, Vec<RecordId>), DbError> {
        self.flush()?;
        let (first, last) = (
            [&[bucket][..], &[0; 15]].concat(),
            [&[bucket][..], &[0xff; 15]].concat(),
        );
        let rows = self.sql.rows(
            "SELECT feed.record, feed.sequence, states.state FROM feed \
             JOIN states ON states.org = feed.org AND states.record = feed.record \
             WHERE feed.org = ?1 AND feed.scope = ?2 AND feed.lane = ?3 AND feed.record BETWEEN ?4 AND ?5 \
             AND feed.standing <> 2 ORDER BY feed.record",
            values![self.org, scope.0, lane as i64, first, last],
        )?;
        let (mut leaves, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            let record = RecordId(row.get(0)?);
            match unseal(self.keys, "states", &[&record.0], &row.get::<Vec<u8>>(2)?) {
                Ok(bytes) => leaves.push(Leaf {
                    record,
                    sequence: row.get(1)?,
                    sum: key.leaf_of_bytes(&bytes),
                }),
                Err(_) => unreadable.push(record),
            }
        }
        Ok((leaves, unreadable))
    }

    /// One bucket as its rows are, beside the sum that is kept of it.
    pub fn check_bucket(&mut self, scope: ScopeId, lane: Lane, bucket: u8) -> Result<BucketFound, DbError> {
        let key = &self.organisation.proof_key;
        let (leaves, unreadable) = self.leaf_rows(scope, lane, bucket, key)?;
        let kept = self.bucket_sums(scope, lane)?.into_iter();
        let kept = kept.collect::<BTreeMap<_, _>>().remove(&bucket).unwrap_or_default();
        Ok(BucketFound {
            is_miscounted: unreadable.is_empty() && total(&leaves) != kept,
            unreadable,
        })
    }

    /// Sets a bucket's sum to that of its rows. True when it was another one.
    pub fn recount(&mut self, scope: ScopeId, lane: Lane, bucket: u8) -> Result<bool, HubError<DbError>> {
        // From here on no row of the lane moves until the commit.
        self.take_sequences(&BTreeMap::from([((scope, lane as u8), 0)]))?;
        let key = &self.organisation.proof_key;
        hub::recount(self, key, scope, lane, bucket)
    }

    /// Lanes whose rows were not looked at since a time.
    pub fn lanes_to_check(&mut self, since_ms: u64, at_most: usize) -> Result<Vec<(ScopeId, Lane)>, DbError> {
        let rows = self.sql.rows(
            "SELECT feed_heads.scope, feed_heads.lane FROM feed_heads LEFT JOIN proof_checks \
             ON proof_checks.org = feed_heads.org AND proof_checks.scope = feed_heads.scope \
             AND proof_checks.lane = feed_heads.lane \
             WHERE feed_heads.org = ?1 AND (proof_checks.checked_ms IS NULL OR proof_checks.checked_ms < ?2) \
             ORDER BY feed_heads.scope, feed_heads.lane LIMIT ?3",
            values![self.org, since_ms, at_most],
        )?;
        rows.iter()
            .map(|row| Ok((ScopeId(row.get(0)?), lane_of(row.get(1)?)?)))
            .collect()
    }

    /// Notes what was found in a lane just now.
    pub fn note_proof_check(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        miscounted: u64,
        unreadable: u64,
    ) -> Result<(), DbError> {
        let found_ms = (miscounted + unreadable > 0).then_some(self.now_ms);
        self.sql.run(
            "INSERT INTO proof_checks (org, scope, lane, checked_ms, found_ms, miscounted, unreadable) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (org, scope, lane) DO UPDATE SET \
             checked_ms = excluded.checked_ms, found_ms = COALESCE(excluded.found_ms, proof_checks.found_ms), \
             miscounted = CASE WHEN excluded.found_ms IS NULL THEN proof_checks.miscounted ELSE excluded.miscounted END, \
             unreadable = excluded.unreadable",
            values![
                self.org,
                scope.0,
                lane as i64,
                self.now_ms,
                found_ms,
                miscounted,
                unreadable
            ],
        )?;
        Ok(())
    }

    pub fn proof_checks(&mut self) -> Result<Vec<ProofCheck>, DbError> {
        let rows = self.sql.rows(
            "SELECT scope, lane, checked_ms, found_ms, miscounted, unreadable FROM proof_checks WHERE org = ?1 \
             ORDER BY scope, lane",
            values![self.org],
        )?;
        let check = |row: &sql::Row| {
            Ok(ProofCheck {
                scope: ScopeId(row.get(0)?),
                lane: lane_of(row.get(1)?)?,
                checked_ms: row.get(2)?,
                found_ms: row.get(3)?,
                miscounted: row.get(4)?,
                unreadable: row.get(5)?,
            })
        };
        rows.iter().map(check).collect()
    }
}

impl HubLeaves for Txn<'_> {
    fn leaves(&mut self, scope: ScopeId, lane: Lane, bucket: u8, key: &ProofKey) -> Result<Vec<Leaf>, DbError> {
        let (leaves, unreadable) = self.leaf_rows(scope, lane, bucket, key)?;
        match unreadable.first() {
            None => Ok(leaves),
            Some(_) => Err(DbError::Damaged { what: "a record" }),
        }
    }
}
