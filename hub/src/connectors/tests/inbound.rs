//! What the EHR holds, brought in from an EHR that nobody here wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use clinic::catalogue::{appointment, coverage, location, provider, reference_set, site};
use clinic::value::AppointmentStatus;
use serde_json::{Value, json};

use super::*;
use crate::connectors::inbound::{self, Poller};
use crate::connectors::partner::Partner;
use crate::db::{InboundFeed, Wants};

const ELSEWHERE: ScopeId = ScopeId([0x52; 16]);

impl House {
    pub(super) fn poller(&self) -> Poller {
        self.poller_of(|_| {})
    }

    pub(super) fn poller_of(&self, set: impl FnOnce(&mut inbound::Config)) -> Poller {
        let mut config = inbound::Config {
            enabled: true,
            page_pause_ms: 0,
            ..inbound::Config::default()
        };
        set(&mut config);
        let pace = Config {
            requests_per_second_max: 10_000,
            breaker_failures: 1_000_000,
            ..self.config.clone()
        };
        let partner = Arc::new(Partner::new(&pace, self.reach.clone()).unwrap());
        Poller::new(
            self.db.clone(),
            partner,
            config,
            Matcher::default(),
            CancellationToken::new(),
        )
        .unwrap()
    }

    /// The site is this location of the EHR's.
    pub(super) async fn is_location(&self, scope: ScopeId, ehr_location: &str) {
        let record = RecordId(scope.0);
        let known = self.db.read(move |txn| txn.state(record)).await.unwrap();
        let shown = known
            .map(|state| state.shown(site::EHR_LOCATION.id))
            .unwrap_or_default();
        let page = Channel::Page.program();
        let draft = Writing::new(site::KIND, record, Action::Administer, page, now())
            .replace(site::EHR_LOCATION, &ehr_location.to_owned(), &shown)
            .done();
        self.db.write(move |txn| txn.author(&draft, Some(scope))).await.unwrap();
    }

    async fn another_site(&self) {
        let site = Site {
            scope: ELSEWHERE,
            name: "Lakeside".to_owned(),
            zone: "America/Chicago".to_owned(),
            ehr: Target::Machine,
            seen_ms: None,
        };
        self.db.write(move |txn| txn.add_site(&site)).await.unwrap();
    }

    pub(super) async fn all(&self, kind: sync_protocol::KindId) -> Vec<RecordState> {
        self.db.read(move |txn| txn.few_of_kind(kind, 10_000)).await.unwrap()
    }

    pub(super) async fn feed(&self, feed: &'static str) -> InboundFeed {
        self.db.read(move |txn| txn.inbound_feed(feed)).await.unwrap()
    }

    pub(super) async fn waiting(&self, wants: Wants) -> u64 {
        self.db.read(move |txn| txn.count_waiting(wants)).await.unwrap()
    }

    pub(super) async fn scopes_of(&self, record: RecordId) -> Vec<ScopeId> {
        self.db.read(move |txn| txn.scopes_of(record)).await.unwrap()
    }

    /// How many changes the hub itself has written.
    pub(super) async fn changes(&self) -> u64 {
        let counted = self.db.read(|txn| {
            let replica = txn.hub_replica()?;
            Ok::<_, crate::db::DbError>(txn.chain(replica)?.map_or(0, |head| head.counter))
        });
        counted.await.unwrap()
    }
}

fn id_of(stored: &Value) -> String {
    stored["id"].as_str().unwrap().to_owned()
}

pub(super) fn orla() -> Value {
    json!({"resourceType": "Patient", "active": true,
        "name": [{"use": "official", "family": "Quill", "given": ["Orla", "Mae"]}], "gender": "female",
        "birthDate": "1980-12-03", "telecom": [{"system": "phone", "value": "(602) 555-0143"}],
        "identifier": [{"system": "urn:oid:1.2.3", "value": "MRN-7"}]})
}

pub(super) fn booking(number: &str, patient: &str, location: &str, practitioner: Option<&str>) -> Value {
    let mut participant = vec![
        json!({"actor": {"reference": format!("Patient/{patient}")}, "status": "accepted"}),
        json!({"actor": {"reference": format!("Location/{location}")}, "status": "accepted"}),
    ];
    if let Some(id) = practitioner {
        participant.push(json!({"actor": {"reference": format!("Practitioner/{id}")}, "status": "accepted"}));
    }
    json!({"resourceType": "Appointment", "status": "booked", "start": "2026-03-02T08:10:00-06:00",
        "end": "2026-03-02T08:30:00-06:00", "reasonCode": [{"text": "Follow-up"}],
        "identifier": [{"system": "urn:example:bookings", "value": number}], "participant": participant})
}

