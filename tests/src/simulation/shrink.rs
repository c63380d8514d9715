//! Makes a failing plan shorter: leaves out ever smaller runs of steps while the same invariant still fails.

use super::plan::{Backing, Plan, Setup};
use super::run::run_plan;
use super::trace::Invariant;

const TRIES_MAX: usize = 1_500;
/// A run with stores on disks takes many times as long.
const TRIES_ON_DISKS_MAX: usize = 60;

/// A shorter plan that breaks the same invariant, as far as a bounded number of tries finds one.
pub fn shrink(plan: &Plan, setup: Setup, broken: Invariant) -> Plan {
    let still_breaks = |candidate: &Plan| {
        run_plan(candidate, setup, false)
            .failure
            .is_some_and(|failure| failure.invariant == broken)
    };
    let tries_max = match setup.store {
        Backing::Memory => TRIES_MAX,
        Backing::Sqlite => TRIES_ON_DISKS_MAX,
    };
    let mut best = plan.clone();
    let mut chunk = best.steps.len().div_ceil(2);
    let mut tries = 0;
    while chunk > 0 && tries < tries_max {
        let (mut at, mut shorter) = (0, false);
        while at < best.steps.len() && tries < tries_max {
            let mut candidate = best.clone();
            let end = (at + chunk).min(candidate.steps.len());
            candidate.steps.drain(at..end);
            tries += 1;
            if still_breaks(&candidate) {
                best = candidate;
                shorter = true;
            } else {
                at += chunk;
            }
        }
        if !shorter {
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
    }
    best
}
