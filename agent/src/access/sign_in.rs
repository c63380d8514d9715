//! Per-person sign-in that works offline: the credential is part of the staff record. Sessions survive a restart; wrong
//! passphrases lock a login for a while.

use argon2::{Argon2, PasswordVerifier};
use clinic::catalogue::staff;
use clinic::index;
use ring::digest;
use sync_protocol::{Hash, RecordId, RecordState};

use super::Person;
use crate::store::{ReadTx, SignIn, TxError, WriteTx};

/// Everybody who may sign in here, by name.
pub fn staff_here(tx: &ReadTx<'_>) -> Result<Vec<Person>, TxError> {
    let mut all: Vec<Person> = tx
        .records_of_kind(staff::KIND, STAFF_MAX)?
        .iter()
        .filter_map(|stored| person(&stored.state))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

const STAFF_MAX: u32 = 1_000;

fn person(state: &RecordState) -> Option<Person> {
    Some(Person {
        staff: state.record,
        login: staff::LOGIN.value(state)?,
        name: staff::NAME.value(state)?,
        role: staff::ROLE.value(state)?,
    })
}

/// A person and the credential to hold a passphrase against.
pub fn find(tx: &ReadTx<'_>, login: &str) -> Result<Option<(Person, String)>, TxError> {
    let exactly = index::Wanted::Exactly(index::login_term(login));
    let found = tx.search(&[vec![exactly]], staff::KIND, 2)?;
    let [one] = found.as_slice() else { return Ok(None) };
    Ok(person(&one.state).zip(staff::CREDENTIAL.value(&one.state)))
}

/// Held against a login that nobody has, so that the time it takes tells nothing. Nobody knows a passphrase for it.
pub const NOBODYS_CREDENTIAL: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIG5vYm9keQ$q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA";

/// Whether the passphrase is the credential's. Takes tens of milliseconds on purpose: call it off the async threads.
pub fn verify(credential: &str, passphrase: &str) -> bool {
    Argon2::default()
        .verify_password(passphrase.as_bytes(), credential)
        .is_ok()
}

/// Wrong passphrases in a row that lock a login, and for how long.
pub const TRIES_MAX: u32 = 5;
pub const LOCK_OUT_MS: u64 = 5 * 60 * 1000;
/// A sign-in without any request for this long is over.
pub const IDLE_MAX_MS: u64 = 12 * 60 * 60 * 1000;

pub fn token_hash(token: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    Hash(hash)
}

/// Begins a sign-in under a token that only the browser keeps.
pub fn begin(tx: &mut WriteTx<'_>, token: &[u8], staff: RecordId, now_ms: u64) -> Result<(), TxError> {
    tx.prune_sign_ins(now_ms)?;
    tx.put_sign_in(&SignIn {
        token_hash: token_hash(token),
        staff,
        created_ms: now_ms,
        seen_ms: now_ms,
        expires_ms: now_ms + IDLE_MAX_MS,
    })
}

/// A sign-in that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedIn {
    pub person: Person,
    /// When it was last noted that somebody used it.
    pub seen_ms: u64,
}

/// Who is signed in under a token, if the person is still staff and the sign-in has not lapsed.
pub fn of_token(tx: &ReadTx<'_>, token: &[u8], now_ms: u64) -> Result<Option<SignedIn>, TxError> {
    let Some(sign_in) = tx.sign_in(token_hash(token))? else {
        return Ok(None);
    };
    if sign_in.expires_ms <= now_ms {
        return Ok(None);
    }
    // Whoever has left has no credential any more, and what was begun before that ends with it.
    let state = tx
        .state(sign_in.staff)?
        .filter(|state| staff::CREDENTIAL.value(state).is_some());
    let person = state.as_ref().and_then(person);
    Ok(person.map(|person| SignedIn {
        person,
        seen_ms: sign_in.seen_ms,
    }))
}

/// Notes that a sign-in is used, so that it does not lapse.
pub fn keep_alive(tx: &mut WriteTx<'_>, token: &[u8], now_ms: u64) -> Result<(), TxError> {
    match tx.sign_in(token_hash(token))? {
        Some(sign_in) if sign_in.expires_ms > now_ms => tx.put_sign_in(&SignIn {
            seen_ms: now_ms,
            expires_ms: now_ms + IDLE_MAX_MS,
            ..sign_in
        }),
        Some(_) | None => Ok(()),
    }
}
