//! What travels: push up, pages of states down. One zstd frame of deterministic CBOR per body; every message keeps keys
//! that it does not know.

use crate::cbor::{self, CborError, MapWriter, Reader, Unknown, Writer};
use crate::change::{Change, put_bytes, put_u64, put_vector, read_vector};
use crate::ids::{EpochId, Hash, Lane, RecordId, ReplicaId, ScopeId};
use crate::state::RecordState;
use crate::vector::VersionVector;

/// The protocol that this version speaks, and the oldest it still serves.
pub const PROTOCOL: u64 = 1;
pub const PROTOCOL_OLDEST: u64 = 1;

/// The largest body, compressed and unpacked, that either end takes.
pub const BODY_MAX_BYTES: usize = 256 * 1024;
pub const UNPACKED_MAX_BYTES: usize = 4 * 1024 * 1024;

const ZSTD_LEVEL: i32 = 3;
const CHANGES_MAX: usize = 4_096;
const ROWS_MAX: usize = 4_096;
const CURSORS_MAX: usize = 256;
/// Records that one pull says it is willing to forget; the rest follow with the next.
pub const WILLING_MAX: usize = 1_024;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    #[error("the body is not a zstd frame of at most {UNPACKED_MAX_BYTES} bytes")]
    Frame,
    #[error("the body cannot be read: {0}")]
    Body(#[from] CborError),
    #[error("the other end speaks protocol {theirs}; this one speaks {PROTOCOL_OLDEST} to {PROTOCOL}")]
    Protocol { theirs: u64 },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushRequest {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    /// The changes continue the chain after this counter, whose hash is `previous`.
    pub after: u64,
    pub previous: Hash,
    pub changes: Vec<Change>,
    /// The hash after the last of them.
    pub last: Hash,
}

/// The hub's acknowledgement: how far it holds this replica's chain, and the hash there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushReply {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub accepted: u64,
    pub hash: Hash,
    /// Counters of this run that were kept but could not be used, with the reason.
    pub quarantined: Vec<(u64, u16)>,
}

/// How far a puller has one lane of one scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    pub scope: ScopeId,
    pub lane: Lane,
    pub generation: u64,
    pub sequence: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullRequest {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub cursors: Vec<Cursor>,
    pub bytes_max: u64,
    /// How long the hub may hold the question when it has nothing to say.
    pub wait_ms: u64,
    /// Offers to forget that this replica agrees to.
    pub willing: Vec<Willing>,
}

/// Agreement to one offer: the hub's row of the record must still be the one of this sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Willing {
    pub scope: ScopeId,
    pub lane: Lane,
    pub record: RecordId,
    pub sequence: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub sequence: u64,
    pub told: Told,
    /// The size of the record's canonical bytes; not sent.
    pub bytes: u64,
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
}

impl Page {
    /// Sequences that were still to come when the page was made: an upper bound of the records that wait.
    pub fn behind(&self) -> u64 {
        self.head.saturating_sub(self.to)
    }
}

fn frame(steps: impl FnOnce(&mut MapWriter)) -> Vec<u8> {
    let body = cbor::encode(|w| {
        let mut map = MapWriter::new(&Unknown::default());
        map.put(0, |w| put_u64(w, PROTOCOL));
        steps(&mut map);
        map.finish(w);
    });
    // Compressing into memory fails only when memory does.
    compress(&body).unwrap_or_default()
}

/// The frame carries a checksum, so that a body that was altered on its way is refused before it is read.
fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(body)
}

/// Unpacks a body and reads its map; key 0 is the protocol.
fn open(
    body: &[u8],
    mut known: impl for<'b> FnMut(u64, &mut Reader<'b>) -> Result<bool, CborError>,
) -> Result<(), WireError> {
    let plain = zstd::bulk::decompress(body, UNPACKED_MAX_BYTES).map_err(|_| WireError::Frame)?;
    let mut protocol = None;
    cbor::parse(&plain, |r| {
        r.map(|key, r| {
            if key == 0 {
                protocol = Some(r.u64()?);
                return Ok(true);
            }
            known(key, r)
        })
    })?;
    match protocol {
        Some(theirs) if (PROTOCOL_OLDEST..=PROTOCOL).contains(&theirs) => Ok(()),
        Some(theirs) => Err(WireError::Protocol { theirs }),
        None => Err(WireError::Body(CborError::Missing { what: "protocol" })),
    }
}

