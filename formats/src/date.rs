//! Dates and times as senders state them: of the precision they know, with the zone they name or none.
//!
//! A birth date known to the month stays known to the month. Nothing here converts between zones: a date of birth with a
//! time and zone behind it is that calendar date.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A calendar date known to the year, month or day. Years 1 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartialDate {
    year: u16,
    /// 0 when only the year is known.
    month: u8,
    /// 0 when the day is not known.
    day: u8,
}

/// A time of day known at least to the hour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    pub hour: u8,
    pub minute: Option<u8>,
    pub second: Option<u8>,
    pub nanosecond: u32,
}

/// A point in time as sent (HL7 DT, DTM or TS): a date, perhaps a time, perhaps an offset from UTC in minutes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    date: PartialDate,
    time: Option<TimeOfDay>,
    offset_minutes: Option<i16>,
}

conceal_debug!(PartialDate, TimeOfDay, Moment);

impl PartialDate {
    /// `None` unless the parts name a day, month or year of the calendar; a day needs a month.
    pub fn new(year: u16, month: Option<u8>, day: Option<u8>) -> Option<Self> {
        let year_fits = (1..=9999).contains(&year);
        let fits = match (month, day) {
            (None, None) => true,
            (Some(month), None) => (1..=12).contains(&month),
            (Some(month), Some(day)) => (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month),
            (None, Some(_)) => false,
        };
        (year_fits && fits).then(|| Self {
            year,
            month: month.unwrap_or(0),
            day: day.unwrap_or(0),
        })
    }

    /// Reads `YYYY`, `YYYYMM` or `YYYYMMDD` (HL7 DT).
    pub fn parse_hl7(text: &str) -> Option<Self> {
        if !matches!(text.len(), 4 | 6 | 8) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let part = |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<u8>().ok());
        Self::new(text.get(..4)?.parse().ok()?, part(4..6), part(6..8))
    }

    /// Reads `YYYY`, `YYYY-MM` or `YYYY-MM-DD` (FHIR date).
    pub fn parse_fhir(text: &str) -> Option<Self> {
        let dashes_fit = text.bytes().enumerate().all(|(i, b)| (b == b'-') == matches!(i, 4 | 7));
        if !matches!(text.len(), 4 | 7 | 10) || !dashes_fit {
            return None;
        }
        Self::parse_hl7(&text.replace('-', ""))
    }

    pub fn year(&self) -> u16 {
        self.year
    }

    pub fn month(&self) -> Option<u8> {
        (self.month != 0).then_some(self.month)
    }

    pub fn day(&self) -> Option<u8> {
        (self.day != 0).then_some(self.day)
    }

    /// `YYYY`, `YYYYMM` or `YYYYMMDD`.
    pub fn to_hl7(&self) -> String {
        self.join("")
    }

    /// `YYYY`, `YYYY-MM` or `YYYY-MM-DD`.
    pub fn to_fhir(&self) -> String {
        self.join("-")
    }

    fn join(&self, between: &str) -> String {
        let mut text = format!("{:04}", self.year);
        for part in [self.month(), self.day()].into_iter().flatten() {
            text.push_str(between);
            text.push_str(&format!("{part:02}"));
        }
        text
    }
}

impl Moment {
    /// `None` when a time is given for a date without a day, or a part is out of range.
    pub fn new(date: PartialDate, time: Option<TimeOfDay>, offset_minutes: Option<i16>) -> Option<Self> {
        let time_fits = time.is_none_or(|time| {
            let minute_first = time.minute.is_some() || time.second.is_none();
            date.day().is_some()
                && time.hour < 24
                && time.minute.unwrap_or(0) < 60
                && time.second.unwrap_or(0) < 60
                && (time.nanosecond == 0 || time.second.is_some())
                && time.nanosecond < 1_000_000_000
                && minute_first
        });
        let offset_fits = offset_minutes.is_none_or(|minutes| minutes.abs() <= 14 * 60);
        (time_fits && offset_fits).then_some(Self {
            date,
            time,
            offset_minutes,
        })
    }

