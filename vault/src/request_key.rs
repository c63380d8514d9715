//! The key by which an agent signs each of its requests (Ed25519). It is made at the agent and never leaves it; the hub
//! has the public half since enrolment, so that a request is the agent's own whatever stands on the line between.

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::identity::IdentityError;

pub const PUBLIC_BYTES: usize = 32;
pub const SIGNATURE_BYTES: usize = 64;

/// Prints nothing of itself.
pub struct RequestKey {
    pair: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl RequestKey {
    pub fn generate() -> Result<RequestKey, IdentityError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| IdentityError::NoRandom)?;
        RequestKey::restore(pkcs8.as_ref())
    }

    /// From what [`RequestKey::pkcs8`] gave.
    pub fn restore(pkcs8: &[u8]) -> Result<RequestKey, IdentityError> {
        Ok(RequestKey {
            pair: Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| IdentityError::KeyUnreadable)?,
            pkcs8: Zeroizing::new(pkcs8.to_vec()),
        })
    }

    /// The private key (PKCS #8), to be sealed before it is written anywhere.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub fn public(&self) -> [u8; PUBLIC_BYTES] {
        fixed(self.pair.public_key().as_ref())
    }

    pub fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        fixed(self.pair.sign(bytes).as_ref())
    }
}

impl std::fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestKey(not shown)")
    }
}

/// Ed25519 has one length for each (RFC 8032).
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

/// Whether the holder of this key signed these bytes.
pub fn is_signed(public: &[u8; PUBLIC_BYTES], bytes: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(bytes, signature)
        .is_ok()
}

/// What is signed to show that the key is held by whoever asks for this certificate.
pub fn holder_bytes(certificate_request: &[u8]) -> Vec<u8> {
    [b"mainstay request key 1\n", certificate_request].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_and_of_these_bytes() {
        let (key, other) = (RequestKey::generate().unwrap(), RequestKey::generate().unwrap());

        let signature = key.sign(b"request");

        assert!(is_signed(&key.public(), b"request", &signature));
        assert!(!is_signed(&key.public(), b"requests", &signature));
        assert!(!is_signed(&other.public(), b"request", &signature));
        assert!(!is_signed(&[0; 32], b"request", &signature));
    }

    #[test]
    fn a_key_that_was_kept_signs_as_before() {
        let key = RequestKey::generate().unwrap();

        let restored = RequestKey::restore(key.pkcs8()).unwrap();

        assert_eq!(restored.public(), key.public());
        assert_eq!(restored.sign(b"request"), key.sign(b"request"));
        assert!(RequestKey::restore(b"no key").is_err());
        assert_eq!(format!("{key:?}"), "RequestKey(not shown)");
    }
}
