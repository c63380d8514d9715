//! Enrolment: a one-time token and a certificate request become an agent of the token's site. All in one transaction, so
//! that a token is used exactly when a certificate was made; whoever lost the reply may ask again with the same key.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vault::authority::certificate_to_pem;
use vault::fingerprint::fingerprint;
use vault::{Authorities, EnrolmentToken, PeerId};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::App;
use super::body;
use super::refusal::Refusal;
use super::renew::{self, RequestKey};
use super::sealed::Enclosed;
use crate::db::{self, Db, DbError, Txn};

const BODY_MAX_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
struct Request {
    token: String,
    /// The certificate request, DER in base64.
    csr: String,
    /// Absent from an agent of a version before there were such keys.
    #[serde(default)]
    request_key: Option<RequestKey>,
}

#[derive(Serialize)]
pub(super) struct Reply {
    agent: String,
    site: String,
    scope: String,
    name: String,
    zone: String,
    epoch: String,
    proof_key: String,
    certificate: String,
    authority: String,
    /// All that are to be trusted; `authority` is the one that the token names.
    authorities: Vec<String>,
    signs: bool,
    ehr: &'static str,
    hub_ms: u64,
}

pub(super) async fn enrol(
    State(app): State<App>,
    enclosed: Option<Extension<Enclosed>>,
    body: Body,
) -> Result<Json<Reply>, Refusal> {
    let within = Duration::from_secs(app.0.config.body_timeout_secs);
    let body = zeroize::Zeroizing::new(body::read(body, BODY_MAX_BYTES, within).await?);
    let request: Request = serde_json::from_slice(&body).map_err(|_| Refusal::BadRequest("the body"))?;
    let token = EnrolmentToken::parse(&zeroize::Zeroizing::new(request.token)).map_err(|_| Refusal::TokenWrong)?;
    let csr = data_encoding::BASE64
        .decode(request.csr.as_bytes())
        .map_err(|_| Refusal::CsrRefused)?;

    let asked = Asked {
        token,
        request_key: request.request_key.map(|key| key.proven(&csr)).transpose()?,
        csr,
        enclosed: enclosed.is_some(),
    };
    let authorities = app.0.authorities.clone();
    let db = organisation_of(&app, &asked.token).await?;
    let reply = db.write(move |txn| enrol_in(txn, &authorities, &asked)).await?;
    tracing::info!(agent = reply.agent, site = reply.site, "an agent was enrolled");
    Ok(Json(reply))
}

/// The store of the organisation that issued the token.
async fn organisation_of(app: &App, token: &EnrolmentToken) -> Result<Db, Refusal> {
    let id = *token.id();
    for organisation in app.0.db.organisations().await? {
        let Some(db) = app.0.db.of(organisation.org) else {
            continue;
        };
        if db.read(move |txn| txn.token(id)).await?.is_some() {
            return Ok(db);
        }
    }
    Err(Refusal::TokenWrong)
}

/// A request for enrolment, read.
struct Asked {
    token: EnrolmentToken,
    csr: Vec<u8>,
    request_key: Option<[u8; 32]>,
    enclosed: bool,
}

