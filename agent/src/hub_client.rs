//! The agent's side of the hub's HTTP interface: requests, answers, and what went wrong told apart.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sync_protocol::Hash;
use sync_protocol::handshake::{Hello, Welcome, feature};
use sync_protocol::pause::After;
use sync_protocol::request_signature::Channel;
use sync_protocol::wire::{
    BODY_MAX_BYTES, COMPACT_SINCE, EpochReply, EpochRequest, PullReply, PullRequest, PushReply, PushRequest,
    RepairReply, RepairRequest, ReturnReply, ReturnRequest, SnapshotReply, SnapshotRequest, WireError,
};
use vault::RequestKey;
use vault::request_key::holder_bytes;
use vault::tls::{TlsTrouble, classify};

use crate::line::Trouble;

mod contact;
mod enrolling;
mod signatures;

use contact::{Answer, Contact, Question, Timeout};
pub use contact::{Credentials, ProxyWay};
pub use enrolling::{EnrolReply, Enrolling};
use signatures::HubKey;

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("the hub is not reached")]
    NotReached,
    #[error("what answers at the hub's address is not this organisation's hub")]
    WrongAuthority { issuer: Option<String> },
    /// The hub is there, behind a proxy that reads the line, which the hub does not allow for this site.
    #[error("a proxy reads the line to the hub, and the hub does not allow that")]
    Inspected { issuer: Option<String> },
    #[error("the proxy does not lead to the hub: {what}")]
    Proxy { what: &'static str },
    /// The two ends have no protocol in common; the words say which is older and what to do.
    #[error("{message}")]
    Versions { message: String },
    #[error("the hub's certificate does not fit this machine's date")]
    Dates,
    /// The hub's own code and words.
    #[error("the hub refuses: {message}")]
    Refused { code: String, message: String },
    #[error("the hub asks to wait: {message}")]
    Busy { retry_after: Duration, message: String },
    #[error("the hub's answer cannot be read")]
    Unreadable,
    #[error("what the hub says does not bear its signature")]
    NotSigned,
    #[error("the secure channel cannot be set up")]
    Setup,
}

impl HubError {
    pub fn trouble(&self) -> Trouble {
        match self {
            HubError::NotReached => Trouble::NotReached,
            HubError::Busy { message, .. } => Trouble::Busy(message.clone()),
            HubError::WrongAuthority { issuer } => Trouble::WrongAuthority(issuer.clone()),
            HubError::Inspected { issuer } => Trouble::Inspected(issuer.clone()),
            HubError::Proxy { what } => Trouble::Proxy(what),
            HubError::Versions { message } => Trouble::Versions(message.clone()),
            HubError::Dates => Trouble::Dates,
            HubError::Refused { code, message } => Trouble::Refused {
                code: code.clone(),
                message: message.clone(),
            },
            HubError::Unreadable => Trouble::Unreadable,
            HubError::NotSigned => Trouble::NotSigned,
            HubError::Setup => Trouble::Setup,
        }
    }

    /// What decides when to come again.
    pub fn after(&self) -> After {
        match self {
            HubError::Busy { retry_after, .. } => After::AskedToWait(*retry_after),
            HubError::Refused { code, .. } if code == "revoked" => After::Revoked,
            HubError::Refused { .. }
            | HubError::NotReached
            | HubError::WrongAuthority { .. }
            | HubError::Inspected { .. }
            | HubError::Proxy { .. }
            | HubError::Versions { .. }
            | HubError::Dates
            | HubError::Unreadable
            | HubError::NotSigned
            | HubError::Setup => After::Failure,
        }
    }

    /// The body was larger than the hub, or what stands before it, takes.
    pub fn is_too_large(&self) -> bool {
        matches!(self, HubError::Refused { code, .. } if code == "too_large" || code == "HTTP 413")
    }

    /// The hub's store began a new life, or this request shows that it should.
    pub fn is_of_other_epoch(&self) -> bool {
        matches!(self, HubError::Refused { code, .. } if code == "other_epoch")
    }
}

