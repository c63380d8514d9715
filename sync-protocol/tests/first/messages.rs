//! What travelled in the first format: push and pull, asked and answered. Frozen: it must not follow the engine.

use serde::{Deserialize, Serialize};

use super::bytes::{put_vector, read_vector};
use super::cbor::{In, Map, Out, Read, Refusal, Unknown, put_bytes, put_int, put_list};
use super::model::{Hash, Hex, Id, State, Vector};

pub(crate) const PROTOCOL: u64 = 1;
const UNPACKED_MAX: usize = 4 * 1024 * 1024;
const ZSTD_LEVEL: i32 = 3;
const CHANGES_MAX: u64 = 4_096;
const ROWS_MAX: u64 = 4_096;
const CURSORS_MAX: u64 = 256;
const WILLING_MAX: u64 = 1_024;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushRequest {
    pub(crate) epoch: Id,
    pub(crate) replica: Id,
    pub(crate) after: u64,
    pub(crate) previous: Hash,
    pub(crate) changes: Vec<Sent>,
    pub(crate) last: Hash,
}

/// A change as its author's bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    pub(crate) header: Hex,
    pub(crate) salt: Id,
    pub(crate) payload: Hex,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushReply {
    pub(crate) epoch: Id,
    pub(crate) replica: Id,
    pub(crate) accepted: u64,
    pub(crate) hash: Hash,
    /// Counter and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) quarantined: Vec<(u64, u16)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PullRequest {
    pub(crate) epoch: Id,
    pub(crate) replica: Id,
    pub(crate) cursors: Vec<Cursor>,
    pub(crate) bytes_max: u64,
    pub(crate) wait_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) willing: Vec<Willing>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    pub(crate) scope: Id,
    pub(crate) lane: u8,
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Willing {
    pub(crate) scope: Id,
    pub(crate) lane: u8,
    pub(crate) record: Id,
    pub(crate) sequence: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PullReply {
    pub(crate) pages: Vec<Page>,
    pub(crate) hub_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) series: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ehr_reached: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ehr_polled_ms: Option<u64>,
    /// Scope and lane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) follows: Vec<(Id, u8)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    pub(crate) epoch: Id,
    pub(crate) replica: Id,
    pub(crate) accepted: u64,
    pub(crate) hash: Hash,
    pub(crate) scope: Id,
    pub(crate) lane: u8,
    pub(crate) generation: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) head: u64,
    pub(crate) rows: Vec<Row>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<Hash>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Row {
    State { sequence: u64, state: State, offered: bool },
    Gone { sequence: u64, record: Id, vector: Vector },
}

/// One message of the first format.
pub(crate) trait Message: Sized {
    fn put(&self, map: &mut Map);
    fn read(plain: &[u8]) -> Read<Self>;

    /// What is compressed.
    fn to_cbor(&self) -> Vec<u8> {
        self.to_cbor_with(&Unknown::new())
    }

    /// As a later version would write it, with keys that the first format does not know.
    fn to_cbor_with(&self, later: &Unknown) -> Vec<u8> {
        let mut map = Map::new(later);
        map.put(0, |out| put_int(out, PROTOCOL));
        self.put(&mut map);
        map.bytes()
    }

    /// The body as it was sent: one zstd frame with a checksum.
    fn to_body(&self) -> Vec<u8> {
        compress(&self.to_cbor())
    }

    fn of_body(body: &[u8]) -> Read<Self> {
        Self::read(&unpack(body)?)
    }
}

pub(crate) fn compress(plain: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).unwrap();
    compressor.include_checksum(true).unwrap();
    compressor.compress(plain).unwrap()
}

pub(crate) fn unpack(body: &[u8]) -> Read<Vec<u8>> {
    zstd::bulk::decompress(body, UNPACKED_MAX).map_err(|_| Refusal::Frame)
}

/// Reads the map of a body; what is not known is passed over, and the protocol is looked at last.
fn open<'b>(plain: &'b [u8], mut known: impl FnMut(u64, &mut In<'b>) -> Read<bool>) -> Read<()> {
    let mut protocol = None;
    In::whole(plain, |r| {
        r.map(|key, r| {
            if key == 0 {
                protocol = Some(r.u64()?);
                return Ok(true);
            }
            known(key, r)
        })
    })?;
    match protocol {
        Some(PROTOCOL) => Ok(()),
        Some(theirs) => Err(Refusal::Protocol(theirs)),
        None => Err(Refusal::Missing),
    }
}

fn need<T>(value: Option<T>) -> Read<T> {
    value.ok_or(Refusal::Missing)
}

fn read_lane(r: &mut In<'_>) -> Read<u8> {
    let lane = r.u8()?;
    if lane < 4 { Ok(lane) } else { Err(Refusal::Form) }
}

impl Message for PushRequest {
    fn put(&self, map: &mut Map) {
        map.put(1, |out| put_bytes(out, &self.epoch.0));
        map.put(2, |out| put_bytes(out, &self.replica.0));
        map.put(3, |out| put_int(out, self.after));
        map.put(4, |out| put_bytes(out, &self.previous.0));
        map.put(5, |out| {
            put_list(out, self.changes.iter(), |out, change| {
                out.array(3).unwrap();
                put_bytes(out, &change.header.0);
                put_bytes(out, &change.salt.0);
                put_bytes(out, &change.payload.0);
            });
        });
        map.put(6, |out| put_bytes(out, &self.last.0));
    }

