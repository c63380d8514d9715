//! What replicas push: verified, kept, applied or set apart. A run that does not continue the chain counts for nothing.

use std::collections::BTreeSet;

use super::feed::publish;
use super::{HubError, HubLedger, KeptChange, Rulebook, Standing, chain_of, hash_at, reason};
use crate::cbor::CborError;
use crate::change::{Change, Header, Payload};
use crate::ids::{ChangeId, Dot, Hash, RecordId, ScopeId};
use crate::state::RecordState;
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
    let mut head = chain_of(ledger, request.replica, site)?;
    let mut pushed = Pushed {
        reply: PushReply {
            epoch,
            replica: request.replica,
            accepted: head.counter,
            hash: head.hash,
            quarantined: Vec::new(),
        },
        touched: Vec::new(),
    };
    if request.after > head.counter || !chain_adds_up(request) {
        return Ok(pushed);
    }
    if hash_at(ledger, request.replica, request.after)? != Some(request.previous) {
        return Ok(pushed);
    }

    let mut hash = request.previous;
    for (counter, change) in (request.after + 1..).zip(&request.changes) {
        hash = change.link(hash);
        if counter <= head.counter {
            if hash_at(ledger, request.replica, counter)? != Some(hash) {
                return Ok(pushed);
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
        let standing = accept(ledger, rulebook, site, dot, change, hash, &mut pushed.touched)?;
        let reason = match standing {
            Standing::Quarantined(reason) => Some(reason),
            Standing::Alias => set_apart(ledger, change)?,
            Standing::Applied => None,
        };
        pushed.reply.quarantined.extend(reason.map(|reason| (counter, reason)));
        head.counter = counter;
        head.hash = hash;
    }
    ledger.set_chain(request.replica, &head)?;
    pushed.reply.accepted = head.counter;
    pushed.reply.hash = head.hash;
    pushed.touched.sort();
    pushed.touched.dedup();
    Ok(pushed)
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
    site: ScopeId,
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
            ledger.keep(&kept(None, standing))?;
            return Ok(standing);
        }
    };
    let known = ledger.find(header.change)?;
    let before = ledger.state(header.record)?;
    let mut state = before
        .clone()
        .unwrap_or_else(|| RecordState::new(header.kind, header.record));
    let standing = match &known {
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
            Ok(payload) => match (rulebook.admit)(&header, &payload) {
                Err(reason) => Standing::Quarantined(reason),
                Ok(()) => {
                    apply(ledger, &mut state, &header, &payload)?;
                    Standing::Applied
                }
            },
        },
    };
    if let Standing::Quarantined(_) = standing {
        state.vector.add_exception(dot);
    }
    touched.push(header.record);
    ledger.keep(&kept(Some(header), standing))?;
    publish(ledger, rulebook, before.as_ref(), &state, Some(site))?;
    Ok(standing)
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

/// Named ids that are not live in the state have either been applied and gone, or have yet to come. Where one is a change of
/// the writer's own that could not be used, the writer saw it in place of what it named: that is named as well.
pub(super) fn apply<L: HubLedger>(
    ledger: &mut L,
    state: &mut RecordState,
    header: &Header,
    payload: &Payload,
) -> Result<(), HubError<L::Error>> {
    let mut header = header.clone();
    let mut applied = BTreeSet::new();
    for names in &mut header.names {
        let is_register = payload.fields.iter().any(|write| write.field == names.field);
        let mut next = 0;
        while let Some(id) = names.ids.get(next).copied() {
            next += 1;
            let Some(kept) = ledger.find(id)? else { continue };
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
    state.apply(&header, payload, |id| applied.contains(id));
    Ok(())
}
