//! Who comes in, and what is turned away at the door.

use super::*;
use crate::access::sign_in::TRIES_MAX;
use axum::http::header::ORIGIN;

#[tokio::test]
async fn a_wrong_passphrase_and_a_login_nobody_has_are_answered_with_the_same_words() {
    let clinic = Clinic::open().await;
    let mut browser = clinic.browser();

    let wrong = browser.sign_in("nurse", "not this one").await;
    let nobody = browser.sign_in("nobody", "not this one").await;

    assert_eq!(
        (wrong.status, nobody.status),
        (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED)
    );
    for view in [&wrong, &nobody] {
        assert!(view.shows("Login and passphrase do not fit together."), "{}", view.html);
    }
    assert!(browser.get("/board").await.location.is_some());
}

#[tokio::test]
async fn the_credential_that_nobody_has_is_one_that_can_be_verified() {
    use argon2::PasswordVerifier;

    let refused = Argon2::default().verify_password(b"x", crate::access::sign_in::NOBODYS_CREDENTIAL);

    assert!(
        matches!(refused, Err(argon2::password_hash::Error::PasswordInvalid)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn too_many_wrong_passphrases_close_a_login_and_no_other() {
    let clinic = Clinic::open().await;
    let mut browser = clinic.browser();
    for _ in 0..TRIES_MAX {
        browser.sign_in("lead", "wrong").await;
    }

    let right_but_late = browser.sign_in("lead", PASSPHRASE).await;
    let other = browser.sign_in("nurse", PASSPHRASE).await;

    assert_eq!(right_but_late.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(
        right_but_late.shows("this login is closed until"),
        "{}",
        right_but_late.html
    );
    assert_eq!(other.location.as_deref(), Some("/board"));
}

#[tokio::test]
async fn a_sign_in_outlives_the_agent_and_ends_when_somebody_signs_out() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    desk.page = crate::web::router(clinic.app.clone());

    let board = desk.get("/board").await;
    let out = desk.submit(&board, "/sign-out", &[]).await;
    let after = desk.get("/board").await;

    assert_eq!(board.status, StatusCode::OK);
    assert_eq!(out.location.as_deref(), Some("/sign-in"));
    assert_eq!(after.location.as_deref(), Some("/sign-in"));
}

#[tokio::test]
async fn a_sign_in_that_has_lapsed_is_told_from_none() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let long_from_now = crate::clock::now_ms().unsigned_abs() + 2 * crate::access::sign_in::IDLE_MAX_MS;
    let prune = clinic
        .app
        .store
        .write(Priority::Desk, move |tx| tx.prune_sign_ins(long_from_now));
    prune.await.unwrap();

    let lapsed = desk.get("/sign-in").await;
    let fresh = clinic.browser().get("/sign-in").await;

    let words = "You were signed out because nobody used this page.";
    assert!(lapsed.shows(words) && !fresh.shows(words), "{}", lapsed.html);
}

#[tokio::test]
async fn nobody_signed_in_is_led_to_the_door_and_a_fragment_is_told_so() {
    let clinic = Clinic::open().await;
    let mut browser = clinic.browser();

    assert_eq!(browser.get("/work").await.location.as_deref(), Some("/sign-in"));
    assert_eq!(browser.get("/nothing").await.location.as_deref(), Some("/sign-in"));
    for fragment in ["/board?fragment=rows", "/banner", "/events"] {
        assert_eq!(
            browser.get(fragment).await.status,
            StatusCode::UNAUTHORIZED,
            "{fragment}"
        );
    }
}

#[tokio::test]
async fn a_form_without_the_token_of_its_sign_in_changes_nothing() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let form = desk.get("/arrivals").await;
    let filled = [("name", "Ames, Ada"), ("birth_date", "1990-01-02"), ("reason", "Cough")];
    let mut other = clinic.desk(Role::Nurse).await;

    for token in ["", "0000", &other.get("/arrivals").await.form("/arrivals")[0].1] {
        let mut filled = filled.to_vec();
        filled.push(("csrf", token));
        let refused = desk.submit(&form, "/arrivals", &filled).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(
            refused.shows("This page was opened by somebody else"),
            "{}",
            refused.html
        );
    }
    assert_eq!(clinic.count(clinic::visit::KIND).await, 0);
}

#[tokio::test]
async fn another_name_of_this_machine_and_another_site_are_turned_away() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let with = |name, value: &str| Request::get("/board").header(name, value).body(Body::empty()).unwrap();

    let rebound = desk.view(with(HOST, "evil.example:7780")).await;
    let other_port = desk.view(with(HOST, "127.0.0.1:9999")).await;
    let other_site = desk.view(with(ORIGIN, "http://evil.example")).await;
    let by_name = desk.view(with(HOST, "localhost:7780")).await;

    assert_eq!(rebound.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(other_port.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(other_site.status, StatusCode::FORBIDDEN);
    assert_eq!(by_name.status, StatusCode::OK);
}

#[tokio::test]
async fn every_answer_forbids_what_the_page_does_not_need() {
    let clinic = Clinic::open().await;
    let mut browser = clinic.browser();

    for path in ["/sign-in", "/board", "/assets/mainstay.css", "/assets/nothing"] {
        let response = browser.send(Request::get(path).body(Body::empty()).unwrap()).await;
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert!(
            header("content-security-policy").starts_with("default-src 'self'"),
            "{path}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        let kept = if path.ends_with(".css") {
            "public, max-age=31536000, immutable"
        } else {
            "no-store"
        };
        assert_eq!(header("cache-control"), kept, "{path}");
    }
    let mut cookies = browser
        .send(Request::get("/sign-in").body(Body::empty()).unwrap())
        .await;
    assert!(
        cookies.headers_mut().get(SET_COOKIE).is_none(),
        "the door's token is given once"
    );
}

#[tokio::test]
async fn the_cookie_of_a_sign_in_is_out_of_reach_of_scripts_and_of_other_sites() {
    let clinic = Clinic::open().await;
    let mut browser = clinic.browser();
    let door = browser.get("/sign-in").await;
    let mut fields = door.form("/sign-in");
    fields.retain(|(name, _)| !matches!(name.as_str(), "login" | "passphrase"));
    fields.extend([
        ("login".to_owned(), "nurse".to_owned()),
        ("passphrase".to_owned(), PASSPHRASE.to_owned()),
    ]);
    let request = Request::post("/sign-in")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(uri_form(&fields)))
        .unwrap();

    let response = browser.send(request).await;

    let cookie = response.headers().get(SET_COOKIE).unwrap().to_str().unwrap();
    let (token, rest) = cookie.split_once(';').unwrap();
    assert_eq!(token.len(), "mainstay_sign_in=".len() + 64);
    assert_eq!(rest, " HttpOnly; SameSite=Strict; Path=/");
}

#[tokio::test]
async fn a_form_that_is_far_too_long_gets_a_page_that_says_so() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let form = desk.get("/find").await;

    let typed = desk.submit(&form, "/find", &[("q", &"a".repeat(2_000))]).await;
    let flood = desk.submit(&form, "/find", &[("q", &"a".repeat(200_000))]).await;

    for refused in [typed, flood] {
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(refused.shows("Too much at once"), "{}", refused.html);
    }
}

#[tokio::test]
async fn colours_follow_the_person() {
    let clinic = Clinic::open().await;
    let mut desk = clinic.desk(Role::Nurse).await;
    let board = desk.get("/board").await;
    desk.submit(&board, "/theme", &[("theme", "dark")]).await;

    let mut elsewhere = clinic.desk(Role::Nurse).await;
    let mut other = clinic.desk(Role::Lead).await;

    assert!(elsewhere.get("/board").await.shows(r#"data-theme="dark""#));
    assert!(!other.get("/board").await.shows("data-theme"));
}
