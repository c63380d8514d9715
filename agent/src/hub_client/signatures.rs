//! The hub's signatures. An agent keeps acknowledgements and states so that a hub that was put back to an older copy knows its
//! own word again: what does not bear that word is not taken in the first place.

use std::sync::{PoisonError, RwLock};

use ring::signature::{ED25519, UnparsedPublicKey};
use sync_protocol::signed::state_said;
use sync_protocol::wire::{Page, PushReply, SnapshotReply};
use sync_protocol::{Ack, Signature};

use super::HubError;

/// The key that the hub told, once it has.
#[derive(Default)]
pub(super) struct HubKey(RwLock<Option<[u8; 32]>>);

impl HubKey {
    pub(super) fn take(&self, told: Option<[u8; 32]>) {
        let mut key = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if key.is_some() && told.is_some() && *key != told {
            tracing::warn!("the hub signs with another key than before; what it signed before it may not know again");
        }
        *key = told;
    }

    fn now(&self) -> Option<[u8; 32]> {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything in these pages that is to be signed is, by the hub's key. Of a hub that told none nothing is asked.
    pub(super) fn check_pages(&self, pages: &[Page]) -> Result<(), HubError> {
        let Some(key) = self.now() else { return Ok(()) };
        let is_signed = |page: &Page| {
            let rows = page.rows.iter().filter_map(|row| Some((row.state()?, row.signature?)));
            page.ack().is_some_and(|ack| ack_fits(&key, &ack))
                && rows
                    .into_iter()
                    .all(|(state, signature)| fits(&key, &state_said(&state.to_bytes()), &signature))
        };
        refused_unless(pages.iter().all(is_signed))
    }

    /// The manifest names each chunk by its digest, so its signature stands for all of them.
    pub(super) fn check_snapshot(&self, reply: &SnapshotReply) -> Result<(), HubError> {
        let (Some(key), Some(manifest)) = (self.now(), &reply.manifest) else {
            return Ok(());
        };
        refused_unless(fits(&key, &manifest.said(), &manifest.signature))
    }

    pub(super) fn check_push(&self, reply: &PushReply) -> Result<(), HubError> {
        let Some(key) = self.now() else { return Ok(()) };
        let own = reply.ack().is_some_and(|ack| ack_fits(&key, &ack));
        refused_unless(own && reply.acks.iter().all(|ack| ack_fits(&key, ack)))
    }
}

fn refused_unless(is_signed: bool) -> Result<(), HubError> {
    is_signed.then_some(()).ok_or(HubError::NotSigned)
}

fn ack_fits(key: &[u8; 32], ack: &Ack) -> bool {
    fits(key, &ack.said(), &ack.signature)
}

fn fits(key: &[u8; 32], said: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(said, &signature.0).is_ok()
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use sync_protocol::{EpochId, Hash, ReplicaId, Seal};

    use super::*;

    fn reply(pair: &Ed25519KeyPair) -> PushReply {
        let sign = |said: &[u8]| {
            let mut signature = [0; 64];
            signature.copy_from_slice(pair.sign(said).as_ref());
            Signature(signature)
        };
        let seal = Seal {
            sign: &sign,
            verify: &|_, _| false,
        };
        let (epoch, replica, hash) = (EpochId([1; 16]), ReplicaId([2; 16]), Hash([3; 32]));
        let ack = Ack::sign(&seal, epoch, replica, 9, hash, 4);
        PushReply {
            epoch,
            replica,
            accepted: 9,
            hash,
            quarantined: Vec::new(),
            sealed: Some(ack.sealed()),
            acks: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_the_hubs_word_is_not_taken_once_its_key_is_known() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let key = HubKey::default();
        let honest = reply(&pair);
        let altered = PushReply {
            accepted: 8,
            ..honest.clone()
        };
        let bare = PushReply {
            sealed: None,
            ..honest.clone()
        };
        assert!(key.check_push(&altered).is_ok() && key.check_push(&bare).is_ok());

        key.take(pair.public_key().as_ref().try_into().ok());

        assert!(key.check_push(&honest).is_ok());
        assert!(key.check_push(&altered).is_err() && key.check_push(&bare).is_err());
    }
}
