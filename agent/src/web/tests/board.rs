//! The board: moves, undo, rooms, marks, filters.

use super::*;
use clinic::flow::VisitState;
use clinic::value::AllergyStatement;
use clinic::value::RoomState;
use clinic::{allergy, patient, visit};
use sync_protocol::Phi;

fn acts(view: &View, visit: RecordId) -> Vec<String> {
    let action = format!("action=\"/visits/{visit}/move\"");
    let form = &view.html[view.html.find(&action).unwrap()..];
    let form = &form[..form.find("</form>").unwrap()];
    let acts = form.split("name=\"act\" value=\"").skip(1);
    acts.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

async fn press(desk: &mut Browser, visit: RecordId, act: &str) -> View {
    let board = desk.get("/board").await;
    assert!(
        acts(&board, visit).iter().any(|offered| offered == act),
        "{act} is not offered"
    );
    desk.submit(&board, &format!("/visits/{visit}/move"), &[("act", act)])
        .await
}

async fn state_of(clinic: &Clinic, visit: RecordId) -> VisitState {
    clinic
        .read(move |tx| Ok(clinic::flow::standing(&tx.state(visit)?.unwrap()).unwrap().state))
        .await
}

#[tokio::test]
async fn a_visit_goes_its_whole_way_by_the_act_that_comes_next() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let (visit, _) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let room = RecordId([0x11; 16]);
    let provider = RecordId([0x22; 16]);

    let into = format!("into:{room}");
    let with = format!("with:{provider}");
    for act in [
        "to:registered",
        "to:triaged",
        &into,
        &with,
        "to:awaiting-results",
        "to:ready-to-leave",
    ] {
        assert_eq!(
            press(&mut desk, visit, act).await.location.as_deref(),
            Some("/board"),
            "{act}"
        );
    }
    let before_the_end = clinic.value(room, room::STATE).await;
    let in_room = desk.get("/board").await;
    press(&mut desk, visit, "to:discharged").await;
    let gone = desk.get("/board").await;

    assert!(
        in_room.shows("Room <b>1</b>") && in_room.shows("Person, provider"),
        "{}",
        in_room.html
    );
    assert_eq!(before_the_end, Some(RoomState::Occupied));
    assert_eq!(clinic.value(room, room::STATE).await, Some(RoomState::Dirty));
    assert!(gone.shows("Gone today") && gone.shows("Discharged"), "{}", gone.html);
}

#[tokio::test]
async fn the_foot_takes_back_exactly_the_last_move_with_its_room() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let (visit, _) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let room = RecordId([0x12; 16]);
    press(&mut desk, visit, "to:triaged").await;
    press(&mut desk, visit, &format!("into:{room}")).await;
    let board = desk.get("/board").await;
    let undo = format!("/visits/{visit}/undo");

    let undone = desk.submit(&board, &undo, &[]).await;
    let twice = desk
        .submit(&board, &undo, &[("request", "00000000-0000-4000-8000-000000000001")])
        .await;

    assert!(board.shows("moved to Room 2 by you"), "{}", board.html);
    assert_eq!(undone.location.as_deref(), Some("/board"));
    assert_eq!(state_of(&clinic, visit).await, VisitState::Triaged);
    assert_eq!(clinic.value(visit, visit::ROOM).await, None);
    assert_eq!(clinic.value(room, room::STATE).await, Some(RoomState::Clean));
    assert_eq!(twice.status, StatusCode::CONFLICT);
    assert!(!desk.get("/board").await.shows(&undo), "nothing is left to take back");
}

#[tokio::test]
async fn a_move_that_came_too_late_is_refused_and_says_so() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let (visit, _) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let old = desk.get("/board").await;
    press(&mut desk, visit, "to:triaged").await;

    let late = desk
        .submit(&old, &format!("/visits/{visit}/move"), &[("act", "to:registered")])
        .await;

    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(
        late.shows("The visit has moved on since the page was shown"),
        "{}",
        late.html
    );
    assert_eq!(state_of(&clinic, visit).await, VisitState::Triaged);
}

