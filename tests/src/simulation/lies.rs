//! What wrong protocols say in an exchange. Every function here gives back what it was given unless the variant is its own.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sync_protocol::change::genesis;
use sync_protocol::hub::{HubLedger as _, Standing};
use sync_protocol::proof::{self, ProofKey, Sum, bucket_of};
use sync_protocol::replica::{self, PageOutcome, ReplicaError, ReplicaLedger as _};
use sync_protocol::wire::{Cursor, Page, PullRequest, PushReply, PushRequest};
use sync_protocol::{Dot, Hash, Lane, RecordId, ScopeId};

use super::agent_store::AgentStore;
use super::hub_store::HubStore;
use super::records;
use super::replica_store::StoreError;
use super::variant::Variant;
use super::world::{HubDisk, World};

/// `quarantine-that-blocks`: only what stands before the first change that can't be used.
pub(super) fn as_taken(hub: &HubDisk, mut request: PushRequest) -> PushRequest {
    if hub.store.variant != Some(Variant::QuarantineBlocks) {
        return request;
    }
    let usable = |payload| records::admit(hub.schema, &payload).is_ok();
    let blocks = request
        .changes
        .iter()
        .position(|change| change.parse_payload().map_or(true, |payload| !usable(payload)));
    request.changes.truncate(blocks.unwrap_or(usize::MAX));
    request.last = request
        .changes
        .iter()
        .fold(request.previous, |hash, change| change.link(hash));
    request
}

/// `duplicate-by-counter`: what has a counter that the hub has, it has.
pub(super) fn known_by_counter(store: &HubStore, request: &PushRequest) -> Option<PushReply> {
    if store.variant != Some(Variant::DuplicateByCounter) {
        return None;
    }
    let last = Dot {
        replica: request.replica,
        counter: request.after + request.changes.len() as u64,
    };
    let kept = store.kept.get(&last)?;
    Some(PushReply {
        epoch: request.epoch,
        replica: request.replica,
        accepted: kept.dot.counter,
        hash: request.last,
        quarantined: Vec::new(),
        sealed: None,
        acks: Vec::new(),
    })
}

/// What a wrong hub sets up before it takes a push.
pub(super) fn before_push(store: &mut HubStore, request: &PushRequest, drawn: BTreeMap<(ScopeId, Lane), Vec<u64>>) {
    store.drawn = drawn;
    if store.variant == Some(Variant::AliasAppliedAgain) {
        let ids = request.changes.iter().filter_map(|change| change.parse_header().ok());
        let known = |id: &sync_protocol::ChangeId| store.first_of(*id).map(|kept| (kept.dot, kept.standing));
        store.blind_to = ids
            .filter(|header| {
                known(&header.change).is_some_and(|(dot, standing)| dot != header.dot && standing == Standing::Applied)
            })
            .map(|header| header.change)
            .collect();
    }
}

pub(super) fn after_push(store: &mut HubStore) {
    store.drawn.clear();
    store.blind_to.clear();
}

/// The page as a wrong agent reads it.
pub(super) fn as_believed<'p>(store: &AgentStore, page: &'p Page) -> Cow<'p, Page> {
    let cursor = store
        .cursor_list()
        .iter()
        .find(|cursor| cursor.scope == page.scope && cursor.lane == page.lane);
    match (store.variant, cursor) {
        (Some(Variant::ChainNotCompared), _) if page.replica == store.head.replica => Cow::Owned(Page {
            accepted: store.head.accepted,
            hash: store.hash_at(store.head.accepted).unwrap_or(genesis(page.replica)),
            ..page.clone()
        }),
        (Some(Variant::PageOntoAnyCursor | Variant::OneSidedCheckpoint), Some(cursor)) => Cow::Owned(Page {
            from: cursor.sequence,
            generation: cursor.generation,
            ..page.clone()
        }),
        (Some(_) | None, _) => Cow::Borrowed(page),
    }
}

