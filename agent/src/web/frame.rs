//! What surrounds every page: the site, the person, the banner, the foot. The line, the hub and the EHR are told apart and
//! never guessed.

use axum::http::StatusCode;
use axum::response::Response;
use clinic::index::Facet;
use clinic::task::TaskState;
use clinic::value::Target;

use super::desk::Desk;
use super::locked;
use super::names::role_word;
use super::reading::Reading;
use super::task_rows;
use super::views::{self, Attention, Banner, Declared, Held, LineParts, PartState, PersonBadge, Shell, Tab};
use crate::line::{LineState, Trouble};
use crate::store::TxError;

/// `GET /banner`.
pub(super) async fn banner_alone(desk: Desk) -> Response {
    let built = desk.page(StatusCode::OK, |reading| Ok(banner(reading)?)).await;
    desk.answer(built).await
}

pub(super) fn shell(reading: &Reading<'_, '_>, active: Option<Tab>) -> Result<Shell, TxError> {
    let asked = &reading.asked;
    let name = if reading.site.name.is_empty() {
        "This site".to_owned()
    } else {
        reading.site.name.clone()
    };
    Ok(Shell {
        site_name: name,
        now_label: reading.clock.now_label(),
        person: asked.person.as_ref().map(|person| PersonBadge {
            name: person.name.clone(),
            role: role_word(person.role).to_owned(),
        }),
        banner: banner(reading)?,
        active,
        toast: asked.last_act.as_ref().map(|act| act.toast(reading)).transpose()?,
        keys: reading.keys.clone(),
        theme: asked.theme,
    })
}

pub(super) fn banner(reading: &Reading<'_, '_>) -> Result<Banner, TxError> {
    let count = |facet: Facet| reading.tx.count_facet(facet);
    let questions = count(Facet::CONFLICT)?
        + count(Facet::RESULT_UNMATCHED)?
        + count(Facet::VISIT_CONTRADICTS)?
        + task_rows::open_questions(reading)?.len() as u64
        + count(Facet::task(TaskState::Refused))?
        + count(Facet::task(TaskState::SetAside))?;
    let trouble = *locked(&reading.asked.web.store_trouble);
    Ok(Banner {
        line: line_state(reading)?,
        declared: match reading.site.downtime.first() {
            Some(said) => Some(Declared {
                since: reading.clock.at(said.event_ms),
                by: reading.who(said.actor)?,
            }),
            None => None,
        },
        held: held(reading)?,
        attention: trouble.map(|why| Attention {
            what: format!("{why} Saved work is safe and can be read; nothing new is kept."),
            whom: "Call IT.".to_owned(),
        }),
        waiting: views_count(leaving_by_themselves(reading, None)?),
        questions: views_count(questions),
        parts: parts(reading),
        signed_in: reading.asked.person.is_some(),
    })
}

pub(super) fn views_count(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn held(reading: &Reading<'_, '_>) -> Result<Option<Held>, TxError> {
    let Some(said) = reading.site.held.first() else {
        return Ok(None);
    };
    Ok(Some(Held {
        since: reading.clock.at(said.event_ms),
        by: reading.who(said.actor)?,
        why: said.value.clone(),
    }))
}

/// Tasks that leave without anybody, of those that were there before a time, or of all.
pub(super) fn leaving_by_themselves(reading: &Reading<'_, '_>, before_ms: Option<i64>) -> Result<u64, TxError> {
    let before_ms = before_ms.unwrap_or(i64::MAX);
    let count = |facet: Facet| reading.tx.count_facet_before(facet, before_ms);
    let waiting = count(Facet::task(TaskState::Waiting))?
        + count(Facet::task(TaskState::BeingSent))?
        + count(Facet::task(TaskState::OutcomeUnknown))?;
    Ok(waiting.saturating_sub(count(Facet::TASK_TO_ENTER)?))
}

fn line_state(reading: &Reading<'_, '_>) -> Result<views::LineState, TxError> {
    let line = &reading.line;
    let (back_ms, ehr_away_since) = {
        let mut story = locked(&reading.asked.web.line_story);
        story.see(line, reading.clock.now_ms);
        (story.back_ms(), story.ehr_away_since())
    };
    match line.state {
        LineState::Starting => return Ok(views::LineState::Starting),
        LineState::CutOff | LineState::Held => {
            let since = reading.clock.at(line.since_ms);
            return Ok(views::LineState::CutOff { since });
        }
        LineState::Connected | LineState::Slow => {}
    }
    if reading.site.ehr == Target::Machine
        && let Some(since_ms) = ehr_away_since
    {
        let since = reading.clock.at(since_ms);
        return Ok(views::LineState::CutOff { since });
    }
    if let Some(back_ms) = back_ms {
        let left = leaving_by_themselves(reading, Some(back_ms))?;
        if let Some(all) = locked(&reading.asked.web.line_story).catching_up(left) {
            return Ok(views::LineState::CatchingUp {
                done: views_count(all.done),
                total: views_count(all.total),
                back_since: reading.clock.at(all.back_ms),
                left: None,
            });
        }
    }
    if line.state == LineState::Slow {
        let seconds = line
            .round_trip_ms
            .map(|ms| format!("{}.{}", ms / 1_000, ms % 1_000 / 100));
        return Ok(views::LineState::Slow {
            since: reading.clock.at(line.since_ms),
            what: match seconds {
                Some(seconds) => format!("The hub takes {seconds} s to answer."),
                None => "The hub takes long to answer.".to_owned(),
            },
        });
    }
    Ok(views::LineState::Connected)
}

pub(super) fn parts(reading: &Reading<'_, '_>) -> LineParts {
    let line = &reading.line;
    let ehr = match (reading.site.ehr, line.ehr_reached) {
        (Target::Machine, Some(true)) => PartState::Working,
        (Target::Machine, Some(false)) => PartState::Down,
        (Target::Machine, None) | (Target::Person, _) => PartState::Unknown,
    };
    let all = |line, hub, ehr| LineParts { line, hub, ehr };
    match (line.state, &line.trouble) {
        (LineState::Starting, _) => all(PartState::Unknown, PartState::Unknown, PartState::Unknown),
        (LineState::Held, _) => all(PartState::Held, PartState::Held, PartState::Held),
        (LineState::Connected, _) => all(PartState::Working, PartState::Working, ehr),
        (LineState::Slow, _) => all(PartState::Slow, PartState::Working, ehr),
        // Something answers there; it is the hub that does not serve.
        (
            LineState::CutOff,
            Some(
                Trouble::Refused { .. }
                | Trouble::HubWentBack
                | Trouble::Busy(_)
                | Trouble::Unreadable
                | Trouble::NotSigned
                | Trouble::Setup
                | Trouble::Versions(_),
            ),
        ) => all(PartState::Working, PartState::Down, PartState::Down),
        (
            LineState::CutOff,
            Some(
                Trouble::NotReached
                | Trouble::WrongAuthority(_)
                | Trouble::Inspected(_)
                | Trouble::Proxy(_)
                | Trouble::Dates,
            )
            | None,
        ) => all(PartState::Down, PartState::Down, PartState::Down),
    }
}
