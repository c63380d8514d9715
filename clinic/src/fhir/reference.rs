//! Practitioner and Location.

use formats::fhir::{Location, NameUse, Practitioner};

use super::patient::person_name;
use super::{PART_MAX_BYTES, clipped};

const NPI_SYSTEM: &str = "http://hl7.org/fhir/sid/us-npi";

/// What the EHR holds of somebody who treats patients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderCopy {
    pub name: String,
    pub npi: Option<String>,
    pub active: bool,
}

impl ProviderCopy {
    /// `None` for one without a name.
    pub fn read(resource: &Practitioner) -> Option<ProviderCopy> {
        let official = resource
            .name
            .iter()
            .find(|name| name.used_as == Some(NameUse::Official));
        let name = person_name(official.or(resource.name.first())?).listed();
        let numbers = resource
            .identifier
            .iter()
            .filter(|id| id.system.as_deref() == Some(NPI_SYSTEM));
        let is_npi = |value: &&str| value.len() == 10 && value.bytes().all(|b| b.is_ascii_digit());
        Some(ProviderCopy {
            name: clipped(&name, PART_MAX_BYTES)?,
            npi: numbers
                .filter_map(|id| id.value.as_deref())
                .find(is_npi)
                .map(str::to_owned),
            active: resource.active != Some(false),
        })
    }
}

/// What the EHR holds of a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocationCopy {
    pub name: String,
    pub active: bool,
}

impl LocationCopy {
    /// `None` for one without a name.
    pub fn read(resource: &Location) -> Option<LocationCopy> {
        Some(LocationCopy {
            name: clipped(resource.name.as_deref()?, PART_MAX_BYTES)?,
            active: resource.status.as_deref() != Some("inactive"),
        })
    }
}
