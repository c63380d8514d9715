//! The agent's side of the hub's HTTP interface: requests, answers, and what went wrong told apart.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use sync_protocol::Hash;
use sync_protocol::wire::{BODY_MAX_BYTES, PullReply, PullRequest, PushReply, PushRequest, WireError};
use vault::tls::{TlsTrouble, classify, client_config, client_config_pinned};
use vault::{Fingerprint, Identity};

use crate::enrolment::Enrolment;
use crate::line::Trouble;

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("the hub is not reached")]
    NotReached,
    #[error("what answers at the hub's address is not this organisation's hub")]
    WrongAuthority,
    #[error("the hub's certificate does not fit this machine's date")]
    Dates,
    /// The hub's own code and words.
    #[error("the hub refuses: {message}")]
    Refused { code: String, message: String },
    #[error("the hub asks to wait")]
    Busy { retry_after: Duration },
    #[error("the hub's answer cannot be read")]
    Unreadable,
    #[error("the secure channel cannot be set up")]
    Setup,
}

impl HubError {
    pub fn trouble(&self) -> Trouble {
        match self {
            HubError::NotReached => Trouble::NotReached,
            HubError::Busy { .. } => Trouble::Busy,
            HubError::WrongAuthority => Trouble::WrongAuthority,
            HubError::Dates => Trouble::Dates,
            HubError::Refused { code, .. } => Trouble::Refused(code.clone()),
            HubError::Unreadable => Trouble::Refused("its answer cannot be read".to_owned()),
            HubError::Setup => Trouble::Refused("no secure channel".to_owned()),
        }
    }
}

impl From<reqwest::Error> for HubError {
    fn from(error: reqwest::Error) -> HubError {
        let cause: &(dyn StdError + 'static) = &error;
        match classify(cause) {
            TlsTrouble::WrongAuthority => HubError::WrongAuthority,
            TlsTrouble::Dates => HubError::Dates,
            TlsTrouble::RefusedByPeer => HubError::Refused {
                code: "certificate_refused".to_owned(),
                message: "the hub does not take this agent's certificate".to_owned(),
            },
            TlsTrouble::WrongName => HubError::WrongAuthority,
            TlsTrouble::Other => HubError::NotReached,
        }
    }
}

impl From<WireError> for HubError {
    fn from(error: WireError) -> HubError {
        match error {
            WireError::Protocol { theirs } => HubError::Refused {
                code: "other_protocol".to_owned(),
                message: format!("the hub speaks protocol {theirs}"),
            },
            WireError::Frame | WireError::Body(_) => HubError::Unreadable,
        }
    }
}

/// What the hub says of itself, cheaply.
#[derive(Debug, Deserialize)]
pub struct Probe {
    pub hub_ms: i64,
    pub ehr_reached: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    message: String,
}

/// Answers are small beside this; a body that is larger is not our hub's.
const ANSWER_MAX_BYTES: usize = 4 * BODY_MAX_BYTES;

pub struct HubClient {
    client: Client,
    url: String,
}

impl HubClient {
    pub fn new(enrolment: &Enrolment, identity: &Identity) -> Result<HubClient, HubError> {
        let tls = client_config(&enrolment.authority, Some(identity)).map_err(|_| HubError::Setup)?;
        Ok(HubClient {
            client: build(tls)?,
            url: enrolment.hub_url.trim_end_matches('/').to_owned(),
        })
    }

    pub async fn push(&self, request: &PushRequest, timeout: Duration) -> Result<PushReply, HubError> {
        let body = self.post("/v1/push", request.encode(), timeout).await?;
        Ok(PushReply::decode(&body)?)
    }

    pub async fn pull(&self, request: &PullRequest, timeout: Duration) -> Result<PullReply, HubError> {
        let body = self.post("/v1/pull", request.encode(), timeout).await?;
        Ok(PullReply::decode(&body)?)
    }

    pub async fn probe(&self, timeout: Duration) -> Result<Probe, HubError> {
        let response = self
            .client
            .get(format!("{}/v1/probe", self.url))
            .timeout(timeout)
            .send()
            .await?;
        json(response).await
    }

    /// A part of a content, from a place on, and how long the whole is.
    pub async fn blob_part(
        &self,
        digest: Hash,
        from: u64,
        length: u64,
        timeout: Duration,
    ) -> Result<(Vec<u8>, u64), HubError> {
        let request = self
            .client
            .get(format!("{}/v1/blob/{digest}", self.url))
            .timeout(timeout)
            .header(
                "range",
                format!("bytes={from}-{}", from.saturating_add(length).saturating_sub(1)),
            );
        let response = request.send().await?;
        let range = response
            .headers()
            .get("content-range")
            .and_then(|range| range.to_str().ok());
        let whole = range
            .and_then(|range| range.strip_prefix(&format!("bytes {from}-")))
            .and_then(|range| range.split_once('/'))
            .and_then(|(_, whole)| whole.parse().ok());
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let part = bytes(response).await?;
        match whole {
            Some(whole) if is_part && !part.is_empty() && part.len() as u64 <= length => Ok((part, whole)),
            Some(_) | None => Err(HubError::Unreadable),
        }
    }

    async fn post(&self, path: &str, body: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, HubError> {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .timeout(timeout)
            .body(body);
        let response = request.header("content-type", "application/cbor").send().await?;
        bytes(response).await
    }
}

#[derive(Serialize)]
struct EnrolRequest<'a> {
    token: &'a str,
    csr: String,
}

/// What the hub answers to an enrolment.
#[derive(Deserialize)]
pub struct EnrolReply {
    pub site: String,
    pub scope: String,
    pub name: String,
    pub epoch: String,
    pub proof_key: String,
    pub certificate: String,
    pub authority: String,
}

/// Asks for enrolment, trusting only the authority that the token names.
pub async fn enrol(
    url: &str,
    authority: Fingerprint,
    token: &str,
    csr: &[u8],
    timeout: Duration,
) -> Result<EnrolReply, HubError> {
    let client = build(client_config_pinned(authority).map_err(|_| HubError::Setup)?)?;
    let request = EnrolRequest {
        token,
        csr: data_encoding::BASE64.encode(csr),
    };
    let url = format!("{}/enrol", url.trim_end_matches('/'));
    json(client.post(url).timeout(timeout).json(&request).send().await?).await
}

fn build(tls: rustls::ClientConfig) -> Result<Client, HubError> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(2)
        .build()
        .map_err(|_| HubError::Setup)
}

async fn bytes(mut response: Response) -> Result<Vec<u8>, HubError> {
    let status = response.status();
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        let seconds = response
            .headers()
            .get("retry-after")
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok());
        return Err(HubError::Busy {
            retry_after: Duration::from_secs(seconds.unwrap_or(5)),
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX_BYTES {
            return Err(HubError::Unreadable);
        }
    }
    if status.is_success() {
        return Ok(body);
    }
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) => Err(HubError::Refused {
            code: refusal.error,
            message: refusal.message,
        }),
        Err(_) => Err(HubError::Refused {
            code: format!("HTTP {}", status.as_u16()),
            message: format!(
                "HTTP {}; something between here and the hub may have answered",
                status.as_u16()
            ),
        }),
    }
}

async fn json<T: for<'de> Deserialize<'de>>(response: Response) -> Result<T, HubError> {
    let body = bytes(response).await?;
    serde_json::from_slice(&body).map_err(|_| HubError::Unreadable)
}
