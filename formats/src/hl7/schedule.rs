//! SCH, TQ1, RGS, AIS, AIG, AIL and AIP: what is booked, when, with whom and where, as v2.3 to v2.8 say it. A resource that
//! its action code takes off the booking (D) is left out.

use super::datatypes::{
    Clinician, Coded, EntityIdentifier, PatientLocation, Sent, sent, sent_all, sent_moment, text, tidy,
};
use super::error::{ErrorCode, Hl7Error, SegmentId};
use super::fields::{Field, Repetition, Segment};
use crate::date::Moment;

/// From when to when, or for how long, as far as it is said.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    pub start: Option<Moment>,
    pub end: Option<Moment>,
    pub duration_secs: Option<u32>,
}

/// AIS: what is to be done.
#[derive(Clone)]
pub struct ServiceBooked {
    /// AIS-3
    pub service: Option<Coded>,
    pub timing: Timing,
}

/// AIP, or an AIG whose type (AIG-4) says that the resource is a person.
#[derive(Clone)]
pub struct PersonBooked {
    /// AIP-3, the first, or AIG-3.
    pub person: Option<Clinician>,
    pub timing: Timing,
}

/// AIL: where.
#[derive(Clone)]
pub struct PlaceBooked {
    /// AIL-3
    pub place: Option<PatientLocation>,
    pub timing: Timing,
}

/// One SCH with what belongs to it.
#[derive(Clone)]
pub struct Booking {
    /// SCH-1
    pub placer_number: Option<EntityIdentifier>,
    /// SCH-2
    pub filler_number: Option<EntityIdentifier>,
    /// SCH-7
    pub reason: Sent<Coded>,
    /// SCH-25, HL7 table 0278: Booked, Cancelled, Noshow, …
    pub status: Option<Coded>,
    /// NTE-3 between SCH and the patient.
    pub notes: Vec<String>,
    pub services: Vec<ServiceBooked>,
    pub people: Vec<PersonBooked>,
    pub places: Vec<PlaceBooked>,
    /// TQ1-7, TQ1-8 and TQ1-6, since v2.5.
    times: Timing,
    /// SCH-11, with the duration of SCH-9 and SCH-10: withdrawn with v2.5, and what later senders leave in it may be old.
    old_times: Timing,
    /// Of AIG that is no person.
    other_times: Vec<Timing>,
}

conceal_debug!(Timing, ServiceBooked, PersonBooked, PlaceBooked, Booking);

/// The longest that is read as a duration: a year.
const DURATION_MAX_SECS: f64 = 366.0 * 24.0 * 60.0 * 60.0;

