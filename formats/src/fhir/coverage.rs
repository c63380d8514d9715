//! Coverage. Read only.

use serde::Deserialize;

use super::datatypes::{CodeableConcept, Reference};
use super::json::Resource;

/// One class of a coverage: its group, its plan.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CoverageClass {
    #[serde(rename = "type")]
    pub kind: Option<CodeableConcept>,
    pub value: Option<String>,
    pub name: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Coverage {
    pub id: Option<String>,
    /// active, cancelled, draft, entered-in-error
    pub status: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<CodeableConcept>,
    pub subscriber_id: Option<String>,
    pub beneficiary: Option<Reference>,
    pub payor: Vec<Reference>,
    pub class: Vec<CoverageClass>,
}

conceal_debug!(CoverageClass, Coverage);

impl Resource for Coverage {
    const TYPE: &'static str = "Coverage";
}
