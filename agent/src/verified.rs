//! What the store remembers for the operator: when site and hub were last proven to hold the same facts, lane by lane,
//! and every identity taken.

use sync_protocol::replica::Lost;
use sync_protocol::{Hash, Lane, ScopeId};

use crate::store::{ReadTx, TxError, WriteTx};

/// The last comparison of roots in one lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    pub hub: Hash,
    pub equal: bool,
    pub at_ms: i64,
}

fn name(scope: ScopeId, lane: Lane) -> String {
    format!("verified_{scope}_{}", lane as u8)
}

/// The word for a lane.
pub fn lane_word(lane: Lane) -> &'static str {
    match lane {
        Lane::Safety => "safety",
        Lane::Flow => "flow",
        Lane::Schedule => "schedule",
        Lane::Reference => "reference",
    }
}

pub fn note(
    tx: &mut WriteTx<'_>,
    (scope, lane): (ScopeId, Lane),
    hub: Hash,
    equal: bool,
    at_ms: i64,
) -> Result<(), TxError> {
    let mut bytes = hub.0.to_vec();
    bytes.push(u8::from(equal));
    bytes.extend_from_slice(&at_ms.to_be_bytes());
    tx.set_meta(&name(scope, lane), &bytes)
}

pub fn of(tx: &ReadTx<'_>, scope: ScopeId, lane: Lane) -> Result<Option<Verified>, TxError> {
    let Some(bytes) = tx.meta(&name(scope, lane))? else {
        return Ok(None);
    };
    let hub = bytes.get(..32).and_then(|b| b.try_into().ok()).map(Hash);
    let at_ms = bytes.get(33..).and_then(|b| b.try_into().ok()).map(i64::from_be_bytes);
    match (hub, bytes.get(32), at_ms) {
        (Some(hub), Some(equal), Some(at_ms)) => Ok(Some(Verified {
            hub,
            equal: *equal == 1,
            at_ms,
        })),
        _ => Err(TxError::Damaged {
            what: "the last proof of agreement",
        }),
    }
}

/// An identity that was taken, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rebirth {
    pub at_ms: i64,
    pub lost: Lost,
}

const REBIRTHS: &str = "rebirths";
const REBIRTH_BYTES: usize = 8 + 1 + 8 + 8;
/// The oldest go first.
const REBIRTHS_MAX: usize = 100;

pub fn note_rebirth(tx: &mut WriteTx<'_>, at_ms: i64, lost: Lost) -> Result<(), TxError> {
    let mut bytes = tx.meta(REBIRTHS)?.unwrap_or_default();
    let (tag, counter, hub) = match lost {
        Lost::Fork { counter } => (0, counter, counter),
        Lost::Regression { counter, hub } => (1, counter, hub),
    };
    bytes.extend_from_slice(&at_ms.to_be_bytes());
    bytes.push(tag);
    bytes.extend_from_slice(&counter.to_be_bytes());
    bytes.extend_from_slice(&hub.to_be_bytes());
    let surplus = bytes.len().saturating_sub(REBIRTHS_MAX * REBIRTH_BYTES);
    tx.set_meta(REBIRTHS, &bytes[surplus..])
}

pub fn rebirths(tx: &ReadTx<'_>) -> Result<Vec<Rebirth>, TxError> {
    let bytes = tx.meta(REBIRTHS)?.unwrap_or_default();
    let number = |chunk: &[u8], from: usize| {
        chunk
            .get(from..from + 8)
            .and_then(|b| b.try_into().ok())
            .map(u64::from_be_bytes)
            .unwrap_or_default()
    };
    let read = |chunk: &[u8]| Rebirth {
        at_ms: number(chunk, 0).cast_signed(),
        lost: match chunk[8] {
            0 => Lost::Fork {
                counter: number(chunk, 9),
            },
            _ => Lost::Regression {
                counter: number(chunk, 9),
                hub: number(chunk, 17),
            },
        },
    };
    Ok(bytes.chunks_exact(REBIRTH_BYTES).map(read).collect())
}
