//! What a seed means: how many sites, how bad the network, and a list of steps. Every step has its own seed, so that one
//! can be left out without changing what the others do.

use std::str::FromStr;

use super::fault::{Fault, Faults};
use super::rng::Rng;
use super::variant::Variant;

/// What a run is asked to be, whatever its seed.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub variant: Option<Variant>,
    pub store: Backing,
    pub faults: Faults,
}

impl Setup {
    /// The honest protocol under every fault.
    pub fn honest() -> Setup {
        Setup {
            variant: None,
            store: Backing::Memory,
            faults: Faults::all(),
        }
    }

    pub fn of(variant: Variant) -> Setup {
        Setup {
            variant: Some(variant),
            ..Setup::honest()
        }
    }
}

/// Where agents keep what they know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    Memory,
    /// In their real store, on a disk that fails, beside the one in memory that tells what it must hold. The hub's is in
    /// memory.
    Sqlite,
}

impl FromStr for Backing {
    type Err = String;

    fn from_str(text: &str) -> Result<Backing, String> {
        match text {
            "memory" => Ok(Backing::Memory),
            "sqlite" => Ok(Backing::Sqlite),
            other => Err(format!("no store {other:?}; there are memory, sqlite")),
        }
    }
}

/// What a run sets out to show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// Faults without end: what must never happen does not.
    Safety,
    /// The faults stop: everything comes to rest within a bounded number of rounds, and is as it must be.
    Liveness,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// Both agents serve one site.
    OneSite,
    /// One agent each; patients and allergies are in both scopes.
    TwoSites,
}

impl Topology {
    pub fn sites(self) -> usize {
        match self {
            Topology::OneSite => 1,
            Topology::TwoSites => 2,
        }
    }
}

/// Chances in a thousand. Each run draws its own, so that rare mixes of faults happen too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub lose: u64,
    pub duplicate: u64,
    pub damage: u64,
    pub crash: u64,
    pub newer_form: u64,
    pub reorder: bool,
    pub tamper: bool,
    pub partner: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum What {
    Edit,
    OpenForm,
    SubmitForm,
    Message,
    Push,
    Pull,
    Deliver,
    Exchange,
    CrashAgent,
    CrashHub,
    Clone,
    Copy,
    Restore,
    Release,
    ClockStep,
    Leave,
    Return,
    CutLine,
    MendLine,
    SlowPush,
    SlowCommit,
    Oversized,
    NewerHub,
    Replay,
    Task,
    Withdraw,
    Rot,
    HubCopy,
    HubConfirm,
    HubRestore,
    PowerCut,
    DiskFull,
    LoseSyncs,
    FlipBit,
    WrongKey,
}

/// Each step, its weight, and what it does.
pub const STEPS: &[(What, u64, &str)] = &[
    (What::Edit, 14, "open a form and submit it at once"),
    (What::OpenForm, 9, "open a form and leave it open"),
    (What::SubmitForm, 9, "submit a form that was left open"),
    (
        What::Message,
        7,
        "an outside source sends its next message, often the same again",
    ),
    (What::Push, 12, "an agent sends a push"),
    (What::Pull, 12, "an agent sends a pull"),
    (
        What::Deliver,
        40,
        "one of the messages under way arrives, is lost, doubled, shortened, altered or tampered with",
    ),
    (
        What::Exchange,
        6,
        "an agent exchanges undisturbed until it is at the head",
    ),
    (What::CrashAgent, 1, "an agent stops: answers under way to it are lost"),
    (What::CrashHub, 1, "the hub stops: requests under way to it are lost"),
    (What::Clone, 1, "an agent is cloned, and both run on"),
    (What::Copy, 3, "an agent's files are copied"),
    (What::Restore, 2, "an agent is restored from its copy"),
    (What::Release, 1, "the hub learns a newer form"),
    (What::ClockStep, 2, "an agent's clock jumps, by seconds to years"),
    (
        What::Leave,
        4,
        "a site no longer needs a record: the hub offers to forget it",
    ),
    (What::Return, 2, "a site needs a record again that it no longer needed"),
    (
        What::CutLine,
        1,
        "an agent's line is cut: both ways or one, at times for thirty days",
    ),
    (What::MendLine, 2, "an agent's line is mended"),
    (What::SlowPush, 2, "a second hub process takes up a push and is slow"),
    (What::SlowCommit, 3, "the slow hub process commits"),
    (What::Oversized, 1, "somebody writes more than a change may hold"),
    (What::NewerHub, 1, "the hub writes a field that no agent knows"),
    (
        What::Replay,
        1,
        "an attacker sends a push again that was delivered before",
    ),
    (What::Task, 6, "the hub takes its next step with a task for a partner"),
    (What::Withdraw, 1, "a site withdraws a task"),
    (
        What::Rot,
        1,
        "a base or a sum changes behind the engine's back, and is repaired",
    ),
    (What::HubCopy, 2, "the hub's store is copied"),
    (What::HubConfirm, 2, "the hub's copy is confirmed as a backup"),
    (What::HubRestore, 1, "the hub is restored from its copy"),
    (
        What::PowerCut,
        2,
        "on a disk: an agent's power is cut between two writes",
    ),
    (
        What::DiskFull,
        2,
        "on a disk: an agent's disk is full for its next writes",
    ),
    (
        What::LoseSyncs,
        2,
        "on a disk: it begins to lose syncs, or its power is cut after it did",
    ),
    (
        What::FlipBit,
        1,
        "on a disk: a bit of an agent's files turns over while it is stopped",
    ),
    (
        What::WrongKey,
        1,
        "on a disk: an agent's store is opened with another's key",
    ),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    pub what: What,
    pub seed: u64,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub mode: Mode,
    pub topology: Topology,
    pub rates: Rates,
    pub steps: Vec<Step>,
}

