//! The work list: what only a person can settle first, then every task by state, then the messages that were not taken.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use clinic::catalogue::{patient, task, visit};
use clinic::flow;
use clinic::index::Facet;
use clinic::matching::Candidate;
use clinic::policy::Permission;
use serde::Deserialize;
use sync_protocol::{Phi, RecordId, RecordState};

use super::conflicts;
use super::desk::Desk;
use super::flow::ends_words;
use super::frame::{shell, views_count};
use super::names::listed_name;
use super::patient_page::as_of;
use super::reading::{Reading, ids};
use super::refusal::Built;
use super::task_rows::{TASKS_MAX, due, kind_word, open_questions, shown_ids, shown_task, task_row};
use super::unmatched::{self, WRONG_STATUS, mark_wrong};
use super::views::{
    Choice, Conflict, Contradiction, Marked, PartnerCandidate, PartnerMatch, RejectedMessage, Tab, TaskGroup, TaskRow,
    TaskState, WorkList, WorkView,
};
use crate::store::{Message, Outcome, TxError};

const CONFLICTS_MAX: u32 = 100;
const MESSAGES_MAX: u32 = 200;

#[derive(Deserialize)]
pub(super) struct WorkQuery {
    #[serde(default)]
    show: String,
    fragment: Option<String>,
}

pub(super) async fn show(desk: Desk, Query(asked): Query<WorkQuery>) -> Response {
    let built = page(&desk, asked).await;
    desk.answer(built).await
}

async fn page(desk: &Desk, asked: WorkQuery) -> Built<Response> {
    let filter = Filter::parse(&asked.show);
    if asked.fragment.is_some() {
        return desk
            .page(StatusCode::OK, move |reading| Ok(list(reading, filter)?))
            .await;
    }
    desk.page(StatusCode::OK, move |reading| Ok(view(reading, filter)?))
        .await
}

/// The whole list again, with what was wrong beside the result it was about.
pub(super) async fn with_wrong_number(desk: &Desk, id: String, why: String) -> Built<Response> {
    desk.page(WRONG_STATUS, move |reading| {
        let mut view = view(reading, Filter::All)?;
        mark_wrong(&mut view.list.unmatched, &id, &why);
        Ok(view)
    })
    .await
}

