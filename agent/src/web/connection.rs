//! The line in detail, and holding it by decision. Nothing is called verified that was not compared.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use clinic::policy::Permission;
use serde::Deserialize;
use sync_protocol::wire::Cursor;
use sync_protocol::{ChangeId, Lane};

use super::desk::{Acted, Desk};
use super::frame::{held, leaving_by_themselves, parts, shell, views_count};
use super::last_act::{About, LastAct};
use super::reading::Reading;
use super::refusal::{Built, Refusal};
use super::sent::Sent;
use super::views::{
    ConnectionDetail, ConnectionView, HoldState, LaneDetail, Notice, PartDetail, PendingCount, PolicyDetail, RootState,
    Tab, Tone,
};
use crate::access::site::{Standing, declare, end};
use crate::line::{Line, LineState};
use crate::policies;
use crate::status::{self, Severity, Status, WarningKind};
use crate::store::TxError;
use crate::verified;

/// A clock that differs by more is wrong.
const CLOCK_WRONG_MS: i64 = 60_000;
/// A certificate that ends sooner is worth a word.
const DAY_SECS: i64 = 24 * 60 * 60;

#[derive(Deserialize)]
pub(super) struct ConnectionQuery {
    fragment: Option<String>,
}

pub(super) async fn show(desk: Desk, Query(asked): Query<ConnectionQuery>) -> Response {
    let built = page(&desk, asked.fragment.is_some()).await;
    desk.answer(built).await
}

async fn page(desk: &Desk, fragment: bool) -> Built<Response> {
    let status = status::gather(&desk.web.app).await?;
    if fragment {
        return desk
            .page(StatusCode::OK, move |reading| Ok(detail(reading, &status)?))
            .await;
    }
    desk.page(StatusCode::OK, move |reading| {
        Ok(ConnectionView {
            shell: shell(reading, Some(Tab::Connection))?,
            detail: detail(reading, &status)?,
        })
    })
    .await
}

fn detail(reading: &Reading<'_, '_>, status: &Status) -> Result<ConnectionDetail, TxError> {
    let line = &reading.line;
    Ok(ConnectionDetail {
        keys: reading.keys.clone(),
        as_of: format!("as of {}", reading.clock.to_the_second(reading.clock.now_ms)),
        critical: warnings(status),
        parts: part_details(reading, status),
        clock: match line.clock_ahead_ms {
            Some(ahead_ms) => clock_words(ahead_ms),
            None => "not compared with the hub yet".to_owned(),
        },
        clock_is_wrong: line.clock_ahead_ms.is_some_and(|ahead| ahead.abs() >= CLOCK_WRONG_MS),
        certificate: certificate(reading),
        replica: in_fours(&status.incarnation),
        lanes: lanes(reading)?,
        policies: policies(reading)?,
        pending: pending(reading, status)?,
        hold: match held(reading)? {
            Some(held) => HoldState::Held(held),
            None => HoldState::NotHeld,
        },
        may_hold: reading.may(Permission::HoldLine),
    })
}

fn warnings(status: &Status) -> Vec<Notice> {
    let warning = |warning: &status::Warning| match warning.kind {
        WarningKind::KeyInFile => ConnectionDetail::key_not_protected(),
        WarningKind::Other => Notice {
            tone: match warning.severity {
                Severity::Critical => Tone::Act,
                Severity::Warning | Severity::Notice => Tone::Watch,
            },
            happened: super::refusal::sentence(&warning.text),
            todo: String::new(),
        },
    };
    status.warnings.iter().map(warning).collect()
}

fn part_details(reading: &Reading<'_, '_>, status: &Status) -> Vec<PartDetail> {
    let line = &reading.line;
    let all = parts(reading);
    let since = format!("since {}", reading.clock.at(line.since_ms));
    let part = |name: &str, state, since: String, detail: String| PartDetail {
        name: name.to_owned(),
        state,
        since,
        detail,
    };
    let ehr = match status.ehr {
        "entered by hand" => "Tasks for it are entered by a person here",
        "reached" | "not reached" => "as the hub sees it",
        _ => "the hub has not said",
    };
    vec![
        part("Line to the cloud", all.line, since.clone(), answers(line)),
        part(
            "Hub",
            all.hub,
            since,
            receiving(status).unwrap_or_else(|| exchanged(reading, line)),
        ),
        part("EHR", all.ehr, String::new(), ehr.to_owned()),
    ]
}

