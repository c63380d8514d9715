//! Who is expected today, and their arrival by one press.

use super::*;
use clinic::flow::VisitState;
use clinic::value::AppointmentStatus;
use clinic::{PersonName, appointment, patient, provider, visit};
use sync_protocol::Phi;

const ELSEWHERE: RecordId = RecordId([9; 16]);
const HOUR_MS: i64 = 60 * 60 * 1000;

/// A booking as the hub writes it.
async fn book(clinic: &Clinic, number: u8, site: RecordId, starts_ms: i64, status: AppointmentStatus) -> RecordId {
    let by = Channel::Connector.program();
    let (person, doctor, id) = (RecordId([number; 16]), RecordId([0x77; 16]), RecordId([number + 1; 16]));
    let draft = |kind: KindId, id| Writing::new(kind, id, Action::Message, by, 0);
    let name = PersonName::parse(&format!("Booked{number}, Orla"));
    clinic
        .hub_writes(draft(patient::KIND, person).set(patient::NAME, &Phi::new(name)))
        .await;
    clinic
        .hub_writes(draft(provider::KIND, doctor).set(provider::NAME, &"Vance, Ines".to_owned()))
        .await;
    let booking = draft(appointment::KIND, id)
        .set(appointment::PATIENT, &person)
        .set(appointment::SITE, &site)
        .set(appointment::PROVIDER, &doctor)
        .set(appointment::STARTS_MS, &starts_ms)
        .set(appointment::REASON, &Phi::new("Blood pressure".to_owned()))
        .set(appointment::STATUS, &status);
    clinic.hub_writes(booking).await;
    id
}

#[tokio::test]
async fn whoever_is_booked_here_today_is_expected_and_nobody_else() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let now = crate::clock::now_ms();
    book(&clinic, 0x30, SITE_ID, now, AppointmentStatus::Booked).await;
    book(&clinic, 0x40, ELSEWHERE, now, AppointmentStatus::Booked).await;
    book(&clinic, 0x50, SITE_ID, now + 30 * HOUR_MS, AppointmentStatus::Booked).await;
    book(&clinic, 0x60, SITE_ID, now, AppointmentStatus::Cancelled).await;
    clinic.app.line.update(|line| line.ehr_polled_ms = Some(now));

    let board = desk.get("/board").await;

    assert!(
        board.shows("Booked48, Orla") && board.shows("Vance, Ines"),
        "{}",
        board.html
    );
    for absent in ["Booked64", "Booked80", "Booked96"] {
        assert!(!board.shows(absent), "{absent}");
    }
    assert!(board.shows("Schedule as of"), "{}", board.html);
}

#[tokio::test]
async fn an_expected_patient_arrives_by_one_press_and_once() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let booking = book(
        &clinic,
        0x30,
        SITE_ID,
        crate::clock::now_ms(),
        AppointmentStatus::Booked,
    )
    .await;
    let board = desk.get("/board").await;
    let arrive = format!("/appointments/{booking}/arrive");

    let done = desk.submit(&board, &arrive, &[]).await;
    let again = desk
        .submit(&board, &arrive, &[("request", "00000000-0000-4000-8000-000000000001")])
        .await;
    let after = desk.get("/board").await;

    assert_eq!(done.location.as_deref(), Some("/board"), "{}", done.html);
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(
        clinic.value(booking, appointment::STATUS).await,
        Some(AppointmentStatus::Arrived)
    );
    let visits = clinic.read(|tx| tx.records_of_kind(visit::KIND, 10)).await;
    assert_eq!(visits.len(), 1);
    let started = &visits[0].state;
    assert_eq!(visit::PATIENT.value(started), Some(RecordId([0x30; 16])));
    assert_eq!(visit::REASON.value(started).unwrap().expose(), "Blood pressure");
    assert_eq!(clinic::flow::standing(started).unwrap().state, VisitState::Arrived);
    assert!(!after.shows(&arrive), "{}", after.html);
}
