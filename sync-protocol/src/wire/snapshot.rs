//! Snapshot: the rows of a lane in chunks that are named by their digest, for a site that is new or far behind. The hub signs
//! the manifest that lists them, and says beside it how it sees the asker's chain; a chunk belongs to nobody, so one serves
//! every site that asks for the lane. A chunk that is not what the manifest says is refused whole.

use super::page::{ROWS_MAX, put_row, put_signatures, read_row, read_signatures};
use super::pull::{put_cursor, read_cursor};
use super::{Cursor, Row, WireError, frame, missing, open, read_lane};
use crate::cbor::{self, CborError, MapWriter, Reader, Unknown};
use crate::change::{put_bytes, put_u64, sha256};
use crate::ids::{EpochId, Hash, Lane, ReplicaId, ScopeId};
use crate::signed::{Signature, snapshot_said};

/// Chunks of one snapshot. With some hundred KiB of rows in each, two gigabytes.
pub const CHUNKS_MAX: usize = 4_096;

/// Asks for a snapshot of what follows a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotRequest {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub cursor: Cursor,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotReply {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub accepted: u64,
    pub hash: Hash,
    /// Absent while it is being made: the feed goes on meanwhile.
    pub manifest: Option<SignedManifest>,
}

/// A manifest as the hub signed it, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedManifest {
    pub bytes: Vec<u8>,
    pub signature: Signature,
}

impl SignedManifest {
    /// What was signed.
    pub fn said(&self) -> Vec<u8> {
        snapshot_said(&self.bytes)
    }
}

/// Of what a snapshot consists, in the order of the feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    pub epoch: EpochId,
    pub scope: ScopeId,
    pub lane: Lane,
    pub generation: u64,
    /// It begins after this sequence.
    pub from: u64,
    pub chunks: Vec<ChunkNote>,
}

/// What the manifest says of one chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkNote {
    pub digest: Hash,
    /// As it travels.
    pub bytes: u64,
    pub rows: u64,
    /// Its last sequence.
    pub to: u64,
}

/// Rows of one lane in the order of the feed: everything after `from` up to `to`, as it stood when the chunk was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    pub scope: ScopeId,
    pub lane: Lane,
    pub generation: u64,
    pub from: u64,
    pub to: u64,
    pub rows: Vec<Row>,
}

/// By what a chunk is named: the digest of what travels.
pub fn digest_of_chunk(bytes: &[u8]) -> Hash {
    sha256(&[bytes])
}

impl Manifest {
    /// The sequence from which the feed goes on.
    pub fn to(&self) -> u64 {
        self.chunks.last().map_or(self.from, |chunk| chunk.to)
    }

    pub fn rows(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.rows).sum()
    }

    /// Rows of the chunks that end at or before a sequence.
    pub fn rows_until(&self, sequence: u64) -> u64 {
        let done = self.chunks.iter().take_while(|chunk| chunk.to <= sequence);
        done.map(|chunk| chunk.rows).sum()
    }

    /// The chunk that holds what follows a sequence, and where it begins.
    pub fn after(&self, sequence: u64) -> Option<(u64, &ChunkNote)> {
        let begins = std::iter::once(self.from).chain(self.chunks.iter().map(|chunk| chunk.to));
        begins.zip(&self.chunks).find(|(_, chunk)| chunk.to > sequence)
    }

    /// Whether the bytes are the chunk that is noted as beginning at a sequence; if so, the chunk.
    pub fn read(&self, from: u64, note: &ChunkNote, bytes: &[u8]) -> Option<Chunk> {
        if digest_of_chunk(bytes) != note.digest {
            return None;
        }
        let chunk = Chunk::decode(bytes).ok()?;
        let is_of_lane = (chunk.scope, chunk.lane, chunk.generation) == (self.scope, self.lane, self.generation);
        let is_noted = (chunk.from, chunk.to, chunk.rows.len() as u64) == (from, note.to, note.rows);
        let ascends = chunk.rows.iter().map(|row| row.sequence).is_sorted_by(|a, b| a < b);
        let first = chunk.rows.first().is_none_or(|row| row.sequence > from);
        let last = chunk.rows.last().is_none_or(|row| row.sequence <= note.to);
        (is_of_lane && is_noted && ascends && first && last).then_some(chunk)
    }

    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(|w| {
            let mut map = MapWriter::new(&Unknown::default());
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.scope.0));
            map.put(3, |w| put_u64(w, self.lane as u64));
            map.put(4, |w| put_u64(w, self.generation));
            map.put(5, |w| put_u64(w, self.from));
            map.put(6, |w| {
                w.array(self.chunks.len() as u64).ok();
                for chunk in &self.chunks {
                    w.array(4).ok();
                    put_bytes(w, &chunk.digest.0);
                    put_u64(w, chunk.bytes);
                    put_u64(w, chunk.rows);
                    put_u64(w, chunk.to);
                }
            });
            map.finish(w);
        })
    }

    pub fn decode(bytes: &[u8]) -> Result<Manifest, CborError> {
        let (mut epoch, mut scope, mut lane, mut generation, mut from) = Default::default();
        let mut chunks: Option<Vec<ChunkNote>> = None;
        cbor::parse(bytes, |r| {
            r.map(|key, r| {
                match key {
                    1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                    2 => scope = Some(ScopeId(r.fixed("scope")?)),
                    3 => lane = Some(read_lane(r)?),
                    4 => generation = Some(r.u64()?),
                    5 => from = Some(r.u64()?),
                    6 => chunks = Some(r.array(CHUNKS_MAX, "chunks", read_note)?),
                    _ => return Ok(false),
                }
                Ok(true)
            })
        })?;
        let manifest = Manifest {
            epoch: epoch.ok_or(missing("epoch"))?,
            scope: scope.ok_or(missing("scope"))?,
            lane: lane.ok_or(missing("lane"))?,
            generation: generation.ok_or(missing("generation"))?,
            from: from.ok_or(missing("from"))?,
            chunks: chunks.ok_or(missing("chunks"))?,
        };
        let ends = std::iter::once(manifest.from).chain(manifest.chunks.iter().map(|chunk| chunk.to));
        if !ends.is_sorted_by(|a, b| a < b) {
            return Err(CborError::Form { what: "chunks" });
        }
        Ok(manifest)
    }
}

