//! What is said when the hub's store begins a new life: the agent asks which epoch it is and shows what it was told in the
//! old one; then it returns its bases as it received them.

use super::pull::{CURSORS_MAX, Cursor, put_cursors, read_cursors};
use super::{WireError, frame, missing, open};
use crate::cbor::CborError;
use crate::change::{put_bytes, put_u64};
use crate::ids::{EpochId, Hash, RecordId, ReplicaId, ScopeId};
use crate::signed::{ACKS_MAX, Ack, Signature, put_acks, read_acks};

/// States of one return at most.
pub const RETURNS_MAX: usize = 1_024;

/// "I am of this epoch, had this much of your feed, and have your word for this much of mine."
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochRequest {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub acks: Vec<Ack>,
    pub cursors: Vec<Cursor>,
}

/// The hub's epoch now, and what it holds of each incarnation that was shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochReply {
    pub epoch: EpochId,
    pub held: Vec<Held>,
}

/// How far the hub holds an incarnation's chain, and the hash there; never beyond the counter that was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    pub replica: ReplicaId,
    pub counter: u64,
    pub hash: Hash,
}

/// Bases as they were received, in the order of their records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReturnRequest {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    /// The word for the agent's own changes that these bases were made with.
    pub acks: Vec<Ack>,
    pub states: Vec<Returned>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Returned {
    pub record: RecordId,
    /// The scope that it was received in; none when that has let go of it since.
    pub scope: Option<ScopeId>,
    /// Canonical bytes, which are what was signed.
    pub state: Vec<u8>,
    pub signature: Signature,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReturnReply {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    /// Everything up to this record has been looked at.
    pub upto: RecordId,
    /// States that were not signed by this hub, or could not be used.
    pub refused: u64,
}

impl EpochRequest {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_acks(w, &self.acks));
            map.put(4, |w| put_cursors(w, &self.cursors));
        })
    }

    pub fn decode(body: &[u8]) -> Result<EpochRequest, WireError> {
        let (mut epoch, mut replica, mut acks, mut cursors) = (None, None, Vec::new(), Vec::new());
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => acks = read_acks(r)?,
                4 => cursors = read_cursors(r, CURSORS_MAX)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(EpochRequest {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            acks,
            cursors,
        })
    }
}

impl EpochReply {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| {
                w.array(self.held.len() as u64).ok();
                for held in &self.held {
                    w.array(3).ok();
                    put_bytes(w, &held.replica.0);
                    put_u64(w, held.counter);
                    put_bytes(w, &held.hash.0);
                }
            });
        })
    }

    pub fn decode(body: &[u8]) -> Result<EpochReply, WireError> {
        let (mut epoch, mut held) = (None, Vec::new());
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => {
                    held = r.array(ACKS_MAX, "incarnations", |r| {
                        r.exact_array(3, "incarnation")?;
                        Ok(Held {
                            replica: ReplicaId(r.fixed("replica")?),
                            counter: r.u64()?,
                            hash: Hash(r.fixed("hash")?),
                        })
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(EpochReply {
            epoch: epoch.ok_or(missing("epoch"))?,
            held,
        })
    }
}

impl ReturnRequest {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_acks(w, &self.acks));
            map.put(4, |w| {
                w.array(self.states.len() as u64).ok();
                for returned in &self.states {
                    w.array(if returned.scope.is_some() { 4 } else { 3 }).ok();
                    put_bytes(w, &returned.record.0);
                    put_bytes(w, &returned.state);
                    put_bytes(w, &returned.signature.0);
                    if let Some(scope) = returned.scope {
                        put_bytes(w, &scope.0);
                    }
                }
            });
        })
    }

    pub fn decode(body: &[u8]) -> Result<ReturnRequest, WireError> {
        let (mut epoch, mut replica, mut acks, mut states) = (None, None, Vec::new(), None);
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => acks = read_acks(r)?,
                4 => {
                    states = Some(r.array(RETURNS_MAX, "returned states", |r| {
                        let parts = r.array_length()?;
                        if !(3..=4).contains(&parts) {
                            return Err(CborError::Form { what: "returned state" });
                        }
                        Ok(Returned {
                            record: RecordId(r.fixed("record")?),
                            state: r.bytes()?.to_vec(),
                            signature: Signature(r.fixed("signature")?),
                            scope: if parts == 4 {
                                Some(ScopeId(r.fixed("scope")?))
                            } else {
                                None
                            },
                        })
                    })?);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(ReturnRequest {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            acks,
            states: states.ok_or(missing("returned states"))?,
        })
    }
}

impl ReturnReply {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_bytes(w, &self.upto.0));
            map.put(4, |w| put_u64(w, self.refused));
        })
    }

    pub fn decode(body: &[u8]) -> Result<ReturnReply, WireError> {
        let (mut epoch, mut replica, mut upto, mut refused) = (None, None, None, 0);
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => upto = Some(RecordId(r.fixed("record")?)),
                4 => refused = r.u64()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(ReturnReply {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            upto: upto.ok_or(missing("record"))?,
            refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::sha256;
    use crate::state::STATE_HELD_MAX_BYTES;
    use crate::wire::BODY_MAX_BYTES;

    /// Bytes that do not pack at all.
    fn noise(length: usize) -> Vec<u8> {
        let blocks = (0..length.div_ceil(32) as u64).map(|at| sha256(&[&at.to_be_bytes()]).0);
        let mut bytes: Vec<u8> = blocks.flatten().collect();
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn one_body_holds_the_largest_state_and_every_acknowledgement_however_badly_they_pack() {
        let id = |at: usize| -> [u8; 16] { noise(16 * (at + 1))[16 * at..].try_into().unwrap() };
        let signature = |at: usize| Signature(noise(64 * (at + 1))[64 * at..].try_into().unwrap());
        let ack = |at| Ack {
            epoch: EpochId(id(at)),
            replica: ReplicaId(id(at + 100)),
            counter: u64::MAX - at as u64,
            hash: sha256(&[&at.to_be_bytes()]),
            stable: u64::MAX - at as u64,
            signature: signature(at),
        };
        let request = ReturnRequest {
            epoch: EpochId(id(1)),
            replica: ReplicaId(id(2)),
            acks: (0..ACKS_MAX).map(ack).collect(),
            states: vec![Returned {
                record: RecordId(id(3)),
                state: noise(STATE_HELD_MAX_BYTES),
                signature: signature(4),
                scope: Some(ScopeId(id(5))),
            }],
        };

        let body = request.encode();

        assert!(body.len() > STATE_HELD_MAX_BYTES, "it packs");
        assert!(body.len() <= BODY_MAX_BYTES, "{} bytes", body.len());
    }
}
