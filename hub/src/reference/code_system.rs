//! Vaccines (CVX) and places of service: a FHIR R4 CodeSystem, CDC's text with bars between its columns, or CSV.
//!
//! It refuses a code system that is another one's or not complete.

use clinic::code_set::CodeStanding;
use serde::Deserialize;

use super::code_list::CodeList;
use super::finding::Findings;
use super::{Set, table};

#[derive(Deserialize)]
struct CodeSystem {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    url: String,
    version: Option<String>,
    #[serde(default)]
    content: String,
    #[serde(default)]
    concept: Vec<Concept>,
}

#[derive(Deserialize)]
struct Concept {
    #[serde(default)]
    code: String,
    #[serde(default)]
    display: String,
    #[serde(default)]
    property: Vec<Property>,
    #[serde(default)]
    concept: Vec<Concept>,
}

#[derive(Deserialize)]
struct Property {
    code: String,
    #[serde(rename = "valueCode")]
    value_code: Option<String>,
    #[serde(rename = "valueBoolean")]
    value_boolean: Option<bool>,
}

pub(super) fn read(set: Set, bytes: &[u8], version: &mut Option<String>, findings: &mut Findings) -> CodeList {
    let text = table::text(bytes, findings);
    let list = if text.trim_start().starts_with('{') {
        code_system(set, text, version, findings)
    } else if text.lines().next().is_some_and(|line| line.contains('|')) {
        with_bars(text, findings)
    } else {
        listed(bytes, findings)
    };
    if list.is_empty() && findings.clone().none().is_ok() {
        findings.add(1, "", "the file has no code");
    }
    list
}

/// By what the address of a code system is known to be this set's.
fn marks(set: Set) -> &'static [&'static str] {
    match set {
        Set::Cvx => &["cvx", "v2-0292"],
        Set::PlaceOfService => &[
            "place-of-service",
            "service-place",
            "serviceplace",
            "place_of_service",
            "pos",
        ],
        Set::IcdTenCm | Set::Providers | Set::Payers | Set::Forms | Set::Rooms | Set::Schedules => &[],
    }
}

fn code_system(set: Set, text: &str, version: &mut Option<String>, findings: &mut Findings) -> CodeList {
    let mut list = CodeList::default();
    let system: CodeSystem = match serde_json::from_str(text) {
        Ok(system) => system,
        Err(error) => {
            let reason = format!("is no FHIR CodeSystem (place {} of the line)", error.column());
            findings.add(error.line() as u64, "", reason);
            return list;
        }
    };
    let url = system.url.to_lowercase();
    if system.resource_type != "CodeSystem" {
        findings.add(1, "resourceType", "is not CodeSystem");
    } else if !marks(set).iter().any(|mark| url.contains(mark)) {
        findings.add(1, "url", format!("is not of a code system for {}", set.word()));
    } else if system.content != "complete" {
        findings.add(1, "content", "is not complete: fetch the whole code system");
    } else {
        let mut count = 0;
        concepts(&system.concept, &mut count, &mut list, findings, 0);
    }
    *version = system.version;
    list
}

/// Concepts inside concepts.
const DEPTH_MAX: usize = 10;

/// A concept has no line of its own to name: it is counted, from 1.
fn concepts(all: &[Concept], count: &mut u64, list: &mut CodeList, findings: &mut Findings, depth: usize) {
    for concept in all {
        *count += 1;
        let said = |code: &str| {
            let mut from_last = concept.property.iter().rev();
            from_last.find(|property| property.code == code)
        };
        let status = said("status").and_then(|property| property.value_code.as_deref());
        let inactive = said("inactive")
            .and_then(|property| property.value_boolean)
            .unwrap_or(false);
        let standing = match status {
            Some("deprecated" | "retired" | "inactive" | "Inactive") => CodeStanding::Retired,
            Some(_) | None if inactive => CodeStanding::Retired,
            Some(_) | None => CodeStanding::Usable,
        };
        list.add(*count, &concept.code, standing, &concept.display, findings);
        if depth < DEPTH_MAX {
            concepts(&concept.concept, count, list, findings, depth + 1);
        } else if !concept.concept.is_empty() {
            findings.add(*count, "concept", "lies too deep inside others");
        }
    }
}

/// CDC's file: code, short text, full text, notes, status, then what is of no use here.
fn with_bars(text: &str, findings: &mut Findings) -> CodeList {
    let mut list = CodeList::default();
    for (number, line) in (1u64..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [code, short, full, _, status, ..] = cells.as_slice() else {
            findings.add(number, "", "has fewer than five columns");
            continue;
        };
        if number == 1 && !code.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let Some(standing) = standing_of(status) else {
            findings.add(
                number,
                "status",
                "is none that CDC gives: Active, Inactive, Pending, Non-US, Never Active",
            );
            continue;
        };
        let text = if full.is_empty() { short } else { full };
        list.add(number, &format!("{code:0>2}"), standing, text, findings);
    }
    list
}

fn standing_of(status: &str) -> Option<CodeStanding> {
    match status.to_lowercase().as_str() {
        "" | "active" | "pending" | "non-us" => Some(CodeStanding::Usable),
        "inactive" | "never active" => Some(CodeStanding::Retired),
        _ => None,
    }
}

fn listed(bytes: &[u8], findings: &mut Findings) -> CodeList {
    let mut list = CodeList::default();
    for row in table::read(bytes, &["code", "text"], &["status"], findings) {
        match standing_of(row.cell("status")) {
            Some(standing) => list.add(row.line, row.cell("code"), standing, row.cell("text"), findings),
            None => findings.add(row.line, "status", "is neither active nor inactive"),
        }
    }
    list
}