impl Plan {
    pub fn of(seed: u64, setup: Setup) -> Plan {
        let mut rng = Rng::seeded(seed);
        let topology = if rng.per_mille(500) {
            Topology::TwoSites
        } else {
            Topology::OneSite
        };
        let mode = if rng.per_mille(250) {
            Mode::Safety
        } else {
            Mode::Liveness
        };
        let faults = setup.faults;
        let rates = Rates::of(&mut rng, faults);
        // Leaving some kinds of step out of a run makes room for long stretches of the others.
        let optional = [
            What::Clone,
            What::Restore,
            What::Release,
            What::ClockStep,
            What::Leave,
            What::Exchange,
            What::CutLine,
            What::SlowPush,
            What::NewerHub,
            What::Task,
            What::Rot,
            What::HubRestore,
        ];
        let without: Vec<What> = optional.into_iter().filter(|_| rng.per_mille(350)).collect();
        let possible = |fault: Fault| {
            let fits = match setup.store {
                Backing::Memory => !fault.needs_disk(),
                Backing::Sqlite => !fault.needs_memory(),
            };
            fits && faults.has(fault)
        };
        let wanted = |what: What| !without.contains(&what) && Fault::of(what).is_none_or(possible);
        let chosen: Vec<_> = STEPS.iter().filter(|(what, _, _)| wanted(*what)).collect();
        let total: u64 = chosen.iter().map(|(_, weight, _)| weight).sum();
        let length = match mode {
            Mode::Safety => 80 + rng.below(120),
            Mode::Liveness => 40 + rng.below(90),
        };
        let steps = (0..length).map(|_| {
            let mut at = rng.below(total);
            let drawn = chosen.iter().find(|(_, weight, _)| {
                let here = at < *weight;
                at = at.saturating_sub(*weight);
                here
            });
            Step {
                what: drawn.map_or(What::Deliver, |(what, _, _)| *what),
                seed: rng.draw(),
            }
        });
        Plan {
            seed,
            mode,
            topology,
            rates,
            steps: steps.collect(),
        }
    }
}

impl Rates {
    fn of(rng: &mut Rng, faults: Faults) -> Rates {
        let mut rate = |fault: Fault, choices: &[u64]| {
            let drawn = rng.pick(choices).copied().unwrap_or(0);
            if faults.has(fault) { drawn } else { 0 }
        };
        Rates {
            lose: rate(Fault::Lose, &[0, 50, 200, 400]),
            duplicate: rate(Fault::Duplicate, &[0, 50, 150, 300]),
            damage: rate(Fault::Damage, &[0, 20, 60]),
            crash: rate(Fault::Crash, &[0, 30, 100, 250]),
            newer_form: rate(Fault::Poison, &[0, 60, 200]),
            partner: rate(Fault::Delivery, &[0, 100, 300]),
            reorder: faults.has(Fault::Reorder),
            tamper: faults.has(Fault::Tamper),
        }
    }
}
