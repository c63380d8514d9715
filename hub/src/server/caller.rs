//! Who asks, and whether this request is theirs: the agent that the certificate names, or the one whose key signed, if the
//! store knows it by that. A request that is signed is refused when anything of it was altered and when its number was used
//! before; an agent that has a key is not served without its signature.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ring::digest::{SHA256, digest};
use sync_protocol::ScopeId;
use sync_protocol::request_signature::{
    Channel, Claimed, DIGEST_HEADER, INPUT_HEADER, KeyName, NUMBER_HEADER, SIGNATURE_HEADER,
};
use sync_protocol::wire::BODY_MAX_BYTES;
use uuid::Uuid;
use vault::request_key::is_signed;

use super::App;
use super::body;
use super::peer::Certificate;
use super::refusal::Refusal;
use super::sealed::Enclosed;
use crate::db::{Db, Enrolment, Txn};

/// Whoever sent a request that was found to be theirs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    pub(crate) organisation: [u8; 16],
    pub(crate) agent: Uuid,
    certificate: Option<Certificate>,
    /// Channel and number, when it is signed.
    signed: Option<(Channel, u64)>,
    enclosed: bool,
}

impl Caller {
    /// The scope of the agent's site. Asked for in every transaction, so that a revocation holds at once.
    pub(crate) fn site(&self, txn: &mut Txn<'_>) -> Result<ScopeId, Refusal> {
        let enrolment = self.enrolment(txn)?;
        if self.certificate.is_some_and(|certificate| certificate.has_expired()) {
            return Err(Refusal::CertificateExpired);
        }
        if self.certificate.is_none() && !self.enclosed {
            return Err(Refusal::NoCertificate);
        }
        if let Some((channel, number)) = self.signed {
            let newest = txn.newest_request(self.agent.into_bytes(), channel)?;
            if number < newest {
                return Err(Refusal::Replayed { newest });
            }
        }
        Ok(enrolment.scope)
    }

    /// The enrolment of whoever asks, whatever the dates of their certificate.
    pub(super) fn enrolment(&self, txn: &mut Txn<'_>) -> Result<Enrolment, Refusal> {
        if txn.organisation().org != self.organisation {
            return Err(Refusal::UnknownAgent);
        }
        let enrolment = txn.enrolment(self.agent.into_bytes())?.ok_or(Refusal::UnknownAgent)?;
        if enrolment.revoked {
            return Err(Refusal::Revoked);
        }
        if let Some(certificate) = &self.certificate {
            let is_known = certificate.fingerprint == enrolment.certificate
                || Some(certificate.fingerprint) == enrolment.certificate_before;
            if !is_known || enrolment.scope.0 != certificate.names.site.into_bytes() {
                return Err(Refusal::UnknownAgent);
            }
        }
        if enrolment.request_key.is_some() && self.signed.is_none() {
            return Err(Refusal::Unsigned);
        }
        if self.enclosed && !txn.allows_inspection(enrolment.scope)? {
            return Err(Refusal::InspectionNotAllowed);
        }
        Ok(enrolment)
    }

    /// Uses the request's number up, in the transaction of what the request changes. Once in each request.
    pub(crate) fn count(&self, txn: &mut Txn<'_>) -> Result<(), Refusal> {
        let Some((channel, number)) = self.signed else {
            return Ok(());
        };
        let agent = self.agent.into_bytes();
        if txn.use_request(agent, channel, number)? {
            return Ok(());
        }
        let newest = txn.newest_request(agent, channel)?;
        // Of the newest it is known that it was used; a smaller one may have been overtaken on its way.
        Err(if newest == number {
            Refusal::Reused { newest }
        } else {
            Refusal::Replayed { newest }
        })
    }

    pub(super) fn is_signed(&self) -> bool {
        self.signed.is_some()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Caller, Refusal> {
        std::future::ready(parts.extensions.get::<Caller>().copied().ok_or(Refusal::NoCertificate)).await
    }
}

/// The newest number that this process has seen of each agent and channel, and the last few. What changes nothing is not
/// committed, so this is what keeps it from being answered twice.
#[derive(Default)]
pub(super) struct SeenNumbers(Mutex<BTreeMap<(KeyName, Channel), BTreeSet<u64>>>);

/// So many numbers of a channel are remembered one by one, to tell one that came twice from one that was overtaken.
const NUMBERS_REMEMBERED: usize = 64;

impl SeenNumbers {
    fn note(&self, key: KeyName, channel: Channel, number: u64) -> Result<(), Refusal> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = seen.entry((key, channel)).or_default();
        let newest = numbers.last().copied().unwrap_or_default();
        if numbers.contains(&number) {
            return Err(Refusal::Reused { newest });
        }
        if number <= newest {
            return Err(Refusal::Replayed { newest });
        }
        numbers.insert(number);
        if numbers.len() > NUMBERS_REMEMBERED {
            numbers.pop_first();
        }
        Ok(())
    }
}

/// Numbers that came twice, agent by agent: when it was last written down, and how many came since.
#[derive(Default)]
pub(super) struct ReusedNumbers(Mutex<BTreeMap<KeyName, (Instant, u64)>>);

/// Whoever sends a request again and again is not to make the hub write as often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

impl ReusedNumbers {
    /// How many are to be written down now, if it is time.
    fn due(&self, key: KeyName) -> Option<u64> {
        let mut reused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match reused.get_mut(&key) {
            Some((told, since)) if now.duration_since(*told) < TOLD_EVERY => {
                *since += 1;
                None
            }
            Some((told, since)) => {
                *told = now;
                Some(1 + std::mem::take(since))
            }
            None => {
                reused.insert(key, (now, 0));
                Some(1)
            }
        }
    }
}

