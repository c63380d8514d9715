//! Signing in: login, passphrase and a code of the second factor, all at once. Whichever of them is wrong, the answer is
//! the same and takes as long. Wrong tries in a row close an account, and an address, for a while; they are counted in
//! the store, so that it is the same at every process of the hub.

use axum::Extension;
use axum::extract::{Form, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sync_protocol::RecordId;
use zeroize::Zeroizing;

use super::Console;
use super::listener::Peer;
use super::refusal::{Built, Refusal, plain};
use super::session::{Session, Token, cookie, sign_in_cookie};
use super::views::{SignInState, SignInView, rendered};
use crate::admin::{Factor, NOBODYS_CREDENTIAL, verify, who_by_address, who_by_login};
use crate::db::{Account, Txn};

/// Before somebody is signed in, so that the door's own form has a token to fit.
const DOOR_COOKIE: &str = "mainstay_console_door";

#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    login: String,
    #[serde(default)]
    passphrase: Zeroizing<String>,
    #[serde(default)]
    code: Zeroizing<String>,
}

pub(super) async fn door(State(console): State<Console>, headers: HeaderMap) -> Response {
    let before = Token::of_cookie(&headers, sign_in_cookie(&console.0.config)).is_some();
    let state = if before { SignInState::Lapsed } else { SignInState::Ask };
    std::future::ready(show(&console, &headers, StatusCode::OK, String::new(), state)).await
}

fn show(console: &Console, headers: &HeaderMap, status: StatusCode, login: String, state: SignInState) -> Response {
    let known = Token::of_cookie(headers, DOOR_COOKIE);
    let Some(token) = known.clone().or_else(Token::draw) else {
        return plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "Nobody can sign in",
            "This machine gives no random numbers just now.",
        );
    };
    let view = SignInView {
        csrf: token.csrf(),
        login,
        state,
    };
    let mut response = match rendered(status, &view) {
        Ok(response) => response,
        Err(refusal) => return refusal.into_response(),
    };
    if known.is_none() {
        response
            .headers_mut()
            .append(SET_COOKIE, token.cookie(DOOR_COOKIE, &console.0.config));
    }
    response
}

/// What a try may do.
enum Try {
    Allowed(Option<Box<Account>>),
    /// Minutes until the next one.
    Closed(u64),
}

pub(super) async fn sign_in(
    State(console): State<Console>,
    Extension(Peer(address)): Extension<Peer>,
    headers: HeaderMap,
    Form(given): Form<Given>,
) -> Response {
    let fits = Token::of_cookie(&headers, DOOR_COOKIE).is_some_and(|token| token.has_csrf(&given.csrf));
    if !fits {
        return Redirect::to("/sign-in").into_response();
    }
    let login = given.login.trim().to_lowercase();
    let whos = [who_by_login(&login), who_by_address(address)];
    match attempt(&console, &login, whos, given).await {
        Ok(Outcome::In(admin, token)) => {
            tracing::info!(%admin, %address, "an administrator signed in");
            let cookie = token.cookie(sign_in_cookie(&console.0.config), &console.0.config);
            ([(SET_COOKIE, cookie)], Redirect::to("/sites")).into_response()
        }
        Ok(Outcome::Wrong) => {
            tracing::warn!(%address, "a sign-in at the console was refused");
            show(&console, &headers, StatusCode::UNAUTHORIZED, login, SignInState::Wrong)
        }
        Ok(Outcome::Closed(minutes)) => {
            tracing::warn!(%address, "a sign-in at the console was refused: too many wrong tries");
            let state = SignInState::Closed { minutes };
            show(&console, &headers, StatusCode::TOO_MANY_REQUESTS, login, state)
        }
        Err(refusal) => refusal.into_response(),
    }
}

enum Outcome {
    In(RecordId, Token),
    Wrong,
    Closed(u64),
}

async fn attempt(console: &Console, login: &str, whos: [[u8; 32]; 2], given: Given) -> Built<Outcome> {
    let config = console.0.config.clone();
    let wanted = login.to_owned();
    let allowed = console
        .0
        .db
        .write(move |txn| {
            let most = [config.tries_max, config.address_tries_max];
            begin(txn, &wanted, whos, most, config.lock_out_minutes * 60_000)
        })
        .await?;
    let account = match allowed {
        Try::Allowed(account) => account,
        Try::Closed(minutes) => return Ok(Outcome::Closed(minutes)),
    };

    let credential = match &account {
        Some(account) => account.credential.clone(),
        None => NOBODYS_CREDENTIAL.to_owned(),
    };
    let passphrase = given.passphrase;
    let turn = console.0.verifying.acquire().await.map_err(|_| Refusal::Store)?;
    let fits = tokio::task::spawn_blocking(move || verify(&credential, &passphrase)).await;
    drop(turn);
    let Some(account) = account.filter(|_| fits.unwrap_or(false)) else {
        return Ok(Outcome::Wrong);
    };

    let token = Token::draw().ok_or(Refusal::Store)?;
    let (config, hash, code) = (console.0.config.clone(), token.hash(), given.code);
    let admin = account.admin;
    let taken = console
        .0
        .db
        .write(move |txn| {
            let now_ms = txn.now_ms();
            let Some(step) = Factor::of(account.factor.clone()).step_of(&code, now_ms) else {
                return Ok::<_, Refusal>(false);
            };
            if !txn.take_step(admin, step)? {
                return Ok(false);
            }
            for who in whos {
                txn.forget_tries(who)?;
            }
            txn.begin_sign_in(
                hash,
                admin,
                now_ms.saturating_sub(config.sign_in_max_hours * 3_600_000),
                now_ms.saturating_sub(config.idle_lock_minutes * 60_000),
            )?;
            Ok(true)
        })
        .await?;
    Ok(if taken {
        Outcome::In(admin, token)
    } else {
        Outcome::Wrong
    })
}

/// Counts a try as wrong before it is looked at, so that tries side by side are all counted.
fn begin(txn: &mut Txn<'_>, login: &str, whos: [[u8; 32]; 2], most: [u64; 2], lock_out_ms: u64) -> Built<Try> {
    let since_ms = txn.now_ms().saturating_sub(lock_out_ms);
    for (who, most) in whos.into_iter().zip(most) {
        let (wrong, last_ms) = txn.tries(who, since_ms)?;
        if wrong >= most {
            let left_ms = (last_ms + lock_out_ms).saturating_sub(txn.now_ms());
            return Ok(Try::Closed(left_ms.div_ceil(60_000)));
        }
    }
    for who in whos {
        txn.count_try(who, since_ms)?;
    }
    let account = txn.account_of_login(login)?;
    Ok(Try::Allowed(
        account.filter(|account| account.ended_ms.is_none()).map(Box::new),
    ))
}

#[derive(Deserialize)]
pub(super) struct OnlyCsrf {
    #[serde(default)]
    csrf: String,
}

pub(super) async fn sign_out(
    State(console): State<Console>,
    session: Session,
    Form(given): Form<OnlyCsrf>,
) -> Built<Response> {
    session.check(&given.csrf)?;
    let hash = session.token.hash();
    console
        .0
        .db
        .write(move |txn| Ok::<_, Refusal>(txn.end_sign_in(hash)?))
        .await?;
    tracing::info!(admin = %session.admin, "an administrator signed out");
    let config = &console.0.config;
    let gone = cookie(sign_in_cookie(config), "", "; Max-Age=0", config);
    Ok(([(SET_COOKIE, gone)], Redirect::to("/sign-in")).into_response())
}