fn answers(line: &Line) -> String {
    match (line.state, &line.trouble, line.round_trip_ms) {
        (LineState::CutOff, Some(trouble), _) => super::refusal::sentence(&trouble.words()),
        (LineState::Held, ..) => "held by decision".to_owned(),
        (_, _, Some(ms)) => format!("answers in {ms} ms"),
        (LineState::Starting | LineState::Connected | LineState::Slow | LineState::CutOff, _, None) => String::new(),
    }
}

/// A site that is new is not complete yet: how far it is.
fn receiving(status: &Status) -> Option<String> {
    let filling = status.filling.as_ref()?;
    Some(format!(
        "sending this site its records ({}): {} of {}",
        filling.lane, filling.rows, filling.of_rows
    ))
}

fn exchanged(reading: &Reading<'_, '_>, line: &Line) -> String {
    match line.exchanged_ms {
        Some(ms) if reading.clock.is_today(ms) => format!("last exchange {}", reading.clock.to_the_second(ms)),
        Some(ms) => format!("last exchange {}", reading.clock.at(ms)),
        None => "no exchange since the agent started".to_owned(),
    }
}

/// Nearer than this is as near as a probe can tell.
const CLOCK_SAME_MS: i64 = 100;

/// "0.2 s behind the hub", "1 d 3 h ahead of the hub".
fn clock_words(ahead_ms: i64) -> String {
    if ahead_ms.abs() < CLOCK_SAME_MS {
        return "the same as the hub’s".to_owned();
    }
    let direction = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let off = ahead_ms.unsigned_abs();
    let how_far = if off < 60_000 {
        format!("{}.{} s", off / 1_000, off % 1_000 / 100)
    } else {
        crate::clock::span(ahead_ms.saturating_abs())
    };
    format!("{how_far} {direction} the hub")
}

fn certificate(reading: &Reading<'_, '_>) -> String {
    let enrolled = &reading.asked.web.app.enrolment;
    let Some(validity) = vault::identity::validity(&enrolled.certificate) else {
        return String::new();
    };
    let left = (validity.not_after - reading.clock.now_ms / 1_000) / DAY_SECS;
    let until = reading.clock.day(validity.not_after.saturating_mul(1_000));
    match left {
        left if left < 0 => format!("ended {until}: enrol this site again"),
        1 => format!("until {until}, 1 day left"),
        left => format!("until {until}, {left} days left"),
    }
}

/// "9f1c 2ab4 …": so that it can be read aloud.
fn in_fours(id: &str) -> String {
    let fours: Vec<&str> = id
        .as_bytes()
        .chunks(4)
        .filter_map(|four| std::str::from_utf8(four).ok())
        .collect();
    fours.join(" ")
}

fn lanes(reading: &Reading<'_, '_>) -> Result<Vec<LaneDetail>, TxError> {
    let own = reading.asked.web.app.enrolment.scope;
    let mut all = Vec::new();
    for Cursor { scope, lane, .. } in reading.tx.cursors()? {
        let compared = verified::of(reading.tx, scope, lane)?;
        let ours = reading.tx.root(scope, lane)?;
        all.push(LaneDetail {
            name: if scope == own { lane_name(lane) } else { "Organisation" }.to_owned(),
            as_of: reading
                .line
                .exchanged_ms
                .map(|ms| reading.clock.at(ms))
                .unwrap_or_default(),
            roots: match compared {
                None => RootState::NotCompared,
                Some(last) if last.hub == ours && last.equal => RootState::Identical {
                    at: reading.clock.at(last.at_ms),
                },
                // What has come since is compared when the head is reached again.
                Some(last) if last.equal => RootState::NotCompared,
                Some(last) => RootState::Differ {
                    at: reading.clock.at(last.at_ms),
                },
            },
        });
    }
    Ok(all)
}

