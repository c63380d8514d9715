//! Reference data: every set with its version and age, and one search over codes and lists.

use askama::Template;
use askama::filters::HtmlSafe;

use super::parts::icon;
use super::shell::{Hint, Shell, Theme};

/// `GET /reference` and the answer to `POST /reference/search`.
#[derive(Template)]
#[template(path = "reference.html")]
pub struct ReferenceView {
    pub shell: Shell,
    pub sets: ReferenceSets,
    pub query: String,
    pub places: Vec<SearchPlace>,
    /// `None` until something was searched.
    pub found: Option<ReferenceFound>,
}

impl ReferenceView {
    fn hints(&self) -> &'static [Hint] {
        &[Hint {
            keys: &["/"],
            does: "search",
        }]
    }
}

/// Fragment `reference`, `GET /reference?fragment=sets`.
#[derive(Template)]
#[template(path = "reference_sets.html")]
pub struct ReferenceSets {
    pub as_of: String,
    pub sets: Vec<ReferenceSet>,
}

impl HtmlSafe for ReferenceSets {}

pub struct ReferenceSet {
    pub title: String,
    pub version: String,
    pub entries: String,
    pub source: String,
    /// "loaded 2 h ago, as of Tue 14 Apr 09:12"
    pub age: String,
    pub stale: bool,
    pub state: ReferenceState,
}

pub enum ReferenceState {
    Current,
    /// "40 %"; `meanwhile` "version 2026 is searched", or that none is yet.
    Coming {
        what: String,
        meanwhile: String,
    },
    Refused {
        at: String,
        meanwhile: String,
    },
}

/// What can be searched: a code set or a list.
pub struct SearchPlace {
    pub code: String,
    pub label: String,
    pub current: bool,
}

pub struct ReferenceFound {
    /// "12 found", "Nothing found"
    pub summary: String,
    /// What the columns hold.
    pub columns: [&'static str; 3],
    pub rows: Vec<ReferenceRow>,
}

pub struct ReferenceRow {
    /// A code, an NPI, a payer's id.
    pub key: String,
    pub text: String,
    pub remark: String,
    /// Where a form is fetched.
    pub href: Option<String>,
    /// No longer to be used: "heading", "retired", "ended 3 Mar".
    pub mark: String,
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;
    use super::*;

    #[test]
    fn what_is_searched_for_stands_in_the_body_and_never_in_an_address() {
        let html = samples::reference().render().unwrap();

        assert!(html.contains(r#"<form method="post" action="/reference/search""#));
        assert!(!html.contains("?q="));
    }

    #[test]
    fn a_version_on_its_way_says_what_is_searched_meanwhile() {
        let html = samples::reference().sets.to_string();

        assert!(
            html.contains("40 %") && html.contains("2026 is searched meanwhile"),
            "{html}"
        );
        assert!(html.contains("Old"));
    }

    #[test]
    fn nothing_loaded_is_said_plainly() {
        let sets = ReferenceSets {
            as_of: String::new(),
            sets: Vec::new(),
        };

        assert!(sets.to_string().contains("No reference data has come from the hub yet"));
    }
}
