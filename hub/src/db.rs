//! The hub's store, on either of two engines: a file of its own, or PostgreSQL, which any number of hub processes share.
//! Statements are one text for both. Each write and each read is a transaction of one organisation; listeners are woken
//! only after a commit. SQL, `rusqlite` and `postgres` are nowhere else in the hub.
//!
//! A store that cannot be opened is left as it is and never made anew; one of a newer version, or of another key, is
//! refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use rusqlite::ErrorCode;
use sync_protocol::ids::BootId;
use sync_protocol::{ChangeId, EpochId, HybridClock, RecordId, ReplicaId, ScopeId};
use tokio::sync::broadcast;
use vault::sqlite::{Mode, OpenError};
use vault::{DataKey, RowKeys, RowRoot};

use self::engine::Engine;
use self::lives::Mark;
use self::sql::Sql;
use self::wakes::Wakes;

mod admins;
mod alongside;
mod aside;
mod blobs;
mod callers;
mod config;
mod embedded;
mod engine;
mod enrolments;
mod inbound;
mod index;
mod leases;
mod leaves;
mod ledger;
mod lives;
mod members;
mod messages;
mod meta;
mod migrations;
mod pending;
mod planner;
mod postgres;
mod reused;
mod scoping;
mod sealing;
mod sites;
mod snapshots;
mod sources;
mod sql;
mod tasks;
mod txn;
mod wakes;
mod writing;

pub use admins::{Account, AdminSignIn};
pub use aside::SetAside;
pub use blobs::{PIECE_BYTES, ReferenceFile};
pub use callers::Greeted;
pub use config::Config;
pub use enrolments::{Agent, Enrolment, TokenRow};
pub use inbound::{InboundFeed, Seen, Waiting, Waits, Wants};
pub use leases::LeaseOwner;
pub use leaves::{BucketFound, ProofCheck};
pub use lives::EpochBegun;
pub use members::{Member, MemberStanding, PolicyInForce};
pub use messages::{Message, MessageKey};
pub use meta::Organisation;
pub use reused::Reused;
pub use sites::{Site, SiteFigures};
pub use snapshots::{Snapshot, Stands};
#[cfg(test)]
pub(crate) use sql::statements;
pub use tasks::Touched;
pub use txn::Txn;
pub use wakes::{Commit, Woken};
pub use writing::Policy;

#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("table [store]: {0}")]
    Settings(String),
    #[error(
        "the store was written by a newer version (tables {stored}, this one knows {known}): install that version or a newer one"
    )]
    Newer { stored: i64, known: usize },
    #[error("the store's tables could not be brought forward: {0}")]
    Migration(String),
    #[error(
        "the store belongs to another key than this home's: copy the folder keys of the hub that founded it, or correct [store] postgres"
    )]
    OtherKey,
    #[error(
        "the database holds no organisation, and this home was set up before: correct [store] postgres, or restore a backup"
    )]
    Empty,
    #[error("the store has gone back under this hub: stop it and start it again, and it begins a new epoch")]
    GoneBack,
    #[error("the mark of how far the store has got cannot be used: {0}")]
    Mark(String),
    #[error("no space left for the store: free some on its disk")]
    NoSpace,
    #[error("the store holds {what} that cannot be read: restore a backup")]
    Damaged { what: &'static str },
    #[error("the store refused: {0}")]
    Sqlite(rusqlite::Error),
    #[error("the store refused: {reason}")]
    Refused { reason: String },
    #[error("the store's PostgreSQL does not serve ({reason}): correct that, or try again; nothing was written")]
    Away { reason: String },
    #[error("the store is busy ({reason}): try again; nothing was written")]
    Conflict { reason: String },
    #[error("the store did not say whether it was written: try again, or look first")]
    Unknown,
    #[error("a write ended in a fault of this program; it was undone")]
    Panicked,
    #[error("the store is closed")]
    Closed,
    #[error("the operating system gave no random bytes")]
    Random,
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> DbError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => DbError::NoSpace,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DbError::Damaged { what: "a page" },
            Some(_) | None => DbError::Sqlite(error),
        }
    }
}

