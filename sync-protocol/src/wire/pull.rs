//! Pull: what a replica has, and the pages that follow it with what the hub says beside them.

use std::collections::BTreeMap;

use super::{Page, WireError, frame, missing, open, read_lane};
use crate::cbor::{CborError, Reader, Writer};
use crate::change::{put_bytes, put_u64};
use crate::ids::{EpochId, Hash, Lane, RecordId, ReplicaId, ScopeId};

pub(super) const CURSORS_MAX: usize = 256;
/// Records that one pull says it is willing to forget; the rest follow with the next.
pub const WILLING_MAX: usize = 1_024;

/// How far a puller has one lane of one scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    pub scope: ScopeId,
    pub lane: Lane,
    pub generation: u64,
    pub sequence: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullRequest {
    pub epoch: EpochId,
    pub replica: ReplicaId,
    pub cursors: Vec<Cursor>,
    pub bytes_max: u64,
    /// How long the hub may hold the question when it has nothing to say.
    pub wait_ms: u64,
    /// Offers to forget that this replica agrees to.
    pub willing: Vec<Willing>,
    /// Where nothing is new, a digest of what the pages would say will do.
    pub takes_digest: bool,
    /// Of the bytes, what each lane has to itself while something of it waits. What is not needed goes to the highest lane that
    /// has more. None: all goes to the higher lanes first.
    pub budgets: BTreeMap<Lane, u64>,
}

/// Agreement to one offer: the hub's row of the record must still be the one of this sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Willing {
    pub scope: ScopeId,
    pub lane: Lane,
    pub record: RecordId,
    pub sequence: u64,
}

pub(super) fn put_cursor(w: &mut Writer, cursor: &Cursor) {
    w.array(4).ok();
    put_bytes(w, &cursor.scope.0);
    put_u64(w, cursor.lane as u64);
    put_u64(w, cursor.generation);
    put_u64(w, cursor.sequence);
}

pub(super) fn read_cursor(r: &mut Reader<'_>) -> Result<Cursor, CborError> {
    r.exact_array(4, "cursor")?;
    Ok(Cursor {
        scope: ScopeId(r.fixed("scope")?),
        lane: read_lane(r)?,
        generation: r.u64()?,
        sequence: r.u64()?,
    })
}

pub(super) fn put_cursors(w: &mut Writer, cursors: &[Cursor]) {
    w.array(cursors.len() as u64).ok();
    cursors.iter().for_each(|cursor| put_cursor(w, cursor));
}

pub(super) fn read_cursors(r: &mut Reader<'_>, max: usize) -> Result<Vec<Cursor>, CborError> {
    r.array(max, "cursors", read_cursor)
}

