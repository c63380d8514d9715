//! Talking FHIR REST with the EHR: one request at a time, at the pace it allows. Every failure comes back as what it
//! means for the task. It logs ids, status and class, never an address or a body, and follows no redirect: a token is
//! for one server.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use formats::fhir::{Bundle, decode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Url};
use serde_json::Value;
use sync_protocol::{ChangeId, RecordId};
use zeroize::Zeroizing;

use super::config::Config;
use super::failure::{Broken, Effect, Failure, is_outage, of_broken, of_status, retry_after_ms};
use super::pace::{Breaker, May, Pacer};
use super::resources::PATIENT_SYSTEM;
use super::turn::in_time;
use crate::db::now_ms;
use crate::ehr::Reach;

/// Why an answer was not read to its end.
pub(super) const TOO_LONG: &str = "an answer that is longer than is read";

const FHIR_JSON: &str = "application/fhir+json";
const FORM: &str = "application/x-www-form-urlencoded";
/// An answer that is longer is not read to its end.
const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;
const CONNECT_TIMEOUT_MAX_SECS: u64 = 10;
const CREATED: u16 = 201;
/// A question changes nothing, so it may be asked at any time.
const WHENEVER: i64 = i64::MAX;
/// Not found, and gone.
const ABSENT: [u16; 2] = [404, 410];

#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    #[error("table [ehr]: {0}")]
    Config(String),
    #[error("no HTTPS client could be made: install the system's certificate authorities")]
    Client(#[source] reqwest::Error),
    #[error(transparent)]
    Store(#[from] crate::db::DbError),
}

/// What a request is for, for the log and for the partner's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    pub(super) task: RecordId,
    pub(super) correlation: ChangeId,
    pub(super) attempt: u32,
}

pub(super) struct Partner {
    http: Client,
    base: Url,
    token_file: Option<PathBuf>,
    reach: Reach,
    pacing: Mutex<Pacing>,
}

struct Pacing {
    pacer: Pacer,
    breaker: Breaker,
    /// The partner asked to be left alone until then.
    peace_until_ms: i64,
    asked_ms: i64,
}

/// A resource as the partner has it, and the version to name when it is changed.
pub(super) struct Version {
    pub(super) resource: Value,
    pub(super) etag: String,
}

