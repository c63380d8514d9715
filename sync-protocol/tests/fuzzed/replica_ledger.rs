//! The smallest agent's ledger: maps, and nothing that is not asked for. A transaction is a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use sync_protocol::proof::Sum;
use sync_protocol::replica::{HeldAck, OwnChange, Place, ReplicaHead, ReplicaLedger};
use sync_protocol::wire::{Cursor, Returned};
use sync_protocol::{ChangeId, Dot, EpochId, Hash, Lane, RecordId, RecordState, ReplicaId, ScopeId, Signature};

/// A base where it was taken from, with the hub's signature.
pub(crate) struct Base {
    pub(crate) place: Place,
    pub(crate) state: RecordState,
    pub(crate) counted: bool,
    signature: Option<Signature>,
}

impl Clone for Base {
    fn clone(&self) -> Base {
        Base {
            state: self.state.clone(),
            ..*self
        }
    }
}

#[derive(Clone)]
struct Own {
    own: OwnChange,
    settled: bool,
}

#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) head: ReplicaHead,
    hashes: BTreeMap<Dot, Hash>,
    /// In the order of writing.
    own: Vec<Own>,
    forgotten: BTreeSet<ChangeId>,
    acks: Vec<HeldAck>,
    pub(crate) bases: BTreeMap<RecordId, Base>,
    pub(crate) views: BTreeMap<RecordId, RecordState>,
    cursors: Vec<Cursor>,
    pub(crate) sums: BTreeMap<(ScopeId, Lane, u8), Sum>,
}

impl Agent {
    pub(crate) fn new(replica: ReplicaId, epoch: EpochId, scope: ScopeId) -> Agent {
        let cursors = Lane::ALL.map(|lane| Cursor {
            scope,
            lane,
            generation: 1,
            sequence: 0,
        });
        Agent {
            head: ReplicaHead::born(replica, epoch),
            hashes: BTreeMap::new(),
            own: Vec::new(),
            forgotten: BTreeSet::new(),
            acks: Vec::new(),
            bases: BTreeMap::new(),
            views: BTreeMap::new(),
            cursors: cursors.to_vec(),
            sums: BTreeMap::new(),
        }
    }
}

impl ReplicaLedger for Agent {
    type Error = Infallible;

    fn head(&mut self) -> Result<ReplicaHead, Infallible> {
        Ok(self.head)
    }

    fn set_head(&mut self, head: &ReplicaHead) -> Result<(), Infallible> {
        self.head = *head;
        Ok(())
    }

    fn own_hash(&mut self, dot: Dot) -> Result<Option<Hash>, Infallible> {
        Ok(self.hashes.get(&dot).copied())
    }

    fn append(&mut self, own: &OwnChange) -> Result<(), Infallible> {
        let before = self.hashes.insert(own.header.dot, own.hash);
        assert!(before.is_none(), "a counter was used again");
        self.own.push(Own {
            own: own.clone(),
            settled: false,
        });
        Ok(())
    }

    fn own_after(&mut self, after: Dot, bytes_max: usize) -> Result<Vec<OwnChange>, Infallible> {
        let mut later: Vec<&OwnChange> = self
            .own
            .iter()
            .map(|own| &own.own)
            .filter(|own| own.header.dot.replica == after.replica && own.header.dot.counter > after.counter)
            .collect();
        later.sort_by_key(|own| own.header.dot.counter);
        let (mut run, mut bytes) = (Vec::new(), 0usize);
        for own in later {
            bytes += own.change.bytes();
            if !run.is_empty() && bytes > bytes_max {
                break;
            }
            run.push(own.clone());
        }
        Ok(run)
    }

    fn restamp(&mut self, own: &OwnChange) -> Result<(), Infallible> {
        let kept = self
            .own
            .iter_mut()
            .find(|kept| kept.own.header.change == own.header.change);
        let kept = kept.expect("only what was written here is put under another incarnation");
        self.hashes.remove(&kept.own.header.dot);
        self.hashes.insert(own.header.dot, own.hash);
        self.forgotten.remove(&own.header.change);
        *kept = Own {
            own: own.clone(),
            settled: false,
        };
        Ok(())
    }

    fn pending(&mut self, record: RecordId) -> Result<Vec<OwnChange>, Infallible> {
        let pending = self
            .own
            .iter()
            .filter(|own| !own.settled && own.own.header.record == record);
        Ok(pending.map(|own| own.own.clone()).collect())
    }

    fn settle(&mut self, change: ChangeId) -> Result<(), Infallible> {
        let own = self.own.iter_mut().filter(|own| own.own.header.change == change);
        own.for_each(|own| own.settled = true);
        Ok(())
    }

