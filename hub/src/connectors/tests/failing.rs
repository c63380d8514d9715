//! Every class of failure, from a partner that answers what the test says.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use clinic::task::ErrorClass;
use tokio::net::TcpListener;

use super::*;

const EMPTY: &str = r#"{"resourceType":"Bundle","type":"searchset","entry":[]}"#;

/// A partner that has nobody, and answers creations as it is told, one after the other; the last answer stays.
#[derive(Clone, Default)]
struct Answers {
    to_creation: Arc<Mutex<Vec<(u16, &'static str)>>>,
    to_searches: Arc<Mutex<Option<u16>>>,
    heard: Arc<Mutex<Vec<(Method, String, HeaderMap)>>>,
}

impl Answers {
    fn creations(&self) -> usize {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .filter(|(method, path, _)| *method == Method::POST && !path.ends_with("_search"))
            .count()
    }
}

async fn answer(State(answers): State<Answers>, method: Method, uri: Uri, headers: HeaderMap, _: Bytes) -> Response {
    answers
        .heard
        .lock()
        .unwrap()
        .push((method, uri.path().to_owned(), headers));
    if uri.path().ends_with("_search") {
        let status = answers.to_searches.lock().unwrap().unwrap_or(200);
        return (StatusCode::from_u16(status).unwrap(), EMPTY).into_response();
    }
    let mut queue = answers.to_creation.lock().unwrap();
    let (status, body) = if queue.len() > 1 { queue.remove(0) } else { queue[0] };
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    if status == 429 {
        response.headers_mut().insert("retry-after", "1".parse().unwrap());
    }
    if status == 201 {
        let kind = uri.path().trim_start_matches('/');
        response
            .headers_mut()
            .insert("location", format!("{kind}/made-1/_history/1").parse().unwrap());
    }
    response
}

async fn partner(to_creation: &[(u16, &'static str)]) -> (House, Answers) {
    let answers = Answers::default();
    *answers.to_creation.lock().unwrap() = to_creation.to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(answer).with_state(answers.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut house = House::leading_to(address).opened().await;
    house.deliver();
    (house, answers)
}

#[tokio::test]
async fn refused_content_waits_for_a_person_and_is_sent_again_only_when_asked() {
    let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"Quill is no name"}]}"#;
    let (house, answers) = partner(&[(422, outcome), (201, "")]).await;

    let arrived = house.arrival(QUILL).await;
    let (delivery, task) = house.until_registration(arrived, DeliveryState::Refused).await;
    assert_eq!(
        (delivery.class, delivery.note.as_str()),
        (ErrorClass::Validation, "HTTP 422 invalid")
    );
    assert_eq!(answers.creations(), 1);

    house.asks_for(&task, Intent::Again).await;
    house.until_all_done(arrived).await;
    assert_eq!(house.partner_id(arrived).await.as_deref(), Some("made-1"));
    house.stop().await;
}

#[tokio::test]
async fn a_refused_task_can_be_withdrawn_and_delays_nobody_else() {
    let (house, answers) = partner(&[(422, ""), (201, "")]).await;

    let refused = house.arrival(QUILL).await;
    let (_, task) = house.until_registration(refused, DeliveryState::Refused).await;
    let other = house
        .arrival(Person {
            name: "Marlow, Ada",
            birth_date: "1961-05-17",
            phone: None,
        })
        .await;
    house.until_all_done(other).await;
    house.asks_for(&task, Intent::Withdraw).await;
    let (delivery, task) = house.until_registration(refused, DeliveryState::Withdrawn).await;

    assert_eq!(
        Some(delivery.heeded),
        task_record::INTENT.latest(&task).map(|said| said.change)
    );
    assert_eq!(answers.creations(), 3, "one refused, then a patient and an encounter");
    house.stop().await;
}

#[tokio::test]
async fn a_lapsed_token_makes_tasks_wait_and_is_nobodys_hand_work() {
    let (house, answers) = partner(&[(401, "")]).await;

    let arrived = house.arrival(QUILL).await;
    let asked = ::tests::until(PATIENCE, "an attempt that is refused for its token", async || {
        let (delivery, _) = house.registration(arrived).await;
        Ok((delivery.class == ErrorClass::Authentication).then_some(delivery))
    });
    let delivery = asked.await.unwrap();

    assert_eq!(
        (delivery.state, delivery.note.as_str()),
        (DeliveryState::Waiting, "HTTP 401")
    );
    assert_eq!(answers.creations(), 1);
    house.stop().await;
}

#[tokio::test]
async fn an_ehr_that_is_busy_gets_the_task_after_the_pause_it_asked_for() {
    let (house, answers) = partner(&[(429, ""), (201, "")]).await;

    let arrived = house.arrival(QUILL).await;
    house.until_all_done(arrived).await;

    let (delivery, _) = house.registration(arrived).await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 2));
    assert_eq!(answers.creations(), 3);
    house.stop().await;
}

