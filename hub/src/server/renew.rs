//! Renewal: an agent takes a new certificate by itself. This is the one route on which a certificate that has expired is
//! accepted, and then only with a request that the agent's own key signed. An agent that has no such key yet registers one
//! here, proving that it holds it.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vault::PeerId;
use vault::authority::{AuthorityError, certificate_to_pem};
use vault::fingerprint::fingerprint;
use vault::request_key::{holder_bytes, is_signed};

use super::App;
use super::body;
use super::caller::Caller;
use super::refusal::Refusal;
use crate::db;

const BODY_MAX_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
struct Request {
    /// The certificate request, DER in base64.
    csr: String,
    #[serde(default)]
    request_key: Option<RequestKey>,
}

/// A key that requests are to be signed with, and the proof that it is held by whoever asks.
#[derive(Deserialize)]
pub(super) struct RequestKey {
    /// Ed25519, base64.
    public: String,
    /// By that key, over the certificate request; base64.
    holder: String,
}

impl RequestKey {
    /// The key, if it signed this certificate request.
    pub(super) fn proven(&self, csr: &[u8]) -> Result<[u8; 32], Refusal> {
        let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).ok();
        let public: Option<[u8; 32]> = decode(&self.public).and_then(|bytes| bytes.try_into().ok());
        let holder: Option<[u8; 64]> = decode(&self.holder).and_then(|bytes| bytes.try_into().ok());
        match (public, holder) {
            (Some(public), Some(holder)) if is_signed(&public, &holder_bytes(csr), &holder) => Ok(public),
            (_, _) => Err(Refusal::BadSignature),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Reply {
    certificate: String,
    authorities: Vec<String>,
    signs: bool,
    hub_ms: u64,
}

pub(super) async fn renew(State(app): State<App>, caller: Caller, body: Body) -> Result<Json<Reply>, Refusal> {
    let within = Duration::from_secs(app.0.config.body_timeout_secs);
    let body = body::read(body, BODY_MAX_BYTES, within).await?;
    let request: Request = serde_json::from_slice(&body).map_err(|_| Refusal::BadRequest("the body"))?;
    let csr = data_encoding::BASE64
        .decode(request.csr.as_bytes())
        .map_err(|_| Refusal::CsrRefused)?;
    let key = request.request_key.map(|key| key.proven(&csr)).transpose()?;

    let authority = app.0.authorities.certifying();
    let db = app.db_of(caller).await?;
    let (certificate, signs) = db
        .write(move |txn| {
            let enrolment = caller.enrolment(txn)?;
            if !caller.is_signed() {
                // Nothing but the certificate speaks for the caller, so it must be good.
                caller.site(txn)?;
            }
            caller.count(txn)?;
            let peer = PeerId {
                organisation: Uuid::from_bytes(txn.organisation().org),
                site: Uuid::from_bytes(enrolment.scope.0),
                agent: caller.agent,
            };
            let now_secs = i64::try_from(txn.now_ms() / 1000).unwrap_or(i64::MAX);
            let certificate = authority.issue_client_from_csr(&csr, peer, now_secs).map_err(refused)?;
            let agent = caller.agent.into_bytes();
            txn.renew_enrolment(agent, *fingerprint(&certificate).as_bytes())?;
            if let Some(key) = key {
                txn.set_request_key(agent, key)?;
            }
            txn.note_seen(enrolment.scope)?;
            Ok::<_, Refusal>((certificate, key.is_some() || enrolment.request_key.is_some()))
        })
        .await?;
    tracing::info!(agent = %caller.agent, signs, "an agent's certificate was renewed");
    let trusted = app.0.authorities.trusted(jiff::Timestamp::now().as_second());
    Ok(Json(Reply {
        certificate: certificate_to_pem(&certificate),
        authorities: trusted.iter().map(|der| certificate_to_pem(der)).collect(),
        signs,
        hub_ms: db::now_ms(),
    }))
}

pub(super) fn refused(error: AuthorityError) -> Refusal {
    if matches!(error, AuthorityError::RequestRefused) {
        return Refusal::CsrRefused;
    }
    tracing::error!(%error, "a client certificate was not made");
    Refusal::Failed
}
