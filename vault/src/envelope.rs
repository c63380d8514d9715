//! Sealing a request to the hub and its reply to the agent, for a line that somebody else reads: X25519 with a fresh key
//! for each request, HKDF-SHA256, AES-256-GCM. The hub's key is derived from its data key, so that every process of a
//! hub has the same one; its authority vouches for it.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use crate::key_file::DataKey;
use crate::random::{self, RandomFailed};

pub const PUBLIC_BYTES: usize = 32;
/// What sealing adds to a request: the layout's number, the fresh key, the tag.
pub const REQUEST_OVERHEAD_BYTES: usize = 1 + PUBLIC_BYTES + 16;

const LAYOUT: u8 = 1;
const PURPOSE: &[u8] = b"mainstay sealed body 1";

/// Why an envelope was not made or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("not a sealed body of this program, or altered on its way")]
    DoesNotOpen,
    #[error("the key it is to be sealed to is none")]
    BadKey,
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

/// The hub's private half. Prints nothing of itself.
pub struct SealingKey {
    secret: StaticSecret,
    public: [u8; PUBLIC_BYTES],
}

impl SealingKey {
    pub fn of(key: &DataKey) -> SealingKey {
        let secret = StaticSecret::from(*key.derive(b"", "mainstay sealing key 1"));
        let public = PublicKey::from(&secret).to_bytes();
        SealingKey { secret, public }
    }

    pub fn public(&self) -> [u8; PUBLIC_BYTES] {
        self.public
    }

    /// Opens what [`seal`] made with the same `about`, and gives the key for its one reply.
    pub fn open(&self, sealed: &[u8], about: &[u8]) -> Result<(Zeroizing<Vec<u8>>, ReplyKey), EnvelopeError> {
        let (layout, rest) = sealed.split_first().ok_or(EnvelopeError::DoesNotOpen)?;
        let (fresh, body) = rest
            .split_first_chunk::<PUBLIC_BYTES>()
            .ok_or(EnvelopeError::DoesNotOpen)?;
        if *layout != LAYOUT {
            return Err(EnvelopeError::DoesNotOpen);
        }
        let shared = self.secret.diffie_hellman(&PublicKey::from(*fresh));
        let (request, reply) = keys(&shared, fresh, &self.public).ok_or(EnvelopeError::DoesNotOpen)?;
        Ok((open_with(&request, body, about)?, ReplyKey(reply)))
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(not shown)")
    }
}

/// Opens and seals one reply.
pub struct ReplyKey(LessSafeKey);

impl ReplyKey {
    /// Used up by its one message, so that its nonce never meets another.
    pub fn seal(self, plain: &[u8], about: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        seal_with(&self.0, plain, about)
    }

    pub fn open(self, sealed: &[u8], about: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        open_with(&self.0, sealed, about)
    }
}

impl std::fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplyKey(not shown)")
    }
}

/// Seals a request to the hub. `about` is what both ends know of it and does not travel inside. Layout: 1, 32 bytes of the
/// fresh public key, ciphertext, 16 bytes of tag.
pub fn seal(hub: &[u8; PUBLIC_BYTES], plain: &[u8], about: &[u8]) -> Result<(Vec<u8>, ReplyKey), EnvelopeError> {
    let mut bytes = Zeroizing::new([0; 32]);
    random::fill(bytes.as_mut_slice())?;
    let secret = StaticSecret::from(*bytes);
    let fresh = PublicKey::from(&secret).to_bytes();
    let shared = secret.diffie_hellman(&PublicKey::from(*hub));
    let (request, reply) = keys(&shared, &fresh, hub).ok_or(EnvelopeError::BadKey)?;
    let mut sealed = Vec::with_capacity(REQUEST_OVERHEAD_BYTES + plain.len());
    sealed.push(LAYOUT);
    sealed.extend_from_slice(&fresh);
    sealed.extend(seal_with(&request, plain, about)?);
    Ok((sealed, ReplyKey(reply)))
}

