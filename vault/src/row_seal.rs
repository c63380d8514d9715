//! Sealing what a store keeps in its rows, and finding rows by words that the store itself cannot read. Every organisation
//! has keys of its own, derived from the data key; what is sealed for one place opens in no other.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk};
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::key_file::DataKey;
use crate::random;
use crate::seal::SealError;

/// The layout's number, so that another one can follow.
const LAYOUT: u8 = 1;
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + SALT_BYTES;
/// Long enough that no two words of an organisation are ever taken for one another.
pub const BLIND_BYTES: usize = 16;
pub const SIGNATURE_BYTES: usize = 64;

/// From which every organisation's keys are derived. Prints nothing of itself.
pub struct RowRoot(Prk);

impl RowRoot {
    pub fn of(key: &DataKey) -> RowRoot {
        let derived = key.derive(b"", "mainstay rows 1");
        RowRoot(Prk::new_less_safe(HKDF_SHA256, derived.as_slice()))
    }

    pub fn keys_of(&self, organisation: [u8; 16]) -> RowKeys {
        let seal = self.derive(&organisation, b"seal");
        let blind = self.derive(&organisation, b"blind index");
        RowKeys {
            organisation,
            seal: Prk::new_less_safe(HKDF_SHA256, seal.as_slice()),
            blind: hmac::Key::new(hmac::HMAC_SHA256, blind.as_slice()),
            signer: self.signer_of(&organisation),
        }
    }

    /// The key lies with the data key, outside the store and its backup: a store that was put back to an older copy knows
    /// its own signature again.
    fn signer_of(&self, organisation: &[u8; 16]) -> Ed25519KeyPair {
        let seed = self.derive(organisation, b"signature");
        Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .unwrap_or_else(|_| unreachable!("every 32 bytes are a seed of Ed25519"))
    }

    fn derive(&self, organisation: &[u8; 16], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        let info = [organisation.as_slice(), purpose];
        self.0
            .expand(&info, HKDF_SHA256)
            .and_then(|output| output.fill(derived.as_mut_slice()))
            .unwrap_or_else(|_| unreachable!("HKDF-SHA256 gives up to 8160 bytes, 32 are asked"));
        derived
    }
}

impl std::fmt::Debug for RowRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowRoot(not shown)")
    }
}

/// One organisation's keys for its rows. Prints nothing of itself.
pub struct RowKeys {
    organisation: [u8; 16],
    seal: Prk,
    blind: hmac::Key,
    signer: Ed25519KeyPair,
}

