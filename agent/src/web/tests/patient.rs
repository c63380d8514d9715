//! One patient: edits against what was shown, questions, allergies, who may do what.

use super::*;
use clinic::value::{AllergyStatement, BirthDate, LinkStanding, ReportText};
use clinic::{allergy, link, linking, patient};
use sync_protocol::cbor::Raw;
use sync_protocol::replica::ReplicaLedger as _;
use sync_protocol::{ChangeId, Phi};

async fn shown_ids(clinic: &Clinic, id: RecordId, field: sync_protocol::FieldId) -> Vec<ChangeId> {
    clinic.read(move |tx| Ok(tx.state(id)?.unwrap().shown(field))).await
}

/// Somebody at the hub writes beside what is shown here.
async fn hub_sets_birth_date(clinic: &Clinic, id: RecordId, date: &str) {
    let shown = shown_ids(clinic, id, patient::BIRTH_DATE.id).await;
    let date = Phi::new(BirthDate::parse(date).unwrap());
    let writing = Writing::new(patient::KIND, id, Action::Edit, Channel::Cli.program(), 1_000);
    clinic
        .hub_writes(writing.replace(patient::BIRTH_DATE, &date, &shown))
        .await;
}

#[tokio::test]
async fn only_what_is_changed_is_written_and_the_page_says_who_did() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, id) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let path = format!("/patients/{id}");
    let edit = format!("{path}/edit");
    let page = desk.get(&path).await;
    let name_before = shown_ids(&clinic, id, patient::NAME.id).await;

    let filled = [
        ("email", "ada@example.org"),
        ("sex", "female"),
        ("phone", "503 555 0101"),
    ];
    let saved = desk.submit(&page, &edit, &filled).await;
    let after = desk.get(&path).await;
    desk.submit(&after, &edit, &[]).await;

    assert_eq!(saved.location.as_deref(), Some(path.as_str()));
    assert!(after.shows("ada@example.org") && after.shows("Female") && after.shows("503 555 0101"));
    assert!(after.shows("Person, front-desk"), "{}", after.html);
    assert_eq!(shown_ids(&clinic, id, patient::NAME.id).await, name_before);
    let phones = shown_ids(&clinic, id, patient::PHONE.id).await;
    assert_eq!(phones.len(), 1, "a form without a change writes nothing");
}

#[tokio::test]
async fn what_nobody_touched_is_no_change_even_when_the_page_is_old() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, id) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let old = desk.get(&format!("/patients/{id}")).await;
    hub_sets_birth_date(&clinic, id, "1990-02-01").await;

    desk.submit(&old, &format!("/patients/{id}/edit"), &[("email", "ada@example.org")])
        .await;

    let now = desk.get(&format!("/patients/{id}")).await;
    assert!(now.shows("01 Feb 1990") && !now.shows("two values"), "{}", now.html);
}

#[tokio::test]
async fn an_edit_of_what_somebody_else_changed_meanwhile_becomes_a_question_that_a_person_decides() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, id) = desk.arrive("Ames, Ada", "1983-12-12").await;
    let path = format!("/patients/{id}");
    let old = desk.get(&path).await;
    hub_sets_birth_date(&clinic, id, "1983-12-13").await;
    desk.submit(&old, &format!("{path}/edit"), &[("birth_date", "12 11 1983")])
        .await;

    let asked = desk.get(&path).await;
    let head = desk.get(&format!("{path}?fragment=head")).await;
    let work = desk.get("/work").await;
    let board = desk.get("/board").await;
    let decide = format!("/conflicts/{id}/birth_date/decide");
    let keep = asked
        .html
        .split("name=\"keep\" value=\"")
        .nth(2)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let decided = desk.submit(&asked, &decide, &[("keep", &keep)]).await;

    assert!(
        asked.shows("<mark>13</mark> Dec 1983") && asked.shows("<mark>11</mark> Dec 1983"),
        "{}",
        asked.html
    );
    assert!(
        asked.shows("the hub’s command line") && asked.shows("At the hub, today"),
        "{}",
        asked.html
    );
    assert!(asked.shows("Person, front-desk") && asked.shows("Here, Riverside Urgent Care"));
    assert!(!asked.shows("Born <b"), "a disputed birth date identifies nobody");
    assert!(head.shows("data-fragment=\"patient-head\"") && head.shows("TEMP") && !head.shows("Dec 1983"));
    assert!(work.shows("Birth date: two values") && board.shows("Birth date: two values"));
    assert_eq!(decided.location.as_deref(), Some(path.as_str()));
    let after = desk.get(&path).await;
    assert!(
        after.shows("11 Dec 1983") && !after.shows("two values"),
        "{}",
        after.html
    );
}

