//! The work list: tasks, questions of the EHR, results without a patient, what is entered by hand.

use super::*;
use clinic::matching::{Candidate, Identity};
use clinic::task::{Answer, Candidates, Delivery, DeliveryState, ErrorClass, Intent, TaskState, state_of};
use clinic::value::{BirthDate, Identifier, PersonName, ReportText};
use clinic::{patient, result, task_record as task};
use sync_protocol::{ChangeId, Phi};

async fn tasks_of(clinic: &Clinic, patient: RecordId) -> Vec<(RecordId, TaskState)> {
    let read = move |tx: &ReadTx<'_>| {
        let tasks = tx.linked(patient, task::KIND)?;
        Ok(tasks
            .iter()
            .map(|stored| (stored.state.record, state_of(&stored.state)))
            .collect())
    };
    clinic.read(read).await
}

async fn registration_of(clinic: &Clinic, patient: RecordId) -> RecordId {
    for (id, _) in tasks_of(clinic, patient).await {
        if clinic.value(id, task::KIND_OF_WORK).await == Some(clinic::task::TaskKind::RegisterPatient) {
            return id;
        }
    }
    panic!("no registration")
}

async fn hub_delivers(clinic: &Clinic, id: RecordId, state: DeliveryState, note: &str) {
    let shown: Vec<ChangeId> = clinic
        .read(move |tx| Ok(tx.state(id)?.unwrap().shown(task::DELIVERY.id)))
        .await;
    let delivery = Delivery {
        state,
        attempts: 1,
        class: ErrorClass::Validation,
        at_ms: 2_000,
        heeded: ChangeId([7; 16]),
        note: note.to_owned(),
    };
    let writing = Writing::new(task::KIND, id, Action::Deliver, Channel::Connector.program(), 2_000);
    clinic
        .hub_writes(writing.replace(task::DELIVERY, &delivery, &shown))
        .await;
}

#[tokio::test]
async fn a_refused_task_says_why_and_is_sent_again_or_withdrawn() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, patient) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let id = registration_of(&clinic, patient).await;
    hub_delivers(&clinic, id, DeliveryState::Refused, "HTTP 422").await;

    let work = desk.get("/work?show=person").await;
    let again = desk.submit(&work, &format!("/tasks/{id}/retry"), &[]).await;
    let asked_again = clinic.value(id, task::INTENT).await;
    desk.submit(&work, &format!("/tasks/{id}/withdraw"), &[]).await;
    let withdrawn = clinic.value(id, task::INTENT).await;

    assert!(
        work.shows("The EHR does not take what it says.") && work.shows("HTTP 422."),
        "{}",
        work.html
    );
    assert!(work.shows("1 question needs a person"), "{}", work.html);
    assert_eq!(again.location.as_deref(), Some("/work?show=person"));
    assert_eq!((asked_again, withdrawn), (Some(Intent::Again), Some(Intent::Withdraw)));
}

#[tokio::test]
async fn a_task_whose_outcome_is_unknown_offers_no_second_sending() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, patient) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let id = registration_of(&clinic, patient).await;
    hub_delivers(&clinic, id, DeliveryState::OutcomeUnknown, "").await;

    let work = desk.get("/work").await;
    let mut forged = work.form(&format!("/tasks/{id}/withdraw"));
    forged.retain(|(name, _)| name != "request");
    forged.push(("request".to_owned(), "00000000-0000-4000-8000-000000000002".to_owned()));
    let refused = desk.post(&format!("/tasks/{id}/retry"), &forged).await;

    assert!(
        work.shows("it is not sent twice") && !work.shows(&format!("/tasks/{id}/retry")),
        "{}",
        work.html
    );
    assert_eq!(refused.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn whether_somebody_at_the_ehr_is_this_patient_is_asked_and_answered() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, patient) = desk.arrive("Smith, John", "1969-04-01").await;
    let id = registration_of(&clinic, patient).await;
    let candidate = Candidate {
        partner_id: "p9".to_owned(),
        identity: Identity {
            name: PersonName::parse("Smith, Jon"),
            birth_date: BirthDate::parse("1969-04-01"),
            phones: vec!["602 555 0199".to_owned()],
            ..Identity::default()
        },
    };
    hub_delivers(
        &clinic,
        id,
        DeliveryState::OnHold,
        "somebody at the EHR may be this patient",
    )
    .await;
    let writing = Writing::new(task::KIND, id, Action::Deliver, Channel::Connector.program(), 2_000);
    clinic
        .hub_writes(writing.set(task::CANDIDATES, &Phi::new(Candidates(vec![candidate]))))
        .await;

    let work = desk.get("/work").await;
    let board = desk.get("/board").await;
    let answer = format!("/tasks/{id}/answer");
    let made_up = desk.submit(&work, &answer, &[("answer", "same:p1")]).await;
    let answered = desk.submit(&work, &answer, &[("answer", "same:p9")]).await;

    assert!(
        work.shows("Same person at the EHR?") && work.shows("<mark>Jon</mark>"),
        "{}",
        work.html
    );
    assert!(board.shows("Not matched"));
    assert_eq!(made_up.status, StatusCode::CONFLICT);
    assert_eq!(answered.location.as_deref(), Some("/work"));
    assert_eq!(
        clinic.value(id, task::ANSWER).await,
        Some(Answer::Attach("p9".to_owned()))
    );
    assert!(!desk.get("/work").await.shows("Same person at"));
}

