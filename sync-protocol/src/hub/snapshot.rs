//! The hub's end of a snapshot: who may have one, and the chunks that it is made of. A chunk is read in a transaction of its
//! own, in the order of the feed; a row that moves before its chunk is made moves behind the snapshot's end, where the feed
//! tells it. So no transaction has to last as long as a large site, and nothing is left out.

use super::{ChainHead, HubError, HubLedger, chain_of};
use crate::ids::{Lane, ScopeId};
use crate::wire::{BODY_MAX_BYTES, Chunk, SignedManifest, SnapshotReply, SnapshotRequest};

/// What a snapshot covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotOf {
    pub scope: ScopeId,
    pub lane: Lane,
    pub generation: u64,
    /// The head of the lane when it was begun.
    pub to: u64,
}

/// A chunk and its bytes as they travel, by which it is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packed {
    pub chunk: Chunk,
    pub bytes: Vec<u8>,
}

/// Whether the asker may have the lane's snapshot, and its chain as the hub has it. `shared` are the scopes that a replica of
/// the site may pull beside the site's own.
pub fn admit_snapshot<L: HubLedger>(
    ledger: &mut L,
    site: ScopeId,
    shared: &[ScopeId],
    request: &SnapshotRequest,
) -> Result<ChainHead, HubError<L::Error>> {
    if request.epoch != ledger.epoch()? {
        return Err(HubError::OtherEpoch);
    }
    let cursor = request.cursor;
    if cursor.scope != site && !shared.contains(&cursor.scope) {
        return Err(HubError::ForeignScope);
    }
    let (last, generation) = ledger.feed_head(cursor.scope, cursor.lane)?;
    if generation == cursor.generation && cursor.sequence > last {
        return Err(HubError::GoneBack);
    }
    chain_of(ledger, request.replica, site)
}

/// The answer; `head` must be read after the last chunk was made, so that no chunk knows of a change that it does not.
pub fn answer_snapshot(request: &SnapshotRequest, head: &ChainHead, manifest: Option<SignedManifest>) -> SnapshotReply {
    SnapshotReply {
        epoch: request.epoch,
        replica: request.replica,
        accepted: head.counter,
        hash: head.hash,
        manifest,
    }
}

/// The chunk that follows a sequence, packed so that a body can hold it. None when nothing up to the snapshot's end is
/// left, or when the scope was rebuilt: then the snapshot is void.
pub fn next_chunk<L: HubLedger>(
    ledger: &mut L,
    of: &SnapshotOf,
    after: u64,
    bytes_max: u64,
) -> Result<Option<Packed>, HubError<L::Error>> {
    let (_, generation) = ledger.feed_head(of.scope, of.lane)?;
    if generation != of.generation {
        return Ok(None);
    }
    let mut rows = ledger.rows_after(of.scope, of.lane, after, bytes_max)?;
    rows.retain(|row| row.sequence <= of.to);
    while let Some(last) = rows.last() {
        let chunk = Chunk {
            scope: of.scope,
            lane: of.lane,
            generation,
            from: after,
            to: last.sequence,
            rows,
        };
        let bytes = chunk.encode();
        if bytes.len() <= BODY_MAX_BYTES || chunk.rows.len() == 1 {
            return Ok(Some(Packed { chunk, bytes }));
        }
        rows = chunk.rows;
        rows.truncate(rows.len() / 2);
    }
    Ok(None)
}
