//! What messages say, as text, and how a source that repeats itself is followed. Everybody here is made up.

use formats::hl7::Sent;
use sync_protocol::author::{self, Stamp};
use sync_protocol::ids::BootId;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, Dot, HybridTime, RecordId, ReplicaId};

use super::*;
use crate::catalogue::{Field, patient};
use crate::matching::{Identity, phone_key};
use crate::numbering::{self, TEMP_SYSTEM};
use crate::value::{AppointmentStatus, BirthDate, PersonName, REPORT_MAX_BYTES, Value};
use crate::write::{Action, Channel, Writing};

fn message(segments: &[&str]) -> Message {
    Message::parse(segments.join("\r").as_bytes()).unwrap()
}

const MSH: &str = "MSH|^~\\&|DESK|RIVERSIDE^2.999.1^ISO|MAINSTAY|CLINIC|20260102083000-0600||ADT^A04^ADT_A01|1|P|2.5.1";

fn shown<T>(sent: &Sent<Phi<T>>, text: impl Fn(&T) -> String) -> String {
    match sent {
        Sent::Nothing => "-".to_owned(),
        Sent::Null => "\"\"".to_owned(),
        Sent::Value(value) => text(value.expose()),
    }
}

fn number(id: &Identifier) -> String {
    format!("{} {} {}", id.system, id.value, id.kind)
}

fn told(admission: &Admission) -> String {
    let person = &admission.person;
    let text = String::clone;
    let mut lines = vec![
        format!("name       {}", shown(&person.name, PersonName::listed)),
        format!("birth date {}", shown(&person.birth_date, BirthDate::iso)),
        format!("sex        {}", person.sex.value().map_or("-", |sex| sex.word())),
        format!("phone      {}", shown(&person.phone, text)),
        format!("e-mail     {}", shown(&person.email, text)),
        format!(
            "address    {}",
            shown(&person.address, |a| [
                a.line.as_str(),
                &a.city,
                &a.state,
                &a.postal_code
            ]
            .join(" / "))
        ),
    ];
    lines.extend(person.identifiers.iter().map(|id| format!("number     {}", number(id))));
    for allergy in &admission.allergies {
        let parts = [
            allergy.substance.as_str(),
            &allergy.code,
            &allergy.reaction,
            &allergy.severity,
        ];
        lines.push(format!("allergy    {}", parts.join(" / ")));
    }
    for coverage in &admission.coverages {
        let member = coverage.member_id.as_ref().map_or("-", |id| id.expose().as_str());
        let plan = shown(&coverage.plan, text);
        lines.push(format!("coverage   {} / {member} / {plan}", coverage.payer.expose()));
    }
    lines.push(format!(
        "visit      {}",
        admission.visit.number.as_ref().map_or("-".to_owned(), number)
    ));
    lines.push(format!("reason     {}", shown(&admission.visit.reason, text)));
    lines.extend(admission.times.iter().map(|at| format!("time       {}", at.to_hl7())));
    lines.join("\n")
}

#[test]
fn a_registration_in_the_clinics_words() {
    let read = Admission::read(&message(&[
        MSH,
        "EVN|A04|20260102083100||||202601020829",
        "PID|1||740101^^^RIVERSIDE&2.999.1&ISO^MR~T0A7-00C5^^^CLINIC~900-00-0001^^^USSSA^SS~V1^^^RIVERSIDE^VN||\
         Quiñones-Whitfield^Dolores^M^Jr^^^L||19610302|F|||12 Elm St^Apt 4^Springfield^IL^62701^USA^H||\
         312-555-0101^PRN^PH~^NET^Internet^dolores@example.org",
        "PV1|1|O|||||||||||||||||V740101^^^RIVERSIDE&2.999.1&ISO",
        "PV2|||^Cough for 3 days",
        "AL1|1|DA|70618^Penicillin^RXNORM|SV|Hives~Swelling",
        "AL1|2|FA|^Peanuts|U",
        "IN1|1|HMO^Blue Advantage|77|Cascade Health||||||||||||||||||||||||||||||||PN-145",
    ]))
    .unwrap();

    insta::assert_snapshot!(told(&read));
}

#[test]
fn an_old_sender_without_authorities_speaks_for_itself() {
    let read = Admission::read(&message(&[
        "MSH|^~\\&|OLD|NORTH CLINIC||||ADT^A08|ADT^A08|9|P|2.3",
        "PID|1|8812|||LI^NA|||U|||||\"\"",
    ]));

    insta::assert_snapshot!(told(&read.unwrap()));
}

