//! One request of somebody who is signed in: what they read, what they do, what they are answered. An act and the answer
//! that a repeated form gets are kept by one commit.

use std::sync::Arc;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use clinic::write::Channel;

use super::door::plain;
use super::last_act::LastAct;
use super::reading::{Asked, Reading};
use super::refusal::{Built, Refusal};
use super::sent::Sent;
use super::sign_in::{SIGN_IN_COOKIE, Token, theme_of};
use super::views::{MessageView, Theme};
use super::{Web, frame, locked};
use crate::access::{self, ActError, By, Person};
use crate::clock;
use crate::store::{Priority, WriteTx};

pub(super) struct Desk {
    pub(super) web: Arc<Web>,
    pub(super) person: Person,
    pub(super) token: Token,
    theme: Theme,
    /// Where a form on the page that is answered leads back to.
    pub(super) back: String,
}

/// The use of a sign-in is noted this often, and not by a page that merely keeps itself live.
const KEEP_ALIVE_EVERY_MS: u64 = 5 * 60 * 1000;

impl FromRequestParts<Arc<Web>> for Desk {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Desk, Response> {
        let by_itself = is_fragment(&parts.uri) || matches!(parts.uri.path(), "/banner" | "/events");
        let nobody = || {
            if by_itself {
                plain(StatusCode::UNAUTHORIZED, "Signed out", "Sign in again.")
            } else {
                redirect("/sign-in")
            }
        };
        let token = cookie(&parts.headers, SIGN_IN_COOKIE).and_then(|text| Token::parse(&text));
        let token = token.ok_or_else(nobody)?;
        let now_ms = clock::now_ms().unsigned_abs();
        let read = {
            let token = token.clone();
            web.app.store.read(move |tx| {
                let Some(signed_in) = access::sign_in::of_token(tx, token.bytes(), now_ms)? else {
                    return Ok(None);
                };
                let theme = theme_of(tx, signed_in.person.staff)?;
                Ok(Some((signed_in, theme)))
            })
        };
        let (signed_in, theme) = match read.await {
            Ok(Some(found)) => found,
            Ok(None) => return Err(nobody()),
            Err(error) => {
                tracing::error!(%error, "a sign-in could not be read");
                let why = "What is kept here could not be read just now. Try once more, then call IT.";
                return Err(plain(StatusCode::INTERNAL_SERVER_ERROR, "Cannot be shown", why));
            }
        };
        if !by_itself && now_ms.saturating_sub(signed_in.seen_ms) > KEEP_ALIVE_EVERY_MS {
            keep_alive(web, &token, now_ms).await;
        }
        Ok(Desk {
            web: web.clone(),
            person: signed_in.person,
            token,
            theme,
            back: back_of(&parts.method, &parts.uri),
        })
    }
}

async fn keep_alive(web: &Arc<Web>, token: &Token, now_ms: u64) {
    let token = token.clone();
    let noted = web.app.store.write(Priority::Desk, move |tx| {
        access::sign_in::keep_alive(tx, token.bytes(), now_ms)
    });
    // A store that takes no writes still shows what it has.
    if let Err(error) = noted.await {
        tracing::warn!(%error, "the use of a sign-in could not be noted");
    }
}

fn is_fragment(uri: &Uri) -> bool {
    uri.query()
        .is_some_and(|query| query.split('&').any(|part| part.starts_with("fragment=")))
}

/// The page that a request shows, filters included; a fragment is part of its page.
fn back_of(method: &Method, uri: &Uri) -> String {
    if method != Method::GET {
        return "/board".to_owned();
    }
    let kept = |part: &&str| !part.is_empty() && !part.starts_with("fragment=");
    let query: Vec<&str> = uri.query().unwrap_or_default().split('&').filter(kept).collect();
    if query.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), query.join("&"))
    }
}

pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let mut pairs = all
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(given, _)| *given == name)
        .map(|(_, value)| value.to_owned())
}

