//! SIU: the booking, in the one record that every feed of it writes, and the patient as a registration would keep them. It
//! starts no visit.

use clinic::hl7::{Scheduling, event_time};
use clinic::keeping::{self, Booking};
use jiff::tz::TimeZone;

use super::receipt::{Effect, Received};
use super::register::{DISPUTED, TIME_REPLACED};
use crate::access::ActError;
use crate::access::site::Site;
use crate::store::WriteTx;

const OLDER: &str = "MSH-7: a later message of this booking came before; nothing was altered";

pub(super) fn take(tx: &mut WriteTx<'_>, received: &Received, said: &Scheduling) -> Result<Effect, ActError> {
    let site = Site::of(tx)?;
    let zone = TimeZone::get(&site.zone).unwrap_or(TimeZone::UTC);
    let sent: Vec<_> = said.sent.into_iter().collect();
    let at = event_time(&sent, &zone, received.received_ms);
    let mut words = received.words(tx);
    if let Some(id) = keeping::overtaken(&mut words, said, &zone)? {
        return Ok(Effect::accepted(Some(id), Some(OLDER)));
    }
    let kept = keeping::keep(&mut words, &said.person, at.ms)?;
    let booking = Booking {
        said,
        patient: kept.id,
        site: site.id,
        zone: &zone,
        event_ms: at.ms,
    };
    let id = keeping::book(&mut words, &booking)?;
    Ok(match kept.disputed {
        true => Effect::unmatched(Some(kept.id), DISPUTED),
        false => Effect::accepted(Some(id), at.replaced.then_some(TIME_REPLACED)),
    })
}
