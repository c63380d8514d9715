//! Declaring downtime and ending it. Mainstay suggests; a person declares. Ending says first what is still open.

use axum::http::StatusCode;
use axum::response::Response;
use clinic::index::Facet;
use clinic::policy::Permission;
use sync_protocol::ChangeId;

use super::desk::{Acted, Desk};
use super::frame::{banner, leaving_by_themselves, shell, views_count};
use super::last_act::{About, LastAct};
use super::reading::Reading;
use super::refusal::{Built, Refusal};
use super::sent::Sent;
use super::views::{DowntimeState, DowntimeView, LineState, OpenCount};
use crate::access::site::{Standing, declare as declare_standing, end as end_standing};
use crate::store::TxError;

/// Reasons that are offered; any other is written.
const REASONS: [(&str, &str); 3] = [
    ("line", "Internet line is cut"),
    ("ehr-down", "EHR is down"),
    ("ehr-slow", "EHR is too slow"),
];

pub(super) async fn show(desk: Desk) -> Response {
    let built = desk.page(StatusCode::OK, |reading| Ok(view(reading, None)?)).await;
    desk.answer(built).await
}

fn view(reading: &Reading<'_, '_>, wrong: Option<String>) -> Result<DowntimeView, TxError> {
    Ok(DowntimeView {
        shell: shell(reading, None)?,
        state: match reading.site.downtime.first() {
            None => standby(reading)?,
            Some(said) => DowntimeState::Declared {
                since: reading.clock.at(said.event_ms),
                by: reading.who(said.actor)?,
                reason: said.value.clone(),
                lasting: reading.clock.since(said.event_ms),
                open: still_open(reading)?,
            },
        },
        may_change: reading.may(Permission::DeclareDowntime),
        wrong,
    })
}

fn standby(reading: &Reading<'_, '_>) -> Result<DowntimeState, TxError> {
    let cut_since = match banner(reading)?.line {
        LineState::CutOff { since } => Some(since),
        LineState::Starting | LineState::Connected | LineState::Slow { .. } | LineState::CatchingUp { .. } => None,
    };
    let label = |code: &str, label: &str| match &cut_since {
        Some(since) if code == "line" => format!("{label} (since {since})"),
        Some(_) | None => label.to_owned(),
    };
    let reasons = REASONS
        .iter()
        .map(|(code, words)| ((*code).to_owned(), label(code, words)));
    Ok(DowntimeState::Standby {
        reasons: reasons.collect(),
    })
}

fn still_open(reading: &Reading<'_, '_>) -> Result<Vec<OpenCount>, TxError> {
    let questions = banner(reading)?.questions;
    let open = |count: u32, label: &str, href: &str, needs: bool| OpenCount {
        count,
        label: label.to_owned(),
        remark: String::new(),
        href: href.to_owned(),
        needs,
    };
    let leaving = views_count(leaving_by_themselves(reading, None)?);
    let by_hand = views_count(reading.tx.count_facet(Facet::TASK_TO_ENTER)?);
    let unsent = views_count(reading.tx.counts()?.pending);
    Ok(vec![
        open(questions, "Need a person", "/work?show=person", true),
        open(leaving, "Leaving by themselves", "/work?show=waiting", false),
        open(by_hand, "To enter by hand", "/work?show=hand", false),
        open(unsent, "Changes not yet at the hub", "/connection", false),
    ])
}

pub(super) async fn declare(sent: Sent) -> Response {
    let done = declared(&sent).await;
    answer(&sent, done).await
}

async fn declared(sent: &Sent) -> Built<Response> {
    let chosen = sent.fields.text("reason");
    let mut offered = REASONS.iter().filter(|(code, _)| *code == chosen);
    let reason = match (offered.next(), chosen.as_str()) {
        (Some((_, words)), _) => (*words).to_owned(),
        (None, "other") => sent.fields.text("other"),
        (None, _) => String::new(),
    };
    if reason.is_empty() {
        return Err(Refusal::Wrong("Choose a reason, or write another.".to_owned()));
    }
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            declare_standing(tx, by, Standing::Downtime, &reason, now_ms)?;
            Ok(to_the_board("Downtime", "declared", now_ms))
        })
        .await
}

/// What concerns everybody is seen at once where everybody looks.
fn to_the_board(subject: &str, what: &str, at_ms: i64) -> Acted {
    Acted {
        to: Some("/board".to_owned()),
        said: Some(LastAct {
            about: About::Thing(subject.to_owned()),
            what: what.to_owned(),
            at_ms,
            undo: None,
        }),
    }
}

pub(super) async fn end(sent: Sent) -> Response {
    let done = ended(&sent).await;
    answer(&sent, done).await
}

async fn ended(sent: &Sent) -> Built<Response> {
    let confirmed = sent.fields.text("confirm") == "yes";
    let seen = sent.desk.read(|reading| {
        let open: u32 = still_open(reading)?.iter().map(|one| one.count).sum();
        let shown: Vec<ChangeId> = reading.site.downtime.iter().map(|said| said.change).collect();
        Ok((open, shown))
    });
    let (open, shown) = seen.await?;
    if open > 0 && !confirmed {
        return Err(Refusal::Wrong(
            "Look at what is still open first, and say that you have.".to_owned(),
        ));
    }
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            end_standing(tx, by, Standing::Downtime, &shown, now_ms)?;
            Ok(to_the_board("Downtime", "ended", now_ms))
        })
        .await
}

async fn answer(sent: &Sent, done: Built<Response>) -> Response {
    let done = match done {
        Err(Refusal::Wrong(why)) => {
            let again = sent.desk.page(StatusCode::UNPROCESSABLE_ENTITY, |reading| {
                Ok(view(reading, Some(why))?)
            });
            again.await
        }
        done => done,
    };
    sent.desk.answer(done).await
}
