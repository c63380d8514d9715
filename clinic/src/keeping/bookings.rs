//! A booking that a message tells of, in the one record that every feed of it writes.

use formats::hl7::Sent;
use jiff::tz::TimeZone;
use sync_protocol::cbor::Raw;
use sync_protocol::{ChangeId, FieldId, RecordId};

use super::{Following, SourceLedger};
use crate::booking::appointment_id;
use crate::catalogue::{appointment, provider};
use crate::following::LastSaid;
use crate::hl7::{ProviderSaid, Scheduling};
use crate::index;
use crate::matching::fold;
use crate::write::{Action, Channel, Writing};

/// Under which number of no field it is remembered when the message was sent that a source's last word came in.
const SENT: FieldId = FieldId(0);

/// A booking as a message tells of it, with whose it is and where.
pub struct Booking<'a> {
    pub said: &'a Scheduling,
    pub patient: RecordId,
    pub site: RecordId,
    /// The site's.
    pub zone: &'a TimeZone,
    /// When the message says that it happened.
    pub event_ms: i64,
}

/// The record of a booking of which the same source has sent a later message than this one: nothing that this one says,
/// of the booking or of its patient, is news. To be asked before anything of it is kept.
pub fn overtaken<L: SourceLedger>(
    ledger: &mut L,
    said: &Scheduling,
    zone: &TimeZone,
) -> Result<Option<RecordId>, L::Error> {
    let id = appointment_id(&said.number);
    let last_sent = ledger.last_said(id, SENT)?.and_then(|last| last.value.to_int());
    let is_older = said
        .sent_ms(zone)
        .zip(last_sent)
        .is_some_and(|(sent, last)| sent < last);
    Ok(is_older.then_some(id))
}

/// Keeps it; gives its record. A booking that was not known is made, whatever the event.
pub fn book<L: SourceLedger>(ledger: &mut L, booking: &Booking<'_>) -> Result<RecordId, L::Error> {
    let id = appointment_id(&booking.said.number);
    let sent_ms = booking.said.sent_ms(booking.zone);
    let provider = match &booking.said.provider {
        None => Sent::Nothing,
        Some(named) => provider_of(ledger, named)?.map_or(Sent::Null, Sent::Value),
    };
    let said = booking.said.said(booking.zone);
    let state = ledger.state(id)?;
    let writing = Writing::new(
        appointment::KIND,
        id,
        Action::Message,
        Channel::Hl7.program(),
        booking.event_ms,
    );
    Following::new(id, state.as_ref(), writing)
        .say(ledger, appointment::PATIENT, &Sent::Value(booking.patient), |a, b| {
            a == b
        })?
        .say(ledger, appointment::SITE, &Sent::Value(booking.site), |a, b| a == b)?
        .say(ledger, appointment::PROVIDER, &provider, |a, b| a == b)?
        .say(ledger, appointment::STARTS_MS, &said.starts, |a, b| a == b)?
        .say(ledger, appointment::ENDS_MS, &said.ends, |a, b| a == b)?
        .say(ledger, appointment::REASON, &said.reason, |a, b| {
            fold(a.expose()) == fold(b.expose())
        })?
        .say(ledger, appointment::STATUS, &said.status, |a, b| a == b)?
        .say(ledger, appointment::NUMBER, &said.number, |a, b| {
            (&a.expose().system, &a.expose().value) == (&b.expose().system, &b.expose().value)
        })?
        .write(ledger)?;
    if let Some(sent_ms) = sent_ms {
        let sent = LastSaid {
            change: ChangeId::NIL,
            value: Raw::int(sent_ms),
        };
        ledger.remember(id, SENT, sent)?;
    }
    Ok(id)
}

/// The provider as the organisation lists them: by National Provider Identifier, else by the EHR's id; only one alone.
fn provider_of<L: SourceLedger>(ledger: &mut L, named: &ProviderSaid) -> Result<Option<RecordId>, L::Error> {
    let term = if named.is_npi {
        index::identifier_term(&named.id)
    } else {
        index::partner_term(&named.id)
    };
    let mut listed = ledger.with_term(provider::KIND, &term)?;
    listed.retain(|state| {
        let id = if named.is_npi {
            provider::NPI.value(state)
        } else {
            provider::EHR_ID.value(state)
        };
        id.as_ref() == Some(&named.id)
    });
    Ok(match listed.as_slice() {
        [one] => Some(one.record),
        _ => None,
    })
}