/// In an answer: the request's number was used before.
#[derive(Clone)]
pub(super) struct CameTwice;

/// Tells the operator of a number that came twice.
async fn tell_of_reuse(app: &App, db: &Db, key: KeyName) {
    let Some(times) = app.0.reused.due(key) else { return };
    tracing::error!(
        agent = %Uuid::from_bytes(key.agent), times,
        "security: a request came under a number that this agent had used before, and was refused: it was sent again by \
         somebody, or the agent's key is in use elsewhere"
    );
    let noted = db.write(move |txn| txn.note_reused_number(key.agent, times)).await;
    if let Err(error) = noted {
        tracing::error!(%error, "a request number that came twice could not be written down");
    }
}

/// Finds out who asks before a handler sees the request.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Result<Response, Refusal> {
    let certificate = request.extensions().get::<Certificate>().copied();
    let enclosed = request.extensions().get::<Enclosed>().is_some();
    let Some(claimed) = claimed(request.headers())? else {
        let certificate = certificate.ok_or(Refusal::NoCertificate)?;
        let caller = Caller {
            organisation: certificate.names.organisation.into_bytes(),
            agent: certificate.names.agent,
            certificate: Some(certificate),
            signed: None,
            enclosed,
        };
        return Ok(pass(request, caller, next).await);
    };
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let base = claimed.signed(request.method().as_str(), &target).base();
    let is_own = certificate.is_none_or(|certificate| {
        certificate.names.organisation.as_bytes() == &claimed.key.organisation
            && certificate.names.agent.as_bytes() == &claimed.key.agent
    });
    if !is_own {
        return Err(Refusal::BadSignature);
    }
    let agent = claimed.key.agent;
    let db = app.organisation(claimed.key.organisation).await?;
    let key = db.read(move |txn| Ok::<_, Refusal>(txn.request_key(agent)?)).await?;
    let signed = match key {
        Some(key) if is_signed(&key, base.as_bytes(), &claimed.signature) => Some((claimed.channel, claimed.number)),
        Some(_) => return Err(Refusal::BadSignature),
        // A key that the hub does not have proves nothing; the certificate may.
        None if certificate.is_some() => None,
        None => return Err(Refusal::UnknownAgent),
    };
    let caller = Caller {
        organisation: claimed.key.organisation,
        agent: Uuid::from_bytes(agent),
        certificate,
        signed,
        enclosed,
    };
    let (parts, body) = request.into_parts();
    let within = Duration::from_secs(app.0.config.body_timeout_secs);
    let body = body::read(body, BODY_MAX_BYTES, within).await?;
    if signed.is_some() && digest(&SHA256, &body).as_ref() != claimed.digest {
        return Err(Refusal::BadSignature);
    }
    let seen = match signed {
        Some((channel, number)) => app.0.numbers.note(claimed.key, channel, number),
        None => Ok(()),
    };
    let response = match seen {
        Ok(()) => pass(Request::from_parts(parts, Body::from(body)), caller, next).await,
        Err(refusal) => refusal.into_response(),
    };
    if response.extensions().get::<CameTwice>().is_some() {
        tell_of_reuse(&app, &db, claimed.key).await;
    }
    Ok(response)
}

async fn pass(mut request: Request, caller: Caller, next: Next) -> Response {
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// What the headers claim: nothing, or everything and in its one form.
fn claimed(headers: &HeaderMap) -> Result<Option<Claimed>, Refusal> {
    let value = |name: &'static str| {
        let mut values = headers.get_all(HeaderName::from_static(name)).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value.and_then(|value| value.to_str().ok())),
            (_, Some(_)) => Err(Refusal::BadSignature),
        }
    };
    let claims = (
        value(DIGEST_HEADER)?,
        value(NUMBER_HEADER)?,
        value(INPUT_HEADER)?,
        value(SIGNATURE_HEADER)?,
    );
    match claims {
        (_, None, None, None) => Ok(None),
        (Some(digest), Some(number), Some(input), Some(signature)) => {
            let claimed = Claimed::parse(digest, number, input, signature);
            claimed.map(Some).ok_or(Refusal::BadSignature)
        }
        (_, _, _, _) => Err(Refusal::BadSignature),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_seen_once_on_its_channel() {
        let seen = SeenNumbers::default();
        let key = KeyName {
            organisation: [1; 16],
            agent: [2; 16],
        };

        assert_eq!(seen.note(key, Channel::Exchange, 7), Ok(()));
        assert_eq!(seen.note(key, Channel::Exchange, 7), Err(Refusal::Reused { newest: 7 }));
        assert_eq!(
            seen.note(key, Channel::Exchange, 6),
            Err(Refusal::Replayed { newest: 7 })
        );
        assert_eq!(seen.note(key, Channel::Probe, 6), Ok(()));
        assert_eq!(seen.note(key, Channel::Exchange, 8), Ok(()));
    }

    #[test]
    fn a_number_that_keeps_coming_is_written_down_once_in_a_while() {
        let reused = ReusedNumbers::default();
        let key = KeyName {
            organisation: [1; 16],
            agent: [2; 16],
        };

        assert_eq!(
            [reused.due(key), reused.due(key), reused.due(key)],
            [Some(1), None, None]
        );
    }

    #[test]
    fn headers_claim_everything_once_or_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(claimed(&headers), Ok(None));

        headers.insert(SIGNATURE_HEADER, "mainstay=:AAAA:".parse().unwrap());
        assert_eq!(claimed(&headers), Err(Refusal::BadSignature));

        headers.append(SIGNATURE_HEADER, "mainstay=:AAAA:".parse().unwrap());
        assert_eq!(claimed(&headers), Err(Refusal::BadSignature));
    }
}
