//! Enrolment by one-time token: makes key and store if there are none, and asks the hub that the token names. Nothing that
//! exists is ever made anew; an agent that is enrolled takes a new certificate for the same site from the same hub.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sync_protocol::{EpochId, RecordId, ScopeId};
use vault::token::TokenError;
use vault::{ClientKey, EnrolmentToken, RequestKey, fingerprint};

use crate::config;
use crate::enrolment::{self, Enrolment};
use crate::fault::{Fault, exit};
use crate::home::Home;
use crate::hub_client::{EnrolReply, Enrolling, HubError, ProxyWay, RequestKeyProof};
use crate::open;
use crate::store::{Priority, Store, TxError, WriteError};

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(
        "this agent is enrolled for another site or hub ({hub}); nothing was changed. To enrol it elsewhere, set up a new home folder"
    )]
    Enrolled { hub: String },
    #[error("the hub refuses the token: {message}")]
    TokenRefused { message: String },
    #[error(
        "the hub at {url} is not reached: check the address, the line and the firewall, then try again with the same token"
    )]
    NotReached { url: String },
    #[error(
        "what answers at {url} is not the hub that made this token; get a token from the hub itself, and check for a proxy that inspects the line"
    )]
    WrongHub { url: String },
    #[error(
        "the hub's certificate does not fit this machine's date: set the clock, then try again with the same token"
    )]
    Dates,
    #[error(
        "at {url} the hub is behind a proxy that inspects the line ({issuer}), which the hub does not allow for this site: have the hub's address exempted, or allow it at the hub (mainstay-hub site set SITE --inspection allowed), then try again with the same token"
    )]
    Inspected { url: String, issuer: String },
    #[error("enrolment: {0}")]
    Hub(HubError),
    #[error("{0}")]
    Proxy(String),
    #[error("the hub's answer to the enrolment lacks {0}")]
    Answer(&'static str),
    #[error("no key could be made for this agent")]
    Key,
    #[error(transparent)]
    Write(#[from] WriteError<TxError>),
}

impl EnrolError {
    pub fn exit_code(&self) -> u8 {
        match self {
            EnrolError::Token(_) | EnrolError::TokenRefused { .. } => exit::TOKEN,
            EnrolError::NotReached { .. } => exit::HUB_NOT_REACHED,
            EnrolError::WrongHub { .. } | EnrolError::Dates | EnrolError::Inspected { .. } => exit::HUB_NOT_PINNED,
            EnrolError::Proxy(_) => exit::CONFIG,
            EnrolError::Write(WriteError::NoSpace) => exit::NO_SPACE,
            EnrolError::Enrolled { .. }
            | EnrolError::Hub(_)
            | EnrolError::Answer(_)
            | EnrolError::Key
            | EnrolError::Write(_) => exit::FAILED,
        }
    }
}

/// What an enrolment gave.
pub struct Enrolled {
    pub site: RecordId,
    pub name: String,
    pub hub: String,
}

const TIMEOUT: Duration = Duration::from_secs(30);

pub async fn enrol(home: &Home, token: &str) -> Result<Enrolled, Fault> {
    let parsed = EnrolmentToken::parse(token.trim()).map_err(EnrolError::Token)?;
    let settings = config::load(&home.config())?;
    let proxy = settings.sync.proxy_way().map_err(EnrolError::Proxy)?;
    let store = open::create_or_open(home)?;
    let outcome = enrol_in(&store, &parsed, proxy).await;
    store.shutdown().await;
    outcome
}

async fn enrol_in(store: &Store, token: &EnrolmentToken, proxy: Option<ProxyWay>) -> Result<Enrolled, Fault> {
    let token_id = *token.id();
    if store.read(move |tx| enrolment::has_used(tx, token_id)).await? {
        let message = "it has enrolled this agent already; get a new one from the hub".to_owned();
        return Err(EnrolError::TokenRefused { message }.into());
    }
    let known = store.read(Enrolment::read).await?;
    let trusted = match &known {
        Some(_) => store.read(enrolment::authorities).await?,
        None => Vec::new(),
    };
    if let Some(known) = &known
        && !trusted
            .iter()
            .any(|authority| fingerprint::fingerprint(authority) == token.authority())
    {
        // Asked before the token is used up.
        let hub = known.hub_url.clone();
        return Err(EnrolError::Enrolled { hub }.into());
    }
    let key = client_key(store).await?;
    let csr = key.certificate_request().map_err(|_| EnrolError::Key)?;
    let url = token.hub_url().to_owned();
    let rendered = token.render();
    let request_key = request_key(store).await?;
    let enrolling = Enrolling {
        url: &url,
        authority: token.authority(),
        token: &rendered,
        csr: &csr,
        request_key: RequestKeyProof::new(&request_key, &csr),
        proxy,
        timeout: TIMEOUT,
    };
    let reply = enrolling.ask().await.map_err(|error| refused(error, &url))?;
    let (name, signs) = (reply.name.clone(), reply.signs);
    let authorities = read_authorities(&reply)?;
    let enrolment = read_reply(reply, url)?;
    if let Some(known) = &known
        && !known.is_of(&enrolment)
    {
        let hub = known.hub_url.clone();
        return Err(EnrolError::Enrolled { hub }.into());
    }
    let (site, hub, renews) = (enrolment.site, enrolment.hub_url.clone(), known.is_some());
    store
        .write(Priority::Desk, move |tx| {
            enrolment::note_used(tx, token_id)?;
            if renews {
                enrolment.renew(tx)?;
            } else {
                enrolment.keep(tx)?;
            }
            if signs {
                enrolment::note_signs(tx)?;
            }
            enrolment::keep_authorities(tx, &authorities)
        })
        .await
        .map_err(EnrolError::Write)?;
    Ok(Enrolled { site, name, hub })
}

async fn client_key(store: &Store) -> Result<ClientKey, Fault> {
    if let Some(key) = store.read(enrolment::client_key).await? {
        return Ok(key);
    }
    let key = ClientKey::generate().map_err(|_| EnrolError::Key)?;
    let bytes = key.key_pkcs8();
    let kept = store
        .write(Priority::Desk, move |tx| enrolment::keep_client_key(tx, &bytes))
        .await;
    kept.map_err(EnrolError::Write)?;
    Ok(key)
}

async fn request_key(store: &Store) -> Result<RequestKey, Fault> {
    if let Some(key) = store.read(enrolment::request_key).await? {
        return Ok(key);
    }
    let key = RequestKey::generate().map_err(|_| EnrolError::Key)?;
    let bytes = zeroize::Zeroizing::new(key.pkcs8().to_vec());
    let kept = store
        .write(Priority::Desk, move |tx| enrolment::keep_request_key(tx, &bytes))
        .await;
    kept.map_err(EnrolError::Write)?;
    Ok(key)
}

fn refused(error: HubError, url: &str) -> EnrolError {
    let url = url.to_owned();
    match error {
        HubError::NotReached | HubError::Busy { .. } => EnrolError::NotReached { url },
        HubError::WrongAuthority { .. } => EnrolError::WrongHub { url },
        HubError::Inspected { issuer } => EnrolError::Inspected {
            url,
            issuer: issuer.unwrap_or_else(|| "no name".to_owned()),
        },
        HubError::Proxy { .. } => EnrolError::Proxy(error.to_string()),
        HubError::Dates => EnrolError::Dates,
        HubError::Refused { code, message } if code.starts_with("token_") => EnrolError::TokenRefused { message },
        other @ (HubError::Refused { .. }
        | HubError::Unreadable
        | HubError::NotSigned
        | HubError::Setup
        | HubError::Versions { .. }) => EnrolError::Hub(other),
    }
}

/// The authorities that the hub wants trusted; a hub of an earlier version names only the one of the token.
fn read_authorities(reply: &EnrolReply) -> Result<Vec<CertificateDer<'static>>, EnrolError> {
    let told = std::iter::once(&reply.authority).filter(|_| reply.authorities.is_empty());
    told.chain(&reply.authorities)
        .map(|pem| {
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| EnrolError::Answer("an authority's certificate"))
        })
        .collect()
}

fn read_reply(reply: EnrolReply, hub_url: String) -> Result<Enrolment, EnrolError> {
    let certificate =
        |pem: &str, what| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| EnrolError::Answer(what));
    let proof_key = data_encoding::HEXLOWER.decode(reply.proof_key.as_bytes()).ok();
    Ok(Enrolment {
        hub_url,
        site: RecordId::parse(&reply.site).ok_or(EnrolError::Answer("the site"))?,
        scope: ScopeId::parse(&reply.scope).ok_or(EnrolError::Answer("the scope"))?,
        epoch: EpochId::parse(&reply.epoch).ok_or(EnrolError::Answer("the epoch"))?,
        proof_key: proof_key
            .and_then(|key| key.try_into().ok())
            .ok_or(EnrolError::Answer("the proof key"))?,
        authority: certificate(&reply.authority, "the authority's certificate")?,
        certificate: certificate(&reply.certificate, "the certificate")?,
    })
}