/// The answer to a conditional create.
pub(super) struct Created {
    /// If the partner says it.
    pub(super) id: Option<String>,
    /// Otherwise it was there before, and says what it said then.
    pub(super) is_new: bool,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Partner {
    pub(super) fn new(config: &Config, reach: Reach) -> Result<Partner, ConnectorError> {
        config.refuse_unsound().map_err(ConnectorError::Config)?;
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // Whether to ask again is decided by what the task stands on.
            .retry(reqwest::retry::never())
            .timeout(Duration::from_secs(config.attempt_timeout_secs))
            .connect_timeout(Duration::from_secs(
                config.attempt_timeout_secs.min(CONNECT_TIMEOUT_MAX_SECS),
            ))
            .pool_max_idle_per_host(config.parallel_patients)
            .build()
            .map_err(ConnectorError::Client)?;
        Ok(Partner {
            http,
            base: config.base().map_err(ConnectorError::Config)?,
            token_file: config.token_file.clone(),
            reach,
            pacing: Mutex::new(Pacing {
                pacer: Pacer::new(config.requests_per_second_max),
                breaker: Breaker::new(config.breaker_failures),
                peace_until_ms: 0,
                asked_ms: 0,
            }),
        })
    }

    /// Whether the partner may be asked now.
    pub(super) fn may(&self) -> May {
        let mut pacing = self.pacing();
        match pacing.peace_until_ms {
            until_ms if now() < until_ms => May::NotBefore(until_ms),
            _ => pacing.breaker.may(now()),
        }
    }

    /// When the partner was last asked something, milliseconds since 1970.
    pub(super) fn asked_ms(&self) -> i64 {
        self.pacing().asked_ms
    }

    /// Whether the partner serves us: a search for a number that nobody has. Its capability statement would do as well
    /// but is megabytes long.
    pub(super) async fn probe(&self) -> bool {
        let nobody = formats::fhir::SearchQuery::new()
            .token("identifier", PATIENT_SYSTEM, "none")
            .count(1);
        let request = self.form("Patient", &nobody.to_query_string());
        match self.send(request, Effect::Reads, None, WHENEVER).await {
            Ok(_) => true,
            // It answers, if only to say no.
            Err(Failure::Refused { .. } | Failure::Conflict { .. }) => true,
            Err(Failure::Unavailable { .. } | Failure::Unknown { .. }) => false,
        }
    }

    /// Searches by form, which keeps names out of addresses and so out of everybody's logs.
    pub(super) async fn search(&self, kind: &str, form: &str, cause: Cause) -> Result<Bundle, Failure> {
        let answer = self
            .send(self.form(kind, form), Effect::Reads, Some(cause), WHENEVER)
            .await?;
        decode(&answer.body).map_err(|_| unreadable())
    }

    /// `None` when there is no such resource, or no longer.
    pub(super) async fn read(&self, kind: &str, id: &str, cause: Cause) -> Result<Option<Version>, Failure> {
        let request = self.request(Method::GET, &format!("{kind}/{id}"));
        let answer = self
            .answered(request, Effect::Reads, Some(cause), &ABSENT, WHENEVER, BODY_MAX_BYTES)
            .await?;
        if ABSENT.contains(&answer.status) {
            return Ok(None);
        }
        let resource: Value = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        let header = answer
            .headers
            .get(ETAG)
            .and_then(|etag| etag.to_str().ok())
            .map(str::to_owned);
        let stored = || {
            resource["meta"]["versionId"]
                .as_str()
                .map(|version| format!("W/\"{version}\""))
        };
        let etag = header.or_else(stored).ok_or_else(unreadable)?;
        Ok(Some(Version { resource, etag }))
    }

    /// Creates a resource unless one that the search `if_none_exist` finds is there.
    pub(super) async fn create(
        &self,
        kind: &str,
        resource: Vec<u8>,
        if_none_exist: &str,
        cause: Cause,
        begin_before_ms: i64,
    ) -> Result<Created, Failure> {
        let request = self
            .request(Method::POST, kind)
            .header(CONTENT_TYPE, FHIR_JSON)
            .header("if-none-exist", if_none_exist)
            .header("prefer", "return=minimal")
            .body(resource);
        let answer = self.send(request, Effect::Writes, Some(cause), begin_before_ms).await?;
        let location = answer.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let reference = formats::fhir::Reference {
            reference: location.map(str::to_owned),
            ..Default::default()
        };
        let said = || {
            serde_json::from_slice::<Value>(&answer.body)
                .ok()?
                .get("id")?
                .as_str()
                .map(str::to_owned)
        };
        Ok(Created {
            id: reference
                .id_of(kind)
                .map(str::to_owned)
                .or_else(said)
                .filter(|id| is_id(id)),
            is_new: answer.status == CREATED,
        })
    }

    /// Replaces the version that was read, and no other.
    pub(super) async fn update(
        &self,
        kind: &str,
        id: &str,
        resource: Vec<u8>,
        etag: &str,
        cause: Cause,
        begin_before_ms: i64,
    ) -> Result<(), Failure> {
        let request = self
            .request(Method::PUT, &format!("{kind}/{id}"))
            .header(CONTENT_TYPE, FHIR_JSON)
            .header(IF_MATCH, etag)
            .header("prefer", "return=minimal")
            .body(resource);
        self.send(request, Effect::Writes, Some(cause), begin_before_ms)
            .await
            .map(|_| ())
    }

    /// An address under the base address.
    pub(super) fn address(&self, path: &str) -> Url {
        // A path of ours under the base address always is an address.
        self.base.join(path).unwrap_or_else(|_| self.base.clone())
    }

    /// Reads what is at an address of the partner's; `welcome` are statuses that are an answer too.
    pub(super) async fn get(&self, url: Url, welcome: &[u16]) -> Result<(u16, Vec<u8>), Failure> {
        self.get_up_to(url, welcome, BODY_MAX_BYTES).await
    }

    /// [`Partner::get`], of an answer that may be longer than others.
    pub(super) async fn get_up_to(
        &self,
        url: Url,
        welcome: &[u16],
        max_bytes: usize,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let request = self.http.get(url).header("accept", FHIR_JSON);
        let answer = self
            .answered(request, Effect::Reads, None, welcome, WHENEVER, max_bytes)
            .await?;
        Ok((answer.status, answer.body))
    }

    fn form(&self, kind: &str, form: &str) -> RequestBuilder {
        self.request(Method::POST, &format!("{kind}/_search"))
            .header(CONTENT_TYPE, FORM)
            .body(form.to_owned())
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, self.address(path))
            .header("accept", FHIR_JSON)
    }

    async fn send(
        &self,
        request: RequestBuilder,
        effect: Effect,
        cause: Option<Cause>,
        begin_before_ms: i64,
    ) -> Result<Answer, Failure> {
        self.answered(request, effect, cause, &[], begin_before_ms, BODY_MAX_BYTES)
            .await
    }