    /// Reads `YYYY[MM[DD[HH[MM[SS[.S…]]]]]][±ZZZZ]` (HL7 DTM, v2.8 chapter 2A.3.22). Fractions of up to nine digits are taken.
    pub fn parse_hl7(text: &str) -> Option<Self> {
        if !text.is_ascii() {
            return None;
        }
        let (stated, offset_minutes) = match text.find(['+', '-']) {
            Some(at) => (&text[..at], Some(parse_offset(&text[at..])?)),
            None => (text, None),
        };
        let (whole, fraction) = match stated.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (stated, None),
        };
        let (date, time) = whole.split_at(whole.len().min(8));
        let date = PartialDate::parse_hl7(date)?;
        if time.is_empty() {
            return if fraction.is_none() {
                Self::new(date, None, offset_minutes)
            } else {
                None
            };
        }
        if !matches!(time.len(), 2 | 4 | 6) || !time.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let part = |range: std::ops::Range<usize>| time.get(range).and_then(|digits| digits.parse::<u8>().ok());
        let nanosecond = match fraction {
            Some(digits) if time.len() == 6 => parse_fraction(digits)?,
            Some(_) => return None,
            None => 0,
        };
        let time = TimeOfDay {
            hour: part(0..2)?,
            minute: part(2..4),
            second: part(4..6),
            nanosecond,
        };
        Self::new(date, Some(time), offset_minutes)
    }

    /// The calendar date as stated, whatever the zone.
    pub fn date(&self) -> PartialDate {
        self.date
    }

    pub fn time(&self) -> Option<TimeOfDay> {
        self.time
    }

    pub fn offset_minutes(&self) -> Option<i16> {
        self.offset_minutes
    }

    /// As HL7 DTM, in the precision it is known.
    pub fn to_hl7(&self) -> String {
        let mut text = self.date.to_hl7();
        if let Some(time) = self.time {
            text.push_str(&format!("{:02}", time.hour));
            for part in [time.minute, time.second].into_iter().flatten() {
                text.push_str(&format!("{part:02}"));
            }
            text.push_str(&fraction(time.nanosecond));
        }
        if let Some(minutes) = self.offset_minutes {
            text.push_str(&offset(minutes, ""));
        }
        text
    }

    /// As FHIR dateTime. FHIR wants seconds and a zone wherever it has a time, so minutes that were not sent become 00, and a
    /// time whose offset neither the sender nor `assumed_offset_minutes` gives is left off: the date alone is said.
    pub fn to_fhir(&self, assumed_offset_minutes: Option<i16>) -> String {
        let date = self.date.to_fhir();
        let (Some(time), Some(minutes)) = (self.time, self.offset_minutes.or(assumed_offset_minutes)) else {
            return date;
        };
        let (minute, second) = (time.minute.unwrap_or(0), time.second.unwrap_or(0));
        let (fraction, offset) = (fraction(time.nanosecond), offset(minutes, ":"));
        format!("{date}T{:02}:{minute:02}:{second:02}{fraction}{offset}", time.hour)
    }
}

fn days_in_month(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn parse_offset(text: &str) -> Option<i16> {
    let (sign, digits) = text.split_at(1);
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i16, i16) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    let total = hours * 60 + minutes;
    (minutes < 60).then_some(if sign == "-" { -total } else { total })
}

fn parse_fraction(digits: &str) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    format!("{digits:0<9}").parse().ok()
}

fn fraction(nanosecond: u32) -> String {
    if nanosecond == 0 {
        return String::new();
    }
    format!(".{nanosecond:09}").trim_end_matches('0').to_owned()
}

fn offset(minutes: i16, between: &str) -> String {
    let (sign, distance) = (if minutes < 0 { '-' } else { '+' }, minutes.unsigned_abs());
    format!("{sign}{:02}{between}{:02}", distance / 60, distance % 60)
}

impl Serialize for PartialDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_fhir())
    }
}

impl<'de> Deserialize<'de> for PartialDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_fhir(&text).ok_or_else(|| de::Error::custom("not a FHIR date; give YYYY, YYYY-MM or YYYY-MM-DD"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_precision_is_read_and_written_back() {
        for text in [
            "1961",
            "196106",
            "19610615",
            "1961061508",
            "196106150830",
            "19610615083059",
            "19610615083059.25",
        ] {
            for zone in ["", "+0000", "-0500", "+0215"] {
                let sent = format!("{text}{zone}");
                let read = Moment::parse_hl7(&sent).map(|moment| moment.to_hl7());
                assert_eq!(read.as_deref(), Some(sent.as_str()));
            }
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "61",
            "19610",
            "19611301",
            "19610229",
            "19000229",
            "19610600",
            "00000101",
            "1961061524",
            "196106150860",
            "19610615+1500",
            "19610615+05",
            "19610615.5",
            "196106150830.5",
            "1961-06-15",
            "19610615T08",
            "१९६१",
            "19610615 ",
            "20180709162444249",
            "1961+",
            "19610615083059.",
            "+0500",
        ] {
            assert!(Moment::parse_hl7(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_leap_day_counts_in_leap_years_only() {
        assert!(PartialDate::parse_hl7("20000229").is_some());
        assert!(PartialDate::parse_hl7("20240229").is_some());
        assert!(PartialDate::parse_hl7("21000229").is_none());
    }

    #[test]
    fn fhir_gets_a_time_only_with_a_zone() {
        let stated = |text, assumed| Moment::parse_hl7(text).map(|moment| moment.to_fhir(assumed)).unwrap();

        assert_eq!(stated("20240229083059.5-0500", None), "2024-02-29T08:30:59.5-05:00");
        assert_eq!(stated("2024022908", Some(-360)), "2024-02-29T08:00:00-06:00");
        assert_eq!(stated("2024022908", None), "2024-02-29");
        assert_eq!(stated("202402", Some(0)), "2024-02");
    }

    #[test]
    fn a_fhir_date_is_read_strictly() {
        assert!(PartialDate::parse_fhir("1961-06-15").is_some());
        assert!(PartialDate::parse_fhir("1961-06").is_some());
        for text in [
            "1961-6-15",
            "19610615",
            "1961-06-1",
            "1961-06-31",
            "1961-06-15T00:00:00Z",
            "",
        ] {
            assert!(PartialDate::parse_fhir(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in r"[0-9]{0,14}(\.[0-9]{0,4})?([+-][0-9]{0,5})?|.{0,12}") {
            if let Some(moment) = Moment::parse_hl7(&text) {
                prop_assert!(Moment::parse_hl7(&moment.to_hl7()) == Some(moment));
                prop_assert!(PartialDate::parse_fhir(&moment.date().to_fhir()) == Some(moment.date()));
            }
            PartialDate::parse_fhir(&text);
        }
    }
}
