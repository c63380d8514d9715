//! Answering pulls: pages of states after the puller's cursors, with the hub's view of its chain from the same snapshot.

use std::collections::{BTreeMap, BTreeSet};

use super::{HubError, HubLedger, acknowledge, chain_of};
use crate::ids::{Lane, ScopeId};
use crate::proof;
use crate::signed::{Ack, Seal};
use crate::wire::{Cursor, Page, PullRequest};

/// Answers a pull from one snapshot: a page for every lane that has something, higher lanes first, within the asked
/// budgets. A lane at its head gets an empty page with its root, so that every completed pull is a proof. `shared` are the
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
    let mut asked = Vec::new();
    for cursor in cursors {
        if cursor.scope != site && !shared.contains(&cursor.scope) {
            return Err(HubError::ForeignScope);
        }
        let (last, generation) = ledger.feed_head(cursor.scope, cursor.lane)?;
        asked.push(Asked {
            cursor,
            last,
            generation,
        });
    }
    let waiting = asked
        .iter()
        .filter(|asked| asked.has_more())
        .map(|asked| asked.cursor.lane);
    let mut budgets = Budgets::of(request, waiting.collect());
    let mut pages = Vec::new();
    for asked in asked {
        let left = budgets.left_of(asked.cursor.lane);
        if left == 0 && asked.has_more() {
            continue;
        }
        let page = page_after(ledger, &ack, &asked, left)?;
        budgets.take(page.rows.iter().map(|row| row.bytes).sum());
        pages.push(page);
    }
    Ok(pages)
}

/// A cursor, and where the feed ends.
struct Asked {
    cursor: Cursor,
    last: u64,
    generation: u64,
}

impl Asked {
    fn has_more(&self) -> bool {
        self.last > self.cursor.sequence || self.generation != self.cursor.generation
    }
}

/// What is left to be sent, as the lanes are gone through, the highest first. What a lane leaves of it goes to the next.
struct Budgets {
    own: BTreeMap<Lane, u64>,
    left: u64,
}

impl Budgets {
    fn of(request: &PullRequest, waiting: BTreeSet<Lane>) -> Budgets {
        let mut own = request.budgets.clone();
        own.retain(|lane, _| waiting.contains(lane));
        let reserved = own.values().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
        if reserved > request.bytes_max {
            // More than is to be sent at all: each has its share of it.
            let share = |bytes: u64| u128::from(bytes) * u128::from(request.bytes_max) / u128::from(reserved);
            own.values_mut()
                .for_each(|bytes| *bytes = u64::try_from(share(*bytes)).unwrap_or(*bytes));
        }
        Budgets {
            own,
            left: request.bytes_max.saturating_sub(reserved),
        }
    }

    fn left_of(&mut self, lane: Lane) -> u64 {
        self.left = self.left.saturating_add(self.own.remove(&lane).unwrap_or_default());
        self.left
    }

    fn take(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }
}

fn page_after<L: HubLedger>(
    ledger: &mut L,
    ack: &Ack,
    asked: &Asked,
    bytes_max: u64,
) -> Result<Page, HubError<L::Error>> {
    let Asked {
        cursor,
        last,
        generation,
    } = *asked;
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
