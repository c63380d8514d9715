//! The door: who is here. It does not tell whether a login exists, and keeps a token that only the browser has; the store
//! has its hash.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use sync_protocol::{Hash, RecordId};
use zeroize::Zeroizing;

use super::desk::{cookie, redirect, rendered};
use super::door::plain;
use super::reading::Asked;
use super::refusal::{Built, Refusal};
use super::sent::{Fields, Sent};
use super::views::{SignInState, SignInView, Theme};
use super::{Web, frame, locked};
use crate::access::lock_out::Try;
use crate::access::{self, ActError};
use crate::clock;
use crate::store::{Priority, ReadTx, TxError};

pub(super) const SIGN_IN_COOKIE: &str = "mainstay_sign_in";
/// Before somebody is signed in, so that the door's own form has a token to fit.
const DOOR_COOKIE: &str = "mainstay_door";
const TOKEN_BYTES: usize = 32;

/// A random token that only one browser has.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token([u8; TOKEN_BYTES]);

impl Token {
    fn draw() -> Option<Token> {
        let mut bytes = [0; TOKEN_BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Token(bytes))
    }

    pub(super) fn parse(text: &str) -> Option<Token> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Token)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn hash(&self) -> Hash {
        access::sign_in::token_hash(&self.0)
    }

    /// What the forms of this sign-in carry. It follows from the token, which no script can read.
    pub(super) fn csrf(&self) -> String {
        let mut bytes = b"mainstay form token ".to_vec();
        bytes.extend_from_slice(&self.0);
        access::sign_in::token_hash(&bytes).to_string()
    }

    /// Compared by hash, so that the time it takes tells nothing of the token.
    pub(super) fn has_csrf(&self, given: &str) -> bool {
        access::sign_in::token_hash(given.as_bytes()) == access::sign_in::token_hash(self.csrf().as_bytes())
    }

    fn cookie(&self, name: &str) -> HeaderValue {
        let value = format!("{name}={}; HttpOnly; SameSite=Strict; Path=/", HEXLOWER.encode(&self.0));
        HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""))
    }
}

#[derive(Deserialize)]
pub(super) struct DoorQuery {
    #[serde(rename = "as", default)]
    login: String,
}

pub(super) async fn door(State(web): State<Arc<Web>>, Query(asked): Query<DoorQuery>, headers: HeaderMap) -> Response {
    let lapsed = has_lapsed(&web, &headers).await;
    let state = if lapsed {
        SignInState::IdleSignedOut
    } else {
        SignInState::Ask
    };
    show_door(&web, &headers, StatusCode::OK, asked.login, state).await
}

/// Whether this browser was signed in and no longer is, though nobody signed out.
async fn has_lapsed(web: &Web, headers: &HeaderMap) -> bool {
    let Some(token) = cookie(headers, SIGN_IN_COOKIE).and_then(|text| Token::parse(&text)) else {
        return false;
    };
    let now_ms = clock::now_ms().unsigned_abs();
    let read = web
        .app
        .store
        .read(move |tx| access::sign_in::of_token(tx, token.bytes(), now_ms));
    matches!(read.await, Ok(None))
}

async fn show_door(
    web: &Arc<Web>,
    headers: &HeaderMap,
    status: StatusCode,
    login: String,
    state: SignInState,
) -> Response {
    let known = cookie(headers, DOOR_COOKIE).and_then(|text| Token::parse(&text));
    let Some(token) = known.clone().or_else(Token::draw) else {
        return no_random();
    };
    match door_page(web, &token, status, login, state).await {
        Ok(mut response) => {
            if known.is_none() {
                response.headers_mut().append(SET_COOKIE, token.cookie(DOOR_COOKIE));
            }
            response
        }
        Err(_) => {
            let why = "What is kept here could not be read just now. Try once more, then call IT.";
            plain(StatusCode::INTERNAL_SERVER_ERROR, "Cannot be shown", why)
        }
    }
}

async fn door_page(
    web: &Arc<Web>,
    token: &Token,
    status: StatusCode,
    login: String,
    state: SignInState,
) -> Built<Response> {
    let asked = Asked {
        web: web.clone(),
        person: None,
        theme: Theme::System,
        csrf: token.csrf(),
        back: "/board".to_owned(),
        last_act: None,
    };
    let view = asked.read(move |reading| {
        Ok(SignInView {
            shell: frame::shell(reading, None)?,
            people: Vec::new(),
            login,
            state,
            works_until: String::new(),
        })
    });
    rendered(status, &view.await?)
}

fn no_random() -> Response {
    let why = "This machine gives no random numbers just now, so nobody can be signed in. Call IT.";
    plain(StatusCode::SERVICE_UNAVAILABLE, "Nobody can sign in", why)
}

