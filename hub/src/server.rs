//! What agents reach: enrolment and renewal, handshake, push, pull, epoch and return, repair, snapshots, blobs, probe, and sealed
//! requests with any of these inside; HTTP/1.1 over mutual TLS. Who asks is what the certificate says and the store confirms,
//! never what the request says. Every body, wait and number of connections has its limit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::routing::{get, post};
use axum::{Router, middleware};
use schemars::JsonSchema;
use serde::Deserialize;
use sync_protocol::ScopeId;
use sync_protocol::wire::BODY_MAX_BYTES;
use tokio_util::sync::CancellationToken;
use vault::{Authorities, SealingKey};

use crate::db::Db;
use crate::ehr;
use crate::matching::Matcher;
use crate::snapshots::{self, Bell};

mod blob;
mod body;
mod caller;
pub(crate) mod connection;
mod enrol;
mod exchange;
mod hello;
mod peer;
mod probe;
mod refusal;
mod renew;
mod repair;
mod sealed;
mod snapshot;
pub mod tls;
mod turns;

use turns::Turns;

/// Table `[server]`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where agents connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What enrolment tokens carry, where a proxy stands before the hub; otherwise it follows from `listen`.
    pub public_url: Option<String>,
    /// Host names and addresses in the hub's certificate: all by which agents reach it.
    pub names: Vec<String>,
    /// Connections of agents at a time; an agent has up to three.
    pub connections_max: usize,
    /// How long a connection may take for its handshake.
    pub handshake_timeout_secs: u64,
    /// How long it may take for a request's header, which is also how long it may be idle.
    pub header_timeout_secs: u64,
    /// How long it may take for a request's body.
    pub body_timeout_secs: u64,
    /// Bytes of pushes and returns, as they come over the line, that are taken in at a time; the others wait for their turn.
    pub push_bytes_at_once: u32,
    /// How long a push waits for its turn before the agent is told to come again.
    pub push_wait_secs: u64,
    /// The longest that a pull is held when there is nothing new.
    pub long_poll_max_secs: u64,
    /// The most that one pull carries, before compression.
    pub page_max_bytes: u64,
    /// How often at most it is written down that a site was heard of.
    pub seen_every_secs: u64,
    /// How many agents at most are to come back in a second when the hub was away: they are told to spread themselves.
    pub reconnects_per_second_max: u64,
    /// How long requests may go on once the hub is told to stop.
    pub stop_grace_secs: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            public_url: None,
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            connections_max: 4096,
            handshake_timeout_secs: 10,
            header_timeout_secs: 60,
            body_timeout_secs: 60,
            push_bytes_at_once: 384 * 1024,
            push_wait_secs: 10,
            long_poll_max_secs: 30,
            page_max_bytes: 192 * 1024,
            seen_every_secs: 5,
            reconnects_per_second_max: 50,
            stop_grace_secs: 5,
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        let at_least_one = [
            ("connections_max", self.connections_max as u64),
            ("handshake_timeout_secs", self.handshake_timeout_secs),
            ("header_timeout_secs", self.header_timeout_secs),
            ("body_timeout_secs", self.body_timeout_secs),
            ("push_bytes_at_once", u64::from(self.push_bytes_at_once)),
            ("page_max_bytes", self.page_max_bytes),
            ("reconnects_per_second_max", self.reconnects_per_second_max),
        ];
        if let Some((name, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        if self.page_max_bytes > BODY_MAX_BYTES as u64 {
            return Err(format!("page_max_bytes must be at most {BODY_MAX_BYTES}"));
        }
        if self.names.is_empty() {
            return Err("names must hold at least one host name or address".to_owned());
        }
        if self.public_url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            return Err("public_url must begin with https://".to_owned());
        }
        Ok(())
    }

    /// Over how long so many agents are to spread their first requests after an absence.
    fn window_ms(&self, agents: u64) -> u64 {
        agents.saturating_mul(1_000) / self.reconnects_per_second_max.max(1)
    }

    /// The address that tokens carry, given where the hub listens. None when that is no address to reach it by.
    pub fn address(&self, listens: SocketAddr) -> Option<String> {
        let reachable = listens.port() != 0 && !listens.ip().is_unspecified();
        self.public_url
            .clone()
            .or_else(|| reachable.then(|| format!("https://{listens}")))
    }
}

/// What every request works with.
#[derive(Clone)]
pub struct App(Arc<Parts>);

struct Parts {
    db: Db,
    authorities: Arc<Authorities>,
    sealing: Arc<SealingKey>,
    config: Config,
    matcher: Matcher,
    reach: ehr::Reach,
    snapshots: snapshots::Config,
    bell: Bell,
    stop: CancellationToken,
    turns: Turns,
    seen: Mutex<BTreeMap<ScopeId, Instant>>,
    numbers: caller::SeenNumbers,
    reused: caller::ReusedNumbers,
}

impl App {
    pub fn new(
        db: Db,
        (authorities, sealing): (Arc<Authorities>, Arc<SealingKey>),
        config: Config,
        matcher: Matcher,
        reach: ehr::Reach,
        (snapshots, bell): (snapshots::Config, Bell),
        stop: CancellationToken,
    ) -> App {
        let turns = Turns::new(config.push_bytes_at_once, Duration::from_secs(config.push_wait_secs));
        App(Arc::new(Parts {
            db,
            authorities,
            sealing,
            config,
            matcher,
            reach,
            snapshots,
            bell,
            stop,
            turns,
            seen: Mutex::default(),
            numbers: caller::SeenNumbers::default(),
            reused: caller::ReusedNumbers::default(),
        }))
    }

    pub fn router(self) -> Router {
        let identified = Router::new()
            .route("/renew", post(renew::renew))
            .route("/v1/hello", post(hello::hello))
            .route("/v1/push", post(exchange::push))
            .route("/v1/pull", post(exchange::pull))
            .route("/v1/repair", post(repair::repair))
            .route("/v1/snapshot", post(snapshot::snapshot))
            .route("/v1/snapshot/{digest}", get(snapshot::chunk))
            .route("/v1/epoch", post(exchange::epoch))
            .route("/v1/return", post(exchange::give_back))
            .route("/v1/probe", get(probe::probe))
            .route("/v1/blob/{digest}", get(blob::blob))
            .layer(middleware::from_fn_with_state(self.clone(), caller::admit));
        let routes = Router::new()
            .route("/enrol", post(enrol::enrol))
            .route("/time/{nonce}", get(hello::time))
            .route("/sealing-key", get(hello::sealing_key))
            .merge(identified)
            .with_state(self.clone());
        let sealed = Router::new()
            .route(sealed::ROUTE, post(sealed::serve))
            .with_state((self, of_last_resort(routes.clone())));
        of_last_resort(routes.merge(sealed))
    }

    /// Whether it is time to write down again that the site was heard of.
    fn seen_is_due(&self, site: ScopeId) -> bool {
        let every = Duration::from_secs(self.0.config.seen_every_secs);
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = seen.get(&site).is_none_or(|last| now.duration_since(*last) >= every);
        if due {
            seen.insert(site, now);
        }
        due
    }
}

fn of_last_resort(routes: Router) -> Router {
    routes
        .fallback(refusal::no_such_route)
        .method_not_allowed_fallback(refusal::no_such_route)
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(refusal::of_panic))
}