#[tokio::test]
async fn a_room_is_marked_from_its_tile() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let room = RecordId([0x11; 16]);
    let board = desk.get("/board").await;

    desk.submit(&board, &format!("/rooms/{room}/state"), &[("to", "dirty")])
        .await;

    assert_eq!(clinic.value(room, room::STATE).await, Some(RoomState::Dirty));
    assert!(desk.get("/board").await.shows("marked dirty by you"));
}

#[tokio::test]
async fn two_ends_that_exclude_each_other_ask_for_a_person() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let (visit, patient) = desk.arrive("Ames, Ada", "1990-01-02").await;
    for end in [VisitState::LeftWithoutBeingSeen, VisitState::Discharged] {
        let writing = Writing::new(visit::KIND, visit, Action::Move, Channel::Hl7.program(), 2_000);
        clinic.hub_writes(writing.assert(visit::TRANSITION, &end)).await;
    }

    let board = desk.get("/board?show=needs").await;
    let work = desk.get("/work?show=person").await;
    let page = desk.get(&format!("/patients/{patient}")).await;
    let undo = format!("/visits/{visit}/undo");
    desk.submit(&page, &undo, &[]).await;

    assert!(
        board.shows("Discharged, or Left, not seen?") || board.shows("Left, not seen, or Discharged?"),
        "{}",
        board.html
    );
    assert!(board.shows("1 question needs a person"), "{}", board.html);
    assert!(work.shows("ended in ways that exclude each other"), "{}", work.html);
    assert!(!desk.get("/board").await.shows("question"));
}

#[tokio::test]
async fn a_filter_says_whom_it_leaves_out() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let (visit, _) = desk.arrive("Ames, Ada", "1990-01-02").await;
    let long_ago = crate::clock::now_ms() - 90 * 60_000;
    let writing = Writing::new(visit::KIND, visit, Action::Move, Channel::Hl7.program(), long_ago);
    clinic
        .hub_writes(writing.assert(visit::TRANSITION, &VisitState::Triaged))
        .await;

    let all = desk.get("/board").await;
    let of_nobody = desk.get(&format!("/board?show={}", RecordId([0x22; 16]))).await;
    let fragment = desk.get("/board?show=needs&fragment=rows").await;

    assert!(all.shows("limit 20") && all.shows("1 h 30 min"), "{}", all.html);
    assert!(
        of_nobody.shows("1 late patient is not in this list."),
        "{}",
        of_nobody.html
    );
    assert!(
        fragment.html.starts_with("<div id=\"board\"") && fragment.shows("Ames, Ada"),
        "{}",
        fragment.html
    );
    assert!(
        fragment.shows("name=\"back\" value=\"/board?show=needs\""),
        "{}",
        fragment.html
    );
}

#[tokio::test]
async fn allergies_and_mistakable_names_are_marked_and_no_markup_gets_through() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let (_, hostile) = desk
        .arrive("<script>alert(1)</script>, <b>Bold</b>", "1990-01-02")
        .await;
    let form = desk.get("/arrivals").await;
    let twin = [
        ("name", "<SCRIPT>alert(1)</script>, bold"),
        ("birth_date", "1971-05-06"),
        ("reason", "x"),
    ];
    desk.submit(&form, "/arrivals", &twin).await;
    let statement = Phi::new(AllergyStatement {
        substance: "Latex".to_owned(),
        ..AllergyStatement::default()
    });
    let writing = Writing::new(
        allergy::KIND,
        RecordId([0x55; 16]),
        Action::AddAllergy,
        Channel::Hub.program(),
        1,
    )
    .set(allergy::PATIENT, &hostile)
    .assert(allergy::STATEMENT, &statement);
    clinic.hub_writes(writing).await;

    let board = desk.get("/board").await;

    assert!(board.shows("Look-alike") || board.shows("Allergy"), "{}", board.html);
    assert!(board.shows("Allergy"), "{}", board.html);
    assert!(board.shows("&#60;script&#62;alert(1)&#60;/script&#62;") && !board.shows("<script>"));
    assert_eq!(clinic.count(patient::KIND).await, 2);
}
