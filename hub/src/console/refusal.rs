//! Why a request got no page of its own. Nothing here tells what is in the store.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::views::MessageView;
use crate::db::DbError;
use crate::exit::{Exit, Failure};

pub(super) enum Refusal {
    /// Nobody is signed in, or no longer.
    SignIn,
    FormTooOld,
    /// The store does not answer.
    Store,
    Failed(Failure),
}

/// What a page is built from, or why there is none.
pub(super) type Built<T> = Result<T, Refusal>;

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::Failed(failure)
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Refusal {
        tracing::error!(%error, "the console could not read the store");
        Refusal::Store
    }
}

impl Refusal {
    fn said(self) -> (StatusCode, &'static str, String, &'static str) {
        match self {
            Refusal::SignIn | Refusal::FormTooOld => (
                StatusCode::FORBIDDEN,
                "This form is too old",
                "It was made for another sign-in. Nothing was changed.".to_owned(),
                "Open the page again and repeat what you did.",
            ),
            Refusal::Store => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The store does not answer",
                "The hub cannot read or write its store just now. Sites go on working and keep what they write."
                    .to_owned(),
                "This page comes back with the store. The hub’s log says why it is away.",
            ),
            Refusal::Failed(failure) => of_failure(&failure),
        }
    }
}

fn of_failure(failure: &Failure) -> (StatusCode, &'static str, String, &'static str) {
    let (status, title) = match failure.exit {
        Exit::Usage => (StatusCode::UNPROCESSABLE_ENTITY, "Something is not right"),
        Exit::NotAllowed => (StatusCode::FORBIDDEN, "Not allowed"),
        Exit::Failed | Exit::Config => (StatusCode::CONFLICT, "Not done"),
        Exit::NoSpace
        | Exit::StoreNotOpened
        | Exit::StoreAway
        | Exit::AlreadyRunning
        | Exit::PortTaken
        | Exit::NotRunning => (StatusCode::SERVICE_UNAVAILABLE, "The store does not answer"),
    };
    let said = sentence(&failure.message);
    (status, title, said, "Nothing was changed.")
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

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Refusal::SignIn = self {
            return Redirect::to("/sign-in").into_response();
        }
        let (status, title, happened, todo) = self.said();
        let mut response = match (MessageView { title, happened, todo }).render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => plain(status, title, todo),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("10"));
        }
        response
    }
}

/// A page without anything around it, for when nothing else can be said.
pub(super) fn plain(status: StatusCode, title: &'static str, why: &'static str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · Mainstay hub</title></head>\
         <body><h1>{title}</h1><p>{why}</p><p><a href=\"/sites\">Sites</a></p></body></html>"
    );
    (status, Html(html)).into_response()
}

pub(super) async fn not_found() -> Response {
    std::future::ready(plain(
        StatusCode::NOT_FOUND,
        "Nothing is here",
        "There is no such page.",
    ))
    .await
}