/// A booking that is still to come, so that it is worth waiting for.
pub(super) fn to_come(number: &str, patient: &str, location: &str) -> Value {
    let mut booked = booking(number, patient, location, None);
    let starts = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    booked["start"] = json!(starts.to_string());
    booked.as_object_mut().unwrap().remove("end");
    booked
}

pub(super) async fn put(ehr: &Ehr, resource: &Value) {
    let address = format!(
        "{}/{}/{}",
        ehr.base_url(),
        resource["resourceType"].as_str().unwrap(),
        resource["id"].as_str().unwrap()
    );
    let reply = ::tests::plain_http()
        .unwrap()
        .put(address)
        .header("content-type", "application/fhir+json")
        .body(resource.to_string())
        .send()
        .await
        .unwrap();
    assert!(reply.status().is_success());
}

async fn delete(ehr: &Ehr, resource: &Value) {
    let address = format!(
        "{}/{}/{}",
        ehr.base_url(),
        resource["resourceType"].as_str().unwrap(),
        resource["id"].as_str().unwrap()
    );
    let reply = ::tests::plain_http().unwrap().delete(address).send().await.unwrap();
    assert!(reply.status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ehr_holds_becomes_records_of_the_right_site_and_no_other() {
    let (house, ehr, _line) = House::with_ehr().await;
    house.another_site().await;
    let here = ehr
        .create(&json!({"resourceType": "Location", "name": "Riverside"}))
        .await
        .unwrap();
    let there = ehr
        .create(&json!({"resourceType": "Location", "name": "Lakeside"}))
        .await
        .unwrap();
    let doctor = json!({"resourceType": "Practitioner", "name": [{"family": "Vance", "given": ["Ines"]}],
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}]});
    let doctor = ehr.create(&doctor).await.unwrap();
    let person = ehr.create(&orla()).await.unwrap();
    let insured = json!({"resourceType": "Coverage", "status": "active", "subscriberId": "M-1",
        "beneficiary": {"reference": format!("Patient/{}", id_of(&person))}, "payor": [{"display": "Harbor Mutual"}]});
    ehr.create(&insured).await.unwrap();
    let booked = booking("B-1", &id_of(&person), &id_of(&here), Some(&id_of(&doctor)));
    ehr.create(&booked).await.unwrap();
    house.is_location(SITE, &id_of(&here)).await;
    house.is_location(ELSEWHERE, &id_of(&there)).await;

    let poller = house.poller();
    poller.poll().await.unwrap();

    let people = house.all(patient::KIND).await;
    assert_eq!(people.len(), 1);
    let name = patient::NAME.ask(&people[0]).standing().unwrap().expose().clone();
    assert_eq!(
        (name.family.as_str(), name.given.as_str(), name.middle.as_str()),
        ("Quill", "Orla", "Mae")
    );
    let numbers: BTreeMap<String, String> = patient::IDENTIFIER
        .standing(&people[0])
        .into_iter()
        .map(|said| said.value.into_exposed())
        .map(|id| (id.system, id.value))
        .collect();
    assert_eq!(numbers[EHR_SYSTEM], id_of(&person));
    assert_eq!(numbers["urn:oid:1.2.3"], "MRN-7");

    let bookings = house.all(appointment::KIND).await;
    assert_eq!(bookings.len(), 1);
    let made = &bookings[0];
    assert_eq!(appointment::PATIENT.value(made), Some(people[0].record));
    assert_eq!(appointment::SITE.value(made), Some(RecordId(SITE.0)));
    assert_eq!(appointment::STARTS_MS.value(made), Some(1_772_460_600_000));
    assert_eq!(appointment::STATUS.value(made), Some(AppointmentStatus::Booked));
    let doctors = house.all(provider::KIND).await;
    assert_eq!(provider::NAME.value(&doctors[0]).as_deref(), Some("Vance, Ines"));
    assert_eq!(provider::NPI.value(&doctors[0]).as_deref(), Some("1234567893"));
    assert_eq!(appointment::PROVIDER.value(made), Some(doctors[0].record));
    let insured = house.all(coverage::KIND).await;
    assert_eq!(coverage::PAYER.value(&insured[0]).unwrap().expose(), "Harbor Mutual");
    let places = house.all(location::KIND).await;
    assert_eq!(places.len(), 2);
    assert!(places.iter().all(|place| location::SITE.value(place).is_some()));
    assert!(house.scopes_of(made.record).await.contains(&SITE));
    assert!(!house.scopes_of(made.record).await.contains(&ELSEWHERE));
    assert!(!house.scopes_of(people[0].record).await.contains(&ELSEWHERE));
    let sets = house.all(reference_set::KIND).await;
    let mut sets: Vec<_> = sets
        .iter()
        .map(|set| {
            (
                reference_set::NAME.value(set).unwrap(),
                reference_set::ENTRIES.value(set).unwrap(),
            )
        })
        .collect();
    sets.sort();
    assert_eq!(sets, [("locations".to_owned(), 2), ("providers".to_owned(), 1)]);
    assert!(house.feed("Appointment").await.polled_ms.is_some());

    let before = house.changes().await;
    for _ in 0..30 {
        poller.poll().await.unwrap();
    }
    assert_eq!(house.changes().await, before);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_edit_is_one_change_and_a_deleted_booking_is_no_more() {
    let (house, ehr, _line) = House::with_ehr().await;
    let here = ehr
        .create(&json!({"resourceType": "Location", "name": "Riverside"}))
        .await
        .unwrap();
    house.is_location(SITE, &id_of(&here)).await;
    let mut person = ehr.create(&orla()).await.unwrap();
    let mut booked = ehr
        .create(&booking("B-1", &id_of(&person), &id_of(&here), None))
        .await
        .unwrap();
    let other = ehr
        .create(&booking("B-2", &id_of(&person), &id_of(&here), None))
        .await
        .unwrap();
    let poller = house.poller();
    poller.poll().await.unwrap();
    let before = house.changes().await;

    person["telecom"][0]["value"] = json!("+1 602-555-0143");
    person["name"][0]["family"] = json!("QUILL");
    put(&ehr, &person).await;
    poller.poll().await.unwrap();
    assert_eq!(house.changes().await, before, "another way of writing is an edit");

    person["telecom"][0]["value"] = json!("602-555-0199");
    booked["start"] = json!("2026-03-02T09:10:00-06:00");
    put(&ehr, &person).await;
    put(&ehr, &booked).await;
    delete(&ehr, &other).await;
    poller.poll().await.unwrap();

    assert_eq!(house.changes().await, before + 3);
    let people = house.all(patient::KIND).await;
    assert_eq!(people[0].shown(patient::PHONE.id).len(), 1);
    assert_eq!(patient::PHONE.value(&people[0]).unwrap().expose(), "602-555-0199");
    let mut statuses: Vec<_> = house
        .all(appointment::KIND)
        .await
        .iter()
        .map(|one| (appointment::STATUS.value(one), appointment::STARTS_MS.value(one)))
        .collect();
    statuses.sort();
    assert_eq!(
        statuses,
        [
            (Some(AppointmentStatus::Booked), Some(1_772_464_200_000)),
            (Some(AppointmentStatus::EnteredInError), Some(1_772_460_600_000)),
        ]
    );
    poller.poll().await.unwrap();
    assert_eq!(house.changes().await, before + 3);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_delivered_comes_back_and_creates_nothing() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    house.deliver();
    let arrived = house.arrival(QUILL).await;
    house.until_all_done(arrived).await;
    house.stop_delivering().await;
    let (before, tasks) = (house.changes().await, house.tasks(arrived.patient).await.len());

    let poller = house.poller();
    for _ in 0..3 {
        poller.poll().await.unwrap();
    }

    assert_eq!(house.changes().await, before);
    assert_eq!(house.all(patient::KIND).await.len(), 1);
    assert_eq!(house.tasks(arrived.patient).await.len(), tasks);
    assert_eq!(arrived.at(&ehr).await.len(), 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_whose_delivery_has_no_answer_yet_is_not_made_twice() {
    let (house, ehr, _line) = House::with_ehr().await;
    let arrived = house.arrival(QUILL).await;
    let mut resource = orla();
    resource["identifier"] = json!([{"system": "urn:mainstay:patient", "value": arrived.patient.to_string()}]);
    let stored = ehr.create(&resource).await.unwrap();

    house.poller().poll().await.unwrap();

    assert_eq!(house.all(patient::KIND).await.len(), 1);
    assert_eq!(house.partner_id(arrived).await, Some(id_of(&stored)));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_waits_for_a_site_that_is_its_place() {
    let (house, ehr, _line) = House::with_ehr().await;
    let here = ehr
        .create(&json!({"resourceType": "Location", "name": "Riverside"}))
        .await
        .unwrap();
    let person = ehr.create(&orla()).await.unwrap();
    ehr.create(&to_come("B-1", &id_of(&person), &id_of(&here)))
        .await
        .unwrap();
    let poller = house.poller();
    poller.poll().await.unwrap();
    assert_eq!(house.waiting(Wants::Site).await, 1);
    assert!(house.all(appointment::KIND).await.is_empty());

    house.is_location(SITE, &id_of(&here)).await;
    poller.poll().await.unwrap();

    assert_eq!(house.waiting(Wants::Site).await, 0);
    assert_eq!(house.all(appointment::KIND).await.len(), 1);
    let places = house.all(location::KIND).await;
    assert_eq!(location::SITE.value(&places[0]), Some(RecordId(SITE.0)));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pages_of_one_second_are_all_read() {
    let (house, ehr, _line) = House::with_ehr().await;
    for at in 0..25 {
        let mut person = orla();
        person["name"][0]["family"] = json!(format!("Quill{at}"));
        person["identifier"][0]["value"] = json!(format!("MRN-{at}"));
        ehr.create(&person).await.unwrap();
    }

    let poller = house.poller_of(|config| {
        config.page_size = 4;
        config.overlap_secs = 0;
    });
    poller.poll().await.unwrap();

    assert_eq!(house.all(patient::KIND).await.len(), 25);
    let before = house.changes().await;
    poller.poll().await.unwrap();
    assert_eq!(house.changes().await, before);
    house.stop().await;
}

/// Everybody of the bundles in `fhir/synthea` under the folder that MAINSTAY_CORPUS_DIR names, each with a booking at one
/// of two places. Without it there is nothing to read.
#[tokio::test(flavor = "multi_thread")]
async fn the_patients_of_the_corpus_become_records_with_bookings_at_their_sites() {
    use std::io::Read;
    let Some(corpus) = std::env::var_os("MAINSTAY_CORPUS_DIR") else {
        return;
    };
    let folder = std::path::Path::new(&corpus).join("fhir/synthea");
    let (house, ehr, _line) = House::with_ehr().await;
    house.another_site().await;
    let mut places = Vec::new();
    for (name, scope) in [("Riverside", SITE), ("Lakeside", ELSEWHERE)] {
        let place = ehr
            .create(&json!({"resourceType": "Location", "name": name}))
            .await
            .unwrap();
        house.is_location(scope, &id_of(&place)).await;
        places.push(id_of(&place));
    }
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "gz"));
    files.sort();
    for (number, file) in files.iter().enumerate() {
        let mut text = String::new();
        let packed = std::fs::File::open(file).unwrap();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        let bundle: Value = serde_json::from_str(&text).unwrap();
        let entries = bundle["entry"].as_array().unwrap();
        let of_kind = |kind: &str| {
            entries
                .iter()
                .map(|entry| &entry["resource"])
                .find(|one| one["resourceType"] == kind)
        };
        let person = of_kind("Patient").unwrap();
        put(&ehr, person).await;
        // Of a type that is not read.
        put(&ehr, of_kind("Organization").unwrap()).await;
        // A site has the patients of the days that are near.
        let mut booked = booking(&format!("B-{number}"), &id_of(person), &places[number % 2], None);
        booked["start"] = json!(jiff::Timestamp::now().to_string());
        booked.as_object_mut().unwrap().remove("end");
        ehr.create(&booked).await.unwrap();
    }

    let poller = house.poller();
    poller.poll().await.unwrap();

    assert_eq!(house.all(patient::KIND).await.len(), files.len());
    let bookings = house.all(appointment::KIND).await;
    assert_eq!(bookings.len(), files.len());
    for made in &bookings {
        let site = ScopeId(appointment::SITE.value(made).unwrap().0);
        let other = if site == SITE { ELSEWHERE } else { SITE };
        let person = appointment::PATIENT.value(made).unwrap();
        for record in [made.record, person] {
            let scopes = house.scopes_of(record).await;
            assert!(scopes.contains(&site) && !scopes.contains(&other), "{scopes:?}");
        }
    }
    let before = house.changes().await;
    poller.poll().await.unwrap();
    assert_eq!(house.changes().await, before);
    house.stop().await;
}
