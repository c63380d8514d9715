//! OperationOutcome: what a server says about a request.

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

conceal_debug!(OutcomeIssue, OperationOutcome);

impl Resource for OperationOutcome {
    const TYPE: &'static str = "OperationOutcome";
}