/// 303, so that going back or reloading sends no form again.
pub(super) fn redirect(to: &str) -> Response {
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/board"));
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

/// What became of an act.
#[derive(Default)]
pub(super) struct Acted {
    /// Where to go, if not back to the page that the form stands on.
    pub(super) to: Option<String>,
    pub(super) said: Option<LastAct>,
}

impl Acted {
    pub(super) fn saying(said: LastAct) -> Acted {
        Acted {
            to: None,
            said: Some(said),
        }
    }
}

impl Desk {
    fn asked(&self) -> Asked {
        Asked {
            web: self.web.clone(),
            person: Some(self.person.clone()),
            theme: self.theme,
            csrf: self.token.csrf(),
            back: self.back.clone(),
            last_act: locked(&self.web.last_acts).get(&self.token.hash()).cloned(),
        }
    }

    pub(super) async fn read<T, F>(&self, read: F) -> Built<T>
    where
        F: FnOnce(&Reading<'_, '_>) -> Built<T> + Send + 'static,
        T: Send + 'static,
    {
        self.asked().read(read).await
    }

    pub(super) async fn page<V, F>(&self, status: StatusCode, build: F) -> Built<Response>
    where
        F: FnOnce(&Reading<'_, '_>) -> Built<V> + Send + 'static,
        V: Template + Send + 'static,
    {
        rendered(status, &self.read(build).await?)
    }

    /// Does an act once: the same form sent again is answered as it was, and nothing more is written.
    pub(super) async fn act<F>(&self, sent: &Sent, mut act: F) -> Built<Response>
    where
        F: FnMut(&mut WriteTx<'_>, By<'_>, i64) -> Result<Acted, ActError> + Send + 'static,
    {
        let (person, request, back) = (self.person.clone(), sent.request, self.back.clone());
        let written = self.web.app.store.write(Priority::Desk, move |tx| {
            if let Some(answered) = tx.answered(request)? {
                return Ok((String::from_utf8_lossy(&answered).into_owned(), None));
            }
            let acted = act(tx, By::Person(&person, Channel::Page), clock::now_ms())?;
            let to = acted.to.unwrap_or_else(|| back.clone());
            tx.keep_answer(request, to.as_bytes())?;
            Ok((to, Some(acted.said)))
        });
        match written.await.map_err(Refusal::from) {
            Ok((to, said)) => {
                *locked(&self.web.store_trouble) = None;
                if let Some(said) = said {
                    LastAct::keep(&mut locked(&self.web.last_acts), self.token.hash(), said);
                }
                Ok(redirect(&to))
            }
            Err(refusal) => {
                if let Refusal::NotSaved(why) = refusal {
                    *locked(&self.web.store_trouble) = Some(why);
                }
                Err(refusal)
            }
        }
    }

    /// The page, or why there is none.
    pub(super) async fn answer(&self, built: Built<Response>) -> Response {
        match built {
            Ok(response) => response,
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    pub(super) async fn refuse(&self, refusal: Refusal) -> Response {
        let (status, back) = (refusal.status(), self.back.clone());
        let view = self.read(move |reading| Ok(refusal.view(frame::shell(reading, None)?, &back)));
        match view.await.and_then(|view| rendered::<MessageView>(status, &view)) {
            Ok(response) => response,
            Err(_) => {
                let why = "What is kept here could not be read just now. Try once more, then call IT.";
                plain(StatusCode::INTERNAL_SERVER_ERROR, "Cannot be shown", why)
            }
        }
    }
}

pub(super) fn rendered<V: Template>(status: StatusCode, view: &V) -> Built<Response> {
    match view.render() {
        Ok(html) => Ok((status, Html(html)).into_response()),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            Err(Refusal::NotRead)
        }
    }
}

pub(super) async fn nothing_here(desk: Result<Desk, Response>) -> Response {
    match desk {
        Ok(desk) => desk.refuse(Refusal::NotFound).await,
        Err(rejection) => rejection,
    }
}
