//! How a request gets to the hub: signed by this agent's key, over mutual TLS, straight or through a CONNECT proxy. Where a
//! proxy reads the line, the request is sealed to the hub's key, if the hub's authority vouches for that and the hub
//! allows it. Where only dates stand between the two ends, the hub is asked for the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, Proxy, StatusCode};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use sync_protocol::enclosed::{EnclosedReply, EnclosedRequest, about};
use sync_protocol::request_signature::{
    Channel, DIGEST_HEADER, INPUT_HEADER, KeyName, NUMBER_HEADER, SIGNATURE_HEADER, Signed, signature_value,
};
use vault::authority::is_signed_by;
use vault::envelope::{self, time_bytes, vouched_bytes};
use vault::tls::{Observed, client_config_at_any_date, client_config_of, client_config_untrusting};
use vault::{Identity, RequestKey};
use zeroize::Zeroizing;

use super::{ANSWER_MAX_BYTES, HubError, Refusal};
use crate::clock;

/// After so long on a sealed line, the straight one is tried again: the proxy may have stopped reading it.
const STRAIGHT_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);
const ASIDE_TIMEOUT: Duration = Duration::from_secs(10);
const SEALED_ROUTE: &str = "/sealed";

/// A CONNECT proxy, and what it wants to know before it lets anybody through.
#[derive(Clone)]
pub struct ProxyWay {
    pub url: String,
    pub credentials: Option<Arc<Zeroizing<String>>>,
}

/// Who this agent is to the hub, and whom it takes for the hub.
pub struct Credentials {
    pub authorities: Vec<CertificateDer<'static>>,
    pub identity: Identity,
    pub signer: Option<(KeyName, RequestKey)>,
}

/// A request before it is numbered and signed.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) channel: Channel,
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) timeout: Timeout,
}

/// When an answer counts as lost.
#[derive(Clone, Copy)]
pub(super) struct Timeout {
    /// For all of it.
    whole: Duration,
    /// Between one piece of it and the next: what is large comes slowly on a slow line, and is not lost while it comes.
    silence: Option<Duration>,
}

impl Timeout {
    pub(super) fn of_silence(silence: Duration, whole: Duration) -> Timeout {
        Timeout {
            whole,
            silence: Some(silence),
        }
    }

    async fn next_piece<T>(self, piece: impl Future<Output = reqwest::Result<T>>) -> Result<T, HubError> {
        match self.silence {
            Some(silence) => tokio::time::timeout(silence, piece)
                .await
                .map_err(|_| HubError::NotReached)?
                .map_err(HubError::from),
            None => piece.await.map_err(HubError::from),
        }
    }
}

impl From<Duration> for Timeout {
    fn from(whole: Duration) -> Timeout {
        Timeout { whole, silence: None }
    }
}

/// An answer as it came, whatever it says.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

pub(super) struct Contact {
    url: String,
    proxy: Option<ProxyWay>,
    observed: Arc<Observed>,
    straight: RwLock<Arc<Straight>>,
    sealed: RwLock<Option<Sealed>>,
    next_number: AtomicU64,
    /// The newest number that the hub had seen and this agent had not given, or 0.
    surpassed_by: AtomicU64,
}

struct Straight {
    client: Client,
    authorities: Vec<CertificateDer<'static>>,
    signer: Option<(KeyName, RequestKey)>,
}

#[derive(Clone)]
struct Sealed {
    hub: [u8; 32],
    client: Client,
    since: Instant,
}

impl Contact {
    pub(super) fn new(
        url: &str,
        proxy: Option<ProxyWay>,
        credentials: Credentials,
        first_number: u64,
    ) -> Result<Contact, HubError> {
        let observed = Arc::new(Observed::default());
        let straight = straight(credentials, proxy.as_ref(), &observed)?;
        Ok(Contact {
            url: url.trim_end_matches('/').to_owned(),
            proxy,
            observed,
            straight: RwLock::new(Arc::new(straight)),
            sealed: RwLock::new(None),
            next_number: AtomicU64::new(first_number.max(1)),
            surpassed_by: AtomicU64::new(0),
        })
    }