async fn result_without_patient(clinic: &Clinic, id: RecordId) {
    let number = Identifier {
        system: "ELSEWHERE".to_owned(),
        value: "104882".to_owned(),
        kind: "MR".to_owned(),
    };
    let writing = Writing::new(result::KIND, id, Action::ReceiveResult, Channel::Hl7.program(), 2_000)
        .set(result::SERVICE, &Phi::new("CBC with differential".to_owned()))
        .set(
            result::OBSERVATIONS,
            &Phi::new(ReportText("Leukocytes: 9.8 10*3/uL (H)\nComment: <i>ok</i>".to_owned())),
        )
        .set(result::SAID_NAME, &Phi::new(PersonName::parse("Ames, Adah")))
        .set(
            result::SAID_BIRTH_DATE,
            &Phi::new(BirthDate::parse("1990-01-02").unwrap()),
        )
        .set(result::SAID_IDENTIFIER, &Phi::new(number));
    clinic.hub_writes(writing).await;
}

#[tokio::test]
async fn a_result_without_a_patient_is_put_on_one_by_those_who_may() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let mut nurse = clinic.desk(Role::Nurse).await;
    let (_, patient) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let id = RecordId([0x66; 16]);
    result_without_patient(&clinic, id).await;
    let action = format!("/results/{id}/match");

    let seen_by_desk = desk.get("/work").await;
    let work = nurse.get("/work").await;
    let nobody = nurse.submit(&work, &action, &[("number", "99")]).await;
    let matched = nurse
        .submit(&nobody, &action, &[("patient", &patient.to_string())])
        .await;
    let page = nurse.get(&format!("/patients/{patient}")).await;

    assert!(seen_by_desk.shows("Result without a patient") && !seen_by_desk.shows(&action));
    assert!(
        work.shows("Ames, Adah") && work.shows("MRN 104882 of ELSEWHERE") && work.shows("Nobody here has this number."),
        "{}",
        work.html
    );
    assert!(
        work.shows(&format!("name=\"patient\" value=\"{patient}\"")),
        "somebody of that birth date is offered"
    );
    assert_eq!(nobody.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        nobody.shows("Nobody here has this number. Look at it again"),
        "{}",
        nobody.html
    );
    assert!(matched.location.is_some());
    assert!(
        page.shows("CBC with differential") && page.shows("9.8") && page.shows("High"),
        "{}",
        page.html
    );
    assert!(page.shows("&#60;i&#62;ok&#60;/i&#62;") && !page.shows("<i>ok"));
}

#[tokio::test]
async fn a_result_is_put_on_the_patient_of_a_temp_number() {
    let clinic = Clinic::open().await;
    let mut nurse = clinic.desk(Role::Nurse).await;
    let (_, patient) = nurse.arrive("Ames, Ada", "1990-01-02").await;
    let temp = clinic
        .read(move |tx| Ok(crate::access::arrivals::temp_number_of(&tx.state(patient)?.unwrap()).unwrap()))
        .await;
    let id = RecordId([0x66; 16]);
    result_without_patient(&clinic, id).await;
    let work = nurse.get("/work").await;

    nurse
        .submit(
            &work,
            &format!("/results/{id}/match"),
            &[("number", &temp.to_lowercase())],
        )
        .await;

    assert_eq!(clinic.value(id, result::PATIENT).await, Some(patient));
}