#[tokio::test]
async fn a_question_can_be_answered_with_a_value_on_neither_side() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, id) = desk.arrive("Ames, Ada", "1983-12-12").await;
    let path = format!("/patients/{id}");
    let old = desk.get(&path).await;
    hub_sets_birth_date(&clinic, id, "1983-12-13").await;
    desk.submit(&old, &format!("{path}/edit"), &[("birth_date", "12 11 1983")])
        .await;
    let asked = desk.get(&path).await;
    let decide = format!("/conflicts/{id}/birth_date/decide");

    let nothing = desk.submit(&asked, &decide, &[]).await;
    let no_day = desk
        .submit(&asked, &decide, &[("keep", "other"), ("value", "soon")])
        .await;
    desk.submit(&asked, &decide, &[("keep", "other"), ("value", "12 10 1983")])
        .await;

    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(no_day.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(desk.get(&path).await.shows("10 Dec 1983"));
}

#[tokio::test]
async fn a_later_phone_is_shown_and_the_other_stands_beside_it() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, id) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let path = format!("/patients/{id}");
    let old = desk.get(&path).await;
    let writing = Writing::new(patient::KIND, id, Action::Edit, Channel::Cli.program(), 1_000);
    clinic
        .hub_writes(writing.set(patient::PHONE, &Phi::new("312-555-0177".to_owned())))
        .await;

    desk.submit(&old, &format!("{path}/edit"), &[("phone", "503-555-0101")])
        .await;

    let page = desk.get(&path).await;
    assert!(
        page.shows("503-555-0101") && page.shows("also 312-555-0177"),
        "{}",
        page.html
    );
}

#[tokio::test]
async fn what_was_typed_wrong_is_kept_and_nothing_is_saved() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, id) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let page = desk.get(&format!("/patients/{id}")).await;
    let filled = [("name", ""), ("email", "nowhere"), ("phone", "503-555-0101")];

    let again = desk.submit(&page, &format!("/patients/{id}/edit"), &filled).await;

    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        again.shows("A patient needs a name") && again.shows("value=\"nowhere\""),
        "{}",
        again.html
    );
    assert!(clinic.value(id, patient::PHONE).await.is_none());
}

#[tokio::test]
async fn an_allergy_is_added_by_anybody_and_refuted_by_those_who_may() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let mut nurse = clinic.desk(Role::Nurse).await;
    let (_, id) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let path = format!("/patients/{id}");
    let page = desk.get(&path).await;
    let filled = [("substance", "Penicillin"), ("reaction", "Hives")];
    desk.submit(&page, &format!("{path}/allergies"), &filled).await;

    let seen_by_nurse = nurse.get(&path).await;
    let refute = seen_by_nurse.address("/allergies/");
    let seen_by_desk = desk.get(&path).await;
    let mut forged = seen_by_nurse.form(&refute);
    forged.retain(|(name, _)| name == "shown");
    forged.extend(
        seen_by_desk
            .form(&format!("{path}/allergies"))
            .into_iter()
            .filter(|(name, _)| name == "csrf" || name == "request"),
    );
    forged.push(("why".to_owned(), "tolerated twice".to_owned()));
    let refused = desk.post(&refute, &forged).await;
    let without_why = nurse.submit(&seen_by_nurse, &refute, &[]).await;
    let done = nurse
        .submit(&seen_by_nurse, &refute, &[("why", "tolerated twice")])
        .await;
    let after = nurse.get(&path).await;

    assert!(
        seen_by_nurse.shows("Allergies 1") && seen_by_nurse.shows("Hives"),
        "{}",
        seen_by_nurse.html
    );
    assert!(
        !seen_by_desk.shows(&refute),
        "what the role does not allow is not offered"
    );
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.shows("Not for your role"), "{}", refused.html);
    assert_eq!(without_why.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(done.location.as_deref(), Some(path.as_str()));
    assert!(
        after.shows("Refuted 1") && after.shows("“tolerated twice”") && !after.shows("Allergies 1"),
        "{}",
        after.html
    );
}

#[tokio::test]
async fn an_allergy_that_was_said_again_elsewhere_stays_active_and_tells_both_stories() {
    let clinic = Clinic::open().await;
    let mut nurse = clinic.desk(Role::Nurse).await;
    let (_, id) = nurse.arrive("Ames, Ada", "1990-01-02").await;
    let path = format!("/patients/{id}");
    let page = nurse.get(&path).await;
    nurse
        .submit(&page, &format!("{path}/allergies"), &[("substance", "Amoxicillin")])
        .await;
    let old = nurse.get(&path).await;
    let refute = old.address("/allergies/");
    let allergy = RecordId::parse(refute.split('/').nth(2).unwrap()).unwrap();
    let worse = Phi::new(AllergyStatement {
        substance: "Amoxicillin".to_owned(),
        reaction: "Throat swelling".to_owned(),
        ..AllergyStatement::default()
    });
    let writing = Writing::new(
        allergy::KIND,
        allergy,
        Action::AddAllergy,
        Channel::Cli.program(),
        1_000,
    );
    clinic.hub_writes(writing.assert(allergy::STATEMENT, &worse)).await;

    nurse.submit(&old, &refute, &[("why", "tolerated")]).await;

    let now = nurse.get(&path).await;
    assert!(
        now.shows("Allergies 1") && now.shows("Treat as allergic until a clinician decides."),
        "{}",
        now.html
    );
    assert!(now.shows("Throat swelling") && now.shows("“tolerated”"), "{}", now.html);
}

