//! AL1 and IN1: allergies and insurance.

use super::datatypes::{Coded, PatientIdentifier, PersonName, Sent, sent, sent_all, sent_moment, sent_text, tidy};
use super::error::Hl7Error;
use super::fields::Segment;
use crate::date::Moment;

/// AL1: one allergy.
#[derive(Clone)]
pub struct Allergy {
    /// AL1-2, HL7 table 0127: DA drug, FA food, EA environment, …
    pub kind: Option<String>,
    /// AL1-3, required.
    pub allergen: Coded,
    /// AL1-4, HL7 table 0128: MI, MO, SV, U.
    pub severity: Option<String>,
    /// AL1-5
    pub reactions: Vec<String>,
    /// AL1-6
    pub identified: Sent<Moment>,
}

/// IN1: one insurance.
#[derive(Clone)]
pub struct Coverage {
    /// IN1-2
    pub plan: Option<Coded>,
    /// IN1-3, the first.
    pub payer_id: Option<PatientIdentifier>,
    /// IN1-4
    pub payer_name: Option<String>,
    /// IN1-8
    pub group_number: Option<String>,
    /// IN1-12
    pub effective: Sent<Moment>,
    /// IN1-13
    pub expires: Sent<Moment>,
    /// IN1-16
    pub subscriber: Option<PersonName>,
    /// IN1-17: SEL self, SPO spouse, CHD child, …
    pub relationship: Option<Coded>,
    /// IN1-18
    pub subscriber_birth_date: Sent<Moment>,
    /// IN1-36
    pub member_id: Sent<String>,
}

conceal_debug!(Allergy, Coverage);

impl Allergy {
    pub(super) fn read(al1: &Segment<'_>) -> Result<Self, Hl7Error> {
        let allergen = sent(&al1.field(3), Coded::read).into_value();
        let reactions = sent_all(&al1.field(5), |reaction| {
            tidy(reaction.component(1).text()).into_iter().collect()
        });
        Ok(Self {
            kind: tidy(al1.field(2).text()),
            allergen: allergen.ok_or_else(|| al1.missing(3))?,
            severity: tidy(al1.field(4).text()),
            reactions: reactions.into_value().unwrap_or_default(),
            identified: sent_moment(al1, 6)?,
        })
    }
}

impl Coverage {
    pub(super) fn read(in1: &Segment<'_>) -> Result<Self, Hl7Error> {
        Ok(Self {
            plan: sent(&in1.field(2), Coded::read).into_value(),
            payer_id: sent(&in1.field(3), PatientIdentifier::read).into_value(),
            payer_name: tidy(in1.field(4).text()),
            group_number: tidy(in1.field(8).text()),
            effective: sent_moment(in1, 12)?,
            expires: sent_moment(in1, 13)?,
            subscriber: sent(&in1.field(16), PersonName::read).into_value(),
            relationship: sent(&in1.field(17), Coded::read).into_value(),
            subscriber_birth_date: sent_moment(in1, 18)?,
            member_id: sent_text(&in1.field(36)),
        })
    }
}
