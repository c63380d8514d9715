//! Encounter.

use serde::{Deserialize, Serialize};

use super::datatypes::{CodeableConcept, Coding, Extension, Identifier, Meta, Period, Reference};
use super::json::{Resource, known};

/// EncounterStatus of R4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncounterStatus {
    Planned,
    Arrived,
    Triaged,
    InProgress,
    #[serde(rename = "onleave")]
    OnLeave,
    Finished,
    Cancelled,
    EnteredInError,
    /// Also what a status that R4 does not have is read as.
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncounterLocationStatus {
    Planned,
    Active,
    Reserved,
    Completed,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EncounterLocation {
    pub location: Reference,
    #[serde(deserialize_with = "known")]
    pub status: Option<EncounterLocationStatus>,
    pub period: Option<Period>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Encounter {
    pub id: Option<String>,
    pub meta: Option<Meta>,
    pub extension: Vec<Extension>,
    pub identifier: Vec<Identifier>,
    pub status: EncounterStatus,
    /// Of `http://terminology.hl7.org/CodeSystem/v3-ActCode`: AMB, EMER, …
    pub class: Coding,
    pub subject: Option<Reference>,
    pub period: Option<Period>,
    pub reason_code: Vec<CodeableConcept>,
    pub location: Vec<EncounterLocation>,
}

conceal_debug!(EncounterLocation, Encounter);

impl Resource for Encounter {
    const TYPE: &'static str = "Encounter";
}

impl Encounter {
    /// With the two elements that R4 requires, and whom it is about.
    pub fn new(status: EncounterStatus, class: Coding, subject: Reference) -> Self {
        Self {
            status,
            class,
            subject: Some(subject),
            ..Self::default()
        }
    }
}