pub(super) async fn sign_in(State(web): State<Arc<Web>>, headers: HeaderMap, request: Request) -> Response {
    let token = cookie(&headers, DOOR_COOKIE).and_then(|text| Token::parse(&text));
    let fields = Fields::read(request).await;
    let (Some(token), Ok(fields)) = (token, fields) else {
        return redirect("/sign-in");
    };
    if !fields.carries_token_of(&token) {
        return redirect("/sign-in");
    }
    let login = fields.text("login");
    let passphrase = Zeroizing::new(fields.raw("passphrase").unwrap_or_default().to_owned());
    drop(fields);

    let began_ms = clock::now_ms().unsigned_abs();
    let allowed = locked(&web.lock_out).begin(&login, began_ms);
    if let Try::Closed(until_ms) = allowed {
        return locked_out(&web, &headers, login, until_ms).await;
    }
    match verified(&web, &login, passphrase).await {
        Ok(Some(staff)) => {
            locked(&web.lock_out).right(&login);
            begin(&web, &headers, staff).await
        }
        Ok(None) => {
            tracing::warn!("a sign-in was refused");
            let closed = locked(&web.lock_out).closed_until(&login, clock::now_ms().unsigned_abs());
            match closed {
                Some(until_ms) => locked_out(&web, &headers, login, until_ms).await,
                None => {
                    let state = SignInState::Wrong { wait: String::new() };
                    show_door(&web, &headers, StatusCode::UNAUTHORIZED, login, state).await
                }
            }
        }
        Err(_) => {
            let why = "What is kept here could not be read just now. Try once more, then call IT.";
            plain(StatusCode::INTERNAL_SERVER_ERROR, "Nobody can sign in", why)
        }
    }
}

async fn locked_out(web: &Arc<Web>, headers: &HeaderMap, login: String, until_ms: u64) -> Response {
    let zone = web.app.store.read(|tx| Ok(access::site::Site::of(tx)?.zone)).await;
    let clock = super::site_clock::SiteClock::new(zone.as_deref().unwrap_or("UTC"), clock::now_ms());
    let until = clock.at(until_ms.cast_signed());
    show_door(
        web,
        headers,
        StatusCode::TOO_MANY_REQUESTS,
        login,
        SignInState::LockedOut { until },
    )
    .await
}

/// Whoever the login is of, if the passphrase is theirs. A login that nobody has takes as long.
async fn verified(web: &Arc<Web>, login: &str, passphrase: Zeroizing<String>) -> Built<Option<RecordId>> {
    let login = login.to_owned();
    let found = web.app.store.read(move |tx| access::sign_in::find(tx, &login)).await?;
    let (staff, credential) = match found {
        Some((person, credential)) => (Some(person.staff), credential),
        None => (None, access::sign_in::NOBODYS_CREDENTIAL.to_owned()),
    };
    let _turn = web.verifying.acquire().await.map_err(|_| Refusal::NotRead)?;
    let fits = tokio::task::spawn_blocking(move || access::sign_in::verify(&credential, &passphrase)).await;
    Ok(staff.filter(|_| fits.unwrap_or(false)))
}

/// Begins a sign-in under a fresh token; whoever was signed in at this browser no longer is.
async fn begin(web: &Arc<Web>, headers: &HeaderMap, staff: RecordId) -> Response {
    let Some(token) = Token::draw() else { return no_random() };
    let before = cookie(headers, SIGN_IN_COOKIE).and_then(|text| Token::parse(&text));
    let fresh = token.clone();
    let written = web.app.store.write(Priority::Desk, move |tx| -> Result<(), TxError> {
        if let Some(before) = &before {
            tx.end_sign_in(before.hash())?;
        }
        access::sign_in::begin(tx, fresh.bytes(), staff, clock::now_ms().unsigned_abs())
    });
    if let Err(error) = written.await {
        tracing::error!(%error, "a sign-in could not be kept");
        let why = "The sign-in could not be kept: the disk may be full. Everything saved before is safe. Call IT.";
        return plain(StatusCode::SERVICE_UNAVAILABLE, "Nobody can sign in", why);
    }
    ([(SET_COOKIE, token.cookie(SIGN_IN_COOKIE))], redirect("/board")).into_response()
}

pub(super) async fn sign_out(sent: Sent) -> Response {
    let hash = sent.desk.token.hash();
    let written = sent
        .desk
        .web
        .app
        .store
        .write(Priority::Desk, move |tx| tx.end_sign_in(hash))
        .await;
    if let Err(error) = written {
        tracing::error!(%error, "a sign-in could not be ended");
        return sent
            .desk
            .refuse(Refusal::NotSaved("You could not be signed out."))
            .await;
    }
    locked(&sent.desk.web.last_acts).remove(&hash);
    let over = HeaderValue::from_static("mainstay_sign_in=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(SET_COOKIE, over)], redirect("/sign-in")).into_response()
}

/// The colours that somebody chose follow them from page to page and from day to day.
pub(super) async fn set_theme(sent: Sent) -> Response {
    let Some(theme) = Theme::of_code(&sent.fields.text("theme")) else {
        return sent.desk.refuse(Refusal::NotOurForm).await;
    };
    let staff = sent.desk.person.staff;
    let write = sent.desk.web.app.store.write(Priority::Desk, move |tx| {
        tx.set_meta(&theme_name(staff), theme.code().as_bytes())
            .map_err(ActError::from)
    });
    match write.await {
        Ok(()) => redirect(&sent.desk.back),
        Err(error) => sent.desk.refuse(error.into()).await,
    }
}

fn theme_name(staff: RecordId) -> String {
    format!("theme_{staff}")
}

pub(super) fn theme_of(tx: &ReadTx<'_>, staff: RecordId) -> Result<Theme, TxError> {
    let chosen = tx.meta(&theme_name(staff))?;
    let code = chosen.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
    Ok(code.and_then(Theme::of_code).unwrap_or(Theme::System))
}
