//! A question only a person can settle: two answers written while apart, side by side. No side is chosen beforehand, none is hidden,
//! and the disputed field is never used to say who the patient is.

use askama::Template;
use askama::filters::HtmlSafe;

use super::parts::{FormKeys, Marked, PatientName, icon};

/// One `ask` field with several live values. The same part stands on the patient page and on the work page.
#[derive(Template)]
#[template(path = "conflict.html")]
pub struct Conflict {
    pub keys: FormKeys,
    /// Record id and catalogue name of the field: `POST /conflicts/{record}/{field}/decide`.
    pub record: String,
    pub field: String,
    /// "Birth date"
    pub field_label: String,
    /// Where the field is the birth date, the second identifier is a number.
    pub patient: PatientName,
    /// All live values.
    pub sides: Vec<Side>,
    /// What goes on being shown until then.
    pub until: Option<Until>,
    /// Tasks that wait for the answer.
    pub tasks_waiting: u32,
    /// Whether a value on neither side may be typed.
    pub other: OtherValue,
    /// Whether this person may decide; if not, they still see everything.
    pub may_decide: bool,
    /// Something was wrong with the last try.
    pub wrong: Option<String>,
}

impl HtmlSafe for Conflict {}

/// One live value, with its story.
pub struct Side {
    /// Id of the change that wrote it: sent as `keep`.
    pub change: String,
    pub value: Marked,
    /// "Riverside, today 11:12"
    pub where_when: String,
    /// "Dolores Quiñones-Whitfield"
    pub who: String,
    /// "from driver’s licence", or empty
    pub said: String,
}

/// The value shown until somebody decides; `source` "EHR, since 14 Jan 2019".
pub struct Until {
    pub value: Marked,
    pub source: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OtherValue {
    No,
    Text,
    Date,
}

impl Conflict {
    /// Element id of this question; `#question-…` leads to it.
    pub(super) fn id(&self) -> String {
        format!("question-{}-{}", self.record, self.field)
    }

    /// Ids of every value its reader sees, so the decision names what was seen.
    fn shown(&self) -> String {
        self.sides
            .iter()
            .map(|side| side.change.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn letter(&self, index: &usize) -> char {
        char::from(b'A'.saturating_add(u8::try_from(*index).unwrap_or(25).min(25)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;

    #[test]
    fn both_sides_are_shown_with_who_when_and_where_and_none_is_chosen() {
        insta::assert_snapshot!(samples::conflict().to_string());
    }

    #[test]
    fn the_decision_names_every_value_that_was_shown() {
        let html = samples::conflict().to_string();

        assert!(html.contains(r#"name="shown" value="change-a change-b""#));
        assert!(html.contains(r#"name="keep" value="change-a""#));
        assert!(!html.contains("checked"));
    }

    #[test]
    fn whoever_may_not_decide_still_sees_both_values() {
        let mut conflict = samples::conflict();
        conflict.may_decide = false;

        let html = conflict.to_string();

        assert!(html.contains("<mark>12</mark>") && html.contains("<mark>03</mark>"));
        assert!(!html.contains("<form"));
    }
}
