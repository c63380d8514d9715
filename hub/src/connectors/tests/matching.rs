//! Nobody is created at the EHR who is there already, and doubt is a person's to settle.

use ::tests::ehr::KnownPatient;

use super::inbound::put;
use super::*;

const KNOWN: KnownPatient<'static> = KnownPatient {
    family: "Quill",
    given: "Orla",
    birth_date: ADULT,
    phone: Some("+1 602-555-0143"),
    identifier: None,
};

async fn quills(ehr: &Ehr) -> usize {
    ehr.patients_named("Quill", ADULT).await.unwrap().len()
}

#[tokio::test]
async fn a_walk_in_with_the_same_name_birth_date_and_phone_is_attached() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let there = ehr.already_knows(KNOWN).await.unwrap();
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    house.until_all_done(arrived).await;

    assert_eq!(house.partner_id(arrived).await, Some(there.clone()));
    assert_eq!(quills(&ehr).await, 1);
    assert_eq!(
        arrived.encounters_at(&ehr).await[0]["subject"]["reference"],
        format!("Patient/{there}")
    );
    house.stop().await;
}

#[tokio::test]
async fn an_accented_name_is_found_however_the_ehr_spells_it() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let known = KnownPatient {
        family: "O'Suilleabhain",
        given: "Mairead",
        ..KNOWN
    };
    let there = ehr.already_knows(known).await.unwrap();
    house.deliver();

    let arrived = house
        .arrival(Person {
            name: "O\u{2019}Súilleabháin, Máiréad",
            ..QUILL
        })
        .await;
    house.until_registration(arrived, DeliveryState::Delivered).await;

    assert_eq!(house.partner_id(arrived).await, Some(there));
    house.stop().await;
}

#[tokio::test]
async fn an_ambiguous_match_asks_and_attaches_as_answered() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let there = ehr.already_knows(KnownPatient { phone: None, ..KNOWN }).await.unwrap();
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    let (_, task) = house.until_registration(arrived, DeliveryState::OnHold).await;
    let offered = task_record::CANDIDATES.value(&task).unwrap().into_exposed().0;
    assert_eq!(
        offered.iter().map(|one| one.partner_id.as_str()).collect::<Vec<_>>(),
        [there.as_str()]
    );
    house.answers(&task, Answer::Attach(there.clone())).await;
    house.until_all_done(arrived).await;

    assert_eq!((house.partner_id(arrived).await, quills(&ehr).await), (Some(there), 1));
    house.stop().await;
}

#[tokio::test]
async fn an_ambiguous_match_asks_and_creates_as_answered() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    ehr.already_knows(KnownPatient { phone: None, ..KNOWN }).await.unwrap();
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    let (_, task) = house.until_registration(arrived, DeliveryState::OnHold).await;
    house.answers(&task, Answer::Create).await;
    house.until_all_done(arrived).await;

    assert_eq!((arrived.at(&ehr).await.len(), quills(&ehr).await), (1, 2));
    house.stop().await;
}

#[tokio::test]
async fn an_answer_that_no_longer_holds_is_asked_for_anew() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let alike = KnownPatient { phone: None, ..KNOWN };
    let (gone, there) = (
        ehr.already_knows(alike).await.unwrap(),
        ehr.already_knows(alike).await.unwrap(),
    );
    house.deliver();
    let arrived = house.arrival(QUILL).await;
    let (_, task) = house.until_registration(arrived, DeliveryState::OnHold).await;
    let removal = reqwest::Client::new().delete(format!("{}/Patient/{gone}", ehr.base_url()));
    removal.send().await.unwrap().error_for_status().unwrap();

    house.answers(&task, Answer::Attach(gone)).await;
    let asked_anew = ::tests::until(PATIENCE, "the question to be asked anew", async || {
        let (_, task) = house.registration(arrived).await;
        let offered = task_record::CANDIDATES.value(&task).unwrap().into_exposed().0;
        Ok((offered.len() == 1).then_some(task))
    });
    let task = asked_anew.await.unwrap();

    assert_eq!(task_record::ANSWER.value(&task), None);
    house.answers(&task, Answer::Attach(there.clone())).await;
    house.until_all_done(arrived).await;
    assert_eq!((house.partner_id(arrived).await, quills(&ehr).await), (Some(there), 1));
    house.stop().await;
}

#[tokio::test]
async fn a_phone_and_a_name_alone_ask_too() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    ehr.already_knows(KnownPatient {
        birth_date: "1981-12-03",
        ..KNOWN
    })
    .await
    .unwrap();
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    house.until_registration(arrived, DeliveryState::OnHold).await;

    assert!(arrived.at(&ehr).await.is_empty());
    house.stop().await;
}

