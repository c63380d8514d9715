//! One patient. Nothing stands above the allergies, no losing value is hidden, and no old coverage is called active.

use askama::Template;
use askama::filters::HtmlSafe;

use super::board::FlowState;
use super::conflict::Conflict;
use super::parts::{Fact, FormKeys, Mark, Notice, PatientName, SecondIdentifier, icon};
use super::shell::{Hint, Shell, Theme, Undo};
use super::tasks::{TaskRow, TaskState};

/// `GET /patients/{id}`, and the answer to an edit that could not be saved.
#[derive(Template)]
#[template(path = "patient.html")]
pub struct PatientView {
    pub shell: Shell,
    pub head: PatientHead,
    pub body: PatientBody,
}

impl PatientView {
    fn hints(&self) -> &'static [Hint] {
        &[
            Hint {
                keys: &["E"],
                does: "edit",
            },
            Hint {
                keys: &["G"],
                does: "add an allergy",
            },
            Hint {
                keys: &["B"],
                does: "back to the board",
            },
        ]
    }
}

/// The identifiers, in view under the banner at all times. Fragment `patient-head`, `GET /patients/{id}?fragment=head`: a
/// birth date that comes into dispute identifies nobody from then on.
#[derive(Template)]
#[template(path = "patient_head.html")]
pub struct PatientHead {
    /// Record id of the patient.
    pub patient: String,
    pub name: String,
    pub second: SecondIdentifier,
    /// All of them: MRN with its assigner, TEMP.
    pub numbers: Vec<PatientNumber>,
    /// "male", "Spanish", "interpreter"
    pub remarks: Vec<String>,
}

impl HtmlSafe for PatientHead {}

/// `kind` "MRN", "TEMP"; `assigner` "Cascade EHR", or empty
pub struct PatientNumber {
    pub kind: String,
    pub value: String,
    pub assigner: String,
}

/// Fragment `patient`, `GET /patients/{id}?fragment=body`.
#[derive(Template)]
#[template(path = "patient_body.html")]
pub struct PatientBody {
    pub keys: FormKeys,
    /// Record id of the patient.
    pub patient: String,
    /// Somebody saved meanwhile, something could not be saved.
    pub notice: Option<Notice>,
    pub allergies: AllergyPanel,
    pub conflicts: Vec<Conflict>,
    /// Other records of this person; their allergies and numbers are shown with this one's.
    pub same_person: Vec<PatientName>,
    pub maybe_same: Vec<MaybeSame>,
    /// The visit of now; earlier ones are lines.
    pub visit: Option<VisitStory>,
    pub earlier: Vec<EarlierVisit>,
    pub results: Vec<ResultEntry>,
    pub tasks: Vec<TaskRow>,
    pub fields: Vec<PatientField>,
    /// "EHR as of 07:40, this site as of now"
    pub fields_as_of: String,
    pub coverage: Vec<CoverageEntry>,
    /// Whether this person may edit.
    pub may_edit: bool,
}

impl HtmlSafe for PatientBody {}

impl PatientBody {
    /// The form opens by itself when the last try was wrong.
    fn edit_is_open(&self) -> bool {
        self.fields.iter().any(|field| field.wrong.is_some())
    }
}

/// Somebody who may be this person.
pub struct MaybeSame {
    /// Record id of the other: `POST /patients/{id}/same/{other}`.
    pub other: String,
    pub name: PatientName,
    /// Whether this site has the other record, so that somebody can look at it.
    pub is_here: bool,
    /// How each comparison came out, one a line.
    pub why: Vec<String>,
    /// People have said different things of it.
    pub contradicts: bool,
    /// Ids of what was said and is shown; the answer names these and no others.
    pub shown: String,
    pub may_decide: bool,
}

pub struct AllergyPanel {
    pub active: Vec<AllergyEntry>,
    pub refuted: Vec<AllergyEntry>,
    /// Somebody has said that there are none. Not the same as nobody having asked.
    pub none_known: bool,
    /// Whether this person may refute one.
    pub may_refute: bool,
    pub as_of: String,
}

/// An allergy: every assertion of it taken together.
pub struct AllergyEntry {
    /// Record id of the allergy: `POST /allergies/{id}/refute`.
    pub allergy: String,
    pub substance: String,
    /// "Hives", or empty
    pub reaction: String,
    /// "11 Mar 2019, M. Achterberg RN", "refuted 14 Apr by …: “tolerated twice”"
    pub story: String,
    pub marks: Vec<Mark>,
    /// Refuted here, asserted there: what each said, and that it counts until a clinician decides.
    pub reopened: Option<String>,
    /// Ids of every assertion and edit shown; sent as `shown`, and only those are refuted.
    pub shown: String,
}

