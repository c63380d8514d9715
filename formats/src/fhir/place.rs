//! Practitioner and Location: whom and where an appointment is with. Read only.

use serde::Deserialize;

use super::datatypes::{HumanName, Identifier};
use super::json::Resource;

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Practitioner {
    pub id: Option<String>,
    pub identifier: Vec<Identifier>,
    pub active: Option<bool>,
    pub name: Vec<HumanName>,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Location {
    pub id: Option<String>,
    /// active, suspended, inactive
    pub status: Option<String>,
    pub name: Option<String>,
}

conceal_debug!(Practitioner, Location);

impl Resource for Practitioner {
    const TYPE: &'static str = "Practitioner";
}

impl Resource for Location {
    const TYPE: &'static str = "Location";
}
