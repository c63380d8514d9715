//! Why a request got no page of its own, in the words of the person who asked. Nothing here says more than that.

use axum::http::StatusCode;
use sync_protocol::replica::ReplicaError;

use super::views::{MessageView, Shell, Tone, Way};
use crate::access::ActError;
use crate::store::{ReadError, TxError, WriteError};

#[derive(Debug)]
pub(super) enum Refusal {
    NotFound,
    /// What the role does not allow, and who may: "hold the line", "a lead".
    NotPermitted,
    /// The form's token is not this sign-in's; where the form stands.
    FormTooOld(String),
    /// A form that no page of ours makes.
    NotOurForm,
    TooLarge,
    /// What was asked for does not fit what is so by now: what happened, what to do.
    NotNow(String),
    /// Something was typed that cannot be taken, on a form that has no room to say so.
    Wrong(String),
    /// Nothing of it was kept, and why.
    NotSaved(&'static str),
    /// What is kept could not be read.
    NotRead,
}

impl From<TxError> for Refusal {
    fn from(error: TxError) -> Refusal {
        tracing::error!(error = %error, "a page could not be read");
        Refusal::NotRead
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Refusal {
        tracing::error!(error = %error, "a page could not be read");
        Refusal::NotRead
    }
}

impl From<ActError> for Refusal {
    fn from(error: ActError) -> Refusal {
        match error {
            ActError::NotPermitted => Refusal::NotPermitted,
            ActError::NotFound(_) => Refusal::NotFound,
            ActError::Invalid { remedy, .. } => Refusal::Wrong(sentence(remedy)),
            ActError::Conflict(what) => Refusal::NotNow(sentence(what)),
            ActError::NoNumbers => Refusal::NotNow(sentence(&ActError::NoNumbers.to_string())),
            ActError::Store(error) => not_written(&error),
            ActError::Engine(error @ (ReplicaError::TooLarge { .. } | ReplicaError::RecordFull)) => {
                Refusal::NotNow(sentence(&error.to_string()))
            }
            ActError::Engine(
                error @ (ReplicaError::Ledger(_) | ReplicaError::Damaged(_) | ReplicaError::Gap { .. }),
            ) => not_written(&error),
        }
    }
}

fn not_written(error: &dyn std::error::Error) -> Refusal {
    tracing::error!(%error, "an act could not be written");
    Refusal::NotSaved("The store did not take it.")
}

impl From<WriteError<ActError>> for Refusal {
    fn from(error: WriteError<ActError>) -> Refusal {
        match error {
            WriteError::Refused(error) => error.into(),
            WriteError::NoSpace => Refusal::NotSaved("The disk is full."),
            WriteError::Disk => Refusal::NotSaved("The disk does not take writes."),
            WriteError::Damaged => Refusal::NotSaved("The store is damaged."),
            WriteError::Busy => Refusal::NotSaved("The store is in use by another program."),
            WriteError::Stopped => Refusal::NotSaved("The agent is stopping."),
            WriteError::Panicked | WriteError::Commit { .. } => {
                tracing::error!(%error, "an act could not be written");
                Refusal::NotSaved("A fault in the program broke it off.")
            }
        }
    }
}

/// As a person reads it: a capital first, a full stop last.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let mut text = first.unwrap_or_default() + letters.as_str();
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::NotPermitted | Refusal::FormTooOld(_) => StatusCode::FORBIDDEN,
            Refusal::NotOurForm => StatusCode::BAD_REQUEST,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NotNow(_) => StatusCode::CONFLICT,
            Refusal::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::NotSaved(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::NotRead => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// `back` is where the form stands.
    pub(super) fn view(&self, shell: Shell, back: &str) -> MessageView {
        let said = |shell, title: &str, happened: String, todo: &str| MessageView {
            shell,
            tone: Tone::Watch,
            title: title.to_owned(),
            happened,
            todo: todo.to_owned(),
            ways: vec![Way::new(back, "Open it again"), Way::new("/board", "Board")],
        };
        match self {
            Refusal::NotFound => MessageView::not_found(shell),
            Refusal::NotPermitted => MessageView::not_permitted(shell, "do this", "a lead"),
            Refusal::FormTooOld(back) => MessageView::form_too_old(shell, back),
            Refusal::NotOurForm => said(
                shell,
                "Not understood",
                "This form lacks something that the page puts into it. Nothing was changed.".to_owned(),
                "Open the page again and repeat what you did.",
            ),
            Refusal::TooLarge => said(
                shell,
                "Too much at once",
                "What was sent is longer than any form here. Nothing was changed.".to_owned(),
                "Open the page again and write less.",
            ),
            Refusal::NotNow(what) => said(
                shell,
                "Not done",
                format!("{what} Nothing was changed."),
                "Open it again to see what is so by now.",
            ),
            Refusal::Wrong(what) => said(
                shell,
                "Something is missing",
                format!("{what} Nothing was changed."),
                "Go back: what you typed is still there.",
            ),
            Refusal::NotSaved(why) => MessageView::not_saved(shell, why),
            Refusal::NotRead => MessageView {
                shell,
                tone: Tone::Act,
                title: "Cannot be shown".to_owned(),
                happened: "What is kept here could not be read just now. Nothing was changed.".to_owned(),
                todo: "Try once more, then call IT.".to_owned(),
                ways: vec![
                    Way::new(back, "Try once more"),
                    Way::new("/connection", "Look at the connection"),
                ],
            },
        }
    }
}

/// What a page is built from, or why there is none.
pub(super) type Built<T> = Result<T, Refusal>;
