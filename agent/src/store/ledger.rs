//! The store as the engine's ledger: what [`sync_protocol::replica`] reads and writes inside one savepoint.

use sync_protocol::proof::Sum;
use sync_protocol::replica::{OwnChange, Place, ReplicaHead, ReplicaLedger};
use sync_protocol::wire::Cursor;
use sync_protocol::{ChangeId, Dot, Hash, Lane, RecordId, RecordState, ScopeId};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

impl WriteTx<'_> {
    fn dot(&mut self, counter: u64) -> Result<Dot, TxError> {
        Ok(Dot {
            replica: self.read_head()?.replica,
            counter,
        })
    }
}

impl ReplicaLedger for WriteTx<'_> {
    type Error = TxError;

    fn head(&mut self) -> Result<ReplicaHead, TxError> {
        self.read_head()
    }

    fn set_head(&mut self, head: &ReplicaHead) -> Result<(), TxError> {
        self.write_head(head)
    }

    fn own_hash(&mut self, counter: u64) -> Result<Option<Hash>, TxError> {
        let dot = self.dot(counter)?;
        self.hash_of(dot)
    }

    fn append(&mut self, own: &OwnChange) -> Result<(), TxError> {
        self.insert_own(own)
    }

    fn own_after(&mut self, counter: u64, bytes_max: usize) -> Result<Vec<OwnChange>, TxError> {
        let dot = self.dot(counter)?;
        self.run_after(dot, bytes_max)
    }

    fn restamp(&mut self, own: &OwnChange) -> Result<(), TxError> {
        self.update_own(own)
    }

    fn pending(&mut self, record: RecordId) -> Result<Vec<OwnChange>, TxError> {
        self.pending_of(record)
    }

    fn settle(&mut self, change: ChangeId) -> Result<(), TxError> {
        self.settle_own(change)
    }

    fn note_quarantined(&mut self, counter: u64, reason: u16) -> Result<(), TxError> {
        let dot = self.dot(counter)?;
        self.quarantine_own(dot, reason)
    }

    fn base(&mut self, record: RecordId) -> Result<Option<RecordState>, TxError> {
        self.base_of(record)
    }

    fn place(&mut self, record: RecordId) -> Result<Option<Place>, TxError> {
        self.place_of(record)
    }

    fn put_base(&mut self, place: Place, state: &RecordState) -> Result<(), TxError> {
        self.write_base(place, state)
    }

    fn let_go(&mut self, record: RecordId) -> Result<(), TxError> {
        self.uncount_base(record)
    }

    fn purge(&mut self, record: RecordId) -> Result<(), TxError> {
        self.purge_record(record)
    }

    fn offers(&mut self, at_most: usize) -> Result<Vec<(RecordId, Place)>, TxError> {
        self.offered(at_most)
    }

    fn shown(&mut self, record: RecordId) -> Result<Option<RecordState>, TxError> {
        self.state(record)
    }

    fn put_shown(&mut self, state: &RecordState) -> Result<(), TxError> {
        self.write_shown(state)
    }

    fn cursors(&mut self) -> Result<Vec<Cursor>, TxError> {
        ReadTx::cursors(self)
    }

    fn set_cursor(&mut self, cursor: &Cursor) -> Result<(), TxError> {
        self.write_cursor(cursor)
    }

    fn add_to_bucket(&mut self, scope: ScopeId, lane: Lane, bucket: u8, plus: Sum, minus: Sum) -> Result<(), TxError> {
        self.change_bucket((scope, lane, bucket), plus, minus)
    }

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, TxError> {
        ReadTx::bucket_sums(self, scope, lane)
    }
}
