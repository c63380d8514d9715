//! Sealing small secrets (the agent's TLS key, the hub's authority key) under the data key, so that none lies on a disk in
//! clear. A sealed thing opens only under the label it was sealed with, so one cannot be put in another's place.

use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::key_file::DataKey;
use crate::private_file::{self, PrivateFileError};
use crate::random::{self, RandomFailed};

const MAGIC: &[u8; 4] = b"mse1";
const SALT_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + SALT_BYTES;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("not a sealed file of this program, or cut short: restore it from a backup")]
    NotSealed,
    #[error(
        "does not open: it was sealed under another key or for another purpose, or it is damaged; check the key file, then restore a backup"
    )]
    DoesNotOpen,
    #[error(transparent)]
    File(#[from] PrivateFileError),
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

/// Seals with AES-256-GCM. Layout: `"mse1"`, 32 bytes of salt, ciphertext, 16 bytes of tag.
///
/// Every call derives a key of its own from a fresh salt and the label, so no nonce can ever meet another, however much
/// is sealed under one data key.
pub fn seal(key: &DataKey, label: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut sealed = Vec::with_capacity(HEAD_BYTES + plain.len() + AES_256_GCM.tag_len());
    sealed.extend_from_slice(MAGIC);
    sealed.resize(HEAD_BYTES, 0);
    random::fill(&mut sealed[MAGIC.len()..])?;

    let cipher = cipher(key, &sealed[MAGIC.len()..], label);
    let mut secret = Zeroizing::new(plain.to_vec());
    let tag = cipher
        .seal_in_place_separate_tag(nonce(), Aad::from(MAGIC), &mut secret)
        .map_err(|_| SealError::DoesNotOpen)?;
    sealed.extend_from_slice(&secret);
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens what [`seal`] made under the same key and label.
pub fn open(key: &DataKey, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    if sealed.len() < HEAD_BYTES + AES_256_GCM.tag_len() || !sealed.starts_with(MAGIC) {
        return Err(SealError::NotSealed);
    }
    let (head, body) = sealed.split_at(HEAD_BYTES);
    let mut secret = Zeroizing::new(body.to_vec());
    let length = cipher(key, &head[MAGIC.len()..], label)
        .open_in_place(nonce(), Aad::from(MAGIC), &mut secret)
        .map_err(|_| SealError::DoesNotOpen)?
        .len();
    secret.truncate(length);
    Ok(secret)
}

/// Seals into a private file, replacing one that is there.
pub fn write_sealed(path: &Path, key: &DataKey, label: &str, plain: &[u8]) -> Result<(), SealError> {
    Ok(private_file::write_private(path, &seal(key, label, plain)?)?)
}

/// Opens a private file written by [`write_sealed`].
pub fn read_sealed(path: &Path, key: &DataKey, label: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
    open(key, label, &private_file::read_private(path)?)
}

fn cipher(key: &DataKey, salt: &[u8], label: &str) -> LessSafeKey {
    let derived = key.derive(salt, &format!("mainstay seal 1: {label}"));
    let unbound = UnboundKey::new(&AES_256_GCM, derived.as_slice())
        .unwrap_or_else(|_| unreachable!("AES-256 takes a key of 32 bytes"));
    LessSafeKey::new(unbound)
}

/// Always zero: the key is used for one message only.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_under_the_same_key_and_label() {
        let key = DataKey::generate().unwrap();

        let sealed = seal(&key, "hub authority", b"a private key").unwrap();

        assert_eq!(
            open(&key, "hub authority", &sealed).unwrap().as_slice(),
            b"a private key"
        );
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_ne!(sealed, seal(&key, "hub authority", b"a private key").unwrap());
    }

    #[test]
    fn another_key_or_label_does_not_open_it() {
        let key = DataKey::generate().unwrap();
        let sealed = seal(&key, "hub authority", b"a private key").unwrap();

        assert!(matches!(
            open(&DataKey::generate().unwrap(), "hub authority", &sealed),
            Err(SealError::DoesNotOpen)
        ));
        assert!(matches!(open(&key, "agent tls", &sealed), Err(SealError::DoesNotOpen)));
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let key = DataKey::generate().unwrap();
        let sealed = seal(&key, "label", b"secret").unwrap();

        for position in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[position] ^= 1;
            assert!(open(&key, "label", &damaged).is_err(), "byte {position}");
        }
        for length in 0..sealed.len() {
            assert!(open(&key, "label", &sealed[..length]).is_err());
        }
    }

    #[test]
    fn a_sealed_file_holds_no_plain_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls.key");
        let key = DataKey::generate().unwrap();

        write_sealed(&path, &key, "agent tls", b"very private").unwrap();

        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"very"));
        assert_eq!(
            read_sealed(&path, &key, "agent tls").unwrap().as_slice(),
            b"very private"
        );
    }
}
