//! Repair: which buckets, parts and records two ends hold differently, and the hub's rows of those that do. The reply's page
//! moves no cursor: it begins and ends at the one that was asked from.

use super::pull::{put_cursor, read_cursor};
use super::{Cursor, Page, WireError, frame, missing, open};
use crate::cbor::{CborError, Reader, Writer};
use crate::change::{put_bytes, put_u64};
use crate::ids::{EpochId, RecordId, ReplicaId};
use crate::proof::BUCKETS;
use crate::repair::{LISTED_MAX, PARTS, Part};

const WORD_BYTES: usize = 8;
const HELD_BYTES: usize = 16 + WORD_BYTES;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepairRequest {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    /// The lane, and how far this replica has it: later rows come with the feed.
    pub cursor: Cursor,
    pub bytes_max: u64,
    pub ask: RepairAsk,
}

/// What is held of a part: each record with the first word of its leaf.
pub type Listed = Vec<(RecordId, u64)>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RepairAsk {
    /// The first word of each of the 256 sums.
    Buckets(Vec<u64>),
    /// What is held of the parts that differ.
    Parts(Vec<(Part, Listed)>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepairReply {
    /// The hub's view of this replica's chain, the rows of what differs, and the root when the cursor is at the head.
    pub page: Page,
    /// Of the buckets that differ, the first words of the sums of their parts.
    pub parts: Vec<(u8, [u64; PARTS])>,
    /// Not all that differs fitted.
    pub more: bool,
}

fn put_words(w: &mut Writer, words: &[u64]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    put_bytes(w, &bytes);
}

fn read_words(r: &mut Reader<'_>, count: usize, what: &'static str) -> Result<Vec<u64>, CborError> {
    let (words, rest) = r.bytes()?.as_chunks::<WORD_BYTES>();
    if words.len() != count || !rest.is_empty() {
        return Err(CborError::Form { what });
    }
    Ok(words.iter().map(|word| u64::from_be_bytes(*word)).collect())
}

fn put_held(w: &mut Writer, held: &[(RecordId, u64)]) {
    let bytes: Vec<u8> = held
        .iter()
        .flat_map(|(record, word)| record.0.into_iter().chain(word.to_be_bytes()))
        .collect();
    put_bytes(w, &bytes);
}

fn read_held(r: &mut Reader<'_>) -> Result<Listed, CborError> {
    let form = CborError::Form { what: "records held" };
    let (entries, rest) = r.bytes()?.as_chunks::<HELD_BYTES>();
    if !rest.is_empty() {
        return Err(form);
    }
    let held = entries.iter().filter_map(|entry| {
        let (record, word) = entry.split_first_chunk::<16>()?;
        Some((RecordId(*record), u64::from_be_bytes(word.try_into().ok()?)))
    });
    Ok(held.collect())
}

impl RepairRequest {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_cursor(w, &self.cursor));
            map.put(4, |w| put_u64(w, self.bytes_max));
            match &self.ask {
                RepairAsk::Buckets(words) => map.put(5, |w| put_words(w, words)),
                RepairAsk::Parts(parts) => map.put(6, |w| {
                    w.array(parts.len() as u64).ok();
                    for (part, held) in parts {
                        w.array(2).ok();
                        put_u64(w, u64::from(part.number()));
                        put_held(w, held);
                    }
                }),
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<RepairRequest, WireError> {
        let (mut epoch, mut replica, mut cursor, mut bytes_max, mut ask) = Default::default();
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => cursor = Some(read_cursor(r)?),
                4 => bytes_max = Some(r.u64()?),
                5 => ask = Some(RepairAsk::Buckets(read_words(r, BUCKETS, "sums of buckets")?)),
                6 => ask = Some(RepairAsk::Parts(read_parts(r)?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(RepairRequest {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            cursor: cursor.ok_or(missing("cursor"))?,
            bytes_max: bytes_max.ok_or(missing("byte budget"))?,
            ask: ask.ok_or(missing("what to compare"))?,
        })
    }
}

fn read_parts(r: &mut Reader<'_>) -> Result<Vec<(Part, Listed)>, CborError> {
    let mut listed = 0;
    r.array(BUCKETS * PARTS, "parts", |r| {
        r.exact_array(2, "part")?;
        let part = Part::from_number(r.u16()?).ok_or(CborError::Form { what: "part" })?;
        let held = read_held(r)?;
        listed += held.len();
        // One part may be larger than what a question lists by itself.
        if listed > 2 * LISTED_MAX || held.iter().any(|(record, _)| Part::of(*record) != part) {
            return Err(CborError::Form { what: "records held" });
        }
        Ok((part, held))
    })
}

impl RepairReply {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| self.page.put(w));
            if !self.parts.is_empty() {
                map.put(2, |w| {
                    w.array(self.parts.len() as u64).ok();
                    for (bucket, words) in &self.parts {
                        w.array(2).ok();
                        put_u64(w, u64::from(*bucket));
                        put_words(w, words);
                    }
                });
            }
            if self.more {
                map.put(3, |w| {
                    w.bool(true).ok();
                });
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<RepairReply, WireError> {
        let (mut page, mut parts, mut more) = (None, Vec::new(), false);
        open(body, |key, r| {
            match key {
                1 => page = Some(Page::read(r)?),
                2 => {
                    parts = r.array(BUCKETS, "parts", |r| {
                        r.exact_array(2, "parts of a bucket")?;
                        let bucket = r.u8()?;
                        let words = read_words(r, PARTS, "sums of parts")?;
                        let words = words
                            .try_into()
                            .map_err(|_| CborError::Form { what: "sums of parts" })?;
                        Ok((bucket, words))
                    })?;
                }
                3 => more = r.bool()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(RepairReply {
            page: page.ok_or(missing("page"))?,
            parts,
            more,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Hash, Lane, ScopeId};

    fn request(ask: RepairAsk) -> RepairRequest {
        RepairRequest {
            epoch: EpochId([1; 16]),
            replica: ReplicaId([2; 16]),
            cursor: Cursor {
                scope: ScopeId([3; 16]),
                lane: Lane::Flow,
                generation: 4,
                sequence: 5,
            },
            bytes_max: 6,
            ask,
        }
    }

    #[test]
    fn questions_and_answers_come_back_as_they_were() {
        let record = RecordId([7; 16]);
        for ask in [
            RepairAsk::Buckets((0..256).collect()),
            RepairAsk::Parts(vec![
                (Part::of(record), vec![(record, 9)]),
                (Part::numbered(1, 2), vec![]),
            ]),
        ] {
            let sent = request(ask);
            assert_eq!(RepairRequest::decode(&sent.encode()), Ok(sent));
        }
        let reply = RepairReply {
            page: Page {
                epoch: EpochId([1; 16]),
                replica: ReplicaId([2; 16]),
                accepted: 3,
                hash: Hash([4; 32]),
                scope: ScopeId([3; 16]),
                lane: Lane::Flow,
                generation: 4,
                from: 5,
                to: 5,
                head: 8,
                rows: Vec::new(),
                root: None,
                sealed: None,
            },
            parts: vec![(9, [1; PARTS])],
            more: true,
        };
        assert_eq!(RepairReply::decode(&reply.encode()), Ok(reply));
    }

    #[test]
    fn sums_of_another_number_and_records_of_another_part_are_refused() {
        let few = request(RepairAsk::Buckets(vec![1, 2]));
        let foreign = request(RepairAsk::Parts(vec![(
            Part::numbered(1, 1),
            vec![(RecordId([7; 16]), 9)],
        )]));

        assert!(RepairRequest::decode(&few.encode()).is_err());
        assert!(RepairRequest::decode(&foreign.encode()).is_err());
    }
}
