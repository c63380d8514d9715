//! SIU: the booking, in the one record that every feed of it writes, and the patient as a registration would keep them. It
//! starts no visit.

use clinic::hl7::{Scheduling, event_time};
use clinic::keeping::{self, Booked, Booking};
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
    let kept = keeping::keep(&mut words, &said.person, at.ms)?;
    let booking = Booking {
        said,
        patient: kept.id,
        site: site.id,
        zone: &zone,
        event_ms: at.ms,
    };
    Ok(match keeping::book(&mut words, &booking)? {
        Booked::Older(id) => Effect::accepted(Some(id), Some(OLDER)),
        Booked::Kept(_) if kept.disputed => Effect::unmatched(Some(kept.id), DISPUTED),
        Booked::Kept(id) => Effect::accepted(Some(id), at.replaced.then_some(TIME_REPLACED)),
    })
}
