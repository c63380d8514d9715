//! How fast and how often a partner is asked: the pace between requests, the pause after a failure, the breaker that
//! leaves it in peace. Pure: time and random numbers are handed in.

const BACKOFF_BASE_MS: u64 = 1_000;
const COOL_FIRST_MS: i64 = 1_000;
/// A probe is small, so an EHR that returns is noticed within this time however long it was away.
const COOL_MAX_MS: i64 = 15_000;

/// Full jitter: anything between nothing and a cap that doubles with every attempt, so that what failed together does not
/// come back together (Brooker, "Exponential Backoff and Jitter", 2015).
pub(super) fn backoff_ms(attempts: u32, max_ms: u64, random: u64) -> i64 {
    let doubled = BACKOFF_BASE_MS.saturating_mul(1 << attempts.min(20));
    let cap = doubled.min(max_ms);
    i64::try_from(random % (cap + 1)).unwrap_or(i64::MAX)
}

/// Spreads requests evenly over each second.
#[derive(Debug)]
pub(super) struct Pacer {
    interval_us: i64,
    next_us: i64,
}

impl Pacer {
    pub(super) fn new(per_second_max: u32) -> Pacer {
        Pacer {
            interval_us: 1_000_000 / i64::from(per_second_max.max(1)),
            next_us: 0,
        }
    }

    /// Takes the next place in the queue and answers how long to wait for it, in microseconds.
    pub(super) fn wait_us(&mut self, now_ms: i64) -> i64 {
        let now_us = now_ms.saturating_mul(1_000);
        let at = self.next_us.max(now_us);
        self.next_us = at + self.interval_us;
        at - now_us
    }
}

/// What may be asked of the partner now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum May {
    Go,
    /// One small question that tells whether it is there again; whoever is told this asks it.
    Probe,
    NotBefore(i64),
}

/// Opens after a number of requests in a row that were not served; then one probe at a time tells when to close.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until_ms: i64,
    cool_ms: i64,
}

impl Breaker {
    pub(super) fn new(failures_max: u32) -> Breaker {
        Breaker {
            failures_max,
            failures: 0,
            open: None,
        }
    }

    pub(super) fn may(&mut self, now_ms: i64) -> May {
        match &mut self.open {
            None => May::Go,
            Some(open) if now_ms < open.until_ms => May::NotBefore(open.until_ms),
            Some(open) => {
                // The next one to ask waits for what this probe finds.
                open.until_ms = now_ms + open.cool_ms;
                May::Probe
            }
        }
    }

    pub(super) fn served(&mut self) {
        self.failures = 0;
        self.open = None;
    }

    pub(super) fn not_served(&mut self, now_ms: i64) {
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.failures_max {
            return;
        }
        let cool_ms = self
            .open
            .as_ref()
            .map_or(COOL_FIRST_MS, |open| (open.cool_ms * 2).min(COOL_MAX_MS));
        self.open = Some(Open {
            until_ms: now_ms + cool_ms,
            cool_ms,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_never_exceeds_its_cap_however_many_attempts_there_were() {
        for attempts in 0..100 {
            assert!((0..=300_000).contains(&backoff_ms(attempts, 300_000, u64::MAX - 5)));
        }
        assert!(backoff_ms(0, 300_000, 777_777_777) <= 1_000);
    }

    #[test]
    fn requests_are_spread_over_the_second() {
        let mut pacer = Pacer::new(10);

        let waits: Vec<i64> = (0..3).map(|_| pacer.wait_us(5_000)).collect();

        assert_eq!(waits, [0, 100_000, 200_000]);
        assert_eq!(pacer.wait_us(6_000), 0);
    }

    #[test]
    fn the_breaker_opens_after_failures_in_a_row_and_lets_one_probe_through_at_a_time() {
        let mut breaker = Breaker::new(3);
        breaker.not_served(0);
        breaker.not_served(0);
        breaker.served();
        breaker.not_served(0);
        breaker.not_served(0);
        assert_eq!(breaker.may(0), May::Go);

        breaker.not_served(0);

        assert_eq!(breaker.may(10), May::NotBefore(1_000));
        assert_eq!(breaker.may(1_000), May::Probe);
        assert_eq!(breaker.may(1_001), May::NotBefore(2_000));
        breaker.not_served(1_500);
        assert_eq!(breaker.may(1_501), May::NotBefore(3_500));
        breaker.served();
        assert_eq!(breaker.may(1_502), May::Go);
    }

    #[test]
    fn an_ehr_that_was_away_for_long_is_still_probed_often() {
        let mut breaker = Breaker::new(1);
        let mut now = 0;
        for _ in 0..50 {
            breaker.not_served(now);
            now += 60_000;
        }

        assert_eq!(breaker.may(now - 60_000), May::NotBefore(now - 60_000 + COOL_MAX_MS));
    }
}
