//! ORU R01: results, kept with the patient they were sent for. A message may hold several patients; a result before any PID
//! belongs to nobody and is refused.

use super::datatypes::{Coded, Sent, sent, sent_moment, sent_text, tidy};
use super::error::{ErrorCode, Hl7Error, SegmentId};
use super::fields::{Repetition, Segment};
use super::patient::PatientSegment;
use super::visit::Visit;
use crate::date::Moment;

/// One PID with its PV1 and its reports.
#[derive(Clone)]
pub struct PatientResults {
    pub patient: PatientSegment,
    pub visit: Option<Visit>,
    pub reports: Vec<Report>,
}

/// One OBR with its OBX. Observations sent without an OBR make a report whose own fields are empty.
#[derive(Clone)]
pub struct Report {
    /// OBR-2, or ORC-2 before it.
    pub placer_order_number: Option<String>,
    /// OBR-3, or ORC-3 before it.
    pub filler_order_number: Option<String>,
    /// OBR-4
    pub service: Option<Coded>,
    /// OBR-7: when the specimen was taken.
    pub specimen_taken: Sent<Moment>,
    /// OBR-25, HL7 table 0123: F final, P preliminary, C corrected, …
    pub status: Option<String>,
    /// NTE-3 after the OBR.
    pub notes: Vec<String>,
    pub observations: Vec<Observation>,
}

/// One OBX.
#[derive(Clone)]
pub struct Observation {
    /// OBX-2: NM, SN, ST, TX, FT, CWE, ED, …
    pub value_type: Option<String>,
    /// OBX-3
    pub code: Option<Coded>,
    /// OBX-5 as text, a line for each repetition: `>182` for a structured number, a code's text, free text with its line
    /// breaks. Empty for embedded documents (ED, RP), which stay in the original message.
    pub value: String,
    /// OBX-6
    pub units: Option<String>,
    /// OBX-7
    pub reference_range: Option<String>,
    /// OBX-8, HL7 table 0078: H, L, HH, LL, A, N, …
    pub abnormal_flags: Vec<String>,
    /// OBX-11, HL7 table 0085: F final, P preliminary, C corrected, X cannot be obtained, …
    pub status: Option<String>,
    /// OBX-14
    pub observed: Sent<Moment>,
    /// NTE-3 after the OBX.
    pub notes: Vec<String>,
}

conceal_debug!(PatientResults, Report, Observation);

impl PatientResults {
    pub(super) fn read_all<'a>(segments: impl Iterator<Item = Segment<'a>>) -> Result<Vec<Self>, Hl7Error> {
        let mut all: Vec<Self> = Vec::new();
        let mut order: Option<Segment<'a>> = None;
        for segment in segments {
            let id = segment.id();
            if id == SegmentId::PID {
                all.push(Self {
                    patient: PatientSegment::read(&segment)?,
                    visit: None,
                    reports: Vec::new(),
                });
                order = None;
                continue;
            }
            let Some(current) = all.last_mut() else {
                refuse_before_patient(&segment)?;
                continue;
            };
            match id {
                SegmentId::PV1 => current.visit = Some(Visit::read(&segment, None)?),
                SegmentId::ORC => order = Some(segment),
                SegmentId::OBR => current.reports.push(Report::read(&segment, order.take().as_ref())?),
                SegmentId::OBX => current.report().observations.push(Observation::read(&segment)?),
                SegmentId::NTE => current.note(&segment),
                _ => {}
            }
        }
        if all.is_empty() {
            return Err(patient_missing());
        }
        Ok(all)
    }

    fn report(&mut self) -> &mut Report {
        if self.reports.is_empty() {
            self.reports.push(Report::without_order());
        }
        let last = self.reports.len() - 1;
        &mut self.reports[last]
    }

    /// A note belongs to the observation or the report before it; one about the patient is left in the original.
    fn note(&mut self, nte: &Segment<'_>) {
        let Some(report) = self.reports.last_mut() else { return };
        let notes = report
            .observations
            .last_mut()
            .map_or(&mut report.notes, |observation| &mut observation.notes);
        notes.extend(nte.field(3).repetitions().filter_map(|line| tidy(line.whole_text())));
    }
}

