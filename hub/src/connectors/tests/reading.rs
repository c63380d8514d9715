//! What an EHR holds that answers whatever a test wants, brought in: badly paged, badly sorted, far too long.

use std::sync::{Arc, Mutex};

use clinic::catalogue::appointment;
use clinic::index::Facet;
use clinic::value::AppointmentStatus;
use serde_json::{Value, json};

use super::inbound::{booking, to_come};
use super::scripted::{patient_of, scripted, version};
use super::*;
use crate::connectors::inbound::{LEASE, PollError, ResourceType};
use crate::db::Wants;

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_reads_the_ehr() {
    let (house, answers) = scripted().await;
    answers.holds("Patient", vec![patient_of("p1", "2026-03-02T08:00:00Z")]);
    let (first, second) = (house.poller(), house.poller());
    first.poll().await.unwrap();
    let before = house.changes().await;
    answers.holds("Patient", vec![patient_of("p2", "2026-03-02T08:00:01Z")]);

    assert!(matches!(second.poll().await, Err(PollError::LostLease)));
    assert_eq!(house.changes().await, before);

    first.poll().await.unwrap();
    assert!(house.changes().await > before);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_polls_of_an_unchanged_ehr_create_no_change_and_no_task() {
    let (house, answers) = scripted().await;
    house.is_location(SITE, "l1").await;
    answers.holds(
        "Location",
        vec![json!({"resourceType": "Location", "id": "l1", "name": "Riverside",
        "meta": {"lastUpdated": "2026-03-02T07:00:00Z"}})],
    );
    answers.holds("Patient", vec![patient_of("p1", "2026-03-02T08:00:00Z")]);
    let mut booked = booking("B-1", "p1", "l1", None);
    booked["id"] = json!("a1");
    booked["meta"] = json!({"lastUpdated": "2026-03-02T08:00:00Z"});
    answers.holds("Appointment", vec![booked]);
    let poller = house.poller();
    poller.poll().await.unwrap();
    let before = house.changes().await;

    for round in 0..1_000 {
        // Each version is another one in nothing but its version and its way of writing.
        let mut person = patient_of("p1", "2026-03-02T08:00:00Z");
        person["meta"]["versionId"] = json!(round.to_string());
        person["telecom"][0]["value"] = json!(["602-555-0143", "+16025550143"][round % 2]);
        answers.holds("Patient", vec![person]);
        poller.poll().await.unwrap();
    }

    assert_eq!(house.changes().await, before);
    let tasks = house
        .db
        .read(|txn| txn.count_with_facet(Facet::TASK_OPEN))
        .await
        .unwrap();
    assert_eq!(tasks, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_broken_or_unknown_is_counted_and_the_rest_is_used() {
    let (house, answers) = scripted().await;
    let mut broken = patient_of("p2", "2026-03-02T08:00:00Z");
    broken["name"] = json!("Quill");
    answers.holds(
        "Patient",
        vec![
            patient_of("p1", "2026-03-02T08:00:00Z"),
            broken,
            json!({"resourceType": "Basic", "id": "b1", "meta": {"lastUpdated": "2026-03-02T08:00:00Z"}}),
            patient_of("p3", "2026-03-02T08:00:01Z"),
        ],
    );

    let poller = house.poller();
    poller.poll().await.unwrap();
    poller.poll().await.unwrap();

    let feed = house.feed("Patient").await;
    assert_eq!((feed.taken, feed.unknown, feed.broken), (2, 1, 1));
    assert_eq!(house.all(patient::KIND).await.len(), 2);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ehr_that_fails_is_named_and_read_again_when_it_is_well() {
    let (house, answers) = scripted().await;
    answers.holds("Patient", vec![patient_of("p1", "2026-03-02T08:00:00Z")]);
    let poller = house.poller();
    for (status, body, named) in [
        (200, "<html>Sign in</html>", "not FHIR"),
        (200, "{\"resourceType\":", "not FHIR"),
        (500, "", "500"),
        (404, "", "404"),
    ] {
        answers.fails(Some((status, body)));
        assert!(poller.poll().await.is_err());
        let problem = house.feed("Patient").await.problem.unwrap();
        assert!(problem.contains(named), "{problem}");
    }

    answers.fails(None);
    poller.poll().await.unwrap();

    let feed = house.feed("Patient").await;
    assert_eq!((feed.problem, feed.taken), (None, 1));
    let told = house.feed("Appointment/_history").await.problem;
    assert_eq!(told, None, "nothing was asked of the history of nothing");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_lead_nowhere_end() {
    let (house, answers) = scripted().await;
    answers.holds("Patient", vec![patient_of("p1", "2026-03-02T08:00:00Z")]);
    *answers.endless.lock().unwrap() = true;
    let poller = house.poller();

    assert!(poller.poll().await.is_err());

    let problem = house.feed("Patient").await.problem.unwrap();
    assert!(problem.contains("lead back"), "{problem}");
    assert!(answers.asked.lock().unwrap().len() < 40);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ehr_whose_clock_is_far_behind_or_ahead_is_read_in_full() {
    let (house, answers) = scripted().await;
    let poller = house.poller();
    answers.holds("Patient", vec![patient_of("p1", "2011-01-01T00:00:00Z")]);
    poller.poll().await.unwrap();
    answers.holds(
        "Patient",
        vec![
            patient_of("p1", "2011-01-01T00:00:00Z"),
            patient_of("p2", "2011-01-01T00:00:00Z"),
        ],
    );
    poller.poll().await.unwrap();
    answers.holds("Patient", vec![patient_of("p3", "2099-01-01T00:00:00Z")]);
    poller.poll().await.unwrap();

    // The clock was set right.
    let soon = jiff::Timestamp::now().to_string();
    answers.holds("Patient", vec![patient_of("p4", &soon)]);
    poller.poll().await.unwrap();

    assert_eq!(house.all(patient::KIND).await.len(), 4);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_replaced_at_the_ehr_is_linked_and_nobody_is_deleted() {
    let (house, answers) = scripted().await;
    let mut old = patient_of("p1", "2026-03-02T08:00:00Z");
    old["active"] = json!(false);
    old["link"] = json!([{"other": {"reference": "Patient/p2"}, "type": "replaced-by"}]);
    answers.holds("Patient", vec![old, patient_of("p2", "2026-03-02T08:00:01Z")]);
    let poller = house.poller();

    poller.poll().await.unwrap();
    poller.poll().await.unwrap();

    let links = house.all(clinic::link::KIND).await;
    assert_eq!(links.len(), 1);
    assert!(clinic::linking::joined(&links[0]).is_some());
    assert_eq!(house.all(patient::KIND).await.len(), 2);
    assert_eq!(house.waiting(Wants::Patient).await, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_vain_keeps_nothing_else_waiting() {
    let (house, answers) = scripted().await;
    house.is_location(SITE, "l1").await;
    let elsewhere = |at: usize| {
        let booked = to_come(&format!("E-{at}"), "p1", "l-unknown");
        version(booked, &format!("e{at}"), "2026-03-02T08:00:00Z")
    };
    let mut bookings: Vec<Value> = (0..250).map(elsewhere).collect();
    answers.holds("Patient", vec![patient_of("p1", "2026-03-02T08:00:00Z")]);
    answers.holds("Appointment", bookings.clone());
    let poller = house.poller();
    poller.poll().await.unwrap();
    bookings.push(version(to_come("B-1", "p2", "l1"), "a1", "2026-03-02T08:00:01Z"));
    answers.holds("Appointment", bookings);
    poller.poll().await.unwrap();
    assert_eq!(house.waiting(Wants::Site).await, 250);
    assert_eq!(house.waiting(Wants::Patient).await, 1);

    answers.holds("Patient", vec![patient_of("p2", "2026-03-02T08:00:02Z")]);
    poller.poll().await.unwrap();

    assert_eq!(house.waiting(Wants::Patient).await, 0);
    let bookings = house.all(appointment::KIND).await;
    assert_eq!(bookings.len(), 1);
    assert_eq!(appointment::SITE.value(&bookings[0]), Some(RecordId(SITE.0)));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_is_over_waits_for_nothing() {
    let (house, answers) = scripted().await;
    answers.holds("Patient", vec![patient_of("p1", "2026-03-02T08:00:00Z")]);
    let mut over = to_come("B-1", "p1", "l-unknown");
    over["start"] = json!("2019-03-02T08:00:00Z");
    answers.holds("Appointment", vec![version(over, "a1", "2026-03-02T08:00:00Z")]);

    house.poller().poll().await.unwrap();

    assert_eq!(house.waiting(Wants::Site).await, 0);
    assert!(house.all(appointment::KIND).await.is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_and_cannot_be_read_again_keeps_no_other_waiting() {
    let (house, answers) = scripted().await;
    answers.holds("Patient", vec![patient_of("p1", "2026-03-02T08:00:00Z")]);
    let all: Vec<Value> = ["no-id", "a1", "a2"]
        .into_iter()
        .map(|id| version(to_come(id, "p1", "l1"), id, "2026-03-02T08:00:00Z"))
        .collect();
    answers.holds("Appointment", all);
    let poller = house.poller();
    poller.poll().await.unwrap();
    assert_eq!(house.waiting(Wants::Site).await, 3);

    house.is_location(SITE, "l1").await;
    *answers.refuses.lock().unwrap() = Some("Appointment/no-id");
    poller.poll().await.unwrap();

    assert_eq!(house.waiting(Wants::Site).await, 1);
    assert_eq!(house.all(appointment::KIND).await.len(), 2);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_is_moved_away_is_expected_nowhere_and_may_come_back() {
    let (house, answers) = scripted().await;
    house.is_location(SITE, "l1").await;
    let people = ["p1", "p2"].map(|id| patient_of(id, "2026-03-02T08:00:00Z"));
    answers.holds("Patient", people.into());
    let poller = house.poller();
    let says = async |second: usize, patient: &str, place: &str, status: &str| {
        let mut booked = to_come("B-1", patient, place);
        booked["status"] = json!(status);
        let updated = format!("2026-03-02T08:00:{second:02}Z");
        answers.holds("Appointment", vec![version(booked, "a1", &updated)]);
        poller.poll().await.unwrap();
        let all = house.all(appointment::KIND).await;
        assert_eq!(all.len(), 1);
        let is_here = appointment::SITE.value(&all[0]) == Some(RecordId(SITE.0));
        let expected = clinic::booking::is_expected(&all[0]);
        assert!(
            house.scopes_of(all[0].record).await.contains(&SITE),
            "the site is not told"
        );
        (is_here, expected, appointment::STATUS.value(&all[0]).unwrap())
    };

    let booked = (true, true, AppointmentStatus::Booked);
    assert_eq!(says(1, "p1", "l1", "booked").await, booked);
    assert!(!says(2, "p1", "l-unknown", "booked").await.0);
    assert_eq!(house.waiting(Wants::Site).await, 1);
    assert_eq!(
        says(3, "p1", "l-unknown", "cancelled").await,
        (false, false, AppointmentStatus::Cancelled)
    );
    assert_eq!(says(4, "p1", "l1", "booked").await, booked);
    assert_eq!(house.waiting(Wants::Site).await, 0);
    // For somebody unknown it is at no site, and goes with whom it was for.
    assert_eq!(
        says(5, "p3", "l1", "booked").await,
        (false, false, AppointmentStatus::Booked)
    );
    let kept = &house.all(appointment::KIND).await[0];
    let whose = house.record(appointment::PATIENT.value(kept).unwrap()).await;
    assert!(
        clinic::linking::ehr_id(&whose).as_deref() == Some("p1"),
        "it is another's"
    );
    assert_eq!(says(6, "p2", "l1", "booked").await, booked);
    assert_eq!(
        says(7, "p2", "l1", "waitlist").await,
        (true, false, AppointmentStatus::Cancelled)
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_too_long_or_refused_keeps_no_other_from_being_read() {
    let (mut house, answers) = scripted().await;
    // What it gives is large, and the machine may be busy.
    (house.config.attempt_timeout_secs, house.config.lease_secs) = (120, 121);
    answers.turns_pages();
    let with_photo = |id: &str, updated: &str, bytes: usize| {
        let mut person = patient_of(id, updated);
        person["photo"] = json!([{"contentType": "image/jpeg", "data": "A".repeat(bytes)}]);
        person
    };
    let mut people = vec![
        patient_of("p1", "2026-03-02T08:00:00Z"),
        with_photo("p2", "2026-03-02T08:00:01Z", 5_000_000),
        with_photo("p3", "2026-03-02T08:00:02Z", 17_000_000),
        with_photo("p4", "2026-03-02T08:00:03Z", 5_000_000),
    ];
    people.extend((5..30).map(|at| patient_of(&format!("p{at}"), &format!("2026-03-02T08:01:{at:02}Z"))));
    answers.holds("Patient", people);
    *answers.refuses.lock().unwrap() = Some("Patient/p4");
    let poller = house.poller_of(|config| config.overlap_secs = 0);

    poller.poll().await.unwrap();

    let feed = house.feed("Patient").await;
    assert_eq!((feed.taken, feed.broken, feed.problem), (27, 2, None));
    assert!(feed.filled);
    assert_eq!(house.all(patient::KIND).await.len(), 27);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_too_long_keeps_no_deletion_from_being_read() {
    let (mut house, answers) = scripted().await;
    // What it gives is large, and the machine may be busy.
    (house.config.attempt_timeout_secs, house.config.lease_secs) = (120, 121);
    house.is_location(SITE, "l1").await;
    answers.turns_pages();
    answers.holds("Patient", vec![patient_of("p1", "2026-03-02T08:00:00Z")]);
    let booked = version(to_come("B-1", "p1", "l1"), "a1", "2026-03-02T08:00:00Z");
    answers.holds("Appointment", vec![booked]);
    let poller = house.poller_of(|config| config.page_size = 4);
    poller.poll().await.unwrap();

    answers.holds("Appointment", Vec::new());
    let changed = |bytes: usize| {
        let long = json!({"resourceType": "Appointment", "id": "a2", "comment": "A".repeat(bytes)});
        json!({"resource": long, "request": {"method": "PUT", "url": "Appointment/a2"}})
    };
    let gone = json!({"request": {"method": "DELETE", "url": "Appointment/a1"},
        "response": {"lastModified": "2026-03-02T08:00:05Z"}});
    // Too long together, and the last one for itself.
    let history = vec![
        changed(1_500_000),
        changed(1_500_000),
        changed(1_500_000),
        gone,
        changed(5_000_000),
    ];
    *answers.history.lock().unwrap() = history;
    poller.poll().await.unwrap();

    let bookings = house.all(appointment::KIND).await;
    let status = appointment::STATUS.value(&bookings[0]);
    assert_eq!(status, Some(AppointmentStatus::EnteredInError));
    assert_eq!(house.feed("Appointment/_history").await.problem, None);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ehr_that_keeps_no_order_is_read_to_its_end_in_several_runs() {
    let (house, answers) = scripted().await;
    answers.turns_pages();
    let newest_first = |at: usize| patient_of(&format!("p{at}"), &format!("2026-03-02T08:{:02}:00Z", 59 - at));
    answers.holds("Patient", (0..20).map(newest_first).collect());
    let poller = house.poller_of(|config| {
        config.page_size = 2;
        config.pages_per_run_max = 3;
    });

    poller.poll().await.unwrap();
    assert!(!house.feed("Patient").await.filled);
    assert_eq!(answers.was_asked("/Appointment?"), 1);
    answers.fails(Some((500, "")));
    assert!(poller.poll().await.is_err());
    answers.fails(None);
    for _ in 0..3 {
        poller.poll().await.unwrap();
    }

    let feed = house.feed("Patient").await;
    assert_eq!((feed.filled, feed.taken, feed.problem), (true, 20, None));
    assert_eq!(answers.was_asked("/Patient?_sort"), 1, "it was begun anew");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_could_not_be_taken_is_asked_for_again() {
    const ANOTHER: [u8; 16] = [7; 16];
    let (house, answers) = scripted().await;
    answers.turns_pages();
    let newest_first = |at: usize| patient_of(&format!("p{at}"), &format!("2026-03-02T08:{:02}:00Z", 59 - at));
    answers.holds("Patient", (0..10).map(newest_first).collect());
    let poller = house.poller_of(|config| {
        config.page_size = 2;
        config.pages_per_run_max = 2;
        config.types = vec![ResourceType::Patient];
    });
    poller.poll().await.unwrap();

    let (db, owner) = (house.db.clone(), poller.owner());
    let taken_away = async move {
        let until_ms = u64::try_from(now()).unwrap() + 3_600_000;
        let write = db.write(move |txn| {
            txn.release_lease(LEASE, owner)?;
            txn.take_lease(LEASE, ANOTHER, until_ms)
        });
        assert!(write.await.unwrap());
    };
    *answers.meanwhile.lock().unwrap() = Some(Box::pin(taken_away));
    assert!(matches!(poller.poll().await, Err(PollError::LostLease)));
    let given_back = house.db.write(|txn| txn.release_lease(LEASE, ANOTHER));
    given_back.await.unwrap();
    for _ in 0..2 {
        poller.poll().await.unwrap();
    }

    let feed = house.feed("Patient").await;
    assert_eq!((feed.filled, feed.taken, feed.problem), (true, 10, None));
    assert_eq!(answers.was_asked("/Patient?_sort"), 1, "it was begun anew");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_behind_a_reading_of_several_runs_is_read_after_it() {
    let (house, answers) = scripted().await;
    answers.turns_pages();
    let second = || jiff::Timestamp::now().as_second();
    let at = |second: i64| jiff::Timestamp::from_second(second).unwrap().to_string();
    let newest_first = |at: usize| patient_of(&format!("p{at}"), &format!("2026-03-02T08:{:02}:00Z", 59 - at));
    let mut people: Vec<Value> = (0..10).map(newest_first).collect();
    answers.holds("Patient", people.clone());
    let poller = house.poller_of(|config| {
        config.page_size = 2;
        config.pages_per_run_max = 3;
        config.overlap_secs = 0;
    });
    poller.poll().await.unwrap();

    // The first was read already; the last is still to come, and is the newest.
    let edited = second();
    people[0] = patient_of("p0", &at(edited));
    people[0]["telecom"][0]["value"] = json!("602-555-0199");
    let later = async || Ok((second() > edited).then_some(()));
    ::tests::until(PATIENCE, "another second", later).await.unwrap();
    people[9] = patient_of("p9", &at(second()));
    answers.holds("Patient", people);
    poller.poll().await.unwrap();
    assert!(house.feed("Patient").await.filled);
    poller.poll().await.unwrap();

    assert_eq!(house.feed("Patient").await.taken, 11);
    house.stop().await;
}

/// Where a test's log goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_of_the_ehrs_is_in_the_log() {
    let log = Log::default();
    let into = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new("mainstay_hub=trace"))
        .with_writer(move || into.clone())
        .finish();
    // The store has threads of its own; no other test of this program looks at a log.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let (house, answers) = scripted().await;
    house.is_location(SITE, "l1").await;
    let mut broken = patient_of("id-of-ehr-1", "2026-03-02T08:00:00Z");
    broken["name"] = json!("Quill");
    answers.holds(
        "Patient",
        vec![broken, patient_of("id-of-ehr-2", "2026-03-02T08:00:00Z")],
    );
    let booked = version(
        to_come("B-1", "id-of-ehr-1", "l1"),
        "id-of-ehr-3",
        "2026-03-02T08:00:00Z",
    );
    answers.holds("Appointment", vec![booked]);
    answers.holds(
        "Practitioner",
        vec![json!({"resourceType": "Practitioner", "id": "id-of-ehr-4"})],
    );
    let poller = house.poller();

    poller.poll().await.unwrap();
    answers.fails(Some((500, "")));
    assert!(poller.poll().await.is_err());

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("cannot be used"), "{log}");
    assert!(!log.contains("id-of-ehr"), "{log}");
    house.stop().await;
}
