//! Requests over real TLS that are sent again, altered, or sent by somebody else: none changes anything.

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use sync_protocol::handshake::Range;
use sync_protocol::request_signature::{Channel, NUMBER_HEADER, SIGNATURE_HEADER};
use tests::fleet::{HubSocket, Signed, SigningAgent};
use tests::postgres::Cluster;
use tests::region::Store;

use crate::several::Several;

/// How many changes the hub holds of the agent's site.
async fn held(socket: &HubSocket, agent: &SigningAgent) -> Result<u64> {
    let status = socket.status().await?;
    let sites = status["sites"].as_array().context("the status lists no sites")?;
    let site = sites.iter().find(|site| site["site"] == agent.sim.site.to_string());
    site.and_then(|site| site["accepted"].as_u64())
        .context("the site is not listed")
}

async fn told(agent: &SigningAgent, hub: &str, request: &Signed) -> Result<(u16, String)> {
    let (status, said) = agent.send(hub, request).await?;
    Ok((status, said["error"].as_str().unwrap_or_default().to_owned()))
}

#[tokio::test]
async fn a_request_that_is_sent_again_or_altered_changes_nothing() -> Result<()> {
    let several = Several::open(&Store::Embedded, 1, &[]).await?;
    let (socket, hub) = (several.hubs[0].socket()?, several.hubs[0].url());
    let site = socket.add_site("Riverside").await?;
    let agent = SigningAgent::enrol(&socket, &site).await?;
    agent.sim.arrival(1)?;
    let honest = agent.push(5)?;

    // Whatever is altered, the signature does not fit.
    let mut altered = [honest.clone(), honest.clone(), honest.clone(), honest.clone()];
    let last = altered[0].body.len() - 1;
    altered[0].body[last] ^= 1;
    altered[1].target = "/v1/pull".to_owned();
    for (name, value) in &mut altered[2].headers {
        if *name == NUMBER_HEADER {
            "0.6".clone_into(value);
        }
    }
    altered[3].method = Method::PUT;
    for request in &altered[..3] {
        assert_eq!(told(&agent, &hub, request).await?, (401, "bad_signature".to_owned()));
    }
    assert_ne!(agent.send(&hub, &altered[3]).await?.0, 200);
    let unsigned = Signed {
        headers: Vec::new(),
        ..honest.clone()
    };
    assert_eq!(told(&agent, &hub, &unsigned).await?, (401, "unsigned".to_owned()));
    let mut half = honest.clone();
    half.headers.retain(|(name, _)| *name != SIGNATURE_HEADER);
    assert_eq!(told(&agent, &hub, &half).await?, (401, "bad_signature".to_owned()));
    assert_eq!(held(&socket, &agent).await?, 0);

    // The request itself is taken once. The number of a request that was refused for another reason is not used up.
    assert_eq!(agent.send(&hub, &honest).await?.0, 200);
    let taken = held(&socket, &agent).await?;
    ensure!(taken > 0, "the push was not taken");
    for _ in 0..3 {
        assert_eq!(told(&agent, &hub, &honest).await?, (409, "replayed".to_owned()));
    }
    assert_eq!(told(&agent, &hub, &agent.push(4)?).await?, (409, "replayed".to_owned()));

    // The operator is told, since nothing explains it.
    let status = socket.status().await?;
    let alert = status["warnings"].as_array().into_iter().flatten().find(|warning| {
        warning["text"]
            .as_str()
            .is_some_and(|text| text.contains("no new identity explains"))
    });
    let alert = alert.with_context(|| format!("no alert: {}", status["warnings"]))?;
    ensure!(alert["severity"] == "critical", "{alert}");

    // One that is repeated honestly, since its reply was lost, has a new number and is nothing new.
    assert_eq!(agent.send(&hub, &agent.push(6)?).await?.0, 200);
    assert_eq!(held(&socket, &agent).await?, taken);

    // Another's certificate with this agent's signature, and no certificate at all.
    let other = SigningAgent::enrol(&socket, &site).await?;
    assert_eq!(
        told(&other, &hub, &agent.push(7)?).await?,
        (401, "bad_signature".to_owned())
    );
    let (status, said) = agent.send_without_certificate(&hub, &agent.push(8)?).await?;
    assert_eq!((status, &said["error"]), (401, &Value::from("no_certificate")));
    assert_eq!(held(&socket, &agent).await?, taken);
    Ok(())
}

