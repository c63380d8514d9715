//! Wrong protocols, to check the checker. Each lies from outside, in a ledger, in an exchange or in a writer of the simulator:
//! nothing of it is in the product's crates.

use std::fmt;
use std::str::FromStr;

use super::trace::Invariant;

/// What must catch a variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Net {
    /// Random runs, within four thousand seeds.
    Seeds,
    /// A story told with the wrong protocol, since random runs need too much luck.
    Story(u32),
}

macro_rules! variants {
    ($($name:ident, $text:literal, $net:expr, $broken:ident => $says:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Variant { $(#[doc = $says] $name,)* }

        impl Variant {
            pub const ALL: &'static [Variant] = &[$(Variant::$name,)*];

            pub fn name(self) -> &'static str {
                match self { $(Variant::$name => $text,)* }
            }

            pub fn says(self) -> &'static str {
                match self { $(Variant::$name => $says,)* }
            }

            pub fn net(self) -> Net {
                match self { $(Variant::$name => $net,)* }
            }

            /// What it is caught by: the first that a run with it breaks.
            pub fn breaks(self) -> Invariant {
                match self { $(Variant::$name => Invariant::$broken,)* }
            }
        }
    };
}

variants! {
    NoRebirth, "no-rebirth", Net::Seeds, NothingLost
        => "a copied or restored agent keeps its identity and adopts the hub's view of its chain";
    RemovalByVersionVector, "removal-by-version-vector", Net::Seeds, EffectEqualsOracle
        => "the hub also removes values that the writer's version vector covers";
    PresentInsteadOfShown, "present-instead-of-shown", Net::Seeds, EffectEqualsOracle
        => "a write replaces what is present when it commits, not what was shown";
    AliasAppliedAgain, "alias-applied-again", Net::Seeds, EffectOnce
        => "the hub does not look whether it knows a change's id, and applies it under every dot";
    AliasChangesNothing, "alias-changes-nothing", Net::Seeds, EffectOnce
        => "a change that the hub knows already leaves neither its new dot in the vector nor the record's row moved";
    ChainNotCompared, "chain-not-compared", Net::Seeds, EffectEqualsOracle
        => "the agent drops pending changes that a base seems to contain, without comparing the chain first";
    DuplicateByCounter, "duplicate-by-counter", Net::Seeds, EffectEqualsOracle
        => "the hub takes a counter that it has for a duplicate, whatever the hash says";
    SequenceWithoutLock, "sequence-without-lock", Net::Seeds, CursorDelivered
        => "a hub process draws its feed sequences before it commits, with no lock held until then";
    LastWriterAllergies, "last-writer-allergies", Net::Seeds, AllergyStays
        => "whoever wrote last about an allergy decides whether it is shown";
    OneSidedCheckpoint, "one-sided-checkpoint", Net::Seeds, RootsEqual
        => "only the hub remembers how far an agent is, and the agent believes it";
    CounterReused, "counter-reused-after-crash", Net::Seeds, CountersNeverReused
        => "a change is stored, and its counter is not in the same commit";
    AckBeforeCommit, "ack-before-commit", Net::Seeds, NothingLost
        => "a write is confirmed to the person before it is committed";
    PurgeBeforePush, "purge-before-push", Net::Seeds, NothingUnpushedPurged
        => "a record that leaves the scope is purged with changes on it that were never pushed";
    PurgeThenAcknowledge, "purge-then-acknowledge", Net::Seeds, RootsEqual
        => "an agent purges what it is asked to forget when it agrees, before the hub has settled it";
    DropAtAccepted, "drop-at-accepted", Net::Seeds, EffectEqualsOracle
        => "an own change is dropped as soon as the hub has acknowledged it, before a base holds it";
    StatesNotReturned, "states-not-returned", Net::Seeds, RootsEqual
        => "after the hub was put back to a copy an agent does not return its bases";
    AcknowledgedNotPushedAgain, "acknowledged-not-pushed-again", Net::Story(13), PendingEnds
        => "after the hub was put back an agent takes what was acknowledged to be there, or to come back with states";
    OldEpochCursor, "old-epoch-cursor-honoured", Net::Seeds, ComesToRest
        => "an agent pulls on in a new epoch from the cursors of the one before";
    PulledBeforeReturn, "pulls-applied-before-the-return", Net::Story(9), RootsEqual
        => "in a new epoch an agent applies pages before it has returned its bases";
    RootAcrossLanes, "root-across-lanes", Net::Seeds, RootsEqual
        => "one root covers all lanes, and is compared while another lane is behind";
    RootOverIds, "root-over-structured-ids", Net::Story(105), RootsEqual
        => "leaves are sums over dots, without a key, so that differences cancel";
    VectorNotInLeaf, "vector-not-in-leaf", Net::Story(106), RootsEqual
        => "the leaf of a record leaves its vector out";
    SkewRefusal, "skew-refusal", Net::Seeds, NothingLost
        => "the hub refuses changes whose time is far from its own";
    QuarantineBlocks, "quarantine-that-blocks", Net::Seeds, ComesToRest
        => "the hub takes nothing that stands behind a change that it cannot use";
    PageOntoAnyCursor, "page-onto-another-cursor", Net::Seeds, RootsEqual
        => "a page is applied whatever cursor it was asked from";
    BlindResend, "blind-resend", Net::Seeds, TaskOnce
        => "a task whose outcome is unknown is sent again without a look-up at the partner";
    TasksOfAnOlderLife, "tasks-of-an-older-life", Net::Seeds, TaskOnce
        => "after the hub was put back to a copy it sends, or confirms as withdrawn, what the copy has as waiting without a look-up";
    KeyFromDot, "idempotency-key-from-a-dot", Net::Seeds, TaskOnce
        => "the key by which a task is known is the dot of its change, not its id";
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Variant, String> {
        let names: Vec<_> = Variant::ALL.iter().map(|variant| variant.name()).collect();
        let known = Variant::ALL.iter().copied().find(|variant| variant.name() == text);
        known.ok_or_else(|| format!("no variant {text:?}; there are {}", names.join(", ")))
    }
}
