//! TLS between agent and hub: rustls on ring, TLS 1.2 and 1.3, HTTP/1.1 only. The agent trusts the hub's authority and
//! no other, no public one either; the hub verifies a client certificate where one comes and lets its handlers refuse
//! those who came without. No session is resumed, so a certificate is checked on every connection.

use std::error::Error as StdError;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::fingerprint::{Fingerprint, fingerprint};
use crate::identity::{self, Identity};

pub use crate::identity::{PeerId, peer_identity};

const ALPN: &[u8] = b"http/1.1";

/// The given certificates or key do not make a TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("tls set-up: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("tls set-up, client certificates: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// Why a handshake failed, as far as it changes what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsTrouble {
    /// The peer's certificate comes from another authority: a wrong address, an impostor, or an inspecting proxy.
    WrongAuthority,
    /// The authority is right, the host name is not: the address in use is missing from the hub's certificate.
    WrongName,
    /// Nothing but the dates is wrong: most likely the clock at this end.
    Dates,
    /// The peer refused the certificate of this end: expired there, of another authority, or revoked.
    RefusedByPeer,
    /// Anything else: not TLS, cut off, no common version.
    Other,
}

/// Makes ring the process's TLS provider. To be called first in `main`; a second call does nothing.
pub fn install_provider() {
    // An error says only that one is installed already.
    let _ = ring::default_provider().install_default();
}

