//! ADT A40: pairs of numbers that are one person's, each joined or left for somebody to look at.

use clinic::hl7::{MergeSaid, event_time};
use clinic::keeping::{self, Merged};
use jiff::tz::TimeZone;

use super::receipt::{Effect, Received};
use crate::access::ActError;
use crate::access::site::Site;
use crate::store::WriteTx;

pub(super) fn take(tx: &mut WriteTx<'_>, received: &Received, pairs: &[MergeSaid]) -> Result<Effect, ActError> {
    let zone = TimeZone::get(&Site::of(tx)?.zone).unwrap_or(TimeZone::UTC);
    let mut joined = None;
    let mut doubtful = None;
    for said in pairs {
        let at = event_time(&said.times, &zone, received.received_ms);
        match keeping::merge(&mut received.words(tx), said, at.ms)? {
            Merged::Joined(record) => joined = joined.or(Some(record)),
            Merged::Doubtful(record, why) => doubtful = doubtful.or(Some((record, why))),
        }
    }
    Ok(match doubtful {
        Some((record, why)) => Effect::unmatched(record, why),
        None => Effect::accepted(joined, None),
    })
}