fn view(reading: &Reading<'_, '_>, filter: Filter) -> Result<WorkView, TxError> {
    Ok(WorkView {
        shell: shell(reading, Some(Tab::Work))?,
        list: list(reading, filter)?,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Filter {
    All,
    Person,
    ByHand,
    Waiting,
    Unknown,
    Done,
}

impl Filter {
    const ALL: [(Filter, &'static str, &'static str); 6] = [
        (Filter::All, "", "All"),
        (Filter::Person, "person", "Needs a person"),
        (Filter::ByHand, "hand", "By hand"),
        (Filter::Waiting, "waiting", "Waiting"),
        (Filter::Unknown, "unknown", "Answer unknown"),
        (Filter::Done, "done", "Done today"),
    ];

    fn parse(show: &str) -> Filter {
        let mut named = Filter::ALL.into_iter().filter(|(_, code, _)| *code == show);
        named.next().map_or(Filter::All, |(filter, ..)| filter)
    }

    fn code(self) -> &'static str {
        let mut named = Filter::ALL.into_iter().filter(|(filter, ..)| *filter == self);
        named.next().map_or("", |(_, code, _)| code)
    }

    fn takes(self, group: Group) -> bool {
        match self {
            Filter::All => true,
            Filter::Person => group == Group::Person,
            Filter::ByHand => group == Group::ByHand,
            Filter::Waiting => group == Group::Waiting,
            Filter::Unknown => group == Group::Unknown,
            Filter::Done => group == Group::Done,
        }
    }
}

/// Where in the list a task stands, in the order of the list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Person,
    ByHand,
    Unknown,
    Waiting,
    Done,
}

impl Group {
    fn of(state: TaskState) -> Group {
        match state {
            TaskState::Refused | TaskState::SetAside => Group::Person,
            TaskState::ToEnterByHand => Group::ByHand,
            TaskState::OutcomeUnknown => Group::Unknown,
            TaskState::Waiting | TaskState::OnHold | TaskState::BeingSent | TaskState::WithdrawalAsked => {
                Group::Waiting
            }
            TaskState::Delivered
            | TaskState::EnteredByHand
            | TaskState::Withdrawn
            | TaskState::Expired
            | TaskState::Superseded => Group::Done,
        }
    }

    /// How many there are, where lists may be longer than what is read of them.
    fn count(self, reading: &Reading<'_, '_>) -> Result<u64, TxError> {
        use clinic::task::TaskState as State;
        let count = |state: State| reading.tx.count_facet(Facet::task(state));
        match self {
            Group::Person => Ok(count(State::Refused)? + count(State::SetAside)?),
            Group::ByHand => reading.tx.count_facet(Facet::TASK_TO_ENTER),
            Group::Unknown => count(State::OutcomeUnknown),
            Group::Waiting => {
                let all = count(State::Waiting)? + count(State::OnHold)? + count(State::BeingSent)?;
                Ok(all.saturating_sub(reading.tx.count_facet(Facet::TASK_TO_ENTER)?))
            }
            Group::Done => Ok(0),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Group::Person => "Needs a person",
            Group::ByHand => "To enter by hand",
            Group::Unknown => "Sent, answer unknown",
            Group::Waiting => "Waiting, being sent",
            Group::Done => "Done today",
        }
    }
}

fn list(reading: &Reading<'_, '_>, filter: Filter) -> Result<WorkList, TxError> {
    let grouped = grouped(reading)?;
    let conflicts = conflicts_of_all(reading)?;
    let contradictions = contradictions(reading)?;
    let matches = matches(reading)?;
    let unmatched = unmatched::all(reading)?;
    let rejected = rejected(reading)?;
    let rejected_total = reading.tx.count_messages(Outcome::Rejected)?
        + reading.tx.count_messages(Outcome::Error)?
        + reading.tx.count_messages_without_effect()?;
    let asked = conflicts.len() + contradictions.len() + matches.len() + unmatched.len();
    let choices = choices(
        &grouped,
        asked,
        usize::try_from(rejected_total).unwrap_or(usize::MAX),
        filter,
    );
    let asks = matches!(filter, Filter::All | Filter::Person);
    let groups = grouped
        .into_iter()
        .filter(|(group, _)| filter.takes(*group))
        .map(|(group, listed)| TaskGroup {
            title: group.title().to_owned(),
            remark: listed.remark(),
            rows: listed.rows,
        });
    Ok(WorkList {
        keys: reading.keys.clone(),
        fragment_url: match filter.code() {
            "" => "/work?fragment=list".to_owned(),
            code => format!("/work?show={code}&fragment=list"),
        },
        as_of: format!("Live; {}", as_of(reading)),
        choices,
        notice: None,
        conflicts: if asks { conflicts } else { Vec::new() },
        contradictions: if asks { contradictions } else { Vec::new() },
        matches: if asks { matches } else { Vec::new() },
        unmatched: if asks { unmatched } else { Vec::new() },
        rejected: if filter == Filter::All { rejected } else { Vec::new() },
        rejected_total,
        groups: groups.collect(),
    })
}

fn choices(grouped: &BTreeMap<Group, Listed>, asked: usize, rejected: usize, current: Filter) -> Vec<Choice> {
    let tasks = |filter: Filter| -> u64 {
        let taken = grouped.iter().filter(|(group, _)| filter.takes(**group));
        taken.map(|(_, listed)| listed.all).sum()
    };
    let choice = |(filter, code, label): (Filter, &str, &str)| {
        let beside = match filter {
            Filter::All => asked + rejected,
            Filter::Person => asked,
            Filter::ByHand | Filter::Waiting | Filter::Unknown | Filter::Done => 0,
        };
        Choice {
            href: if code.is_empty() {
                "/work".to_owned()
            } else {
                format!("/work?show={code}")
            },
            label: label.to_owned(),
            count: views_count(tasks(filter) + beside as u64),
            current: filter == current,
        }
    };
    Filter::ALL.into_iter().map(choice).collect()
}

/// Open tasks, those that need a person before the many that don't, and those of today that are done with.
fn grouped(reading: &Reading<'_, '_>) -> Result<BTreeMap<Group, Listed>, TxError> {
    let mut found: BTreeMap<(i64, RecordId), RecordState> = BTreeMap::new();
    let mut lists = Vec::new();
    for facet in [Facet::TASK_TO_ENTER].into_iter().chain(OPEN_STATES.map(Facet::task)) {
        lists.push(reading.tx.with_facet(facet, TASKS_MAX)?);
    }
    let midnight_ms = reading.clock.midnight_ms();
    lists.push(reading.tx.records_since(task::KIND, midnight_ms, TASKS_MAX)?);
    for stored in lists.into_iter().flatten() {
        let created = task::INTENT.latest(&stored.state).map_or(0, |said| said.event_ms);
        found.insert((created, stored.state.record), stored.state);
    }
    let mut grouped: BTreeMap<Group, Listed> = BTreeMap::new();
    for state in found.values() {
        if shown_task(state) == TaskState::Superseded {
            continue; // Its successor is in the list; the patient's page has both.
        }
        let row = task_row(reading, state)?;
        grouped.entry(Group::of(row.state)).or_default().rows.push(row);
    }
    for (group, listed) in &mut grouped {
        let shown = listed.rows.len() as u64;
        let is_cut = shown >= u64::from(TASKS_MAX);
        listed.all = if is_cut {
            group.count(reading)?.max(shown)
        } else {
            shown
        };
    }
    Ok(grouped)
}

/// The states of tasks that are not done with.
const OPEN_STATES: [clinic::task::TaskState; 6] = [
    clinic::task::TaskState::Refused,
    clinic::task::TaskState::SetAside,
    clinic::task::TaskState::OnHold,
    clinic::task::TaskState::OutcomeUnknown,
    clinic::task::TaskState::BeingSent,
    clinic::task::TaskState::Waiting,
];

/// Tasks of a group: the rows that are shown, and how many there are.
#[derive(Default)]
struct Listed {
    rows: Vec<TaskRow>,
    all: u64,
}

impl Listed {
    /// Nothing is left out without a word.
    fn remark(&self) -> String {
        let shown = self.rows.len() as u64;
        if self.all > shown {
            format!("the oldest {shown} of {}", self.all)
        } else {
            String::new()
        }
    }
}

fn conflicts_of_all(reading: &Reading<'_, '_>) -> Result<Vec<Conflict>, TxError> {
    let mut all = Vec::new();
    for stored in reading.tx.with_facet(Facet::CONFLICT, CONFLICTS_MAX)? {
        all.extend(conflicts::of_patient(reading, &stored.state)?);
    }
    Ok(all)
}

fn contradictions(reading: &Reading<'_, '_>) -> Result<Vec<Contradiction>, TxError> {
    let mut all = Vec::new();
    for stored in reading.tx.with_facet(Facet::VISIT_CONTRADICTS, CONFLICTS_MAX)? {
        let Some(standing) = flow::standing(&stored.state) else {
            continue;
        };
        let patient = visit::PATIENT.value(&stored.state).unwrap_or(RecordId::NIL);
        all.push(Contradiction {
            visit: stored.state.record.to_string(),
            ends: ends_words(&standing.ends),
            patient: reading.patient(patient)?,
        });
    }
    Ok(all)
}

fn matches(reading: &Reading<'_, '_>) -> Result<Vec<PartnerMatch>, TxError> {
    let mut all = Vec::new();
    for stored in open_questions(reading)? {
        all.push(partner_match(reading, &stored.state)?);
    }
    Ok(all)
}

fn partner_match(reading: &Reading<'_, '_>, state: &RecordState) -> Result<PartnerMatch, TxError> {
    let patient_id = task::PATIENT.value(state).unwrap_or(RecordId::NIL);
    let ours = reading.state(patient_id)?;
    let phone = ours
        .as_ref()
        .and_then(|ours| patient::PHONE.value(ours))
        .map(Phi::into_exposed);
    let born = ours.as_ref().and_then(|ours| {
        patient::BIRTH_DATE
            .ask(ours)
            .standing()
            .map(|date| date.expose().shown())
    });
    let name = ours.as_ref().map(|ours| listed_name(ours)).unwrap_or_default();
    let offered = task::CANDIDATES.value(state).map(Phi::into_exposed).unwrap_or_default();
    let here = Here {
        name,
        born: born.unwrap_or_default(),
        phone: phone.clone().unwrap_or_default(),
    };
    Ok(PartnerMatch {
        task: state.record.to_string(),
        kind: kind_word(state),
        partner: "the EHR".to_owned(),
        patient: reading.patient(patient_id)?,
        here: phone.into_iter().collect(),
        candidates: offered.0.iter().map(|one| here.compared(one)).collect(),
        owner: "Front desk".to_owned(),
        due: due(reading, task::DEADLINE_MS.value(state)),
        may_answer: reading.may(Permission::WorkTasks),
        shown: ids(&shown_ids(state)),
    })
}

/// What is known here, to compare a partner's patient with.
struct Here {
    name: String,
    born: String,
    phone: String,
}

impl Here {
    fn compared(&self, candidate: &Candidate) -> PartnerCandidate {
        let identity = &candidate.identity;
        let born = identity.birth_date.map(|date| date.shown());
        let phone = identity.phones.join(", ");
        let mut facts = Vec::new();
        if !phone.is_empty() {
            facts.push(differing(&self.phone, &phone));
        }
        PartnerCandidate {
            number: candidate.partner_id.clone(),
            name: differing(&self.name, &identity.name.listed()),
            born: differing(&self.born, &born.unwrap_or_else(|| "not known there".to_owned())),
            facts,
        }
    }
}

/// The second text, with the words marked that the first does not have.
fn differing(ours: &str, theirs: &str) -> Marked {
    let mut both = Marked::compare(&[ours, theirs]);
    both.pop().unwrap_or_else(|| Marked::plain(theirs))
}

fn rejected(reading: &Reading<'_, '_>) -> Result<Vec<RejectedMessage>, TxError> {
    let mut all = reading.tx.messages(Some(Outcome::Rejected), None, MESSAGES_MAX)?;
    all.extend(reading.tx.messages(Some(Outcome::Error), None, MESSAGES_MAX)?);
    // Results that found nobody have a list of their own.
    let without_effect = reading.tx.messages(Some(Outcome::Unmatched), None, MESSAGES_MAX)?;
    all.extend(
        without_effect
            .into_iter()
            .filter(|message| message.message.kind != "ORU"),
    );
    all.sort_by_key(|message| std::cmp::Reverse(message.id));
    all.truncate(MESSAGES_MAX as usize);
    Ok(all.iter().map(|message| rejected_message(reading, message)).collect())
}

fn rejected_message(reading: &Reading<'_, '_>, message: &Message) -> RejectedMessage {
    let kept = &message.message;
    let from: Vec<&str> = [kept.key.application.as_str(), &kept.key.facility]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let kind: Vec<&str> = [kept.kind.as_str(), &kept.trigger]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let answered = match kept.outcome {
        Outcome::Rejected => "Not taken",
        Outcome::Error => "Not readable",
        Outcome::Unmatched => "Taken, but nothing on the board moved",
        Outcome::Accepted => "Taken",
    };
    RejectedMessage {
        message: message.id.to_string(),
        received: reading.clock.at(kept.received_ms.cast_signed()),
        from: if from.is_empty() {
            kept.peer.clone()
        } else {
            from.join(", ")
        },
        kind: if kind.is_empty() {
            "not readable".to_owned()
        } else {
            kind.join("^")
        },
        answered: answered.to_owned(),
        why: kept.error.as_deref().map(super::refusal::sentence).unwrap_or_default(),
    }
}
