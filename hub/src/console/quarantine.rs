//! What is set aside: whose, of what kind, why. Nothing of what a change says.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::Console;
use super::refusal::Built;
use super::session::Session;
use super::sites::foreign;
use super::views::{QuarantineView, Shell, Tab, rendered};
use crate::admin::{Command, QuarantineCommand, QuarantineReply, Reply};

pub(super) async fn list(State(console): State<Console>, session: Session) -> Built<Response> {
    let asked = Command::Quarantine(QuarantineCommand::List);
    let Reply::Quarantine(QuarantineReply::List { all, changes }) = console.carry_out(&session, asked).await? else {
        return Err(foreign());
    };
    let view = QuarantineView {
        shell: Shell::new(&session, Tab::Quarantine, None),
        all,
        changes,
    };
    rendered(StatusCode::OK, &view)
}
