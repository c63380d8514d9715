//! A task that only a person can enter at the partner: each value in the partner's order, a box for the number it gave back, a name and a
//! time. It never says "copied" before it is.

use askama::Template;

use super::parts::{FormKeys, PatientName, SecondIdentifier, Timer, icon};
use super::shell::{Hint, Shell, Theme};
use super::tasks::TaskState;

/// `GET /tasks/{id}` for a task to a person target.
#[derive(Template)]
#[template(path = "transcription.html")]
pub struct TranscriptionView {
    pub shell: Shell,
    /// Record id of the task.
    pub task: String,
    /// "New patient"
    pub kind: String,
    /// "the EHR"
    pub partner: String,
    pub patient: PatientName,
    pub state: TaskState,
    pub sections: Vec<CopySection>,
    /// Others to enter by hand, this one among them.
    pub queue: Vec<QueueEntry>,
    /// "7 digits.", or empty
    pub number_hint: String,
    pub number: String,
    /// "This number belongs to another patient here. Look at it again in the EHR."
    pub wrong: Option<String>,
    /// Who has entered it, "Ngozi Bello, 14:12"; then nothing is asked any more.
    pub entered: Option<Entered>,
    /// Ids of the changes that make the values shown; sent as `shown`.
    pub shown: String,
}

/// `number` as the partner gave it, `by` a person's name, `at` "14:12"
pub struct Entered {
    pub number: String,
    pub by: String,
    pub at: String,
}

/// One screen of the partner: "Patient search", "Demographics".
pub struct CopySection {
    pub title: String,
    pub lines: Vec<CopyLine>,
}

/// In the partner's own spelling and format.
pub struct CopyLine {
    pub label: String,
    pub value: String,
}

pub struct QueueEntry {
    pub task: String,
    pub patient: PatientName,
    pub due: Option<Timer>,
    pub current: bool,
}

impl TranscriptionView {
    fn hints(&self) -> &'static [Hint] {
        &[
            Hint {
                keys: &["1", "…", "9"],
                does: "copy",
            },
            Hint {
                keys: &["Enter"],
                does: "copy and go down",
            },
        ]
    }

    fn keys(&self) -> &FormKeys {
        &self.shell.keys
    }

    /// The lines of all sections counted through, for the number keys: where each section starts.
    fn first_of(&self, section: &usize) -> usize {
        self.sections.iter().take(*section).map(|one| one.lines.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;
    use super::*;

    #[test]
    fn every_known_value_can_be_copied_and_none_is_called_copied_yet() {
        let view = samples::transcription();
        let lines = view
            .sections
            .iter()
            .flat_map(|section| &section.lines)
            .filter(|line| !line.value.is_empty())
            .count();

        let html = view.render().unwrap();

        assert_eq!(html.matches("data-copy=").count(), lines);
        assert!(!html.contains(">Copied<"));
    }

    #[test]
    fn whoever_entered_it_is_named_with_the_time_and_the_number() {
        let mut view = samples::transcription();
        view.state = TaskState::EnteredByHand;
        view.entered = Some(Entered {
            number: "5520118".into(),
            by: "Ngozi Bello".into(),
            at: "14:12".into(),
        });

        let html = view.render().unwrap();

        assert!(html.contains("Ngozi Bello, 14:12"));
        assert!(!html.contains("/entered"));
    }
}
