//! Results as they came in: the lines taken apart again, flags in words.

use std::cmp::Reverse;

use clinic::catalogue::result;
use sync_protocol::{Dot, HybridTime, Phi, RecordId, RecordState, rules};

use super::reading::Reading;
use super::views::{Mark, ResultEntry, ResultLine, Tone};
use crate::store::TxError;

/// Results on one page; older ones are at the hub as well.
const RESULTS_MAX: usize = 50;

pub(super) fn results(reading: &Reading<'_, '_>, patient: RecordId) -> Result<Vec<ResultEntry>, TxError> {
    let mut found: Vec<RecordState> = reading
        .tx
        .linked(patient, result::KIND)?
        .into_iter()
        .map(|stored| stored.state)
        .collect();
    found.sort_by_key(|state| Reverse((observed_ms(state), received(state))));
    let mut entries = Vec::new();
    for (nth, state) in found.iter().take(RESULTS_MAX).enumerate() {
        let mut entry = result_entry(reading, state);
        if found[..nth].iter().any(|newer| replaces(newer, state)) {
            entry.status = "replaced by a later report".to_owned();
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn observed_ms(state: &RecordState) -> i64 {
    result::OBSERVED_MS.value(state).unwrap_or_default()
}

/// When it came in, told apart also where several came within a millisecond, as they do in one message.
fn received(state: &RecordState) -> Option<(HybridTime, Dot)> {
    let (_, live) = rules::latest(state.register(result::SERVICE.id)?)?;
    Some((live.origin.written(), live.origin.dot))
}

/// A later report of the same service and time that takes back what was said before, or completes it.
fn replaces(newer: &RecordState, older: &RecordState) -> bool {
    let ((name, status), (other, before)) = (result_name(newer), result_name(older));
    let takes_back = matches!(status.as_str(), "corrected" | "the earlier value was wrong" | "deleted");
    name == other && observed_ms(newer) == observed_ms(older) && (takes_back || before == "preliminary")
}

fn result_entry(reading: &Reading<'_, '_>, state: &RecordState) -> ResultEntry {
    let (name, status) = result_name(state);
    let observed = result::OBSERVED_MS.value(state);
    let received = result::SERVICE.latest(state).map(|said| said.entered_ms);
    let times: Vec<String> = [
        observed.map(|ms| format!("observed {}", reading.clock.at(ms))),
        received.map(|ms| format!("received {}", reading.clock.at(ms))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let lines = result::OBSERVATIONS
        .value(state)
        .map(Phi::into_exposed)
        .unwrap_or_default();
    ResultEntry {
        result: state.record.to_string(),
        name,
        received: times.join(", "),
        status,
        lines: lines
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(result_line)
            .collect(),
    }
}

/// The service and, where it is not final, its status.
pub(super) fn result_name(state: &RecordState) -> (String, String) {
    let service = result::SERVICE.value(state).map(Phi::into_exposed).unwrap_or_default();
    match service.strip_suffix(')').and_then(|bare| bare.rsplit_once(" (")) {
        Some((name, status)) if STATUSES.contains(&status) => (name.to_owned(), status.to_owned()),
        Some(_) | None => (service, String::new()),
    }
}

/// As `clinic` writes them behind a service that is not final.
const STATUSES: [&str; 6] = [
    "preliminary",
    "corrected",
    "the earlier value was wrong",
    "deleted",
    "could not be obtained",
    "pending",
];

/// A line "name: value units (flags)"; one that continues another is its own.
fn result_line(line: &str) -> ResultLine {
    let plain = |name: &str, value: &str| ResultLine {
        name: name.to_owned(),
        value: value.to_owned(),
        unit: String::new(),
        range: String::new(),
        flag: None,
    };
    let Some((name, said)) = line.split_once(": ").filter(|_| !line.starts_with(' ')) else {
        return plain("Note", line.trim());
    };
    let (said, flags) = match said.strip_suffix(')').and_then(|bare| bare.rsplit_once(" (")) {
        Some((said, flags)) => (said, Some(flags)),
        None => (said, None),
    };
    let measured = said.starts_with(|c: char| c.is_ascii_digit() || "<>+-.".contains(c));
    let (value, unit) = match said.split_once(' ') {
        Some((value, unit)) if measured => (value, unit),
        Some(_) | None => (said, ""),
    };
    ResultLine {
        unit: unit.to_owned(),
        flag: flags.map(flag),
        ..plain(name, value)
    }
}

/// HL7 table 0078 in words; anything else as it was sent.
fn flag(flags: &str) -> Mark {
    let known = match flags {
        "H" => Some(("High", Tone::Watch)),
        "HH" => Some(("Critical high", Tone::Act)),
        "L" => Some(("Low", Tone::Watch)),
        "LL" => Some(("Critical low", Tone::Act)),
        "A" => Some(("Abnormal", Tone::Watch)),
        "AA" => Some(("Critical", Tone::Act)),
        _ => None,
    };
    let (label, tone) = known.unwrap_or((flags, Tone::Watch));
    Mark::new("alert", label, tone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_taken_apart_as_it_was_put_together() {
        let line = result_line("Glucose: 113 mg/dL (HH)");
        assert_eq!(
            (line.name.as_str(), line.value.as_str(), line.unit.as_str()),
            ("Glucose", "113", "mg/dL")
        );
        assert_eq!(line.flag.map(|mark| mark.label), Some("Critical high".to_owned()));

        let words = result_line("Influenza A: not detected");
        assert_eq!((words.value.as_str(), words.unit.as_str()), ("not detected", ""));

        let note = result_line("  specimen: haemolysed");
        assert_eq!(
            (note.name.as_str(), note.value.as_str()),
            ("Note", "specimen: haemolysed")
        );
    }
}
