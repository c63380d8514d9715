//! Answering pulls: pages of states after the puller's cursors, with the hub's view of its chain from the same snapshot.

use super::{HubError, HubLedger, acknowledge, chain_of};
use crate::ids::ScopeId;
use crate::proof;
use crate::signed::{Ack, Seal};
use crate::wire::{Cursor, Page, PullRequest};

/// Answers a pull from one snapshot: a page for every lane that has something, higher lanes first, within the asked
/// budget. A lane at its head gets an empty page with its root, so that every completed pull is a proof. `shared` are the
/// scopes that a replica of the site may pull beside the site's own.
pub fn handle_pull<L: HubLedger>(
    ledger: &mut L,
    seal: &Seal<'_>,
    site: ScopeId,
    shared: &[ScopeId],
    request: &PullRequest,
) -> Result<Vec<Page>, HubError<L::Error>> {
    let epoch = ledger.epoch()?;
    if request.epoch != epoch {
        return Err(HubError::OtherEpoch);
    }
    let head = chain_of(ledger, request.replica, site)?;
    let ack = acknowledge(ledger, seal, request.replica, &head)?;
    let mut cursors = request.cursors.clone();
    cursors.sort_by_key(|cursor| (cursor.lane, cursor.scope));
    let mut left = request.bytes_max;
    let mut pages = Vec::new();
    for cursor in cursors {
        if cursor.scope != site && !shared.contains(&cursor.scope) {
            return Err(HubError::ForeignScope);
        }
        if left == 0 {
            break;
        }
        let page = page_after(ledger, &ack, &cursor, left)?;
        left = left.saturating_sub(page.rows.iter().map(|row| row.bytes).sum());
        pages.push(page);
    }
    Ok(pages)
}

fn page_after<L: HubLedger>(
    ledger: &mut L,
    ack: &Ack,
    cursor: &Cursor,
    bytes_max: u64,
) -> Result<Page, HubError<L::Error>> {
    let (last, generation) = ledger.feed_head(cursor.scope, cursor.lane)?;
    // A feed that was never begun has no generation either.
    if (generation == cursor.generation || generation == 0) && cursor.sequence > last {
        return Err(HubError::GoneBack);
    }
    let from = if generation == cursor.generation {
        cursor.sequence
    } else {
        0
    };
    let rows = ledger.rows_after(cursor.scope, cursor.lane, from, bytes_max)?;
    let to = rows.last().map_or(last.max(from), |row| row.sequence);
    let root = if to >= last {
        Some(proof::root(
            cursor.scope,
            cursor.lane,
            ledger.bucket_sums(cursor.scope, cursor.lane)?,
        ))
    } else {
        None
    };
    Ok(Page {
        epoch: ack.epoch,
        replica: ack.replica,
        accepted: ack.counter,
        hash: ack.hash,
        scope: cursor.scope,
        lane: cursor.lane,
        generation,
        from: cursor.sequence,
        to,
        head: last,
        rows,
        root,
        sealed: Some(ack.sealed()),
    })
}
