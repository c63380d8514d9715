//! The simulator: the real engine of both ends, in memory, in virtual time, under faults, driven by one seed.
//!
//! Agents and the hub run `sync-protocol` unchanged over ledgers with real transactions; everything they say to each
//! other is really encoded and decoded. What must hold is listed in [`Invariant`] and judged by an oracle that knows
//! nothing of vectors, bases or joins: only what each writer was literally shown, and wrote. Nothing here reads a clock
//! or another source of chance than the seed, so a seed replays a run.

mod agent_store;
mod campaign;
mod checks;
mod delivery;
mod disk;
mod exchange;
mod fault;
mod hub_store;
mod laws;
mod leaf;
mod lies;
mod misfortune;
mod network;
mod oracle;
mod plan;
mod records;
mod repair_figure;
pub(crate) mod replica_store;
mod rest;
mod rng;
mod rot;
mod run;
mod shrink;
mod sql_store;
mod steps;
mod storage;
pub mod stories;
mod trace;
mod variant;
mod world;
mod writers;

pub use campaign::{Campaign, Findings};
pub use fault::{Fault, Faults};
pub use plan::{Backing, Mode, Plan, STEPS, Setup, Step, Topology, What};
pub use repair_figure::{RepairFigure, repair_figure};
pub use rng::Rng;
pub use run::{Caught, Run, run_plan, run_seed};
pub use shrink::shrink;
pub use stories::{STORIES, Story};
pub use trace::{Failure, Invariant, Tally, Transition};
pub use variant::{Net, Variant};