/// For the hub's listener. A client certificate is optional, for the enrolment route's sake, but one that is sent must be of
/// one of these authorities, or the handshake fails. One that has expired passes, for the renewal route's sake: handlers
/// take [`peer_identity`] and the certificate's dates, and refuse what they must.
pub fn server_config(
    authorities: &[CertificateDer<'static>],
    identity: &Identity,
) -> Result<ServerConfig, TlsSetupError> {
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(AgentVerifier(clients)))
        .with_single_cert(identity.chain.clone(), identity.key_der().into())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For the agent: trusts this authority only, and shows its own certificate if it has one. Only tests have so simple a case.
pub fn client_config(
    authority: &CertificateDer<'static>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, TlsSetupError> {
    client_config_of(std::slice::from_ref(authority), identity, Arc::default())
}

/// As [`client_config`], with every authority that is to be trusted, by a clock that may be corrected.
pub fn client_config_of(
    authorities: &[CertificateDer<'static>],
    identity: Option<&Identity>,
    observed: Arc<Observed>,
) -> Result<ClientConfig, TlsSetupError> {
    client(Trust::Authorities(roots(authorities)?), identity, observed)
}

/// For enrolment, when the agent knows nothing but the fingerprint in its token: the server must send the authority's
/// certificate in its chain, and everything else is checked as usual against that one. Only tests have so simple a case.
pub fn client_config_pinned(authority: Fingerprint) -> Result<ClientConfig, TlsSetupError> {
    client_config_pinned_of(authority, Arc::default())
}

/// As [`client_config_pinned`], by a clock that may be corrected.
pub fn client_config_pinned_of(authority: Fingerprint, observed: Arc<Observed>) -> Result<ClientConfig, TlsSetupError> {
    client(Trust::Fingerprint(authority), None, observed)
}

/// For asking the hub what time it is when the clock of this machine may be wrong: everything is checked but the dates.
/// Whatever is answered on such a line counts only with a signature of the authority's own.
pub fn client_config_at_any_date(
    authorities: &[CertificateDer<'static>],
    observed: Arc<Observed>,
) -> Result<ClientConfig, TlsSetupError> {
    client(Trust::AtAnyDate(roots(authorities)?), None, observed)
}

/// For a line that a proxy inspects: the other end is not checked at all. Nothing may travel on it that is not public or
/// sealed (see [`crate::envelope`]).
pub fn client_config_untrusting(observed: Arc<Observed>) -> Result<ClientConfig, TlsSetupError> {
    client(Trust::Nobody, None, observed)
}

/// Finds what is to blame in an error of rustls, or in one that wraps it however deep (an HTTP client's, an `io::Error`).
pub fn classify(error: &(dyn StdError + 'static)) -> TlsTrouble {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return classify_tls(tls);
        }
        // An `io::Error` names as its source not the error it wraps but that one's source.
        let wrapped = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    TlsTrouble::Other
}

fn classify_tls(error: &rustls::Error) -> TlsTrouble {
    if let rustls::Error::InvalidCertificate(reason) = error {
        return classify_certificate(reason);
    }
    let refused = matches!(
        error,
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::CertificateRequired
                | AlertDescription::DecryptError
        )
    );
    if refused {
        TlsTrouble::RefusedByPeer
    } else {
        TlsTrouble::Other
    }
}

fn classify_certificate(reason: &CertificateError) -> TlsTrouble {
    use CertificateError as E;
    if matches!(reason, E::UnknownIssuer | E::BadSignature) {
        TlsTrouble::WrongAuthority
    } else if matches!(reason, E::NotValidForName | E::NotValidForNameContext { .. }) {
        TlsTrouble::WrongName
    } else if is_about_dates(reason) {
        TlsTrouble::Dates
    } else {
        TlsTrouble::Other
    }
}

fn is_about_dates(reason: &CertificateError) -> bool {
    use CertificateError as E;
    matches!(
        reason,
        E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. }
    )
}

/// A moment at which the certificate that failed for its date would have been valid.
fn moment_within(error: &rustls::Error) -> Option<UnixTime> {
    let rustls::Error::InvalidCertificate(reason) = error else {
        return None;
    };
    if let CertificateError::ExpiredContext { not_after, .. } = reason {
        Some(*not_after)
    } else if let CertificateError::NotValidYetContext { not_before, .. } = reason {
        Some(*not_before)
    } else {
        None
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(roots)
}

fn client(trust: Trust, identity: Option<&Identity>, observed: Arc<Observed>) -> Result<ClientConfig, TlsSetupError> {
    let provider = provider();
    let verifier = HubVerifier {
        trust,
        observed,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key_der().into())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What the handshakes of a client go by and find out.
#[derive(Debug, Default)]
pub struct Observed {
    /// What is to be added to this machine's clock, in seconds.
    correction_secs: AtomicI64,
    issuer: Mutex<Option<String>>,
}

impl Observed {
    /// Dates are checked by this machine's clock and so many seconds.
    pub fn correct_clock_by(&self, secs: i64) {
        self.correction_secs.store(secs, Ordering::Relaxed);
    }

    pub fn correction_secs(&self) -> i64 {
        self.correction_secs.load(Ordering::Relaxed)
    }

    /// Who issued the certificate that was presented last, where that was of no authority that is trusted.
    pub fn foreign_issuer(&self) -> Option<String> {
        self.issuer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_issuer(&self, issuer: Option<String>) {
        *self.issuer.lock().unwrap_or_else(PoisonError::into_inner) = issuer;
    }

    fn now(&self, now: UnixTime) -> UnixTime {
        let secs = now.as_secs().saturating_add_signed(self.correction_secs());
        UnixTime::since_unix_epoch(Duration::from_secs(secs))
    }
}

#[derive(Debug)]
enum Trust {
    Authorities(RootCertStore),
    Fingerprint(Fingerprint),
    /// Authorities, whatever the dates.
    AtAnyDate(RootCertStore),
    Nobody,
}

/// The checks of rustls itself, against the one authority, with two differences: the authority may be known by its
/// fingerprint alone, and a certificate is called expired only if nothing else is wrong with it. rustls looks at dates
/// first, so an impostor's old certificate would otherwise pass for a wrong clock.
#[derive(Debug)]
struct HubVerifier {
    trust: Trust,
    observed: Arc<Observed>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HubVerifier {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let pinned;
        let (roots, at_any_date) = match &self.trust {
            Trust::Authorities(roots) => (roots, false),
            Trust::AtAnyDate(roots) => (roots, true),
            Trust::Fingerprint(authority) => {
                pinned = Self::pinned_roots(*authority, intermediates)?;
                (&pinned, false)
            }
            Trust::Nobody => return Ok(()),
        };
        let verify_at = |moment| {
            verify_server_cert_signed_by_trust_anchor(&leaf, roots, intermediates, moment, self.algorithms.all)?;
            verify_server_name(&leaf, server_name)
        };
        let Err(error) = verify_at(now) else { return Ok(()) };
        if let Some(moment) = moment_within(&error) {
            verify_at(moment)?;
            if at_any_date {
                return Ok(());
            }
        }
        Err(error)
    }

    fn pinned_roots(authority: Fingerprint, sent: &[CertificateDer<'_>]) -> Result<RootCertStore, rustls::Error> {
        let certificate = sent
            .iter()
            .find(|certificate| fingerprint(certificate) == authority)
            .ok_or(CertificateError::UnknownIssuer)?;
        roots(&[certificate.clone().into_owned()])
    }
}

impl ServerCertVerifier for HubVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let now = self.observed.now(now);
        let verified = self.verify(end_entity, intermediates, server_name, now);
        let is_foreign = verified
            .as_ref()
            .is_err_and(|error| classify_tls(error) == TlsTrouble::WrongAuthority);
        if is_foreign || matches!(self.trust, Trust::Nobody) {
            self.observed.note_issuer(identity::issuer(end_entity));
        } else if verified.is_ok() {
            self.observed.note_issuer(None);
        }
        verified?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// rustls's own checks of a client certificate, but for one that has expired and is otherwise sound.
#[derive(Debug)]
struct AgentVerifier(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AgentVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now);
        if let Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) = &verified {
            return self.0.verify_client_cert(end_entity, intermediates, *not_after);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
