//! SIU: booked, moved, cancelled, not come.

use clinic::appointment;
use clinic::booking::appointment_id;
use clinic::value::{AppointmentStatus, Identifier};

use super::*;

const AT_NINE: &str = "AIS|1||99213^Office visit|20260105090000+0000|||20|min";
const AT_TEN: &str = "AIS|1||99213^Office visit|20260105100000+0000|||20|min";
const NINE_MS: i64 = 1_767_603_600_000;
const HOUR_MS: i64 = 3_600_000;

impl Site {
    /// The one booking there is.
    async fn booking(&self) -> RecordState {
        let mut all = self.of_kind(appointment::KIND).await;
        assert_eq!(all.len(), 1, "bookings");
        all.remove(0)
    }

    async fn stands(&self) -> (Option<AppointmentStatus>, Option<i64>) {
        let state = self.booking().await;
        (appointment::STATUS.value(&state), appointment::STARTS_MS.value(&state))
    }
}

#[tokio::test]
async fn a_booking_is_kept_with_its_patient_and_starts_no_visit() {
    let site = Site::open().await;

    let answer = site
        .send(&DOLORES.siu("S12", "1", "20260102080000+0000", &[AT_NINE]))
        .await;

    assert!(answer.is("AA", "1"), "{answer:?}");
    let (booking, patient) = (site.booking().await, site.patient().await);
    let number = Identifier {
        system: "urn:oid:2.999.4".to_owned(),
        value: "F-V740101".to_owned(),
        kind: String::new(),
    };
    assert_eq!(booking.record, appointment_id(&number));
    assert_eq!(appointment::PATIENT.value(&booking), Some(patient.record));
    assert_eq!(appointment::SITE.value(&booking), Some(RecordId([8; 16])));
    assert_eq!(appointment::ENDS_MS.value(&booking), Some(NINE_MS + HOUR_MS / 3));
    assert_eq!(site.stands().await, (Some(AppointmentStatus::Booked), Some(NINE_MS)));
    assert!(site.of_kind(visit::KIND).await.is_empty());
    assert_eq!(site.linked(patient.record, appointment::KIND).await.len(), 1);
}

#[tokio::test]
async fn a_booking_is_moved_altered_cancelled_and_booked_again() {
    let site = Site::open().await;
    site.send(&DOLORES.siu("S12", "1", "20260102080000+0000", &[AT_NINE]))
        .await;

    site.send(&DOLORES.siu("S13", "2", "20260102081000+0000", &[AT_TEN]))
        .await;
    assert_eq!(
        site.stands().await,
        (Some(AppointmentStatus::Booked), Some(NINE_MS + HOUR_MS))
    );

    let altered = DOLORES
        .siu("S14", "3", "20260102082000+0000", &[])
        .replace("EHR^2.999.4^ISO", "EHR^2.999.4^ISO|||||^Knee");
    site.send(&altered).await;
    assert_eq!(
        appointment::REASON.value(&site.booking().await).unwrap().expose(),
        "Knee"
    );
    assert_eq!(site.stands().await.1, Some(NINE_MS + HOUR_MS));

    site.send(&DOLORES.siu("S15", "4", "20260102083000+0000", &[])).await;
    assert_eq!(site.stands().await.0, Some(AppointmentStatus::Cancelled));

    site.send(&DOLORES.siu("S12", "5", "20260102084000+0000", &[AT_TEN]))
        .await;
    assert_eq!(site.stands().await.0, Some(AppointmentStatus::Booked));

    site.send(&DOLORES.siu("S26", "6", "20260105110000+0000", &[])).await;
    assert_eq!(
        site.stands().await,
        (Some(AppointmentStatus::NoShow), Some(NINE_MS + HOUR_MS))
    );
}

