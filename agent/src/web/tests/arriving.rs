//! Arrival: what is asked, what is refused, that a repeat is no second visit.

use super::*;
use clinic::{patient, visit};

#[tokio::test]
async fn somebody_who_arrives_gets_a_temp_number_and_stands_on_the_board() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let form = desk.get("/arrivals").await;
    let filled = [
        ("name", "Nguyễn, Thị Minh Anh"),
        ("birth_date", "08 19 1990"),
        ("reason", "Cough, 3 days"),
        ("phone", "503 555 0188"),
    ];

    let sent = desk.submit(&form, "/arrivals", &filled).await;
    let arrived = desk.get(&sent.location.unwrap()).await;
    let board = desk.get("/board").await;

    assert!(
        arrived.shows("TEMP number, theirs for ever") && arrived.shows("Registration to the EHR"),
        "{}",
        arrived.html
    );
    assert!(board.shows("Nguyễn, Thị Minh Anh") && board.shows("19 Aug 1990") && board.shows("Cough, 3 days"));
    assert!(board.shows("arrived by you"), "{}", board.html);
}

#[tokio::test]
async fn the_same_form_sent_twice_is_one_visit_and_one_answer() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let form = desk.get("/arrivals").await;
    let filled = [("name", "Ames, Ada"), ("birth_date", "1990"), ("reason", "Cough")];

    let first = desk.submit(&form, "/arrivals", &filled).await;
    let again = desk.submit(&form, "/arrivals", &filled).await;

    assert!(first.location.is_some());
    assert_eq!(first.location, again.location);
    assert_eq!(clinic.count(visit::KIND).await, 1);
    assert_eq!(clinic.count(patient::KIND).await, 1);
}

#[tokio::test]
async fn what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let form = desk.get("/arrivals").await;
    let filled = [
        ("name", "O’Brien & <b>Sons</b>"),
        ("birth_date", "02 31 1990"),
        ("reason", ""),
        ("phone", "12"),
    ];

    let again = desk.submit(&form, "/arrivals", &filled).await;

    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    for words in [
        "This is not a day.",
        "Write why they came",
        "at least seven digits",
        "02 31 1990",
    ] {
        assert!(again.shows(words), "{words}: {}", again.html);
    }
    assert!(again.shows("O’Brien &#38; &#60;b&#62;Sons&#60;/b&#62;") && !again.shows("<b>Sons"));
    assert_eq!(clinic.count(visit::KIND).await, 0);
}

#[tokio::test]
async fn a_look_alike_is_offered_and_only_a_person_chooses() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let (_, known) = desk.arrive("Nguyễn, Thị Minh Anh", "08 19 1990").await;
    let form = desk.get("/arrivals").await;
    let filled = [
        ("name", "Nguyen, Thi Minh Anh"),
        ("birth_date", "08 19 1990"),
        ("reason", "Cough"),
    ];

    let asked = desk.submit(&form, "/arrivals", &filled).await;
    let visits_while_asking = clinic.count(visit::KIND).await;
    let same = desk
        .submit(&asked, "/arrivals", &[("person", &known.to_string())])
        .await;
    let asked_again = desk.submit(&form, "/arrivals", &filled).await;
    let new = desk.submit(&asked_again, "/arrivals", &[("person", "new")]).await;

    assert_eq!(asked.status, StatusCode::OK);
    assert!(
        asked.shows("Is it this person?") && asked.shows("On the board now"),
        "{}",
        asked.html
    );
    assert!(asked.shows("<mark>Nguyễn,</mark>"), "{}", asked.html);
    assert_eq!(visits_while_asking, 1);
    assert!(same.location.is_some() && new.location.is_some());
    assert_eq!(
        (clinic.count(visit::KIND).await, clinic.count(patient::KIND).await),
        (3, 2)
    );
}

#[tokio::test]
async fn a_look_alike_whom_nobody_was_shown_is_asked_about_before_somebody_new_is_made() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let form = desk.get("/arrivals").await;
    desk.arrive("Smith, John", "04 01 1969").await;
    let filled = [
        ("name", "Smith, John"),
        ("birth_date", "04 01 1969"),
        ("reason", "Cough"),
        ("person", "new"),
    ];

    let asked = desk.submit(&form, "/arrivals", &filled).await;
    let new = desk.submit(&asked, "/arrivals", &[("person", "new")]).await;

    assert!(asked.shows("Is it this person?"));
    assert!(new.location.is_some());
    assert_eq!(clinic.count(patient::KIND).await, 2);
}
