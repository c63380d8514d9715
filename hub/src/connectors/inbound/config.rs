//! Table `[ehr.inbound]` of `hub.toml`: whether and how the EHR is read.

use schemars::JsonSchema;
use serde::Deserialize;

/// The resource types that are read, in the order in which they are: who and where before when.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize, JsonSchema)]
pub enum ResourceType {
    Location,
    Practitioner,
    Patient,
    Coverage,
    Appointment,
}

impl ResourceType {
    pub(crate) const ALL: [ResourceType; 5] = [
        ResourceType::Location,
        ResourceType::Practitioner,
        ResourceType::Patient,
        ResourceType::Coverage,
        ResourceType::Appointment,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            ResourceType::Location => "Location",
            ResourceType::Practitioner => "Practitioner",
            ResourceType::Patient => "Patient",
            ResourceType::Coverage => "Coverage",
            ResourceType::Appointment => "Appointment",
        }
    }

    /// Whether its history is read too: whether a deletion there means anything here.
    pub(super) fn has_deletions(self) -> bool {
        match self {
            ResourceType::Location | ResourceType::Practitioner | ResourceType::Appointment => true,
            ResourceType::Patient | ResourceType::Coverage => false,
        }
    }
}

/// Table `[ehr.inbound]`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the EHR is read at all; else it is only delivered to.
    pub enabled: bool,
    /// How often the EHR is asked what changed.
    pub poll_secs: u64,
    /// How far each reading reaches back behind the one before. What was seen costs nothing.
    pub overlap_secs: u64,
    /// Resources asked for at once.
    pub page_size: u32,
    /// How long deliveries have the EHR to themselves between two pages.
    pub page_pause_ms: u64,
    /// After so many pages of one type the others have their turn.
    pub pages_per_run_max: u32,
    /// The longest pause after readings that failed.
    pub back_off_max_secs: u64,
    /// What is read. Appointments are of use only together with patients and locations.
    pub types: Vec<ResourceType>,
    /// Of several numbers of an appointment, that of this system names it: the one that HL7 messages name it by.
    pub appointment_system: Option<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            enabled: false,
            poll_secs: 30,
            overlap_secs: 120,
            page_size: 100,
            page_pause_ms: 50,
            pages_per_run_max: 1_000,
            back_off_max_secs: 300,
            types: ResourceType::ALL.to_vec(),
            appointment_system: None,
        }
    }
}

/// A larger page could outgrow what is read of one answer.
const PAGE_SIZE_MAX: u32 = 500;

impl Config {
    pub(in crate::connectors) fn refuse_unsound(&self) -> Result<(), String> {
        let limits = [
            ("poll_secs", self.poll_secs),
            ("page_size", u64::from(self.page_size)),
            ("pages_per_run_max", u64::from(self.pages_per_run_max)),
            ("back_off_max_secs", self.back_off_max_secs),
        ];
        if let Some((name, _)) = limits.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("inbound.{name} must be at least 1"));
        }
        if self.page_size > PAGE_SIZE_MAX {
            return Err(format!("inbound.page_size must be at most {PAGE_SIZE_MAX}"));
        }
        Ok(())
    }
}
