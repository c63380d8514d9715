//! Times as people at the site read them: clock times for facts, durations for waiting. Dates never leave it open which is
//! the day and which the month.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::clock::{MINUTE_MS, span};

/// The site's wall clock at one moment.
pub(super) struct SiteClock {
    zone: TimeZone,
    pub(super) now_ms: i64,
    /// The zone's name when this machine does not know it; times are then in UTC and say so.
    unknown_zone: bool,
}

impl SiteClock {
    pub(super) fn new(zone: &str, now_ms: i64) -> SiteClock {
        let known = TimeZone::get(zone);
        SiteClock {
            unknown_zone: known.is_err(),
            zone: known.unwrap_or(TimeZone::UTC),
            now_ms,
        }
    }

    fn zoned(&self, ms: i64) -> Zoned {
        let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        at.to_zoned(self.zone.clone())
    }

    fn words(&self, ms: i64, format: &str) -> String {
        self.zoned(ms).strftime(format).to_string()
    }

    /// "10:42"; with its day when that is not today, and its year when that is not this one.
    pub(super) fn at(&self, ms: i64) -> String {
        let (then, now) = (self.zoned(ms), self.zoned(self.now_ms));
        if then.date() == now.date() {
            self.words(ms, "%H:%M")
        } else if then.year() == now.year() {
            self.words(ms, "%d %b %H:%M")
        } else {
            self.words(ms, "%d %b %Y")
        }
    }

    /// "today 10:42", "14 Apr 10:42".
    pub(super) fn spoken(&self, ms: i64) -> String {
        if self.is_today(ms) {
            format!("today {}", self.at(ms))
        } else {
            self.at(ms)
        }
    }

    /// "10:42:07"
    pub(super) fn to_the_second(&self, ms: i64) -> String {
        self.words(ms, "%H:%M:%S")
    }

    /// "14 Apr 2026"
    pub(super) fn day(&self, ms: i64) -> String {
        self.words(ms, "%d %b %Y")
    }

    /// "04/14/2026 11:34", as American EHRs take it.
    pub(super) fn for_the_ehr(&self, ms: i64) -> String {
        self.words(ms, "%m/%d/%Y %H:%M")
    }

    /// "Tue 14 Apr · 11:38"
    pub(super) fn now_label(&self) -> String {
        let zone = if self.unknown_zone { " UTC" } else { "" };
        format!("{}{zone}", self.words(self.now_ms, "%a %d %b · %H:%M"))
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    pub(super) fn now(&self) -> String {
        self.at(self.now_ms)
    }

    pub(super) fn is_today(&self, ms: i64) -> bool {
        self.zoned(ms).date() == self.today()
    }

    pub(super) fn today(&self) -> jiff::civil::Date {
        self.zoned(self.now_ms).date()
    }

    /// When today began here.
    pub(super) fn midnight_ms(&self) -> i64 {
        let midnight = self.zoned(self.now_ms).start_of_day();
        midnight.map_or(self.now_ms, |midnight| midnight.timestamp().as_millisecond())
    }

    /// How long it has been: "41 min".
    pub(super) fn since(&self, ms: i64) -> String {
        span(self.now_ms - ms)
    }

    pub(super) fn minutes_since(&self, ms: i64) -> i64 {
        ((self.now_ms - ms) / MINUTE_MS).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 14 Apr 2026, 18:42 in Chicago.
    const EVENING_MS: i64 = 1_776_210_120_000;

    #[test]
    fn times_are_the_sites_own() {
        let clock = SiteClock::new("America/Chicago", EVENING_MS);

        assert_eq!(clock.now_label(), "Tue 14 Apr · 18:42");
        assert_eq!(clock.at(EVENING_MS - 41 * MINUTE_MS), "18:01");
        assert_eq!(clock.at(EVENING_MS - 24 * 60 * MINUTE_MS), "13 Apr 18:42");
        assert_eq!(clock.at(EVENING_MS - 365 * 24 * 60 * MINUTE_MS), "14 Apr 2025");
        assert_eq!(clock.since(EVENING_MS - 79 * MINUTE_MS), "1 h 19 min");
        assert_eq!(EVENING_MS - clock.midnight_ms(), (18 * 60 + 42) * MINUTE_MS);
    }

    #[test]
    fn a_zone_that_this_machine_does_not_know_is_said_to_be_utc() {
        let clock = SiteClock::new("Mars/Olympus", EVENING_MS);

        assert_eq!(clock.now_label(), "Tue 14 Apr · 23:42 UTC");
    }
}