#[test]
fn an_authority_is_named_by_its_universal_id() {
    let of = |namespace: &str, id: &str, kind: &str| {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        system_of(&Designator {
            namespace: part(namespace),
            universal_id: part(id),
            universal_id_type: part(kind),
        })
    };

    assert_eq!(of("M11", "", ""), Some("M11".to_owned()));
    assert_eq!(of("M11", "2.999.1", "ISO"), Some("urn:oid:2.999.1".to_owned()));
    assert_eq!(of("", "2.999.1", ""), Some("urn:oid:2.999.1".to_owned()));
    assert_eq!(of("", "A-1", "GUID"), Some("urn:uuid:a-1".to_owned()));
    assert_eq!(
        of("X", "clinic.example.org", "DNS"),
        Some("clinic.example.org".to_owned())
    );
    assert_eq!(of("", "", ""), None);
}

#[test]
fn what_is_not_taken_is_refused_by_its_event() {
    let taken = |kind: &str, receiver| {
        let msh = format!("MSH|^~\\&|A|B|C|D|2026||{kind}|1|P|2.5");
        Taken::of(&message(&[&msh]).header().message_type, receiver)
    };

    for receiver in [Receiver::Site, Receiver::Hub] {
        assert_eq!(taken("ADT^A08^ADT_A01", receiver), Ok(Taken::Update));
        assert_eq!(taken("ADT^A40^ADT_A39", receiver), Ok(Taken::Merge));
        assert_eq!(taken("SIU^S26", receiver), Ok(Taken::NoShow));
        for kind in ["SIU^S16", "SIU^S17", "VXU^V04", "ORU^R30", "ADT"] {
            assert_eq!(taken(kind, receiver).unwrap_err().code.number(), 201, "{kind}");
        }
    }
    assert_eq!(taken("ORU^R01", Receiver::Site), Ok(Taken::Results));
    assert_eq!(taken("ADT^A31", Receiver::Hub), Ok(Taken::Person));
    for (kind, receiver) in [
        ("ADT^A31", Receiver::Site),
        ("ADT^A28", Receiver::Site),
        ("ORU^R01", Receiver::Hub),
        ("ADT^A03", Receiver::Hub),
    ] {
        assert_eq!(taken(kind, receiver).unwrap_err().code.number(), 201, "{kind}");
    }
}

#[test]
fn an_endless_list_of_allergies_is_refused_and_not_cut() {
    let mut segments = vec![MSH, "PID|1||1^^^A^MR||Li^Na"];
    segments.extend(std::iter::repeat_n("AL1|1||^Dust", LIST_MAX + 1));

    let refused = Admission::read(&message(&segments)).unwrap_err();

    assert_eq!(refused.location.to_string(), format!("AL1({})", LIST_MAX + 1));
}

fn reports(segments: &[&str]) -> Vec<PatientReports> {
    let msh = "MSH|^~\\&|LAB|CASCADE|||20260102090000-0600||ORU^R01^ORU_R01|7|P|2.5.1";
    PatientReports::read_all(&message(&[&[msh], segments].concat())).unwrap()
}

#[test]
fn a_result_is_lines_that_people_read() {
    let read = reports(&[
        "PID|1||740101^^^RIVERSIDE^MR||Li^Na||19990105",
        "OBR|1||F1|57021-8^CBC panel^LN|||20260102081500-0600||||||||||||||||||C",
        "OBX|1|NM|718-7^Hemoglobin^LN||8.1|g/dL|13-18|LL|||F",
        "NTE|1||Called to the nurse",
        "OBX|2|NM|777-3^Platelets^LN||210|10*3/uL|150-350|N|||P",
        "OBX|3|SN|30385-9^RDW^LN||>^182|%||H~A|||C",
        "OBX|4|ED|11502-2^Report^LN||^application^pdf^Base64^AAAA||||||F",
        "OBX|5|ST|x^Smear^L||||||||X",
        "OBR|2||F2|^Urine",
    ]);

    let text: Vec<String> = read[0]
        .reports
        .iter()
        .map(|report| format!("[{}]\n{}", report.service.expose(), &**report.observations.expose()))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
    assert_eq!(read[0].reports[0].times[0].to_hl7(), "20260102081500-0600");
    assert_eq!(read[0].reports[1].times[0].to_hl7(), "20260102090000-0600");
}