impl RowKeys {
    /// Seals with AES-256-GCM for one place: table and key of the row. Layout: 1, 16 bytes of salt, ciphertext, 16 bytes
    /// of tag.
    ///
    /// Every call derives a key of its own from a fresh salt, so no nonce meets another, however many rows there are.
    pub fn seal(&self, place: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::with_capacity(HEAD_BYTES + plain.len() + AES_256_GCM.tag_len());
        sealed.push(LAYOUT);
        sealed.resize(HEAD_BYTES, 0);
        random::fill(&mut sealed[1..])?;

        let cipher = self.cipher(&sealed[1..])?;
        let mut body = Zeroizing::new(plain.to_vec());
        let tag = cipher
            .seal_in_place_separate_tag(nonce(), Aad::from(self.bound(place)), &mut body)
            .map_err(|_| SealError::DoesNotOpen)?;
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`RowKeys::seal`] made for the same organisation and place.
    pub fn open(&self, place: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        if sealed.len() < HEAD_BYTES + AES_256_GCM.tag_len() || sealed[0] != LAYOUT {
            return Err(SealError::NotSealed);
        }
        let (head, body) = sealed.split_at(HEAD_BYTES);
        let mut plain = body.to_vec();
        let length = self
            .cipher(&head[1..])?
            .open_in_place(nonce(), Aad::from(self.bound(place)), &mut plain)
            .map_err(|_| SealError::DoesNotOpen)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    /// A word as the store may see it: the same word always looks the same, and nobody without the key can tell which.
    pub fn blind(&self, purpose: &str, word: &[u8]) -> [u8; BLIND_BYTES] {
        let mut context = hmac::Context::with_key(&self.blind);
        context.update(&(purpose.len() as u32).to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(word);
        let mut blind = [0; BLIND_BYTES];
        blind.copy_from_slice(&context.sign().as_ref()[..BLIND_BYTES]);
        blind
    }

    /// Signs with Ed25519 (RFC 8032): the same thing always gets the same signature.
    pub fn sign(&self, said: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(self.signer.sign(said).as_ref());
        signature
    }

    /// Whether this organisation's hub signed it.
    pub fn has_signed(&self, said: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.signer.public_key());
        key.verify(said, signature).is_ok()
    }

    /// By which others can tell the signature.
    pub fn public_key(&self) -> &[u8] {
        self.signer.public_key().as_ref()
    }

    fn cipher(&self, salt: &[u8]) -> Result<LessSafeKey, SealError> {
        let info = [salt];
        let derived = self
            .seal
            .expand(&info, &AES_256_GCM)
            .map_err(|_| SealError::DoesNotOpen)?;
        Ok(LessSafeKey::new(UnboundKey::from(derived)))
    }

    /// What the sealed thing is bound to; lengths keep the parts apart.
    fn bound(&self, place: &[&[u8]]) -> Vec<u8> {
        let mut bound = self.organisation.to_vec();
        for part in place {
            bound.extend_from_slice(&(part.len() as u32).to_be_bytes());
            bound.extend_from_slice(part);
        }
        bound
    }
}

impl std::fmt::Debug for RowKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowKeys(not shown)")
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; ring::aead::NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_opens_in_its_own_place_under_its_own_organisations_key_only() {
        let key = DataKey::generate().unwrap();
        let keys = RowRoot::of(&key).keys_of([1; 16]);
        let sealed = keys.seal(&[b"states", b"row 1"], b"Vance").unwrap();

        assert_eq!(keys.open(&[b"states", b"row 1"], &sealed).unwrap(), b"Vance");
        for place in [
            &[&b"states"[..], b"row 2"][..],
            &[b"changes", b"row 1"],
            &[b"statesrow 1"],
        ] {
            assert!(matches!(keys.open(place, &sealed), Err(SealError::DoesNotOpen)));
        }
        let others = [
            RowRoot::of(&key).keys_of([2; 16]),
            RowRoot::of(&DataKey::generate().unwrap()).keys_of([1; 16]),
        ];
        for other in others {
            assert!(matches!(
                other.open(&[b"states", b"row 1"], &sealed),
                Err(SealError::DoesNotOpen)
            ));
        }
    }

    #[test]
    fn a_changed_bit_and_a_cut_row_do_not_open() {
        let keys = RowRoot::of(&DataKey::generate().unwrap()).keys_of([1; 16]);
        let sealed = keys.seal(&[b"states"], b"Vance").unwrap();

        for place in 0..sealed.len() {
            let mut wrong = sealed.clone();
            wrong[place] ^= 1;
            assert!(keys.open(&[b"states"], &wrong).is_err(), "byte {place}");
            assert!(keys.open(&[b"states"], &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn a_word_is_blinded_by_key_and_purpose() {
        let key = DataKey::generate().unwrap();
        let keys = RowRoot::of(&key).keys_of([1; 16]);

        assert_eq!(
            keys.blind("term", b"vance"),
            RowRoot::of(&key).keys_of([1; 16]).blind("term", b"vance")
        );
        assert_ne!(keys.blind("term", b"vance"), keys.blind("beginning", b"vance"));
        assert_ne!(
            keys.blind("term", b"vance"),
            RowRoot::of(&key).keys_of([2; 16]).blind("term", b"vance")
        );
    }

    #[test]
    fn a_signature_is_known_again_by_its_own_organisations_key_only() {
        let key = DataKey::generate().unwrap();
        let signature = RowRoot::of(&key).keys_of([1; 16]).sign(b"a state");

        let again = RowRoot::of(&key).keys_of([1; 16]);
        assert_eq!(again.sign(b"a state"), signature);
        assert!(again.has_signed(b"a state", &signature));
        assert!(!again.has_signed(b"another", &signature));
        assert!(!RowRoot::of(&key).keys_of([2; 16]).has_signed(b"a state", &signature));
    }

    #[test]
    fn the_same_row_sealed_twice_looks_different() {
        let keys = RowRoot::of(&DataKey::generate().unwrap()).keys_of([1; 16]);

        assert_ne!(keys.seal(&[], b"x").unwrap(), keys.seal(&[], b"x").unwrap());
    }
}