fn enrol_in(txn: &mut Txn<'_>, authorities: &Authorities, asked: &Asked) -> Result<Reply, Refusal> {
    let Asked {
        token,
        csr,
        request_key,
        enclosed,
    } = asked;
    let kept = txn.token(*token.id())?.ok_or(Refusal::TokenWrong)?;
    if !token.secret().matches(&kept.secret_hash) {
        return Err(Refusal::TokenWrong);
    }
    let key = public_key_digest(csr).ok_or(Refusal::CsrRefused)?;
    if kept.used_by.is_some_and(|(_, used_by)| used_by != key) {
        return Err(Refusal::TokenUsed);
    }
    if kept.expires_ms <= txn.now_ms() {
        return Err(Refusal::TokenExpired);
    }
    let site = txn.site(kept.scope)?.ok_or(DbError::Damaged {
        what: "a token of no site",
    })?;
    if *enclosed && !txn.allows_inspection(site.scope)? {
        return Err(Refusal::InspectionNotAllowed);
    }

    let agent = match kept.used_by {
        Some((agent, _)) => agent,
        None => db::random()?,
    };
    let peer = PeerId {
        organisation: Uuid::from_bytes(txn.organisation().org),
        site: Uuid::from_bytes(site.scope.0),
        agent: Uuid::from_bytes(agent),
    };
    let now_secs = i64::try_from(txn.now_ms() / 1000).unwrap_or(i64::MAX);
    let certificate = authorities
        .certifying()
        .issue_client_from_csr(csr, peer, now_secs)
        .map_err(renew::refused)?;
    txn.put_enrolment(agent, site.scope, *fingerprint(&certificate).as_bytes())?;
    if let Some(key) = request_key {
        txn.set_request_key(agent, *key)?;
    }
    if !txn.use_token(kept.token, agent, key)? {
        // Another request with this token was quicker.
        return Err(Refusal::TokenUsed);
    }
    txn.note_seen(site.scope)?;

    let (epoch, _) = txn.present()?;
    let organisation = txn.organisation();
    Ok(Reply {
        agent: data_encoding::HEXLOWER.encode(&agent),
        site: site.scope.to_string(),
        scope: site.scope.to_string(),
        name: site.name,
        zone: site.zone,
        epoch: epoch.to_string(),
        proof_key: data_encoding::HEXLOWER.encode(&organisation.proof_key_bytes),
        certificate: certificate_to_pem(&certificate),
        authority: authorities.serving(now_secs).certificate_pem(),
        authorities: authorities
            .trusted(now_secs)
            .iter()
            .map(|der| certificate_to_pem(der))
            .collect(),
        signs: request_key.is_some(),
        ehr: site.ehr.word(),
        hub_ms: txn.now_ms(),
    })
}

/// By which the one who used a token is known again. Whether the request is signed by this key, the authority checks.
fn public_key_digest(csr: &[u8]) -> Option<[u8; 32]> {
    let (_, request) = X509CertificationRequest::from_der(csr).ok()?;
    let key = request.certification_request_info.subject_pki.subject_public_key.data;
    digest(&SHA256, &key).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use vault::{Authority, ClientKey, DataKey};

    use super::*;
    use crate::db::{Config, Db, Place, Policy, Site, TokenRow};

    const SCOPE: sync_protocol::ScopeId = sync_protocol::ScopeId([7; 16]);

    async fn enrol_with_token_that_expires_at(
        expires_ms: impl Fn(u64) -> u64 + Send + 'static,
    ) -> Result<String, Refusal> {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            file: folder.path().join("hub.db"),
            config: Config::default(),
        };
        let db = Db::create(&place, &DataKey::generate().unwrap(), Policy::CATALOGUE).unwrap();
        let authority = Authority::create("Test", jiff::Timestamp::now().as_second()).unwrap();
        let authorities =
            Authorities::alone(Authority::restore(authority.certificate().clone(), &authority.key_pkcs8()).unwrap());
        let token = EnrolmentToken::issue("https://hub.example", authority.fingerprint()).unwrap();
        let csr = ClientKey::generate().unwrap().certificate_request().unwrap();
        let enrolled = db.write(move |txn| {
            txn.add_site(&Site {
                scope: SCOPE,
                name: "Riverside".to_owned(),
                zone: "America/Chicago".to_owned(),
                ehr: clinic::value::Target::Person,
                seen_ms: None,
            })?;
            txn.add_token(&TokenRow {
                token: *token.id(),
                secret_hash: token.secret().digest(),
                scope: SCOPE,
                expires_ms: expires_ms(txn.now_ms()),
                used_by: None,
            })?;
            let asked = Asked {
                token: EnrolmentToken::parse(&token.render()).unwrap(),
                csr: csr.clone(),
                request_key: None,
                enclosed: false,
            };
            enrol_in(txn, &authorities, &asked)
        });
        enrolled.await.map(|reply| reply.site)
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_expires_and_not_after() {
        let fresh = enrol_with_token_that_expires_at(|now_ms| now_ms + 1).await;
        let expired = enrol_with_token_that_expires_at(|now_ms| now_ms).await;

        assert_eq!(fresh, Ok(SCOPE.to_string()));
        assert_eq!(expired, Err(Refusal::TokenExpired));
    }

    #[test]
    fn a_public_key_is_known_again_whatever_request_it_signs() {
        let (key, other) = (ClientKey::generate().unwrap(), ClientKey::generate().unwrap());
        let digest = |key: &ClientKey| public_key_digest(&key.certificate_request().unwrap());

        assert!(digest(&key).is_some());
        assert_eq!(digest(&key), digest(&key));
        assert_ne!(digest(&key), digest(&other));
        assert_eq!(public_key_digest(b"nothing"), None);
    }
}