#[test]
fn of_a_long_result_what_is_flagged_is_shown_first_and_the_rest_is_counted() {
    let mut segments = vec!["PID|1||1^^^A^MR".to_owned(), "OBR|1|||^Long".to_owned()];
    for n in 0..500 {
        let flag = if n == 498 { "HH" } else { "N" };
        segments.push(format!("OBX|{n}|NM|c^Observation number {n}^L||{n}|mg||{flag}|||F"));
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();

    let read = reports(&segments);

    let text = read[0].reports[0].observations.expose();
    assert!(text.len() <= REPORT_MAX_BYTES, "{}", text.len());
    assert!(text.contains("Observation number 498: 498 mg (HH)"));
    let shown = text.lines().count() - 1;
    assert!(
        text.ends_with(&format!("… {} more in the original", 500 - shown)),
        "{}",
        text.0
    );
}

#[test]
fn one_endless_line_is_cut_and_says_so() {
    let endless = format!("OBX|1|TX|c^Text^L||{}", "é".repeat(8_000));

    let read = reports(&["PID|1||1^^^A^MR", "OBR|1|||^Long", &endless]);

    let text = read[0].reports[0].observations.expose();
    assert!(text.len() <= REPORT_MAX_BYTES && text.ends_with("… the rest is in the original"));
}

#[test]
fn a_label_number_is_looked_for_whoever_is_said_to_have_assigned_it() {
    let temp = numbering::mint(10, 5, None).unwrap();
    let pid = format!("PID|1||{}^^^ANYBODY^PI||Li^Na", numbering::shown(&temp).to_lowercase());

    let read = reports(&[&pid, "OBR|1|||^CBC"]);

    let wanted = read[0].wanted_numbers();
    assert_eq!((wanted[0].system.as_str(), &wanted[0].value), (TEMP_SYSTEM, &temp));
}

/// A patient record that changes are applied to as a store would.
struct Record {
    state: RecordState,
    count: u8,
    last: Option<LastSaid>,
}

impl Record {
    fn new() -> Record {
        Record {
            state: RecordState::new(patient::KIND, RecordId([1; 16])),
            count: 0,
            last: None,
        }
    }

    fn writing(&self) -> Writing {
        let actor = Channel::Hl7.program();
        Writing::new(patient::KIND, self.state.record, Action::Message, actor, 0)
    }

    fn write(&mut self, writing: Writing) -> Option<ChangeId> {
        self.count += 1;
        let stamp = Stamp {
            change: ChangeId([self.count; 16]),
            salt: [0; 16],
            at: HybridTime {
                wall_ms: u64::from(self.count),
                logical: 0,
            },
            boot: BootId([0; 16]),
            monotonic_ms: 0,
        };
        let dot = Dot {
            replica: ReplicaId([1; 16]),
            counter: u64::from(self.count),
        };
        let composed = author::compose(&writing.done(), &stamp, dot, Some(&self.state), None);
        let (header, payload) = composed?;
        self.state.apply(&header, &payload, |_| true);
        Some(stamp.change)
    }

    /// The source says something; whether that was a change.
    fn hears<T: Value>(&mut self, field: Field<T>, sent: &Sent<T>, same: fn(&T, &T) -> bool) -> bool {
        let (writing, noted) = follow(self.writing(), field, Some(&self.state), sent, self.last.as_ref(), same);
        let change = if writing.is_empty() { None } else { self.write(writing) };
        if let Some(noted) = noted {
            self.last = Some(LastSaid {
                change: change.filter(|_| noted.written).unwrap_or(ChangeId::NIL),
                value: noted.value,
            });
        }
        change.is_some()
    }

    /// A person writes a phone number over all that is shown.
    fn corrects(&mut self, phone: &str) {
        let shown = self.state.shown(patient::PHONE.id);
        let writing = self
            .writing()
            .replace(patient::PHONE, &Phi::new(phone.to_owned()), &shown);
        self.write(writing);
    }

    fn phone(&self) -> Option<String> {
        patient::PHONE.value(&self.state).map(Phi::into_exposed)
    }

    fn says_phone(&mut self, phone: &str) -> bool {
        self.hears(patient::PHONE, &Sent::Value(Phi::new(phone.to_owned())), same_phone)
    }

    fn says_no_phone(&mut self) -> bool {
        self.hears(patient::PHONE, &Sent::Null, same_phone)
    }
}

fn same_phone(a: &Phi<String>, b: &Phi<String>) -> bool {
    phone_key(a.expose()) == phone_key(b.expose())
}

#[test]
fn an_old_phone_said_again_does_not_undo_a_correction() {
    let mut record = Record::new();
    record.says_phone("312-555-0101");
    record.corrects("312-555-0199");

    let changed = record.says_phone("312-555-0101");

    assert!(!changed);
    assert_eq!(record.phone().as_deref(), Some("312-555-0199"));
}

#[test]
fn a_new_word_of_the_source_stands_beside_what_a_person_wrote() {
    let mut record = Record::new();
    record.says_phone("312-555-0101");
    record.corrects("312-555-0199");

    let changed = record.says_phone("312-555-0102");

    assert!(changed);
    assert_eq!(record.phone().as_deref(), Some("312-555-0102"));
    assert_eq!(record.state.shown(patient::PHONE.id).len(), 2);
}

#[test]
fn a_null_empties_what_the_source_said_and_nothing_else() {
    let mut own = Record::new();
    own.says_phone("312-555-0101");
    let mut corrected = Record::new();
    corrected.says_phone("312-555-0101");
    corrected.corrects("312-555-0199");
    let mut beside = Record::new();
    beside.says_phone("312-555-0101");
    beside.corrects("312-555-0199");
    beside.says_phone("312-555-0102");
    let mut never = Record::new();
    never.corrects("312-555-0199");

    let emptied = [&mut own, &mut corrected, &mut beside, &mut never].map(|record| {
        record.says_no_phone();
        record.phone()
    });

    let kept = Some("312-555-0199".to_owned());
    assert_eq!(emptied, [None, kept.clone(), kept.clone(), kept]);
    assert!(!own.says_no_phone(), "a null said again is a change");
}

#[test]
fn a_first_word_that_agrees_with_what_stands_writes_nothing() {
    let mut record = Record::new();
    record.corrects("(312) 555-0101");

    assert!(!record.says_phone("312-555-0101"));
    assert!(record.says_phone("312-555-0102"));
    assert_eq!(
        record.state.shown(patient::PHONE.id).len(),
        2,
        "a person's value was taken away"
    );
}

#[test]
fn a_source_and_a_person_who_differ_on_a_birth_date_leave_it_to_a_person() {
    let date = |text: &str| Phi::new(BirthDate::parse(text).unwrap());
    let mut record = Record::new();
    let writing = record.writing().set(patient::BIRTH_DATE, &date("1961-03-02"));
    record.write(writing);

    record.hears(patient::BIRTH_DATE, &Sent::Value(date("1961-02-03")), |a, b| a == b);

    assert!(patient::BIRTH_DATE.ask(&record.state).is_open());
}

#[test]
fn a_record_agrees_by_any_value_that_is_live() {
    let name = |text: &str| Phi::new(PersonName::parse(text));
    let mut record = Record::new();
    for text in ["Li, Na", "Lee, Nan"] {
        let writing = record.writing().set(patient::NAME, &name(text));
        record.write(writing);
    }
    let writing = record
        .writing()
        .set(patient::BIRTH_DATE, &Phi::new(BirthDate::parse("1999-01-05").unwrap()));
    record.write(writing);
    let said = |text: &str, date: &str| Identity {
        name: PersonName::parse(text),
        birth_date: BirthDate::parse(date),
        ..Identity::default()
    };

    assert_eq!(agreement(&record.state, &said("LEE, NAN", "1999-01-05")), 2);
    assert_eq!(agreement(&record.state, &said("Li, Na", "1990-05-01")), 1);
    assert_eq!(agreement(&record.state, &said("Somebody, Else", "1990-05-01")), 0);
    assert_eq!(agreement(&record.state, &said("", "")), 0);
}

#[test]
fn a_number_is_carried_only_with_its_authority() {
    let number = |system: &str| Identifier {
        system: system.to_owned(),
        value: "740101".to_owned(),
        kind: "MR".to_owned(),
    };
    let mut record = Record::new();
    let writing = record
        .writing()
        .assert(patient::IDENTIFIER, &Phi::new(number("RIVERSIDE")));
    record.write(writing);

    assert!(carries(&record.state, &number("Riverside")));
    assert!(!carries(&record.state, &number("ELSEWHERE")) && !carries(&record.state, &number("")));
}

const SIU: &str = "MSH|^~\\&|SCHED|RIVERSIDE|MAINSTAY|NORTH|20260102083000-0600||SIU^S12^SIU_S12|1|P|2.5.1";

fn scheduling(taken: Taken, segments: &[&str]) -> Result<Scheduling, Hl7Error> {
    Scheduling::read(&message(&[&[SIU], segments].concat()), taken)
}

const PID: &str = "PID|1||740101^^^RIVERSIDE^MR||Li^Na||19990105";

#[test]
fn a_booking_in_the_clinics_words() {
    let read = scheduling(
        Taken::Book,
        &[
            "SCH|P1^DESK|F1^EHR^2.999.4^ISO|||||FU^Follow-up|||||||||||||||||Booked",
            PID,
            "PV1|1|O|WARD^^^WEST",
            "RGS|1",
            "AIS|1||99213^Office visit|20260105150000+0000|||20|min",
            "AIL|1||EXAM^1^^NORTH CLINIC",
            "AIP|1||1234567893^Okafor^Chidi^^^^^^^^^^NPI",
        ],
    )
    .unwrap();
    let said = read.said(&jiff::tz::TimeZone::UTC);

    assert_eq!(number(&read.number), "urn:oid:2.999.4 F1 ");
    assert_eq!(said.starts.value(), Some(&1_767_625_200_000));
    assert_eq!(said.ends.value(), Some(&1_767_626_400_000));
    assert_eq!(shown(&said.reason, String::clone), "Follow-up");
    assert_eq!(said.status.value(), Some(&AppointmentStatus::Booked));
    assert_eq!(read.places, ["NORTH CLINIC", "WEST", "EXAM", "WARD", "NORTH"]);
    let provider = read.provider.unwrap();
    assert_eq!((provider.id.as_str(), provider.is_npi), ("1234567893", true));
}

#[test]
fn the_event_says_how_a_booking_stands_and_sch_25_what_the_event_leaves_open() {
    let status = |taken, stated: &str| {
        let sch = format!("SCH|P1||||||||||^^^20260105{}{stated}", "|".repeat(14));
        scheduling(taken, &[&sch, PID]).unwrap().status
    };

    assert_eq!(status(Taken::Cancel, "Booked"), AppointmentStatus::Cancelled);
    assert_eq!(status(Taken::NoShow, ""), AppointmentStatus::NoShow);
    assert_eq!(status(Taken::Modify, "Complete"), AppointmentStatus::Fulfilled);
    assert_eq!(status(Taken::Modify, "NOSHOW"), AppointmentStatus::NoShow);
    assert_eq!(status(Taken::Reschedule, ""), AppointmentStatus::Booked);
    assert_eq!(status(Taken::Book, "Pending"), AppointmentStatus::Booked);
}

#[test]
fn notes_are_a_bookings_reason_where_nothing_better_is_sent_and_never_a_cancellations() {
    let reason = |taken, segments: &[&str]| {
        let segments = [
            &["SCH|P1||||||||||^^^20260105", "NTE|1||Bring the films", PID],
            segments,
        ]
        .concat();
        shown(&scheduling(taken, &segments).unwrap().reason, String::clone)
    };

    assert_eq!(reason(Taken::Book, &[]), "Bring the films");
    assert_eq!(reason(Taken::Book, &["AIS|1||X^X-ray"]), "X-ray");
    assert_eq!(reason(Taken::Cancel, &[]), "-");
}

#[test]
fn a_booking_that_cannot_be_kept_is_refused_by_name() {
    let refused = |taken, segments: &[&str]| {
        let error = scheduling(taken, segments).unwrap_err();
        (error.code.number(), error.location.to_string())
    };

    assert_eq!(refused(Taken::Book, &["SCH|P1", PID]), (101, "SCH-11".to_owned()));
    assert_eq!(refused(Taken::Cancel, &["SCH|", PID]), (101, "SCH-1".to_owned()));
    assert_eq!(refused(Taken::Cancel, &["SCH|P1"]), (100, "PID".to_owned()));
    assert!(scheduling(Taken::Cancel, &["SCH|P1", PID]).is_ok());
}

#[test]
fn a_merge_of_a_number_into_itself_is_refused_by_mrg_1() {
    let merges = |segments: &[&str]| {
        let msh = "MSH|^~\\&|EHR|RIVERSIDE|||20260102083000||ADT^A40^ADT_A39|1|P|2.5.1";
        merging::read_all(&message(&[&[msh], segments].concat()))
    };

    let refused = merges(&[PID, "MRG|740101^^^RIVERSIDE^MR"]).unwrap_err();
    assert_eq!(
        (refused.code.number(), refused.location.to_string()),
        (205, "MRG-1".to_owned())
    );
    assert!(!refused.code.rejects());
    let visits = merges(&[PID, "MRG|9^^^RIVERSIDE^VN"]).unwrap_err();
    assert_eq!(visits.location.to_string(), "MRG-1");
    let read = merges(&[PID, "MRG|740102^^^RIVERSIDE^MR~740101^^^RIVERSIDE^MR"]).unwrap();
    assert_eq!(
        read[0].merged.iter().map(number).collect::<Vec<_>>(),
        ["RIVERSIDE 740102 MR"]
    );
}