fn read_note(r: &mut Reader<'_>) -> Result<ChunkNote, CborError> {
    r.exact_array(4, "chunk")?;
    Ok(ChunkNote {
        digest: Hash(r.fixed("digest")?),
        bytes: r.u64()?,
        // So that no sum of them overflows.
        rows: u64::from(r.u32()?),
        to: r.u64()?,
    })
}

impl SnapshotRequest {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_cursor(w, &self.cursor));
        })
    }

    pub fn decode(body: &[u8]) -> Result<SnapshotRequest, WireError> {
        let (mut epoch, mut replica, mut cursor) = Default::default();
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => cursor = Some(read_cursor(r)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(SnapshotRequest {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            cursor: cursor.ok_or(missing("cursor"))?,
        })
    }
}

impl SnapshotReply {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_u64(w, self.accepted));
            map.put(4, |w| put_bytes(w, &self.hash.0));
            if let Some(manifest) = &self.manifest {
                map.put(5, |w| put_bytes(w, &manifest.bytes));
                map.put(6, |w| put_bytes(w, &manifest.signature.0));
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<SnapshotReply, WireError> {
        let (mut epoch, mut replica, mut accepted, mut hash) = Default::default();
        let (mut bytes, mut signature) = (None, None);
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => accepted = Some(r.u64()?),
                4 => hash = Some(Hash(r.fixed("hash")?)),
                5 => bytes = Some(r.bytes()?.to_vec()),
                6 => signature = Some(Signature(r.fixed("signature")?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let manifest = match bytes {
            Some(bytes) => Some(SignedManifest {
                bytes,
                signature: signature.ok_or(missing("signature"))?,
            }),
            None => None,
        };
        Ok(SnapshotReply {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            accepted: accepted.ok_or(missing("counter"))?,
            hash: hash.ok_or(missing("hash"))?,
            manifest,
        })
    }
}

impl Chunk {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.scope.0));
            map.put(2, |w| put_u64(w, self.lane as u64));
            map.put(3, |w| put_u64(w, self.generation));
            map.put(4, |w| put_u64(w, self.from));
            map.put(5, |w| put_u64(w, self.to));
            map.put(6, |w| {
                w.array(self.rows.len() as u64).ok();
                self.rows.iter().for_each(|row| put_row(w, row));
            });
            if self.rows.iter().any(|row| row.signature.is_some()) {
                map.put(7, |w| put_signatures(w, &self.rows));
            }
        })
    }

    pub fn decode(bytes: &[u8]) -> Result<Chunk, WireError> {
        let (mut scope, mut lane, mut generation, mut from, mut to) = Default::default();
        let (mut rows, mut signatures) = (None, Vec::new());
        open(bytes, |key, r| {
            match key {
                1 => scope = Some(ScopeId(r.fixed("scope")?)),
                2 => lane = Some(read_lane(r)?),
                3 => generation = Some(r.u64()?),
                4 => from = Some(r.u64()?),
                5 => to = Some(r.u64()?),
                6 => rows = Some(r.array(ROWS_MAX, "rows", read_row)?),
                7 => signatures = read_signatures(r)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let mut rows: Vec<Row> = rows.ok_or(missing("rows"))?;
        for (row, signature) in rows.iter_mut().zip(signatures) {
            row.signature = signature;
        }
        Ok(Chunk {
            scope: scope.ok_or(missing("scope"))?,
            lane: lane.ok_or(missing("lane"))?,
            generation: generation.ok_or(missing("generation"))?,
            from: from.ok_or(missing("from"))?,
            to: to.ok_or(missing("to"))?,
            rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{KindId, RecordId};
    use crate::state::RecordState;
    use crate::wire::Told;

    const SCOPE: ScopeId = ScopeId([3; 16]);

    fn chunk(from: u64, sequences: &[u64]) -> Chunk {
        let row = |sequence: &u64| Row {
            sequence: *sequence,
            told: Told::State {
                state: RecordState::new(KindId(1), RecordId([*sequence as u8; 16])),
                offered: false,
            },
            bytes: 0,
            signature: Some(Signature([*sequence as u8; 64])),
        };
        Chunk {
            scope: SCOPE,
            lane: Lane::Flow,
            generation: 4,
            from,
            to: sequences.last().copied().unwrap_or(from),
            rows: sequences.iter().map(row).collect(),
        }
    }

    fn note(chunk: &Chunk) -> ChunkNote {
        let bytes = chunk.encode();
        ChunkNote {
            digest: digest_of_chunk(&bytes),
            bytes: bytes.len() as u64,
            rows: chunk.rows.len() as u64,
            to: chunk.to,
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            epoch: EpochId([1; 16]),
            scope: SCOPE,
            lane: Lane::Flow,
            generation: 4,
            from: 5,
            chunks: vec![note(&chunk(5, &[7, 9])), note(&chunk(9, &[11, 12, 20]))],
        }
    }

    #[test]
    fn a_manifest_and_a_chunk_come_back_as_they_were() {
        let reply = SnapshotReply {
            epoch: EpochId([1; 16]),
            replica: ReplicaId([2; 16]),
            accepted: 7,
            hash: Hash([8; 32]),
            manifest: Some(SignedManifest {
                bytes: manifest().encode(),
                signature: Signature([9; 64]),
            }),
        };
        let (chunk, bytes) = (chunk(5, &[7, 9]), chunk(5, &[7, 9]).encode());

        assert_eq!(SnapshotReply::decode(&reply.encode()), Ok(reply));
        assert_eq!(Manifest::decode(&manifest().encode()), Ok(manifest()));
        let read = manifest().read(5, &manifest().chunks[0], &bytes).unwrap();
        let signatures = |chunk: &Chunk| chunk.rows.iter().map(|row| row.signature).collect::<Vec<_>>();
        assert_eq!((read.to, signatures(&read)), (9, signatures(&chunk)));
    }

    #[test]
    fn a_snapshot_goes_on_at_the_chunk_that_holds_what_follows() {
        let manifest = manifest();

        assert_eq!((manifest.to(), manifest.rows()), (20, 5));
        assert_eq!(manifest.after(5), Some((5, &manifest.chunks[0])));
        assert_eq!(manifest.after(8), Some((5, &manifest.chunks[0])));
        assert_eq!(manifest.after(9), Some((9, &manifest.chunks[1])));
        assert_eq!((manifest.after(20), manifest.rows_until(9)), (None, 2));
    }

    #[test]
    fn a_chunk_that_is_not_what_the_manifest_says_is_refused() {
        let manifest = manifest();
        let first = &manifest.chunks[0];
        let mut altered = chunk(5, &[7, 9]).encode();
        altered[9] ^= 1;

        assert_eq!(manifest.read(5, first, &altered), None);
        assert_eq!(manifest.read(5, first, &chunk(5, &[7, 8]).encode()), None);
        assert_eq!(manifest.read(6, first, &chunk(5, &[7, 9]).encode()), None);
        // Digests that fit do not make up for rows that do not.
        for other in [chunk(5, &[9, 7]), chunk(5, &[5, 9]), chunk(5, &[7, 10, 9])] {
            let other = Chunk { to: 9, ..other };
            assert_eq!(manifest.read(5, &note(&other), &other.encode()), None, "{other:?}");
        }
    }

    #[test]
    fn a_manifest_whose_chunks_do_not_follow_each_other_is_refused() {
        let mut manifest = manifest();
        manifest.chunks.swap(0, 1);

        assert!(Manifest::decode(&manifest.encode()).is_err());
    }
}