    /// Goes on with a newer certificate, key or other authorities.
    pub(super) fn take(&self, credentials: Credentials) -> Result<(), HubError> {
        let straight = straight(credentials, self.proxy.as_ref(), &self.observed)?;
        *self.straight.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(straight);
        Ok(())
    }

    fn straight(&self) -> Arc<Straight> {
        Arc::clone(&self.straight.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn sealed(&self) -> Option<Sealed> {
        let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner).clone();
        sealed.filter(|sealed| sealed.since.elapsed() < STRAIGHT_AGAIN_AFTER)
    }

    fn set_sealed(&self, sealed: Option<Sealed>) {
        *self.sealed.write().unwrap_or_else(PoisonError::into_inner) = sealed;
    }

    /// Who reads the line, by the name in the certificate that was shown instead of the hub's.
    pub(super) fn inspected_by(&self) -> Option<String> {
        let unnamed = || "an authority without a name".to_owned();
        self.sealed()
            .map(|_| self.observed.foreign_issuer().unwrap_or_else(unnamed))
    }

    /// By how much this clock was found to be behind the hub's, in seconds, when no certificate fitted it.
    pub(super) fn clock_correction_secs(&self) -> i64 {
        self.observed.correction_secs()
    }

    pub(super) fn proxy_url(&self) -> Option<&str> {
        self.proxy.as_ref().map(|proxy| proxy.url.as_str())
    }

    pub(super) fn authorities(&self) -> Vec<CertificateDer<'static>> {
        self.straight().authorities.clone()
    }

    /// The newest number that the hub took from somebody else with this agent's key, once.
    pub(super) fn take_surpassed(&self) -> Option<u64> {
        Some(self.surpassed_by.swap(0, Ordering::Relaxed)).filter(|newest| *newest > 0)
    }

    /// Asks, and overcomes what stands between where that is allowed: a wrong clock, a proxy that reads along, a number that
    /// was used. Each once.
    pub(super) async fn ask(&self, question: &Question) -> Result<Answer, HubError> {
        match self.ask_numbered(question).await {
            Err(HubError::Dates) => {
                self.learn_time().await?;
                self.ask_numbered(question).await
            }
            Err(HubError::WrongAuthority { issuer }) => {
                let Some(sealed) = self.vouched_line().await else {
                    return Err(HubError::WrongAuthority { issuer });
                };
                self.set_sealed(Some(sealed));
                self.unless_refused(self.ask_numbered(question).await)
            }
            answered => self.unless_refused(answered),
        }
    }

    /// A sealed line that the hub does not allow, or no longer, is given up.
    fn unless_refused(&self, answered: Result<Answer, HubError>) -> Result<Answer, HubError> {
        if let Ok(answer) = &answered
            && refusal_code(answer).as_deref() == Some("inspection_not_allowed")
        {
            self.set_sealed(None);
            return Err(HubError::Inspected {
                issuer: self.observed.foreign_issuer(),
            });
        }
        answered
    }

    async fn ask_numbered(&self, question: &Question) -> Result<Answer, HubError> {
        let answer = self.ask_once(question).await?;
        if answer.status != StatusCode::CONFLICT {
            return Ok(answer);
        }
        let newest = serde_json::from_slice::<Refusal>(&answer.body)
            .ok()
            .and_then(|refusal| refusal.newest);
        let Some(newest) = newest else { return Ok(answer) };
        // A number that another request of ours overtook is nothing; one that this store never gave is.
        let given = self.next_number.fetch_max(newest.saturating_add(1), Ordering::Relaxed);
        if newest >= given {
            self.surpassed_by.store(newest, Ordering::Relaxed);
        }
        self.ask_once(question).await
    }

