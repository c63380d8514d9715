//! From a batch to the changes, byte for byte.

use std::collections::BTreeMap;
use std::mem::take;

use super::{ACTOR, Actor, Batch, BootId, CborError, Change, Header, ID, Reader, RecordId, ReplicaId, cbor};
use crate::change::{LIST_MAX, Names};
use crate::ids::{ChangeId, Dot, FieldId, KindId};
use crate::time::HybridTime;
use crate::vector::{Entry, VersionVector};
use crate::wire::UNPACKED_MAX_BYTES;
use crate::wire::push::CHANGES_MAX;

const MALFORMED: CborError = CborError::Form { what: "compact batch" };

pub(in crate::wire) fn unpack(replica: ReplicaId, after: u64, mut batch: Batch) -> Result<Vec<Change>, CborError> {
    let count = usize::try_from(batch.count).ok().filter(|count| *count <= CHANGES_MAX);
    let count = count.ok_or(CborError::TooLarge {
        what: "changes",
        max: CHANGES_MAX,
    })?;
    let (salts, payloads) = (take(&mut batch.tables.salts), take(&mut batch.tables.payloads));
    let (mut salts, mut payloads) = (salts.chunks_exact(ID), Reader::new(&payloads));
    let mut verbatim = take(&mut batch.verbatim).into_iter().peekable();
    let mut unpacker = Unpacker {
        batch,
        replica,
        headers: Vec::new(),
        records: 0,
        foreign: 0,
        counters: BTreeMap::new(),
    };
    let mut changes = Vec::new();
    let mut restored = 0;
    for place in 0..count as u64 {
        let change = if let Some((_, change)) = verbatim.next_if(|(at, _)| *at == place) {
            change
        } else {
            let counter = after.wrapping_add(place).wrapping_add(1);
            let header = unpacker.next(Dot { replica, counter })?.to_bytes();
            let salt = salts.next().and_then(|salt| salt.try_into().ok()).ok_or(MALFORMED)?;
            let payload = payloads.raw()?.as_bytes().to_vec();
            Change { header, salt, payload }
        };
        restored += change.bytes();
        if restored > UNPACKED_MAX_BYTES {
            return Err(CborError::TooLarge {
                what: "the restored changes",
                max: UNPACKED_MAX_BYTES,
            });
        }
        changes.push(change);
    }
    payloads.finish()?;
    let all_used = verbatim.next().is_none() && salts.next().is_none() && salts.remainder().is_empty();
    if all_used && unpacker.is_used() {
        Ok(changes)
    } else {
        Err(MALFORMED)
    }
}

struct Unpacker {
    batch: Batch,
    replica: ReplicaId,
    headers: Vec<Header>,
    /// Entries of the two tables that have been taken.
    records: usize,
    foreign: usize,
    counters: BTreeMap<ReplicaId, u64>,
}

/// The entry at a place counted from 0.
fn entry<const N: usize>(table: &[u8], at: usize) -> Result<[u8; N], CborError> {
    let entry = table.chunks_exact(N).nth(at);
    entry.and_then(|entry| entry.try_into().ok()).ok_or(MALFORMED)
}

fn add(before: u64, step: i64) -> u64 {
    before.wrapping_add(step.cast_unsigned())
}

impl Unpacker {
    fn next(&mut self, dot: Dot) -> Result<Header, CborError> {
        let change = ChangeId(entry(&self.batch.tables.changes, self.headers.len())?);
        let (at, boot, monotonic_ms, event_ms) = self.times()?;
        let actor = self.actor()?;
        let (action, kind) = self
            .headers
            .last()
            .map_or((0, 0), |before| (before.action, before.kind.0));
        let action = i64::from(action).wrapping_add(self.batch.columns.action.next()?);
        let kind = i64::from(kind).wrapping_add(self.batch.columns.kind.next()?);
        let record = self.record()?;
        let (names, known) = self.names()?;
        let saw = match self.batch.columns.saw.next_count(LIST_MAX + 1)? {
            0 => known,
            more => self.saw(more - 1)?,
        };
        let correlation = match self.batch.columns.correlation.next()? {
            0 => change,
            1 => self.id()?.0,
            _ => return Err(MALFORMED),
        };
        let header = Header {
            change,
            dot,
            at,
            boot,
            monotonic_ms,
            event_ms,
            actor,
            action: u16::try_from(action).map_err(|_| MALFORMED)?,
            kind: KindId(u16::try_from(kind).map_err(|_| MALFORMED)?),
            record,
            saw,
            names,
            correlation,
            unknown: cbor::Unknown::default(),
        };
        self.headers.push(header.clone());
        Ok(header)
    }

