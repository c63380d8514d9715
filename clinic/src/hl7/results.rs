//! ORU R01 in the clinic's words: one result for each report, its observations as lines that people read.

use formats::date::Moment;
use formats::hl7::{Header, Hl7Error, Message, Observation, PatientResults, Report, SegmentId, Sent};
use sync_protocol::Phi;

use super::person::{PatientSaid, wanted_numbers};
use super::{clipped, sent_at, within_limit};
use crate::matching::Identity;
use crate::numbering;
use crate::value::{Identifier, REPORT_MAX_BYTES, ReportText};

const SERVICE_MAX_BYTES: usize = 300;

/// What a message says of one patient's results.
#[derive(Clone, Debug)]
pub struct PatientReports {
    pub person: PatientSaid,
    pub reports: Vec<ReportSaid>,
}

/// One report: OBR with its OBX.
#[derive(Clone, Debug)]
pub struct ReportSaid {
    pub service: Phi<String>,
    /// Lines "name: value units (flags)".
    pub observations: Phi<ReportText>,
    /// When the specimen was taken, else when it was observed, else when the message was sent.
    pub times: Vec<Moment>,
}

impl PatientReports {
    pub fn read_all(message: &Message) -> Result<Vec<PatientReports>, Hl7Error> {
        let all = message.results()?;
        within_limit(all.iter().map(|results| results.reports.len()).sum(), SegmentId::OBR)?;
        let sent = sent_at(message);
        Ok(all
            .iter()
            .map(|results| read(results, message.header(), sent))
            .collect())
    }

    pub fn identity(&self) -> Identity {
        self.person.identity()
    }

    pub fn wanted_numbers(&self) -> Vec<Identifier> {
        wanted_numbers(&self.person.identifiers)
    }

    /// The one number that a result goes on naming while it waits for its patient: the label's, else the first.
    pub fn kept_number(&self) -> Option<&Identifier> {
        let numbers = &self.person.identifiers;
        let of_label = numbers.iter().find(|id| numbering::parse(&id.value).is_some());
        of_label.or(numbers.first())
    }
}

fn read(results: &PatientResults, header: &Header, sent: Option<Moment>) -> PatientReports {
    PatientReports {
        person: PatientSaid::read(&results.patient, header),
        reports: results.reports.iter().map(|report| read_report(report, sent)).collect(),
    }
}

fn read_report(report: &Report, sent: Option<Moment>) -> ReportSaid {
    let first_named = || report.observations.iter().find_map(|one| one.code.as_ref());
    let service = report
        .service
        .as_ref()
        .or_else(first_named)
        .and_then(|coded| coded.display());
    let status = status_words(report.status.as_deref()).map(|words| format!(" ({words})"));
    let times = [
        moment(&report.specimen_taken),
        report.observations.iter().find_map(|one| moment(&one.observed)),
        sent,
    ];
    ReportSaid {
        service: Phi::new(clipped(service.unwrap_or("Result"), SERVICE_MAX_BYTES) + &status.unwrap_or_default()),
        observations: Phi::new(ReportText(observations(report))),
        times: times.into_iter().flatten().collect(),
    }
}

fn moment(sent: &Sent<Moment>) -> Option<Moment> {
    sent.value().copied()
}

/// One observation as a line, or several where its value or notes have several.
struct Line {
    text: String,
    /// Not normal, or no longer what was said before.
    flagged: bool,
}

/// All lines where they fit into a field. Where they do not, the flagged ones go first, in their order, and a last line
/// says how many are left to the original.
fn observations(report: &Report) -> String {
    let lines: Vec<Line> = report.observations.iter().map(line).chain(note_line(report)).collect();
    let whole: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let whole = whole.join("\n");
    if whole.len() <= REPORT_MAX_BYTES {
        return whole;
    }
    let mut room = REPORT_MAX_BYTES - MORE_MAX_BYTES;
    let mut fits = vec![false; lines.len()];
    for flagged in [true, false] {
        let wanted = lines.iter().zip(&mut fits).filter(|(line, _)| line.flagged == flagged);
        for (line, fits) in wanted {
            *fits = line.text.len() < room;
            room -= if *fits { line.text.len() + 1 } else { 0 };
        }
    }
    let shown: Vec<&str> = lines
        .iter()
        .zip(&fits)
        .filter(|(_, fits)| **fits)
        .map(|(line, _)| line.text.as_str())
        .collect();
    let more = lines.len() - shown.len();
    match shown.as_slice() {
        [] => format!("{}\n… the rest is in the original", clipped(&whole, room)),
        shown => format!("{}\n… {more} more in the original", shown.join("\n")),
    }
}

/// Room for the last line.
const MORE_MAX_BYTES: usize = 60;

fn line(observation: &Observation) -> Line {
    let name = observation
        .code
        .as_ref()
        .and_then(|code| code.display())
        .unwrap_or("Observation");
    let is_document = matches!(observation.value_type.as_deref(), Some("ED" | "RP"));
    let value = match (observation.value.as_str(), is_document) {
        ("", true) => "document, in the original",
        ("", false) => "no value",
        (value, _) => value,
    };
    let mut text = format!("{name}: {value}");
    if let Some(units) = observation.units.as_deref().filter(|_| !observation.value.is_empty()) {
        text.push(' ');
        text.push_str(units);
    }
    let abnormal = observation
        .abnormal_flags
        .iter()
        .map(String::as_str)
        .filter(|flag| *flag != "N");
    let said: Vec<&str> = abnormal.chain(status_words(observation.status.as_deref())).collect();
    if !said.is_empty() {
        text.push_str(&format!(" ({})", said.join(", ")));
    }
    for note in &observation.notes {
        text.push_str("\n  ");
        text.push_str(note);
    }
    Line {
        text,
        flagged: !said.is_empty(),
    }
}

fn note_line(report: &Report) -> Option<Line> {
    (!report.notes.is_empty()).then(|| Line {
        text: format!("Note: {}", report.notes.join("\n  ")),
        flagged: false,
    })
}

/// HL7 tables 0085 and 0123, as far as a reader must know it: final says nothing.
fn status_words(status: Option<&str>) -> Option<&'static str> {
    match status? {
        "P" | "R" => Some("preliminary"),
        "C" => Some("corrected"),
        "W" => Some("the earlier value was wrong"),
        "D" => Some("deleted"),
        "X" => Some("could not be obtained"),
        "I" | "S" | "O" => Some("pending"),
        _ => None,
    }
}