#[tokio::test]
async fn a_replay_is_refused_by_the_hubs_other_process_and_after_a_restart() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut several = Several::open(&Store::Postgres(cluster.url()), 2, &[]).await?;
    let (socket, first, second) = (several.hubs[0].socket()?, several.hubs[0].url(), several.hubs[1].url());
    let site = socket.add_site("Riverside").await?;
    let agent = SigningAgent::enrol(&socket, &site).await?;
    agent.sim.arrival(1)?;
    let push = agent.push(10)?;

    assert_eq!(agent.send(&first, &push).await?.0, 200);
    assert_eq!(told(&agent, &second, &push).await?, (409, "replayed".to_owned()));
    let warned = socket.status().await?["warnings"].to_string();
    ensure!(warned.contains("no new identity explains"), "{warned}");
    several.hubs[0].service.kill9().await?;
    several.hubs[0].service.start().await?;
    assert_eq!(
        told(&agent, &several.hubs[0].url(), &push).await?,
        (409, "replayed".to_owned())
    );

    // Two processes asked at once: one of them takes it.
    agent.sim.arrival(2)?;
    let both = agent.push(11)?;
    let first = several.hubs[0].url();
    let (one, other) = tokio::join!(agent.send(&first, &both), agent.send(&second, &both));
    let mut statuses = [one?.0, other?.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    Ok(())
}

#[tokio::test]
async fn an_agent_from_before_there_were_keys_is_served_and_gets_one_with_its_renewal() -> Result<()> {
    let several = Several::open(&Store::Embedded, 1, &[]).await?;
    let (socket, hub) = (several.hubs[0].socket()?, several.hubs[0].url());
    let site = socket.add_site("Riverside").await?;
    let mut agent = SigningAgent::enrol_without_key(&socket, &site).await?;
    agent.sim.arrival(1)?;
    let signed = agent.push(1)?;
    let unsigned = Signed {
        headers: Vec::new(),
        ..signed.clone()
    };

    assert_eq!(agent.send(&hub, &unsigned).await?.0, 200);
    // A signature that the hub cannot judge neither helps nor harms.
    assert_eq!(agent.send(&hub, &signed).await?.0, 200);
    let (status, renewed) = agent.send(&hub, &agent.renewal(2)?).await?;
    assert_eq!((status, &renewed["signs"]), (200, &Value::from(true)));

    // The reply may be lost: the certificate before still counts, and so does the new one.
    assert_eq!(told(&agent, &hub, &unsigned).await?, (401, "unsigned".to_owned()));
    assert_eq!(agent.send(&hub, &agent.push(3)?).await?.0, 200);
    agent.take_certificate(&renewed)?;
    assert_eq!(agent.send(&hub, &agent.push(4)?).await?.0, 200);
    assert_eq!(told(&agent, &hub, &agent.push(4)?).await?, (409, "replayed".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_session_says_what_is_spoken_and_an_end_that_is_too_old_is_named() -> Result<()> {
    let several = Several::open(&Store::Embedded, 1, &[]).await?;
    let (socket, hub) = (several.hubs[0].socket()?, several.hubs[0].url());
    let site = socket.add_site("Riverside").await?;
    let agent = SigningAgent::enrol(&socket, &site).await?;

    let spoken = agent.send(&hub, &agent.hello(1, Range::OWN)?).await?;
    let later = Range { oldest: 90, newest: 92 };
    let (status, refused) = agent.send(&hub, &agent.hello(2, later)?).await?;

    assert_eq!(spoken.0, 200);
    assert_eq!((status, &refused["error"]), (426, &Value::from("no_common_protocol")));
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("the hub is the older end"), "{message}");
    let probe = agent.sign(Method::GET, "/v1/probe", Channel::Probe, 1, Vec::new())?;
    let (status, said) = agent.send(&hub, &probe).await?;
    assert_eq!(status, 200);
    assert!(said["reconnect_window_ms"].is_u64(), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_revoked_agent_is_refused_at_once_also_for_renewal() -> Result<()> {
    let several = Several::open(&Store::Embedded, 1, &[]).await?;
    let (socket, hub) = (several.hubs[0].socket()?, several.hubs[0].url());
    let site = socket.add_site("Riverside").await?;
    let agent = SigningAgent::enrol(&socket, &site).await?;
    agent.sim.arrival(1)?;
    assert_eq!(agent.send(&hub, &agent.push(1)?).await?.0, 200);

    let revoke = serde_json::json!({ "about": "site", "command": "revoke", "agent": agent.id() });
    socket.ask(&revoke).await?;

    agent.sim.arrival(2)?;
    assert_eq!(told(&agent, &hub, &agent.push(2)?).await?, (403, "revoked".to_owned()));
    assert_eq!(
        told(&agent, &hub, &agent.renewal(3)?).await?,
        (403, "revoked".to_owned())
    );
    Ok(())
}