#[tokio::test]
async fn an_encounter_finds_the_patient_whom_somebody_registered_by_hand() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let arrived = house.arrival(QUILL).await;
    let (_, task) = house.registration(arrived).await;
    let entered = Phi::new(clinic::task::Entered {
        number: "104882".to_owned(),
    });
    house
        .says(&task, |writing| writing.set(task_record::ENTERED, &entered))
        .await;
    let by_hand = KnownPatient {
        phone: None,
        identifier: Some(("urn:example:mrn", "104882")),
        ..KNOWN
    };
    let there = ehr.already_knows(by_hand).await.unwrap();

    house.deliver();
    house.until_all_done(arrived).await;

    assert_eq!((house.partner_id(arrived).await, quills(&ehr).await), (Some(there), 1));
    assert_eq!(arrived.encounters_at(&ehr).await.len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_temp_number_on_two_records_blocks_both_until_one_is_put_right() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let one = house.arrival(QUILL).await;
    let other = house
        .arrival(Person {
            name: "Marlow, Ada",
            birth_date: "1961-05-17",
            phone: None,
        })
        .await;
    let number = Phi::new(Identifier {
        system: TEMP_SYSTEM.to_owned(),
        value: "T0A00051".to_owned(),
        kind: "MR".to_owned(),
    });
    let writing = |arrived: Arrived| {
        Writing::new(
            patient::KIND,
            arrived.patient,
            Action::Edit,
            Channel::Page.program(),
            now(),
        )
    };
    house
        .write(
            [one, other]
                .map(|who| writing(who).assert(patient::IDENTIFIER, &number).done())
                .into(),
        )
        .await;

    house.deliver();
    for arrived in [one, other] {
        let (delivery, _) = house.until_registration(arrived, DeliveryState::OnHold).await;
        assert_eq!(delivery.class, clinic::task::ErrorClass::Conflict);
        assert!(arrived.at(&ehr).await.is_empty());
    }
    let record = house.record(one.patient).await;
    let wrong: Vec<_> = patient::IDENTIFIER
        .standing(&record)
        .iter()
        .map(|said| said.change)
        .collect();
    house
        .write(vec![
            writing(one)
                .refute(patient::IDENTIFIER, &wrong, "of another patient")
                .done(),
        ])
        .await;

    house.until_all_done(one).await;
    assert_eq!(one.at(&ehr).await.len(), 1);
    house.stop().await;
}

/// Family name, given name and birth date as the EHR has them, and as the desk wrote them down.
const KNOWN_BY_ANOTHER_SPELLING: [(&str, &str, &str, &str, &str); 20] = [
    ("Whitehorse", "Jolene", "1987-03-04", "Whithorse, Jolene", "1987-03-04"),
    ("Begaye", "Anna", "1964-08-12", "Begay, Anna", "1964-08-12"),
    ("Nguyen", "Thi Minh Anh", "1990-08-19", "Nguyen, Minh Anh", "1990-08-19"),
    ("Schmidt", "Lukas", "1951-01-30", "Schmitt, Lucas", "1951-01-30"),
    ("Garcia Lopez", "Maria", "1979-11-02", "Garcia, Maria", "1979-11-02"),
    (
        "O'Sullivan",
        "Siobhan",
        "1968-06-16",
        "Osullivan, Shiobhan",
        "1968-06-16",
    ),
    ("Petrov", "Dmitri", "1948-02-11", "Petrov, Dmitry", "1948-02-11"),
    ("Tanaka", "Aiko", "1993-10-24", "Aiko, Tanaka", "1993-10-24"),
    ("Kowalski", "Elena", "1985-04-07", "Kowalski, Elena", "1985-07-04"),
    ("Haddad", "Nadia", "1975-08-29", "Haddad, Nadia", "1975-08-28"),
    ("Fernandez", "Tomas", "1958-12-01", "Fernandes, Tomás", "1958-12-01"),
    ("Lindqvist", "Grace", "2001-05-15", "Lindquist, Grace", "2001-05-15"),
    ("Abebe", "Fatima", "1999-09-09", "Abebe, F", "1999-09-09"),
    ("Thompson", "Stephen", "1972-03-21", "Thomson, Stephen", "1972-03-21"),
    ("Moreau", "Hannah", "1966-07-18", "Moreau, Hanna", "1966-07-18"),
    ("Castillo", "Ibrahim", "1944-10-05", "Castillo, Ibrahim", "1945-10-05"),
    ("Okafor", "Catherine", "1983-01-27", "Okafor, Katherine", "1983-01-27"),
    ("Delacroix", "Philip", "1955-05-25", "Delacroix, Phillip", "1955-05-25"),
    ("Katz", "Sarah Jane", "1996-02-14", "Katz, Sarah", "1996-02-14"),
    ("Ramirez", "William", "1939-11-11", "Ramirez, Bill", "1939-11-11"),
];