    async fn ask_once(&self, question: &Question) -> Result<Answer, HubError> {
        let straight = self.straight();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut headers = question.headers.clone();
        if let Some((name, key)) = &straight.signer {
            headers.extend(signature_headers(question, *name, key, number));
        }
        match self.sealed() {
            Some(sealed) => self.ask_sealed(&sealed, question, headers, number).await,
            None => {
                let url = format!("{}{}", self.url, question.target);
                let mut request = straight.client.request(question.method.clone(), url);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                let request = request.body(question.body.clone());
                received(request, question.timeout)
                    .await
                    .map_err(|error| self.named(error))
            }
        }
    }

    /// Straight, showing no certificate; who asks, the signature says. The renewal route alone answers to that.
    pub(super) async fn ask_without_certificate(&self, question: &Question) -> Result<Answer, HubError> {
        let straight = self.straight();
        let tls =
            client_config_of(&straight.authorities, None, Arc::clone(&self.observed)).map_err(|_| HubError::Setup)?;
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut request = build(tls, self.proxy.as_ref())?
            .request(question.method.clone(), format!("{}{}", self.url, question.target))
            .body(question.body.clone());
        let (name, key) = straight.signer.as_ref().ok_or(HubError::Setup)?;
        let signed = signature_headers(question, *name, key, number);
        for (name, value) in question.headers.iter().chain(&signed) {
            request = request.header(*name, value);
        }
        received(request, question.timeout).await
    }

    async fn ask_sealed(
        &self,
        sealed: &Sealed,
        question: &Question,
        headers: Vec<(&'static str, String)>,
        number: u64,
    ) -> Result<Answer, HubError> {
        let enclosed = EnclosedRequest {
            method: question.method.as_str().to_owned(),
            target: question.target.clone(),
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body: question.body.clone(),
        };
        let sending = Sending {
            client: &sealed.client,
            hub: &sealed.hub,
            url: &self.url,
            number: format!("{}.{number}", question.channel as u8),
            timeout: question.timeout,
        };
        sending.send(&enclosed).await
    }

    /// Adds whose certificate it was that did not fit.
    fn named(&self, error: HubError) -> HubError {
        if matches!(error, HubError::WrongAuthority { .. }) {
            return HubError::WrongAuthority {
                issuer: self.observed.foreign_issuer(),
            };
        }
        error
    }

    /// The sealed line, if what answers is our hub behind whatever reads along: its authority vouches for the key.
    async fn vouched_line(&self) -> Option<Sealed> {
        let authorities = self.authorities();
        let (client, vouched) = ask_for_key(&self.url, self.proxy.as_ref(), &self.observed).await.ok()?;
        let hub = vouched.key_vouched_by(|der| authorities.iter().any(|known| known.as_ref() == der))?;
        Some(Sealed {
            hub,
            client,
            since: Instant::now(),
        })
    }

    /// Takes the time from the hub, signed for this very question by the authority that this agent trusts.
    async fn learn_time(&self) -> Result<(), HubError> {
        let authorities = self.authorities();
        let tls = client_config_at_any_date(&authorities, Arc::clone(&self.observed)).map_err(|_| HubError::Setup)?;
        let client = build(tls, self.proxy.as_ref())?;
        let mut nonce = [0; 16];
        SystemRandom::new().fill(&mut nonce).map_err(|_| HubError::Setup)?;
        let asked_ms = clock::now_ms();
        let url = format!("{}/time/{}", self.url, data_encoding::HEXLOWER.encode(&nonce));
        let answer = received(client.get(url), ASIDE_TIMEOUT.into()).await?;
        let told: SignedTime = serde_json::from_slice(&answer.body).map_err(|_| HubError::Dates)?;
        let signature = data_encoding::BASE64
            .decode(told.signature.as_bytes())
            .map_err(|_| HubError::Dates)?;
        let signed = time_bytes(&nonce, told.hub_ms);
        if !authorities.iter().any(|der| is_signed_by(der, &signed, &signature)) {
            return Err(HubError::Dates);
        }
        let here_ms = asked_ms.midpoint(clock::now_ms());
        let hub_ms = i64::try_from(told.hub_ms).unwrap_or(i64::MAX);
        let behind_secs = hub_ms.saturating_sub(here_ms) / 1_000;
        tracing::error!(
            behind_secs,
            "this machine's clock is so wrong that no certificate fits it; the hub's time is taken for the line"
        );
        self.observed.correct_clock_by(behind_secs);
        Ok(())
    }
}

#[derive(Deserialize)]
struct SignedTime {
    hub_ms: u64,
    signature: String,
}

/// The key that the hub wants bodies sealed to, and who vouches for it.
#[derive(Deserialize)]
pub(super) struct VouchedKey {
    key: String,
    signature: String,
    authority: String,
}

impl VouchedKey {
    /// The key, if an authority that is known signed it.
    pub(super) fn key_vouched_by(&self, is_known: impl Fn(&[u8]) -> bool) -> Option<[u8; 32]> {
        let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).ok();
        let authority = CertificateDer::from_pem_slice(self.authority.as_bytes()).ok()?;
        let key: [u8; 32] = decode(&self.key)?.try_into().ok()?;
        let is_vouched =
            is_known(&authority) && is_signed_by(&authority, &vouched_bytes(&key), &decode(&self.signature)?);
        is_vouched.then_some(key)
    }
}

