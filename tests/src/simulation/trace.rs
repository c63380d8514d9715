//! What a run leaves behind: its trace and the trace's hash, counts of faults and checks, and how it failed.

use std::collections::BTreeMap;
use std::fmt;

use super::plan::What;

macro_rules! invariants {
    ($($name:ident => $says:literal,)*) => {
        /// What must hold of every run.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Invariant { $($name,)* }

        impl Invariant {
            pub const ALL: &'static [Invariant] = &[$(Invariant::$name,)*];

            pub fn says(self) -> &'static str {
                match self { $(Invariant::$name => $says,)* }
            }
        }
    };
}

invariants! {
    NothingLost => "no change committed on a surviving replica is lost",
    EffectEqualsOracle => "the effect of every record equals the oracle of what each writer saw",
    SaysNothing => "a write that repeats the version it names is no change, and any other is one",
    JoinLaws => "join is commutative, associative, idempotent, and equals the state of both sets",
    DotNamesOneContent => "a dot names one content for ever",
    EffectOnce => "a change id has its effect once",
    CountersNeverReused => "counters are contiguous and never re-used after a crash",
    NothingUnpushedPurged => "nothing unpushed is purged",
    PendingEnds => "pending ends empty or quarantined, and empty after the release",
    QuarantineIsAdmission => "only what the admission refuses is quarantined, and it is released in full",
    AllergyStays => "no allergy leaves the active view without a refutation that names it",
    AskRetrievable => "concurrent ask values stay retrievable",
    CursorDelivered => "everything at or below a cursor was delivered",
    BasesEqual => "at rest a site's bases are exactly its scope and equal the hub's",
    RootsEqual => "roots are equal when facts are equal",
    UnknownSurvives => "unknown fields survive byte-exact",
    TooLargeRefused => "a write that is too large is refused whole",
    ReplayNothing => "a push that is sent again changes nothing",
    TaskOnce => "a task takes effect once at the partner, or a person is asked",
    RotRepaired => "what rotted at rest is found and set right, and the roots are equal again",
    OldEpochRefused => "a request of another epoch, or from beyond what the hub holds, is refused",
    StoreAsModel => "a store on a disk answers as the one in memory",
    SurvivesPowerCut => "what was confirmed survives a power cut at any write or sync, and what was not is whole or absent",
    NeverWrongData => "a damaged store says so, or is as it was at some moment",
    DamageRefused => "a damaged body is refused or reads as it was sent, and a tampered push changes nothing",
    ComesToRest => "a healed network comes to rest within bounded rounds",
    EngineSound => "the engine reports no damage of its own stores",
    SameSeedSameTrace => "the same seed gives the same trace",
}

macro_rules! transitions {
    ($($name:ident => $says:literal,)*) => {
        /// What the engine can do with what it is given; a campaign that never comes upon one of them proves nothing of it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Transition { $($name,)* }

        impl Transition {
            pub const ALL: &'static [Transition] = &[$(Transition::$name,)*];

            pub fn says(self) -> &'static str {
                match self { $(Transition::$name => $says,)* }
            }
        }
    };
}

transitions! {
    Wrote => "a write was a change",
    SaidNothing => "a write said nothing new",
    WriteCrashed => "a write was undone by a crash",
    WriteTooLarge => "a write was too large",
    ChangeApplied => "the hub applied a change",
    ChangeQuarantined => "the hub set a change apart",
    ChangeAliased => "the hub knew a change under another dot",
    ChangeReleased => "the hub released a change",
    ReplySame => "an acknowledgement agreed with the agent's chain",
    ReplyStale => "an acknowledgement was of an older incarnation",
    ReplyFork => "an acknowledgement showed a fork",
    ReplyRegression => "an acknowledgement showed that the agent went back",
    ReplyHubWentBack => "an acknowledgement was older than one before it",
    PageApplied => "a page was applied",
    PageOtherCursor => "a page was of another cursor",
    PageStale => "a page was of an older incarnation",
    PageFork => "a page showed a fork",
    PageRegression => "a page showed that the agent went back",
    PageHubWentBack => "a page was older than an acknowledgement",
    PageCrashed => "a page was undone by a crash",
    DigestEqual => "a digest proved every lane",
    DigestDiffers => "a digest was another than the agent's",
    RowLive => "a row brought a record",
    RowOffered => "a row offered to forget a record",
    RowGone => "a row told that a record is gone",
    Reborn => "an agent took a new incarnation",
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.says())
    }
}

/// A run that broke an invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub invariant: Invariant,
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(invariant: Invariant, detail: impl Into<String>) -> Failure {
        Failure {
            invariant,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

impl std::error::Error for Failure {}

pub(crate) type Checked<T> = Result<T, Failure>;

/// Fails by the name of the invariant unless `holds`.
pub(crate) fn hold(invariant: Invariant, holds: bool, detail: impl FnOnce() -> String) -> Checked<()> {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(invariant, detail()))
    }
}

/// Counts over one run or many.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    pub runs: u64,
    pub steps: u64,
    pub faults: BTreeMap<&'static str, u64>,
    pub events: BTreeMap<&'static str, u64>,
    pub checks: BTreeMap<Invariant, u64>,
    pub taken: BTreeMap<Transition, u64>,
    pub steps_of: BTreeMap<What, u64>,
    pub safety_runs: u64,
    pub liveness_runs: u64,
    /// The most rounds of exchanges that a healed network needed.
    pub rounds_max: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.safety_runs += other.safety_runs;
        self.liveness_runs += other.liveness_runs;
        self.rounds_max = self.rounds_max.max(other.rounds_max);
        for (taken, n) in &other.taken {
            *self.taken.entry(*taken).or_default() += n;
        }
        for (what, n) in &other.steps_of {
            *self.steps_of.entry(*what).or_default() += n;
        }
        other
            .faults
            .iter()
            .for_each(|(name, n)| *self.faults.entry(name).or_default() += n);
        other
            .events
            .iter()
            .for_each(|(name, n)| *self.events.entry(name).or_default() += n);
        other
            .checks
            .iter()
            .for_each(|(name, n)| *self.checks.entry(*name).or_default() += n);
    }

    pub(crate) fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub(crate) fn event(&mut self, name: &'static str) {
        *self.events.entry(name).or_default() += 1;
    }

    pub(crate) fn took(&mut self, transition: Transition) {
        *self.taken.entry(transition).or_default() += 1;
    }

    pub(crate) fn checked(&mut self, invariant: Invariant) {
        self.checked_times(invariant, 1);
    }

    pub(crate) fn checked_times(&mut self, invariant: Invariant, times: usize) {
        *self.checks.entry(invariant).or_default() += times as u64;
    }
}

/// One line per event. The hash goes over every line and every body sent; lines are kept only when asked for.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) hash: u64,
    pub(crate) lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(keep_lines: bool) -> Trace {
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: keep_lines.then(Vec::new),
        }
    }

    pub(crate) fn line(&mut self, line: String) {
        self.bytes(line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// FNV-1a.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