/// The visit of now and each move of it.
pub struct VisitStory {
    pub state: FlowState,
    /// "Room 1 · 4 min"
    pub place: String,
    pub as_of: String,
    pub steps: Vec<VisitStep>,
}

/// One move: `at` the time of the event, `entered` "entered 11:30, from paper" when that was later.
pub struct VisitStep {
    pub at: String,
    pub state: FlowState,
    pub detail: String,
    pub by: String,
    pub entered: String,
    pub undo: Option<Undo>,
}

/// "02 Feb 2026", "Asthma flare · Okafor MD · Riverside"
pub struct EarlierVisit {
    pub date: String,
    pub what: String,
}

/// A result received, with its lines.
pub struct ResultEntry {
    /// Record id of the result.
    pub result: String,
    /// "CBC with differential"
    pub name: String,
    /// "12:51, analyser LAB1"
    pub received: String,
    /// "preliminary", "corrected"; empty when it is final
    pub status: String,
    pub lines: Vec<ResultLine>,
}

/// `flag`: "High", "Critical low", set where the sender flagged it
pub struct ResultLine {
    pub name: String,
    pub value: String,
    pub unit: String,
    pub range: String,
    pub flag: Option<Mark>,
}

/// One editable field; in the form it is `{name}`, with the hidden `shown_{name}`.
pub struct PatientField {
    /// Form field name: `name`, `birth_date`, `sex`, `phone`, `email`, `address`.
    pub name: String,
    pub label: String,
    /// What is shown, formatted; "" when nothing is known.
    pub value: String,
    /// What stands in the input: the value as a person types it, or what was typed when it was wrong.
    pub input: String,
    /// What stood in the input when the page was shown; sent as `was_{name}`, so that what nobody touched is no change.
    pub was: String,
    pub kind: FieldKind,
    /// "Typed here 11:09 by Dolores Quiñones-Whitfield"
    pub source: String,
    /// Other live values, kept and not shown: "(503) 555-0199 · Eastgate 10:58, Marcus Oyelaran"
    pub beside: Vec<String>,
    /// Ids of the changes whose values were shown; a save replaces exactly these.
    pub shown: String,
    /// A question is open about it: it is answered there, not edited here.
    pub disputed: bool,
    pub wrong: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    Date,
    Phone,
    Email,
    /// `(code, label)`, and an empty choice before them.
    OneOf(Vec<(String, String)>),
}

impl PatientField {
    fn input_type(&self) -> &'static str {
        match self.kind {
            FieldKind::Text | FieldKind::Date | FieldKind::OneOf(_) => "text",
            FieldKind::Phone => "tel",
            FieldKind::Email => "email",
        }
    }
}

/// Last known coverage; `said` "“Active” by the payer at 07:40, not checked since"
pub struct CoverageEntry {
    pub plan: String,
    pub facts: Vec<Fact>,
    pub said: String,
    /// "as of 07:40"; always shown
    pub as_of: String,
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;

    #[test]
    fn nothing_stands_above_the_allergies() {
        let html = samples::patient_in_dispute().body.to_string();

        let allergies = html.find(r#"id="allergies""#).unwrap();
        for below in ["question-", "id=\"edit\"", "Coverage", "Tasks"] {
            assert!(
                html.find(below).unwrap() > allergies,
                "{below} stands above the allergies"
            );
        }
    }

    #[test]
    fn the_edit_form_names_what_was_shown_for_each_field() {
        let html = samples::patient().body.to_string();

        assert!(html.contains(r#"name="shown_phone" value="change-phone""#));
        assert!(html.contains(r#"name="shown_email" value="change-email""#));
    }

    #[test]
    fn a_disputed_field_is_answered_not_edited() {
        let html = samples::patient_in_dispute().body.to_string();

        assert!(!html.contains(r#"name="birth_date""#));
        assert!(html.contains("two values"));
    }

    #[test]
    fn a_disputed_birth_date_does_not_identify_the_patient() {
        let html = samples::patient_in_dispute().render().unwrap();
        let head = &html[html.find("patient-head").unwrap()..html.find("<main").unwrap()];

        assert!(!head.contains("<time"), "{head}");
        assert!(head.contains("MRN"));
    }

    #[test]
    fn values_that_lost_are_shown_beside_the_one_that_won() {
        assert!(samples::patient().body.to_string().contains("(503) 555-0199"));
    }

    #[test]
    fn nobody_asked_is_not_the_same_as_no_known_allergies() {
        let mut view = samples::patient();
        view.body.allergies.active.clear();
        view.body.allergies.none_known = false;
        assert!(view.body.to_string().contains("Nobody has asked yet"));

        view.body.allergies.none_known = true;
        assert!(view.body.to_string().contains("No known allergies"));
    }

    #[test]
    fn coverage_always_says_as_of_when() {
        let html = samples::patient().body.to_string();

        assert!(html.contains("as of 07:40"));
    }
}
