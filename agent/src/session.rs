//! What the agent settles with the hub apart from records: the handshake that begins a session, the authorities that are to
//! be trusted, and its own certificate, which it renews long before that runs out.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sync_protocol::handshake::{About, Hello, Range, feature};
use tokio_util::sync::CancellationToken;
use vault::authority::CERTIFICATE_VALID_DAYS;
use vault::identity::validity;
use vault::{ClientKey, RequestKey};

use crate::enrolment::{self, Enrolment};
use crate::hub_client::{HubClient, HubError};
use crate::line::{Asked, HubAbout, Line, LineState, LineWatch, Trouble};
use crate::store::{Priority, ReadError, Store, TxError, WriteError};
use crate::{clock, policies};

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

const DAY_SECS: i64 = 24 * 60 * 60;
/// Certificates are valid 90 days and renewed at 30, so that 60 are left when a line is cut.
const RENEW_AT_DAYS: i64 = 30;
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// After trouble that a renewal may end, it is tried no more often than this.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// What a refusal is left time for, so that a hub that goes on refusing is not pressed.
const AFTER_REFUSAL: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why the hub and this agent could not settle something.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError<TxError>),
    #[error("the hub's answer lacks {0}")]
    Answer(&'static str),
    #[error("no key could be made for this agent")]
    Key,
}