    fn read(plain: &[u8]) -> Read<PushRequest> {
        let (mut epoch, mut replica, mut after, mut previous, mut changes, mut last) = Default::default();
        open(plain, |key, r| {
            match key {
                1 => epoch = Some(r.id()?),
                2 => replica = Some(r.id()?),
                3 => after = Some(r.u64()?),
                4 => previous = Some(Hash(r.fixed()?)),
                5 => {
                    changes = Some(r.list(CHANGES_MAX, |r| {
                        r.exactly(3)?;
                        let (header, salt, payload) = (r.bytes()?.to_vec(), r.id()?, r.bytes()?.to_vec());
                        Ok(Sent {
                            header: Hex(header),
                            salt,
                            payload: Hex(payload),
                        })
                    })?);
                }
                6 => last = Some(Hash(r.fixed()?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PushRequest {
            epoch: need(epoch)?,
            replica: need(replica)?,
            after: need(after)?,
            previous: need(previous)?,
            changes: need(changes)?,
            last: need(last)?,
        })
    }
}

impl Message for PushReply {
    fn put(&self, map: &mut Map) {
        map.put(1, |out| put_bytes(out, &self.epoch.0));
        map.put(2, |out| put_bytes(out, &self.replica.0));
        map.put(3, |out| put_int(out, self.accepted));
        map.put(4, |out| put_bytes(out, &self.hash.0));
        if !self.quarantined.is_empty() {
            map.put(5, |out| {
                put_list(out, self.quarantined.iter(), |out, (counter, reason)| {
                    out.array(2).unwrap();
                    put_int(out, *counter);
                    put_int(out, *reason);
                });
            });
        }
    }

    fn read(plain: &[u8]) -> Read<PushReply> {
        let (mut epoch, mut replica, mut accepted, mut hash, mut quarantined) = Default::default();
        open(plain, |key, r| {
            match key {
                1 => epoch = Some(r.id()?),
                2 => replica = Some(r.id()?),
                3 => accepted = Some(r.u64()?),
                4 => hash = Some(Hash(r.fixed()?)),
                5 => {
                    quarantined = r.list(CHANGES_MAX, |r| {
                        r.exactly(2)?;
                        Ok((r.u64()?, r.u16()?))
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PushReply {
            epoch: need(epoch)?,
            replica: need(replica)?,
            accepted: need(accepted)?,
            hash: need(hash)?,
            quarantined,
        })
    }
}

impl Message for PullRequest {
    fn put(&self, map: &mut Map) {
        map.put(1, |out| put_bytes(out, &self.epoch.0));
        map.put(2, |out| put_bytes(out, &self.replica.0));
        map.put(3, |out| {
            put_list(out, self.cursors.iter(), |out, cursor| {
                out.array(4).unwrap();
                put_bytes(out, &cursor.scope.0);
                put_int(out, cursor.lane);
                put_int(out, cursor.generation);
                put_int(out, cursor.sequence);
            });
        });
        map.put(4, |out| put_int(out, self.bytes_max));
        map.put(5, |out| put_int(out, self.wait_ms));
        if !self.willing.is_empty() {
            map.put(6, |out| {
                put_list(out, self.willing.iter(), |out, willing| {
                    out.array(4).unwrap();
                    put_bytes(out, &willing.scope.0);
                    put_int(out, willing.lane);
                    put_bytes(out, &willing.record.0);
                    put_int(out, willing.sequence);
                });
            });
        }
    }

    fn read(plain: &[u8]) -> Read<PullRequest> {
        let (mut epoch, mut replica, mut cursors, mut bytes_max, mut wait_ms) = Default::default();
        let mut willing = Vec::new();
        open(plain, |key, r| {
            match key {
                1 => epoch = Some(r.id()?),
                2 => replica = Some(r.id()?),
                3 => cursors = Some(r.list(CURSORS_MAX, read_cursor)?),
                4 => bytes_max = Some(r.u64()?),
                5 => wait_ms = r.u64()?,
                6 => willing = r.list(WILLING_MAX, read_willing)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PullRequest {
            epoch: need(epoch)?,
            replica: need(replica)?,
            cursors: need(cursors)?,
            bytes_max: need(bytes_max)?,
            wait_ms,
            willing,
        })
    }
}

fn read_cursor(r: &mut In<'_>) -> Read<Cursor> {
    r.exactly(4)?;
    let (scope, lane, generation, sequence) = (r.id()?, read_lane(r)?, r.u64()?, r.u64()?);
    Ok(Cursor {
        scope,
        lane,
        generation,
        sequence,
    })
}

fn read_willing(r: &mut In<'_>) -> Read<Willing> {
    r.exactly(4)?;
    let (scope, lane, record, sequence) = (r.id()?, read_lane(r)?, r.id()?, r.u64()?);
    Ok(Willing {
        scope,
        lane,
        record,
        sequence,
    })
}

impl Message for PullReply {
    fn put(&self, map: &mut Map) {
        map.put(1, |out| put_list(out, self.pages.iter(), |out, page| page.put(out)));
        map.put(2, |out| put_int(out, self.hub_ms));
        if let Some(series) = self.series {
            map.put(3, |out| put_int(out, series));
        }
        if let Some(reached) = self.ehr_reached {
            map.put(4, |out| {
                out.bool(reached).unwrap();
            });
        }
        if let Some(polled) = self.ehr_polled_ms {
            map.put(5, |out| put_int(out, polled));
        }
        if !self.follows.is_empty() {
            map.put(6, |out| {
                put_list(out, self.follows.iter(), |out, (scope, lane)| {
                    out.array(2).unwrap();
                    put_bytes(out, &scope.0);
                    put_int(out, *lane);
                });
            });
        }
    }

    fn read(plain: &[u8]) -> Read<PullReply> {
        let (mut pages, mut hub_ms, mut series, mut ehr_reached, mut ehr_polled_ms) = Default::default();
        let mut follows = Vec::new();
        open(plain, |key, r| {
            match key {
                1 => pages = Some(r.list(CURSORS_MAX, Page::read)?),
                2 => hub_ms = Some(r.u64()?),
                3 => series = Some(r.u32()?),
                4 => ehr_reached = Some(r.bool()?),
                5 => ehr_polled_ms = Some(r.u64()?),
                6 => {
                    follows = r.list(CURSORS_MAX, |r| {
                        r.exactly(2)?;
                        Ok((r.id()?, read_lane(r)?))
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PullReply {
            pages: need(pages)?,
            hub_ms: need(hub_ms)?,
            series,
            ehr_reached,
            ehr_polled_ms,
            follows,
        })
    }
}

impl Page {
    fn put(&self, out: &mut Out) {
        let mut map = Map::new(&Unknown::new());
        map.put(1, |out| put_bytes(out, &self.epoch.0));
        map.put(2, |out| put_bytes(out, &self.replica.0));
        map.put(3, |out| put_int(out, self.accepted));
        map.put(4, |out| put_bytes(out, &self.hash.0));
        map.put(5, |out| put_bytes(out, &self.scope.0));
        map.put(6, |out| put_int(out, self.lane));
        map.put(7, |out| put_int(out, self.generation));
        map.put(8, |out| put_int(out, self.from));
        map.put(9, |out| put_int(out, self.to));
        map.put(10, |out| put_int(out, self.head));
        map.put(11, |out| put_list(out, self.rows.iter(), put_row));
        if let Some(root) = self.root {
            map.put(12, |out| put_bytes(out, &root.0));
        }
        map.write(out);
    }

    fn read(r: &mut In<'_>) -> Read<Page> {
        let (mut epoch, mut replica, mut accepted, mut hash, mut scope, mut lane) = Default::default();
        let (mut generation, mut from, mut to, mut head, mut rows, mut root) = Default::default();
        r.map(|key, r| {
            match key {
                1 => epoch = Some(r.id()?),
                2 => replica = Some(r.id()?),
                3 => accepted = Some(r.u64()?),
                4 => hash = Some(Hash(r.fixed()?)),
                5 => scope = Some(r.id()?),
                6 => lane = Some(read_lane(r)?),
                7 => generation = Some(r.u64()?),
                8 => from = Some(r.u64()?),
                9 => to = Some(r.u64()?),
                10 => head = Some(r.u64()?),
                11 => rows = Some(r.list(ROWS_MAX, read_row)?),
                12 => root = Some(Hash(r.fixed()?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Page {
            epoch: need(epoch)?,
            replica: need(replica)?,
            accepted: need(accepted)?,
            hash: need(hash)?,
            scope: need(scope)?,
            lane: need(lane)?,
            generation: need(generation)?,
            from: need(from)?,
            to: need(to)?,
            head: need(head)?,
            rows: need(rows)?,
            root,
        })
    }
}

fn put_row(out: &mut Out, row: &Row) {
    match row {
        Row::State {
            sequence,
            state,
            offered,
        } => {
            out.array(if *offered { 3 } else { 2 }).unwrap();
            put_int(out, *sequence);
            put_bytes(out, &state.to_bytes());
            if *offered {
                out.bool(true).unwrap();
            }
        }
        Row::Gone {
            sequence,
            record,
            vector,
        } => {
            out.array(4).unwrap();
            put_int(out, *sequence);
            put_bytes(out, &record.0);
            put_vector(out, vector);
            out.bool(true).unwrap();
        }
    }
}

fn read_row(r: &mut In<'_>) -> Read<Row> {
    let parts = r.length()?;
    let sequence = r.u64()?;
    match parts {
        2 | 3 => Ok(Row::State {
            sequence,
            state: State::parse(r.bytes()?)?,
            offered: parts == 3 && r.bool()?,
        }),
        4 => {
            let row = Row::Gone {
                sequence,
                record: r.id()?,
                vector: read_vector(r)?,
            };
            r.bool()?;
            Ok(row)
        }
        _ => Err(Refusal::Form),
    }
}
