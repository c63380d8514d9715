//! What replicas push: verified, kept, applied or set apart. A run that does not continue the chain counts for nothing.

use std::collections::BTreeSet;

use super::clock;
use super::feed::publish;
use super::returns;
use super::{ChainHead, HubError, HubLedger, KeptChange, Rulebook, Standing, acknowledge, chain_of, hash_at, reason};
use crate::cbor::CborError;
use crate::change::{Change, Header, Payload};
use crate::ids::{ChangeId, Dot, Hash, RecordId, ReplicaId, ScopeId};
use crate::signed::Ack;
use crate::state::{RecordState, STATE_HELD_MAX_BYTES, STATE_MAX_BYTES};
use crate::time::BootClock;
use crate::wire::{PushReply, PushRequest};

/// A push's answer, and the records it touched.
#[derive(Debug)]
pub struct Pushed {
    pub reply: PushReply,
    pub touched: Vec<RecordId>,
}

/// Takes a run of changes from a replica of the site whose scope is `site`. A run that does not continue the chain the
/// hub holds, or whose hashes do not add up, counts for nothing: the reply tells the chain's end, and the replica sees
/// from it whether to send again or to be reborn.
pub fn handle_push<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    request: &PushRequest,
) -> Result<Pushed, HubError<L::Error>> {
    let epoch = ledger.epoch()?;
    if request.epoch != epoch {
        return Err(HubError::OtherEpoch);
    }
    let shown = shown_acks(ledger, rulebook, &request.acks)?;
    let mut head = chain_of(ledger, request.replica, site)?;
    if let Some(clock) = &request.clock {
        clock::note_boot(ledger, clock)?;
    }
    let own_ack = shown.iter().find(|ack| ack.replica == request.replica);
    if head.counter == 0
        && let Some(ack) = own_ack
    {
        head.epoch = ack.epoch;
    }
    let acks = renewed(ledger, rulebook, site, &shown, request.replica)?;
    let mut pushed = Pushed {
        reply: PushReply {
            epoch,
            replica: request.replica,
            accepted: head.counter,
            hash: head.hash,
            quarantined: Vec::new(),
            sealed: None,
            acks,
        },
        touched: Vec::new(),
    };
    let may_go_on = head.epoch == epoch || own_ack.is_some_and(|ack| is_within(request, ack));
    if may_go_on && request.after <= head.counter && chain_adds_up(request) {
        take_run(ledger, rulebook, site, request, &mut head, &mut pushed)?;
    }
    if let Some(ack) = own_ack.filter(|ack| head.epoch != epoch && ack.counter < head.counter) {
        // A copy of the replica may have gone on further; what was asked about ends here.
        head.counter = ack.counter;
        head.hash = hash_at(ledger, request.replica, ack.counter)?.unwrap_or(head.hash);
    }
    let ack = acknowledge(ledger, &rulebook.seal, request.replica, &head)?;
    pushed.reply.accepted = ack.counter;
    pushed.reply.hash = ack.hash;
    pushed.reply.sealed = Some(ack.sealed());
    pushed.touched.sort();
    pushed.touched.dedup();
    Ok(pushed)
}

/// Whether a run stays within what was acknowledged under the hub's signature.
fn is_within(request: &PushRequest, ack: &Ack) -> bool {
    let end = request.after.saturating_add(request.changes.len() as u64);
    end < ack.counter || end == ack.counter && request.last == ack.hash
}

/// The acknowledgements that are this hub's own. One that says more than the hub holds proves that it has gone back.
pub(super) fn shown_acks<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    acks: &[Ack],
) -> Result<Vec<Ack>, HubError<L::Error>> {
    let mut shown = Vec::new();
    for ack in acks.iter().filter(|ack| ack.is_signed_by(&rulebook.seal)) {
        if shows_gone_back(ledger, ack)? {
            return Err(HubError::GoneBack);
        }
        shown.push(*ack);
    }
    Ok(shown)
}

/// What was acknowledged in an earlier epoch may be missing, and that is known; of this epoch nothing may be.
pub(super) fn shows_gone_back<L: HubLedger>(ledger: &mut L, ack: &Ack) -> Result<bool, HubError<L::Error>> {
    if ack.epoch == ledger.epoch()? {
        return Ok(hash_at(ledger, ack.replica, ack.counter)? != Some(ack.hash));
    }
    Ok(ledger.epochs()?.iter().all(|epoch| epoch.epoch != ack.epoch))
}

/// The word, as it is now, for the site's other incarnations of which it was shown an older one.
fn renewed<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    shown: &[Ack],
    but: ReplicaId,
) -> Result<Vec<Ack>, HubError<L::Error>> {
    let mut acks = Vec::new();
    for ack in shown.iter().filter(|ack| ack.replica != but) {
        if let Some(head) = ledger.chain(ack.replica)?.filter(|head| head.scope == site)
            && hash_at(ledger, ack.replica, ack.counter)? == Some(ack.hash)
        {
            acks.push(acknowledge(ledger, &rulebook.seal, ack.replica, &head)?);
        }
    }
    Ok(acks)
}