    fn times(&mut self) -> Result<(HybridTime, BootId, u64, i64), CborError> {
        let columns = &mut self.batch.columns;
        let before = self.headers.last();
        let wall = columns.wall.next()?;
        let at = HybridTime {
            wall_ms: add(before.map_or(0, |before| before.at.wall_ms), wall),
            logical: columns.logical.next_as()?,
        };
        let (boot, monotonic) = (columns.boot.next_count(CHANGES_MAX)?, columns.monotonic.next()?);
        let (boot, monotonic_ms) = match (boot, before) {
            (0, Some(before)) => {
                let step = monotonic.wrapping_add(wall);
                (before.boot, add(before.monotonic_ms, step))
            }
            (0, None) => return Err(MALFORMED),
            (place, _) => (
                BootId(entry(&self.batch.tables.boots, place - 1)?),
                monotonic.cast_unsigned(),
            ),
        };
        let event_ms = columns.event.next()?.wrapping_add(at.wall_ms.cast_signed());
        Ok((at, boot, monotonic_ms, event_ms))
    }

    fn actor(&mut self) -> Result<Actor, CborError> {
        match (self.batch.columns.actor.next_count(CHANGES_MAX)?, self.headers.last()) {
            (0, Some(before)) => Ok(before.actor),
            (0, None) => Err(MALFORMED),
            (place, _) => {
                let entry: [u8; ACTOR] = entry(&self.batch.tables.actors, place - 1)?;
                let mut who = [0; ID];
                who.copy_from_slice(&entry[..ID]);
                Ok(Actor {
                    who: RecordId(who),
                    channel: entry[ID],
                })
            }
        }
    }

    fn record(&mut self) -> Result<RecordId, CborError> {
        match self.batch.columns.record.next_count(CHANGES_MAX)? {
            0 => {
                let record = RecordId(entry(&self.batch.tables.records, self.records)?);
                self.records += 1;
                Ok(record)
            }
            back => Ok(self.back(back)?.record),
        }
    }

    fn back(&self, back: usize) -> Result<&Header, CborError> {
        let at = self.headers.len().checked_sub(back).ok_or(MALFORMED)?;
        self.headers.get(at).ok_or(MALFORMED)
    }

    /// The named ids, and the version that those of this batch make.
    fn names(&mut self) -> Result<(Vec<Names>, VersionVector), CborError> {
        let mut known = VersionVector::default();
        let mut names = Vec::new();
        let mut listed = 0;
        for _ in 0..self.batch.columns.names.next_count(LIST_MAX)? {
            let field = FieldId(self.batch.columns.names.next_as()?);
            let count = self.batch.columns.names.next_count(LIST_MAX)?;
            listed += count;
            if listed > LIST_MAX {
                return Err(MALFORMED);
            }
            let mut ids = Vec::new();
            for _ in 0..count {
                let (id, dot) = self.id()?;
                if let Some(dot) = dot {
                    known.add(dot);
                }
                ids.push(id);
            }
            names.push(Names { field, ids });
        }
        Ok((names, known))
    }

    /// An id, and its dot if the change is of this batch.
    fn id(&mut self) -> Result<(ChangeId, Option<Dot>), CborError> {
        let number: isize = self.batch.columns.ids.next_as()?;
        let at = match number {
            0 => {
                self.foreign += 1;
                self.foreign - 1
            }
            1.. => {
                let header = self.back(number.unsigned_abs())?;
                return Ok((header.change, Some(header.dot)));
            }
            _ => number.unsigned_abs() - 1,
        };
        if at < self.foreign {
            Ok((ChangeId(entry(&self.batch.tables.foreign, at)?), None))
        } else {
            Err(MALFORMED)
        }
    }

    fn saw(&mut self, count: usize) -> Result<VersionVector, CborError> {
        let mut saw = VersionVector::default();
        for _ in 0..count {
            let replica = match self.batch.columns.saw.next_count(LIST_MAX)? {
                0 => self.replica,
                place => ReplicaId(entry(&self.batch.tables.replicas, place - 1)?),
            };
            let last = self.counters.get(&replica).copied().unwrap_or_default();
            let upto = add(last, self.batch.columns.saw.next()?);
            self.counters.insert(replica, upto);
            saw.entries.insert(
                replica,
                Entry {
                    upto,
                    ..Entry::default()
                },
            );
        }
        Ok(saw)
    }

    /// Whether nothing is left over: one content has no second spelling that hides something.
    fn is_used(&mut self) -> bool {
        let tables = &self.batch.tables;
        let used = tables.changes.len() == self.headers.len() * ID
            && tables.records.len() == self.records * ID
            && tables.foreign.len() == self.foreign * ID;
        used && self.batch.columns.all().iter().all(|column| column.is_read())
    }
}
