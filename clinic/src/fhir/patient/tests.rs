//! How a copy at the EHR is followed. Everybody here is made up.

use formats::fhir::decode;
use sync_protocol::author::{self, Stamp};
use sync_protocol::ids::BootId;
use sync_protocol::{Dot, HybridTime, RecordId, ReplicaId};

use super::*;
use crate::following::LastSaid;
use crate::write::{Action, Channel};

/// A patient's record, and what the EHR said of it last.
struct Known {
    state: RecordState,
    count: u64,
    last: LastWords,
}

impl Known {
    fn new() -> Known {
        Known {
            state: RecordState::new(patient::KIND, RecordId([1; 16])),
            count: 0,
            last: LastWords::new(),
        }
    }

    fn writing() -> Writing {
        let actor = Channel::Connector.program();
        Writing::new(patient::KIND, RecordId([1; 16]), Action::Message, actor, 0)
    }

    fn write(&mut self, writing: Writing) -> Option<ChangeId> {
        self.count += 1;
        let stamp = Stamp {
            change: ChangeId([self.count as u8; 16]),
            salt: [0; 16],
            at: HybridTime {
                wall_ms: self.count * 1_000,
                logical: 0,
            },
            boot: BootId([0; 16]),
            monotonic_ms: 0,
        };
        let dot = Dot {
            replica: ReplicaId([1; 16]),
            counter: self.count,
        };
        let state = Some(&self.state);
        let (header, payload) = author::compose(&writing.done(), &stamp, dot, state, state)?;
        self.state.apply(&header, &payload, |_| true);
        Some(stamp.change)
    }

    /// The EHR is asked; whether that was a change.
    fn hears(&mut self, json: &str, updated_ms: i64) -> bool {
        let copy = PatientCopy::read(&decode(json.as_bytes()).unwrap());
        let (writing, noted) = copy.follow(Known::writing(), Some(&self.state), &self.last, updated_ms);
        let change = if writing.is_empty() { None } else { self.write(writing) };
        for noted in noted {
            let field = noted.field;
            let said: LastSaid = noted.said(change);
            self.last.insert(field, said);
        }
        change.is_some()
    }

    /// A person writes over all that is shown.
    fn corrects<T: Value>(&mut self, field: Field<T>, value: T) {
        let shown = self.state.shown(field.id);
        self.write(Known::writing().replace(field, &value, &shown));
    }

    fn phone(&self) -> Option<String> {
        patient::PHONE.value(&self.state).map(Phi::into_exposed)
    }
}

const NOW: i64 = 1_000_000;

fn person(family: &str, given: &str, born: &str, phone: &str) -> String {
    format!(
        r#"{{"resourceType":"Patient","id":"p1","name":[{{"use":"official","family":"{family}","given":{given}}}],
        "birthDate":"{born}","gender":"female","telecom":[{{"system":"phone","value":"{phone}"}}],
        "address":[{{"line":["12 Elm St","Apt 4"],"city":"Phoenix","state":"AZ","postalCode":"85003"}}]}}"#
    )
}

