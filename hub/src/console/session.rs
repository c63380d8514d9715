//! Who is signed in at a browser. The browser has a random token; the store has its digest. A page that refreshes itself
//! does not count as somebody using it.

use axum::extract::FromRequestParts;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use sync_protocol::RecordId;

use super::refusal::{Built, Refusal};
use super::{Config, Console};
use crate::admin::{AdminRole, By};
use crate::db::Txn;

const TOKEN_BYTES: usize = 32;
/// Sent by the page's script when it fetches by itself.
const BY_ITSELF: &str = "x-mainstay-refresh";
/// How often at most it is written down that a sign-in is used.
const SEEN_EVERY_MS: u64 = 15_000;

/// A random token that only one browser has.
#[derive(Clone)]
pub(super) struct Token([u8; TOKEN_BYTES]);

impl Token {
    pub(super) fn draw() -> Option<Token> {
        let mut bytes = [0; TOKEN_BYTES];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Token(bytes))
    }

    pub(super) fn of_cookie(headers: &HeaderMap, name: &str) -> Option<Token> {
        let text = headers.get_all(COOKIE).iter().find_map(|header| {
            let pairs = header.to_str().ok()?.split(';');
            let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        })?;
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Token)
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        sha256(&[b"mainstay console sign-in ", &self.0])
    }

    /// What the forms of this browser carry. It follows from the token, which no script can read.
    pub(super) fn csrf(&self) -> String {
        HEXLOWER.encode(&sha256(&[b"mainstay console form ", &self.0]))
    }

    pub(super) fn has_csrf(&self, given: &str) -> bool {
        self.csrf().as_bytes().ct_eq(given.as_bytes()).into()
    }

    pub(super) fn cookie(&self, name: &str, config: &Config) -> HeaderValue {
        cookie(name, &HEXLOWER.encode(&self.0), "", config)
    }
}

pub(super) fn cookie(name: &str, value: &str, more: &str, config: &Config) -> HeaderValue {
    let secure = if config.tls() { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}");
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// The prefix binds the cookie to this very host; browsers honour it only with TLS.
pub(super) fn sign_in_cookie(config: &Config) -> &'static str {
    match config.tls() {
        true => "__Host-mainstay_console",
        false => "mainstay_console",
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    hash
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) admin: RecordId,
    pub(super) login: String,
    pub(super) name: String,
    pub(super) role: AdminRole,
    pub(super) token: Token,
}

impl Session {
    pub(super) fn by(&self) -> By {
        By::Console {
            admin: self.admin,
            role: self.role,
        }
    }

    /// Refuses a form that was made for another sign-in.
    pub(super) fn check(&self, csrf: &str) -> Built<()> {
        match self.token.has_csrf(csrf) {
            true => Ok(()),
            false => Err(Refusal::FormTooOld),
        }
    }
}

/// A sign-in that holds, and when its use was last written down.
fn found(txn: &mut Txn<'_>, config: &Config, token: &Token) -> Built<Option<(Session, u64)>> {
    let Some(sign_in) = txn.sign_in(token.hash())? else {
        return Ok(None);
    };
    let now_ms = txn.now_ms();
    let idle = sign_in.seen_ms + config.idle_lock_minutes * 60_000 <= now_ms;
    let long = sign_in.begun_ms + config.sign_in_max_hours * 3_600_000 <= now_ms;
    if idle || long {
        return Ok(None);
    }
    let account = txn.account(sign_in.admin)?.filter(|account| account.ended_ms.is_none());
    Ok(account.and_then(|account| {
        let session = Session {
            admin: account.admin,
            role: AdminRole::parse(&account.role)?,
            login: account.login,
            name: account.name,
            token: token.clone(),
        };
        Some((session, sign_in.seen_ms))
    }))
}

impl FromRequestParts<Console> for Session {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Built<Session> {
        let config = console.0.config.clone();
        let token = Token::of_cookie(&parts.headers, sign_in_cookie(&config)).ok_or(Refusal::SignIn)?;
        let hash = token.hash();
        let read = console.0.db.read(move |txn| {
            let now_ms = txn.now_ms();
            found(txn, &config, &token).map(|found| (found, now_ms))
        });
        let (found, now_ms) = read.await?;
        let (session, seen_ms) = found.ok_or(Refusal::SignIn)?;
        let by_itself = parts.headers.contains_key(BY_ITSELF);
        if !by_itself && seen_ms + SEEN_EVERY_MS <= now_ms {
            let written = console.0.db.write(move |txn| Ok::<_, Refusal>(txn.use_sign_in(hash)?));
            written.await?;
        }
        Ok(session)
    }
}
