//! FHIR JSON as we send it and as servers send it. People are made up.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use formats::date::PartialDate;
use formats::fhir::{
    AnyResource, Bundle, CodeableConcept, Coding, ContactPoint, ContactPointSystem, ContactPointUse, Encounter,
    EncounterLocation, EncounterStatus, Extension, FhirError, Gender, HumanName, Identifier, IdentifierUse, NameUse,
    OperationOutcome, Patient, Period, Reference, decode, encode,
};
use insta::assert_snapshot;

fn pretty(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

fn patient() -> Patient {
    Patient {
        identifier: vec![Identifier {
            used_as: Some(IdentifierUse::Temp),
            system: Some("urn:oid:2.25.77002".to_owned()),
            value: Some("TEMP-0042".to_owned()),
            ..Identifier::default()
        }],
        active: Some(true),
        name: vec![HumanName {
            used_as: Some(NameUse::Official),
            family: Some("Quill".to_owned()),
            given: vec!["Orla".to_owned(), " ".to_owned()],
            ..HumanName::default()
        }],
        telecom: vec![ContactPoint {
            system: Some(ContactPointSystem::Phone),
            value: Some("555-010-0142\u{0} ".to_owned()),
            used_for: Some(ContactPointUse::Mobile),
        }],
        gender: Some(Gender::Female),
        birth_date: PartialDate::new(1980, Some(12), None),
        ..Patient::default()
    }
}

#[test]
fn a_patient_is_sent_without_anything_empty() {
    assert_snapshot!(pretty(&encode(&patient()).unwrap()));
}

#[test]
fn an_encounter_is_sent_with_its_extension_and_place() {
    let class = Coding::new("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB");
    let encounter = Encounter {
        extension: vec![Extension {
            url: "https://mainstay.example/fhir/registration".to_owned(),
            value_code: Some("registered".to_owned()),
            ..Extension::default()
        }],
        period: Some(Period {
            start: Some("2026-03-02T08:10:00-06:00".to_owned()),
            end: None,
        }),
        reason_code: vec![CodeableConcept {
            text: Some("cough".to_owned()),
            ..CodeableConcept::default()
        }],
        location: vec![
            EncounterLocation {
                location: Reference {
                    display: Some("Room 3".to_owned()),
                    ..Reference::default()
                },
                ..EncounterLocation::default()
            },
            EncounterLocation::default(),
        ],
        ..Encounter::new(EncounterStatus::InProgress, class, Reference::to("Patient", "p1"))
    };

    assert_snapshot!(pretty(&encode(&encounter).unwrap()));
    assert_eq!(
        decode::<Encounter>(&encode(&encounter).unwrap()).unwrap().status,
        EncounterStatus::InProgress
    );
}

#[test]
fn what_is_encoded_is_decoded() {
    let sent = Patient {
        name: vec![HumanName {
            family: Some("Quill".to_owned()),
            ..HumanName::default()
        }],
        telecom: Vec::new(),
        ..patient()
    };

    let read: Patient = decode(&encode(&sent).unwrap()).unwrap();

    assert!(read == sent);
}

#[test]
fn a_search_result_is_read_past_what_we_do_not_know() {
    let json = br#"{
      "resourceType": "Bundle", "type": "searchset", "total": 2, "id": "x",
      "link": [{"relation": "self", "url": "http://ehr/1"}, {"relation": "next", "url": "http://ehr/2"}],
      "entry": [
        {"fullUrl": "http://ehr/Patient/1", "search": {"mode": "match", "score": 1},
         "resource": {"resourceType": "Patient", "id": "1", "meta": {"versionId": "3", "profile": ["x"]},
           "extension": [{"url": "u", "valueInteger": 3}], "gender": "F", "birthDate": "31/12/1980", "active": true,
           "name": [{"family": "Quill", "given": [null, "Orla"], "_given": [{"extension": []}, null], "use": "alias"}],
           "identifier": [{"system": "urn:oid:1", "value": "7", "period": {"start": "2020"}}],
           "deceasedBoolean": false, "photo": [{}]}},
        {"search": {"mode": "include"}, "resource": {"resourceType": "Patient", "id": "2"}},
        {"resource": {"resourceType": "Encounter", "id": "3", "status": "discharged", "class": {"code": "AMB"}}},
        {"search": {"mode": "outcome"}, "resource": {"resourceType": "OperationOutcome", "issue": []}},
        {"resource": {"resourceType": "Immunization", "id": "4"}},
        {"response": {"status": "200"}}
      ]
    }"#;

    let bundle: Bundle = decode(json).unwrap();

    assert_eq!((bundle.total, bundle.next_url()), (Some(2), Some("http://ehr/2")));
    let found: Vec<&Patient> = bundle.patients().collect();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].gender, found[0].birth_date, found[0].name[0].used_as),
        (None, None, None)
    );
    assert_eq!(found[0].name[0].given, ["Orla"]);
    assert_eq!(found[0].identifier_of("urn:oid:1"), Some("7"));
    assert_eq!(found[0].meta.as_ref().unwrap().version_id.as_deref(), Some("3"));
    assert_eq!(bundle.encounters().next().unwrap().status, EncounterStatus::Unknown);
    let kinds = bundle
        .entry
        .iter()
        .filter(|entry| matches!(entry.resource, Some(AnyResource::Other { .. })));
    assert_eq!(kinds.count(), 1);
}

#[test]
fn another_resource_or_shape_is_refused_without_quoting_it() {
    let outcome = br#"{"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid", "diagnostics": "Quill"}]}"#;
    let refused = decode::<Patient>(outcome).unwrap_err();
    assert_eq!(refused, FhirError::OtherResource { expected: "Patient" });

    let shape = decode::<Patient>(br#"{"resourceType": "Patient", "name": "Quill"}"#).unwrap_err();
    let cut = decode::<Patient>(br#"{"resourceType": "Patient", "name": "Quil"#).unwrap_err();
    assert!(!format!("{shape} {shape:?} {cut} {cut:?}").contains("Quil"));

    let read: OperationOutcome = decode(outcome).unwrap();
    assert_eq!(read.issue[0].code.as_deref(), Some("invalid"));
    assert!(!format!("{read:?} {:?}", read.issue[0]).contains("Quill"));
}

#[test]
fn the_id_in_a_reference_is_found_relative_absolute_or_versioned() {
    let id = |reference: &str| {
        let reference = Reference {
            reference: Some(reference.to_owned()),
            ..Reference::default()
        };
        reference.id_of("Patient").map(str::to_owned)
    };

    for known in [
        "Patient/7",
        "http://ehr/fhir/Patient/7",
        "http://ehr/Patient/7/_history/2",
    ] {
        assert_eq!(id(known).as_deref(), Some("7"));
    }
    for other in ["Encounter/7", "urn:uuid:7", "Patient/", "7"] {
        assert_eq!(id(other), None);
    }
}