/// Asks whatever stands at the address for the hub's key; nothing of this agent is said.
pub(super) async fn ask_for_key(
    url: &str,
    proxy: Option<&ProxyWay>,
    observed: &Arc<Observed>,
) -> Result<(Client, VouchedKey), HubError> {
    let tls = client_config_untrusting(Arc::clone(observed)).map_err(|_| HubError::Setup)?;
    let client = build(tls, proxy)?;
    let answer = received(client.get(format!("{url}/sealing-key")), ASIDE_TIMEOUT.into()).await?;
    let vouched = serde_json::from_slice(&answer.body).map_err(|_| HubError::Unreadable)?;
    Ok((client, vouched))
}

/// One sealed request.
pub(super) struct Sending<'a> {
    pub(super) client: &'a Client,
    pub(super) hub: &'a [u8; 32],
    pub(super) url: &'a str,
    pub(super) number: String,
    pub(super) timeout: Timeout,
}

impl Sending<'_> {
    pub(super) async fn send(&self, enclosed: &EnclosedRequest) -> Result<Answer, HubError> {
        let about = about("POST", SEALED_ROUTE, &self.number);
        let (body, reply_key) = envelope::seal(self.hub, &enclosed.encode(), &about).map_err(|_| HubError::Setup)?;
        let request = self
            .client
            .post(format!("{}{SEALED_ROUTE}", self.url))
            .header(NUMBER_HEADER, &self.number)
            .header("content-type", "application/octet-stream")
            .body(body);
        let outer = received(request, self.timeout).await?;
        if !outer.status.is_success() {
            // Not under seal, so not known to be the hub's own words: a reason to wait, and no more.
            return Err(HubError::NotReached);
        }
        let plain = reply_key.open(&outer.body, &about).map_err(|_| HubError::Unreadable)?;
        let reply = EnclosedReply::decode(&plain).map_err(|_| HubError::Unreadable)?;
        Ok(Answer {
            status: StatusCode::from_u16(reply.status).map_err(|_| HubError::Unreadable)?,
            headers: reply.headers,
            body: reply.body,
        })
    }
}

fn straight(
    credentials: Credentials,
    proxy: Option<&ProxyWay>,
    observed: &Arc<Observed>,
) -> Result<Straight, HubError> {
    let Credentials {
        authorities,
        identity,
        signer,
    } = credentials;
    let tls = client_config_of(&authorities, Some(&identity), Arc::clone(observed)).map_err(|_| HubError::Setup)?;
    Ok(Straight {
        client: build(tls, proxy)?,
        authorities,
        signer,
    })
}