#[tokio::test]
async fn what_was_never_booked_here_is_booked_when_moved_and_cancelled_when_cancelled() {
    let site = Site::open().await;

    site.send(&DOLORES.siu("S13", "1", "20260102080000+0000", &[AT_TEN]))
        .await;
    assert_eq!(
        site.stands().await,
        (Some(AppointmentStatus::Booked), Some(NINE_MS + HOUR_MS))
    );

    let other = Site::open().await;
    other.send(&SEAMUS.siu("S15", "2", "20260102080000+0000", &[])).await;
    assert_eq!(other.stands().await.0, Some(AppointmentStatus::Cancelled));
}

#[tokio::test]
async fn an_older_message_undoes_no_newer_one_and_a_repeat_changes_nothing() {
    let site = Site::open().await;
    let first = DOLORES.siu("S12", "1", "20260102080000+0000", &[AT_NINE]);
    let answered = site.send(&first).await;
    let cancelled = DOLORES.siu("S15", "2", "20260102090000+0000", &[]);
    site.send(&cancelled.replace("312-555-0101", "312-555-0177")).await;
    let before = site.changes().await;

    let late = site
        .send(&DOLORES.siu("S13", "3", "20260102083000+0000", &[AT_TEN]))
        .await;
    let of_another = SEAMUS.siu("S13", "4", "20260102083000+0000", &[AT_TEN]);
    let of_another = of_another.replace(&format!("F-{}", SEAMUS.visit), &format!("F-{}", DOLORES.visit));
    let of_another = site.send(&of_another).await;
    let again = site.send(&first).await;

    assert!(late.is("AA", "3") && of_another.is("AA", "4"));
    assert_eq!(again, answered);
    assert_eq!(site.changes().await, before);
    assert_eq!(phone(&site.patient().await).as_deref(), Some("312-555-0177"));
    assert_eq!(site.stands().await, (Some(AppointmentStatus::Cancelled), Some(NINE_MS)));
    let notes = site.messages(Some(Outcome::Accepted)).await;
    assert!(
        notes
            .iter()
            .any(|kept| kept.error.as_deref().is_some_and(|note| note.starts_with("MSH-7")))
    );
}

#[tokio::test]
async fn another_source_replaces_its_own_words_only() {
    let site = Site::open().await;
    let portal = |message: String| message.replace("|SCHED|", "|PORTAL|");
    site.send(&DOLORES.siu("S12", "1", "20260102080000+0000", &[AT_NINE]))
        .await;
    site.send(&portal(DOLORES.siu("S13", "2", "20260102070000+0000", &[AT_TEN])))
        .await;
    site.send(&DOLORES.siu("S15", "3", "20260102090000+0000", &[])).await;
    let before = site.changes().await;

    let repeated = portal(DOLORES.siu("S13", "4", "20260102071000+0000", &[AT_TEN]));
    site.send(&repeated).await;

    assert_eq!(site.changes().await, before, "a repeated word undid a cancellation");
    assert_eq!(
        site.stands().await,
        (Some(AppointmentStatus::Cancelled), Some(NINE_MS + HOUR_MS))
    );
}

#[tokio::test]
async fn a_booking_that_cannot_be_read_is_refused_and_writes_nothing() {
    let site = Site::open().await;

    let timeless = site.send(&DOLORES.siu("S12", "1", "20260102080000+0000", &[])).await;
    let numberless = DOLORES.siu("S15", "2", "20260102080000+0000", &[]);
    let numberless = site
        .send(&numberless.replace("SCH|P-V740101^DESK|F-V740101^EHR", "SCH||"))
        .await;
    let removed = site
        .send(&DOLORES.siu("S17", "3", "20260102080000+0000", &[AT_NINE]))
        .await;

    assert!(
        timeless.is("AE", "1") && timeless.location == "SCH^1^11",
        "{timeless:?}"
    );
    assert!(
        numberless.is("AE", "2") && numberless.location == "SCH^1^1",
        "{numberless:?}"
    );
    assert!(removed.is("AR", "3") && removed.error == "201", "{removed:?}");
    assert_eq!(site.changes().await, 0);
}
