//! Booked times: the one record that every feed that tells of a booking writes, and what a feed says of it as a change of
//! that record. A booking is derived from its number; a person never is.
//!
//! It refuses to guess: who, where and by whom are records that the caller has found. Of what was not found is said, at most,
//! that it is no more.

use formats::hl7::Sent;
use sync_protocol::state::RecordState;
use sync_protocol::{FieldId, Phi, RecordId};
use uuid::Uuid;

use crate::catalogue::appointment;
use crate::following::{Alike, LastWords, Noted, follow_copy};
use crate::matching::fold;
use crate::value::{AppointmentStatus, Identifier};
use crate::write::Writing;

const APPOINTMENTS: Uuid = Uuid::from_u128(0x6d61_696e_7374_6179_8000_626f_6f6b_6564);

/// The id of the record of a booking: whoever tells of this number of this assigner writes the same record.
pub fn appointment_id(number: &Identifier) -> RecordId {
    let mut name = Vec::with_capacity(number.system.len() + number.value.len() + 1);
    name.extend_from_slice(number.system.as_bytes());
    name.push(0);
    name.extend_from_slice(number.value.as_bytes());
    RecordId(Uuid::new_v5(&APPOINTMENTS, &name).into_bytes())
}

/// What a source says of a booking, with the records that it is about. What it does not speak of is `Nothing`; what it
/// says is no more is `Null`.
#[derive(Clone, Debug)]
pub struct AppointmentSaid {
    pub patient: Sent<RecordId>,
    pub site: Sent<RecordId>,
    pub provider: Sent<RecordId>,
    /// Milliseconds since 1970.
    pub starts: Sent<i64>,
    pub ends: Sent<i64>,
    pub reason: Sent<Phi<String>>,
    pub status: Sent<AppointmentStatus>,
    pub number: Sent<Phi<Identifier>>,
}

impl Default for AppointmentSaid {
    fn default() -> AppointmentSaid {
        AppointmentSaid {
            patient: Sent::Nothing,
            site: Sent::Nothing,
            provider: Sent::Nothing,
            starts: Sent::Nothing,
            ends: Sent::Nothing,
            reason: Sent::Nothing,
            status: Sent::Nothing,
            number: Sent::Nothing,
        }
    }
}

impl AppointmentSaid {
    /// The fields whose last words [`AppointmentSaid::follow`] looks at.
    pub const FIELDS: [FieldId; 8] = [
        appointment::PATIENT.id,
        appointment::SITE.id,
        appointment::PROVIDER.id,
        appointment::STARTS_MS.id,
        appointment::ENDS_MS.id,
        appointment::REASON.id,
        appointment::STATUS.id,
        appointment::NUMBER.id,
    ];

    /// Adds to `writing` what is new of it. `state` is the record as it stands, `last` what the same source said of it
    /// before. What the source repeats undoes nothing that a person or another source has said since.
    pub fn follow(&self, writing: Writing, state: Option<&RecordState>, last: &LastWords) -> (Writing, Vec<Noted>) {
        let mut all = Vec::new();
        let mut writing = writing;
        macro_rules! say {
            ($field:ident, $sent:ident, $same:expr) => {
                let field = appointment::$field;
                let noted;
                (writing, noted) = follow_copy(
                    writing,
                    field,
                    state,
                    &self.$sent,
                    last.get(&field.id),
                    &Alike::by($same),
                );
                all.extend(noted);
            };
        }
        say!(PATIENT, patient, |a, b| a == b);
        say!(SITE, site, |a, b| a == b);
        say!(PROVIDER, provider, |a, b| a == b);
        say!(STARTS_MS, starts, |a, b| a == b);
        say!(ENDS_MS, ends, |a, b| a == b);
        say!(REASON, reason, same_reason);
        say!(STATUS, status, |a, b| a == b);
        say!(NUMBER, number, same_number);
        (writing, all)
    }
}

fn same_reason(a: &Phi<String>, b: &Phi<String>) -> bool {
    a == b || fold(a.expose()) == fold(b.expose())
}

fn same_number(a: &Phi<Identifier>, b: &Phi<Identifier>) -> bool {
    let (a, b) = (a.expose(), b.expose());
    a.system == b.system && a.value == b.value
}

/// Whether somebody is still to come for it. At no site nobody is.
pub fn is_expected(state: &RecordState) -> bool {
    appointment::STATUS.value(state) == Some(AppointmentStatus::Booked)
        && appointment::PATIENT.value(state).is_some()
        && appointment::SITE.value(state).is_some()
}

#[cfg(test)]
mod tests {
    use sync_protocol::author::{self, Stamp};
    use sync_protocol::ids::BootId;
    use sync_protocol::{ChangeId, Dot, HybridTime, ReplicaId};

    use super::*;
    use crate::write::{Action, Channel};

    /// One booking, as two sources and a person write it.
    struct Booking {
        state: Option<RecordState>,
        count: u8,
    }

    impl Booking {
        fn writing() -> Writing {
            Writing::new(
                appointment::KIND,
                id(),
                Action::Message,
                Channel::Connector.program(),
                0,
            )
        }

