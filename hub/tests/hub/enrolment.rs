//! Enrolment over TLS on loopback.

use vault::{ClientKey, EnrolmentToken, Fingerprint, tls};

use super::program::Home;
use super::site::{Agent, ask, connect, enrol};

#[tokio::test]
async fn a_token_makes_one_agent_of_its_site() {
    let home = Home::new();
    let site = home.add_site("Riverside Clinic");
    let hub = home.run();
    let token = home.token(&site);

    let answer = enrol(&hub, &token, &ClientKey::generate().unwrap()).await;
    let second = enrol(&hub, &token, &ClientKey::generate().unwrap()).await;

    let told = answer.json();
    assert_eq!(answer.status, 200);
    assert_eq!(
        (told["site"].as_str(), told["scope"].as_str()),
        (Some(&*site), Some(&*site))
    );
    assert_eq!(
        (told["name"].as_str(), told["zone"].as_str()),
        (Some("Riverside Clinic"), Some("America/Chicago"))
    );
    assert_eq!(told["ehr"], "person");
    assert_eq!(told["epoch"], home.json(&["status"])["epoch"]);
    assert_eq!(told["proof_key"].as_str().unwrap().len(), 64);
    assert_eq!(second.refusal(), (403, "token_used".to_owned()));
}

#[tokio::test]
async fn whoever_lost_the_reply_asks_again_with_the_same_key_and_is_the_same_agent() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let token = home.token(&site);
    let key = ClientKey::generate().unwrap();
    let kept = key.key_pkcs8();

    let lost = enrol(&hub, &token, &key).await;
    let again = enrol(&hub, &token, &key).await;

    assert_eq!((lost.status.as_u16(), again.status.as_u16()), (200, 200));
    assert_eq!(lost.json()["agent"], again.json()["agent"]);
    let older = Agent::of(&lost.json(), ClientKey::restore(&kept).unwrap());
    let newer = Agent::of(&again.json(), ClientKey::restore(&kept).unwrap());
    assert_eq!(older.probe(&hub).await.refusal(), (401, "unknown_agent".to_owned()));
    assert_eq!(newer.probe(&hub).await.status, 200);
}

#[tokio::test]
async fn a_token_that_is_not_this_hubs_is_refused() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let authority = EnrolmentToken::parse(&home.token(&site)).unwrap().authority();
    let foreign = EnrolmentToken::issue(&hub.address, authority).unwrap().render();

    let answer = enrol(&hub, &foreign, &ClientKey::generate().unwrap()).await;

    assert_eq!(answer.refusal(), (403, "token_wrong".to_owned()));
}

#[tokio::test]
async fn what_is_no_token_or_no_request_is_refused_by_name() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let token = home.token(&site);
    let pinned = EnrolmentToken::parse(&token).unwrap().authority();
    let post = async |body: Vec<u8>| {
        ask(&hub, tls::client_config_pinned(pinned).unwrap(), "POST", "/enrol", body)
            .await
            .refusal()
    };

    let csr_of_nobody = serde_json::json!({ "token": token, "csr": "AAAA" })
        .to_string()
        .into_bytes();
    let no_token = serde_json::json!({ "token": "mst1.abc", "csr": "AAAA" })
        .to_string()
        .into_bytes();

    assert_eq!(post(b"{".to_vec()).await, (400, "bad_request".to_owned()));
    assert_eq!(post(no_token).await, (403, "token_wrong".to_owned()));
    assert_eq!(post(csr_of_nobody).await, (400, "csr_refused".to_owned()));
    assert_eq!(post(vec![b' '; 20_000]).await, (413, "too_large".to_owned()));
    assert_eq!(enrol(&hub, &token, &ClientKey::generate().unwrap()).await.status, 200);
}

#[tokio::test]
async fn an_agent_that_pins_another_authority_does_not_connect() {
    let home = Home::new();
    home.add_site("Riverside");
    let hub = home.run();

    let refused = connect(
        &hub,
        tls::client_config_pinned(Fingerprint::from_bytes([1; 32])).unwrap(),
    )
    .await;

    assert_eq!(tls::classify(&refused.unwrap_err()), tls::TlsTrouble::WrongAuthority);
}

#[tokio::test]
async fn nobody_is_served_without_a_certificate_of_this_hub() {
    let (home, other_home) = (Home::new(), Home::new());
    let site = home.add_site("Riverside");
    let other_site = other_home.add_site("Elsewhere");
    let (hub, other_hub) = (home.run(), other_home.run());
    let pinned = EnrolmentToken::parse(&home.token(&site)).unwrap().authority();
    let stranger_key = ClientKey::generate().unwrap();
    let kept = stranger_key.key_pkcs8();
    let enrolled = enrol(&other_hub, &other_home.token(&other_site), &stranger_key)
        .await
        .json();
    let certificate = vault::authority::certificate_from_pem(enrolled["certificate"].as_str().unwrap()).unwrap();
    let stranger = ClientKey::restore(&kept)
        .unwrap()
        .into_identity(vec![certificate])
        .unwrap();
    let own = enrol(&hub, &home.token(&site), &ClientKey::generate().unwrap())
        .await
        .json();
    let authority = vault::authority::certificate_from_pem(own["authority"].as_str().unwrap()).unwrap();

    let without = tls::client_config_pinned(pinned).unwrap();
    for path in ["/v1/push", "/v1/pull"] {
        let answer = ask(&hub, without.clone(), "POST", path, Vec::new()).await;
        assert_eq!(answer.refusal(), (401, "no_certificate".to_owned()));
    }
    assert_eq!(
        ask(&hub, without, "GET", "/v1/probe", Vec::new()).await.refusal().0,
        401
    );

    // TLS 1.3 tells a client of a refused certificate only when it first reads.
    let foreign = tls::client_config(&authority, Some(&stranger)).unwrap();
    let mut stream = connect(&hub, foreign).await.unwrap();
    let refused = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1]).await;
    assert_eq!(tls::classify(&refused.unwrap_err()), tls::TlsTrouble::RefusedByPeer);
}

#[tokio::test]
async fn a_revoked_agent_is_refused_and_the_sites_other_one_is_not() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let mut lost = Agent::enrolled(&hub, &home.token(&site)).await;
    let agents = home.json(&["status"])["sites"][0]["agents"].clone();
    let lost_id = agents[0]["agent"].as_str().unwrap().to_owned();
    let other = Agent::enrolled(&hub, &home.token(&site)).await;
    assert_eq!(lost.probe(&hub).await.status, 200);

    assert_eq!(home.json(&["revoke", &lost_id])["agent"], lost_id);

    let (_, push) = lost.register("Vance");
    assert_eq!(lost.probe(&hub).await.refusal(), (403, "revoked".to_owned()));
    assert_eq!(
        lost.post(&hub, "/v1/push", push.encode()).await.refusal(),
        (403, "revoked".to_owned())
    );
    assert_eq!(other.probe(&hub).await.status, 200);
    assert!(home.json(&["status"])["sites"][0]["agents"][0]["revoked"].is_string());
    assert_eq!(home.failure(&["revoke", "00000000000000000000000000000000"]).0, 1);
}
