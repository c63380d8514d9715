//! What the rows of the store say of a lane, apart from the sums that are kept of them: for the repair with the hub, and for
//! the nightly look whether anything rotted.

use rusqlite::params;
use sync_protocol::proof::{ProofKey, Sum};
use sync_protocol::repair::{Leaf, total};
use sync_protocol::replica::{self, ReplicaError, ReplicaLeaves};
use sync_protocol::{Lane, RecordId, RecordState, ScopeId};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

/// A bucket whose rows do not add up to the sum that is kept of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Miscounted {
    pub scope: ScopeId,
    pub lane: Lane,
    pub bucket: u8,
}

impl ReadTx<'_> {
    /// The bases of a bucket as their rows are.
    pub(super) fn leaves_of(
        &self,
        (scope, lane): (ScopeId, Lane),
        bucket: u8,
        key: &ProofKey,
    ) -> Result<Vec<Leaf>, TxError> {
        let (first, last) = (
            [&[bucket][..], &[0; 15]].concat(),
            [&[bucket][..], &[0xff; 15]].concat(),
        );
        let sql = "SELECT record, sequence, base FROM records WHERE record BETWEEN ?1 AND ?2
                   AND scope = ?3 AND lane = ?4 AND base IS NOT NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![first, last, scope.0, lane as u8])?;
        let mut leaves = Vec::new();
        while let Some(row) = rows.next()? {
            let base = row.get_ref(2)?.as_blob();
            leaves.push(Leaf {
                record: RecordId(row.get(0)?),
                sequence: row.get::<_, i64>(1)?.cast_unsigned(),
                sum: key.leaf_of_bytes(base.map_err(|_| TxError::Damaged { what: "a base" })?),
            });
        }
        Ok(leaves)
    }

    /// The buckets of a lane that have rotted, row or sum.
    pub fn miscounted(&self, scope: ScopeId, lane: Lane, key: &ProofKey) -> Result<Vec<Miscounted>, TxError> {
        let mut kept = [Sum::default(); sync_protocol::proof::BUCKETS];
        for (bucket, sum) in self.bucket_sums(scope, lane)? {
            kept[usize::from(bucket)] = sum;
        }
        let mut wrong = Vec::new();
        for (bucket, kept) in (0..=u8::MAX).zip(kept) {
            if total(&self.leaves_of((scope, lane), bucket, key)?) != kept {
                wrong.push(Miscounted { scope, lane, bucket });
            }
        }
        Ok(wrong)
    }
}

/// Records that were looked at, and of which what was shown was something else than it had to be.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ShownAnew {
    /// Where to go on; `None` after the last.
    pub last: Option<RecordId>,
    pub rotted: u64,
}

impl WriteTx<'_> {
    /// Compares what is shown of so many records with their bases and what is pending on top, and shows anew what has come
    /// apart from them or cannot be read. A base that cannot be read is left to the repair with the hub.
    pub fn show_anew(&mut self, after: RecordId, at_most: usize) -> Result<ShownAnew, ReplicaError<TxError>> {
        let records = self.records_behind(after, at_most)?;
        let mut done = ShownAnew {
            last: records.last().copied().filter(|_| records.len() == at_most),
            rotted: 0,
        };
        for record in records {
            let state = match replica::to_show(self, record) {
                Err(ReplicaError::Ledger(TxError::Damaged { .. })) | Ok(None) => continue,
                Ok(Some(state)) => state,
                Err(error) => return Err(error),
            };
            if !matches!(self.state(record), Ok(Some(shown)) if shown == state) {
                self.write_shown(&state)?;
                done.rotted += 1;
            }
        }
        Ok(done)
    }

    fn records_behind(&self, after: RecordId, at_most: usize) -> Result<Vec<RecordId>, TxError> {
        let sql = "SELECT record FROM records WHERE record > ?1 ORDER BY record LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let records = statement.query_map(params![after.0, at_most], |row| Ok(RecordId(row.get(0)?)))?;
        Ok(records.collect::<Result<_, _>>()?)
    }
}

impl ReplicaLeaves for WriteTx<'_> {
    fn leaves(&mut self, scope: ScopeId, lane: Lane, bucket: u8, key: &ProofKey) -> Result<Vec<Leaf>, TxError> {
        self.leaves_of((scope, lane), bucket, key)
    }

    fn readable_base(&mut self, record: RecordId) -> Result<Option<RecordState>, TxError> {
        match self.base_of(record) {
            Err(TxError::Damaged { .. }) => Ok(None),
            other => other,
        }
    }
}