impl PullRequest {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| put_bytes(w, &self.epoch.0));
            map.put(2, |w| put_bytes(w, &self.replica.0));
            map.put(3, |w| put_cursors(w, &self.cursors));
            map.put(4, |w| put_u64(w, self.bytes_max));
            map.put(5, |w| put_u64(w, self.wait_ms));
            if !self.willing.is_empty() {
                map.put(6, |w| {
                    w.array(self.willing.len() as u64).ok();
                    for willing in &self.willing {
                        w.array(4).ok();
                        put_bytes(w, &willing.scope.0);
                        put_u64(w, willing.lane as u64);
                        put_bytes(w, &willing.record.0);
                        put_u64(w, willing.sequence);
                    }
                });
            }
            if self.takes_digest {
                map.put(7, |w| {
                    w.bool(true).ok();
                });
            }
            if !self.budgets.is_empty() {
                map.put(8, |w| {
                    w.array(self.budgets.len() as u64).ok();
                    for (lane, bytes) in &self.budgets {
                        w.array(2).ok();
                        put_u64(w, *lane as u64);
                        put_u64(w, *bytes);
                    }
                });
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<PullRequest, WireError> {
        let (mut epoch, mut replica, mut cursors, mut bytes_max, mut wait_ms) = Default::default();
        let (mut willing, mut takes_digest, mut budgets) = (Vec::new(), false, Vec::new());
        open(body, |key, r| {
            match key {
                1 => epoch = Some(EpochId(r.fixed("epoch")?)),
                2 => replica = Some(ReplicaId(r.fixed("replica")?)),
                3 => cursors = Some(read_cursors(r, CURSORS_MAX)?),
                4 => bytes_max = Some(r.u64()?),
                5 => wait_ms = r.u64()?,
                6 => {
                    willing = r.array(WILLING_MAX, "willing", |r| {
                        r.exact_array(4, "willing")?;
                        Ok(Willing {
                            scope: ScopeId(r.fixed("scope")?),
                            lane: read_lane(r)?,
                            record: RecordId(r.fixed("record")?),
                            sequence: r.u64()?,
                        })
                    })?;
                }
                7 => takes_digest = r.bool()?,
                8 => {
                    budgets = r.array(Lane::ALL.len(), "budgets", |r| {
                        r.exact_array(2, "budget")?;
                        Ok((read_lane(r)?, r.u64()?))
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PullRequest {
            epoch: epoch.ok_or(missing("epoch"))?,
            replica: replica.ok_or(missing("replica"))?,
            cursors: cursors.ok_or(missing("cursors"))?,
            bytes_max: bytes_max.ok_or(missing("byte budget"))?,
            wait_ms,
            willing,
            takes_digest,
            budgets: budgets.into_iter().collect(),
        })
    }
}

/// The pages of one pull, higher lanes first, and what the hub says beside them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PullReply {
    pub pages: Vec<Page>,
    /// The hub's wall clock, milliseconds since 1970, when it answered.
    pub hub_ms: u64,
    /// The short series of this incarnation's TEMP numbers.
    pub series: Option<u32>,
    /// Whether the hub reaches the EHR: `None` when there is no machine to reach.
    pub ehr_reached: Option<bool>,
    /// When the hub last had everything from the EHR, milliseconds since 1970.
    pub ehr_polled_ms: Option<u64>,
    /// The lanes of scopes that this replica is to follow; those that it does not follow yet begin at nothing.
    pub follows: Vec<(ScopeId, Lane)>,
    /// In place of pages, to whoever takes it: the digest of what they would say.
    pub at_rest: Option<Hash>,
}

impl PullReply {
    pub fn encode(&self) -> Vec<u8> {
        frame(|map| {
            map.put(1, |w| {
                w.array(self.pages.len() as u64).ok();
                self.pages.iter().for_each(|page| page.put(w));
            });
            map.put(2, |w| put_u64(w, self.hub_ms));
            if let Some(series) = self.series {
                map.put(3, |w| put_u64(w, u64::from(series)));
            }
            if let Some(reached) = self.ehr_reached {
                map.put(4, |w| {
                    w.bool(reached).ok();
                });
            }
            if let Some(polled) = self.ehr_polled_ms {
                map.put(5, |w| put_u64(w, polled));
            }
            if !self.follows.is_empty() {
                map.put(6, |w| {
                    w.array(self.follows.len() as u64).ok();
                    for (scope, lane) in &self.follows {
                        w.array(2).ok();
                        put_bytes(w, &scope.0);
                        put_u64(w, *lane as u64);
                    }
                });
            }
            if let Some(digest) = self.at_rest {
                map.put(7, |w| put_bytes(w, &digest.0));
            }
        })
    }

    pub fn decode(body: &[u8]) -> Result<PullReply, WireError> {
        let (mut pages, mut hub_ms, mut series, mut ehr_reached, mut ehr_polled_ms) = Default::default();
        let (mut follows, mut at_rest) = (Vec::new(), None);
        open(body, |key, r| {
            match key {
                1 => pages = Some(r.array(CURSORS_MAX, "pages", Page::read)?),
                2 => hub_ms = Some(r.u64()?),
                3 => series = Some(r.u32()?),
                4 => ehr_reached = Some(r.bool()?),
                5 => ehr_polled_ms = Some(r.u64()?),
                6 => {
                    follows = r.array(CURSORS_MAX, "lanes to follow", |r| {
                        r.exact_array(2, "lane to follow")?;
                        Ok((ScopeId(r.fixed("scope")?), read_lane(r)?))
                    })?;
                }
                7 => at_rest = Some(Hash(r.fixed("digest")?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(PullReply {
            pages: pages.ok_or(missing("pages"))?,
            hub_ms: hub_ms.ok_or(missing("time of the hub"))?,
            series,
            ehr_reached,
            ehr_polled_ms,
            follows,
            at_rest,
        })
    }
}
