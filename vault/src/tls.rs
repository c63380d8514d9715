//! TLS between agent and hub: rustls on ring, TLS 1.2 and 1.3, HTTP/1.1 only. The agent trusts the hub's authority and
//! no other, no public one either; the hub verifies a client certificate where one comes and lets its handlers refuse
//! those who came without. No session is resumed, so a certificate is checked on every connection.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::fingerprint::{Fingerprint, fingerprint};
use crate::identity::Identity;

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
/// this authority and in date, or the handshake fails. Handlers take [`peer_identity`] and refuse its absence.
pub fn server_config(authority: &CertificateDer<'_>, identity: &Identity) -> Result<ServerConfig, TlsSetupError> {
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)?), provider())
        .allow_unauthenticated()
        .build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(identity.chain.clone(), identity.key_der().into())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For the agent: trusts this authority only, and shows its own certificate if it has one.
pub fn client_config(
    authority: &CertificateDer<'_>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, TlsSetupError> {
    client(Trust::Authority(roots(authority)?), identity)
}

/// For enrolment, when the agent knows nothing but the fingerprint in its token: the server must send the authority's
/// certificate in its chain, and everything else is checked as usual against that one.
pub fn client_config_pinned(authority: Fingerprint) -> Result<ClientConfig, TlsSetupError> {
    client(Trust::Fingerprint(authority), None)
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

fn roots(authority: &CertificateDer<'_>) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(roots)
}

fn client(trust: Trust, identity: Option<&Identity>) -> Result<ClientConfig, TlsSetupError> {
    let provider = provider();
    let verifier = HubVerifier {
        trust,
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

#[derive(Debug)]
enum Trust {
    Authority(RootCertStore),
    Fingerprint(Fingerprint),
}

/// The checks of rustls itself, against the one authority, with two differences: the authority may be known by its
/// fingerprint alone, and a certificate is called expired only if nothing else is wrong with it. rustls looks at dates
/// first, so an impostor's old certificate would otherwise pass for a wrong clock.
#[derive(Debug)]
struct HubVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HubVerifier {
    fn pinned_roots(authority: Fingerprint, sent: &[CertificateDer<'_>]) -> Result<RootCertStore, rustls::Error> {
        let certificate = sent
            .iter()
            .find(|certificate| fingerprint(certificate) == authority)
            .ok_or(CertificateError::UnknownIssuer)?;
        roots(certificate)
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
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let pinned;
        let roots = match &self.trust {
            Trust::Authority(roots) => roots,
            Trust::Fingerprint(authority) => {
                pinned = Self::pinned_roots(*authority, intermediates)?;
                &pinned
            }
        };
        let verify_at = |moment| {
            verify_server_cert_signed_by_trust_anchor(&leaf, roots, intermediates, moment, self.algorithms.all)?;
            verify_server_name(&leaf, server_name)
        };
        if let Err(error) = verify_at(now) {
            if let Some(moment) = moment_within(&error) {
                verify_at(moment)?;
            }
            return Err(error);
        }
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

#[cfg(test)]
mod tests;
