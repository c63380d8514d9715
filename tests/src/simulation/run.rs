//! Runs a plan to its end. For liveness: its steps, then healing, rest, the checks, the release of what was quarantined, and
//! the checks again. For safety: its steps, with the checks between them, and no healing.

use super::plan::{Mode, Plan, Setup};
use super::records;
use super::trace::{Checked, Failure, Tally};
use super::world::World;

/// In a run without an end to its faults everything is looked at each time so many steps were done.
const STEPS_BETWEEN_CHECKS: usize = 10;

/// The end of a run.
#[derive(Clone, Debug)]
pub struct Run {
    pub failure: Option<Failure>,
    pub tally: Tally,
    pub trace_hash: u64,
    /// Empty unless it was asked for.
    pub trace: Vec<String>,
}

/// A seed that failed, and its failure.
#[derive(Clone, Debug)]
pub struct Caught {
    pub seed: u64,
    pub failure: Failure,
}

pub fn run_seed(seed: u64, setup: Setup) -> Run {
    run_plan(&Plan::of(seed, setup), setup, false)
}

pub fn run_plan(plan: &Plan, setup: Setup, keep_trace: bool) -> Run {
    let mut world = World::new(plan.topology, plan.seed, setup, keep_trace);
    let failure = play(&mut world, plan).err();
    if let Some(failure) = &failure {
        world.trace.line(format!("BROKEN {failure}"));
    }
    world.tally.runs = 1;
    match plan.mode {
        Mode::Safety => world.tally.safety_runs = 1,
        Mode::Liveness => world.tally.liveness_runs = 1,
    }
    Run {
        failure,
        tally: world.tally,
        trace_hash: world.trace.hash,
        trace: world.trace.lines.unwrap_or_default(),
    }
}

fn play(world: &mut World, plan: &Plan) -> Checked<()> {
    world.check_machine()?;
    let sites = world.sites.clone();
    for _ in 0..2 {
        world.new_record(records::PATIENT, sites[0]);
    }
    world.new_record(records::ALLERGY, sites[0]);
    for site in sites {
        world.new_record(records::VISIT, site);
    }
    for (at, step) in plan.steps.iter().enumerate() {
        world.step(step, &plan.rates)?;
        if plan.mode == Mode::Safety && at % STEPS_BETWEEN_CHECKS == 0 {
            world.check_meanwhile()?;
        }
    }
    match plan.mode {
        Mode::Safety => world.check_meanwhile(),
        Mode::Liveness => world.heal_and_check(),
    }
}

impl World {
    /// Heals the network, checks at rest, lets the hub learn every form, and checks again.
    pub(crate) fn heal_and_check(&mut self) -> Checked<()> {
        self.trace.line("the network heals".to_owned());
        self.come_to_rest()?;
        self.check_at_rest(false)?;
        self.release(u8::MAX)?;
        self.come_to_rest()?;
        self.check_at_rest(true)?;
        self.finish_tasks()
    }
}