    /// `welcome` are statuses that are an answer beside those of a success.
    async fn answered(
        &self,
        request: RequestBuilder,
        effect: Effect,
        cause: Option<Cause>,
        welcome: &[u16],
        begin_before_ms: i64,
        body_max_bytes: usize,
    ) -> Result<Answer, Failure> {
        let wait_us = self.pacing().pacer.wait_us(now());
        tokio::time::sleep(Duration::from_micros(wait_us.unsigned_abs())).await;
        let request = match cause {
            Some(cause) => request.header("x-request-id", cause.correlation.to_string()),
            None => request,
        };
        let request = match self.token().await? {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        };
        if !in_time(begin_before_ms) {
            return Err(Failure::Unavailable {
                class: clinic::task::ErrorClass::Timeout,
                note: "this hub was held up before it could send".to_owned(),
                pause_ms: None,
            });
        }
        let answered = request.send().await;
        self.pacing().asked_ms = now();
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => return Err(self.not_served(of_broken(broken(&error), effect), cause)),
        };
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= body_max_bytes => body.extend_from_slice(&chunk),
                Ok(Some(_)) if effect == Effect::Reads => {
                    return Err(Failure::Unavailable {
                        class: clinic::task::ErrorClass::Unavailable,
                        note: TOO_LONG.to_owned(),
                        pause_ms: None,
                    });
                }
                Ok(Some(_) | None) => break,
                // What a write has done is said by the status alone.
                Err(_) if effect == Effect::Writes => break,
                Err(error) => return Err(self.not_served(of_broken(broken(&error), effect), cause)),
            }
        }
        if (200..300).contains(&status) || welcome.contains(&status) {
            self.served(status, cause);
            return Ok(Answer { status, headers, body });
        }
        let pause = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let pause_ms = pause.and_then(|value| retry_after_ms(value, now()));
        let failure = of_status(status, effect, pause_ms, &body);
        if let Failure::Unavailable {
            pause_ms: Some(pause_ms),
            ..
        } = &failure
        {
            let mut pacing = self.pacing();
            pacing.peace_until_ms = pacing.peace_until_ms.max(now() + pause_ms);
        }
        if is_outage(status) {
            return Err(self.not_served(failure, cause));
        }
        self.served(status, cause);
        Err(failure)
    }

    /// Read anew each time, so that it can be replaced while the hub runs.
    async fn token(&self) -> Result<Option<HeaderValue>, Failure> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let unusable = || Failure::Unavailable {
            class: clinic::task::ErrorClass::Authentication,
            note: "the token file cannot be used".to_owned(),
            pause_ms: None,
        };
        let text = Zeroizing::new(tokio::fs::read_to_string(file).await.map_err(|error| {
            tracing::error!(%error, file = %file.display(), "the EHR's token file cannot be read: check its owner and mode");
            unusable()
        })?);
        let line = text.lines().next().unwrap_or_default().trim();
        let bearer = Zeroizing::new(format!("Bearer {line}"));
        let mut value = HeaderValue::from_str(&bearer).map_err(|_| unusable())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn served(&self, status: u16, cause: Option<Cause>) {
        self.pacing().breaker.served();
        self.reach.found(true);
        if let Some(cause) = cause {
            let Cause {
                task,
                correlation,
                attempt,
            } = cause;
            tracing::debug!(%task, %correlation, attempt, status, "the EHR answered");
        }
    }

    fn not_served(&self, failure: Failure, cause: Option<Cause>) -> Failure {
        self.pacing().breaker.not_served(now());
        self.reach.found(false);
        let (class, note) = match &failure {
            Failure::Refused { class, note }
            | Failure::Unavailable { class, note, .. }
            | Failure::Unknown { class, note } => (class.word(), note.as_str()),
            Failure::Conflict { note } => ("conflict", note.as_str()),
        };
        match cause {
            Some(Cause {
                task,
                correlation,
                attempt,
            }) => {
                tracing::warn!(%task, %correlation, attempt, class, note, "the EHR did not serve a request");
            }
            None => tracing::debug!(class, note, "the EHR did not serve a probe"),
        }
        failure
    }

    fn pacing(&self) -> std::sync::MutexGuard<'_, Pacing> {
        self.pacing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether text is what R4 allows as a resource's id, and so can stand in an address.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && !text.starts_with('.')
}

pub(super) fn now() -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX)
}

fn unreadable() -> Failure {
    Failure::Unavailable {
        class: clinic::task::ErrorClass::Unavailable,
        note: "an answer that is not FHIR".to_owned(),
        pause_ms: None,
    }
}

fn broken(error: &reqwest::Error) -> Broken {
    if error.is_connect() {
        Broken::NotConnected
    } else if error.is_timeout() {
        Broken::TimedOut
    } else {
        Broken::CutOff
    }
}
