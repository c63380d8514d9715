//! The line as the banner tells it, downtime, and holding the line.

use super::*;
use crate::clock;
use crate::line::{LineState, Trouble};

fn enter(clinic: &Clinic, state: LineState, trouble: Option<Trouble>) {
    clinic.app.line.update(|line| {
        line.enter(state, trouble, clock::now_ms());
        line.ehr_reached = (state == LineState::Connected).then_some(true);
    });
}

#[tokio::test]
async fn the_banner_tells_line_hub_and_ehr_apart() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;

    let starting = desk.get("/banner").await;
    enter(&clinic, LineState::Connected, None);
    let connected = desk.get("/banner").await;
    clinic.app.line.update(|line| line.ehr_reached = Some(false));
    let ehr_down = desk.get("/banner").await;
    enter(&clinic, LineState::CutOff, Some(Trouble::NotReached));
    desk.arrive("Ames, Ada", "1990-01-02").await;
    let cut = desk.get("/banner").await;

    assert!(starting.shows("Looking for the hub."));
    assert!(
        connected.shows("Standing by. Register in the EHR."),
        "{}",
        connected.html
    );
    assert!(
        ehr_down.shows("Cut off since") && ehr_down.shows("EHR<span class=\"word\">: not reached"),
        "{}",
        ehr_down.html
    );
    assert!(ehr_down.shows("Line<span class=\"word\">: working"));
    assert!(
        cut.shows("Cut off since") && cut.shows("2 tasks wait") && cut.shows("Line<span class=\"word\">: cut"),
        "{}",
        cut.html
    );
}

#[tokio::test]
async fn what_was_captured_while_cut_off_is_caught_up_with_by_count() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    enter(&clinic, LineState::CutOff, Some(Trouble::NotReached));
    desk.arrive("Ames, Ada", "1990-01-02").await;
    clinic
        .app
        .line
        .update(|line| line.enter(LineState::Connected, None, clock::now_ms() + 1_000));

    let catching_up = desk.get("/banner").await;

    assert!(catching_up.shows("Catching up 0 of 2"), "{}", catching_up.html);
}

#[tokio::test]
async fn downtime_is_declared_and_ended_by_a_lead_who_has_seen_what_is_open() {
    let clinic = Clinic::open().await;
    let mut lead = clinic.desk(Role::Lead).await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let page = lead.get("/downtime").await;
    let seen_by_desk = desk.get("/downtime").await;

    let without = lead.submit(&page, "/downtime/declare", &[]).await;
    let mut forged = seen_by_desk.form("/downtime/declare");
    forged.push(("reason".to_owned(), "line".to_owned()));
    let refused = desk.post("/downtime/declare", &forged).await;
    let declared = lead
        .submit(&page, "/downtime/declare", &[("reason", "other"), ("other", "drill")])
        .await;
    let board = desk.get("/board").await;
    desk.arrive("Ames, Ada", "1990-01-02").await;
    let page = lead.get("/downtime").await;
    let unseen = lead.submit(&page, "/downtime/end", &[]).await;
    let ended = lead.submit(&page, "/downtime/end", &[("confirm", "yes")]).await;

    assert_eq!(without.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(!seen_by_desk.shows("name=\"reason\""));
    assert_eq!(declared.location.as_deref(), Some("/board"));
    assert!(
        board.shows("Downtime declared") && board.shows("Register here, not in the EHR."),
        "{}",
        board.html
    );
    assert!(
        page.shows("Declared by Person, lead: drill") && page.shows("still open"),
        "{}",
        page.html
    );
    assert_eq!(unseen.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(ended.location.is_some());
    assert!(!desk.get("/board").await.shows("Downtime declared"));
}

#[tokio::test]
async fn the_line_is_held_and_released_by_a_lead_only() {
    let clinic = Clinic::open().await;
    let mut lead = clinic.desk(Role::Lead).await;
    let mut nurse = clinic.desk(Role::Nurse).await;
    let page = lead.get("/connection").await;
    let seen_by_nurse = nurse.get("/connection").await;

    let mut forged = seen_by_nurse.form("/sign-out");
    forged.push(("why".to_owned(), "because".to_owned()));
    let refused = nurse.post("/line/hold", &forged).await;
    let held = lead
        .submit(&page, "/line/hold", &[("why", "suspected ransomware at a partner")])
        .await;
    let banner = nurse.get("/banner").await;
    let page = lead.get("/connection").await;
    let unsure = lead.submit(&page, "/line/release", &[]).await;
    lead.submit(&page, "/line/release", &[("confirm", "yes")]).await;

    assert!(page.shows("Critical: key not protected by hardware."), "{}", page.html);
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(held.location.is_some());
    assert!(
        banner.shows("Held off the line by decision") && banner.shows("suspected ransomware"),
        "{}",
        banner.html
    );
    assert_eq!(unsure.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!nurse.get("/banner").await.shows("Held off"));
}
