//! The hub's own certificate authority. It signs what the hub decided; names in a request are never taken over, so an
//! agent cannot ask to be another site. Its private key leaves here only to be sealed.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::fingerprint::{Fingerprint, fingerprint};
use crate::identity::{self, Identity, IdentityError, PeerId};
use crate::random::{self, RandomFailed};

const DAY_SECS: i64 = 24 * 60 * 60;

/// How long the authority itself is valid.
pub const AUTHORITY_VALID_DAYS: i64 = 3650;
/// How long an issued certificate is valid, counted from the moment of issue.
pub const CERTIFICATE_VALID_DAYS: i64 = 90;
/// Every certificate is dated this far back. A site's clock may be days slow, and a certificate from its future would cut
/// the site off from the one party that could tell it the time.
pub const BACKDATED_DAYS: i64 = 7;

/// A request is one public key and a signature, some 200 bytes.
const REQUEST_MAX_BYTES: usize = 4 * 1024;

/// Why the authority could not be made, restored, or would not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("the authority cannot be restored: {0}")]
    NotRestored(IdentityError),
    #[error("the authority's certificate cannot be read: restore it from a backup")]
    CertificateUnreadable,
    #[error("\"{0}\" is neither a host name nor an IP address: correct the hub's names in its configuration")]
    NotAName(String),
    #[error("a server certificate needs at least one host name or IP address")]
    NoName,
    #[error("the certificate request is not signed by its own key, or not for ECDSA P-256")]
    RequestRefused,
    #[error("the time {0} is outside what a certificate can say: set the clock")]
    TimeOutOfRange(i64),
    #[error("the certificate was not made: {0}")]
    NotMade(#[from] rcgen::Error),
    #[error("the bytes were not signed: the authority's key is not usable")]
    NotSigned,
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

/// The authority: its certificate and its private key (ECDSA P-256).
pub struct Authority {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    /// Makes a new authority. The name is for people who read certificates; random digits are added, so that two
    /// authorities of one name are never taken for each other.
    pub fn create(name: &str, now_unix_secs: i64) -> Result<Self, AuthorityError> {
        let key = identity::generate_key()?;
        let mut params = dated(now_unix_secs, AUTHORITY_VALID_DAYS)?;
        params.distinguished_name = common_name(&format!("{name} {}", random::suffix()?));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { certificate, key })
    }

    /// From what [`Authority::certificate`] and [`Authority::key_pkcs8`] gave; refuses a key that is not the certificate's.
    pub fn restore(certificate: CertificateDer<'static>, key_pkcs8: &[u8]) -> Result<Self, AuthorityError> {
        let key = identity::restore_key(key_pkcs8).map_err(AuthorityError::NotRestored)?;
        identity::refuse_other_key(&certificate, &key).map_err(AuthorityError::NotRestored)?;
        Ok(Self { certificate, key })
    }

    /// As [`Authority::restore`], with the certificate as PEM text.
    pub fn restore_pem(certificate_pem: &str, key_pkcs8: &[u8]) -> Result<Self, AuthorityError> {
        Self::restore(certificate_from_pem(certificate_pem)?, key_pkcs8)
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub fn certificate_pem(&self) -> String {
        certificate_to_pem(&self.certificate)
    }

    /// What an enrolment token names, so that an agent trusts this authority and no other.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.certificate)
    }

    /// The private key, to be sealed before it is written anywhere.
    pub fn key_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.serialize_der())
    }

    /// A fresh key and certificate for the hub's listeners. The chain holds the authority's certificate too: an agent that
    /// enrols knows only its fingerprint.
    pub fn issue_server(&self, names: &[impl AsRef<str>], now_unix_secs: i64) -> Result<Identity, AuthorityError> {
        let mut params = dated(now_unix_secs, CERTIFICATE_VALID_DAYS)?;
        params.subject_alt_names = names.iter().map(|name| host(name.as_ref())).collect::<Result<_, _>>()?;
        if params.subject_alt_names.is_empty() {
            return Err(AuthorityError::NoName);
        }
        params.distinguished_name = common_name("mainstay hub");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = identity::generate_key()?;
        let certificate = self.sign(params, &key)?;
        Ok(Identity {
            chain: vec![certificate.into(), self.certificate.clone()],
            key: Zeroizing::new(key.serialize_der()),
        })
    }

    /// A certificate for the key in the request, in the name of that agent. Whatever else the request asks is ignored.
    pub fn issue_client_from_csr(
        &self,
        request_der: &[u8],
        peer: PeerId,
        now_unix_secs: i64,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        if request_der.len() > REQUEST_MAX_BYTES {
            return Err(AuthorityError::RequestRefused);
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request_der))
            .map_err(|_| AuthorityError::RequestRefused)?;
        if *request.public_key.algorithm() != PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::RequestRefused);
        }
        let mut params = dated(now_unix_secs, CERTIFICATE_VALID_DAYS)?;
        // In the order in which `peer_identity` reads them.
        params.subject_alt_names = [peer.organisation, peer.site, peer.agent]
            .into_iter()
            .map(|uuid| Ok(SanType::URI(format!("urn:uuid:{uuid}").try_into()?)))
            .collect::<Result<_, rcgen::Error>>()?;
        params.distinguished_name = common_name("mainstay agent");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(self.sign(params, &request.public_key)?.into())
    }

    /// Signs what sites are to obey: ECDSA on P-256 with SHA-256, r and s (FIPS 186-5).
    pub fn sign_bytes(&self, bytes: &[u8]) -> Result<[u8; 64], AuthorityError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key_pkcs8(), &random)
            .map_err(|_| AuthorityError::NotSigned)?;
        let signature = key.sign(&random, bytes).map_err(|_| AuthorityError::NotSigned)?;
        signature.as_ref().try_into().map_err(|_| AuthorityError::NotSigned)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl rcgen::PublicKeyData,
    ) -> Result<Certificate, AuthorityError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        Ok(params.signed_by(key, &issuer)?)
    }
}