impl From<reqwest::Error> for HubError {
    fn from(error: reqwest::Error) -> HubError {
        let cause: &(dyn StdError + 'static) = &error;
        if let Some(what) = proxy_trouble(cause) {
            return HubError::Proxy { what };
        }
        match classify(cause) {
            TlsTrouble::WrongAuthority | TlsTrouble::WrongName => HubError::WrongAuthority { issuer: None },
            TlsTrouble::Dates => HubError::Dates,
            TlsTrouble::RefusedByPeer => HubError::Refused {
                code: "certificate_refused".to_owned(),
                message: "the hub does not take this agent's certificate".to_owned(),
            },
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
    /// Over how long agents are to spread themselves when they come back.
    #[serde(default)]
    pub reconnect_window_ms: u64,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    message: String,
    /// Of a request whose number was used: the newest that was.
    newest: Option<u64>,
}

/// A key that requests are to be signed with, and the proof that it is held here.
#[derive(Serialize)]
pub struct RequestKeyProof {
    public: String,
    holder: String,
}

impl RequestKeyProof {
    /// For one certificate request.
    pub fn new(key: &RequestKey, csr: &[u8]) -> RequestKeyProof {
        RequestKeyProof {
            public: data_encoding::BASE64.encode(&key.public()),
            holder: data_encoding::BASE64.encode(&key.sign(&holder_bytes(csr))),
        }
    }
}

#[derive(Serialize)]
struct RenewRequest {
    csr: String,
    request_key: RequestKeyProof,
}

/// What the hub answers to a renewal.
#[derive(Deserialize)]
pub struct RenewReply {
    pub certificate: String,
    pub authorities: Vec<String>,
    pub signs: bool,
}

/// Answers are small beside this; a body that is larger is not our hub's.
const ANSWER_MAX_BYTES: usize = 4 * BODY_MAX_BYTES;

/// The hub, for whoever asks it something. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct HubClient {
    contact: Arc<Contact>,
    /// The hub has said that it reads compact batches.
    compact: Arc<AtomicBool>,
    key: Arc<HubKey>,
}

impl HubClient {
    /// Requests are numbered upwards from the first number.
    pub fn new(
        url: &str,
        proxy: Option<ProxyWay>,
        credentials: Credentials,
        first_number: u64,
    ) -> Result<HubClient, HubError> {
        Ok(HubClient {
            contact: Arc::new(Contact::new(url, proxy, credentials, first_number)?),
            compact: Arc::default(),
            key: Arc::default(),
        })
    }

    /// Goes on with a newer certificate or other authorities.
    pub fn take(&self, credentials: Credentials) -> Result<(), HubError> {
        self.contact.take(credentials)
    }

    pub fn authorities(&self) -> Vec<CertificateDer<'static>> {
        self.contact.authorities()
    }

    /// Who reads the line, while it is read and the hub allows that.
    pub fn inspected_by(&self) -> Option<String> {
        self.contact.inspected_by()
    }

    pub fn proxy(&self) -> Option<&str> {
        self.contact.proxy_url()
    }

    /// By how much this clock is behind the hub's, in seconds, where it was so wrong that the hub had to be asked.
    pub fn clock_correction_secs(&self) -> i64 {
        self.contact.clock_correction_secs()
    }

    /// Told once: the newest number that the hub took from somebody else who has this agent's key.
    pub fn take_surpassed(&self) -> Option<u64> {
        self.contact.take_surpassed()
    }

    /// Begins a session. `None` from a hub of a version before there were handshakes.
    pub async fn hello(&self, hello: &Hello, timeout: Duration) -> Result<Option<Welcome>, HubError> {
        self.compact.store(false, Ordering::Relaxed);
        match self.post("/v1/hello", hello.encode(), timeout).await {
            Ok(body) => {
                let welcome = Welcome::decode(&body).map_err(|_| HubError::Unreadable)?;
                let both = welcome.about.has(feature::COMPACT) && hello.about.has(feature::COMPACT);
                let compact = both && welcome.protocol >= COMPACT_SINCE;
                self.compact.store(compact, Ordering::Relaxed);
                self.key.take(welcome.signing_key);
                Ok(Some(welcome))
            }
            Err(HubError::Refused { code, .. }) if code == "no_such_route" => Ok(None),
            Err(HubError::Refused { code, message }) if code == "no_common_protocol" => {
                Err(HubError::Versions { message })
            }
            Err(error) => Err(error),
        }
    }

    /// A new certificate for the same agent; the key that requests are signed with goes along.
    pub async fn renew(&self, csr: &[u8], key: &RequestKey, timeout: Duration) -> Result<RenewReply, HubError> {
        let request = RenewRequest {
            csr: data_encoding::BASE64.encode(csr),
            request_key: RequestKeyProof::new(key, csr),
        };
        let question = Question {
            channel: Channel::Exchange,
            method: Method::POST,
            target: "/renew".to_owned(),
            headers: vec![("content-type", "application/json".to_owned())],
            body: serde_json::to_vec(&request).map_err(|_| HubError::Setup)?,
            timeout: timeout.into(),
        };
        let answer = match self.contact.ask(&question).await {
            // The certificate is of no use any more; the signature still says who asks.
            Err(HubError::Refused { code, .. }) if code == "certificate_refused" => {
                self.contact.ask_without_certificate(&question).await
            }
            answered => answered,
        };
        json(&judged(answer?)?)
    }

    /// A push as it travels.
    pub async fn body_of(&self, request: PushRequest) -> Result<Vec<u8>, HubError> {
        let is_compact = self.compact.load(Ordering::Relaxed);
        let encoded = tokio::task::spawn_blocking(move || match is_compact {
            true => request.encode_compact(),
            false => request.encode(),
        });
        encoded.await.map_err(|_| HubError::Unreadable)
    }

    pub async fn push(&self, body: Vec<u8>, timeout: Duration) -> Result<PushReply, HubError> {
        let body = self.post("/v1/push", body, timeout).await?;
        let reply = PushReply::decode(&body)?;
        self.key.check_push(&reply)?;
        Ok(reply)
    }

    pub async fn pull(&self, request: &PullRequest, timeout: Duration) -> Result<PullReply, HubError> {
        let body = self.post("/v1/pull", request.encode(), timeout).await?;
        let reply = PullReply::decode(&body)?;
        let key = Arc::clone(&self.key);
        // A page of a few hundred states takes a while to verify.
        let checked = tokio::task::spawn_blocking(move || key.check_pages(&reply.pages).map(|()| reply));
        checked.await.map_err(|_| HubError::Unreadable)?
    }

    pub async fn repair(&self, request: &RepairRequest, timeout: Duration) -> Result<RepairReply, HubError> {
        let body = self.post("/v1/repair", request.encode(), timeout).await?;
        let reply = RepairReply::decode(&body)?;
        self.key.check_pages(std::slice::from_ref(&reply.page))?;
        Ok(reply)
    }

    pub async fn snapshot(&self, request: &SnapshotRequest, timeout: Duration) -> Result<SnapshotReply, HubError> {
        let body = self.post("/v1/snapshot", request.encode(), timeout).await?;
        let reply = SnapshotReply::decode(&body)?;
        self.key.check_snapshot(&reply)?;
        Ok(reply)
    }

    /// A chunk of a snapshot as it comes, as long as it keeps coming; whether it is what its name says is the caller's to find
    /// out.
    pub async fn snapshot_chunk(&self, digest: Hash, silence: Duration, whole: Duration) -> Result<Vec<u8>, HubError> {
        let question = Question {
            channel: Channel::Exchange,
            method: Method::GET,
            target: format!("/v1/snapshot/{digest}"),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Timeout::of_silence(silence, whole),
        };
        Ok(judged(self.contact.ask(&question).await?)?.body)
    }

    pub async fn epoch(&self, request: &EpochRequest, timeout: Duration) -> Result<EpochReply, HubError> {
        let body = self.post("/v1/epoch", request.encode(), timeout).await?;
        Ok(EpochReply::decode(&body)?)
    }

    pub async fn give_back(&self, request: &ReturnRequest, timeout: Duration) -> Result<ReturnReply, HubError> {
        let body = self.post("/v1/return", request.encode(), timeout).await?;
        Ok(ReturnReply::decode(&body)?)
    }

    pub async fn probe(&self, timeout: Duration) -> Result<Probe, HubError> {
        let question = Question {
            channel: Channel::Probe,
            method: Method::GET,
            target: "/v1/probe".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: timeout.into(),
        };
        json(&judged(self.contact.ask(&question).await?)?)
    }

    /// A part of a content, from a place on, and how long the whole is.
    pub async fn blob_part(
        &self,
        digest: Hash,
        from: u64,
        length: u64,
        timeout: Duration,
    ) -> Result<(Vec<u8>, u64), HubError> {
        let last = from.saturating_add(length).saturating_sub(1);
        let question = Question {
            channel: Channel::Transfer,
            method: Method::GET,
            target: format!("/v1/blob/{digest}"),
            headers: vec![("range", format!("bytes={from}-{last}"))],
            body: Vec::new(),
            timeout: timeout.into(),
        };
        let answer = judged(self.contact.ask(&question).await?)?;
        let whole = answer
            .header("content-range")
            .and_then(|range| range.strip_prefix(&format!("bytes {from}-")))
            .and_then(|range| range.split_once('/'))
            .and_then(|(_, whole)| whole.parse().ok());
        let is_part = answer.status == StatusCode::PARTIAL_CONTENT;
        let part = answer.body;
        match whole {
            Some(whole) if is_part && !part.is_empty() && part.len() as u64 <= length => Ok((part, whole)),
            Some(_) | None => Err(HubError::Unreadable),
        }
    }

    async fn post(&self, path: &str, body: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, HubError> {
        let question = Question {
            channel: Channel::Exchange,
            method: Method::POST,
            target: path.to_owned(),
            headers: vec![("content-type", "application/cbor".to_owned())],
            body,
            timeout: timeout.into(),
        };
        Ok(judged(self.contact.ask(&question).await?)?.body)
    }
}

/// What a CONNECT proxy had against it. The library tells it in words alone.
fn proxy_trouble(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(current) = next {
        let said = current.to_string();
        if said.starts_with("tunnel error: proxy authorization required") {
            return Some("it asks for a user name and a password; set sync.proxy_credentials_file");
        }
        if said.starts_with("tunnel error:") {
            return Some("it refuses to connect; ask who runs it to let this machine reach the hub");
        }
        next = current.source();
    }
    None
}

/// Longer words are not the hub's; people are shown their beginning.
const MESSAGE_MAX_CHARS: usize = 300;
/// Whoever is busy and does not say for how long.
const RETRY_AFTER_UNSAID: Duration = Duration::from_secs(5);

/// An answer that serves, or why it does not.
fn judged(answer: Answer) -> Result<Answer, HubError> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer);
    }
    let (code, message) = match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(refusal) => (refusal.error, refusal.message.chars().take(MESSAGE_MAX_CHARS).collect()),
        Err(_) => {
            let code = format!("HTTP {}", status.as_u16());
            let message = format!("{code}; something between here and the hub may have answered");
            (code, message)
        }
    };
    let asks_to_wait = [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::INSUFFICIENT_STORAGE,
    ];
    if asks_to_wait.contains(&status) {
        let seconds = answer.header("retry-after").and_then(|value| value.parse().ok());
        return Err(HubError::Busy {
            retry_after: seconds.map_or(RETRY_AFTER_UNSAID, Duration::from_secs),
            message,
        });
    }
    Err(HubError::Refused { code, message })
}

