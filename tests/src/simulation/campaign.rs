//! Many seeds, on several threads. What comes out does not depend on how many.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::plan::Setup;
use super::run::{Caught, run_seed};
use super::trace::{Failure, Invariant, Tally};

/// Every so many seeds one is run twice and the traces are compared.
const TWICE_EVERY: u64 = 25;

#[derive(Clone, Debug)]
pub struct Campaign {
    pub first: u64,
    pub seeds: u64,
    pub setup: Setup,
    pub threads: usize,
    /// Goes on after a failure, to count how many seeds fail.
    pub to_the_end: bool,
}

#[derive(Clone, Default, Debug)]
pub struct Findings {
    pub tally: Tally,
    /// In order of seeds; the first one is the first whatever the number of threads.
    pub caught: Vec<Caught>,
}

impl Findings {
    pub fn by_invariant(&self) -> BTreeMap<Invariant, u64> {
        let mut counts = BTreeMap::new();
        for caught in &self.caught {
            *counts.entry(caught.failure.invariant).or_default() += 1;
        }
        counts
    }
}

impl Campaign {
    /// Runs the seeds. `progress` is told now and then how many are done.
    pub fn run(&self, progress: impl Fn(u64) + Sync) -> Findings {
        let (next, done, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let findings = Mutex::new(Findings::default());
        let work = || {
            let mut own = Findings::default();
            while !stop.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= self.seeds {
                    break;
                }
                self.run_one(self.first + at, &mut own);
                if !own.caught.is_empty() && !self.to_the_end {
                    stop.store(true, Ordering::Relaxed);
                }
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            }
            let mut all = findings.lock().unwrap_or_else(PoisonError::into_inner);
            all.tally.add(&own.tally);
            all.caught.append(&mut own.caught);
        };
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(work);
            }
        });
        let mut findings = findings.into_inner().unwrap_or_else(PoisonError::into_inner);
        findings.caught.sort_by_key(|caught| caught.seed);
        findings
    }

    fn run_one(&self, seed: u64, findings: &mut Findings) {
        let mut run = run_seed(seed, self.setup);
        if seed.is_multiple_of(TWICE_EVERY) {
            let again = run_seed(seed, self.setup);
            run.tally.checked(Invariant::SameSeedSameTrace);
            if again.trace_hash != run.trace_hash || again.failure != run.failure {
                let detail = format!("{:016x} and then {:016x}", run.trace_hash, again.trace_hash);
                run.failure = Some(Failure::new(Invariant::SameSeedSameTrace, detail));
            }
        }
        findings.tally.add(&run.tally);
        if let Some(failure) = run.failure {
            findings.caught.push(Caught { seed, failure });
        }
    }
}