fn signature_headers(
    question: &Question,
    key: KeyName,
    signer: &RequestKey,
    number: u64,
) -> [(&'static str, String); 4] {
    let mut body_digest = [0; 32];
    body_digest.copy_from_slice(digest(&SHA256, &question.body).as_ref());
    let signed = Signed {
        method: question.method.as_str(),
        target: &question.target,
        digest: body_digest,
        channel: question.channel,
        number,
        key,
    };
    let signature = signer.sign(signed.base().as_bytes());
    [
        (DIGEST_HEADER, signed.digest_value()),
        (NUMBER_HEADER, signed.number_value()),
        (INPUT_HEADER, signed.input_value()),
        (SIGNATURE_HEADER, signature_value(&signature)),
    ]
}

pub(super) fn build(tls: rustls::ClientConfig, proxy: Option<&ProxyWay>) -> Result<Client, HubError> {
    // Only the proxy that the settings name; one that the surroundings of the process name would come unasked.
    let mut builder = Client::builder().no_proxy();
    if let Some(way) = proxy {
        let mut proxy = Proxy::all(&way.url).map_err(|_| HubError::Setup)?;
        if let Some(credentials) = &way.credentials {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            proxy = proxy.basic_auth(user, password);
        }
        builder = builder.proxy(proxy);
    }
    builder
        .tls_backend_preconfigured(tls)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(2)
        .build()
        .map_err(|_| HubError::Setup)
}

/// Sends a request and takes in the answer, as long as it is small enough and keeps coming.
pub(super) async fn received(request: reqwest::RequestBuilder, timeout: Timeout) -> Result<Answer, HubError> {
    let mut response = timeout.next_piece(request.timeout(timeout.whole).send()).await?;
    let status = response.status();
    let headers = response.headers().iter();
    let headers = headers
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let mut body = Vec::new();
    while let Some(chunk) = timeout.next_piece(response.chunk()).await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX_BYTES {
            return Err(HubError::Unreadable);
        }
    }
    Ok(Answer { status, headers, body })
}

fn refusal_code(answer: &Answer) -> Option<String> {
    if answer.status.is_success() {
        return None;
    }
    serde_json::from_slice::<Refusal>(&answer.body)
        .ok()
        .map(|refusal| refusal.error)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const PIECES: usize = 8;
    const PAUSE: Duration = Duration::from_millis(400);

    /// A far end that answers each question with so many pieces, each after a pause, of an answer of `PIECES`.
    async fn slow(pieces: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut line, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut asked = [0; 1024];
                    assert!(line.read(&mut asked).await.unwrap() > 0);
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {PIECES}\r\n\r\n");
                    line.write_all(head.as_bytes()).await.unwrap();
                    let mut pace = tokio::time::interval(PAUSE);
                    for _ in 0..pieces {
                        pace.tick().await;
                        line.write_all(b"x").await.unwrap();
                    }
                    // It stays open: whatever else there was to come is lost.
                    assert_eq!(line.read(&mut asked).await.unwrap_or(0), 0);
                });
            }
        });
        url
    }

    async fn ask(url: &str, timeout: Timeout) -> Result<Answer, HubError> {
        vault::tls::install_provider();
        let client = Client::builder().no_proxy().build().unwrap();
        received(client.get(url), timeout).await
    }

    #[tokio::test]
    async fn an_answer_that_keeps_coming_is_not_lost_however_slow_the_line() {
        let url = slow(PIECES).await;
        let patient = Timeout::of_silence(4 * PAUSE, Duration::from_secs(60));

        let taken = ask(&url, patient).await.unwrap();
        let given_up = ask(&url, Timeout::from(4 * PAUSE)).await;

        assert_eq!(taken.body, [b'x'; PIECES]);
        assert!(matches!(given_up, Err(HubError::NotReached)));
    }

    #[tokio::test]
    async fn an_answer_that_stops_coming_is_lost_and_so_is_one_that_never_ends() {
        let stops = slow(PIECES / 2).await;
        let begun = Instant::now();

        let silent = ask(&stops, Timeout::of_silence(4 * PAUSE, Duration::from_secs(60))).await;

        assert!(matches!(silent, Err(HubError::NotReached)));
        assert!(begun.elapsed() < Duration::from_secs(30));
        let endless = ask(&slow(PIECES).await, Timeout::of_silence(4 * PAUSE, 3 * PAUSE)).await;
        assert!(matches!(endless, Err(HubError::NotReached)));
    }
}
