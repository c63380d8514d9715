//! Push, pull and probe over TLS on loopback.

use std::time::{Duration, Instant};

use sync_protocol::wire::PullReply;
use sync_protocol::{EpochId, Lane, RecordState};

use super::program::Home;
use super::site::Agent;

fn states(reply: &PullReply, lane: Lane) -> Vec<&RecordState> {
    reply
        .pages
        .iter()
        .filter(|page| page.lane == lane)
        .flat_map(|page| &page.rows)
        .filter_map(|row| row.state())
        .collect()
}

#[tokio::test]
async fn what_one_agent_pushes_comes_back_with_the_sites_own_records() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let mut agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let (record, push) = agent.register("Vance");

    let pushed = agent.push(&hub, &push).await;
    let pulled = agent.pull(&hub, &agent.pull_request([0; 4], 0)).await;

    assert_eq!((pushed.accepted, pushed.hash), (1, push.last));
    assert_eq!((pulled.pages[0].accepted, pulled.pages[0].hash), (1, push.last));
    assert_eq!(
        states(&pulled, Lane::Flow)
            .iter()
            .map(|state| state.record)
            .collect::<Vec<_>>(),
        [record]
    );
    // The site and its two rooms.
    assert_eq!(states(&pulled, Lane::Reference).len(), 3);
    assert!(pulled.pages.iter().all(|page| page.root.is_some()));
    assert_eq!((pulled.series, pulled.ehr_reached), (Some(1), None));
    let status = home.json(&["status"]);
    assert_eq!(status["sites"][0]["accepted"], 1);
    let flow = pulled.pages.iter().find(|page| page.lane == Lane::Flow).unwrap();
    assert_eq!(status["sites"][0]["roots"]["flow"], flow.root.unwrap().to_string());
    assert!(status["sites"][0]["last_seen"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_pull_is_answered_as_soon_as_something_is_committed() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let mut agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let (record, push) = agent.register("Vance");
    agent.push(&hub, &push).await;

    let asked = Instant::now();
    let request = agent.pull_request([0, 1, 0, 3], 20_000);
    let edit = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let id = record.to_string();
        let home = &home;
        tokio::task::block_in_place(|| home.json(&["patient", "edit", &id, "--phone", "555-0100"]))
    };
    let (pulled, edited) = tokio::join!(agent.pull(&hub, &request), edit);

    assert_eq!(edited["changes"].as_array().unwrap().len(), 1);
    assert_eq!(states(&pulled, Lane::Flow).len(), 1);
    assert!(asked.elapsed() >= Duration::from_millis(300) && asked.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_held_pull_ends_with_empty_pages_when_its_time_is_up_and_when_the_hub_stops() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let request = agent.pull_request([0, 0, 0, 3], 400);

    let asked = Instant::now();
    let pulled = agent.pull(&hub, &request).await;
    assert!(asked.elapsed() >= Duration::from_millis(400));
    assert!(
        pulled.pages.len() == 4
            && pulled
                .pages
                .iter()
                .all(|page| page.rows.is_empty() && page.root.is_some())
    );

    let long = agent.pull_request([0, 0, 0, 3], 25_000);
    let address = hub.port();
    let held = async {
        let pulled = agent.pull(&hub, &long).await;
        assert!(pulled.pages.iter().all(|page| page.rows.is_empty()));
    };
    let stop = async {
        // It is asked over a new connection: the hub has to have taken that, or nobody is there to be answered.
        tokio::time::sleep(Duration::from_secs(2)).await;
        hub.terminate();
    };
    tokio::join!(held, stop);
    assert_eq!(hub.stop(), Some(0));
    assert!(std::net::TcpStream::connect(("127.0.0.1", address)).is_err());
}

#[tokio::test]
async fn another_sites_replica_and_scope_are_refused() {
    let home = Home::new();
    let (site, other) = (home.add_site("Riverside"), home.add_site("Lakeside"));
    let hub = home.run();
    let mut agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let mut intruder = Agent::enrolled(&hub, &home.token(&other)).await;
    let (_, push) = agent.register("Vance");
    agent.push(&hub, &push).await;
    let (_, next) = agent.register("Reyes");

    let pushed = intruder.post(&hub, "/v1/push", next.encode()).await;
    let pulled = intruder
        .post(&hub, "/v1/pull", agent.pull_request([0; 4], 0).encode())
        .await;
    intruder.scope = agent.scope;
    let scope = intruder
        .post(&hub, "/v1/pull", intruder.pull_request([0; 4], 0).encode())
        .await;

    assert_eq!(pushed.refusal(), (403, "foreign_replica".to_owned()));
    assert_eq!(pulled.refusal(), (403, "foreign_replica".to_owned()));
    assert_eq!(scope.refusal(), (403, "foreign_scope".to_owned()));
    assert_eq!(agent.push(&hub, &next).await.accepted, 2);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_by_name_and_changes_nothing() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let mut agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let (_, push) = agent.register("Vance");

    let other_epoch = sync_protocol::wire::PushRequest {
        epoch: EpochId([9; 16]),
        ..push.clone()
    };
    let refused = agent.post(&hub, "/v1/push", other_epoch.encode()).await;
    assert_eq!(refused.refusal(), (409, "other_epoch".to_owned()));
    assert_eq!(refused.json()["epoch"], agent.epoch.to_string());
    assert_eq!(refused.retry_after, None);
    assert_eq!(
        agent.post(&hub, "/v1/push", vec![1, 2, 3]).await.refusal(),
        (400, "bad_request".to_owned())
    );
    assert_eq!(
        agent.post(&hub, "/v1/push", vec![0; 300_000]).await.refusal(),
        (413, "too_large".to_owned())
    );
    assert_eq!(
        agent.post(&hub, "/v1/nothing", Vec::new()).await.refusal(),
        (404, "no_such_route".to_owned())
    );
    assert_eq!(
        agent.post(&hub, "/v1/probe", Vec::new()).await.refusal(),
        (404, "no_such_route".to_owned())
    );

    assert_eq!(home.json(&["status"])["sites"][0]["accepted"], 0);
    assert_eq!(agent.push(&hub, &push).await.accepted, 1);
}

#[tokio::test]
async fn each_incarnation_gets_a_series_once_and_a_refused_one_none() {
    let home = Home::new();
    let (site, other) = (home.add_site("Riverside"), home.add_site("Lakeside"));
    let hub = home.run();
    let one = Agent::enrolled(&hub, &home.token(&site)).await;
    let two = Agent::enrolled(&hub, &home.token(&other)).await;

    let first = one.pull(&hub, &one.pull_request([0; 4], 0)).await.series;
    let mut stale = two.pull_request([0; 4], 0);
    stale.epoch = EpochId([9; 16]);
    stale.replica = sync_protocol::ReplicaId([3; 16]);
    let refused = two.post(&hub, "/v1/pull", stale.encode()).await;
    let second = two.pull(&hub, &two.pull_request([0; 4], 0)).await.series;
    let again = one.pull(&hub, &one.pull_request([0; 4], 0)).await.series;

    assert_eq!(refused.refusal().0, 409);
    assert_eq!((first, second, again), (Some(1), Some(2), Some(1)));
}

#[tokio::test]
async fn a_probe_tells_the_hubs_time_and_that_no_ehr_is_set() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let agent = Agent::enrolled(&hub, &home.token(&site)).await;

    let told = agent.probe(&hub).await.json();

    let now_ms = jiff::Timestamp::now().as_millisecond() as u64;
    assert!(told["hub_ms"].as_u64().unwrap().abs_diff(now_ms) < 60_000);
    assert!(told["ehr_reached"].is_null());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let mut agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let (record, push) = agent.register("Vance");
    assert_eq!(agent.push(&hub, &push).await.accepted, 1);

    hub.kill();
    let hub = home.run();
    let pulled = agent.pull(&hub, &agent.pull_request([0; 4], 0)).await;

    assert_eq!(
        states(&pulled, Lane::Flow)
            .iter()
            .map(|state| state.record)
            .collect::<Vec<_>>(),
        [record]
    );
    assert_eq!((pulled.pages[0].accepted, pulled.series), (1, Some(1)));
}
