//! Patient records that may be one person's: the list, and two side by side. These pages show patients: that they were
//! opened is logged, by whom. Linking moves nothing and can be taken back.

use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Console;
use super::refusal::Built;
use super::session::Session;
use super::sites::{Done, foreign};
use super::views::{MatchView, MatchesView, Shell, Tab, rendered};
use crate::admin::{Command, MatchCommand, MatchReply, Reply};

/// Pairs of one page; the list is worked off from its head.
const PAGE: usize = 50;

pub(super) async fn list(
    State(console): State<Console>,
    session: Session,
    Query(done): Query<Done>,
) -> Built<Response> {
    let asked = Command::Match(MatchCommand::List { skip: 0, at_most: PAGE });
    let Reply::Match(MatchReply::List { waiting, pairs }) = console.carry_out(&session, asked).await? else {
        return Err(foreign());
    };
    tracing::info!(admin = %session.admin, shown = pairs.len(), "patients were shown at the console: possible matches");
    let view = MatchesView {
        shell: Shell::new(&session, Tab::Matches, done.done.as_deref()),
        waiting: usize::try_from(waiting).unwrap_or(usize::MAX),
        pairs,
    };
    rendered(StatusCode::OK, &view)
}

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Path((a, b)): Path<(String, String)>,
    Query(done): Query<Done>,
) -> Built<Response> {
    let asked = Command::Match(MatchCommand::Show { a, b });
    let Reply::Match(MatchReply::Shown(compared)) = console.carry_out(&session, asked).await? else {
        return Err(foreign());
    };
    tracing::info!(admin = %session.admin, shown = 2, "patients were shown at the console: two side by side");
    let view = MatchView {
        shell: Shell::new(&session, Tab::Matches, done.done.as_deref()),
        compared: *compared,
    };
    rendered(StatusCode::OK, &view)
}

#[derive(Deserialize)]
pub(super) struct Said {
    csrf: String,
    is: String,
}

pub(super) async fn decide(
    State(console): State<Console>,
    session: Session,
    Path((a, b)): Path<(String, String)>,
    Form(said): Form<Said>,
) -> Built<Response> {
    session.check(&said.csrf)?;
    let back = format!("/matches/{a}/{b}?done=decided");
    let command = match said.is.as_str() {
        "one-person" => MatchCommand::Link { a, b },
        "two-people" => MatchCommand::Distinct { a, b },
        "open" => MatchCommand::Unlink { a, b },
        _ => return Err(foreign()),
    };
    console.carry_out(&session, Command::Match(command)).await?;
    Ok(Redirect::to(&back).into_response())
}
