//! States that agents return after the store has gone back: signed by this hub in an earlier life, and joined to what it
//! holds. Nothing is removed on a guess: a value goes where a name says so, or where the same dots cannot have meant
//! anything else in that life; otherwise it stays, as a sibling.

use std::collections::{BTreeMap, BTreeSet};

use super::feed::{enter, publish};
use super::push::{apply, shown_acks};
use super::{Cause, HubError, HubLedger, Rulebook, Standing, chain_of, hash_at};
use crate::change::{Change, sha256};
use crate::ids::{ChangeId, Dot, FieldId, RecordId, ReplicaId, ScopeId};
use crate::signed::state_said;
use crate::state::{Element, LiveValue, Origin, RecordState, STATE_HELD_MAX_BYTES};
use crate::wire::{ReturnReply, ReturnRequest, Returned};

/// The answer, and the records whose state or scopes have changed.
#[derive(Debug)]
pub struct TakenBack {
    pub reply: ReturnReply,
    pub touched: Vec<RecordId>,
}

/// The dots that meant in the life of a returned state what they mean here.
struct Trusted {
    /// What the hub wrote as in epochs that ended before anything was written after the restore: no dot was given twice.
    hub: BTreeSet<ReplicaId>,
    /// The agent compared its own chain with the hub's before it took these states.
    own: BTreeMap<ReplicaId, u64>,
}

/// Takes back states from a replica of the site. `shared` are the scopes that it may have them from beside the site's own.
pub fn handle_return<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    shared: &[ScopeId],
    request: &ReturnRequest,
) -> Result<TakenBack, HubError<L::Error>> {
    let epoch = ledger.epoch()?;
    if request.epoch != epoch {
        return Err(HubError::OtherEpoch);
    }
    chain_of(ledger, request.replica, site)?;
    let trusted = trusted(ledger, rulebook, site, request)?;
    let (mut refused, mut touched, mut upto) = (0, Vec::new(), RecordId::NIL);
    for returned in &request.states {
        upto = upto.max(returned.record);
        let foreign = returned
            .scope
            .is_some_and(|scope| scope != site && !shared.contains(&scope));
        let signed = (rulebook.seal.verify)(&state_said(&returned.state), &returned.signature);
        match RecordState::parse(&returned.state) {
            Ok(state) if signed && !foreign && state.record == returned.record => {
                if take_back(ledger, rulebook, &trusted, returned, &state)? {
                    touched.push(state.record);
                } else {
                    refused += 1;
                }
            }
            Ok(_) | Err(_) => refused += 1,
        }
    }
    Ok(TakenBack {
        reply: ReturnReply {
            epoch,
            replica: request.replica,
            upto,
            refused,
        },
        touched,
    })
}

fn trusted<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    request: &ReturnRequest,
) -> Result<Trusted, HubError<L::Error>> {
    let epochs = ledger.epochs()?;
    // The epoch that follows says how one ended.
    let ends = epochs.iter().zip(epochs.iter().skip(1));
    let hub = ends
        .filter(|(_, next)| next.cause == Cause::Mark)
        .map(|(epoch, _)| epoch.hub_replica)
        .collect();
    let mut own = BTreeMap::new();
    for ack in shown_acks(ledger, rulebook, &request.acks)? {
        let is_here = chain_of(ledger, ack.replica, site)?.counter >= ack.counter;
        if is_here && hash_at(ledger, ack.replica, ack.counter)? == Some(ack.hash) {
            let upto = own.entry(ack.replica).or_insert(0);
            *upto = ack.counter.max(*upto);
        }
    }
    Ok(Trusted { hub, own })
}

impl Trusted {
    fn has<L: HubLedger>(&self, ledger: &mut L, dot: Dot) -> Result<bool, HubError<L::Error>> {
        if self.hub.contains(&dot.replica) || self.own.get(&dot.replica).is_some_and(|upto| dot.counter <= *upto) {
            return Ok(true);
        }
        let chain = ledger.chain(dot.replica)?;
        Ok(chain.is_some_and(|chain| dot.counter <= chain.common))
    }
}