#[tokio::test]
async fn of_fifty_walk_ins_those_whom_the_ehr_knows_are_asked_about_and_the_others_are_created_once() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    house.config.requests_per_second_max = 500;
    house.config.parallel_patients = 8;
    let mut there = Vec::new();
    for (family, given, birth_date, ..) in KNOWN_BY_ANOTHER_SPELLING {
        let known = KnownPatient {
            family,
            given,
            birth_date,
            phone: None,
            identifier: None,
        };
        there.push(ehr.already_knows(known).await.unwrap());
    }
    let mut known = Vec::new();
    for (at, (.., name, birth_date)) in KNOWN_BY_ANOTHER_SPELLING.into_iter().enumerate() {
        let phone = None;
        let arrived = house
            .arrival(Person {
                name,
                birth_date,
                phone,
            })
            .await;
        house.mints(arrived, &format!("T00100{at:02}")).await;
        known.push(arrived);
    }
    let mut new = Vec::new();
    for at in 0..30u32 {
        // Names that neither look nor sound like each other's, and dates that no one digit makes of each other.
        let families = ["Umbridge", "Vexler", "Wozniak", "Xiong", "Yarrow", "Zellweger"];
        let givens = ["Quentin", "Rosalind", "Barnaby", "Clementine", "Huxley"];
        let name = format!("{}, {}", families[at as usize % 6], givens[at as usize / 6]);
        let birth_date = format!("{}-{:02}-{:02}", 1931 + at * 2, 1 + at * 5 % 12, 1 + at * 11 % 28);
        let phone = None;
        let person = Person {
            name: &name,
            birth_date: &birth_date,
            phone,
        };
        let arrived = house.arrival(person).await;
        house.mints(arrived, &format!("T00101{at:02}")).await;
        new.push(arrived);
    }

    house.deliver();
    for arrived in known.iter().chain(&new) {
        house.until_decided(*arrived).await;
    }
    let mut created_again = Vec::new();
    for (arrived, (family, ..)) in known.iter().zip(KNOWN_BY_ANOTHER_SPELLING) {
        let created = !arrived.at(&ehr).await.is_empty();
        created_again.extend(created.then_some(family));
    }
    assert_eq!(created_again, Vec::<&str>::new());
    for arrived in &known {
        let (_, task) = house.until_registration(*arrived, DeliveryState::OnHold).await;
        let offered = task_record::CANDIDATES.value(&task).unwrap().into_exposed().0;
        assert_eq!(offered.len(), 1);
    }
    for arrived in &new {
        house.until_all_done(*arrived).await;
        assert_eq!(arrived.at(&ehr).await.len(), 1);
    }
    // Each question is answered with whom the EHR knows; nobody is created for them.
    for (arrived, id) in known.iter().zip(&there) {
        let task = house.task(arrived.patient, TaskKind::RegisterPatient).await;
        house.answers(&task, Answer::Attach(id.clone())).await;
    }
    for (arrived, id) in known.iter().zip(&there) {
        house.until_all_done(*arrived).await;
        assert_eq!(house.partner_id(*arrived).await.as_ref(), Some(id));
        assert_eq!(arrived.at(&ehr).await.len(), 0);
    }
    let all = ehr.search("Patient", &[("_count", "200")]).await.unwrap();
    assert_eq!(all.len(), 50);
    house.stop().await;
}

#[tokio::test]
async fn two_walk_ins_of_one_person_are_not_both_created() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let phone = None;
    let one = house.arrival(Person { phone, ..QUILL }).await;
    let other = house
        .arrival(Person {
            name: "Quil, Orla",
            phone,
            ..QUILL
        })
        .await;

    house.deliver();
    for arrived in [one, other] {
        house.until_registration(arrived, DeliveryState::OnHold).await;
        assert!(arrived.at(&ehr).await.is_empty());
    }
    house.decides(one, other, LinkStanding::Linked).await;
    for arrived in [one, other] {
        house.until_all_done(arrived).await;
    }

    let created = ehr.search("Patient", &[("_count", "200")]).await.unwrap();
    assert_eq!(created.len(), 1);
    let subject = format!("Patient/{}", created[0]["id"].as_str().unwrap());
    for arrived in [one, other] {
        let encounters = arrived.encounters_at(&ehr).await;
        assert_eq!(encounters.len(), 1);
        assert_eq!(encounters[0]["subject"]["reference"], subject);
    }
    house.stop().await;
}