fn json<T: for<'de> Deserialize<'de>>(answer: &Answer) -> Result<T, HubError> {
    serde_json::from_slice(&answer.body).map_err(|_| HubError::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, retry_after: Option<&str>, body: &str) -> HubError {
        let header = retry_after.map(|value| ("retry-after".to_owned(), value.to_owned()));
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: header.into_iter().collect(),
            body: body.as_bytes().to_vec(),
        };
        judged(answer).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_hub_without_room_is_left_alone_for_as_long_as_it_says_like_one_that_is_busy() {
        for (status, code) in [(503, "busy"), (503, "store_away"), (429, "busy"), (507, "no_space")] {
            let body = format!(r#"{{"error":"{code}","message":"come again"}}"#);
            let error = told(status, Some("30"), &body);

            assert_eq!(error.after(), After::AskedToWait(Duration::from_secs(30)), "{status}");
            assert_eq!(error.trouble().words(), "the hub asks to come again later: come again");
        }
        assert_eq!(
            told(503, None, "<html>").after(),
            After::AskedToWait(RETRY_AFTER_UNSAID)
        );
    }

    #[test]
    fn a_revoked_agent_asks_seldom_and_too_large_a_body_is_known_whoever_says_so() {
        let revoked = told(403, None, r#"{"error":"revoked","message":"ask who runs the hub"}"#);
        let ours = told(413, None, r#"{"error":"too_large","message":"at most 262144 bytes"}"#);
        let proxys = told(413, None, "<html>Request Entity Too Large</html>");

        assert_eq!(revoked.after(), After::Revoked);
        assert!(ours.is_too_large() && proxys.is_too_large() && !revoked.is_too_large());
        assert_eq!(ours.after(), After::Failure);
    }
}
