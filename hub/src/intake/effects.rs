//! What a message does at the hub: people are kept, bookings go to the site that their place stands for, merges link.

use clinic::hl7::{Admission, MergeSaid, Outcome, Scheduling, event_time};
use clinic::keeping::{self, Booking, Merged};
use formats::hl7::{ErrorCode, Hl7Error, SegmentId};
use jiff::tz::TimeZone;
use sync_protocol::RecordId;
use sync_protocol::hub::HubError;

use super::Config;
use super::words::Words;
use crate::db::{DbError, Site, Txn};

const NO_VISIT: &str = "PV1: no visit is started at the hub; it is to be sent to the site";
const DISPUTED: &str = "PID-3: a number of this message is known under another person; look at both";
const OLDER: &str = "MSH-7: a later message of this booking came before; nothing was altered";
const UNKNOWN_PLACE: &str = "no place that the message names (AIL-3, PV1-3, MSH-6) stands for a site in [mllp.sites] of the \
                             hub; add it and send the message under a new control id";

/// What became of a message.
pub(super) struct Effect {
    pub(super) outcome: Outcome,
    /// What somebody should know about it; never what it held.
    pub(super) note: Option<String>,
    /// The record that it made or altered first.
    pub(super) record: Option<RecordId>,
    /// It can be read and cannot be used here; nothing was written.
    pub(super) refusal: Option<Hl7Error>,
}

impl Effect {
    fn accepted(record: Option<RecordId>, note: Option<&str>) -> Effect {
        Effect {
            outcome: Outcome::Accepted,
            note: note.map(str::to_owned),
            record,
            refusal: None,
        }
    }

    fn to_look_at(record: Option<RecordId>, note: &str) -> Effect {
        Effect {
            outcome: Outcome::Unmatched,
            ..Effect::accepted(record, Some(note))
        }
    }

    pub(super) fn refused(refusal: Hl7Error) -> Effect {
        Effect {
            outcome: Outcome::of_refusal(refusal.code),
            note: Some(refusal.to_string()),
            record: None,
            refusal: Some(refusal),
        }
    }
}

/// A message while it takes effect.
pub(super) struct Taking<'a, 'txn> {
    pub(super) txn: &'a mut Txn<'txn>,
    pub(super) config: &'a Config,
    pub(super) source: &'a str,
    pub(super) received_ms: i64,
    /// Records that it has written.
    pub(super) touched: Vec<RecordId>,
}

type Done = Result<Effect, HubError<DbError>>;

impl<'txn> Taking<'_, 'txn> {
    fn words(&mut self, site: Option<&Site>) -> Words<'_, 'txn> {
        Words {
            txn: self.txn,
            source: self.source,
            site: site.map(|site| site.scope),
            touched: &mut self.touched,
        }
    }

    fn site_of(&mut self, places: &[String]) -> Result<Option<Site>, DbError> {
        Ok(self.config.site_of(places, &self.txn.sites()?))
    }

    /// A04: the visit is the site's own, so only the person is kept; one for no known site is refused.
    pub(super) fn register(&mut self, said: &Admission) -> Done {
        let Some(site) = self.site_of(&said.places)? else {
            return Ok(Effect::refused(unknown_place(SegmentId::PV1)));
        };
        let kept = self.keep(said, Some(&site))?;
        Ok(match kept.disputed {
            true => Effect::to_look_at(Some(kept.id), DISPUTED),
            false => Effect::to_look_at(Some(kept.id), NO_VISIT),
        })
    }

    /// A08, A28 and A31.
    pub(super) fn update(&mut self, said: &Admission) -> Done {
        let site = self.site_of(&said.places)?;
        let kept = self.keep(said, site.as_ref())?;
        Ok(match kept.disputed {
            true => Effect::to_look_at(Some(kept.id), DISPUTED),
            false => Effect::accepted(Some(kept.id), None),
        })
    }

    fn keep(&mut self, said: &Admission, site: Option<&Site>) -> Result<keeping::Kept, HubError<DbError>> {
        let event_ms = event_time(&said.times, &zone_of(site), self.received_ms).ms;
        let words = &mut self.words(site);
        let kept = keeping::keep(words, &said.person, event_ms)?;
        keeping::keep_allergies(words, kept.id, &said.allergies, event_ms)?;
        keeping::keep_coverages(words, kept.id, &said.coverages, event_ms)?;
        Ok(kept)
    }

    pub(super) fn schedule(&mut self, said: &Scheduling) -> Done {
        let Some(site) = self.site_of(&said.places)? else {
            return Ok(Effect::refused(unknown_place(SegmentId::AIL)));
        };
        let zone = zone_of(Some(&site));
        let sent: Vec<_> = said.sent.into_iter().collect();
        let event_ms = event_time(&sent, &zone, self.received_ms).ms;
        let words = &mut self.words(Some(&site));
        if let Some(id) = keeping::overtaken(words, said, &zone)? {
            return Ok(Effect::accepted(Some(id), Some(OLDER)));
        }
        let kept = keeping::keep(words, &said.person, event_ms)?;
        let booking = Booking {
            said,
            patient: kept.id,
            site: RecordId(site.scope.0),
            zone: &zone,
            event_ms,
        };
        let id = keeping::book(words, &booking)?;
        Ok(match kept.disputed {
            true => Effect::to_look_at(Some(kept.id), DISPUTED),
            false => Effect::accepted(Some(id), None),
        })
    }

    pub(super) fn merge(&mut self, pairs: &[MergeSaid]) -> Done {
        let mut joined = None;
        let mut doubtful = None;
        for said in pairs {
            let event_ms = event_time(&said.times, &TimeZone::UTC, self.received_ms).ms;
            match keeping::merge(&mut self.words(None), said, event_ms)? {
                Merged::Joined(record) => joined = joined.or(Some(record)),
                Merged::Doubtful(record, why) => doubtful = doubtful.or(Some((record, why))),
            }
        }
        Ok(match doubtful {
            Some((record, why)) => Effect::to_look_at(record, why),
            None => Effect::accepted(joined, None),
        })
    }
}

fn zone_of(site: Option<&Site>) -> TimeZone {
    let zone = site.and_then(|site| TimeZone::get(&site.zone).ok());
    zone.unwrap_or(TimeZone::UTC)
}

fn unknown_place(segment: SegmentId) -> Hl7Error {
    Hl7Error::field(ErrorCode::UnknownKey, segment, 3, UNKNOWN_PLACE)
}
