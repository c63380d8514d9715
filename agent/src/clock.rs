//! The wall clock and the dice, in one place each.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds of this machine's time that never goes back, goes on while it sleeps, and begins anywhere.
pub fn monotonic_ms() -> u64 {
    static SINCE: OnceLock<Option<Instant>> = OnceLock::new();
    let fallback = SINCE.get_or_init(|| uptime_ms().is_none().then(Instant::now));
    match fallback {
        Some(since) => u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        None => uptime_ms().unwrap_or_default(),
    }
}

/// On Linux the clock of the standard library stands still while the machine sleeps; this one does not.
fn uptime_ms() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let (secs, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    Some(secs.parse::<u64>().ok()? * 1_000 + hundredths.parse::<u64>().ok()? * 10)
}

/// A number below the limit, for spreading tries in time; without random bytes it is the limit itself.
pub fn random_below(limit: u64) -> u64 {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes) % limit.max(1),
        Err(_) => limit,
    }
}

pub const MINUTE_MS: i64 = 60_000;

/// How long something is, for people: "0 min", "41 min", "1 h 19 min", "2 d 3 h".
pub fn span(ms: i64) -> String {
    let minutes = (ms / MINUTE_MS).max(0);
    match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn monotonic_time_goes_on() {
        let (before, deadline) = (monotonic_ms(), Instant::now() + Duration::from_secs(10));

        while monotonic_ms() == before {
            assert!(Instant::now() < deadline, "it stands still");
            std::thread::yield_now();
        }

        assert!(monotonic_ms() > before);
    }
}
