//! What a read and a write are given: one snapshot to read from, one savepoint to write in. What can be asked of either
//! stands with its noun, in the files beside this one.

use std::collections::BTreeSet;
use std::ops::Deref;

use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::Connection;
use sync_protocol::ids::BootId;
use sync_protocol::replica::ReplicaHead;
use sync_protocol::{BootClock, KindId, RecordId};

use super::fault::TxError;
use crate::clock;

/// A consistent view of the store: nothing that commits meanwhile is seen.
pub struct ReadTx<'c> {
    pub(super) connection: &'c Connection,
}

/// One write, alone in its savepoint. It reads what it has itself written. An error undoes all of it and nothing else.
pub struct WriteTx<'c> {
    read: ReadTx<'c>,
    pub(super) life: &'c Life,
    pub(super) changed: Committed,
    /// The head as this write has it: it lives and goes with the savepoint.
    pub(super) head: Option<ReplicaHead>,
}

/// What listeners are told after a commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Committed {
    /// Kinds of which a record is shown differently now.
    pub kinds: BTreeSet<KindId>,
    pub records: BTreeSet<RecordId>,
    /// There are new own changes to push.
    pub own: bool,
    /// The hub acknowledged own changes, or could not use one.
    pub acknowledged: bool,
    /// A message came in, or its outcome changed.
    pub messages: bool,
    /// A lane is held back, or goes on.
    pub lanes: bool,
    /// A record was purged: what the log still holds of it is to be folded away.
    pub purged: bool,
}

impl Committed {
    pub fn is_empty(&self) -> bool {
        *self == Committed::default()
    }

    pub(super) fn add(&mut self, other: Committed) {
        self.kinds.extend(other.kinds);
        self.records.extend(other.records);
        self.own |= other.own;
        self.acknowledged |= other.acknowledged;
        self.messages |= other.messages;
        self.lanes |= other.lanes;
        self.purged |= other.purged;
    }
}

/// One start of the program, by which monotonic times are compared.
pub(super) struct Life {
    pub(super) boot: BootId,
    /// In the machine's monotonic time.
    started_ms: u64,
    random: SystemRandom,
}

impl Life {
    pub(super) fn begin() -> Result<Life, TxError> {
        let random = SystemRandom::new();
        let boot = BootId(draw(&random)?);
        Ok(Life {
            boot,
            started_ms: clock::monotonic_ms(),
            random,
        })
    }

    pub(super) fn monotonic_ms(&self) -> u64 {
        clock::monotonic_ms().saturating_sub(self.started_ms)
    }

    /// How this start's clocks stand, if the hub's clock showed `hub_ms` when the machine's monotonic time was 0.
    pub(super) fn clock(&self, hub_ms: i64) -> Option<BootClock> {
        let zero_ms = hub_ms.checked_add_unsigned(self.started_ms)?;
        Some(BootClock {
            boot: self.boot,
            zero_ms: u64::try_from(zero_ms).ok()?,
            monotonic_ms: self.monotonic_ms(),
            wall_ms: u64::try_from(clock::now_ms()).ok()?,
        })
    }

    pub(super) fn draw(&self) -> Result<[u8; 16], TxError> {
        draw(&self.random)
    }
}

fn draw(random: &SystemRandom) -> Result<[u8; 16], TxError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| TxError::Random)?;
    Ok(bytes)
}

impl<'c> ReadTx<'c> {
    pub(super) fn new(connection: &'c Connection) -> ReadTx<'c> {
        ReadTx { connection }
    }
}

impl<'c> WriteTx<'c> {
    pub(super) fn new(connection: &'c Connection, life: &'c Life) -> WriteTx<'c> {
        WriteTx {
            read: ReadTx::new(connection),
            life,
            changed: Committed::default(),
            head: None,
        }
    }

    /// A new record's id: random, never derived from a person.
    pub fn new_record_id(&self) -> Result<RecordId, TxError> {
        self.life.draw().map(RecordId)
    }
}

impl<'c> Deref for WriteTx<'c> {
    type Target = ReadTx<'c>;

    fn deref(&self) -> &ReadTx<'c> {
        &self.read
    }
}
