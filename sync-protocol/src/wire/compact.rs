//! A run of changes with what the receiver can restore left out: the dot, a correlation that is the change's own id, what is
//! the same as in the change before; boots, actors, records and named ids by their place in a table of the batch. The chain
//! runs over the author's own bytes, so a change is packed only if exactly those bytes come out again; any other (fields of
//! a newer version, another spelling of the same values) travels as it is. Refuses to restore more than a body may unpack to.
//!
//! What repeats comes first and what is random last, so that the two can be compressed apart.

mod column;
mod pack;
mod unpack;

use crate::cbor::{self, CborError, MapWriter, Raw, Reader, Unknown, Writer};
use crate::change::{Actor, Change, Header, put_bytes, put_u64};
use crate::ids::{BootId, RecordId, ReplicaId};
use column::Column;

pub(super) use pack::pack;
pub(super) use unpack::unpack;

const VERBATIM_MAX: usize = super::push::CHANGES_MAX;
const ID: usize = 16;
/// A staff record and a channel.
const ACTOR: usize = ID + 1;

/// The columns of small numbers, one entry or several for each packed change; the place in the list is the column's key.
/// A column of zeros is left out.
#[derive(Default)]
struct Columns {
    /// Since the change before, milliseconds.
    wall: Column,
    logical: Column,
    /// 0: that of the change before; else its place in the table, from 1.
    boot: Column,
    /// Since the change before, less the wall's step; in whole when the boot is another.
    monotonic: Column,
    /// Less the wall time.
    event: Column,
    /// As `boot`.
    actor: Column,
    /// Less that of the change before.
    action: Column,
    kind: Column,
    /// 0: the table's next; k: that of the packed change k before this one.
    record: Column,
    /// 0: its own id; 1: see `ids`.
    correlation: Column,
    /// How many fields are named, and for each its number and how many ids.
    names: Column,
    /// 0: what the named changes of this batch say; else 1 + how many replicas, and for each its place and counter.
    saw: Column,
    /// Each named id, then the correlation. 0: the table's next; k: the packed change k before; -k: the table's k-th.
    ids: Column,
}

impl Columns {
    fn all(&self) -> [&Column; 13] {
        [
            &self.wall,
            &self.logical,
            &self.boot,
            &self.monotonic,
            &self.event,
            &self.actor,
            &self.action,
            &self.kind,
            &self.record,
            &self.correlation,
            &self.names,
            &self.saw,
            &self.ids,
        ]
    }

    fn all_mut(&mut self) -> [&mut Column; 13] {
        [
            &mut self.wall,
            &mut self.logical,
            &mut self.boot,
            &mut self.monotonic,
            &mut self.event,
            &mut self.actor,
            &mut self.action,
            &mut self.kind,
            &mut self.record,
            &mut self.correlation,
            &mut self.names,
            &mut self.saw,
            &mut self.ids,
        ]
    }
}

/// What the columns point into, each a byte string of entries of one length.
#[derive(Default)]
struct Tables {
    replicas: Vec<u8>,
    boots: Vec<u8>,
    actors: Vec<u8>,
    /// One CBOR item for each packed change.
    payloads: Vec<u8>,
    records: Vec<u8>,
    foreign: Vec<u8>,
    changes: Vec<u8>,
    salts: Vec<u8>,
}

const COUNT: u64 = 0;
const FIRST_COLUMN: u64 = 1;
const FIRST_TABLE: u64 = 20;
const VERBATIM: u64 = 29;

impl Tables {
    fn all(&self) -> [&Vec<u8>; 8] {
        [
            &self.replicas,
            &self.boots,
            &self.actors,
            &self.payloads,
            &self.records,
            &self.foreign,
            &self.changes,
            &self.salts,
        ]
    }

    fn all_mut(&mut self) -> [&mut Vec<u8>; 8] {
        [
            &mut self.replicas,
            &mut self.boots,
            &mut self.actors,
            &mut self.payloads,
            &mut self.records,
            &mut self.foreign,
            &mut self.changes,
            &mut self.salts,
        ]
    }