/// Joins one state. False when the record is of another kind here, which no join can mend, or when the two together are more
/// than a record may hold.
fn take_back<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    trusted: &Trusted,
    returned: &Returned,
    theirs: &RecordState,
) -> Result<bool, HubError<L::Error>> {
    let before = ledger.state(theirs.record)?;
    let mut ours = before
        .as_deref()
        .cloned()
        .unwrap_or_else(|| RecordState::new(theirs.kind, theirs.record));
    if ours.kind != theirs.kind {
        return Ok(false);
    }
    let mut both = ours.union(theirs);
    remove_gone(ledger, trusted, &mut both, theirs)?;
    if !both.may_follow(before.as_deref(), STATE_HELD_MAX_BYTES) {
        return Ok(false);
    }
    let mut arriving = theirs.clone();
    release_known(ledger, &mut ours, theirs)?;
    let unknown = name_unknown(ledger, trusted, &mut ours, &mut arriving)?;
    remove_gone(ledger, trusted, &mut ours, theirs)?;
    add_unknown(&mut ours, &arriving, &unknown);
    await_names(ledger, &mut ours, theirs)?;
    ours.join_clocks(theirs);
    join_vectors(ledger, &mut ours, theirs)?;
    for (key, raw) in &theirs.unknown.0 {
        ours.unknown.0.entry(*key).or_insert_with(|| raw.clone());
    }
    if before.as_deref() != Some(&ours) {
        let canonical = ours.to_bytes();
        publish(ledger, rulebook, before.as_deref(), (ours, canonical), None)?;
    }
    if let Some(scope) = returned.scope {
        enter(ledger, rulebook, scope, theirs.record)?;
    }
    Ok(true)
}

/// The changes of which a state holds something, with the dots it knows them under.
fn contents(state: &RecordState) -> BTreeMap<ChangeId, Dot> {
    let values = state.registers.values().flat_map(|register| &register.values);
    let elements = state.elements.values().flatten();
    values
        .map(|(id, live)| (*id, live.origin.dot))
        .chain(elements.map(|(id, element)| (*id, element.origin.dot)))
        .collect()
}

/// A change that is set apart here and was used there counts as released.
fn release_known<L: HubLedger>(
    ledger: &mut L,
    ours: &mut RecordState,
    theirs: &RecordState,
) -> Result<(), HubError<L::Error>> {
    for id in contents(theirs).keys() {
        let Some(kept) = ledger.find(*id)? else { continue };
        let (Standing::Quarantined(_), Some(header)) = (kept.standing, &kept.header) else {
            continue;
        };
        if header.record == ours.record
            && let Ok(payload) = kept.change.parse_payload()
        {
            apply(ledger, ours, header, &payload)?;
            ledger.set_standing(kept.dot, Standing::Applied)?;
        }
    }
    Ok(())
}

/// Finds what is not known here, and under which dot it goes from now on; a dot that means another change here is replaced.
/// A known change under another dot has that one as an alias.
fn name_unknown<L: HubLedger>(
    ledger: &mut L,
    trusted: &Trusted,
    ours: &mut RecordState,
    arriving: &mut RecordState,
) -> Result<BTreeSet<ChangeId>, HubError<L::Error>> {
    let mut unknown = BTreeSet::new();
    // What is adopted below counts all before it, which may be in this same state.
    let joined = ours.vector.clone();
    for (id, dot) in contents(arriving) {
        let known = match ledger.find(id)? {
            Some(kept) => Some(kept.dot),
            None => ledger.adopted(id)?.map(|(dot, _)| dot),
        };
        if let Some(known) = known {
            if known != dot && ledger.id_at(dot)?.is_none_or(|there| there == id) {
                ours.vector.add_alias(dot, id, false);
            }
            continue;
        }
        // It was in a state that this one was joined with, under a dot that cannot mean anything else, and has gone there.
        if joined.contains(dot) && trusted.hub.contains(&dot.replica) && ledger.id_at(dot)?.is_none() {
            continue;
        }
        let taken = ledger.id_at(dot)?.is_some_and(|there| there != id);
        let dot = if taken { fresh_dot(id) } else { dot };
        if taken {
            rename(arriving, id, dot);
        }
        ledger.adopt(id, dot, arriving.record)?;
        ours.vector.add(dot);
        unknown.insert(id);
    }
    Ok(unknown)
}

/// A dot of the hub's for a change whose own dot names another: of a replica that has this one change only, so that it is
/// the same however often the change is returned.
fn fresh_dot(id: ChangeId) -> Dot {
    let digest = sha256(&[b"mainstay adopted 1", &id.0]);
    let mut replica = [0; 16];
    replica.copy_from_slice(&digest.0[..16]);
    Dot {
        replica: ReplicaId(replica),
        counter: 1,
    }
}

fn rename(state: &mut RecordState, id: ChangeId, dot: Dot) {
    let set = |origin: &mut Origin| origin.dot = dot;
    let registers = state.registers.values_mut();
    registers
        .filter_map(|register| register.values.get_mut(&id))
        .for_each(|live| set(&mut live.origin));
    let elements = state.elements.values_mut();
    elements
        .filter_map(|elements| elements.get_mut(&id))
        .for_each(|element| set(&mut element.origin));
}