    fn note_quarantined(&mut self, _dot: Dot, _reason: u16) -> Result<(), Infallible> {
        Ok(())
    }

    fn acks(&mut self) -> Result<Vec<HeldAck>, Infallible> {
        Ok(self.acks.clone())
    }

    fn put_ack(&mut self, held: &HeldAck) -> Result<(), Infallible> {
        match self.acks.iter_mut().find(|other| other.ack.replica == held.ack.replica) {
            Some(other) => *other = *held,
            None => self.acks.push(*held),
        }
        Ok(())
    }

    fn drop_ack(&mut self, replica: ReplicaId) -> Result<(), Infallible> {
        self.acks.retain(|held| held.ack.replica != replica);
        Ok(())
    }

    fn forget_stable(&mut self, _upto: Dot) -> Result<(), Infallible> {
        Ok(())
    }

    fn base(&mut self, record: RecordId) -> Result<Option<RecordState>, Infallible> {
        Ok(self.bases.get(&record).map(|base| base.state.clone()))
    }

    fn place(&mut self, record: RecordId) -> Result<Option<Place>, Infallible> {
        let counted = self.bases.get(&record).filter(|base| base.counted);
        Ok(counted.map(|base| base.place))
    }

    fn put_base(&mut self, place: Place, state: &RecordState, signature: Option<&Signature>) -> Result<(), Infallible> {
        let base = Base {
            place,
            state: state.clone(),
            counted: true,
            signature: signature.copied(),
        };
        self.bases.insert(state.record, base);
        Ok(())
    }

    fn let_go(&mut self, record: RecordId) -> Result<(), Infallible> {
        if let Some(base) = self.bases.get_mut(&record) {
            base.counted = false;
        }
        Ok(())
    }

    fn bases_after(&mut self, record: RecordId, bytes_max: usize) -> Result<Vec<Returned>, Infallible> {
        let (mut states, mut bytes) = (Vec::new(), 0usize);
        for (id, base) in self.bases.iter().filter(|(id, _)| **id > record) {
            let Some(signature) = base.signature else { continue };
            let state = base.state.to_bytes();
            bytes += state.len();
            if !states.is_empty() && bytes > bytes_max {
                break;
            }
            states.push(Returned {
                record: *id,
                scope: base.counted.then_some(base.place.scope),
                state,
                signature,
            });
        }
        Ok(states)
    }

    fn rewind(&mut self) -> Result<(), Infallible> {
        self.cursors.iter_mut().for_each(|cursor| cursor.sequence = 0);
        Ok(())
    }

    fn purge(&mut self, record: RecordId) -> Result<(), Infallible> {
        let mut own = self.own.iter().filter(|own| own.own.header.record == record);
        assert!(own.all(|own| own.settled), "a pending change was purged");
        self.bases.remove(&record);
        self.views.remove(&record);
        Ok(())
    }

    fn offers(&mut self, at_most: usize) -> Result<Vec<(RecordId, Place)>, Infallible> {
        let offered = self.bases.iter().filter(|(_, base)| base.counted && base.place.offered);
        Ok(offered
            .map(|(record, base)| (*record, base.place))
            .take(at_most)
            .collect())
    }

    fn shown(&mut self, record: RecordId) -> Result<Option<RecordState>, Infallible> {
        Ok(self.views.get(&record).cloned())
    }

    fn put_shown(&mut self, state: &RecordState) -> Result<(), Infallible> {
        self.views.insert(state.record, state.clone());
        Ok(())
    }

    fn cursors(&mut self) -> Result<Vec<Cursor>, Infallible> {
        Ok(self.cursors.clone())
    }

    fn set_cursor(&mut self, cursor: &Cursor) -> Result<(), Infallible> {
        let known = self
            .cursors
            .iter_mut()
            .find(|c| c.scope == cursor.scope && c.lane == cursor.lane);
        match known {
            Some(known) => *known = *cursor,
            None => self.cursors.push(*cursor),
        }
        Ok(())
    }

    fn add_to_bucket(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        bucket: u8,
        plus: Sum,
        minus: Sum,
    ) -> Result<(), Infallible> {
        let sum = self.sums.entry((scope, lane, bucket)).or_default();
        *sum = sum.plus(plus).minus(minus);
        Ok(())
    }

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, Infallible> {
        let sums = self.sums.range((scope, lane, 0)..=(scope, lane, u8::MAX));
        Ok(sums.map(|((.., bucket), sum)| (*bucket, *sum)).collect())
    }
}
