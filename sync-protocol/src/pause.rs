//! How long an agent waits before it tries again. Sites that lost one hub together must not come back together, so every pause
//! is drawn; the dice are the caller's. It knows no clock, and never answers "at once" to a hub that asked for a pause.

use std::time::Duration;

/// The limit of the first pause is twice this; it doubles with every failure.
const BACKOFF_BEGIN: Duration = Duration::from_millis(500);
/// A hub, or what stands before it, that asks for a longer pause is asked again all the same.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);
/// All sites are told the same; they come back spread over so long.
const RETRY_AFTER_SPREAD: Duration = Duration::from_secs(2);
/// A hub that wants its agents spread over longer is not waited for longer all the same.
pub const RECONNECT_WINDOW_MAX: Duration = Duration::from_secs(5 * 60);
/// A revocation may have been a mistake, so it is asked about again, but seldom.
pub const REVOKED_AGAIN_AFTER: Duration = Duration::from_secs(60 * 60);
const REVOKED_SPREAD: Duration = Duration::from_secs(10 * 60);

/// Why an exchange broke off, as far as that decides when to come again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    Failure,
    /// The hub, or what stands before it, said how long to stay away.
    AskedToWait(Duration),
    /// The hub has revoked this agent.
    Revoked,
}

/// What bounds the pauses of one agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pacing {
    /// The limit of a pause stops doubling here.
    pub backoff_max: Duration,
    /// Over how long the hub wants its agents spread when it comes back to all of them at once.
    pub window: Duration,
}

impl Pacing {
    /// The pause after so many failures in a row, the first counted as 1: any time up to a limit that doubles with each, and
    /// never less spread than the hub's window. `dice` draws a number below the one given, in milliseconds.
    pub fn pause(&self, after: After, failures: u32, dice: impl FnOnce(u64) -> u64) -> Duration {
        match after {
            After::AskedToWait(asked) => asked.min(RETRY_AFTER_MAX) + drawn(RETRY_AFTER_SPREAD, dice),
            After::Revoked => REVOKED_AGAIN_AFTER + drawn(REVOKED_SPREAD, dice),
            After::Failure => {
                let doubled = BACKOFF_BEGIN.saturating_mul(1 << failures.min(16));
                let limit = doubled.min(self.backoff_max).max(Duration::from_millis(1));
                drawn(limit.max(self.window()), dice)
            }
        }
    }

    /// What is waited when the line is back: everybody's may have come back this very moment.
    pub fn back(&self, dice: impl FnOnce(u64) -> u64) -> Duration {
        drawn(self.window(), dice)
    }

    fn window(&self) -> Duration {
        self.window.min(RECONNECT_WINDOW_MAX)
    }
}

fn drawn(below: Duration, dice: impl FnOnce(u64) -> u64) -> Duration {
    match u64::try_from(below.as_millis()).unwrap_or(u64::MAX) {
        0 => Duration::ZERO,
        millis => Duration::from_millis(dice(millis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACING: Pacing = Pacing {
        backoff_max: Duration::from_secs(60),
        window: Duration::ZERO,
    };

    fn most(below: u64) -> u64 {
        below - 1
    }

    #[test]
    fn the_limit_doubles_with_every_failure_up_to_the_setting_and_any_time_below_may_be_drawn() {
        let longest = [1, 2, 3, 7, 8, 40, u32::MAX].map(|failures| PACING.pause(After::Failure, failures, most));

        let millis = [999, 1_999, 3_999, 59_999, 59_999, 59_999, 59_999];
        assert_eq!(longest, millis.map(Duration::from_millis));
        assert_eq!(PACING.pause(After::Failure, 40, |_| 0), Duration::ZERO);
    }

    #[test]
    fn the_hubs_window_spreads_the_first_tries_and_is_not_waited_for_without_end() {
        let spread = |window| Pacing { window, ..PACING };
        let minutes = |count: u64| Duration::from_secs(60 * count);

        let first = spread(minutes(2)).pause(After::Failure, 1, most);
        assert_eq!(first, minutes(2) - Duration::from_millis(1));
        assert_eq!(spread(minutes(2)).back(most), first);
        let forever = spread(minutes(600)).pause(After::Failure, 1, most);
        assert_eq!(forever, RECONNECT_WINDOW_MAX - Duration::from_millis(1));
        assert_eq!(PACING.back(most), Duration::ZERO);
    }

    #[test]
    fn whoever_asks_for_a_pause_gets_it_and_a_little_more_and_never_without_end() {
        let asked = |secs| PACING.pause(After::AskedToWait(Duration::from_secs(secs)), 1, |_| 700);

        assert_eq!(asked(30), Duration::from_millis(30_700));
        assert_eq!(asked(u64::MAX / 1_000), RETRY_AFTER_MAX + Duration::from_millis(700));
    }

    #[test]
    fn an_agent_that_was_revoked_asks_again_but_seldom() {
        let pauses = [1, 30].map(|failures| PACING.pause(After::Revoked, failures, |_| 0));

        assert_eq!(pauses, [REVOKED_AGAIN_AFTER; 2]);
    }
}