    /// Bytes at the end of the batch that nothing can shorten.
    fn random(&self) -> usize {
        [&self.records, &self.foreign, &self.changes, &self.salts]
            .iter()
            .filter(|table| !table.is_empty())
            .map(|table| table.len() + LONGEST_HEAD)
            .sum()
    }
}

/// Bytes of a table's key and length.
const LONGEST_HEAD: usize = 5;

/// A batch as it is written and read.
#[derive(Default)]
pub(super) struct Batch {
    count: u64,
    columns: Columns,
    tables: Tables,
    /// Changes that are not packed, with their places.
    verbatim: Vec<(u64, Change)>,
}

impl Batch {
    pub(super) fn put(&self, w: &mut Writer) {
        let mut map = MapWriter::new(&Unknown::default());
        map.put(COUNT, |w| put_u64(w, self.count));
        for (key, column) in (FIRST_COLUMN..).zip(self.columns.all()) {
            if let Some(bytes) = column.written() {
                map.put(key, |w| put_bytes(w, bytes));
            }
        }
        for (key, table) in (FIRST_TABLE..).zip(self.tables.all()) {
            if !table.is_empty() {
                map.put(key, |w| put_bytes(w, table));
            }
        }
        if !self.verbatim.is_empty() {
            map.put(VERBATIM, |w| {
                w.array(self.verbatim.len() as u64).ok();
                for (place, change) in &self.verbatim {
                    w.array(4).ok();
                    put_u64(w, *place);
                    put_bytes(w, &change.header);
                    put_bytes(w, &change.salt);
                    put_bytes(w, &change.payload);
                }
            });
        }
        map.finish(w);
    }

    /// How many of the bytes that [`Batch::put`] writes, counted from their end, are better left uncompressed.
    pub(super) fn random_bytes(&self) -> usize {
        if self.verbatim.is_empty() {
            self.tables.random()
        } else {
            0
        }
    }

    /// What each part weighs before compression, by name.
    pub(super) fn parts(&self) -> Vec<(&'static str, usize)> {
        const COLUMNS: [&str; 13] = [
            "wall time",
            "logical time",
            "boot",
            "monotonic time",
            "event time",
            "actor",
            "action",
            "kind",
            "record, by place",
            "correlation",
            "named fields",
            "version shown",
            "named ids, by place",
        ];
        const TABLES: [&str; 8] = [
            "replicas",
            "boots",
            "actors",
            "payloads",
            "record ids",
            "named ids of others",
            "change ids",
            "salts",
        ];
        let columns = COLUMNS.into_iter().zip(self.columns.all());
        let columns = columns.map(|(name, column)| (name, column.written().map_or(0, <[u8]>::len)));
        let tables = TABLES.into_iter().zip(self.tables.all().map(Vec::len));
        let verbatim = self.verbatim.iter().map(|(_, change)| change.bytes()).sum();
        columns.chain(tables).chain([("not packed", verbatim)]).collect()
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Batch, CborError> {
        let mut batch = Batch::default();
        r.map(|key, r| {
            match key {
                COUNT => batch.count = r.u64()?,
                VERBATIM => {
                    batch.verbatim = r.array(VERBATIM_MAX, "changes", |r| {
                        r.exact_array(4, "change")?;
                        let place = r.u64()?;
                        let header = r.bytes()?.to_vec();
                        Ok((
                            place,
                            Change {
                                header,
                                salt: r.fixed("salt")?,
                                payload: r.bytes()?.to_vec(),
                            },
                        ))
                    })?;
                }
                FIRST_COLUMN.. => {
                    let place = |first: u64| key.checked_sub(first).and_then(|place| usize::try_from(place).ok());
                    let mut columns = batch.columns.all_mut();
                    let mut tables = batch.tables.all_mut();
                    if let Some(column) = place(FIRST_COLUMN).and_then(|place| columns.get_mut(place)) {
                        **column = Column::read(r.bytes()?);
                    } else if let Some(table) = place(FIRST_TABLE).and_then(|place| tables.get_mut(place)) {
                        **table = r.bytes()?.to_vec();
                    } else {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        })?;
        Ok(batch)
    }
}
