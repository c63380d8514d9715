//! Finding a patient. The words searched for travel in the body, never in an address: an address ends in histories and logs.

use askama::Template;

use super::board::FlowState;
use super::parts::{Mark, PatientName};
use super::shell::{Hint, Shell, Theme};

/// `GET /find` (nothing searched yet) and the answer to `POST /find`.
#[derive(Template)]
#[template(path = "find.html")]
pub struct FindView {
    pub shell: Shell,
    pub query: String,
    /// "patients on this PC as of 11:38"
    pub as_of: String,
    /// `None` until something was searched.
    pub found: Option<Found>,
}

pub struct Found {
    /// Best first.
    pub hits: Vec<FindHit>,
    /// More were found than are shown.
    pub more: bool,
}

pub struct FindHit {
    /// With `href`.
    pub patient: PatientName,
    /// "MRN 104 882", "TEMP T4K-0130-C"
    pub numbers: Vec<String>,
    pub phone: String,
    /// "Last visit 02 Nov 2025", "Same sound, day and month swapped"
    pub remark: String,
    /// Where they are, if they are here today.
    pub here: Option<FlowState>,
    pub marks: Vec<Mark>,
}

impl FindView {
    fn hints(&self) -> &'static [Hint] {
        &[
            Hint {
                keys: &["↑", "↓"],
                does: "pick",
            },
            Hint {
                keys: &["Enter"],
                does: "open",
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;

    #[test]
    fn a_search_is_sent_in_the_body() {
        let html = samples::find().render().unwrap();

        assert!(html.contains(r#"<form method="post" action="/find""#));
        assert!(!html.contains("?q="));
    }

    #[test]
    fn finding_nobody_says_what_to_do_next() {
        let mut view = samples::find();
        if let Some(found) = &mut view.found {
            found.hits.clear();
        }

        assert!(view.render().unwrap().contains("Nobody like that on this PC"));
    }
}
