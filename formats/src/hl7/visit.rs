//! PV1, PV2 and EVN: the visit, and when the event was.

use super::datatypes::{
    Clinician, Coded, PatientIdentifier, PatientLocation, Sent, sent, sent_moment, sent_text, tidy,
};
use super::error::Hl7Error;
use super::fields::Segment;
use crate::date::Moment;

/// PV1, with PV2-3.
#[derive(Clone)]
pub struct Visit {
    /// PV1-2, HL7 table 0004: E, I, O, P, …
    pub class: Option<String>,
    /// PV1-3
    pub location: Sent<PatientLocation>,
    /// PV1-7, the first.
    pub attending: Sent<Clinician>,
    /// PV1-19
    pub visit_number: Sent<PatientIdentifier>,
    /// PV1-44
    pub admitted: Sent<Moment>,
    /// PV1-45
    pub discharged: Sent<Moment>,
    /// PV2-3
    pub reason: Sent<Coded>,
}

/// EVN without its event code, which MSH-9 overrides.
#[derive(Clone)]
pub struct Event {
    /// EVN-2
    pub recorded: Sent<Moment>,
    /// EVN-6
    pub occurred: Sent<Moment>,
    /// EVN-4
    pub reason: Sent<String>,
}

conceal_debug!(Visit, Event);

impl Visit {
    pub(super) fn read(pv1: &Segment<'_>, pv2: Option<&Segment<'_>>) -> Result<Self, Hl7Error> {
        Ok(Self {
            class: tidy(pv1.field(2).text()),
            location: sent(&pv1.field(3), PatientLocation::read),
            attending: sent(&pv1.field(7), Clinician::read),
            visit_number: sent(&pv1.field(19), PatientIdentifier::read),
            admitted: sent_moment(pv1, 44)?,
            discharged: sent_moment(pv1, 45)?,
            reason: pv2.map_or(Sent::Nothing, |pv2| sent(&pv2.field(3), Coded::read)),
        })
    }
}

impl Event {
    pub(super) fn read(evn: &Segment<'_>) -> Result<Self, Hl7Error> {
        Ok(Self {
            recorded: sent_moment(evn, 2)?,
            occurred: sent_moment(evn, 6)?,
            reason: sent_text(&evn.field(4)),
        })
    }
}