#[tokio::test]
async fn after_two_records_are_parted_no_visit_is_told_under_the_others_patient() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let phone = None;
    let one = house.arrival(Person { phone, ..QUILL }).await;
    house.deliver();
    house.until_all_done(one).await;
    let other = house
        .arrival(Person {
            name: "Quil, Orla",
            phone,
            ..QUILL
        })
        .await;
    house.until_registration(other, DeliveryState::OnHold).await;
    house.decides(one, other, LinkStanding::Linked).await;
    house.until_all_done(other).await;
    let wrong = other.encounters_at(&ehr).await.remove(0);
    let subject = format!("Patient/{}", house.partner_id(one).await.unwrap());
    assert_eq!(wrong["subject"]["reference"], subject);

    house.decides(one, other, LinkStanding::Proposed).await;
    let delivered = house.task(other.patient, TaskKind::Encounter).await;
    let told = house.until_set_aside(delivered.record).await;
    house.decides(one, other, LinkStanding::Distinct).await;
    house.until_registration(other, DeliveryState::Delivered).await;
    house.moved(other, VisitState::Arrived, VisitState::Triaged).await;
    let tasks = house.tasks(other.patient).await;
    let next = tasks
        .into_iter()
        .find(|task| task_record::STATE.value(task) == Some(VisitState::Triaged))
        .unwrap();
    house.until_set_aside(next.record).await;

    assert!(told.note.contains("another patient"), "{}", told.note);
    assert_eq!(other.encounters_at(&ehr).await, std::slice::from_ref(&wrong));
    let own = house.task(one.patient, TaskKind::Encounter).await;
    assert_eq!(state_of(&own), clinic::task::TaskState::Delivered);

    // Somebody puts it right at the EHR, and has the newest told again.
    let right = format!("Patient/{}", house.partner_id(other).await.unwrap());
    assert_ne!(right, subject);
    let mut corrected = wrong;
    corrected["subject"]["reference"] = right.clone().into();
    put(&ehr, &corrected).await;
    let next = house.record(next.record).await;
    house.asks_for(&next, Intent::Again).await;
    ::tests::until(PATIENCE, "the newest to be told", async || {
        let next = house.record(next.record).await;
        Ok((state_of(&next) == clinic::task::TaskState::Delivered).then_some(()))
    })
    .await
    .unwrap();
    let there = other.encounters_at(&ehr).await;
    assert_eq!(
        (&there[0]["status"], &there[0]["subject"]["reference"]),
        (&"triaged".into(), &right.into())
    );
    house.stop().await;
}

#[tokio::test]
async fn two_who_were_called_two_people_are_both_created() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let phone = None;
    let one = house.arrival(Person { phone, ..QUILL }).await;
    let other = house.arrival(Person { phone, ..QUILL }).await;
    house.deliver();
    house.until_registration(one, DeliveryState::OnHold).await;

    house.decides(one, other, LinkStanding::Distinct).await;
    for arrived in [one, other] {
        // Whoever comes second is alike to the one whom the first has become at the EHR, and is known not to be them.
        house.until_all_done(arrived).await;
        assert_eq!(arrived.at(&ehr).await.len(), 1);
    }

    assert_ne!(house.partner_id(one).await, house.partner_id(other).await);
    house.stop().await;
}

#[tokio::test]
async fn two_processes_deliver_everything_once_between_them() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    house.config.requests_per_second_max = 500;
    let mut all = Vec::new();
    for (.., name, birth_date) in KNOWN_BY_ANOTHER_SPELLING {
        let phone = None;
        all.push(
            house
                .arrival(Person {
                    name,
                    birth_date,
                    phone,
                })
                .await,
        );
    }

    house.deliver();
    let first = house.connector.take();
    house.deliver();
    for arrived in &all {
        house.until_all_done(*arrived).await;
        let (delivery, _) = house.registration(*arrived).await;
        assert_eq!((delivery.attempts, arrived.at(&ehr).await.len()), (1, 1));
        assert_eq!(arrived.encounters_at(&ehr).await.len(), 1);
    }

    if let Some((connector, stop)) = first {
        stop.cancel();
        assert!(connector.stopped().await);
    }
    house.stop().await;
}

#[tokio::test]
async fn what_somebody_else_works_on_is_left_alone_until_their_lease_ends() {
    let (mut house, ehr, _line) = House::with_ehr().await;
    let arrived = house.arrival(QUILL).await;
    let name = [b"ehr:".as_slice(), &arrived.patient.0].concat();
    let until_ms = u64::try_from(now()).unwrap() + 2_000;
    let held = house.db.write(move |txn| txn.take_lease(&name, [7; 16], until_ms));
    assert!(held.await.unwrap());

    house.deliver();
    house.until_all_done(arrived).await;

    assert!(u64::try_from(now()).unwrap() >= until_ms);
    assert_eq!(arrived.at(&ehr).await.len(), 1);
    house.stop().await;
}