fn take_run<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    site: ScopeId,
    request: &PushRequest,
    head: &mut ChainHead,
    pushed: &mut Pushed,
) -> Result<(), HubError<L::Error>> {
    if hash_at(ledger, request.replica, request.after)? != Some(request.previous) {
        return Ok(());
    }

    // Only what was numbered in an earlier epoch can be in a returned state.
    let is_old = head.epoch != ledger.epoch()?;
    let mut hash = request.previous;
    for (counter, change) in (request.after + 1..).zip(&request.changes) {
        hash = change.link(hash);
        if counter <= head.counter {
            if hash_at(ledger, request.replica, counter)? != Some(hash) {
                return Ok(());
            }
            // The reply that told of it may have been lost.
            let reason = set_apart(ledger, change)?;
            pushed.reply.quarantined.extend(reason.map(|reason| (counter, reason)));
            continue;
        }
        let dot = Dot {
            replica: request.replica,
            counter,
        };
        if is_old {
            returns::give_way(ledger, rulebook, dot, change)?;
        }
        let from = (site, request.clock.as_ref());
        let standing = accept(ledger, rulebook, from, dot, change, hash, &mut pushed.touched)?;
        let reason = match standing {
            Standing::Quarantined(reason) => Some(reason),
            Standing::Alias => set_apart(ledger, change)?,
            Standing::Applied => None,
        };
        pushed.reply.quarantined.extend(reason.map(|reason| (counter, reason)));
        head.counter = counter;
        head.hash = hash;
    }
    ledger.set_chain(request.replica, head)?;
    Ok(())
}

/// Why a change that the hub holds could not be used, if it could not.
fn set_apart<L: HubLedger>(ledger: &mut L, change: &Change) -> Result<Option<u16>, HubError<L::Error>> {
    let header = match change.parse_header() {
        Ok(header) => header,
        Err(error) => return Ok(Some(unreadable(&error))),
    };
    Ok(ledger.find(header.change)?.and_then(|kept| match kept.standing {
        Standing::Quarantined(reason) => Some(reason),
        Standing::Applied | Standing::Alias => None,
    }))
}

fn unreadable(error: &CborError) -> u16 {
    match error {
        CborError::TooLarge { .. } => reason::TOO_LARGE,
        CborError::Malformed(_) | CborError::Missing { .. } | CborError::Form { .. } | CborError::Trailing => {
            reason::UNREADABLE
        }
    }
}

fn chain_adds_up(request: &PushRequest) -> bool {
    request
        .changes
        .iter()
        .fold(request.previous, |hash, change| change.link(hash))
        == request.last
}

/// Keeps one new change of a verified chain, whatever it holds: applied, under another name, or set apart.
fn accept<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    (site, now): (ScopeId, Option<&BootClock>),
    dot: Dot,
    change: &Change,
    hash: Hash,
    touched: &mut Vec<RecordId>,
) -> Result<Standing, HubError<L::Error>> {
    let kept = |header: Option<Header>, standing| KeptChange {
        dot,
        header,
        change: change.clone(),
        hash,
        standing,
    };
    let header = match change.parse_header() {
        Ok(header) => header,
        Err(error) => {
            let standing = Standing::Quarantined(unreadable(&error));
            ledger.keep(kept(None, standing))?;
            return Ok(standing);
        }
    };
    let known = ledger.find(header.change)?;
    let before = ledger.state(header.record)?;
    let mut state = as_it_was(before.as_deref(), &header);
    let mut applied = None;
    let mut standing = match &known {
        _ if header.dot != dot => Standing::Quarantined(reason::WRONG_DOT),
        Some(first) if !same_content(first, &header, change) => Standing::Quarantined(reason::ID_REUSED),
        Some(first) => {
            state
                .vector
                .add_alias(dot, header.change, matches!(first.standing, Standing::Quarantined(_)));
            Standing::Alias
        }
        None if state.kind != header.kind => Standing::Quarantined(reason::OTHER_KIND),
        None => match change.parse_payload() {
            Err(_) => Standing::Quarantined(reason::UNREADABLE),
            Ok(payload) => match ledger.adopted(header.change)? {
                Some((known, _)) => {
                    apply_names(ledger, &mut state, &header, &payload)?;
                    match known == dot {
                        true => state.vector.add(dot),
                        false => state.vector.add_alias(dot, header.change, false),
                    }
                    Standing::Applied
                }
                None => match apply_new(
                    ledger,
                    rulebook,
                    now,
                    before.as_deref(),
                    &mut state,
                    (&header, &payload),
                )? {
                    Ok(bytes) => {
                        applied = Some(bytes);
                        Standing::Applied
                    }
                    Err(reason) => Standing::Quarantined(reason),
                },
            },
        },
    };
    if let Standing::Quarantined(_) = standing {
        state.vector.add_exception(dot);
    }
    let canonical = match applied {
        Some(bytes) => Some(bytes),
        // What is only counted takes room too: where there is none, the record stays as it is.
        None => state.bytes_after(before.as_deref(), STATE_HELD_MAX_BYTES),
    };
    if canonical.is_none() {
        standing = Standing::Quarantined(reason::RECORD_FULL);
    }
    let record = header.record;
    ledger.keep(kept(Some(header), standing))?;
    let Some(canonical) = canonical else {
        return Ok(standing);
    };
    touched.push(record);
    publish(ledger, rulebook, before.as_deref(), (state, canonical), Some(site))?;
    Ok(standing)
}

