//! The handshake at the start of a session, and what is asked before there can be one: the hub's time, and the key that
//! bodies are sealed to.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;
use sync_protocol::handshake::{About, HANDSHAKE_MAX_BYTES, Hello, Range, Welcome, agree, feature};
use vault::authority::certificate_to_pem;
use vault::envelope::{time_bytes, vouched_bytes};

use super::App;
use super::body;
use super::caller::Caller;
use super::exchange::cbor;
use super::refusal::Refusal;
use crate::db;

/// What this version has and an older one might not. Each is named where both ends must have it.
const FEATURES: &[&str] = &[
    feature::SIGNED_REQUESTS,
    feature::SEALED_BODY,
    feature::REPAIR,
    feature::COMPACT,
    feature::SIGNED_ACKS,
    feature::RETURNS,
    feature::SNAPSHOT,
];

fn about() -> About {
    About {
        range: Range::OWN,
        features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        schema: u64::from(clinic::catalogue::VERSION),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

pub(super) async fn hello(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Refusal> {
    let within = Duration::from_secs(app.0.config.body_timeout_secs);
    let body = body::read(body, HANDSHAKE_MAX_BYTES, within).await?;
    let hello = Hello::decode(&body).map_err(|_| Refusal::BadRequest("the handshake"))?;
    let own = about();
    let agreed = agree(hello.about.range, own.range);
    let db = app.db_of(caller).await?;
    let said = hello.about.clone();
    let (inspection, agents) = db
        .write(move |txn| {
            let site = caller.site(txn)?;
            caller.count(txn)?;
            txn.note_greeting(caller.agent.into_bytes(), &said, agreed.unwrap_or_default())?;
            Ok::<_, Refusal>((txn.allows_inspection(site)?, txn.enrolled_agents()?))
        })
        .await?;
    let protocol = agreed.map_err(|none| {
        tracing::warn!(agent = %caller.agent, program = hello.about.version, "an agent was sent away: {none}");
        Refusal::NoCommonProtocol(none.to_string())
    })?;
    let now_secs = jiff::Timestamp::now().as_second();
    let trusted = app.0.authorities.trusted(now_secs);
    let welcome = Welcome {
        about: own,
        protocol,
        hub_ms: db::now_ms(),
        reconnect_window_ms: app.0.config.window_ms(agents),
        authorities: trusted.iter().map(|certificate| certificate.to_vec()).collect(),
        expects_signature: caller.is_signed(),
        allows_inspection: inspection,
        signing_key: db.signing_key(),
    };
    Ok(cbor(welcome.encode()))
}

#[derive(Serialize)]
pub(super) struct SignedTime {
    hub_ms: u64,
    /// Over the asker's random bytes and the time, by the authority; base64.
    signature: String,
}

/// For an agent whose clock may be so wrong that no certificate fits it.
pub(super) async fn time(State(app): State<App>, Path(nonce): Path<String>) -> Result<Json<SignedTime>, Refusal> {
    let nonce: [u8; 16] = data_encoding::HEXLOWER
        .decode(nonce.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Refusal::BadRequest("the random bytes"))?;
    let hub_ms = db::now_ms();
    let signature = sign(&app, &time_bytes(&nonce, hub_ms)).await?;
    Ok(Json(SignedTime { hub_ms, signature }))
}

#[derive(Serialize)]
pub(super) struct VouchedKey {
    /// X25519, base64.
    key: String,
    /// By the authority, base64.
    signature: String,
    /// The authority's certificate.
    authority: String,
}

/// For an agent behind a proxy that inspects the line: whatever stands between cannot put another key in its place.
pub(super) async fn sealing_key(State(app): State<App>) -> Result<Json<VouchedKey>, Refusal> {
    let public = app.0.sealing.public();
    let authority = app.0.authorities.serving(jiff::Timestamp::now().as_second());
    Ok(Json(VouchedKey {
        key: data_encoding::BASE64.encode(&public),
        signature: sign(&app, &vouched_bytes(&public)).await?,
        authority: certificate_to_pem(authority.certificate()),
    }))
}

async fn sign(app: &App, bytes: &[u8]) -> Result<String, Refusal> {
    let authority = app.0.authorities.serving(jiff::Timestamp::now().as_second());
    let signature = authority.sign_bytes(bytes).map_err(|error| {
        tracing::error!(%error, "the authority could not sign");
        Refusal::Failed
    });
    std::future::ready(signature.map(|signature| data_encoding::BASE64.encode(&signature))).await
}
