//! The messages in `samples/` (made-up people) read, in full view.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use formats::date::Moment;
use formats::hl7::{
    Coded, ErrorCode, Message, Observation, PatientIdentifier, PatientSegment, Report, SegmentId, Sent, Telecom,
};
use insta::assert_snapshot;

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/samples/{name}.hl7", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn identifier(id: &PatientIdentifier) -> String {
    let authority = id.authority.clone().unwrap_or_default();
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "{} by {}/{} as {}",
        id.value,
        part(&authority.namespace),
        part(&authority.universal_id),
        part(&id.type_code)
    )
}

fn telecoms(sent: &Sent<Vec<Telecom>>) -> String {
    if sent.is_null() {
        return "null".to_owned();
    }
    let each = |telecom: &Telecom| format!("{:?}/{:?} {}", telecom.system, telecom.used_for, telecom.value);
    sent.values().iter().map(each).collect::<Vec<_>>().join(", ")
}

fn moment(sent: &Sent<Moment>) -> String {
    sent.value().map_or_else(|| format!("{sent:?}"), Moment::to_hl7)
}

fn coded(coded: &Coded) -> String {
    let parts = [
        &coded.code,
        &coded.text,
        &coded.system,
        &coded.alternate_code,
        &coded.alternate_system,
    ];
    parts.map(|part| part.as_deref().unwrap_or("-")).join(" ")
}

fn patient(patient: &PatientSegment) -> String {
    let mut shown = String::new();
    for id in &patient.identifiers {
        shown += &format!("identifier {}\n", identifier(id));
    }
    for name in patient.names.values() {
        let parts = [&name.family, &name.given, &name.middle, &name.suffix, &name.type_code];
        shown += &format!(
            "name {}\n",
            parts.map(|part| part.as_deref().unwrap_or("-")).join(" / ")
        );
    }
    let birth_date = patient.birth_date.value().map(|date| date.to_fhir());
    shown += &format!(
        "born {}\n",
        birth_date.unwrap_or_else(|| format!("{:?}", patient.birth_date))
    );
    shown += &format!("sex {}\n", patient.sex.value().map_or("-", String::as_str));
    for address in patient.addresses.values() {
        let parts = [
            &address.line,
            &address.line_2,
            &address.city,
            &address.state,
            &address.postal_code,
            &address.country,
        ];
        shown += &format!(
            "address {}\n",
            parts.map(|part| part.as_deref().unwrap_or("-")).join(" / ")
        );
    }
    shown += &format!("addresses {:?}\n", patient.addresses);
    shown += &format!("home {}\n", telecoms(&patient.home_telecoms));
    shown += &format!("work {}\n", telecoms(&patient.work_telecoms));
    shown += &format!(
        "account {}\n",
        patient.account_number.value().map_or("-".to_owned(), identifier)
    );
    shown
}

#[test]
fn a_registration_gives_patient_visit_allergies_and_coverage() {
    let message = Message::parse(&sample("adt-a04")).unwrap();
    let visit = message.visit().unwrap().unwrap();
    let event = message.event().unwrap().unwrap();
    let place = visit.location.value().unwrap();
    let doctor = visit.attending.value().unwrap();

    let mut shown = patient(&message.patient().unwrap());
    shown += &format!(
        "class {} at {:?} {:?}\n",
        visit.class.as_deref().unwrap(),
        place.point_of_care,
        place.room
    );
    shown += &format!("attending {:?} {:?}\n", doctor.id, doctor.family);
    shown += &format!("visit {}\n", identifier(visit.visit_number.value().unwrap()));
    shown += &format!(
        "admitted {} discharged {}\n",
        moment(&visit.admitted),
        moment(&visit.discharged)
    );
    shown += &format!("reason {}\n", coded(visit.reason.value().unwrap()));
    shown += &format!(
        "recorded {} occurred {}\n",
        moment(&event.recorded),
        moment(&event.occurred)
    );
    for allergy in message.allergies().unwrap() {
        let known = moment(&allergy.identified);
        shown += &format!(
            "allergy {:?} {} {:?} {:?} {known}\n",
            allergy.kind,
            coded(&allergy.allergen),
            allergy.severity,
            allergy.reactions
        );
    }
    for coverage in message.coverages().unwrap() {
        shown += &format!(
            "coverage {} by {} ({}) group {:?} member {:?} from {} to {} for {:?}\n",
            coded(&coverage.plan.unwrap()),
            coverage.payer_name.unwrap(),
            identifier(&coverage.payer_id.unwrap()),
            coverage.group_number,
            coverage.member_id.value(),
            moment(&coverage.effective),
            moment(&coverage.expires),
            coverage.subscriber.unwrap().family,
        );
    }

    assert!(message.header().message_type.is("ADT", "A04"));
    assert_snapshot!(shown);
}

