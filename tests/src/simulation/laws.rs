//! The join laws, on states that a run really made: for chosen prefixes of every replica's chain, the state built from
//! those changes alone; any two of them must join to the state of both.

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::hub::{KeptChange, Standing};
use sync_protocol::{ChangeId, KindId, RecordId, RecordState, ReplicaId};

use super::trace::{Checked, Invariant, hold};
use super::world::World;

/// How far each replica's chain is in a state, and which of its quarantined changes have been released in it.
type Cut = BTreeMap<ReplicaId, (usize, BTreeSet<ChangeId>)>;

impl World {
    pub(crate) fn check_join_laws(&mut self) -> Checked<()> {
        let busiest = self
            .hub
            .store
            .applied
            .iter()
            .max_by_key(|(record, applied)| (applied.len(), **record));
        let Some(record) = busiest.map(|(record, _)| *record) else {
            return Ok(());
        };
        let chains = self.chains_on(record);
        let Some(kind) = chains
            .values()
            .flatten()
            .find_map(|kept| kept.header.as_ref())
            .map(|h| h.kind)
        else {
            return Ok(());
        };
        for _ in 0..3 {
            let (one, two, three) = (self.cut(&chains), self.cut(&chains), self.cut(&chains));
            self.tally.checked(Invariant::JoinLaws);
            check_laws(kind, record, &chains, &[one, two, three])?;
        }
        Ok(())
    }

    /// The kept changes on a record, by replica, in order. A change without a readable header never happens here.
    fn chains_on(&self, record: RecordId) -> BTreeMap<ReplicaId, Vec<KeptChange>> {
        let mut chains: BTreeMap<ReplicaId, Vec<KeptChange>> = BTreeMap::new();
        for kept in self.hub.store.kept.values() {
            if kept.header.as_ref().is_some_and(|header| header.record == record) {
                chains.entry(kept.dot.replica).or_default().push((**kept).clone());
            }
        }
        chains
    }

    /// A random cut in which no alias comes before what it is an alias of.
    fn cut(&mut self, chains: &BTreeMap<ReplicaId, Vec<KeptChange>>) -> Cut {
        let mut cut = Cut::new();
        for (replica, chain) in chains {
            let length = self.rng.index(chain.len() + 1);
            let released = chain
                .iter()
                .filter(|_| self.rng.per_mille(500))
                .filter_map(change_of)
                .collect();
            cut.insert(*replica, (length, released));
        }
        loop {
            let firsts: BTreeSet<_> = within(chains, &cut)
                .filter(|kept| kept.standing != Standing::Alias)
                .filter_map(change_of)
                .collect();
            let orphan = within(chains, &cut).find(|kept| {
                kept.standing == Standing::Alias && change_of(kept).is_none_or(|id| !firsts.contains(&id))
            });
            let Some(orphan) = orphan.map(|kept| kept.dot) else {
                return cut;
            };
            if let Some((length, _)) = cut.get_mut(&orphan.replica) {
                let chain = chains.get(&orphan.replica).map_or(&[][..], Vec::as_slice);
                *length = chain.iter().take_while(|kept| kept.dot != orphan).count();
            }
        }
    }
}

fn change_of(kept: &KeptChange) -> Option<ChangeId> {
    kept.header.as_ref().map(|header| header.change)
}

fn within<'a>(chains: &'a BTreeMap<ReplicaId, Vec<KeptChange>>, cut: &'a Cut) -> impl Iterator<Item = &'a KeptChange> {
    chains
        .iter()
        .flat_map(|(replica, chain)| chain.iter().take(cut.get(replica).map_or(0, |(length, _)| *length)))
}

/// Builds the state of a cut by applying its changes, replica after replica: the order must not matter.
fn build(
    kind: KindId,
    record: RecordId,
    chains: &BTreeMap<ReplicaId, Vec<KeptChange>>,
    cut: &Cut,
) -> (RecordState, BTreeSet<ChangeId>) {
    let mut state = RecordState::new(kind, record);
    let mut applied = BTreeSet::new();
    let released = |id: &ChangeId| cut.values().any(|(_, released)| released.contains(id));
    // A change that the run quarantined at any time may be quarantined in a cut: it is one when its standing says so, or
    // when the cut was drawn before its release. Its dot is an exception there.
    for kept in within(chains, cut).filter(|kept| kept.standing != Standing::Alias) {
        let Some(header) = &kept.header else { continue };
        let quarantined = matches!(kept.standing, Standing::Quarantined(_))
            || kept
                .change
                .parse_payload()
                .is_ok_and(|payload| super::records::admit(0, &payload).is_err());
        match kept.change.parse_payload() {
            Ok(payload) if !quarantined || released(&header.change) => {
                state.apply(header, &payload, |id| applied.contains(id));
                applied.insert(header.change);
            }
            Ok(_) | Err(_) => state.vector.add_exception(kept.dot),
        }
    }
    for kept in within(chains, cut).filter(|kept| kept.standing == Standing::Alias) {
        if let Some(id) = change_of(kept) {
            state.vector.add_alias(kept.dot, id, !applied.contains(&id));
        }
    }
    (state, applied)
}

fn both(one: &Cut, two: &Cut) -> Cut {
    let mut union = one.clone();
    for (replica, (length, released)) in two {
        let (longest, all) = union.entry(*replica).or_default();
        *longest = (*longest).max(*length);
        all.extend(released);
    }
    union
}

fn check_laws(
    kind: KindId,
    record: RecordId,
    chains: &BTreeMap<ReplicaId, Vec<KeptChange>>,
    cuts: &[Cut; 3],
) -> Checked<()> {
    // A release counts where its change is in the cut: what is not there cannot have been released there.
    let cuts = cuts.clone().map(|mut cut| {
        let there: BTreeSet<_> = within(chains, &cut).filter_map(change_of).collect();
        cut.values_mut()
            .for_each(|(_, released)| released.retain(|id| there.contains(id)));
        cut
    });
    let built = cuts.each_ref().map(|cut| build(kind, record, chains, cut));
    let join = |one: &RecordState, two: &RecordState, applied: &BTreeSet<ChangeId>| {
        let mut joined = one.clone();
        joined.join(two, |id| applied.contains(id));
        joined
    };
    let law = |name: &str, holds: bool| hold(Invariant::JoinLaws, holds, || format!("{record:?}: {name}"));

    let [(one, in_one), (two, in_two), (three, in_three)] = &built;
    let in_both: BTreeSet<_> = in_one.union(in_two).copied().collect();
    let in_all: BTreeSet<_> = in_both.union(in_three).copied().collect();
    let joined = join(one, two, &in_both);
    let (of_both, _) = build(kind, record, chains, &both(&cuts[0], &cuts[1]));
    law(
        "the join of two states is not the state of both",
        joined.to_bytes() == of_both.to_bytes(),
    )?;
    law("join is not commutative", joined == join(two, one, &in_both))?;
    law(
        "join is not idempotent",
        join(&joined, two, &in_both) == joined && join(one, one, in_one) == *one,
    )?;
    let right = join(two, three, &in_two.union(in_three).copied().collect());
    law(
        "join is not associative",
        join(&joined, three, &in_all) == join(one, &right, &in_all),
    )
}