/// One key for each direction, bound to both public keys. `None` for a key that shares nothing (RFC 7748, section 6.1).
fn keys(
    shared: &SharedSecret,
    fresh: &[u8; PUBLIC_BYTES],
    hub: &[u8; PUBLIC_BYTES],
) -> Option<(LessSafeKey, LessSafeKey)> {
    if !shared.was_contributory() {
        return None;
    }
    let prk = Salt::new(HKDF_SHA256, PURPOSE).extract(shared.as_bytes());
    Some((key(&prk, fresh, hub, b"request")?, key(&prk, fresh, hub, b"reply")?))
}

fn key(prk: &Prk, fresh: &[u8; PUBLIC_BYTES], hub: &[u8; PUBLIC_BYTES], way: &[u8]) -> Option<LessSafeKey> {
    let mut bytes = Zeroizing::new([0; 32]);
    let info = [way, fresh.as_slice(), hub.as_slice()];
    prk.expand(&info, HKDF_SHA256).ok()?.fill(bytes.as_mut_slice()).ok()?;
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes.as_slice()).ok()?))
}

fn seal_with(key: &LessSafeKey, plain: &[u8], about: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut sealed = plain.to_vec();
    key.seal_in_place_append_tag(nonce(), Aad::from(about), &mut sealed)
        .map_err(|_| EnvelopeError::DoesNotOpen)?;
    Ok(sealed)
}

fn open_with(key: &LessSafeKey, sealed: &[u8], about: &[u8]) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
    let mut plain = Zeroizing::new(sealed.to_vec());
    let length = key
        .open_in_place(nonce(), Aad::from(about), &mut plain)
        .map_err(|_| EnvelopeError::DoesNotOpen)?
        .len();
    plain.truncate(length);
    Ok(plain)
}

/// Always zero: each key is used for one message only.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// What the authority signs to vouch for a sealing key.
pub fn vouched_bytes(public: &[u8; PUBLIC_BYTES]) -> Vec<u8> {
    [b"mainstay sealing key 1\n", public.as_slice()].concat()
}

/// What the authority signs to say what time it is: to whoever sent these random bytes, and to nobody later.
pub fn time_bytes(nonce: &[u8; 16], unix_ms: u64) -> Vec<u8> {
    [b"mainstay time 1\n", nonce.as_slice(), &unix_ms.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> SealingKey {
        SealingKey::of(&DataKey::generate().unwrap())
    }

    #[test]
    fn a_request_reaches_the_hub_and_its_reply_the_agent() {
        let hub = hub();

        let (sealed, at_agent) = seal(&hub.public(), b"push", b"POST /sealed 1").unwrap();
        let (plain, at_hub) = hub.open(&sealed, b"POST /sealed 1").unwrap();
        let reply = at_hub.seal(b"taken", b"1").unwrap();

        assert_eq!(plain.as_slice(), b"push");
        assert_eq!(at_agent.open(&reply, b"1").unwrap().as_slice(), b"taken");
        assert_eq!(sealed.len(), 4 + REQUEST_OVERHEAD_BYTES);
        assert!(!sealed.windows(4).any(|window| window == b"push"));
    }

    #[test]
    fn nothing_opens_that_was_altered_or_meant_for_another() {
        let (hub, other_hub) = (hub(), hub());
        let (sealed, reply_key) = seal(&hub.public(), b"push", b"about").unwrap();

        for position in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[position] ^= 1;
            assert!(hub.open(&altered, b"about").is_err(), "byte {position}");
        }
        assert!(hub.open(&sealed, b"another").is_err());
        assert!(hub.open(&sealed[..20], b"about").is_err());
        assert!(other_hub.open(&sealed, b"about").is_err());
        let (_, other) = hub
            .open(&seal(&hub.public(), b"push", b"about").unwrap().0, b"about")
            .unwrap();
        assert!(
            reply_key
                .open(&other.seal(b"taken", b"about").unwrap(), b"about")
                .is_err()
        );
    }

    #[test]
    fn a_key_that_shares_nothing_is_refused() {
        assert!(matches!(seal(&[0; 32], b"push", b""), Err(EnvelopeError::BadKey)));
    }

    #[test]
    fn every_process_with_the_same_data_key_has_the_same_sealing_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.key");
        let made = SealingKey::of(&crate::key_file::create(&path).unwrap());

        let loaded = SealingKey::of(&crate::key_file::load(&path).unwrap());

        assert_eq!(made.public(), loaded.public());
        assert_eq!(format!("{made:?}"), "SealingKey(not shown)");
    }
}