/// One start of the hub.
#[derive(Clone, Copy)]
struct Boot {
    id: BootId,
    started: Instant,
}

/// 16 random bytes, for an id or a salt.
pub fn random() -> Result<[u8; 16], DbError> {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).map_err(|_| DbError::Random)?;
    Ok(bytes)
}

/// Where the store is and how it is opened.
#[derive(Clone)]
pub struct Place {
    /// The embedded store's file; not used with PostgreSQL.
    pub file: PathBuf,
    pub config: Config,
}

/// The open store, as one of its organisations uses it. Clones share it; [`Db::close`] ends it for all.
#[derive(Clone)]
pub struct Db {
    store: Arc<Store>,
    of: Arc<Tenant>,
}

/// What all organisations share.
struct Store {
    engine: Engine,
    tenants: Mutex<BTreeMap<[u8; 16], Arc<Tenant>>>,
    root: RowRoot,
    policy: Policy,
    boot: Boot,
    mark: OnceLock<Mark>,
}

/// One organisation of the store.
struct Tenant {
    organisation: Organisation,
    keys: RowKeys,
    wakes: Arc<Wakes>,
    clock: Mutex<HybridClock>,
}

impl Tenant {
    fn new(organisation: Organisation, root: &RowRoot) -> Tenant {
        Tenant {
            keys: root.keys_of(organisation.org),
            organisation,
            wakes: Arc::new(Wakes::new()),
            clock: Mutex::default(),
        }
    }

    fn clock(&self) -> HybridClock {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit has taken the clock on.
    fn set_clock(&self, clock: HybridClock) {
        let mut kept = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last = kept.last.max(clock.last);
    }
}

impl Db {
    /// Makes the store for a new organisation. A file that is there is refused; a PostgreSQL store that another process
    /// has founded with the same key is joined.
    pub fn create(place: &Place, key: &DataKey, policy: Policy) -> Result<Db, DbError> {
        Store::open(place, key, policy, Mode::Create)
    }

    /// Opens the store that is there; brings its tables forward.
    pub fn open(place: &Place, key: &DataKey, policy: Policy) -> Result<Db, DbError> {
        Store::open(place, key, policy, Mode::Existing)
    }

    /// Whose store this handle uses.
    pub fn organisation(&self) -> &Organisation {
        &self.of.organisation
    }

    /// By which the hub's signatures are known, for this organisation.
    pub fn signing_key(&self) -> Option<[u8; 32]> {
        self.of.keys.public_key().try_into().ok()
    }

    /// The epoch as the store has it now.
    pub async fn epoch(&self) -> Result<EpochId, DbError> {
        self.read(|txn| Ok::<_, DbError>(txn.present()?.0)).await
    }

    /// The same store as another of its organisations uses it, by the organisation's id.
    pub fn of(&self, org: [u8; 16]) -> Option<Db> {
        let tenant = self.store.tenants().get(&org).cloned()?;
        Some(Db {
            store: self.store.clone(),
            of: tenant,
        })
    }

    /// Hears of every commit of the organisation from now on.
    pub fn commits(&self) -> broadcast::Receiver<Commit> {
        self.of.wakes.commits()
    }

    /// Waits for commits that touch any of these scopes.
    pub fn woken(&self, scopes: &[ScopeId]) -> Woken {
        self.of.wakes.wait_for(scopes)
    }

    /// Where the store is, for people: no secret is in it.
    pub fn shown(&self) -> String {
        match &self.store.engine {
            Engine::Embedded(_) => "a file of this hub".to_owned(),
            Engine::Postgres(engine) => format!("PostgreSQL {}", engine.server.shown),
        }
    }
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
