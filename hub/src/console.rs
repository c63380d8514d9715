//! The console: the page on which administrators look after sites. It does nothing that the command line cannot do, and
//! does it by the same commands. It refuses whoever has not signed in with a passphrase and a second factor, every form
//! that it did not make, and to be listened to beyond this machine without TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::admin::Admin;
use crate::db::Db;

mod accounts;
mod assets;
mod conflicts;
mod door;
pub mod listener;
mod matches;
mod quarantine;
mod refusal;
mod session;
mod sign_in;
mod sites;
mod views;
mod words;

/// The largest form.
const FORM_MAX_BYTES: usize = 64 * 1024;
/// Passphrases that are checked side by side; each takes some 20 MiB and a core.
const VERIFYING_MAX: usize = 2;

/// Table `[console]`. Without it there is no console.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where browsers connect; port 0 takes a free one. Beyond this machine's own addresses only TLS is spoken, with a
    /// certificate of the hub's own authority.
    pub listen: SocketAddr,
    /// Host names and addresses by which browsers reach it; a request for any other is refused.
    pub names: Vec<String>,
    pub connections_max: usize,
    pub handshake_timeout_secs: u64,
    /// How long a connection may take for a request's header, and so be idle.
    pub header_timeout_secs: u64,
    pub stop_grace_secs: u64,
    /// Nobody touched the page for so long: it asks for a sign-in again.
    pub idle_lock_minutes: u64,
    /// The longest that one sign-in holds.
    pub sign_in_max_hours: u64,
    /// Wrong tries in a row that close an account for a while, and those that close an address.
    pub tries_max: u64,
    pub address_tries_max: u64,
    pub lock_out_minutes: u64,
    /// A site that was not heard of for so long is called silent.
    pub silent_after_secs: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8444)),
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            connections_max: 64,
            handshake_timeout_secs: 10,
            header_timeout_secs: 60,
            stop_grace_secs: 5,
            idle_lock_minutes: 15,
            sign_in_max_hours: 10,
            tries_max: 5,
            address_tries_max: 20,
            lock_out_minutes: 15,
            silent_after_secs: 120,
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        let at_least_one = [
            ("connections_max", self.connections_max as u64),
            ("handshake_timeout_secs", self.handshake_timeout_secs),
            ("header_timeout_secs", self.header_timeout_secs),
            ("idle_lock_minutes", self.idle_lock_minutes),
            ("sign_in_max_hours", self.sign_in_max_hours),
            ("tries_max", self.tries_max),
            ("address_tries_max", self.address_tries_max),
            ("lock_out_minutes", self.lock_out_minutes),
            ("silent_after_secs", self.silent_after_secs),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        if self.names.is_empty() {
            return Err("names must hold at least one host name or address".to_owned());
        }
        Ok(())
    }

    fn tls(&self) -> bool {
        !self.listen.ip().is_loopback()
    }
}

/// What every request works with.
#[derive(Clone)]
pub struct Console(Arc<Parts>);

struct Parts {
    admin: Admin,
    /// For sign-ins alone; everything else goes through commands.
    db: Db,
    config: Config,
    verifying: Semaphore,
}

impl Console {
    pub fn new(admin: Admin, db: Db, config: Config) -> Console {
        Console(Arc::new(Parts {
            admin,
            db,
            config,
            verifying: Semaphore::new(VERIFYING_MAX),
        }))
    }

    pub fn router(self) -> Router {
        let guard = door::Guard::new(&self.0.config);
        let routes = Router::new()
            .route("/", get(sites::start))
            .route("/sign-in", get(sign_in::door).post(sign_in::sign_in))
            .route("/sign-out", post(sign_in::sign_out))
            .route("/sites", get(sites::list).post(sites::add))
            .route("/sites/{site}", get(sites::show))
            .route("/sites/{site}/set", post(sites::set))
            .route("/sites/{site}/token", post(sites::token))
            .route(
                "/sites/{site}/agents/{agent}/revoke",
                get(sites::ask_revoke).post(sites::revoke),
            )
            .route("/sites/{site}/staff", post(sites::add_staff))
            .route("/sites/{site}/staff/{staff}/end", post(sites::end_staff))
            .route("/conflicts", get(conflicts::list).post(conflicts::decide))
            .route("/matches", get(matches::list))
            .route("/matches/{a}/{b}", get(matches::show).post(matches::decide))
            .route("/quarantine", get(quarantine::list))
            .route("/admins", get(accounts::list).post(accounts::add))
            .route("/admins/{login}/remove", post(accounts::remove))
            .route("/admins/{login}/unlock", post(accounts::unlock))
            .route("/admins/{login}/reset", post(accounts::reset))
            .route("/organisation", post(accounts::rename_organisation))
            .route("/assets/{name}", get(assets::asset))
            .fallback(refusal::not_found)
            .layer(DefaultBodyLimit::max(FORM_MAX_BYTES))
            .with_state(self);
        door::guarded(routes, guard)
    }
}
