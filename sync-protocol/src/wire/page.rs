//! A page of the feed: the states of one lane of one scope after a cursor.

use super::{missing, read_lane};
use crate::cbor::{CborError, MapWriter, Reader, Unknown, Writer};
use crate::change::{put_bytes, put_u64, put_vector, read_vector};
use crate::ids::{EpochId, Hash, Lane, RecordId, ReplicaId, ScopeId};
use crate::signed::{Ack, Sealed, Signature, put_sealed, read_sealed};
use crate::state::RecordState;
use crate::vector::VersionVector;

pub(super) const ROWS_MAX: usize = 4_096;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub sequence: u64,
    pub told: Told,
    /// The size of the record's canonical bytes; not sent.
    pub bytes: u64,
    /// The hub's signature of the state, which goes with it for good.
    pub signature: Option<Signature>,
}

/// What a row of the feed tells of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// The record as it stands. `offered`: the scope no longer needs it, and the hub asks whether it may go.
    State { state: RecordState, offered: bool },
    /// The record has left the scope. Whatever its vector contains is at the hub.
    Gone { record: RecordId, vector: VersionVector },
}

impl Row {
    /// The record as it stands, unless it has gone.
    pub fn state(&self) -> Option<&RecordState> {
        match &self.told {
            Told::State { state, .. } => Some(state),
            Told::Gone { .. } => None,
        }
    }

    pub fn record(&self) -> RecordId {
        match &self.told {
            Told::State { state, .. } => state.record,
            Told::Gone { record, .. } => *record,
        }
    }
}

/// States after a cursor, with the hub's view of the puller's chain from the same snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub accepted: u64,
    pub hash: Hash,
    pub scope: ScopeId,
    pub lane: Lane,
    pub generation: u64,
    pub from: u64,
    pub to: u64,
    /// The lane's last sequence when the page was made.
    pub head: u64,
    pub rows: Vec<Row>,
    /// When `to` is the head: the root over all that the scope has in this lane.
    pub root: Option<Hash>,
    /// How far the puller's changes are stable, and the signature; absent from a hub that does not sign.
    pub sealed: Option<Sealed>,
}

impl Page {
    /// The acknowledgement by itself, to be kept and shown again.
    pub fn ack(&self) -> Option<Ack> {
        self.sealed.map(|sealed| Ack {
            epoch: self.epoch,
            replica: self.replica,
            counter: self.accepted,
            hash: self.hash,
            stable: sealed.stable,
            signature: sealed.signature,
        })
    }

    /// Sequences that were still to come when the page was made: an upper bound of the records that wait.
    pub fn behind(&self) -> u64 {
        self.head.saturating_sub(self.to)
    }
}

/// `[sequence, state]`, `[sequence, state, true]` for an offer, `[sequence, record, vector, true]` for what has gone.
pub(super) fn put_row(w: &mut Writer, row: &Row) {
    match &row.told {
        Told::State { state, offered } => {
            w.array(if *offered { 3 } else { 2 }).ok();
            put_u64(w, row.sequence);
            put_bytes(w, &state.to_bytes());
            if *offered {
                w.bool(true).ok();
            }
        }
        Told::Gone { record, vector } => {
            w.array(4).ok();
            put_u64(w, row.sequence);
            put_bytes(w, &record.0);
            put_vector(w, vector);
            w.bool(true).ok();
        }
    }
}

pub(super) fn read_row(r: &mut Reader<'_>) -> Result<Row, CborError> {
    let parts = r.array_length()?;
    let sequence = r.u64()?;
    let (told, bytes) = match parts {
        2 | 3 => {
            let bytes = r.bytes()?;
            let told = Told::State {
                state: RecordState::parse(bytes)?,
                offered: parts == 3 && r.bool()?,
            };
            (told, bytes.len() as u64)
        }
        4 => {
            let told = Told::Gone {
                record: RecordId(r.fixed("record")?),
                vector: read_vector(r)?,
            };
            r.bool()?;
            (told, 0)
        }
        _ => return Err(CborError::Form { what: "row" }),
    };
    Ok(Row {
        sequence,
        told,
        bytes,
        signature: None,
    })
}