impl World {
    /// `one-sided-checkpoint`: the hub takes an agent to be as far as it ever was.
    pub(super) fn as_remembered(&mut self, request: &PullRequest) -> PullRequest {
        let mut request = request.clone();
        if self.variant == Some(Variant::OneSidedCheckpoint) {
            for Cursor {
                scope, lane, sequence, ..
            } in &mut request.cursors
            {
                let remembered = self.checkpoints.entry((request.replica, *scope, *lane)).or_default();
                *remembered = (*remembered).max(*sequence);
                *sequence = *remembered;
            }
        }
        request
    }
}

/// `purge-then-acknowledge`: what is agreed to is gone at once.
pub(super) fn purge_at_once(store: &mut AgentStore, key: &ProofKey, request: &PullRequest) {
    for willing in &request.willing {
        store.purge_now(key, willing.record);
    }
}

/// `drop-at-accepted`: what the hub has acknowledged is pending no more.
pub(super) fn drop_accepted(store: &mut AgentStore) -> Result<(), ReplicaError<StoreError>> {
    let head = store.head;
    let accepted: Vec<_> = store
        .unsettled()
        .filter(|own| own.header.dot.replica == head.replica && own.header.dot.counter <= head.accepted)
        .map(|own| (own.header.change, own.header.record))
        .collect();
    for (change, record) in accepted {
        store.settle(change)?;
        replica::show(store, record)?;
    }
    Ok(())
}

/// `pulls-applied-before-the-return`: what the agent is to return is hidden from the engine while it takes a page.
pub(super) fn hide_returning(store: &mut AgentStore) -> Option<RecordId> {
    if store.variant != Some(Variant::PulledBeforeReturn) {
        return None;
    }
    store.head.returning.take()
}

pub(super) fn show_returning(store: &mut AgentStore, hidden: Option<RecordId>) {
    if hidden.is_some() {
        store.head.returning = hidden;
    }
}

/// `root-across-lanes`: one root over everything of the scope.
pub(super) fn root_of_all_lanes(store: &mut HubStore, pages: &mut [Page]) -> Result<(), StoreError> {
    if store.variant == Some(Variant::RootAcrossLanes) {
        for page in pages.iter_mut().filter(|page| page.root.is_some()) {
            let mut sums = Vec::new();
            for lane in Lane::ALL {
                sums.extend(store.bucket_sums(page.scope, lane)?);
            }
            page.root = Some(one_root(page.scope, sums));
        }
    }
    Ok(())
}

pub(super) fn compare_all_lanes(
    store: &mut AgentStore,
    page: &Page,
    outcome: &mut PageOutcome,
) -> Result<(), StoreError> {
    if let (PageOutcome::Applied(applied), Some(Variant::RootAcrossLanes), Some(root)) =
        (outcome, store.variant, page.root)
    {
        let mut sums = Vec::new();
        for lane in Lane::ALL {
            sums.extend(store.bucket_sums(page.scope, lane)?);
        }
        applied.verified = Some(one_root(page.scope, sums) == root);
    }
    Ok(())
}

fn one_root(scope: ScopeId, sums: Vec<(u8, Sum)>) -> Hash {
    let mut all = BTreeMap::<u8, Sum>::new();
    for (bucket, sum) in sums {
        let total = all.entry(bucket).or_default();
        *total = total.plus(sum);
    }
    proof::root(scope, Lane::Safety, all)
}

impl super::replica_store::ReplicaStore {
    /// Takes a record out of everything but the chain, as an agent that does not wait for the hub would.
    fn purge_now(&mut self, key: &ProofKey, record: RecordId) {
        let Some((place, base)) = self.bases.get(&record).cloned() else {
            return;
        };
        let bucket = bucket_of(record);
        if !self.let_go.contains(&record) {
            self.add_to_bucket(place.scope, place.lane, bucket, Sum::default(), key.leaf(&base))
                .ok();
        }
        self.purge(record).ok();
    }
}
