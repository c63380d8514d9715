//! OperationOutcome and CapabilityStatement: what a server says about a request, and about itself.

use serde::{Deserialize, Serialize};

use super::datatypes::CodeableConcept;
use super::json::{Resource, known, texts};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssueSeverity {
    Information,
    Warning,
    Error,
    Fatal,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutcomeIssue {
    #[serde(deserialize_with = "known")]
    pub severity: Option<IssueSeverity>,
    /// IssueType: invalid, not-found, duplicate, conflict, …
    pub code: Option<String>,
    pub details: Option<CodeableConcept>,
    /// The server's own words, which may quote content.
    pub diagnostics: Option<String>,
    /// FHIRPath of the element.
    #[serde(deserialize_with = "texts")]
    pub expression: Vec<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationOutcome {
    pub issue: Vec<OutcomeIssue>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Software {
    pub name: Option<String>,
    pub version: Option<String>,
}

/// Read only: enough to see that a server is one, and which.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CapabilityStatement {
    /// `4.0.1` for R4.
    pub fhir_version: Option<String>,
    pub software: Option<Software>,
}

conceal_debug!(OutcomeIssue, OperationOutcome, Software, CapabilityStatement);

impl Resource for OperationOutcome {
    const TYPE: &'static str = "OperationOutcome";
}

impl Resource for CapabilityStatement {
    const TYPE: &'static str = "CapabilityStatement";
}

impl CapabilityStatement {
    /// Whether the server says it speaks R4.
    pub fn is_r4(&self) -> bool {
        self.fhir_version
            .as_deref()
            .is_some_and(|version| version == "4.0" || version.starts_with("4.0."))
    }
}
