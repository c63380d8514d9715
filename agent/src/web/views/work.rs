//! The work list: what needs a person first, then every task by state. It shows no code without words.

use askama::Template;
use askama::filters::HtmlSafe;

use super::conflict::Conflict;
use super::parts::{Choice, FormKeys, Mark, Marked, Notice, PatientName, SecondIdentifier, Timer, icon};
use super::shell::{Hint, Shell, Theme};
use super::tasks::{TaskRow, TaskState};

/// `GET /work`, with `?show={filter}`.
#[derive(Template)]
#[template(path = "work.html")]
pub struct WorkView {
    pub shell: Shell,
    pub list: WorkList,
}

impl WorkView {
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
            Hint {
                keys: &["N"],
                does: "next that needs you",
            },
        ]
    }
}

/// Fragment `work`, `GET /work?fragment=list&show={filter}`.
#[derive(Template)]
#[template(path = "work_list.html")]
pub struct WorkList {
    pub keys: FormKeys,
    /// Where this fragment is fetched again, filter included.
    pub fragment_url: String,
    /// "This list is live. Answers from outside as of 10:42"
    pub as_of: String,
    /// All, needs a person (`show=person`), by hand, waiting (`show=waiting`), answer unknown, done today.
    pub choices: Vec<Choice>,
    /// Something could not be saved.
    pub notice: Option<Notice>,
    pub conflicts: Vec<Conflict>,
    pub contradictions: Vec<Contradiction>,
    pub matches: Vec<PartnerMatch>,
    pub unmatched: Vec<UnmatchedResult>,
    pub rejected: Vec<RejectedMessage>,
    /// How many there are; the list holds the newest of them.
    pub rejected_total: u64,
    /// "Needs a person", "To enter by hand", "Waiting, being sent, unknown", "Done today"; empty ones are left out.
    pub groups: Vec<TaskGroup>,
}

impl HtmlSafe for WorkList {}

impl WorkList {
    fn questions(&self) -> usize {
        self.conflicts.len() + self.contradictions.len() + self.matches.len() + self.unmatched.len()
    }

    fn is_empty(&self) -> bool {
        self.questions() == 0 && self.rejected.is_empty() && !self.has_tasks()
    }

    fn has_tasks(&self) -> bool {
        self.groups.iter().any(|group| !group.rows.is_empty())
    }

    fn is_filtered(&self) -> bool {
        self.choices.iter().skip(1).any(|choice| choice.current)
    }
}

/// A visit that was ended in ways that exclude each other; it is settled on the patient's page.
pub struct Contradiction {
    /// Record id of the visit.
    pub visit: String,
    /// "Discharged, or Left, not seen?"
    pub ends: String,
    /// With `href`.
    pub patient: PatientName,
}

pub struct TaskGroup {
    pub title: String,
    /// "nothing else waits behind these", or empty
    pub remark: String,
    pub rows: Vec<TaskRow>,
}

/// A task that waits because the partner has somebody who may be this patient: `POST /tasks/{id}/answer`.
pub struct PartnerMatch {
    /// Record id of the task.
    pub task: String,
    /// "Registration"
    pub kind: String,
    /// "the EHR"
    pub partner: String,
    pub patient: PatientName,
    /// Phone and address here, to compare with.
    pub here: Vec<String>,
    pub candidates: Vec<PartnerCandidate>,
    pub owner: String,
    pub due: Option<Timer>,
    pub may_answer: bool,
    /// Ids of the changes that make the question shown; sent as `shown`.
    pub shown: String,
}

/// A patient the partner has; chosen with `answer=same:{number}`.
pub struct PartnerCandidate {
    /// The partner's own id of them.
    pub number: String,
    pub name: Marked,
    /// "19 Aug 1990"
    pub born: Marked,
    /// Phone, address, as the partner has them.
    pub facts: Vec<Marked>,
}

/// A result that found no patient by itself: `POST /results/{id}/match`.
pub struct UnmatchedResult {
    /// Record id of the result.
    pub result: String,
    /// "CBC with differential"
    pub name: String,
    /// "12:51 from LAB1 at Cascade Laboratory"
    pub received: String,
    /// Who the message says it is for.
    pub said: PatientName,
    /// "MRN 104 882 of Cascade Laboratory"
    pub said_numbers: Vec<String>,
    /// "The number belongs to another authority, and nobody here has this name and birth date."
    pub why: String,
    pub owner: String,
    pub due: Option<Timer>,
    /// Offered, not chosen.
    pub candidates: Vec<MatchCandidate>,
    pub may_match: bool,
    /// What was wrong with the number typed.
    pub wrong: Option<String>,
    pub shown: String,
}

/// A patient here the result may belong to; chosen with `patient={id}`.
pub struct MatchCandidate {
    pub patient: String,
    pub name: Marked,
    pub second: SecondIdentifier,
    pub numbers: Vec<String>,
    pub marks: Vec<Mark>,
}

/// A message that was refused, could not be read, or had no effect; the original is kept. No content of it is shown.
pub struct RejectedMessage {
    /// Record id of the message.
    pub message: String,
    pub received: String,
    /// "LAB1, Cascade Laboratory"
    pub from: String,
    /// "ADT^A31", or "not readable"
    pub kind: String,
    /// "AR, error 201"
    pub answered: String,
    /// "This message type is not taken here." or "PID segment, field 7: not a date."
    pub why: String,
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;
    use super::*;

    #[test]
    fn every_task_on_the_list_names_its_patient_twice() {
        let list = samples::work().list;

        let html = list.to_string();
        let tasks: usize = list.groups.iter().map(|group| group.rows.len()).sum();
        let table = &html[html.find("<table class=\"rows work\"").unwrap()..];

        assert_eq!(table.matches(r#"class="name""#).count(), tasks);
        assert_eq!(table.matches(r#"class="born""#).count(), tasks);
    }

    #[test]
    fn an_ambiguous_match_offers_each_candidate_and_a_new_one_and_chooses_none() {
        let html = samples::work().list.to_string();

        assert!(html.contains(r#"name="answer" value="same:E-55201""#));
        assert!(html.contains(r#"name="answer" value="none""#));
        assert!(!html.contains("checked"));
    }

    #[test]
    fn an_unmatched_result_has_an_owner_and_a_deadline() {
        let html = samples::work().list.to_string();

        assert!(html.contains("Owner: Lab nurse"));
        assert!(html.contains("12 min late"));
    }

    #[test]
    fn unknown_outcome_always_says_that_it_is_not_sent_twice_and_offers_no_second_sending() {
        let mut list = samples::work().list;
        for group in &mut list.groups {
            group.rows.retain(|row| row.state == TaskState::OutcomeUnknown);
            for row in &mut group.rows {
                row.offers.retry = true;
            }
        }

        let html = list.to_string();

        assert!(html.contains("not sent twice"));
        assert!(!html.contains("/retry"));
    }

    #[test]
    fn an_empty_list_says_so() {
        assert!(
            samples::work_empty()
                .render()
                .unwrap()
                .contains("Nothing waits and nothing needs a person")
        );
    }
}
