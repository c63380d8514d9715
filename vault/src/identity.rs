//! Who is at the other end of a line: the agent's own key and certificate request, a certificate chain with its key, and what
//! a certificate says about its holder and its dates. The agent's private key is made at the agent and never leaves it.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use uuid::Uuid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// Why a key or a certificate is not usable as someone's identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the key was not made: {0}")]
    KeyNotMade(rcgen::Error),
    #[error("the stored private key is not one of this program's: enrol again")]
    KeyUnreadable,
    #[error("the certificate cannot be read: ask for a new one")]
    CertificateUnreadable,
    #[error("the certificate belongs to another key: enrol again")]
    OtherKey,
    #[error("the operating system gave no random bytes: no key can be made until it does")]
    NoRandom,
}

/// An organisation, its site and the agent there, as the hub's authority wrote them into a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId {
    pub organisation: Uuid,
    pub site: Uuid,
    pub agent: Uuid,
}

/// From when to when a certificate is valid, both in unix seconds and both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

/// A certificate chain, leaf first, and the leaf's private key (PKCS #8).
pub struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl Identity {
    /// Joins a chain, leaf first, with the leaf's private key; refuses a key that is not the leaf's.
    pub fn new(chain: Vec<CertificateDer<'static>>, key_pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError::CertificateUnreadable)?;
        refuse_other_key(leaf, &restore_key(&key_pkcs8)?)?;
        Ok(Self { chain, key: key_pkcs8 })
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(crate) fn key_der(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.to_vec())
    }
}

/// The agent's private key for TLS (ECDSA P-256), before and after its certificate is there.
pub struct ClientKey {
    key: KeyPair,
}

impl ClientKey {
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self {
            key: generate_key().map_err(IdentityError::KeyNotMade)?,
        })
    }

    /// From the bytes that [`ClientKey::key_pkcs8`] gave.
    pub fn restore(key_pkcs8: &[u8]) -> Result<Self, IdentityError> {
        Ok(Self {
            key: restore_key(key_pkcs8)?,
        })
    }

    /// The private key, to be sealed before it is written anywhere.
    pub fn key_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.serialize_der())
    }

    /// The signed request (PKCS #10, DER) that proves to the authority that this key is held here. It asks for no name: who
    /// the agent is, the authority decides.
    pub fn certificate_request(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "mainstay agent");
        let request = params.serialize_request(&self.key).map_err(IdentityError::KeyNotMade)?;
        Ok(request.der().to_vec())
    }

    /// Joins this key with the certificate issued for it, leaf first.
    pub fn into_identity(self, chain: Vec<CertificateDer<'static>>) -> Result<Identity, IdentityError> {
        Identity::new(chain, self.key_pkcs8())
    }
}

/// The site and agent in a client certificate of the hub's authority; `None` for any other certificate. Says nothing
/// about whether the certificate is to be trusted: TLS has checked that before.
pub fn peer_identity(certificate_der: &[u8]) -> Option<PeerId> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uuids = names.value.general_names.iter().map(|name| {
        let GeneralName::URI(uri) = name else {
            return None;
        };
        uri.strip_prefix("urn:uuid:")?.parse().ok()
    });
    match (uuids.next(), uuids.next(), uuids.next(), uuids.next()) {
        (Some(Some(organisation)), Some(Some(site)), Some(Some(agent)), None) => Some(PeerId {
            organisation,
            site,
            agent,
        }),
        (_, _, _, _) => None,
    }
}

/// The dates of a certificate; `None` if it cannot be read.
pub fn validity(certificate_der: &[u8]) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    let validity = certificate.validity();
    Some(Validity {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

pub(crate) fn generate_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

pub(crate) fn restore_key(key_pkcs8: &[u8]) -> Result<KeyPair, IdentityError> {
    KeyPair::from_pkcs8_der_and_sign_algo(&key_pkcs8.into(), &PKCS_ECDSA_P256_SHA256)
        .map_err(|_| IdentityError::KeyUnreadable)
}

pub(crate) fn refuse_other_key(certificate_der: &[u8], key: &KeyPair) -> Result<(), IdentityError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate_der).map_err(|_| IdentityError::CertificateUnreadable)?;
    if certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw() {
        Ok(())
    } else {
        Err(IdentityError::OtherKey)
    }
}

/// Letters of an issuer's name that are shown; a name comes from whoever stands on the line.
const ISSUER_MAX_CHARS: usize = 120;

/// Who issued a certificate, for people: organisation and common name. `None` if it cannot be read or names nobody.
pub fn issuer(certificate_der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    let issuer = certificate.issuer();
    let organisation = issuer.iter_organization().next().and_then(|name| name.as_str().ok());
    let common = issuer.iter_common_name().next().and_then(|name| name.as_str().ok());
    let name = match (organisation, common) {
        (Some(organisation), Some(common)) if organisation != common => format!("{organisation}, {common}"),
        (Some(name), _) | (None, Some(name)) => name.to_owned(),
        (None, None) => return None,
    };
    let shown = name.chars().filter(|letter| !letter.is_control());
    Some(shown.take(ISSUER_MAX_CHARS).collect())
}
