//! PID and MRG of an ADT A40: the patient who goes on, and the numbers that were another's until now. A message may hold
//! several such pairs; one half without the other is refused.

use super::datatypes::PatientIdentifier;
use super::error::{ErrorCode, Hl7Error, SegmentId};
use super::fields::Segment;
use super::patient::PatientSegment;

/// One PID with its MRG.
#[derive(Clone)]
pub struct Merge {
    pub survivor: PatientSegment,
    /// MRG-1, or MRG-4 of a sender from before v2.3 that leaves MRG-1 empty; never none.
    pub merged: Vec<PatientIdentifier>,
    /// The MRG segment's own occurrence.
    occurrence: u16,
}

conceal_debug!(Merge);

impl Merge {
    pub(super) fn read_all<'a>(segments: impl Iterator<Item = Segment<'a>>) -> Result<Vec<Self>, Hl7Error> {
        let mut all = Vec::new();
        let mut waiting: Option<Segment<'a>> = None;
        for segment in segments {
            if segment.id() == SegmentId::PID {
                if waiting.replace(segment).is_some() {
                    break;
                }
            } else if segment.id() == SegmentId::MRG {
                let Some(pid) = waiting.take() else {
                    let problem = "a PID segment has to come before each MRG";
                    let at = segment.occurrence();
                    return Err(Hl7Error::segment(
                        ErrorCode::SegmentSequence,
                        SegmentId::MRG,
                        at,
                        problem,
                    ));
                };
                all.push(Self::read(&pid, &segment)?);
            }
        }
        match (waiting, all.is_empty()) {
            (Some(pid), _) => {
                let problem = "an MRG segment has to follow each PID";
                let at = pid.occurrence();
                Err(Hl7Error::segment(
                    ErrorCode::SegmentSequence,
                    SegmentId::MRG,
                    at,
                    problem,
                ))
            }
            (None, true) => {
                let problem = "message needs a PID segment";
                Err(Hl7Error::segment(
                    ErrorCode::SegmentSequence,
                    SegmentId::PID,
                    1,
                    problem,
                ))
            }
            (None, false) => Ok(all),
        }
    }

    fn read(pid: &Segment<'_>, mrg: &Segment<'_>) -> Result<Self, Hl7Error> {
        let numbers = |n| -> Vec<PatientIdentifier> {
            let all = mrg.field(n).repetitions();
            all.filter_map(|cx| PatientIdentifier::read(&cx)).collect()
        };
        let current = numbers(1);
        let merged = if current.is_empty() { numbers(4) } else { current };
        if merged.is_empty() {
            return Err(mrg.missing(1));
        }
        Ok(Self {
            survivor: PatientSegment::read(pid)?,
            merged,
            occurrence: mrg.occurrence(),
        })
    }

    /// An error about MRG-1 of this very pair.
    pub fn refusal(&self, code: ErrorCode, problem: &'static str) -> Hl7Error {
        let mut refused = Hl7Error::field(code, SegmentId::MRG, 1, problem);
        refused.location.occurrence = self.occurrence;
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::Message;

    fn merges(segments: &str) -> Result<Vec<Merge>, Hl7Error> {
        let bytes = format!("MSH|^~\\&|||||||ADT^A40^ADT_A39|1|P|2.5.1\r{segments}");
        Message::parse(bytes.as_bytes()).and_then(|message| message.merges())
    }

    fn numbers(merge: &Merge) -> Vec<&str> {
        merge.merged.iter().map(|id| id.value.as_str()).collect()
    }

    #[test]
    fn every_pair_keeps_its_own_numbers() {
        let read = merges("EVN|A40\rPID|||7\rPD1|x\rMRG|8~9\rPV1||O\rPID|||17\rMRG|18").unwrap();

        let pairs: Vec<_> = read
            .iter()
            .map(|merge| (merge.survivor.identifiers[0].value.as_str(), numbers(merge)))
            .collect();
        assert_eq!(pairs, [("7", vec!["8", "9"]), ("17", vec!["18"])]);
    }

    #[test]
    fn an_old_senders_prior_number_is_in_mrg_4() {
        assert_eq!(numbers(&merges("PID|||7\rMRG||||8").unwrap()[0]), ["8"]);
        assert_eq!(numbers(&merges("PID|||7\rMRG|9|||8").unwrap()[0]), ["9"]);
    }

    #[test]
    fn one_half_of_a_pair_is_refused_where_the_other_should_be() {
        let refused = |segments: &str| {
            let error = merges(segments).unwrap_err();
            (error.code.number(), error.location.to_string())
        };
        assert_eq!(refused("PID|||7"), (100, "MRG".to_owned()));
        assert_eq!(refused("MRG|8"), (100, "MRG".to_owned()));
        assert_eq!(refused("EVN|A40"), (100, "PID".to_owned()));
        assert_eq!(refused("PID|||7\rPID|||8\rMRG|9"), (100, "MRG(2)".to_owned()));
        assert_eq!(
            refused("PID|||7\rMRG|8\rPID|||9\rMRG|\"\""),
            (101, "MRG(2)-1".to_owned())
        );
        assert_eq!(refused("PID|||7\rMRG|8\rMRG|9"), (100, "MRG(2)".to_owned()));
    }
}
