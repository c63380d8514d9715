//! Any bytes as what a snapshot consists of: question, answer, manifest, chunk; and a chunk that a manifest vouches for, taken by
//! an agent in parts, broken off and taken again. Whatever comes, nothing panics, nothing but what the manifest says is taken,
//! and the agent's sums are those of what it holds.

use std::collections::BTreeMap;

use sync_protocol::proof::{ProofKey, Sum, bucket_of};
use sync_protocol::replica::{ChunkOutcome, ReplicaLedger as _, take_chunk};
use sync_protocol::wire::{Chunk, ChunkNote, Cursor, Manifest, SnapshotReply, SnapshotRequest, digest_of_chunk};
use sync_protocol::{EpochId, Hash, Lane, ReplicaId, ScopeId};

use crate::first::messages::compress;
use crate::replica_ledger::Agent;

const SITE: ScopeId = ScopeId([0x51; 16]);
const EPOCH: EpochId = EpochId([0xe0; 16]);
const AGENT: ReplicaId = ReplicaId([0xa1; 16]);
/// A chunk has at most so many rows.
const PARTS_MAX: usize = 5_000;

/// The first byte says what the rest is: a body as it travels, or before it was compressed.
pub(crate) fn run(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let body = if choice & 0x80 == 0 {
        compress(rest)
    } else {
        rest.to_vec()
    };
    match choice & 7 {
        0 => manifest(rest),
        1 => {
            if let Ok(request) = SnapshotRequest::decode(&body) {
                assert_eq!(SnapshotRequest::decode(&request.encode()), Ok(request));
            }
        }
        2 => {
            if let Ok(reply) = SnapshotReply::decode(&body) {
                if let Some(signed) = &reply.manifest {
                    manifest(&signed.bytes);
                }
                assert_eq!(SnapshotReply::decode(&reply.encode()), Ok(reply));
            }
        }
        3 => {
            if let Ok(chunk) = Chunk::decode(&body) {
                assert_eq!(
                    Chunk::decode(&chunk.encode()).map(|again| again.encode()),
                    Ok(chunk.encode())
                );
            }
        }
        _ => take(&body, usize::from(choice >> 3 & 3) + 1),
    }
}

fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    assert!(manifest.to() >= manifest.from);
    let mut place = manifest.from;
    let mut chunks = 0;
    while let Some((from, note)) = manifest.after(place) {
        assert!(
            from == place && note.to > place,
            "a chunk does not follow the one before it"
        );
        assert_eq!(manifest.after(note.to - 1), Some((from, note)));
        place = note.to;
        chunks += 1;
    }
    assert_eq!((chunks, place), (manifest.chunks.len(), manifest.to()));
    assert_eq!(manifest.rows_until(place), manifest.rows());
    assert_eq!(manifest.rows_until(manifest.from), 0);
}

/// A manifest that vouches for these very bytes, whatever is in them.
fn take(body: &[u8], at_once: usize) {
    let Ok(said) = Chunk::decode(body) else { return };
    let note = ChunkNote {
        digest: digest_of_chunk(body),
        bytes: body.len() as u64,
        rows: said.rows.len() as u64,
        to: said.to,
    };
    let manifest = Manifest {
        epoch: EPOCH,
        scope: SITE,
        lane: said.lane,
        generation: said.generation,
        from: said.from,
        chunks: vec![note],
    };
    let Some(chunk) = manifest.read(said.from, &note, body) else {
        return;
    };
    assert!(
        chunk
            .rows
            .iter()
            .all(|row| (chunk.from + 1..=chunk.to).contains(&row.sequence))
    );
    let mut altered = body.to_vec();
    altered.push(0);
    assert_eq!(manifest.read(said.from, &note, &altered), None);

    let key = ProofKey::new(&[0x4b; 32]);
    let mut agent = Agent::new(AGENT, EPOCH, SITE);
    let begins = Cursor {
        scope: SITE,
        lane: chunk.lane,
        generation: chunk.generation,
        sequence: chunk.from,
    };
    let Ok(()) = agent.set_cursor(&begins);
    let reply = SnapshotReply {
        epoch: EPOCH,
        replica: AGENT,
        accepted: 0,
        hash: sync_protocol::change::genesis(AGENT),
        manifest: None,
    };
    for _ in 0..PARTS_MAX {
        let Ok(outcome) = take_chunk(&mut agent, &key, &reply, &chunk, at_once) else {
            return;
        };
        match outcome {
            ChunkOutcome::Applied { is_whole: false, .. } => {}
            // There is nothing to take of a chunk that ends where it begins.
            ChunkOutcome::Applied { is_whole: true, .. } | ChunkOutcome::OtherCursor => break,
            ChunkOutcome::NotApplied(why) => panic!("{why:?}"),
        }
    }
    let Ok(cursors) = agent.cursors();
    let ended = cursors.iter().find(|cursor| cursor.lane == chunk.lane);
    assert_eq!(ended.map(|cursor| cursor.sequence), Some(chunk.to.max(chunk.from)));
    let again = take_chunk(&mut agent, &key, &reply, &chunk, at_once);
    assert!(
        matches!(again, Ok(ChunkOutcome::OtherCursor)),
        "a chunk that is behind was taken"
    );
    let forked = SnapshotReply {
        hash: Hash([1; 32]),
        ..reply
    };
    assert!(matches!(
        take_chunk(&mut agent, &key, &forked, &chunk, 1),
        Ok(ChunkOutcome::NotApplied(_))
    ));
    sums_add_up(&agent, &key, chunk.lane);
}

fn sums_add_up(agent: &Agent, key: &ProofKey, lane: Lane) {
    let mut held = BTreeMap::<u8, Sum>::new();
    for base in agent
        .bases
        .values()
        .filter(|base| base.counted && base.place.lane == lane)
    {
        let sum = held.entry(bucket_of(base.state.record)).or_default();
        *sum = sum.plus(key.leaf(&base.state));
    }
    let kept = agent
        .sums
        .iter()
        .filter(|((_, of, _), sum)| *of == lane && **sum != Sum::default());
    let kept: BTreeMap<u8, Sum> = kept.map(|((.., bucket), sum)| (*bucket, *sum)).collect();
    held.retain(|_, sum| *sum != Sum::default());
    assert_eq!(kept, held);
}