/// Removes what was named away in the life of the returned state: by a name that still waits there, or by its vector for dots
/// that meant the same.
fn remove_gone<L: HubLedger>(
    ledger: &mut L,
    trusted: &Trusted,
    ours: &mut RecordState,
    theirs: &RecordState,
) -> Result<(), HubError<L::Error>> {
    let mut gone: Vec<(FieldId, ChangeId)> = Vec::new();
    for (field, register) in &ours.registers {
        let there = theirs.register(*field);
        for (id, live) in &register.values {
            if there.is_some_and(|there| there.values.contains_key(id)) {
                continue;
            }
            let named = there.is_some_and(|there| there.unseen.contains(id));
            if named || theirs.vector.contains(live.origin.dot) && trusted.has(ledger, live.origin.dot)? {
                gone.push((*field, *id));
            }
        }
    }
    for (field, id) in gone {
        if let Some(register) = ours.registers.get_mut(&field) {
            register.values.remove(&id);
        }
    }
    Ok(())
}

fn add_unknown(ours: &mut RecordState, arriving: &RecordState, unknown: &BTreeSet<ChangeId>) {
    for (field, register) in &arriving.registers {
        let mine = ours.registers.entry(*field).or_default();
        let news = register.values.iter().filter(|(id, _)| unknown.contains(id));
        for (id, live) in news {
            // Named here before it came: it is never shown.
            if !mine.unseen.contains(id) {
                mine.values.insert(*id, LiveValue::clone(live));
            }
        }
    }
    for (field, elements) in &arriving.elements {
        let mine = ours.elements.entry(*field).or_default();
        let news = elements.iter().filter(|(id, _)| unknown.contains(id));
        mine.extend(news.map(|(id, element)| (*id, Element::clone(element))));
    }
    for register in ours.registers.values_mut() {
        register.unseen.retain(|id| !unknown.contains(id));
    }
}

/// Names that still wait for their change there wait here as well, unless it is known here.
fn await_names<L: HubLedger>(
    ledger: &mut L,
    ours: &mut RecordState,
    theirs: &RecordState,
) -> Result<(), HubError<L::Error>> {
    for (field, register) in &theirs.registers {
        for id in &register.unseen {
            let applied = ledger
                .find(*id)?
                .map(|kept| kept.standing == Standing::Applied)
                .unwrap_or(ledger.adopted(*id)?.is_some());
            if !applied {
                ours.registers.entry(*field).or_default().unseen.insert(*id);
            }
        }
    }
    Ok(())
}

/// What is set apart here stays an exception, whatever the other state contains of it.
fn join_vectors<L: HubLedger>(
    ledger: &mut L,
    ours: &mut RecordState,
    theirs: &RecordState,
) -> Result<(), HubError<L::Error>> {
    let apart: Vec<Dot> = ours
        .vector
        .entries
        .iter()
        .flat_map(|(replica, entry)| {
            entry.except.iter().map(|counter| Dot {
                replica: *replica,
                counter: *counter,
            })
        })
        .collect();
    ours.vector.join(&theirs.vector);
    for dot in apart {
        let id = ledger.id_at(dot)?;
        let kept = match id {
            Some(id) => ledger.find(id)?,
            None => None,
        };
        if kept.is_some_and(|kept| matches!(kept.standing, Standing::Quarantined(_))) {
            ours.vector.add_exception(dot);
        }
    }
    let mut applied = BTreeSet::new();
    for id in ours.vector.aliases.values() {
        let kept = ledger.find(*id)?.is_some_and(|kept| kept.standing == Standing::Applied);
        if kept || ledger.adopted(*id)?.is_some() {
            applied.insert(*id);
        }
    }
    ours.count_aliases(|id| applied.contains(id));
    Ok(())
}

/// A dot that a chain brings belongs to that chain's change: what a returned state had under it goes under another.
pub(super) fn give_way<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    dot: Dot,
    to: &Change,
) -> Result<(), HubError<L::Error>> {
    let to = to.parse_header().ok().map(|header| header.change);
    let Some(id) = ledger.id_at(dot)?.filter(|there| Some(*there) != to) else {
        return Ok(());
    };
    let Some((_, record)) = ledger.adopted(id)? else {
        return Ok(());
    };
    let other = fresh_dot(id);
    ledger.adopt(id, other, record)?;
    if let Some(before) = ledger.state(record)? {
        let mut state = RecordState::clone(&before);
        rename(&mut state, id, other);
        state.vector.add(other);
        let canonical = state.to_bytes();
        publish(ledger, rulebook, Some(&before), (state, canonical), None)?;
    }
    Ok(())
}
