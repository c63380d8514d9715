//! What the hub signs: how far it holds an incarnation's chain, and record states as it stored them. A hub that was restored
//! from an older copy knows by its own signature what it once held. Who keeps the key and how it signs is the caller's.

use std::fmt;

use crate::cbor::{CborError, Reader, Writer};
use crate::change::{put_bytes, put_u64, sha256};
use crate::ids::{EpochId, Hash, ReplicaId};

/// An Ed25519 signature (RFC 8032), or in a simulation something as long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signature({:02x}{:02x})", self.0[0], self.0[1])
    }
}

/// How a hub signs and knows its own signature again, of whichever epoch.
#[derive(Clone, Copy)]
pub struct Seal<'a> {
    pub sign: &'a dyn Fn(&[u8]) -> Signature,
    pub verify: &'a dyn Fn(&[u8], &Signature) -> bool,
}

/// What is signed of a record's state: its canonical bytes.
pub fn state_said(canonical: &[u8]) -> Vec<u8> {
    [b"mainstay state 1".as_slice(), &sha256(&[canonical]).0].concat()
}

/// What is signed of a snapshot: its manifest as it travels.
pub fn snapshot_said(manifest: &[u8]) -> Vec<u8> {
    [b"mainstay snapshot 1".as_slice(), &sha256(&[manifest]).0].concat()
}

/// What an acknowledgement adds to how far the hub holds a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Up to here the changes are held for good: a confirmed backup has them.
    pub stable: u64,
    pub signature: Signature,
}

/// The hub's word, under its signature, that it holds an incarnation's chain up to a counter whose hash is this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub counter: u64,
    pub hash: Hash,
    pub stable: u64,
    pub signature: Signature,
}

impl Ack {
    pub fn sign(seal: &Seal<'_>, epoch: EpochId, replica: ReplicaId, counter: u64, hash: Hash, stable: u64) -> Ack {
        let mut ack = Ack {
            epoch,
            replica,
            counter,
            hash,
            stable: stable.min(counter),
            signature: Signature([0; 64]),
        };
        ack.signature = (seal.sign)(&ack.said());
        ack
    }

    pub fn is_signed_by(&self, seal: &Seal<'_>) -> bool {
        (seal.verify)(&self.said(), &self.signature)
    }

    /// What is signed.
    pub fn said(&self) -> Vec<u8> {
        let numbers = [self.counter.to_be_bytes(), self.stable.to_be_bytes()].concat();
        [
            b"mainstay acknowledgement 1".as_slice(),
            &self.epoch.0,
            &self.replica.0,
            &numbers,
            &self.hash.0,
        ]
        .concat()
    }

    pub fn sealed(&self) -> Sealed {
        Sealed {
            stable: self.stable,
            signature: self.signature,
        }
    }
}

/// `[stable, signature]`
pub(crate) fn put_sealed(w: &mut Writer, sealed: &Sealed) {
    w.array(2).ok();
    put_u64(w, sealed.stable);
    put_bytes(w, &sealed.signature.0);
}

pub(crate) fn read_sealed(r: &mut Reader<'_>) -> Result<Sealed, CborError> {
    r.exact_array(2, "sealed acknowledgement")?;
    Ok(Sealed {
        stable: r.u64()?,
        signature: Signature(r.fixed("signature")?),
    })
}

/// `[[epoch, replica, counter, hash, stable, signature]…]`
pub(crate) fn put_acks(w: &mut Writer, acks: &[Ack]) {
    w.array(acks.len() as u64).ok();
    for ack in acks {
        w.array(6).ok();
        put_bytes(w, &ack.epoch.0);
        put_bytes(w, &ack.replica.0);
        put_u64(w, ack.counter);
        put_bytes(w, &ack.hash.0);
        put_u64(w, ack.stable);
        put_bytes(w, &ack.signature.0);
    }
}

/// At most so many acknowledgements in one message; an agent that was reborn more often presents the newest.
pub const ACKS_MAX: usize = 64;

pub(crate) fn read_acks(r: &mut Reader<'_>) -> Result<Vec<Ack>, CborError> {
    r.array(ACKS_MAX, "acknowledgements", |r| {
        r.exact_array(6, "acknowledgement")?;
        Ok(Ack {
            epoch: EpochId(r.fixed("epoch")?),
            replica: ReplicaId(r.fixed("replica")?),
            counter: r.u64()?,
            hash: Hash(r.fixed("hash")?),
            stable: r.u64()?,
            signature: Signature(r.fixed("signature")?),
        })
    })
}