#[tokio::test]
async fn attempts_are_spent_and_then_a_person_is_asked() {
    let (mut house, _) = partner(&[(503, "")]).await;
    house.stop_delivering().await;
    house.config = Config {
        attempts_max: 2,
        breaker_failures: 100,
        ..house.config
    };
    house.deliver();

    let arrived = house.arrival(QUILL).await;
    let (delivery, _) = house.until_registration(arrived, DeliveryState::SetAside).await;

    assert_eq!((delivery.class, delivery.attempts), (ErrorClass::Unavailable, 2));
    house.stop().await;
}

#[tokio::test]
async fn a_gateway_that_does_not_know_is_looked_up_before_a_second_attempt() {
    let (house, answers) = partner(&[(504, ""), (201, "")]).await;

    let arrived = house.arrival(QUILL).await;
    house.until_registration(arrived, DeliveryState::Delivered).await;

    let heard = answers.heard.lock().unwrap().clone();
    let is_creation = |(method, path, _): &(Method, String, HeaderMap)| *method == Method::POST && path == "/Patient";
    let first = heard.iter().position(is_creation).unwrap();
    let second = first + 1 + heard[first + 1..].iter().position(is_creation).unwrap();
    assert!(
        heard[first + 1..second]
            .iter()
            .any(|(_, path, _)| path == "/Patient/_search")
    );
    house.stop().await;
}

#[tokio::test]
async fn while_the_ehr_is_away_it_is_only_probed_and_attempts_are_not_spent() {
    let (mut house, answers) = partner(&[(201, "")]).await;
    *answers.to_searches.lock().unwrap() = Some(503);
    house.stop_delivering().await;
    house.config.breaker_failures = 2;
    house.deliver();
    let arrived = house.arrival(QUILL).await;
    let asked = async || Ok((answers.heard.lock().unwrap().len() >= 6).then_some(()));
    ::tests::until(PATIENCE, "the hub to have asked in vain six times", asked)
        .await
        .unwrap();

    assert_eq!(house.reach.now(), Some(false));
    let (delivery, _) = house.registration(arrived).await;
    assert!(delivery.attempts <= 3, "{delivery:?}");
    *answers.to_searches.lock().unwrap() = None;

    house.until_all_done(arrived).await;
    house.stop().await;
}

#[tokio::test]
async fn every_request_about_a_task_names_what_caused_it() {
    let (house, answers) = partner(&[(201, "")]).await;

    let arrived = house.arrival(QUILL).await;
    house.until_all_done(arrived).await;

    let visit = house.record(arrived.visit).await;
    let cause = clinic::flow::standing(&visit).unwrap().steps[0].change.to_string();
    let heard = answers.heard.lock().unwrap().clone();
    let (_, _, headers) = heard
        .iter()
        .find(|(method, path, _)| *method == Method::POST && path == "/Patient")
        .unwrap();
    assert_eq!(headers["x-request-id"].to_str().unwrap(), cause);
    let condition = format!("identifier=urn%3Amainstay%3Apatient%7C{}", arrived.patient);
    assert_eq!(headers["if-none-exist"].to_str().unwrap(), condition);
    house.stop().await;
}

#[tokio::test]
async fn a_token_file_is_read_for_every_request() {
    let (mut house, answers) = partner(&[(201, "")]).await;
    house.stop_delivering().await;
    let file = house.folder.path().join("ehr-token");
    std::fs::write(&file, "first\n").unwrap();
    house.config.token_file = Some(file.clone());
    house.deliver();
    let one = house.arrival(QUILL).await;
    house.until_all_done(one).await;
    std::fs::write(&file, "second\n").unwrap();

    let other = house
        .arrival(Person {
            name: "Marlow, Ada",
            birth_date: "1961-05-17",
            phone: None,
        })
        .await;
    house.until_all_done(other).await;

    let heard = answers.heard.lock().unwrap().clone();
    assert_eq!(heard.last().unwrap().2["authorization"], "Bearer second");
    house.stop().await;
}