#[test]
fn the_ehrs_own_way_of_writing_is_no_edit() {
    let mut known = Known::new();
    assert!(known.hears(
        &person("Quill-Marsh", r#"["Orla","Mae"]"#, "1980-12-03", "602-555-0143"),
        NOW
    ));

    for (family, given, phone) in [
        ("QUILL MARSH", r#"["ORLA MAE"]"#, "+1 (602) 555-0143"),
        ("Quill-Marsh", r#"["Orla","MAE"]"#, "6025550143"),
    ] {
        assert!(
            !known.hears(&person(family, given, "1980-12-03", phone), NOW),
            "{family}"
        );
    }
}

#[test]
fn what_we_delivered_comes_back_and_is_nothing_new() {
    let mut known = Known::new();
    known.corrects(patient::NAME, Phi::new(PersonName::new("Quill", "Orla")));
    known.corrects(patient::BIRTH_DATE, Phi::new(BirthDate::parse("1980-12-03").unwrap()));
    known.corrects(patient::SEX, Sex::Female);
    known.corrects(patient::PHONE, Phi::new("(602) 555-0143".to_owned()));
    known.corrects(
        patient::ADDRESS,
        Phi::new(Address {
            line: "12 Elm St., Apt. 4".to_owned(),
            city: "PHOENIX".to_owned(),
            state: "AZ".to_owned(),
            postal_code: "85003".to_owned(),
        }),
    );

    for _ in 0..3 {
        assert!(!known.hears(&person("QUILL", r#"["Orla"]"#, "1980-12-03", "602.555.0143"), NOW));
    }
}

#[test]
fn an_edit_at_the_ehr_replaces_what_the_ehr_was_told() {
    let mut known = Known::new();
    known.corrects(patient::BIRTH_DATE, Phi::new(BirthDate::parse("1980-12-03").unwrap()));
    known.hears(&person("Quill", r#"["Orla"]"#, "1980-12-03", "602-555-0143"), NOW);

    assert!(known.hears(&person("Quill", r#"["Orla"]"#, "1980-12-13", "602-555-0143"), NOW));

    let shown = patient::BIRTH_DATE.ask(&known.state);
    assert!(!shown.is_open());
    assert_eq!(shown.standing().unwrap().expose().iso(), "1980-12-13");
}

#[test]
fn an_edit_at_the_ehr_stands_beside_what_a_person_has_written_since() {
    let mut known = Known::new();
    known.hears(&person("Quill", r#"["Orla"]"#, "1980-12-03", "602-555-0143"), NOW);
    known.corrects(patient::BIRTH_DATE, Phi::new(BirthDate::parse("1980-02-03").unwrap()));

    assert!(!known.hears(&person("Quill", r#"["Orla"]"#, "1980-12-03", "602-555-0143"), NOW));
    assert!(known.hears(&person("Quill", r#"["Orla"]"#, "1980-12-13", "602-555-0143"), NOW));

    assert!(patient::BIRTH_DATE.ask(&known.state).is_open());
}

#[test]
fn an_old_copy_of_somebody_known_here_hides_no_newer_phone() {
    let mut known = Known::new();
    known.corrects(patient::PHONE, Phi::new("602-555-0199".to_owned()));

    known.hears(&person("Quill", r#"["Orla"]"#, "1980-12-03", "602-555-0143"), 10);
    assert_eq!(known.phone().as_deref(), Some("602-555-0199"));

    assert!(known.hears(&person("Quill", r#"["Orla"]"#, "1980-12-03", "602-555-0144"), NOW));
    assert_eq!(known.phone().as_deref(), Some("602-555-0144"));
}

#[test]
fn of_several_phones_the_one_that_is_known_here_is_followed() {
    let mut known = Known::new();
    known.corrects(patient::PHONE, Phi::new("602-555-0199".to_owned()));
    let two = person("Quill", r#"["Orla"]"#, "1980-12-03", "602-555-0143").replace(
        r#""telecom":["#,
        r#""telecom":[{"system":"fax","value":"1"},{"system":"phone","use":"home","value":"602-555-0101"},{"system":"phone","value":"6025550199"},"#,
    );

    known.hears(&two, NOW);

    assert_eq!(known.phone().as_deref(), Some("602-555-0199"));
}

#[test]
fn a_phone_that_is_gone_at_the_ehr_goes_only_if_nobody_wrote_another() {
    let gone = person("Quill", r#"["Orla"]"#, "1980-12-03", "").replace(r#""system":"phone""#, r#""system":"fax""#);
    let mut known = Known::new();
    known.hears(&person("Quill", r#"["Orla"]"#, "1980-12-03", "602-555-0143"), NOW);
    known.hears(&gone, NOW);
    assert_eq!(known.phone(), None);

    let mut corrected = Known::new();
    corrected.hears(&person("Quill", r#"["Orla"]"#, "1980-12-03", "602-555-0143"), NOW);
    corrected.corrects(patient::PHONE, Phi::new("602-555-0199".to_owned()));
    corrected.hears(&gone, NOW);
    assert_eq!(corrected.phone().as_deref(), Some("602-555-0199"));
}

#[test]
fn numbers_of_ours_and_social_securitys_are_not_taken() {
    let copy = PatientCopy::read(
        &decode(
            br#"{"resourceType":"Patient","id":"p1","identifier":[
            {"system":"urn:mainstay:patient","value":"00112233445566778899aabbccddeeff"},
            {"system":"urn:mainstay:authority:RIVERSIDE","value":"1"},
            {"system":"http://hl7.org/fhir/sid/us-ssn","value":"999-12-3456"},
            {"type":{"coding":[{"code":"MR"}]},"system":"urn:oid:1.2","value":"77"},{"value":"7"}]}"#,
        )
        .unwrap(),
    );

    let numbers = copy.new_numbers(None, "p1");

    let values: Vec<&str> = numbers.iter().map(|number| number.value.as_str()).collect();
    assert_eq!(values, ["p1", "77"]);
    assert_eq!(copy.own_record.as_deref(), Some("00112233445566778899aabbccddeeff"));
}