fn missing(what: &'static str) -> CborError {
    CborError::Missing { what }
}

impl PushRequest {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_u64(w, self.after));
            map.put(4, |w| put_bytes(w, &self.previous.0));
            map.put(5, |w| {
                w.array(self.changes.len() as u64).ok();
                for change in &self.changes {
                    w.array(3).ok();
                    put_bytes(w, &change.header);
                    put_bytes(w, &change.salt);
                    put_bytes(w, &change.payload);
                }
            });
            map.put(6, |w| put_bytes(w, &self.last.0));
        })
    }

    pub fn decode(body: &[u8]) -> Result<PushRequest, WireError> {
        let (mut epoch, mut replica, mut after, mut previous, mut changes, mut last) = Default::default();
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => after = Some(r.u64()?),
                4 => previous = Some(Hash(r.fixed("previous hash")?)),
                5 => {
                    changes = Some(r.array(CHANGES_MAX, "changes", |r| {
                        r.exact_array(3, "change")?;
                        let header = r.bytes()?.to_vec();
                        Ok(Change {
                            header,
                            salt: r.fixed("salt")?,
                            payload: r.bytes()?.to_vec(),
                        })
                    })?);
                }
                6 => last = Some(Hash(r.fixed("last hash")?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PushRequest {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            after: after.ok_or(missing("counter"))?,
            previous: previous.ok_or(missing("previous hash"))?,
            changes: changes.ok_or(missing("changes"))?,
            last: last.ok_or(missing("last hash"))?,
        })
    }
}

