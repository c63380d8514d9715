//! From changes to a batch.

use std::collections::BTreeMap;

use super::{ACTOR, Actor, Batch, BootId, Change, Header, ID, Raw, RecordId, ReplicaId};
use crate::ids::{ChangeId, Dot};
use crate::vector::VersionVector;

/// Packs a run of changes of `replica` that continue after a counter.
pub(in crate::wire) fn pack(replica: ReplicaId, after: u64, changes: &[Change]) -> Batch {
    let mut packer = Packer {
        batch: Batch {
            count: changes.len() as u64,
            ..Batch::default()
        },
        replica,
        before: None,
        packed: 0,
        places: BTreeMap::new(),
        records: BTreeMap::new(),
        foreign: BTreeMap::new(),
        counters: BTreeMap::new(),
    };
    for (place, change) in (0u64..).zip(changes) {
        let dot = Dot {
            replica,
            counter: after.wrapping_add(place).wrapping_add(1),
        };
        match restorable(change, dot) {
            Some(header) => packer.push(header, change),
            None => packer.batch.verbatim.push((place, change.clone())),
        }
    }
    packer.batch
}

/// The change's header, if its bytes and its payload's are what the receiver would make of the batch.
fn restorable(change: &Change, dot: Dot) -> Option<Header> {
    let header = change.parse_header().ok()?;
    let plain = header.unknown.0.is_empty()
        && header.dot == dot
        && header.saw.aliases.is_empty()
        && header.saw.entries.values().all(|entry| entry.except.is_empty());
    let exact = plain && header.to_bytes() == change.header && Raw::from_bytes(change.payload.clone()).is_ok();
    exact.then_some(header)
}

struct Packer {
    batch: Batch,
    replica: ReplicaId,
    before: Option<Header>,
    packed: u64,
    /// Where a change of this batch is, and where a record was last written.
    places: BTreeMap<ChangeId, (u64, Dot)>,
    records: BTreeMap<RecordId, u64>,
    /// The place of an id in the table of ids that are not of this batch.
    foreign: BTreeMap<ChangeId, usize>,
    /// The last counter that was written of each replica.
    counters: BTreeMap<ReplicaId, u64>,
}

fn step(now: u64, before: u64) -> i64 {
    now.wrapping_sub(before).cast_signed()
}

/// An entry's place from 1; it is added if it is not there.
fn place(table: &mut Vec<u8>, entry: &[u8]) -> usize {
    let found = table.chunks_exact(entry.len()).position(|known| known == entry);
    found.map_or_else(
        || {
            table.extend_from_slice(entry);
            table.len() / entry.len()
        },
        |at| at + 1,
    )
}

impl Packer {
    fn push(&mut self, header: Header, change: &Change) {
        self.push_times(&header);
        self.push_actor(header.actor);
        let (action, kind) = self
            .before
            .as_ref()
            .map_or((0, 0), |before| (before.action, before.kind.0));
        self.batch
            .columns
            .action
            .push(i64::from(header.action) - i64::from(action));
        self.batch.columns.kind.push(i64::from(header.kind.0) - i64::from(kind));
        self.push_record(header.record);
        self.push_names(&header);

        self.batch.tables.changes.extend_from_slice(&header.change.0);
        self.batch.tables.salts.extend_from_slice(&change.salt);
        self.batch.tables.payloads.extend_from_slice(&change.payload);
        self.places.insert(header.change, (self.packed, header.dot));
        self.packed += 1;
        self.before = Some(header);
    }

    fn push_times(&mut self, header: &Header) {
        let columns = &mut self.batch.columns;
        let before = self.before.as_ref();
        let wall = step(header.at.wall_ms, before.map_or(0, |before| before.at.wall_ms));
        columns.wall.push(wall);
        columns.logical.push(i64::from(header.at.logical));
        match before.filter(|before| before.boot == header.boot) {
            Some(before) => {
                columns.boot.push(0);
                let monotonic = step(header.monotonic_ms, before.monotonic_ms);
                columns.monotonic.push(monotonic.wrapping_sub(wall));
            }
            None => {
                let BootId(boot) = header.boot;
                let at = place(&mut self.batch.tables.boots, &boot);
                columns.boot.push_count(at);
                columns.monotonic.push(header.monotonic_ms.cast_signed());
            }
        }
        let event = header.event_ms.wrapping_sub(header.at.wall_ms.cast_signed());
        columns.event.push(event);
    }

    fn push_actor(&mut self, actor: Actor) {
        if self.before.as_ref().is_some_and(|before| before.actor == actor) {
            self.batch.columns.actor.push(0);
            return;
        }
        let mut entry = [0; ACTOR];
        entry[..ID].copy_from_slice(&actor.who.0);
        entry[ID] = actor.channel;
        let at = place(&mut self.batch.tables.actors, &entry);
        self.batch.columns.actor.push_count(at);
    }

    fn push_record(&mut self, record: RecordId) {
        match self.records.insert(record, self.packed) {
            Some(last) => self.batch.columns.record.push(step(self.packed, last)),
            None => {
                self.batch.columns.record.push(0);
                self.batch.tables.records.extend_from_slice(&record.0);
            }
        }
    }

    fn push_names(&mut self, header: &Header) {
        self.batch.columns.names.push_count(header.names.len());
        let mut known = VersionVector::default();
        for names in &header.names {
            self.batch.columns.names.push(i64::from(names.field.0));
            self.batch.columns.names.push_count(names.ids.len());
            for id in &names.ids {
                self.push_id(*id);
                if let Some((_, dot)) = self.places.get(id) {
                    known.add(*dot);
                }
            }
        }
        if header.saw == known {
            self.batch.columns.saw.push(0);
        } else {
            self.push_saw(&header.saw);
        }
        let own = header.correlation == header.change;
        self.batch.columns.correlation.push(i64::from(!own));
        if !own {
            self.push_id(header.correlation);
        }
    }

    fn push_id(&mut self, id: ChangeId) {
        let number = if let Some((at, _)) = self.places.get(&id) {
            step(self.packed, *at)
        } else if let Some(at) = self.foreign.get(&id) {
            -i64::try_from(*at).unwrap_or(i64::MAX)
        } else {
            self.batch.tables.foreign.extend_from_slice(&id.0);
            self.foreign.insert(id, self.batch.tables.foreign.len() / ID);
            0
        };
        self.batch.columns.ids.push(number);
    }

    fn push_saw(&mut self, saw: &VersionVector) {
        self.batch.columns.saw.push_count(saw.entries.len() + 1);
        for (replica, entry) in &saw.entries {
            let at = if *replica == self.replica {
                0
            } else {
                place(&mut self.batch.tables.replicas, &replica.0)
            };
            let last = self.counters.insert(*replica, entry.upto).unwrap_or_default();
            self.batch.columns.saw.push_count(at);
            self.batch.columns.saw.push(step(entry.upto, last));
        }
    }
}
