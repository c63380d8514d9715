//! PID: the patient as the sender knows them.

use super::datatypes::{Address, PatientIdentifier, PersonName, Sent, sent, sent_all, sent_moment, sent_text};
use super::error::{Hl7Error, SegmentId};
use super::fields::Segment;
use super::telecom::{Telecom, TelecomUse};
use crate::date::PartialDate;

/// PID, read. Within a list or a composite, null counts as not sent: the sender states those as a whole.
#[derive(Clone)]
pub struct PatientSegment {
    /// PID-3, or PID-2 of an old sender that leaves PID-3 empty.
    pub identifiers: Vec<PatientIdentifier>,
    /// PID-5
    pub names: Sent<Vec<PersonName>>,
    /// PID-7; the calendar date, also when a time and a zone follow it.
    pub birth_date: Sent<PartialDate>,
    /// PID-8, HL7 table 0001: F, M, O, U, A, N, X.
    pub sex: Sent<String>,
    /// PID-11
    pub addresses: Sent<Vec<Address>>,
    /// PID-13
    pub home_telecoms: Sent<Vec<Telecom>>,
    /// PID-14
    pub work_telecoms: Sent<Vec<Telecom>>,
    /// PID-18
    pub account_number: Sent<PatientIdentifier>,
    /// The segment's own occurrence, for errors about it.
    occurrence: u16,
}

conceal_debug!(PatientSegment);

impl PatientSegment {
    pub(super) fn read(pid: &Segment<'_>) -> Result<Self, Hl7Error> {
        let identifiers = |n| -> Vec<PatientIdentifier> {
            pid.field(n)
                .repetitions()
                .filter_map(|cx| PatientIdentifier::read(&cx))
                .collect()
        };
        let current = identifiers(3);
        Ok(Self {
            identifiers: if current.is_empty() { identifiers(2) } else { current },
            names: sent_all(&pid.field(5), |xpn| PersonName::read(xpn).into_iter().collect()),
            birth_date: match sent_moment(pid, 7)? {
                Sent::Nothing => Sent::Nothing,
                Sent::Null => Sent::Null,
                Sent::Value(moment) => Sent::Value(moment.date()),
            },
            sex: sent_text(&pid.field(8)),
            addresses: sent_all(&pid.field(11), |xad| Address::read(xad).into_iter().collect()),
            home_telecoms: sent_all(&pid.field(13), |xtn| Telecom::read(xtn, TelecomUse::Home)),
            work_telecoms: sent_all(&pid.field(14), |xtn| Telecom::read(xtn, TelecomUse::Work)),
            account_number: sent(&pid.field(18), PatientIdentifier::read),
            occurrence: pid.occurrence(),
        })
    }

    /// Refuses (101) a patient without an identifier (PID-3) or a name (PID-5), which an admission or registration needs.
    /// A result may do without a name.
    pub fn require_identity(&self) -> Result<(), Hl7Error> {
        let missing = match (self.identifiers.is_empty(), self.names.values().is_empty()) {
            (true, _) => 3,
            (false, true) => 5,
            (false, false) => return Ok(()),
        };
        let mut refused = Hl7Error::missing(SegmentId::PID, missing);
        refused.location.occurrence = self.occurrence;
        Err(refused)
    }

    /// The name to go by. PID-5 gives the primary one first (HL7 v2.5.1 §3.4.2.5); only where that is an alias, a maiden
    /// name or a nickname does a legal name behind it go before.
    pub fn name(&self) -> Option<&PersonName> {
        const OTHER_NAMES: [&str; 6] = ["A", "M", "N", "S", "P", "I"];
        let names = self.names.values();
        let is_other = |name: &&PersonName| {
            name.type_code
                .as_deref()
                .is_some_and(|code| OTHER_NAMES.contains(&code))
        };
        let legal = || names.iter().find(|name| name.type_code.as_deref() == Some("L"));
        names
            .first()
            .filter(|name| !is_other(name))
            .or_else(legal)
            .or_else(|| names.first())
    }
}
