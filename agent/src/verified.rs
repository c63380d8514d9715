//! What the store remembers for the operator: when site and hub were last proven to hold the same facts, lane by lane, what was
//! found to differ, and every identity taken.

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

/// What was found to differ in a lane, and what was done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repair {
    pub at_ms: i64,
    pub scope: ScopeId,
    pub lane: Lane,
    /// Buckets here whose rows and whose sum had come apart.
    pub rotted: u64,
    /// Records that were set right from the hub's.
    pub mended: u64,
    /// Records that hold what the hub lacks, and were left as they are.
    pub ahead: u64,
}

const REPAIRS: &str = "repairs";
const REPAIR_BYTES: usize = 8 + 16 + 1 + 3 * 8;
/// The oldest go first.
const REPAIRS_MAX: usize = 50;

pub fn note_repair(tx: &mut WriteTx<'_>, repair: &Repair) -> Result<(), TxError> {
    let mut bytes = tx.meta(REPAIRS)?.unwrap_or_default();
    bytes.extend_from_slice(&repair.at_ms.to_be_bytes());
    bytes.extend_from_slice(&repair.scope.0);
    bytes.push(repair.lane as u8);
    for count in [repair.rotted, repair.mended, repair.ahead] {
        bytes.extend_from_slice(&count.to_be_bytes());
    }
    let surplus = bytes.len().saturating_sub(REPAIRS_MAX * REPAIR_BYTES);
    tx.set_meta(REPAIRS, &bytes[surplus..])
}

/// The oldest first.
pub fn repairs(tx: &ReadTx<'_>) -> Result<Vec<Repair>, TxError> {
    let bytes = tx.meta(REPAIRS)?.unwrap_or_default();
    let read = |chunk: &[u8; REPAIR_BYTES]| {
        let number = |from: usize| {
            chunk[from..from + 8]
                .iter()
                .fold(0, |n, byte| n << 8 | u64::from(*byte))
        };
        let mut scope = [0; 16];
        scope.copy_from_slice(&chunk[8..24]);
        Some(Repair {
            at_ms: number(0).cast_signed(),
            scope: ScopeId(scope),
            lane: Lane::from_number(chunk[24])?,
            rotted: number(25),
            mended: number(33),
            ahead: number(41),
        })
    };
    Ok(bytes.as_chunks().0.iter().filter_map(read).collect())
}

/// Why an identity was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    Lost(Lost),
    /// The hub's store was put back to an older copy and began a new life.
    NewEpoch,
    /// The store was found on another machine than it was written on.
    OtherMachine,
    /// The store's file is another one than was written.
    OtherFile,
    /// The store has less than the mark beside it.
    BehindMark,
}

impl Why {
    /// For the operator.
    pub fn words(self) -> &'static str {
        match self {
            Why::Lost(Lost::Fork { .. }) => "this store was copied, and the copy was used",
            Why::Lost(Lost::Regression { .. }) => "this store was restored from an older copy",
            Why::NewEpoch => "the hub's store was restored from an older copy",
            Why::OtherMachine => "this store was copied from another machine",
            Why::OtherFile => "this store's file was replaced by a copy",
            Why::BehindMark => "this store is older than the mark beside it: it was restored from a copy",
        }
    }

    fn number(self) -> u8 {
        match self {
            Why::Lost(Lost::Fork { .. }) => 0,
            Why::Lost(Lost::Regression { .. }) => 1,
            Why::NewEpoch => 2,
            Why::OtherMachine => 3,
            Why::OtherFile => 4,
            Why::BehindMark => 5,
        }
    }

    fn of(number: u8, counter: u64, hub: u64) -> Option<Why> {
        match number {
            0 => Some(Why::Lost(Lost::Fork { counter })),
            1 => Some(Why::Lost(Lost::Regression { counter, hub })),
            2 => Some(Why::NewEpoch),
            3 => Some(Why::OtherMachine),
            4 => Some(Why::OtherFile),
            5 => Some(Why::BehindMark),
            _ => None,
        }
    }
}

/// An identity that was taken, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rebirth {
    pub at_ms: i64,
    pub why: Why,
}

const REBIRTHS: &str = "rebirths";
const REBIRTH_BYTES: usize = 8 + 1 + 8 + 8;
/// The oldest go first.
const REBIRTHS_MAX: usize = 100;

pub fn note_rebirth(tx: &mut WriteTx<'_>, at_ms: i64, why: Why) -> Result<(), TxError> {
    let mut bytes = tx.meta(REBIRTHS)?.unwrap_or_default();
    let (counter, hub) = match why {
        Why::Lost(Lost::Fork { counter }) => (counter, counter),
        Why::Lost(Lost::Regression { counter, hub }) => (counter, hub),
        Why::NewEpoch | Why::OtherMachine | Why::OtherFile | Why::BehindMark => (0, 0),
    };
    bytes.extend_from_slice(&at_ms.to_be_bytes());
    bytes.push(why.number());
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
    let read = |chunk: &[u8]| {
        Some(Rebirth {
            at_ms: number(chunk, 0).cast_signed(),
            why: Why::of(chunk[8], number(chunk, 9), number(chunk, 17))?,
        })
    };
    Ok(bytes.chunks_exact(REBIRTH_BYTES).filter_map(read).collect())
}
