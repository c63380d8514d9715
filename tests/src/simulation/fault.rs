//! What can go wrong in a run, by name, so that a run can be had with some of it alone.

use std::str::FromStr;

use super::plan::What;

macro_rules! faults {
    ($($name:ident, $text:literal => $says:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Fault { $(#[doc = $says] $name,)* }

        impl Fault {
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            pub fn name(self) -> &'static str {
                match self { $(Fault::$name => $text,)* }
            }

            pub fn says(self) -> &'static str {
                match self { $(Fault::$name => $says,)* }
            }
        }
    };
}

faults! {
    Lose, "lose" => "messages are lost, and replies after the commit";
    Duplicate, "duplicate" => "messages arrive twice";
    Reorder, "reorder" => "messages arrive in any order";
    Damage, "damage" => "messages are shortened or altered on the line";
    Tamper, "tamper" => "a push is altered after it was unpacked";
    Replay, "replay" => "a push that was delivered long ago is sent again";
    Cut, "cut" => "an agent's line is cut, one way or both, for a while or for thirty days";
    Crash, "crash" => "agent or hub crashes at any storage operation, or between a commit and its reply";
    Stop, "stop" => "agent or hub stops, and what is under way to it is lost";
    Slow, "slow" => "a second hub process takes long over a push while others commit";
    Clone, "clone" => "an agent is cloned, or a clone of it, and all run on";
    Restore, "restore" => "an agent is restored from its copy, once or twice";
    HubRestore, "hub-restore" => "the hub's store is put back to an older copy, and begins a new epoch";
    Clock, "clock" => "an agent's clock jumps, by seconds to years";
    Scope, "scope" => "records leave a site's scope and come back while somebody edits them";
    Stale, "stale" => "forms are submitted long after they were opened, some twice";
    Poison, "poison" => "changes that the hub cannot use yet";
    Oversized, "oversized" => "writes that are larger than a change may be";
    Unknown, "unknown" => "the hub writes fields that no agent knows";
    Rot, "rot" => "a base or a sum changes at rest, at an agent or at the hub";
    Power, "power" => "with a store on a disk: the power is cut between writes; inside them it is \"crash\"";
    Full, "full" => "with a store on a disk: the disk is full for some writes";
    Sync, "sync" => "with a store on a disk: syncs are confirmed and lost, then the power is cut";
    Flip, "flip" => "with a store on a disk: a bit turns over";
    WrongKey, "wrong-key" => "with a store on a disk: it is opened with another's key";
    Delivery, "delivery" => "a partner's reply is lost, or the hub crashes around an attempt";
}

impl Fault {
    /// Whether there is such a fault only with a store on a disk.
    pub(super) fn needs_disk(self) -> bool {
        matches!(
            self,
            Fault::Power | Fault::Full | Fault::Sync | Fault::Flip | Fault::WrongKey
        )
    }

    /// Whether there is such a fault only where all is in memory: what rots behind the engine's back rots in one of two
    /// stores that are compared.
    pub(super) fn needs_memory(self) -> bool {
        self == Fault::Rot
    }

    /// The fault that a step is, if it is one.
    pub(super) fn of(what: What) -> Option<Fault> {
        match what {
            What::CrashAgent | What::CrashHub => Some(Fault::Stop),
            What::CutLine | What::MendLine => Some(Fault::Cut),
            What::SlowPush | What::SlowCommit => Some(Fault::Slow),
            What::Clone => Some(Fault::Clone),
            What::Copy | What::Restore => Some(Fault::Restore),
            What::HubCopy | What::HubRestore => Some(Fault::HubRestore),
            What::ClockStep => Some(Fault::Clock),
            What::Leave | What::Return => Some(Fault::Scope),
            What::SubmitForm => Some(Fault::Stale),
            What::Oversized => Some(Fault::Oversized),
            What::NewerHub => Some(Fault::Unknown),
            What::Replay => Some(Fault::Replay),
            What::Rot => Some(Fault::Rot),
            What::PowerCut => Some(Fault::Power),
            What::DiskFull => Some(Fault::Full),
            What::LoseSyncs => Some(Fault::Sync),
            What::FlipBit => Some(Fault::Flip),
            What::WrongKey => Some(Fault::WrongKey),
            What::Edit
            | What::OpenForm
            | What::Message
            | What::Push
            | What::Pull
            | What::Deliver
            | What::Exchange
            | What::Release
            | What::HubConfirm
            | What::Task
            | What::Withdraw => None,
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        let known = Fault::ALL.iter().copied().find(|fault| fault.name() == text);
        known.ok_or_else(|| format!("no fault {text:?}; there are {}", names.join(", ")))
    }
}

/// Some of the faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults(u64);

impl Faults {
    pub fn all() -> Faults {
        Faults(u64::MAX)
    }

    pub fn some(faults: &[Fault]) -> Faults {
        Faults(faults.iter().fold(0, |set, fault| set | 1 << *fault as u8))
    }

    pub fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u8 != 0
    }
}