/// One for each row, empty where it has none.
pub(super) fn put_signatures(w: &mut Writer, rows: &[Row]) {
    w.array(rows.len() as u64).ok();
    for row in rows {
        put_bytes(w, row.signature.as_ref().map_or(&[], |signature| &signature.0));
    }
}

pub(super) fn read_signatures(r: &mut Reader<'_>) -> Result<Vec<Option<Signature>>, CborError> {
    r.array(ROWS_MAX, "signatures", |r| match r.bytes()? {
        [] => Ok(None),
        bytes => {
            let signature = bytes.try_into().map_err(|_| CborError::Form { what: "signature" })?;
            Ok(Some(Signature(signature)))
        }
    })
}

impl Page {
    pub(super) fn put(&self, w: &mut Writer) {
        let mut map = MapWriter::new(&Unknown::default());
        map.put(1, |w| put_bytes(w, &self.epoch.0));
        map.put(2, |w| put_bytes(w, &self.replica.0));
        map.put(3, |w| put_u64(w, self.accepted));
        map.put(4, |w| put_bytes(w, &self.hash.0));
        map.put(5, |w| put_bytes(w, &self.scope.0));
        map.put(6, |w| put_u64(w, self.lane as u64));
        map.put(7, |w| put_u64(w, self.generation));
        map.put(8, |w| put_u64(w, self.from));
        map.put(9, |w| put_u64(w, self.to));
        map.put(10, |w| put_u64(w, self.head));
        map.put(11, |w| {
            w.array(self.rows.len() as u64).ok();
            self.rows.iter().for_each(|row| put_row(w, row));
        });
        if let Some(root) = self.root {
            map.put(12, |w| put_bytes(w, &root.0));
        }
        if let Some(sealed) = &self.sealed {
            map.put(20, |w| put_sealed(w, sealed));
        }
        if self.rows.iter().any(|row| row.signature.is_some()) {
            map.put(21, |w| put_signatures(w, &self.rows));
        }
        map.finish(w);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Page, CborError> {
        let (mut epoch, mut replica, mut accepted, mut hash, mut scope, mut lane) = Default::default();
        let (mut generation, mut from, mut to, mut head, mut rows, mut root) = Default::default();
        let (mut sealed, mut signatures) = (None, Vec::new());
        r.map(|key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => accepted = Some(r.u64()?),
                4 => hash = Some(Hash(r.fixed("hash")?)),
                5 => scope = Some(ScopeId(r.fixed("scope")?)),
                6 => lane = Some(read_lane(r)?),
                7 => generation = Some(r.u64()?),
                8 => from = Some(r.u64()?),
                9 => to = Some(r.u64()?),
                10 => head = Some(r.u64()?),
                11 => {
                    rows = Some(r.array(ROWS_MAX, "rows", read_row)?);
                }
                12 => root = Some(Hash(r.fixed("root")?)),
                20 => sealed = Some(read_sealed(r)?),
                21 => signatures = read_signatures(r)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let mut rows: Vec<Row> = rows.ok_or(missing("rows"))?;
        for (row, signature) in rows.iter_mut().zip(signatures) {
            row.signature = signature;
        }
        Ok(Page {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            accepted: accepted.ok_or(missing("counter"))?,
            hash: hash.ok_or(missing("hash"))?,
            scope: scope.ok_or(missing("scope"))?,
            lane: lane.ok_or(missing("lane"))?,
            generation: generation.ok_or(missing("generation"))?,
            from: from.ok_or(missing("from"))?,
            to: to.ok_or(missing("to"))?,
            head: head.ok_or(missing("head"))?,
            rows,
            root,
            sealed,
        })
    }
}