/// Whether the authority of this certificate signed these bytes.
pub fn is_signed_by(certificate_der: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate_der) else {
        return false;
    };
    let key = certificate.public_key().subject_public_key.data.as_ref();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(bytes, signature)
        .is_ok()
}

/// Reads the first certificate in a PEM text.
pub fn certificate_from_pem(pem: &str) -> Result<CertificateDer<'static>, AuthorityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| AuthorityError::CertificateUnreadable)
}

/// The PEM text of a certificate (RFC 7468).
pub fn certificate_to_pem(certificate_der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(certificate_der);
    let mut pem = String::with_capacity(body.len() + body.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for (position, letter) in body.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

/// Parameters with dates and a random serial number; rcgen would take the serial from the key, so that a renewal for
/// the same key would repeat it.
fn dated(now_unix_secs: i64, valid_days: i64) -> Result<CertificateParams, AuthorityError> {
    let moment = |offset_days: i64| {
        now_unix_secs
            .checked_add(offset_days * DAY_SECS)
            .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
            .ok_or(AuthorityError::TimeOutOfRange(now_unix_secs))
    };
    let mut serial = [0; 16];
    random::fill(&mut serial)?;
    // Positive and of full length, as RFC 5280 section 4.1.2.2 wants.
    serial[0] = serial[0] & 0x7f | 0x40;

    let mut params = CertificateParams::default();
    params.not_before = moment(-BACKDATED_DAYS)?;
    params.not_after = moment(valid_days)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn host(name: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || AuthorityError::NotAName(name.to_owned());
    rustls_pki_types::DnsName::try_from(name).map_err(|_| refused())?;
    Ok(SanType::DnsName(name.to_owned().try_into().map_err(|_| refused())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ClientKey, peer_identity, validity};
    use uuid::Uuid;

    const NOW: i64 = 1_790_000_000;

    fn peer() -> PeerId {
        PeerId {
            organisation: Uuid::from_u128(3),
            site: Uuid::from_bytes([1; 16]),
            agent: Uuid::from_bytes([2; 16]),
        }
    }

    #[test]
    fn a_client_certificate_names_the_agent_the_hub_chose() {
        let authority = Authority::create("Northside", NOW).unwrap();
        let key = ClientKey::generate().unwrap();

        let certificate = authority
            .issue_client_from_csr(&key.certificate_request().unwrap(), peer(), NOW)
            .unwrap();

        assert_eq!(peer_identity(&certificate), Some(peer()));
        let identity = key.into_identity(vec![certificate.clone()]).unwrap();
        assert_eq!(identity.chain(), [certificate]);
    }

    #[test]
    fn a_signature_is_of_one_authority_and_of_these_bytes() {
        let (authority, other) = (
            Authority::create("Northside", NOW).unwrap(),
            Authority::create("Northside", NOW).unwrap(),
        );

        let signature = authority.sign_bytes(b"policy").unwrap();

        assert!(is_signed_by(authority.certificate(), b"policy", &signature));
        assert!(!is_signed_by(authority.certificate(), b"police", &signature));
        assert!(!is_signed_by(other.certificate(), b"policy", &signature));
        assert!(!is_signed_by(b"nothing", b"policy", &signature));
    }

    #[test]
    fn names_in_a_request_are_not_taken_over() {
        let authority = Authority::create("Northside", NOW).unwrap();
        let key = identity::generate_key().unwrap();
        let mut asks = CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
        asks.subject_alt_names.push(SanType::URI(
            format!("urn:uuid:{}", Uuid::from_bytes([9; 16])).try_into().unwrap(),
        ));
        asks.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = asks.serialize_request(&key).unwrap();

        let certificate = authority.issue_client_from_csr(request.der(), peer(), NOW).unwrap();

        assert_eq!(peer_identity(&certificate), Some(peer()));
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
        assert!(!parsed.is_ca());
    }

    #[test]
    fn a_request_not_signed_by_its_key_or_of_another_kind_is_refused() {
        let authority = Authority::create("Northside", NOW).unwrap();
        let mut tampered = ClientKey::generate().unwrap().certificate_request().unwrap();
        let last = tampered.len() - 1;
        tampered[last] ^= 1;
        let other_kind = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let ed25519 = CertificateParams::default().serialize_request(&other_kind).unwrap();

        for request in [&tampered[..], ed25519.der(), b"not a request", &[0; 5000]] {
            assert!(matches!(
                authority.issue_client_from_csr(request, peer(), NOW),
                Err(AuthorityError::RequestRefused)
            ));
        }
    }

    #[test]
    fn certificates_are_dated_back_a_week_and_last_ninety_days() {
        let authority = Authority::create("Northside", NOW).unwrap();
        let server = authority.issue_server(&["hub.example"], NOW).unwrap();

        let leaf = validity(&server.chain()[0]).unwrap();
        let own = validity(authority.certificate()).unwrap();

        assert_eq!(leaf.not_before, NOW - 7 * DAY_SECS);
        assert_eq!(leaf.not_after, NOW + 90 * DAY_SECS);
        assert_eq!(own.not_before, NOW - 7 * DAY_SECS);
        assert_eq!(own.not_after, NOW + 3650 * DAY_SECS);
        assert_eq!(server.chain()[1], *authority.certificate());
    }

    #[test]
    fn two_certificates_for_one_key_have_different_serial_numbers() {
        let authority = Authority::create("Northside", NOW).unwrap();
        let request = ClientKey::generate().unwrap().certificate_request().unwrap();

        let serials: Vec<_> = (0..2)
            .map(|_| {
                let certificate = authority.issue_client_from_csr(&request, peer(), NOW).unwrap();
                let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
                parsed.raw_serial().to_vec()
            })
            .collect();

        assert_ne!(serials[0], serials[1]);
        assert_eq!(serials[0].len(), 16);
    }

    #[test]
    fn a_restored_authority_is_the_same_one() {
        let authority = Authority::create("Northside", NOW).unwrap();

        let restored = Authority::restore_pem(&authority.certificate_pem(), &authority.key_pkcs8()).unwrap();

        assert_eq!(restored.fingerprint(), authority.fingerprint());
        restored.issue_server(&["127.0.0.1"], NOW).unwrap();
    }

    #[test]
    fn an_authority_is_not_restored_with_another_ones_key() {
        let authority = Authority::create("Northside", NOW).unwrap();
        let other = Authority::create("Northside", NOW).unwrap();

        let mixed = Authority::restore(authority.certificate().clone(), &other.key_pkcs8());

        assert!(matches!(
            mixed,
            Err(AuthorityError::NotRestored(IdentityError::OtherKey))
        ));
        assert!(matches!(
            Authority::restore_pem("no pem", &other.key_pkcs8()),
            Err(AuthorityError::CertificateUnreadable)
        ));
    }

    #[test]
    fn another_agents_certificate_does_not_fit_this_key() {
        let authority = Authority::create("Northside", NOW).unwrap();
        let request = ClientKey::generate().unwrap().certificate_request().unwrap();
        let certificate = authority.issue_client_from_csr(&request, peer(), NOW).unwrap();

        let mixed = ClientKey::generate().unwrap().into_identity(vec![certificate]);

        assert!(matches!(mixed, Err(IdentityError::OtherKey)));
    }

    #[test]
    fn a_server_needs_real_names() {
        let authority = Authority::create("Northside", NOW).unwrap();

        assert!(matches!(
            authority.issue_server(&["hub example"], NOW),
            Err(AuthorityError::NotAName(name)) if name == "hub example"
        ));
        assert!(matches!(
            authority.issue_server(&[] as &[&str], NOW),
            Err(AuthorityError::NoName)
        ));
        authority
            .issue_server(&["hub.example", "::1", "10.1.2.3"], NOW)
            .unwrap();
    }

    #[test]
    fn a_server_certificate_names_no_peer() {
        let authority = Authority::create("Northside", NOW).unwrap();
        let server = authority.issue_server(&["hub.example"], NOW).unwrap();

        assert_eq!(peer_identity(&server.chain()[0]), None);
        assert_eq!(peer_identity(authority.certificate()), None);
        assert_eq!(peer_identity(b"nothing"), None);
    }
}