/// The record that a change is about, before it.
fn as_it_was(before: Option<&RecordState>, header: &Header) -> RecordState {
    before
        .cloned()
        .unwrap_or_else(|| RecordState::new(header.kind, header.record))
}

/// Applies a change that is new here, if it can be used and the record has room for it, and answers the record's canonical
/// bytes; else leaves the record as it was, and answers why.
fn apply_new<L: HubLedger>(
    ledger: &mut L,
    rulebook: &Rulebook<'_>,
    now: Option<&BootClock>,
    before: Option<&RecordState>,
    state: &mut RecordState,
    (header, payload): (&Header, &Payload),
) -> Result<Result<Vec<u8>, u16>, HubError<L::Error>> {
    if let Err(reason) = (rulebook.admit)(header, payload) {
        return Ok(Err(reason));
    }
    apply(ledger, state, header, payload)?;
    clock::correct(ledger, state, header, now)?;
    if let Some(bytes) = state.bytes_after(before, STATE_MAX_BYTES) {
        return Ok(Ok(bytes));
    }
    *state = as_it_was(before, header);
    Ok(Err(reason::RECORD_FULL))
}

/// A change keeps its id through a rebirth; only its dot, and the dots it was shown, are others.
fn same_content(first: &KeptChange, header: &Header, change: &Change) -> bool {
    first.change.payload_digest() == change.payload_digest()
        && first.header.as_ref().is_some_and(|known| {
            let renamed = Header {
                dot: header.dot,
                saw: header.saw.clone(),
                ..known.clone()
            };
            renamed == *header
        })
}

/// Gives a change its effect on the record.
pub(super) fn apply<L: HubLedger>(
    ledger: &mut L,
    state: &mut RecordState,
    header: &Header,
    payload: &Payload,
) -> Result<(), HubError<L::Error>> {
    let (header, applied) = with_followed(ledger, header, payload)?;
    state.apply(&header, payload, |id| applied.contains(id));
    Ok(())
}

/// What a change wrote is known from a returned state: what it named is done away with here too, and nothing is added.
fn apply_names<L: HubLedger>(
    ledger: &mut L,
    state: &mut RecordState,
    header: &Header,
    payload: &Payload,
) -> Result<(), HubError<L::Error>> {
    let (header, applied) = with_followed(ledger, header, payload)?;
    state.apply_names(&header, payload, |id| applied.contains(id));
    Ok(())
}

/// Named ids that are not live in the state have either been applied and gone, or have yet to come. Where one is a change of
/// the writer's own that could not be used, the writer saw it in place of what it named: that is named as well. Answers the
/// header with all names, and which of them were applied.
fn with_followed<L: HubLedger>(
    ledger: &mut L,
    header: &Header,
    payload: &Payload,
) -> Result<(Header, BTreeSet<ChangeId>), HubError<L::Error>> {
    let mut header = header.clone();
    let mut applied = BTreeSet::new();
    for names in &mut header.names {
        let is_register = payload.fields.iter().any(|write| write.field == names.field);
        let mut next = 0;
        while let Some(id) = names.ids.get(next).copied() {
            next += 1;
            let Some(kept) = ledger.find(id)? else {
                if ledger.adopted(id)?.is_some() {
                    applied.insert(id);
                }
                continue;
            };
            match (kept.standing, kept.header) {
                (Standing::Applied, _) => {
                    applied.insert(id);
                }
                (Standing::Quarantined(_), Some(unused)) if is_register => {
                    let more = unused.named(names.field).iter().filter(|id| !names.ids.contains(id));
                    let more: Vec<ChangeId> = more.copied().collect();
                    names.ids.extend(more);
                }
                (Standing::Quarantined(_) | Standing::Alias, _) => {}
            }
        }
    }
    Ok((header, applied))
}