#[tokio::test]
async fn what_is_entered_by_hand_is_kept_with_its_number_and_the_number_is_the_patients() {
    let clinic = Clinic::with_ehr(Target::Person).await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, patient) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let (_, other) = desk.arrive("Begay, Tom", "1962-09-09").await;
    let (id, of_other) = (
        registration_of(&clinic, patient).await,
        registration_of(&clinic, other).await,
    );
    let path = format!("/tasks/{id}");
    let entered = format!("{path}/entered");

    let work = desk.get("/work?show=hand").await;
    let screen = desk.get(&path).await;
    let unsaid = desk.submit(&screen, &entered, &[("number", "9000001")]).await;
    let kept = desk
        .submit(&screen, &entered, &[("number", "9000001"), ("already", "no")])
        .await;
    let after = desk.get(&path).await;
    let screen = desk.get(&format!("/tasks/{of_other}")).await;
    let taken = [("number", "9000001"), ("already", "no")];
    let taken = desk
        .submit(&screen, &format!("/tasks/{of_other}/entered"), &taken)
        .await;

    assert!(work.shows(&format!("href=\"{path}\"")), "{}", work.html);
    assert!(
        screen.shows("09/09/1962") && screen.shows("data-copy=\"Begay\""),
        "{}",
        screen.html
    );
    assert_eq!(unsaid.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(kept.location.as_deref(), Some(path.as_str()));
    assert!(
        after.shows("Entered by Person, front-desk") && after.shows("9000001"),
        "{}",
        after.html
    );
    assert!(
        desk.get(&format!("/patients/{patient}"))
            .await
            .shows("EHR <b class=\"code\">9000001")
    );
    assert_eq!(taken.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        taken.shows("This number belongs to another patient here"),
        "{}",
        taken.html
    );
    assert!(taken.shows("value=\"9000001\""), "what was typed is kept");
    assert!(
        !patient::IDENTIFIER
            .standing(&clinic.read(move |tx| Ok(tx.state(other)?.unwrap())).await)
            .iter()
            .any(|said| said.value.expose().value == "9000001")
    );
}

#[tokio::test]
async fn a_result_that_a_later_report_corrects_says_so_and_stands_behind_it() {
    let clinic = Clinic::open().await;
    let mut nurse = clinic.desk(Role::Nurse).await;
    let (_, patient) = nurse.arrive("Ames, Ada", "1990-01-02").await;
    for (number, service, value) in [(0x70, "Potassium", "7.1"), (0x71, "Potassium (corrected)", "4.1")] {
        let id = RecordId([number; 16]);
        let writing = Writing::new(result::KIND, id, Action::ReceiveResult, Channel::Hl7.program(), 2_000)
            .set(result::PATIENT, &patient)
            .set(result::OBSERVED_MS, &1_000)
            .set(result::SERVICE, &Phi::new(service.to_owned()))
            .set(
                result::OBSERVATIONS,
                &Phi::new(ReportText(format!("Potassium: {value} mmol/L"))),
            );
        clinic.hub_writes(writing).await;
    }

    let page = nurse.get(&format!("/patients/{patient}")).await;

    let at = |words: &str| {
        page.html
            .find(words)
            .unwrap_or_else(|| panic!("{words}: {}", page.html))
    };
    assert!(at("4.1") < at("7.1"));
    assert!(at("replaced by a later report") > at("4.1"));
}

#[tokio::test]
async fn a_message_that_had_no_effect_is_listed_for_somebody_to_look_at() {
    use crate::store::{MessageKey, NewMessage, Outcome};

    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let message = |kind: &str, control: &str| NewMessage {
        key: MessageKey {
            application: "REG".to_owned(),
            facility: "RIVERSIDE".to_owned(),
            control: control.to_owned(),
            digest: sync_protocol::Hash([1; 32]),
        },
        received_ms: 1_000,
        peer: "127.0.0.1".to_owned(),
        kind: kind.to_owned(),
        trigger: "A03".to_owned(),
        outcome: Outcome::Unmatched,
        ack: Vec::new(),
        error: Some("PV1-19: the patient has no such visit open here".to_owned()),
        record: None,
    };
    for message in [message("ADT", "1"), message("ORU", "2")] {
        let write = clinic
            .app
            .store
            .write(Priority::Desk, move |tx| tx.insert_message(&message));
        write.await.unwrap();
    }

    let work = desk.get("/work").await;

    assert!(work.shows("Messages not taken or not used 1"), "{}", work.html);
    assert!(
        work.shows("Taken, but nothing on the board moved")
            && work.shows("PV1-19: the patient has no such visit open here.")
    );
}

#[tokio::test]
async fn more_tasks_than_are_listed_are_counted_and_what_needs_a_person_is_never_left_out() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let patient = RecordId([0x77; 16]);
    let waiting = move |number: u16| {
        let mut id = [0x78; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Writing::new(
            task::KIND,
            RecordId(id),
            Action::CreateTask,
            Channel::Rule.program(),
            1_000,
        )
        .set(task::KIND_OF_WORK, &clinic::task::TaskKind::RegisterPatient)
        .set(task::TARGET, &Target::Machine)
        .set(task::PATIENT, &patient)
        .set(task::INTENT, &Intent::Wanted)
        .done()
    };
    let write = clinic.app.store.write(Priority::Desk, move |tx| {
        (0..320).try_for_each(|number| tx.author(&waiting(number)).map(|_| ()))
    });
    write.await.unwrap();
    let mut last = [0x78; 16];
    last[..2].copy_from_slice(&319_u16.to_be_bytes());
    hub_delivers(&clinic, RecordId(last), DeliveryState::Refused, "HTTP 422").await;

    let work = desk.get("/work").await;

    assert!(work.shows("HTTP 422."), "the refused one is listed");
    assert!(work.shows("the oldest 300 of 319") && work.shows("Waiting <span class=\"figure\">319"));
}