fn about() -> About {
    About {
        range: Range::OWN,
        features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        schema: u64::from(clinic::catalogue::VERSION),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Begins a session: each end says what it speaks and knows.
pub async fn greet(store: &Store, hub: &HubClient, line: &LineWatch) -> Result<(), SessionError> {
    let policies = store
        .read(|tx| match Enrolment::read(tx)? {
            Some(enrolment) => policies::all(tx, &enrolment),
            None => Ok(Vec::new()),
        })
        .await?;
    let hello = Hello {
        about: about(),
        policies: policies
            .into_iter()
            .map(|policy| (policy.name, policy.version.max(0).cast_unsigned()))
            .collect(),
        agent_ms: clock::now_ms().max(0).cast_unsigned(),
    };
    let asked = Asked::now();
    let Some(welcome) = hub.hello(&hello, TIMEOUT).await? else {
        line.update(|line| line.hub = Some(HubAbout::of_first_version()));
        return Ok(());
    };
    let both = |feature: &&String| hello.about.has(feature);
    let known = HubAbout {
        version: welcome.about.version.clone(),
        protocol: welcome.protocol,
        schema: welcome.about.schema,
        features: welcome.about.features.iter().filter(both).cloned().collect(),
    };
    line.update(|line| {
        line.hub = Some(known.clone());
        line.note_hub_clock(asked, i64::try_from(welcome.hub_ms).unwrap_or(i64::MAX));
        line.reconnect_window_ms = welcome.reconnect_window_ms;
    });
    trust(store, hub, welcome.authorities).await
}

/// Takes over which authorities are to be trusted. What says so is the hub, on a line that one of the known ones secures.
async fn trust(store: &Store, hub: &HubClient, told: Vec<Vec<u8>>) -> Result<(), SessionError> {
    let told: Vec<CertificateDer<'static>> = told.into_iter().map(CertificateDer::from).collect();
    if told.is_empty() || told == hub.authorities() {
        return Ok(());
    }
    // One that cannot be read would leave this agent with nobody to trust.
    if told.iter().any(|authority| validity(authority).is_none()) {
        return Err(SessionError::Answer("authorities that can be read"));
    }
    let kept = told.clone();
    store
        .write(Priority::Sync, move |tx| enrolment::keep_authorities(tx, &kept))
        .await?;
    tracing::info!(authorities = told.len(), "the hub's authorities have changed");
    take_up(store, hub).await
}

/// Goes on with what the store has now.
async fn take_up(store: &Store, hub: &HubClient) -> Result<(), SessionError> {
    let credentials = store.read(enrolment::credentials).await?;
    let credentials = credentials.ok_or(SessionError::Answer("an enrolment"))?;
    Ok(hub.take(credentials)?)
}

/// Renews the certificate when it is due, and at once when the hub refuses it for its age.
pub async fn keep_certified(store: Store, hub: HubClient, line: LineWatch, stop: CancellationToken) {
    let mut changes = line.subscribe();
    loop {
        let settled = match renew_if_due(&store, &hub, &line).await {
            Ok(()) => greet_again(&store, &hub, &line).await,
            Err(error) => Err(error),
        };
        let wait = match settled {
            Ok(()) => LOOK_EVERY,
            Err(error) => {
                tracing::debug!(%error, "the certificate could not be renewed yet");
                TRY_AGAIN_AFTER
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            () = refused_for_age(&mut changes) => {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(AFTER_REFUSAL) => {}
                }
            }
        }
    }
}

/// An agent may run for months: what is settled at the start of a session is looked at again now and then.
async fn greet_again(store: &Store, hub: &HubClient, line: &LineWatch) -> Result<(), SessionError> {
    match line.now().state {
        LineState::Connected | LineState::Slow => greet(store, hub, line).await,
        LineState::Starting | LineState::CutOff | LineState::Held => Ok(()),
    }
}

/// Ends when the hub has come to refuse this agent for the age of its certificate.
async fn refused_for_age(changes: &mut tokio::sync::watch::Receiver<Line>) {
    while !has_expired(&changes.borrow_and_update()) {
        if changes.changed().await.is_err() {
            // Nobody is left to tell; the clock alone decides.
            return std::future::pending().await;
        }
    }
}

fn has_expired(line: &Line) -> bool {
    // The second is of an authority that the hub no longer trusts: whoever was away that long is certified anew as well.
    let codes = ["certificate_expired", "certificate_refused"];
    matches!(&line.trouble, Some(Trouble::Refused { code, .. }) if codes.contains(&code.as_str()))
}

async fn renew_if_due(store: &Store, hub: &HubClient, line: &LineWatch) -> Result<(), SessionError> {
    let (certificate, signs) = store
        .read(|tx| {
            let enrolment = Enrolment::read(tx)?.ok_or(TxError::Damaged { what: "the enrolment" })?;
            Ok::<_, TxError>((enrolment.certificate, enrolment::signs(tx)?))
        })
        .await?;
    let now_secs = clock::now_ms() / 1_000 + hub.clock_correction_secs();
    let line = line.now();
    let is_due = !signs || is_due(&certificate, now_secs) || has_expired(&line);
    if line.state == LineState::Held || !is_due {
        return Ok(());
    }
    renew(store, hub).await
}

fn is_due(certificate: &CertificateDer<'_>, now_secs: i64) -> bool {
    let Some(dates) = validity(certificate) else {
        return true;
    };
    let issued = dates.not_after - CERTIFICATE_VALID_DAYS * DAY_SECS;
    now_secs >= issued + RENEW_AT_DAYS * DAY_SECS || now_secs < dates.not_before
}

async fn renew(store: &Store, hub: &HubClient) -> Result<(), SessionError> {
    let keys = store
        .read(|tx| Ok::<_, TxError>((enrolment::client_key(tx)?, enrolment::request_key(tx)?)))
        .await?;
    let client: ClientKey = keys.0.ok_or(SessionError::Key)?;
    let request_key = match keys.1 {
        Some(key) => key,
        None => make_request_key(store).await?,
    };
    let csr = client.certificate_request().map_err(|_| SessionError::Key)?;
    let reply = hub.renew(&csr, &request_key, TIMEOUT).await?;
    let read = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes());
    let certificate = read(&reply.certificate).map_err(|_| SessionError::Answer("the certificate"))?;
    // One that is of another key would cut this agent off.
    client
        .into_identity(vec![certificate.clone()])
        .map_err(|_| SessionError::Answer("a certificate of this agent's key"))?;
    let authorities: Result<Vec<_>, _> = reply.authorities.iter().map(read).collect();
    let authorities = authorities.map_err(|_| SessionError::Answer("the authorities"))?;
    let signs = reply.signs;
    store
        .write(Priority::Sync, move |tx| {
            enrolment::keep_certificate(tx, &certificate)?;
            if signs {
                enrolment::note_signs(tx)?;
            }
            if authorities.is_empty() {
                return Ok(());
            }
            enrolment::keep_authorities(tx, &authorities)
        })
        .await?;
    tracing::info!("the certificate was renewed");
    take_up(store, hub).await
}

/// Kept before the hub hears of it, so that a lost answer costs nothing.
async fn make_request_key(store: &Store) -> Result<RequestKey, SessionError> {
    let key = RequestKey::generate().map_err(|_| SessionError::Key)?;
    let bytes = zeroize::Zeroizing::new(key.pkcs8().to_vec());
    store
        .write(Priority::Sync, move |tx| enrolment::keep_request_key(tx, &bytes))
        .await?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vault::{Authority, PeerId};

    const NOW: i64 = 1_790_000_000;

    #[test]
    fn a_certificate_is_renewed_when_it_is_thirty_days_old_and_not_before() {
        let authority = Authority::create("Hub", NOW).unwrap();
        let csr = ClientKey::generate().unwrap().certificate_request().unwrap();
        let peer = PeerId {
            organisation: uuid::Uuid::nil(),
            site: uuid::Uuid::nil(),
            agent: uuid::Uuid::nil(),
        };
        let certificate = authority.issue_client_from_csr(&csr, peer, NOW).unwrap();

        assert!(!is_due(&certificate, NOW));
        assert!(!is_due(&certificate, NOW + 30 * DAY_SECS - 1));
        assert!(is_due(&certificate, NOW + 30 * DAY_SECS));
        assert!(is_due(&certificate, NOW + 400 * DAY_SECS));
    }
}
