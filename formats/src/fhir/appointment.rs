//! Appointment. Read only: a booking is made at the EHR.

use serde::Deserialize;

use super::datatypes::{CodeableConcept, Identifier, Reference};
use super::json::{Resource, known};

/// AppointmentStatus of R4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppointmentStatus {
    Proposed,
    Pending,
    Booked,
    Arrived,
    Fulfilled,
    Cancelled,
    #[serde(rename = "noshow")]
    NoShow,
    EnteredInError,
    CheckedIn,
    Waitlist,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppointmentParticipant {
    /// Patient, practitioner or place.
    pub actor: Option<Reference>,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Appointment {
    pub id: Option<String>,
    pub identifier: Vec<Identifier>,
    #[serde(deserialize_with = "known")]
    pub status: Option<AppointmentStatus>,
    pub reason_code: Vec<CodeableConcept>,
    pub description: Option<String>,
    /// instant
    pub start: Option<String>,
    pub end: Option<String>,
    pub minutes_duration: Option<u32>,
    pub participant: Vec<AppointmentParticipant>,
}

conceal_debug!(AppointmentParticipant, Appointment);

impl Resource for Appointment {
    const TYPE: &'static str = "Appointment";
}

impl Appointment {
    /// The id of the first participant of that kind.
    pub fn participant_of(&self, kind: &str) -> Option<&str> {
        let actors = self.participant.iter().filter_map(|one| one.actor.as_ref());
        actors.filter_map(|actor| actor.id_of(kind)).next()
    }
}
