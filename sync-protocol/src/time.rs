//! Hybrid logical time (Kulkarni et al., "Logical Physical Clocks", 2014). It breaks ties between concurrent values and
//! nothing else; no change is ever refused for it.

use crate::ids::BootId;

/// How far a remote time may pull the local one ahead of the local wall clock.
pub const REMOTE_LEAD_MAX_MS: u64 = 2_000;

/// Milliseconds since 1970 as the writer's wall clock had it, and a counter within that millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct HybridTime {
    pub wall_ms: u64,
    pub logical: u32,
}

/// A writer's time that is no further than this from the corrected one is not corrected.
pub const CLOCK_TOLERANCE_MS: u64 = 2_000;

/// What the hub knows of the clock that a change's times were read from. Nothing is known of one that was right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ClockFact {
    /// When the change was written by the hub's clock, milliseconds since 1970.
    Corrected(u64),
    /// It was written before its machine's clock was found to be wrong, and nobody knows by how much it was wrong then.
    Suspect,
}

impl ClockFact {
    /// Of two that were noted of one change the smaller; what is known before what is only suspected.
    pub fn joined(one: Option<ClockFact>, other: Option<ClockFact>) -> Option<ClockFact> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

/// How the clocks of a writer stood at an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootClock {
    /// The start of the writer that monotonic times count from.
    pub boot: BootId,
    /// The hub's clock when that was 0, as the writer estimates it, milliseconds since 1970.
    pub zero_ms: u64,
    pub monotonic_ms: u64,
    /// The writer's wall clock at that monotonic time.
    pub wall_ms: u64,
}

impl BootClock {
    /// By how much the writer's wall clock differs from the hub's.
    pub fn off_by_ms(&self) -> u64 {
        self.zero_ms.saturating_add(self.monotonic_ms).abs_diff(self.wall_ms)
    }

    pub fn is_off(&self) -> bool {
        self.off_by_ms() > CLOCK_TOLERANCE_MS
    }

    /// Whether a time has not come yet by the hub's clock, so that no right clock can have shown it.
    pub fn is_before(&self, at: HybridTime) -> bool {
        let hub_ms = self.zero_ms.saturating_add(self.monotonic_ms);
        at.wall_ms > hub_ms.saturating_add(CLOCK_TOLERANCE_MS)
    }
}

/// Gives each write a time later than every one before it on this replica.
#[derive(Clone, Copy, Debug, Default)]
pub struct HybridClock {
    pub last: HybridTime,
}

impl HybridClock {
    pub fn tick(&mut self, now_ms: u64) -> HybridTime {
        self.last = if now_ms > self.last.wall_ms {
            HybridTime {
                wall_ms: now_ms,
                logical: 0,
            }
        } else {
            match self.last.logical.checked_add(1) {
                Some(logical) => HybridTime { logical, ..self.last },
                None => HybridTime {
                    wall_ms: self.last.wall_ms + 1,
                    logical: 0,
                },
            }
        };
        self.last
    }

    /// Takes note of a time seen from elsewhere, but never runs more than [`REMOTE_LEAD_MAX_MS`] ahead of the wall.
    pub fn observe(&mut self, remote: HybridTime, now_ms: u64) {
        if remote > self.last && remote.wall_ms <= now_ms.saturating_add(REMOTE_LEAD_MAX_MS) {
            self.last = remote;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_while_the_wall_clock_goes_back() {
        let mut clock = HybridClock::default();
        let before = clock.tick(5_000);

        let after = clock.tick(1_000);

        assert!(after > before);
    }

    #[test]
    fn a_remote_time_years_ahead_does_not_move_ours() {
        let mut clock = HybridClock::default();
        clock.tick(5_000);

        clock.observe(
            HybridTime {
                wall_ms: 400_000_000_000,
                logical: 0,
            },
            5_001,
        );

        assert_eq!(clock.tick(5_002).wall_ms, 5_002);
    }
}
