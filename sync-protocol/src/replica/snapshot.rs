//! Taking a snapshot: its chunks are rows of the feed in the feed's own order, so each row that is taken moves the cursor.
//! Whatever cuts it off, it goes on where the cursor stands, by the same snapshot, by another, or by the feed. Nothing is taken
//! before the hub's view of this replica's chain was compared with its own, and no base is taken back.
//!
//! A row that changed after its chunk was made has moved behind the snapshot's end, and comes with the feed.

use super::pull::{Applied, apply_row};
use super::{Comparison, ReplicaError, ReplicaLedger, compare};
use crate::proof::ProofKey;
use crate::vector;
use crate::wire::{Chunk, Page, Row, SnapshotReply, Told};

/// What became of a part of a chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChunkOutcome {
    /// `is_whole`: nothing is left of the chunk.
    Applied {
        applied: Applied,
        is_whole: bool,
    },
    /// The chunk does not follow the cursor.
    OtherCursor,
    NotApplied(Comparison),
}

/// Applies at most so many rows of a chunk that was read by its manifest. The hub's view of the chain is the one that came with
/// the manifest: it may be older than what the hub acknowledged since, never of another chain.
pub fn take_chunk<L: ReplicaLedger>(
    ledger: &mut L,
    key: &ProofKey,
    reply: &SnapshotReply,
    chunk: &Chunk,
    rows_max: usize,
) -> Result<ChunkOutcome, ReplicaError<L::Error>> {
    let head = ledger.head()?;
    if head.returning.is_some() {
        return Ok(ChunkOutcome::NotApplied(Comparison::Stale));
    }
    match compare(ledger, &head, reply.epoch, reply.replica, reply.accepted, reply.hash)? {
        Comparison::Same | Comparison::HubWentBack { .. } => {}
        other @ (Comparison::Stale | Comparison::Lost(_)) => return Ok(ChunkOutcome::NotApplied(other)),
    }
    let cursors = ledger.cursors()?;
    let of_lane = cursors
        .into_iter()
        .find(|c| c.scope == chunk.scope && c.lane == chunk.lane);
    let follows = |sequence| chunk.from <= sequence && sequence < chunk.to;
    let Some(mut cursor) = of_lane.filter(|c| c.generation == chunk.generation && follows(c.sequence)) else {
        return Ok(ChunkOutcome::OtherCursor);
    };
    let page = page_of(reply, chunk);
    let mut applied = Applied::default();
    let mut rows = chunk
        .rows
        .iter()
        .filter(|row| row.sequence > cursor.sequence)
        .peekable();
    let mut last = cursor.sequence;
    for row in rows.by_ref().take(rows_max.max(1)) {
        if !is_older(ledger, row)? {
            apply_row(ledger, key, &page, row, &mut applied)?;
        }
        last = row.sequence;
    }
    let is_whole = rows.peek().is_none();
    cursor.sequence = if is_whole { chunk.to } else { last };
    ledger.set_cursor(&cursor)?;
    Ok(ChunkOutcome::Applied { applied, is_whole })
}

/// The page that the chunk stands for, as far as a row needs one.
fn page_of(reply: &SnapshotReply, chunk: &Chunk) -> Page {
    Page {
        epoch: reply.epoch,
        replica: reply.replica,
        accepted: reply.accepted,
        hash: reply.hash,
        scope: chunk.scope,
        lane: chunk.lane,
        generation: chunk.generation,
        from: chunk.from,
        to: chunk.to,
        head: chunk.to,
        rows: Vec::new(),
        root: None,
        sealed: None,
    }
}

/// Whether the base here has what the row lacks. Its newer row is behind the snapshot's end.
fn is_older<L: ReplicaLedger>(ledger: &mut L, row: &Row) -> Result<bool, ReplicaError<L::Error>> {
    let vector = match &row.told {
        Told::State { state, .. } => &state.vector,
        Told::Gone { vector, .. } => vector,
    };
    if ledger.place(row.record())?.is_none() {
        return Ok(false);
    }
    let base = ledger.base(row.record())?;
    Ok(base.is_some_and(|base| match base.vector.compare(vector) {
        vector::Comparison::Same | vector::Comparison::Before => false,
        vector::Comparison::After | vector::Comparison::Concurrent => true,
    }))
}
