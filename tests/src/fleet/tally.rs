//! What simulated agents met: how long pushes took, what was refused, what had to be tried again, what was proved.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::exchange::Trouble;

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub pushes: u64,
    pub changes_accepted: u64,
    pub rows: u64,
    pub pulled: Bodies,
    /// Of these, those that were answered with one digest of all lanes.
    pub rested: Bodies,
    pub push_took: Vec<Duration>,
    /// The hub asked to wait; by the status it answered with.
    pub told_to_wait: BTreeMap<u16, u64>,
    pub not_reached: u64,
    /// Answers that no agent should ever get, by what they said.
    pub refused: BTreeMap<String, u64>,
    /// Lanes that were found equal, and lanes that were not.
    pub equal: u64,
    pub unequal: u64,
    /// The most attempts in a row that did not succeed.
    pub failures_most: u32,
}

/// Bodies as they went over the line, in bytes, of so many exchanges.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bodies {
    pub exchanges: u64,
    pub up: u64,
    pub down: u64,
}

impl Bodies {
    pub(super) fn add(&mut self, up: u64, down: u64) {
        *self = self.plus(Bodies { exchanges: 1, up, down });
    }

    #[must_use]
    pub fn plus(self, other: Bodies) -> Bodies {
        Bodies {
            exchanges: self.exchanges + other.exchanges,
            up: self.up + other.up,
            down: self.down + other.down,
        }
    }

    /// Bytes up and down of one of them.
    pub fn each(self) -> (f64, f64) {
        let exchanges = self.exchanges.max(1) as f64;
        (self.up as f64 / exchanges, self.down as f64 / exchanges)
    }
}

impl Tally {
    pub(super) fn note(&mut self, trouble: &Trouble, failures: u32) {
        self.failures_most = self.failures_most.max(failures);
        match trouble {
            Trouble::NotReached => self.not_reached += 1,
            Trouble::Busy { status, .. } => *self.told_to_wait.entry(*status).or_default() += 1,
            Trouble::Refused(said) => *self.refused.entry(said.clone()).or_default() += 1,
        }
    }

    pub fn add(&mut self, other: &Tally) {
        self.pushes += other.pushes;
        self.changes_accepted += other.changes_accepted;
        self.rows += other.rows;
        self.pulled = self.pulled.plus(other.pulled);
        self.rested = self.rested.plus(other.rested);
        self.push_took.extend(&other.push_took);
        for (status, count) in &other.told_to_wait {
            *self.told_to_wait.entry(*status).or_default() += count;
        }
        self.not_reached += other.not_reached;
        for (said, count) in &other.refused {
            *self.refused.entry(said.clone()).or_default() += count;
        }
        self.equal += other.equal;
        self.unequal += other.unequal;
        self.failures_most = self.failures_most.max(other.failures_most);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} changes accepted in {} pushes ({}), {} rows in {} pulls, {} lanes proved equal, {} not equal, not reached \
             {} times, told to wait {:?}, at most {} failures in a row, refused {:?}",
            self.changes_accepted,
            self.pushes,
            spread(&self.push_took),
            self.rows,
            self.pulled.exchanges,
            self.equal,
            self.unequal,
            self.not_reached,
            self.told_to_wait,
            self.failures_most,
            self.refused
        )
    }
}

/// "median, 95 of 100, worst", in words.
pub fn spread(took: &[Duration]) -> String {
    let mut sorted = took.to_vec();
    sorted.sort();
    let at = |hundredth: usize| sorted.get((sorted.len().saturating_sub(1)) * hundredth / 100);
    match (at(50), at(95), sorted.last()) {
        (Some(median), Some(most), Some(worst)) => {
            format!("median {median:.1?}, 95 of 100 under {most:.1?}, worst {worst:.1?}")
        }
        (_, _, _) => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_middle_and_the_worst() {
        let took: Vec<_> = (1..=100).map(Duration::from_millis).collect();

        assert_eq!(spread(&took), "median 50.0ms, 95 of 100 under 95.0ms, worst 100.0ms");
        assert_eq!(spread(&[]), "none");
    }
}
