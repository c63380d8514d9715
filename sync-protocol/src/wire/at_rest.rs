//! What a pull is answered when nothing is new: one digest of all that a page for each lane would say. Whoever asks makes the
//! same digest of its own; where the two are equal the pages would have changed nothing, and proven every lane.

use super::{Page, PullRequest};
use crate::change::sha256;
use crate::ids::{EpochId, Hash, Lane, ReplicaId, ScopeId};
use crate::signed::Ack;

/// A lane at its head: the cursor there, and the root.
pub(crate) struct LaneAtRest {
    pub(crate) scope: ScopeId,
    pub(crate) lane: Lane,
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    pub(crate) root: Hash,
}

/// How far a chain is held, and every lane, in order of lane, then scope.
pub(crate) fn digest_at_rest(ack: &Ack, lanes: &[LaneAtRest]) -> Hash {
    let (EpochId(epoch), ReplicaId(replica)) = (ack.epoch, ack.replica);
    let mut said = [b"mainstay at rest 1".as_slice(), &epoch, &replica].concat();
    said.extend_from_slice(&ack.counter.to_be_bytes());
    said.extend_from_slice(&ack.hash.0);
    said.extend_from_slice(&ack.stable.to_be_bytes());
    for lane in lanes {
        said.extend_from_slice(&lane.scope.0);
        said.push(lane.lane as u8);
        said.extend_from_slice(&lane.generation.to_be_bytes());
        said.extend_from_slice(&lane.sequence.to_be_bytes());
        said.extend_from_slice(&lane.root.0);
    }
    sha256(&[&said])
}

impl PullRequest {
    /// The digest that stands for these pages, if the puller takes one and each page leaves its cursor where it is, at the
    /// head. `None` where the pages are to be sent.
    pub fn digest_of(&self, pages: &[Page]) -> Option<Hash> {
        if !self.takes_digest || pages.len() != self.cursors.len() {
            return None;
        }
        let ack = pages.first()?.ack()?;
        let lane = |page: &Page| {
            let cursor = self
                .cursors
                .iter()
                .find(|cursor| cursor.scope == page.scope && cursor.lane == page.lane)?;
            let stays = page.rows.is_empty()
                && page.generation == cursor.generation
                && page.from == cursor.sequence
                && page.to == page.from
                && page.head == page.to;
            Some(LaneAtRest {
                scope: page.scope,
                lane: page.lane,
                generation: page.generation,
                sequence: page.to,
                root: page.root.filter(|_| stays)?,
            })
        };
        let lanes: Vec<LaneAtRest> = pages.iter().map(lane).collect::<Option<_>>()?;
        Some(digest_at_rest(&ack, &lanes))
    }
}