#[test]
fn an_update_tells_null_from_nothing() {
    let message = Message::parse(&sample("adt-a08")).unwrap();

    let patient = message.patient().unwrap();

    assert!(patient.birth_date.is_null());
    assert!(patient.addresses.is_null());
    assert_eq!(patient.work_telecoms, Sent::Nothing);
    assert_eq!(telecoms(&patient.home_telecoms), "Phone/Home 5550100199");
}

#[test]
fn an_old_sender_in_latin_1_is_read() {
    let message = Message::parse(&sample("adt-a03")).unwrap();
    let patient = message.patient().unwrap();
    let visit = message.visit().unwrap().unwrap();

    assert_eq!(patient.name().unwrap().family.as_deref(), Some("Müller"));
    assert_eq!(patient.identifiers[0].value, "M-77");
    assert_eq!(moment(&visit.discharged), "200601021400");
    assert_eq!(visit.admitted, Sent::Nothing);
}

fn report(report: &Report) -> String {
    let mut shown = format!(
        "report {:?} {:?} {} taken {} {:?} {:?}\n",
        report.placer_order_number,
        report.filler_order_number,
        report.service.as_ref().map_or("-".to_owned(), coded),
        moment(&report.specimen_taken),
        report.status,
        report.notes
    );
    let observation = |seen: &Observation| {
        format!(
            "  {:?} {} = {:?} {:?} ({:?}) {:?} {:?} at {} {:?}\n",
            seen.value_type,
            seen.code.as_ref().map_or("-".to_owned(), coded),
            seen.value,
            seen.units,
            seen.reference_range,
            seen.abnormal_flags,
            seen.status,
            moment(&seen.observed),
            seen.notes
        )
    };
    shown += &report.observations.iter().map(observation).collect::<String>();
    shown
}

#[test]
fn results_stay_with_the_patient_they_were_sent_for() {
    let message = Message::parse(&sample("oru-r01")).unwrap();

    let results = message.results().unwrap();

    let shown = results
        .iter()
        .map(|results| patient(&results.patient) + &results.reports.iter().map(report).collect::<String>());
    assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
    let refused = message.patient().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "PID(2): a message of this type is about one patient (HL7 error 100)"
    );
}

#[test]
fn a_result_before_any_patient_is_refused() {
    let message = Message::parse(b"MSH|^~\\&|||||||ORU^R01|1|P|2.5\rOBX|1|NM|1||5\rPID|1||7\r").unwrap();

    let refused = message.results().unwrap_err();

    assert_eq!(
        (refused.code, refused.location.segment),
        (ErrorCode::SegmentSequence, SegmentId::PID)
    );
}

#[test]
fn nothing_prints_what_a_message_says() {
    let message = Message::parse(&sample("adt-a04")).unwrap();
    let patient = message.patient().unwrap();
    let segment = message.segments("PID").next().unwrap();

    let shown = format!(
        "{message:?} {:?} {patient:?} {:?} {:?} {:?} {:?} {segment:?} {:?} {:?}",
        message.header(),
        patient.names,
        patient.name(),
        message.visit(),
        message.coverages(),
        segment.field(5),
        patient.birth_date,
    );

    for secret in ["Okafor", "400123", "1979", "555", "RB-0001", "Cough"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}
