//! Push: a run of one replica's changes up, and the hub's acknowledgement down.

use super::compact::{self, Batch};
use super::{COMPACT_SINCE, WireError, frame, frame_apart, missing, open};
use crate::cbor::{self, CborError, MapWriter};
use crate::change::{Change, put_bytes, put_u64};
use crate::ids::{BootId, EpochId, Hash, ReplicaId};
use crate::signed::{Ack, Sealed, put_acks, put_sealed, read_acks, read_sealed};
use crate::time::BootClock;

/// Of one push.
pub const CHANGES_MAX: usize = 4_096;
/// The key of a compact batch, which stands in place of the changes.
const COMPACT: u64 = 80;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushRequest {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    /// The changes continue the chain after this counter, whose hash is `previous`.
    pub after: u64,
    pub previous: Hash,
    pub changes: Vec<Change>,
    /// The hash after the last of them.
    pub last: Hash,
    /// The hub's word for every earlier incarnation whose changes are not yet stable, and for this one where it is of an
    /// earlier epoch.
    pub acks: Vec<Ack>,
    /// How this replica's clocks stand beside the hub's, where it could tell.
    pub clock: Option<BootClock>,
}

/// The hub's acknowledgement: how far it holds this replica's chain, and the hash there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushReply {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub accepted: u64,
    pub hash: Hash,
    /// Counters of this run that were kept but could not be used, with the reason.
    pub quarantined: Vec<(u64, u16)>,
    /// How far the changes are stable, and the signature; absent from a hub that does not sign.
    pub sealed: Option<Sealed>,
    /// The hub's word, as it is now, for the other incarnations that were shown.
    pub acks: Vec<Ack>,
}

impl PushReply {
    /// The acknowledgement by itself, to be kept and shown again.
    pub fn ack(&self) -> Option<Ack> {
        self.sealed.map(|sealed| Ack {
            epoch: self.epoch,
            replica: self.replica,
            counter: self.accepted,
            hash: self.hash,
            stable: sealed.stable,
            signature: sealed.signature,
        })
    }
}

impl PushRequest {
    /// As every hub reads it.
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            self.put_place(map);
            map.put(5, |w| {
                w.array(self.changes.len() as u64).ok();
                for change in &self.changes {
                    w.array(3).ok();
                    put_bytes(w, &change.header);
                    put_bytes(w, &change.salt);
                    put_bytes(w, &change.payload);
                }
            });
        })
    }

    /// As a hub of protocol 2 reads it: the same changes in fewer bytes.
    pub fn encode_compact(&self) -> Vec<u8> {
        let batch = compact::pack(self.replica, self.after, &self.changes);
        let random = batch.random_bytes();
        let batch = cbor::encode(|w| batch.put(w));
        frame_apart(COMPACT_SINCE, &[batch.len(), random], |map| {
            self.put_place(map);
            map.put(COMPACT, |w| w.writer_mut().extend_from_slice(&batch));
        })
    }

    /// What each part of a compact batch weighs before it is compressed, by name.
    pub fn compact_parts(&self) -> Vec<(&'static str, usize)> {
        compact::pack(self.replica, self.after, &self.changes).parts()
    }

    fn put_place(&self, map: &mut MapWriter) {
        map.put(1, |w| put_bytes(w, &self.epoch.0));
        map.put(2, |w| put_bytes(w, &self.replica.0));
        map.put(3, |w| put_u64(w, self.after));
        map.put(4, |w| put_bytes(w, &self.previous.0));
        map.put(6, |w| put_bytes(w, &self.last.0));
        if !self.acks.is_empty() {
            map.put(20, |w| put_acks(w, &self.acks));
        }
        if let Some(clock) = &self.clock {
            map.put(21, |w| {
                w.array(4).ok();
                put_bytes(w, &clock.boot.0);
                put_u64(w, clock.zero_ms);
                put_u64(w, clock.monotonic_ms);
                put_u64(w, clock.wall_ms);
            });
        }
    }

    pub fn decode(body: &[u8]) -> Result<PushRequest, WireError> {
        let (mut epoch, mut replica, mut after, mut previous, mut changes, mut last) = Default::default();
        let mut batch = None;
        let (mut acks, mut clock) = (Vec::new(), None);
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => after = Some(r.u64()?),
                4 => previous = Some(Hash(r.fixed("previous hash")?)),
                5 => {
                    changes = Some(r.array(CHANGES_MAX, "changes", |r| {
                        r.exact_array(3, "change")?;
                        let header = r.bytes()?.to_vec();
                        Ok(Change {
                            header,
                            salt: r.fixed("salt")?,
                            payload: r.bytes()?.to_vec(),
                        })
                    })?);
                }
                6 => last = Some(Hash(r.fixed("last hash")?)),
                COMPACT => batch = Some(Batch::read(r)?),
                20 => acks = read_acks(r)?,
                21 => {
                    r.exact_array(4, "clock")?;
                    clock = Some(BootClock {
                        boot: BootId(r.fixed("boot")?),
                        zero_ms: r.u64()?,
                        monotonic_ms: r.u64()?,
                        wall_ms: r.u64()?,
                    });
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let replica = replica.ok_or(missing("replica"))?;
        let after = after.ok_or(missing("counter"))?;
        match (&changes, batch) {
            // Which of the two an older reader would take is not the sender's to choose.
            (Some(_), Some(_)) => return Err(CborError::Form { what: "changes" }.into()),
            (None, Some(batch)) => changes = Some(compact::unpack(replica, after, batch)?),
            (_, None) => {}
        }
        Ok(PushRequest {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica,
            after,
            previous: previous.ok_or(missing("previous hash"))?,
            changes: changes.ok_or(missing("changes"))?,
            last: last.ok_or(missing("last hash"))?,
            acks,
            clock,
        })
    }
}

impl PushReply {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_u64(w, self.accepted));
            map.put(4, |w| put_bytes(w, &self.hash.0));
            if !self.quarantined.is_empty() {
                map.put(5, |w| {
                    w.array(self.quarantined.len() as u64).ok();
                    for (counter, reason) in &self.quarantined {
                        w.array(2).ok();
                        put_u64(w, *counter);
                        put_u64(w, u64::from(*reason));
                    }
                });
            }
            if let Some(sealed) = &self.sealed {
                map.put(20, |w| put_sealed(w, sealed));
            }
            if !self.acks.is_empty() {
                map.put(21, |w| put_acks(w, &self.acks));
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<PushReply, WireError> {
        let (mut epoch, mut replica, mut accepted, mut hash, mut quarantined) = Default::default();
        let (mut sealed, mut acks) = (None, Vec::new());
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => accepted = Some(r.u64()?),
                4 => hash = Some(Hash(r.fixed("hash")?)),
                5 => {
                    quarantined = r.array(CHANGES_MAX, "quarantined", |r| {
                        r.exact_array(2, "quarantined")?;
                        Ok((r.u64()?, r.u16()?))
                    })?;
                }
                20 => sealed = Some(read_sealed(r)?),
                21 => acks = read_acks(r)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PushReply {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            accepted: accepted.ok_or(missing("counter"))?,
            hash: hash.ok_or(missing("hash"))?,
            quarantined,
            sealed,
            acks,
        })
    }
}
