//! Arrival in three fields. It never picks a look-alike, never shows a TEMP number before it exists, never loses what was typed.

use askama::Template;

use super::parts::{FormKeys, Mark, Marked, PatientName, SecondIdentifier, icon};
use super::shell::{Hint, Shell, Theme};

/// `GET /arrivals`, and the answer to a `POST /arrivals` that asks who it is. After the arrival is saved the handler redirects to
/// `GET /arrivals/{visit id}`: the same page with `arrived` set and empty fields for the next patient.
#[derive(Template)]
#[template(path = "arrival.html")]
pub struct ArrivalView {
    pub shell: Shell,
    pub typed: ArrivalFields,
    pub wrong: ArrivalWrong,
    /// "Read as 19 Aug 1990 · 35 years", once a birth date was understood; else empty.
    pub read_as: String,
    /// Empty until there is something to choose; then Enter waits for a person.
    pub look_alikes: Vec<LookAlike>,
    /// "patients on this PC as of 11:38"
    pub as_of: String,
    pub arrived: Option<Arrived>,
}

/// What was typed, exactly.
#[derive(Default)]
pub struct ArrivalFields {
    pub name: String,
    pub birth_date: String,
    pub reason: String,
    pub phone: String,
}

/// Per field what is wrong and what to do: "31 Feb is not a day. Check the card, or give an age."
#[derive(Default)]
pub struct ArrivalWrong {
    pub name: Option<String>,
    pub birth_date: Option<String>,
    pub reason: Option<String>,
    pub phone: Option<String>,
}

/// Somebody already known who may be this person.
pub struct LookAlike {
    /// Record id of the patient.
    pub patient: String,
    pub name: Marked,
    pub second: SecondIdentifier,
    /// "MRN 104 882", "TEMP T4K-0130-C"
    pub numbers: Vec<String>,
    /// "Same birth date, name sounds the same. Last visit 02 Nov 2025"
    pub why: String,
    pub marks: Vec<Mark>,
}

/// The arrival that has just been saved.
pub struct Arrived {
    pub patient: PatientName,
    /// Record id of the visit.
    pub visit: String,
    /// "T4K-0131-D"; `None` for somebody who came with a number of the EHR.
    pub temp_number: Option<String>,
    /// Arrived "11:39".
    pub at: String,
    /// What leaves by itself: "Registration to the EHR", "waits for the line; matched first".
    pub tasks: Vec<(String, String)>,
}

impl ArrivalView {
    fn hints(&self) -> &'static [Hint] {
        if self.look_alikes.is_empty() {
            &[
                Hint {
                    keys: &["Tab"],
                    does: "next field",
                },
                Hint {
                    keys: &["Enter"],
                    does: "arrive",
                },
            ]
        } else {
            &[
                Hint {
                    keys: &["Esc"],
                    does: "leave the field, then",
                },
                Hint {
                    keys: &["1", "2", "3"],
                    does: "this person",
                },
                Hint {
                    keys: &["0"],
                    does: "new person",
                },
            ]
        }
    }

    /// Ids of everybody offered, so that the server asks again when there is somebody else by then.
    fn offered(&self) -> String {
        self.look_alikes
            .iter()
            .map(|one| one.patient.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn keys(&self) -> &FormKeys {
        &self.shell.keys
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;

    #[test]
    fn look_alikes_are_offered_and_none_is_chosen() {
        let html = samples::arrival_choosing().render().unwrap();

        assert_eq!(html.matches(r#"name="person""#).count(), 4);
        assert!(!samples::main_of(&html).contains("checked"));
        assert!(html.contains(r#"name="person" value="new""#));
        // Enter submits the first button of a form: it must carry no person.
        assert!(html.find("<button>Compare again") < html.find(r#"name="person""#));
    }

    #[test]
    fn what_was_typed_stays_when_a_field_is_wrong() {
        let html = samples::arrival_wrong().render().unwrap();

        assert!(html.contains(r#"value="02 31 1990""#));
        assert!(html.contains(r#"aria-invalid="true""#));
    }

    #[test]
    fn no_temp_number_is_shown_before_the_arrival_is_saved() {
        let html = samples::arrival_choosing().render().unwrap();

        assert!(!html.contains("TEMP number"));
        assert!(samples::arrival_done().render().unwrap().contains("T4K-0132-E"));
    }
}
