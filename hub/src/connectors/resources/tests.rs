use clinic::matching::{Match, Weights, decide};
use clinic::write::{Action, Channel};
use clinic::{Identifier as Number, Writing};
use formats::fhir::{decode, encode};
use sync_protocol::author::{self, Draft, Stamp};
use sync_protocol::ids::BootId;
use sync_protocol::{ChangeId, Dot, HybridTime, Phi, ReplicaId};

use super::*;

/// A record as a number of writers leave it.
fn record(drafts: Vec<Draft>) -> RecordState {
    let mut state = RecordState::new(drafts[0].kind, drafts[0].record);
    for (at, draft) in drafts.iter().enumerate() {
        let number = at as u8 + 1;
        let stamp = Stamp {
            change: ChangeId([number; 16]),
            salt: [0; 16],
            at: HybridTime {
                wall_ms: u64::from(number),
                logical: 0,
            },
            boot: BootId([0; 16]),
            monotonic_ms: 0,
        };
        let dot = Dot {
            replica: ReplicaId([1; 16]),
            counter: u64::from(number),
        };
        let (header, payload) = author::compose(draft, &stamp, dot, Some(&state), Some(&state)).unwrap();
        state.apply(&header, &payload, |_| false);
    }
    state
}

fn number(system: &str, value: &str, kind: &str) -> Phi<Number> {
    Phi::new(Number {
        system: system.to_owned(),
        value: value.to_owned(),
        kind: kind.to_owned(),
    })
}

fn patient_writing() -> Writing {
    Writing::new(
        patient::KIND,
        RecordId([0xab; 16]),
        Action::Arrive,
        Channel::Page.program(),
        0,
    )
}

fn quill() -> RecordState {
    let name = PersonName {
        middle: "Mary".to_owned(),
        ..PersonName::new("Quill", "Orla")
    };
    let mut drafts = vec![
        patient_writing()
            .set(patient::NAME, &Phi::new(name))
            .set(patient::BIRTH_DATE, &Phi::new(BirthDate::parse("1980-12-03").unwrap()))
            .set(patient::SEX, &Sex::Female)
            .set(patient::PHONE, &Phi::new("+1 602 555 0142".to_owned()))
            .set(patient::EMAIL, &Phi::new("orla@example.net".to_owned()))
            .done(),
    ];
    for identifier in [
        number(TEMP_SYSTEM, "T0A00051", "MR"),
        number("NIST MPI", "1234567", "MR"),
        number("urn:oid:2.16.840.1.113883.4.1", "000-00-0000", "SS"),
        number(EHR_SYSTEM, "p77", "PI"),
    ] {
        drafts.push(patient_writing().assert(patient::IDENTIFIER, &identifier).done());
    }
    record(drafts)
}

fn json(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn a_patient_is_sent_with_what_a_desk_asks_and_no_more() {
    insta::assert_snapshot!(json(&encode(&patient_resource(&quill())).unwrap()));
}

#[test]
fn what_we_sent_is_recognised_as_ours() {
    let record = quill();
    let mut sent = patient_resource(&record);
    sent.id = Some("p1".to_owned());
    let theirs: Patient = decode(&encode(&sent).unwrap()).unwrap();
    let ours = identity(&record);

    let candidate = candidate(&theirs, std::slice::from_ref(&ours)).unwrap();

    assert_eq!(
        decide(std::slice::from_ref(&ours), &[candidate], &Weights::default()),
        Match::Attach("p1".to_owned())
    );
}

#[test]
fn a_twin_with_another_second_name_is_asked_about() {
    let ours = identity(&quill());
    let mut theirs = patient_resource(&quill());
    theirs.id = Some("p1".to_owned());
    theirs.identifier.clear();
    theirs.name[0].given = vec!["Orla".to_owned(), "Eve".to_owned()];

    let twin = candidate(&theirs, std::slice::from_ref(&ours)).unwrap();

    assert!(matches!(
        decide(std::slice::from_ref(&ours), &[twin], &Weights::default()),
        Match::Ask(_)
    ));
}

#[test]
fn a_name_among_several_counts_and_a_chart_out_of_use_does_not() {
    let ours = identity(&quill());
    let mut theirs = patient_resource(&quill());
    theirs.id = Some("p1".to_owned());
    theirs.name.insert(
        0,
        HumanName {
            family: Some("Marlow".to_owned()),
            ..HumanName::default()
        },
    );

    assert_eq!(
        candidate(&theirs, std::slice::from_ref(&ours))
            .unwrap()
            .identity
            .name
            .family,
        "Quill"
    );
    theirs.active = Some(false);
    assert_eq!(candidate(&theirs, std::slice::from_ref(&ours)), None);
}

#[test]
fn an_authority_becomes_a_uri() {
    assert_eq!(system_uri("urn:oid:1.2.3").as_deref(), Some("urn:oid:1.2.3"));
    assert_eq!(
        system_uri("http://hospital.example/mrn").as_deref(),
        Some("http://hospital.example/mrn")
    );
    assert_eq!(
        system_uri("NIST MPI").as_deref(),
        Some("urn:mainstay:authority:NIST%20MPI")
    );
    assert_eq!(
        system_uri("http://two words").as_deref(),
        Some("urn:mainstay:authority:http%3A%2F%2Ftwo%20words")
    );
    assert_eq!(system_uri(" "), None);
}

const ARRIVED_MS: i64 = 1_772_460_600_000;

fn visit_that_reached(states: &[VisitState]) -> RecordState {
    let id = RecordId([0xcd; 16]);
    let writing = |at: usize| {
        let event_ms = ARRIVED_MS + at as i64 * 600_000;
        Writing::new(visit::KIND, id, Action::Move, Channel::Page.program(), event_ms)
    };
    let mut drafts = vec![
        writing(0)
            .set(visit::REASON, &Phi::new("cough".to_owned()))
            .set(visit::ROOM, &RecordId([4; 16]))
            .done(),
    ];
    for (at, state) in states.iter().enumerate() {
        drafts.push(writing(at).assert(visit::TRANSITION, state).done());
    }
    record(drafts)
}

fn told(states: &[VisitState]) -> Vec<u8> {
    let visit = visit_that_reached(states);
    let telling = Telling {
        visit: &visit,
        state: *states.last().unwrap(),
        patient: "p1",
        room: Some("Room 3".to_owned()),
    };
    encode(&encounter_resource(&telling)).unwrap()
}

#[test]
fn a_registered_visit_carries_the_extension() {
    insta::assert_snapshot!(json(&told(&[VisitState::Arrived, VisitState::Registered])));
}

#[test]
fn a_roomed_visit_says_where() {
    let encounter: Encounter = decode(&told(&[VisitState::Arrived, VisitState::Roomed])).unwrap();

    assert_eq!(encounter.status, FhirStatus::Triaged);
    assert_eq!(encounter.location[0].location.display.as_deref(), Some("Room 3"));
    assert!(encounter.extension.is_empty());
}

#[test]
fn a_finished_visit_has_an_end() {
    let states = [
        VisitState::Arrived,
        VisitState::Triaged,
        VisitState::WithProvider,
        VisitState::Discharged,
    ];
    insta::assert_snapshot!(json(&told(&states)));
}