impl Booking {
    pub(super) fn read<'a>(segments: impl Iterator<Item = Segment<'a>>) -> Result<Self, Hl7Error> {
        let wrong =
            |occurrence, problem| Hl7Error::segment(ErrorCode::SegmentSequence, SegmentId::SCH, occurrence, problem);
        let mut booking: Option<Self> = None;
        let mut about_booking = false;
        for segment in segments {
            let id = segment.id();
            if id == SegmentId::SCH {
                if booking.is_some() {
                    return Err(wrong(2, "a message is about one booking"));
                }
                booking = Some(Self::of(&segment)?);
                about_booking = true;
                continue;
            }
            let Some(booking) = &mut booking else { continue };
            match id {
                SegmentId::TQ1 if booking.times == Timing::default() => booking.times = tq1(&segment)?,
                SegmentId::NTE if about_booking => {
                    let lines = segment.field(3);
                    let lines = lines.repetitions().filter_map(|line| tidy(line.whole_text()));
                    booking.notes.extend(lines);
                }
                SegmentId::TQ1 | SegmentId::NTE => {}
                _ => {
                    about_booking = false;
                    booking.add(&segment)?;
                }
            }
        }
        booking.ok_or_else(|| wrong(1, "message needs an SCH segment"))
    }

    fn of(sch: &Segment<'_>) -> Result<Self, Hl7Error> {
        let number = |n| sent(&sch.field(n), EntityIdentifier::read).into_value();
        Ok(Self {
            placer_number: number(1),
            filler_number: number(2),
            reason: sent(&sch.field(7), Coded::read),
            status: sent(&sch.field(25), Coded::read).into_value(),
            notes: Vec::new(),
            services: Vec::new(),
            people: Vec::new(),
            places: Vec::new(),
            times: Timing::default(),
            old_times: sch_11(sch)?,
            other_times: Vec::new(),
        })
    }

    fn add(&mut self, segment: &Segment<'_>) -> Result<(), Hl7Error> {
        let is_taken_off = segment.field(2).text().trim().eq_ignore_ascii_case("D");
        if is_taken_off {
            return Ok(());
        }
        match segment.id() {
            SegmentId::AIS => self.services.push(ServiceBooked {
                service: sent(&segment.field(3), Coded::read).into_value(),
                timing: timing(segment, 4, 7)?,
            }),
            SegmentId::AIP => self.people.push(PersonBooked {
                person: sent_all(&segment.field(3), |xcn| Clinician::read(xcn).into_iter().collect())
                    .into_value()
                    .and_then(|all| all.into_iter().next()),
                timing: timing(segment, 6, 9)?,
            }),
            SegmentId::AIL => self.places.push(PlaceBooked {
                place: sent(&segment.field(3), PatientLocation::read).into_value(),
                timing: timing(segment, 6, 9)?,
            }),
            SegmentId::AIG => {
                let timing = timing(segment, 8, 11)?;
                if is_person(&segment.field(4)) {
                    let person = sent(&segment.field(3), resource_person).into_value();
                    self.people.push(PersonBooked { person, timing });
                } else {
                    self.other_times.push(timing);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// When it is, as said at the first of these places that says when: TQ1, its services, its people, places, things,
    /// SCH-11. Several services give several; the booking is from the first start to the last end.
    pub fn timings(&self) -> Vec<Timing> {
        let candidates = [
            vec![self.times],
            self.services.iter().map(|one| one.timing).collect(),
            self.people.iter().map(|one| one.timing).collect(),
            self.places.iter().map(|one| one.timing).collect(),
            self.other_times.clone(),
            vec![self.old_times],
        ];
        let lasts = candidates.iter().flatten().find_map(|timing| timing.duration_secs);
        let said = candidates
            .into_iter()
            .find(|all| all.iter().any(|timing| timing.start.is_some()));
        let mut said = said.unwrap_or_default();
        said.retain(|timing| timing.start.is_some());
        // One place may say when, and another for how long.
        if let [one] = said.as_mut_slice()
            && one.end.is_none()
        {
            one.duration_secs = one.duration_secs.or(lasts);
        }
        said
    }
}

fn moment(segment: &Segment<'_>, n: u16) -> Result<Option<Moment>, Hl7Error> {
    sent_moment(segment, n).map(Sent::into_value)
}

/// Start in field `start`; duration and its units in `lasts` and the field behind it.
fn timing(segment: &Segment<'_>, start: u16, lasts: u16) -> Result<Timing, Hl7Error> {
    Ok(Timing {
        start: moment(segment, start)?,
        end: None,
        duration_secs: duration(segment, lasts),
    })
}

fn tq1(segment: &Segment<'_>) -> Result<Timing, Hl7Error> {
    let lasts = segment.field(6);
    Ok(Timing {
        start: moment(segment, 7)?,
        end: moment(segment, 8)?,
        duration_secs: seconds(&lasts.component(1).text(), &lasts.component(2).text()),
    })
}

/// TQ: its third component is a duration such as `M30`, its fourth and fifth are start and end.
fn sch_11(sch: &Segment<'_>) -> Result<Timing, Hl7Error> {
    let problem =
        "start and end have to be dates or times: YYYY[MM[DD[HHMM[SS]]]] with an optional offset such as -0500";
    let timing = sch.field(11);
    let part = |n| match text(&timing.repetition(), n) {
        None => Ok(None),
        Some(stated) => Moment::parse_hl7(&stated)
            .map(Some)
            .ok_or_else(|| sch.error(ErrorCode::DataType, 11, problem)),
    };
    Ok(Timing {
        start: part(4)?,
        end: part(5)?,
        duration_secs: text(&timing.repetition(), 3)
            .and_then(|stated| tq_duration(&stated))
            .or_else(|| duration(sch, 9)),
    })
}

/// `M30`, `H2`, `S90`; a bare number is minutes.
fn tq_duration(stated: &str) -> Option<u32> {
    let at = stated.find(|c: char| c.is_ascii_digit())?;
    let (unit, number) = stated.split_at(at);
    matches!(unit.to_ascii_uppercase().as_str(), "" | "S" | "M" | "H" | "D").then(|| seconds(number, unit))?
}

/// A number in field `n`, its units in the field behind it: as code, or as text where the code is unknown.
fn duration(segment: &Segment<'_>, n: u16) -> Option<u32> {
    let units = segment.field(n + 1);
    let number = segment.field(n);
    let code = seconds(&number.text(), &units.text());
    code.or_else(|| match tidy(units.component(2).text()) {
        Some(name) => seconds(&number.text(), &name),
        None => None,
    })
}

/// Without units, minutes.
fn seconds(number: &str, units: &str) -> Option<u32> {
    let each = match units.trim().to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "" | "m" | "min" | "mins" | "mn" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    let lasts = number.trim().parse::<f64>().ok()? * each;
    let whole = format!("{:.0}", lasts);
    (lasts > 0.0 && lasts <= DURATION_MAX_SECS).then(|| whole.parse().ok())?
}

/// AIG-4 of senders that book their clinicians as general resources.
fn is_person(kind: &Field<'_>) -> bool {
    let said = [kind.component(1).text(), kind.component(2).text()];
    said.iter().any(|word| {
        let word = word.trim().to_ascii_uppercase();
        matches!(
            word.as_str(),
            "P" | "PROVIDER" | "PHYSICIAN" | "DOCTOR" | "CLINICIAN" | "PRACTITIONER"
        )
    })
}

/// CE of a person: the id, then the name in one piece.
fn resource_person(ce: &Repetition<'_>) -> Option<Clinician> {
    Some(Clinician {
        id: Some(text(ce, 1)?),
        family: text(ce, 2),
        given: None,
        authority: None,
        type_code: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::Message;

    fn booking(segments: &str) -> Result<Booking, Hl7Error> {
        let bytes = format!("MSH|^~\\&|||||||SIU^S12^SIU_S12|1|P|2.5.1\r{segments}");
        Message::parse(bytes.as_bytes()).and_then(|message| message.booking())
    }

    type Told = (String, Option<String>, Option<u32>);

    fn times(segments: &str) -> Vec<Told> {
        let all = booking(segments).unwrap().timings();
        let told = |timing: &Timing| {
            let end = timing.end.map(|end| end.to_hl7());
            (timing.start.unwrap().to_hl7(), end, timing.duration_secs)
        };
        all.iter().map(told).collect()
    }

    fn at(start: &str, end: Option<&str>, lasts: Option<u32>) -> Told {
        (start.to_owned(), end.map(str::to_owned), lasts)
    }

    #[test]
    fn an_old_senders_time_is_in_sch_11() {
        let read = times("SCH|1||||||||30|min|^^M45^202601050900^202601050945\rPID|||7");
        assert_eq!(read, [at("202601050900", Some("202601050945"), Some(2_700))]);
        let read = times("SCH|1||||||||30|min|^^^202601050900\rPID|||7");
        assert_eq!(read, [at("202601050900", None, Some(1_800))]);
    }

    #[test]
    fn what_a_service_says_goes_before_a_withdrawn_field() {
        let read = times(
            "SCH|1|2|||||||||2^^^202001010000^202001020000\rPID|||7\rRGS|1\r\
             AIS|1||X^Y|202601051000|||20|min\rAIS|2||Z|202601050930|||15\rAIP|1||9^P||||202601050800",
        );
        assert_eq!(
            read,
            [
                at("202601051000", None, Some(1_200)),
                at("202601050930", None, Some(900))
            ]
        );
    }

    #[test]
    fn a_resource_without_a_service_says_when_and_one_taken_off_says_nothing() {
        let read = times(
            "SCH|1\rRGS|1\rAIS|1|D|X|202601050700|||20|min\rAIP|1|D|8^Gone\r\
             AIP|1||9^Here|||202601050815|||1|h\rAIL|1||ROOM",
        );
        assert_eq!(read, [at("202601050815", None, Some(3_600))]);
        let people = booking("SCH|1\rAIP|1|D|8^Gone\rAIP|2|A|9^Here").unwrap().people;
        assert_eq!(people.len(), 1);
        assert_eq!(people[0].person.as_ref().unwrap().id.as_deref(), Some("9"));
    }

    #[test]
    fn tq1_says_it_of_the_whole() {
        let read =
            times("SCH|1\rTQ1|1||||||202601050900-0600|202601050930-0600\rPID|||7\rAIS|1||X|202601051100|||15|min");
        assert_eq!(read, [at("202601050900-0600", Some("202601050930-0600"), None)]);
    }

    #[test]
    fn a_number_comes_with_its_assigner_and_notes_with_the_booking() {
        let read =
            booking("SCH|P-1^DESK|F-2^EHR^2.999.7^ISO\rNTE|1||First~second\rPID|||7\rNTE|1||of the patient").unwrap();

        let filler = read.filler_number.unwrap();
        assert_eq!(filler.value, "F-2");
        assert_eq!(filler.authority.unwrap().universal_id.as_deref(), Some("2.999.7"));
        assert_eq!(read.notes, ["First", "second"]);
    }

    #[test]
    fn a_clinician_booked_as_a_general_resource_is_a_person_and_equipment_is_none() {
        let read = booking("SCH|1\rAIG|1||5001^Scope^L|101^Equipment\rAIG|2||77^Brennan|PROVIDER").unwrap();
        let ids: Vec<_> = read
            .people
            .iter()
            .map(|one| one.person.as_ref().unwrap().id.as_deref())
            .collect();
        assert_eq!(ids, [Some("77")]);
    }

    #[test]
    fn what_is_no_time_is_refused_by_name() {
        let refused = |segments: &str| {
            let error = booking(segments).unwrap_err();
            (error.code.number(), error.location.to_string())
        };
        assert_eq!(refused("SCH|1||||||||||^^^tomorrow"), (102, "SCH-11".to_owned()));
        assert_eq!(refused("SCH|1\rAIS|1||X|noon"), (102, "AIS-4".to_owned()));
        assert_eq!(refused("PID|||7"), (100, "SCH".to_owned()));
        assert_eq!(refused("SCH|1\rSCH|2"), (100, "SCH(2)".to_owned()));
    }

    #[test]
    fn a_duration_that_is_none_is_left_out() {
        for lasts in ["0|min", "-5|min", "soon|min", "5|fortnights", "1e300|d", "NaN|min"] {
            assert_eq!(
                times(&format!("SCH|1\rAIS|1||X|202601050900|||{lasts}"))[0].2,
                None,
                "{lasts}"
            );
        }
    }
}