fn policies(reading: &Reading<'_, '_>) -> Result<Vec<PolicyDetail>, TxError> {
    let enrolment = &reading.asked.web.app.enrolment;
    let mut shown: Vec<PolicyDetail> = policies::all(reading.tx, enrolment)?
        .into_iter()
        .map(|policy| PolicyDetail {
            says: policy_words(&policy.name, &policy.body),
            state: format!(
                "version {}, since {}",
                policy.version,
                reading.clock.day(policy.signed_ms)
            ),
            is_genuine: policy.is_genuine,
            name: policy.name,
        })
        .collect();
    for name in clinic::policies::NAMES {
        if !shown.iter().any(|policy| policy.name == name) {
            shown.push(PolicyDetail {
                name: name.to_owned(),
                says: policy_words(name, ""),
                state: "the defaults hold".to_owned(),
                is_genuine: true,
            });
        }
    }
    Ok(shown)
}

fn policy_words(name: &str, body: &str) -> String {
    match name {
        clinic::policies::SCOPE => clinic::policies::ScopePolicy::parse(body)
            .map(|policy| policies::scope_words(&policy))
            .unwrap_or_default(),
        clinic::policies::REFERENCE => clinic::policies::ReferencePolicy::parse(body)
            .map(|policy| {
                format!(
                    "schedules and lists of the EHR older than {} h, other lists and code sets older than {} days are marked",
                    policy.stale_after_hours, policy.code_set_stale_after_days
                )
            })
            .unwrap_or_default(),
        _ => String::new(),
    }
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Safety => "Safety",
        Lane::Flow => "Visits and rooms",
        Lane::Schedule => "Schedule and coverage",
        Lane::Reference => "Reference",
    }
}

fn pending(reading: &Reading<'_, '_>, status: &Status) -> Result<Vec<PendingCount>, TxError> {
    let count = |count: u64, label: &str| PendingCount {
        count: views_count(count),
        label: label.to_owned(),
        remark: String::new(),
    };
    Ok(vec![
        count(status.pending, "Changes not yet at the hub"),
        count(leaving_by_themselves(reading, None)?, "Tasks that wait"),
        count(status.quarantined, "Changes set aside at the hub"),
    ])
}

pub(super) async fn hold(sent: Sent) -> Response {
    let done = held_now(&sent).await;
    sent.desk.answer(done).await
}

async fn held_now(sent: &Sent) -> Built<Response> {
    let why = sent.fields.text("why");
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            declare(tx, by, Standing::Hold, &why, now_ms)?;
            Ok(said("held", now_ms))
        })
        .await
}

pub(super) async fn release(sent: Sent) -> Response {
    let done = released(&sent).await;
    sent.desk.answer(done).await
}

async fn released(sent: &Sent) -> Built<Response> {
    if sent.fields.text("confirm") != "yes" {
        return Err(Refusal::Wrong("Say that it is safe to connect again.".to_owned()));
    }
    let shown = sent.desk.read(|reading| {
        let shown: Vec<ChangeId> = reading.site.held.iter().map(|said| said.change).collect();
        Ok(shown)
    });
    let shown = shown.await?;
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            end(tx, by, Standing::Hold, &shown, now_ms)?;
            Ok(said("released", now_ms))
        })
        .await
}

fn said(what: &str, at_ms: i64) -> Acted {
    Acted::saying(LastAct {
        about: About::Thing("The line".to_owned()),
        what: what.to_owned(),
        at_ms,
        undo: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_in_words() {
        assert_eq!(clock_words(-240), "0.2 s behind the hub");
        assert_eq!(clock_words(27 * 60 * 60 * 1_000), "1 d 3 h ahead of the hub");
        assert_eq!(in_fours("9f1c2ab477d0"), "9f1c 2ab4 77d0");
    }
}