        fn write(&mut self, writing: Writing) -> Option<ChangeId> {
            self.count += 1;
            let stamp = Stamp {
                change: ChangeId([self.count; 16]),
                salt: [0; 16],
                at: HybridTime {
                    wall_ms: u64::from(self.count),
                    logical: 0,
                },
                boot: BootId([0; 16]),
                monotonic_ms: 0,
            };
            let dot = Dot {
                replica: ReplicaId([1; 16]),
                counter: u64::from(self.count),
            };
            let (header, payload) = author::compose(&writing.done(), &stamp, dot, self.state.as_ref(), None)?;
            let state = self
                .state
                .get_or_insert_with(|| RecordState::new(appointment::KIND, id()));
            state.apply(&header, &payload, |_| true);
            Some(stamp.change)
        }

        /// A source tells of the booking; whether that was a change.
        fn hears(&mut self, said: &AppointmentSaid, last: &mut LastWords) -> bool {
            let (writing, noted) = said.follow(Booking::writing(), self.state.as_ref(), last);
            let change = if writing.is_empty() { None } else { self.write(writing) };
            last.extend(noted.into_iter().map(|noted| (noted.field, noted.said(change))));
            change.is_some()
        }

        fn status(&self) -> Option<AppointmentStatus> {
            appointment::STATUS.value(self.state.as_ref()?)
        }

        fn starts(&self) -> Option<i64> {
            appointment::STARTS_MS.value(self.state.as_ref()?)
        }
    }

    fn number() -> Identifier {
        Identifier {
            system: "urn:example:bookings".to_owned(),
            value: "B-1".to_owned(),
            kind: String::new(),
        }
    }

    fn id() -> RecordId {
        appointment_id(&number())
    }

    fn booked(starts_ms: i64) -> AppointmentSaid {
        AppointmentSaid {
            patient: Sent::Value(RecordId([7; 16])),
            site: Sent::Value(RecordId([8; 16])),
            starts: Sent::Value(starts_ms),
            reason: Sent::Value(Phi::new("Follow-up".to_owned())),
            status: Sent::Value(AppointmentStatus::Booked),
            number: Sent::Value(Phi::new(number())),
            ..AppointmentSaid::default()
        }
    }

    #[test]
    fn a_booking_is_one_record_by_assigner_and_number() {
        let other = |system: &str, value: &str| {
            appointment_id(&Identifier {
                system: system.to_owned(),
                value: value.to_owned(),
                kind: "ANY".to_owned(),
            })
        };

        assert_eq!(other("urn:example:bookings", "B-1"), id());
        assert_ne!(other("urn:example:booking", "sB-1"), id());
        assert_ne!(other("urn:example:bookings", "B-2"), id());
        assert_eq!(format!("{}", id()), "7eb67cf5b1395ee994e6e443b4ac6f4f");
    }

    #[test]
    fn two_feeds_that_tell_the_same_write_it_once() {
        let mut booking = Booking { state: None, count: 0 };
        let (mut ehr, mut hl7) = (LastWords::new(), LastWords::new());

        assert!(booking.hears(&booked(1_000), &mut ehr));
        assert!(!booking.hears(&booked(1_000), &mut hl7));
        assert!(!booking.hears(&booked(1_000), &mut ehr));

        let mut moved = booked(2_000);
        moved.reason = Sent::Value(Phi::new("FOLLOW UP".to_owned()));
        assert!(booking.hears(&moved, &mut hl7));
        assert!(!booking.hears(&moved, &mut ehr));
        assert_eq!(booking.starts(), Some(2_000));
        let state = booking.state.as_ref().unwrap();
        assert_eq!(state.shown(appointment::STARTS_MS.id).len(), 1);
        assert_eq!(appointment::REASON.value(state).unwrap().expose(), "Follow-up");
    }

    #[test]
    fn what_a_source_repeats_does_not_undo_an_arrival() {
        let mut booking = Booking { state: None, count: 0 };
        let mut ehr = LastWords::new();
        booking.hears(&booked(1_000), &mut ehr);
        assert!(is_expected(booking.state.as_ref().unwrap()));
        let shown = booking.state.as_ref().unwrap().shown(appointment::STATUS.id);
        let arrived = Booking::writing().replace(appointment::STATUS, &AppointmentStatus::Arrived, &shown);
        booking.write(arrived);

        let moved = booking.hears(&booked(3_000), &mut ehr);

        assert!(moved);
        assert_eq!(booking.status(), Some(AppointmentStatus::Arrived));
        assert!(!is_expected(booking.state.as_ref().unwrap()));
        assert_eq!(booking.starts(), Some(3_000));
    }

    #[test]
    fn a_source_that_says_no_more_takes_its_own_word_away() {
        let mut booking = Booking { state: None, count: 0 };
        let mut ehr = LastWords::new();
        let mut said = booked(1_000);
        said.provider = Sent::Value(RecordId([9; 16]));
        booking.hears(&said, &mut ehr);

        said.provider = Sent::Null;
        assert!(booking.hears(&said, &mut ehr));
        assert!(!booking.hears(&said, &mut ehr));

        assert_eq!(appointment::PROVIDER.value(booking.state.as_ref().unwrap()), None);
    }
}
