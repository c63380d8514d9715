//! The store as the engine's ledger: what [`sync_protocol::replica`] reads and writes inside one savepoint.

use sync_protocol::proof::Sum;
use sync_protocol::replica::{HeldAck, OwnChange, Place, ReplicaHead, ReplicaLedger};
use sync_protocol::wire::{Cursor, Returned};
use sync_protocol::{ChangeId, Dot, Hash, Lane, RecordId, RecordState, ReplicaId, ScopeId, Signature};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

impl ReplicaLedger for WriteTx<'_> {
    type Error = TxError;

    fn head(&mut self) -> Result<ReplicaHead, TxError> {
        self.read_head()
    }

    fn set_head(&mut self, head: &ReplicaHead) -> Result<(), TxError> {
        self.write_head(head)
    }

    fn own_hash(&mut self, dot: Dot) -> Result<Option<Hash>, TxError> {
        self.hash_of(dot)
    }

    fn append(&mut self, own: &OwnChange) -> Result<(), TxError> {
        self.insert_own(own)
    }

    fn own_after(&mut self, after: Dot, bytes_max: usize) -> Result<Vec<OwnChange>, TxError> {
        self.run_after(after, bytes_max)
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

    fn note_quarantined(&mut self, dot: Dot, reason: u16) -> Result<(), TxError> {
        self.quarantine_own(dot, reason)
    }

    fn acks(&mut self) -> Result<Vec<HeldAck>, TxError> {
        self.held_acks()
    }

    fn put_ack(&mut self, held: &HeldAck) -> Result<(), TxError> {
        self.write_ack(held)
    }

    fn drop_ack(&mut self, replica: ReplicaId) -> Result<(), TxError> {
        self.delete_ack(replica)
    }

    fn forget_stable(&mut self, upto: Dot) -> Result<(), TxError> {
        self.forget_upto(upto)
    }

    fn base(&mut self, record: RecordId) -> Result<Option<RecordState>, TxError> {
        self.base_of(record)
    }

    fn place(&mut self, record: RecordId) -> Result<Option<Place>, TxError> {
        self.place_of(record)
    }

    fn put_base(&mut self, place: Place, state: &RecordState, signature: Option<&Signature>) -> Result<(), TxError> {
        self.write_base(place, state, signature)
    }

    fn bases_after(&mut self, record: RecordId, bytes_max: usize) -> Result<Vec<Returned>, TxError> {
        self.signed_bases(record, bytes_max)
    }

    fn rewind(&mut self) -> Result<(), TxError> {
        self.rewind_cursors()
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