fn refuse_before_patient(segment: &Segment<'_>) -> Result<(), Hl7Error> {
    let needs_patient = matches!(segment.id(), SegmentId::OBR | SegmentId::OBX | SegmentId::ORC);
    if needs_patient { Err(patient_missing()) } else { Ok(()) }
}

fn patient_missing() -> Hl7Error {
    let problem = "a PID segment has to come before results";
    Hl7Error::segment(ErrorCode::SegmentSequence, SegmentId::PID, 1, problem)
}

impl Report {
    fn read(obr: &Segment<'_>, orc: Option<&Segment<'_>>) -> Result<Self, Hl7Error> {
        let number = |n| {
            let ordered = || orc.and_then(|orc| tidy(orc.field(n).text()));
            tidy(obr.field(n).text()).or_else(ordered)
        };
        Ok(Self {
            placer_order_number: number(2),
            filler_order_number: number(3),
            service: sent(&obr.field(4), Coded::read).into_value(),
            specimen_taken: sent_moment(obr, 7)?,
            status: sent_text(&obr.field(25)).into_value(),
            notes: Vec::new(),
            observations: Vec::new(),
        })
    }

    fn without_order() -> Self {
        Self {
            placer_order_number: None,
            filler_order_number: None,
            service: None,
            specimen_taken: Sent::Nothing,
            status: None,
            notes: Vec::new(),
            observations: Vec::new(),
        }
    }
}

impl Observation {
    fn read(obx: &Segment<'_>) -> Result<Self, Hl7Error> {
        let value_type = tidy(obx.field(2).text()).map(|code| code.to_ascii_uppercase());
        let kind = value_type.as_deref().unwrap_or_default();
        let values = obx.field(5);
        let lines: Vec<String> = if values.is_null() {
            Vec::new()
        } else {
            values
                .repetitions()
                .filter_map(|value| value_text(kind, &value))
                .collect()
        };
        let units = sent(&obx.field(6), Coded::read).into_value();
        Ok(Self {
            code: sent(&obx.field(3), Coded::read).into_value(),
            value: lines.join("\n"),
            units: units.and_then(|units| units.code.or(units.text)),
            reference_range: tidy(obx.field(7).whole_text()),
            abnormal_flags: obx
                .field(8)
                .repetitions()
                .filter_map(|flag| tidy(flag.component(1).text()))
                .collect(),
            status: tidy(obx.field(11).text()),
            observed: sent_moment(obx, 14)?,
            notes: Vec::new(),
            value_type,
        })
    }
}

fn value_text(kind: &str, value: &Repetition<'_>) -> Option<String> {
    match kind {
        "ED" | "RP" => None,
        "SN" => tidy(
            value
                .components()
                .map(|part| part.text().trim().to_owned())
                .collect::<String>()
                .into(),
        ),
        "CE" | "CWE" | "CNE" | "CF" => Coded::read(value).and_then(|coded| coded.display().map(str::to_owned)),
        _ => tidy(value.whole_text()),
    }
}

#[cfg(test)]
mod tests {
    use crate::hl7::Message;

    #[test]
    fn an_order_of_one_patient_names_no_result_of_the_next() {
        let bytes = b"MSH|^~\\&|||||||ORU^R01|1|P|2.5\rPID|||7\rORC|RE|P-1|F-1\rPID|||8\rOBR|1|||X\rORC|RE|P-2\rOBR|2||F-2|Y\rOBR|3|||Z\r";

        let results = Message::parse(bytes).and_then(|message| message.results()).unwrap();

        assert!(results[0].reports.is_empty());
        let numbers = results[1].reports.iter().map(|report| {
            (
                report.placer_order_number.as_deref(),
                report.filler_order_number.as_deref(),
            )
        });
        assert_eq!(
            numbers.collect::<Vec<_>>(),
            [(None, None), (Some("P-2"), Some("F-2")), (None, None)]
        );
    }
}