impl PushReply {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_u64(w, self.accepted));
            map.put(4, |w| put_bytes(w, &self.hash.0));
            if !self.quarantined.is_empty() {
                map.put(5, |w| {
                    w.array(self.quarantined.len() as u64).ok();
                    for (counter, reason) in &self.quarantined {
                        w.array(2).ok();
                        put_u64(w, *counter);
                        put_u64(w, u64::from(*reason));
                    }
                });
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<PushReply, WireError> {
        let (mut epoch, mut replica, mut accepted, mut hash, mut quarantined) = Default::default();
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => accepted = Some(r.u64()?),
                4 => hash = Some(Hash(r.fixed("hash")?)),
                5 => {
                    quarantined = r.array(CHANGES_MAX, "quarantined", |r| {
                        r.exact_array(2, "quarantined")?;
                        Ok((r.u64()?, r.u16()?))
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PushReply {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            accepted: accepted.ok_or(missing("counter"))?,
            hash: hash.ok_or(missing("hash"))?,
            quarantined,
        })
    }
}

fn read_lane(r: &mut Reader<'_>) -> Result<Lane, CborError> {
    Lane::from_number(r.u8()?).ok_or(CborError::Form { what: "lane" })
}

impl PullRequest {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| {
                w.array(self.cursors.len() as u64).ok();
                for cursor in &self.cursors {
                    w.array(4).ok();
                    put_bytes(w, &cursor.scope.0);
                    put_u64(w, cursor.lane as u64);
                    put_u64(w, cursor.generation);
                    put_u64(w, cursor.sequence);
                }
            });
            map.put(4, |w| put_u64(w, self.bytes_max));
            map.put(5, |w| put_u64(w, self.wait_ms));
            if !self.willing.is_empty() {
                map.put(6, |w| {
                    w.array(self.willing.len() as u64).ok();
                    for willing in &self.willing {
                        w.array(4).ok();
                        put_bytes(w, &willing.scope.0);
                        put_u64(w, willing.lane as u64);
                        put_bytes(w, &willing.record.0);
                        put_u64(w, willing.sequence);
                    }
                });
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<PullRequest, WireError> {
        let (mut epoch, mut replica, mut cursors, mut bytes_max, mut wait_ms) = Default::default();
        let mut willing = Vec::new();
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => {
                    cursors = Some(r.array(CURSORS_MAX, "cursors", |r| {
                        r.exact_array(4, "cursor")?;
                        Ok(Cursor {
                            scope: ScopeId(r.fixed("scope")?),
                            lane: read_lane(r)?,
                            generation: r.u64()?,
                            sequence: r.u64()?,
                        })
                    })?);
                }
                4 => bytes_max = Some(r.u64()?),
                5 => wait_ms = r.u64()?,
                6 => {
                    willing = r.array(WILLING_MAX, "willing", |r| {
                        r.exact_array(4, "willing")?;
                        Ok(Willing {
                            scope: ScopeId(r.fixed("scope")?),
                            lane: read_lane(r)?,
                            record: RecordId(r.fixed("record")?),
                            sequence: r.u64()?,
                        })
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PullRequest {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            cursors: cursors.ok_or(missing("cursors"))?,
            bytes_max: bytes_max.ok_or(missing("byte budget"))?,
            wait_ms,
            willing,
        })
    }
}

/// `[sequence, state]`, `[sequence, state, true]` for an offer, `[sequence, record, vector, true]` for what has gone.
fn put_row(w: &mut Writer, row: &Row) {
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

fn read_row(r: &mut Reader<'_>) -> Result<Row, CborError> {
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
    Ok(Row { sequence, told, bytes })
}

impl Page {
    fn put(&self, w: &mut Writer) {
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
        map.finish(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Page, CborError> {
        let (mut epoch, mut replica, mut accepted, mut hash, mut scope, mut lane) = Default::default();
        let (mut generation, mut from, mut to, mut head, mut rows, mut root) = Default::default();
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
                _ => return Ok(false),
            }
            Ok(true)
        })?;
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
            rows: rows.ok_or(missing("rows"))?,
            root,
        })
    }
}

/// The pages of one pull, higher lanes first, and what the hub says beside them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullReply {
    pub pages: Vec<Page>,
    /// The hub's wall clock, milliseconds since 1970, when it answered.
    pub hub_ms: u64,
    /// The short series of this incarnation's TEMP numbers.
    pub series: Option<u32>,
    /// Whether the hub reaches the EHR: `None` when there is no machine to reach.
    pub ehr_reached: Option<bool>,
    /// When the hub last had everything from the EHR, milliseconds since 1970.
    pub ehr_polled_ms: Option<u64>,
    /// The lanes of scopes that this replica is to follow; those that it does not follow yet begin at nothing.
    pub follows: Vec<(ScopeId, Lane)>,
}

impl PullReply {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| {
                w.array(self.pages.len() as u64).ok();
                self.pages.iter().for_each(|page| page.put(w));
            });
            map.put(2, |w| put_u64(w, self.hub_ms));
            if let Some(series) = self.series {
                map.put(3, |w| put_u64(w, u64::from(series)));
            }
            if let Some(reached) = self.ehr_reached {
                map.put(4, |w| {
                    w.bool(reached).ok();
                });
            }
            if let Some(polled) = self.ehr_polled_ms {
                map.put(5, |w| put_u64(w, polled));
            }
            if !self.follows.is_empty() {
                map.put(6, |w| {
                    w.array(self.follows.len() as u64).ok();
                    for (scope, lane) in &self.follows {
                        w.array(2).ok();
                        put_bytes(w, &scope.0);
                        put_u64(w, *lane as u64);
                    }
                });
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<PullReply, WireError> {
        let (mut pages, mut hub_ms, mut series, mut ehr_reached, mut ehr_polled_ms) = Default::default();
        let mut follows = Vec::new();
        open(body, |key, r| {
            match key {
                1 => pages = Some(r.array(CURSORS_MAX, "pages", Page::read)?),
                2 => hub_ms = Some(r.u64()?),
                3 => series = Some(r.u32()?),
                4 => ehr_reached = Some(r.bool()?),
                5 => ehr_polled_ms = Some(r.u64()?),
                6 => {
                    follows = r.array(CURSORS_MAX, "lanes to follow", |r| {
                        r.exact_array(2, "lane to follow")?;
                        Ok((ScopeId(r.fixed("scope")?), read_lane(r)?))
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PullReply {
            pages: pages.ok_or(missing("pages"))?,
            hub_ms: hub_ms.ok_or(missing("time of the hub"))?,
            series,
            ehr_reached,
            ehr_polled_ms,
            follows,
        })
    }
}