#[tokio::test]
async fn an_address_that_leads_nowhere_says_so() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;

    for path in [
        "/patients/none",
        &format!("/patients/{}", RecordId([9; 16])),
        "/nothing",
        "/tasks/00",
        "/sign-out",
    ] {
        let view = desk.get(path).await;
        assert_eq!(view.status, StatusCode::NOT_FOUND, "{path}");
        assert!(view.shows("Nothing is here"), "{path}");
    }
}

#[tokio::test]
async fn a_patient_is_found_by_what_is_known_and_the_words_stand_in_no_address() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, id) = desk.arrive("O’Sullivan-Brennan, Fionnuala", "1957-02-02").await;
    let form = desk.get("/find").await;
    let temp = clinic
        .read(move |tx| Ok(crate::access::arrivals::temp_number_of(&tx.state(id)?.unwrap()).unwrap()))
        .await;

    for words in ["osulivan", "02/02/1957", &temp.to_lowercase(), "brennan fio"] {
        let found = desk.submit(&form, "/find", &[("q", words)]).await;
        assert_eq!(found.status, StatusCode::OK);
        assert!(
            found.location.is_none() && found.shows(&format!("/patients/{id}")),
            "{words}: {}",
            found.html
        );
    }
    let nobody = desk.submit(&form, "/find", &[("q", "Whitehorse")]).await;
    assert!(nobody.shows("Nobody like that on this PC"));
}

#[tokio::test]
async fn what_may_be_one_person_is_asked_and_then_shown_with_the_allergies_of_both() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, one) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let (_, other) = desk.arrive("Aimes, Ada", "1961-11-30").await;
    let (first, second) = (format!("/patients/{one}"), format!("/patients/{other}"));
    let page = desk.get(&second).await;
    let said = [("substance", "Penicillin"), ("reaction", "hives")];
    desk.submit(&page, &format!("{second}/allergies"), &said).await;
    let (left, right) = linking::sides(one, other);
    let id = linking::link_id(one, other);
    let proposed = Writing::new(link::KIND, id, Action::Link, Channel::Hub.program(), 1_000)
        .set(link::LEFT, &left)
        .set(link::RIGHT, &right)
        .set(link::STANDING, &LinkStanding::Proposed)
        .set(
            link::WHY,
            &Phi::new(ReportText("family name: nearly the same letters, +4.91".to_owned())),
        );
    clinic.hub_writes(proposed).await;

    let asked = desk.get(&first).await;
    assert!(asked.shows("Possibly the same person") && asked.shows("nearly the same letters"));
    assert!(!asked.shows("Penicillin"));
    let answer = format!("{first}/same/{other}");
    desk.submit(&asked, &answer, &[("same", "yes")]).await;

    let joined = desk.get(&first).await;
    assert!(
        joined.shows("One person with") && joined.shows("Aimes, Ada"),
        "{}",
        joined.html
    );
    assert!(joined.shows("Penicillin") && !joined.shows("Possibly the same person"));
    let standing = clinic.read(move |tx| Ok(tx.state(id)?.unwrap())).await;
    assert_eq!(linking::joined(&standing), Some((left, right)));
}

#[tokio::test]
async fn a_value_in_a_newer_versions_form_is_kept_byte_for_byte_and_not_edited_here() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, id) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let newer = Raw::build(|w| {
        w.array(2).unwrap().str("503 555 0101").unwrap().u8(7).unwrap();
    });
    let draft = Writing::new(patient::KIND, id, Action::Edit, Channel::Cli.program(), 1_000)
        .set(patient::PHONE, &Phi::new("503 555 0101".to_owned()))
        .set(patient::EMAIL, &Phi::new("old@example.org".to_owned()))
        .done();
    let written = clinic.app.store.write(Priority::Sync, move |tx| tx.author(&draft));
    written.await.unwrap();
    // No writer here can say it in the newer form; it comes from a newer site.
    let value = newer.clone();
    let came = clinic.app.store.write(Priority::Sync, move |tx| {
        let mut state = tx.state(id)?.unwrap();
        let phones = state.registers.get_mut(&patient::PHONE.id).unwrap();
        phones.values.values_mut().for_each(|live| live.value = value.clone());
        tx.put_shown(&state)
    });
    came.await.unwrap();
    let phones = clinic
        .read(move |tx| {
            let state = tx.state(id)?.unwrap();
            Ok(state.register(patient::PHONE.id).unwrap().values.clone())
        })
        .await;
    let path = format!("/patients/{id}");
    let page = desk.get(&path).await;

    let refused = desk
        .submit(&page, &format!("{path}/edit"), &[("phone", "503 555 0199")])
        .await;
    let saved = desk
        .submit(&page, &format!("{path}/edit"), &[("email", "ada@example.org")])
        .await;

    assert!(refused.shows("newer version"), "{}", refused.html);
    assert_eq!(saved.location.as_deref(), Some(path.as_str()));
    let after = clinic
        .read(move |tx| {
            let state = tx.state(id)?.unwrap();
            Ok(state.register(patient::PHONE.id).unwrap().values.clone())
        })
        .await;
    assert_eq!(after, phones);
    assert!(after.values().all(|live| live.value == newer));
}
