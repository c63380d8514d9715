//! Patient.

use serde::{Deserialize, Serialize};

use super::datatypes::{Address, ContactPoint, HumanName, Identifier, Meta, Reference};
use super::json::{Resource, known};
use crate::date::PartialDate;

/// AdministrativeGender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gender {
    Male,
    Female,
    Other,
    Unknown,
}

/// Another record of the same person.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PatientLink {
    pub other: Reference,
    /// replaced-by, replaces, refer, seealso
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Patient {
    pub id: Option<String>,
    pub meta: Option<Meta>,
    pub identifier: Vec<Identifier>,
    pub active: Option<bool>,
    pub name: Vec<HumanName>,
    pub telecom: Vec<ContactPoint>,
    #[serde(deserialize_with = "known")]
    pub gender: Option<Gender>,
    /// None also for a birth date that is no date, which some servers store.
    #[serde(deserialize_with = "known")]
    pub birth_date: Option<PartialDate>,
    pub address: Vec<Address>,
    pub link: Vec<PatientLink>,
}

conceal_debug!(Patient, PatientLink);

impl Resource for Patient {
    const TYPE: &'static str = "Patient";
}

impl Patient {
    /// The first identifier of that system.
    pub fn identifier_of(&self, system: &str) -> Option<&str> {
        let mut of_system = self
            .identifier
            .iter()
            .filter(|identifier| identifier.system.as_deref() == Some(system));
        of_system.find_map(|identifier| identifier.value.as_deref())
    }
}
