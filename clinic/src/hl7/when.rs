//! When something happened, from what a message says of it and the time it was received.

use formats::date::Moment;
use jiff::civil;
use jiff::tz::TimeZone;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// A sender whose event lies further off than this has a wrong clock, or sends a test.
const AHEAD_MAX_MS: i64 = DAY_MS;
const BEHIND_MAX_MS: i64 = 30 * DAY_MS;

/// When an event of patient flow happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventTime {
    /// Milliseconds since 1970, never after receipt, so that nobody has waited for less than no time.
    pub ms: i64,
    /// The time said lies more than a day ahead or thirty days back, so the time of receipt stands for it.
    pub replaced: bool,
}

/// The first of the times said that has an hour; without one, the time of receipt. Data is never refused for its time.
pub fn event_time(said: &[Moment], zone: &TimeZone, received_ms: i64) -> EventTime {
    let stated = said
        .iter()
        .filter(|moment| moment.time().is_some())
        .find_map(|moment| at_ms(moment, zone));
    match stated {
        Some(ms) if ms > received_ms + AHEAD_MAX_MS || ms < received_ms - BEHIND_MAX_MS => EventTime {
            ms: received_ms,
            replaced: true,
        },
        stated => EventTime {
            ms: stated.unwrap_or(received_ms).min(received_ms),
            replaced: false,
        },
    }
}

/// A time as sent, in milliseconds since 1970: by its own offset, else in the site's zone; what is not known of it counts
/// as its beginning. `None` outside of the years that a clock can have.
pub fn at_ms(moment: &Moment, zone: &TimeZone) -> Option<i64> {
    let date = moment.date();
    let (month, day) = (date.month().unwrap_or(1), date.day().unwrap_or(1));
    let date = civil::Date::new(i16::try_from(date.year()).ok()?, month.cast_signed(), day.cast_signed()).ok()?;
    let time = match moment.time() {
        None => civil::Time::midnight(),
        Some(time) => {
            let part = |part: Option<u8>| part.unwrap_or(0).cast_signed();
            let nanosecond = i32::try_from(time.nanosecond).ok()?;
            civil::Time::new(
                time.hour.cast_signed(),
                part(time.minute),
                part(time.second),
                nanosecond,
            )
            .ok()?
        }
    };
    let stated = date.to_datetime(time);
    let timestamp = match moment.offset_minutes() {
        Some(minutes) => {
            let offset = jiff::tz::Offset::from_seconds(i32::from(minutes) * 60).ok()?;
            offset.to_timestamp(stated).ok()?
        }
        None => stated.to_zoned(zone.clone()).ok()?.timestamp(),
    };
    Some(timestamp.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T15:00:00Z
    const RECEIVED_MS: i64 = 1_767_366_000_000;

    fn said(texts: &[&str]) -> EventTime {
        let moments: Vec<Moment> = texts.iter().map(|text| Moment::parse_hl7(text).unwrap()).collect();
        event_time(&moments, &chicago(), RECEIVED_MS)
    }

    /// Central standard time, without a zone database.
    fn chicago() -> TimeZone {
        TimeZone::posix("CST6CDT,M3.2.0,M11.1.0").unwrap()
    }

    fn kept(ms: i64) -> EventTime {
        EventTime { ms, replaced: false }
    }

    #[test]
    fn a_time_without_an_offset_is_the_sites_own() {
        assert_eq!(said(&["202601020830"]), kept(RECEIVED_MS - 30 * 60_000));
        assert_eq!(said(&["202601021430+0000"]), kept(RECEIVED_MS - 30 * 60_000));
    }

    #[test]
    fn a_date_alone_is_no_time_and_the_next_one_said_is_taken() {
        assert_eq!(said(&["20260102", "202601020900"]), kept(RECEIVED_MS));
        assert_eq!(said(&["20260102"]), kept(RECEIVED_MS));
        assert_eq!(said(&[]), kept(RECEIVED_MS));
    }

    #[test]
    fn nothing_happens_after_it_was_received() {
        assert_eq!(said(&["202601030800"]), kept(RECEIVED_MS));
    }

    #[test]
    fn a_time_that_no_clock_would_show_gives_way_to_that_of_receipt() {
        let replaced = EventTime {
            ms: RECEIVED_MS,
            replaced: true,
        };
        for text in ["20290801070724", "198908181126+0215", "00010101000000"] {
            assert_eq!(said(&[text]), replaced, "{text}");
        }
    }

    #[test]
    fn an_hour_that_the_clock_skips_is_read_as_the_one_after_it() {
        let moment = Moment::parse_hl7("202603080230").unwrap();
        // 03:30 CDT
        assert_eq!(at_ms(&moment, &chicago()), Some(1_772_958_600_000));
    }
}
