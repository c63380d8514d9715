//! The hub's store. One named thread writes, one transaction after the other; reads go to connections of their own and
//! see one snapshot each. Listeners are woken only after a commit. SQL and `rusqlite` are nowhere else in the hub.
//!
//! A store that cannot be opened is left as it is and never made anew; one of a newer version is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use schemars::JsonSchema;
use serde::Deserialize;
use sync_protocol::ids::BootId;
use sync_protocol::proof::ProofKey;
use sync_protocol::{ChangeId, EpochId, HybridClock, RecordId, ReplicaId, ScopeId, Stamp};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use vault::DataKey;
use vault::sqlite::{Mode, OpenError, Tuning};

use self::sql::Sql;
use self::wakes::Wakes;

mod enrolments;
mod index;
mod leases;
mod ledger;
mod members;
mod meta;
mod migrations;
mod scoping;
mod sites;
mod sql;
mod tasks;
mod wakes;
mod writing;

pub use enrolments::{Agent, Enrolment, TokenRow};
pub use leases::LeaseOwner;
pub use members::{Member, MemberStanding, PolicyInForce};
pub use meta::Organisation;
pub use sites::{Site, SiteFigures};
pub use wakes::{Commit, Woken};
pub use writing::Policy;

/// Writes that may wait for the writer; beyond it a caller waits to be let in.
const WRITES_MAX: usize = 256;

#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "the store was written by a newer version (tables {stored}, this one knows {known}): install that version or a newer one"
    )]
    Newer { stored: i64, known: usize },
    #[error("the store's tables could not be brought forward: {0}")]
    Migration(String),
    #[error("no space left for the store: free some on its disk")]
    NoSpace,
    #[error("the store holds {what} that cannot be read: restore a backup")]
    Damaged { what: &'static str },
    #[error("the store refused: {0}")]
    Sqlite(rusqlite::Error),
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

/// What one transaction works with: the store as one organisation sees it.
pub struct Txn<'c> {
    sql: Sql<'c>,
    org: [u8; 16],
    organisation: &'c Organisation,
    policy: Policy,
    clock: HybridClock,
    boot: Boot,
    now_ms: u64,
    touched: BTreeSet<ScopeId>,
    /// Patients of each scope as this transaction found them, and how many it entered.
    held: BTreeMap<ScopeId, u64>,
    entered: BTreeMap<ScopeId, u64>,
}

/// One start of the hub.
#[derive(Clone, Copy)]
struct Boot {
    id: BootId,
    started: Instant,
}

impl Txn<'_> {
    /// When the transaction began, milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub fn organisation(&self) -> &Organisation {
        self.organisation
    }

    /// Takes note of a time that a change from elsewhere carries.
    pub fn observe(&mut self, at: sync_protocol::HybridTime) {
        self.clock.observe(at, self.now_ms);
    }

    /// Keeps other processes from changing these records, or whatever else the ids name, until the commit. What decides a
    /// write is read after this, in the same transaction.
    pub fn lock(&mut self, _ids: &[[u8; 16]]) -> Result<(), DbError> {
        Ok(())
    }

    /// Random bytes and time for a change of the hub's own.
    pub fn stamp(&mut self) -> Result<Stamp, DbError> {
        Ok(Stamp {
            change: ChangeId(random()?),
            salt: random()?,
            at: self.clock.tick(self.now_ms),
            boot: self.boot.id,
            monotonic_ms: self.boot.started.elapsed().as_millis() as u64,
        })
    }
}

/// 16 random bytes, for an id or a salt.
pub fn random() -> Result<[u8; 16], DbError> {
    let mut bytes = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).map_err(|_| DbError::Random)?;
    Ok(bytes)
}

/// Table `[store]`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Connections that read, beside the one that writes.
    pub readers: usize,
    /// Page cache of each connection.
    pub cache_kib: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            readers: 4,
            cache_kib: 16 * 1024,
        }
    }
}

/// Where the store is and how it is opened.
#[derive(Clone)]
pub struct Place {
    pub file: PathBuf,
    pub config: Config,
}

impl Place {
    fn tuning(&self) -> Tuning {
        Tuning {
            cache_kib: self.config.cache_kib,
            ..Tuning::default()
        }
    }
}

/// The open store. Clones share it; [`Db::close`] ends it.
#[derive(Clone)]
pub struct Db(Arc<Shared>);

struct Shared {
    writes: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    free_readers: Arc<Semaphore>,
    wakes: Arc<Wakes>,
    organisation: Organisation,
    policy: Policy,
    boot: Boot,
}

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

impl Db {
    /// Makes a new store for a new organisation; refuses a file that is there.
    pub fn create(place: &Place, key: &DataKey, policy: Policy) -> Result<Db, DbError> {
        let mut connection = vault::sqlite::open(&place.file, key, Mode::Create, &place.tuning())?;
        migrations::bring_forward(&mut connection)?;
        Organisation::found(&mut Sql::Embedded(&connection))?;
        Db::start(connection, place, key, policy)
    }

    /// Opens the store that is there; brings its tables forward.
    pub fn open(place: &Place, key: &DataKey, policy: Policy) -> Result<Db, DbError> {
        let mut connection = vault::sqlite::open(&place.file, key, Mode::Existing, &place.tuning())?;
        migrations::bring_forward(&mut connection)?;
        if Organisation::load(&mut Sql::Embedded(&connection))?.is_none() {
            // The first start was cut off between making the file and its first row.
            Organisation::found(&mut Sql::Embedded(&connection))?;
        }
        Db::start(connection, place, key, policy)
    }

    fn start(connection: Connection, place: &Place, key: &DataKey, policy: Policy) -> Result<Db, DbError> {
        connection.set_prepared_statement_cache_capacity(sql::STATEMENTS_MAX);
        let organisation = Organisation::load(&mut Sql::Embedded(&connection))?.ok_or(DbError::Damaged {
            what: "an organisation",
        })?;
        let boot = Boot {
            id: BootId(random()?),
            started: Instant::now(),
        };
        let readers = (0..place.config.readers.max(1))
            .map(|_| {
                let reader = vault::sqlite::open_reader(&place.file, key, &place.tuning())?;
                reader.set_prepared_statement_cache_capacity(sql::STATEMENTS_MAX);
                Ok(reader)
            })
            .collect::<Result<Vec<_>, DbError>>()?;
        let (writes, jobs) = mpsc::channel(WRITES_MAX);
        let wakes = Arc::new(Wakes::new());
        let clock = HybridClock {
            last: meta::last_time(&mut Sql::Embedded(&connection), &organisation)?,
        };
        let writer = Writer {
            connection,
            organisation: organisation.clone(),
            policy,
            clock,
            boot,
            wakes: wakes.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("store writer".to_owned())
            .spawn(move || write_all(writer, jobs))
            .map_err(|_| DbError::Closed)?;
        Ok(Db(Arc::new(Shared {
            writes: Mutex::new(Some(writes)),
            writer: Mutex::new(Some(writer)),
            free_readers: Arc::new(Semaphore::new(readers.len())),
            readers: Mutex::new(readers),
            wakes,
            organisation,
            policy,
            boot,
        })))
    }

    pub fn organisation(&self) -> &Organisation {
        &self.0.organisation
    }

    /// Hears of every commit from now on.
    pub fn commits(&self) -> broadcast::Receiver<Commit> {
        self.0.wakes.commits()
    }

    /// Waits for commits that touch any of these scopes.
    pub fn woken(&self, scopes: &[ScopeId]) -> Woken {
        self.0.wakes.wait_for(scopes)
    }

    /// Runs `steps` in a write transaction: committed when they answer `Ok`, undone otherwise. The caller is answered
    /// after the commit, and may go away without stopping it.
    ///
    /// Where other processes write too, a conflict with one of them undoes the transaction, and `steps` are run again:
    /// they have no effect outside of it.
    pub async fn write<T, E>(
        &self,
        mut steps: impl FnMut(&mut Txn<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let writes = self.0.writes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let writes = writes.ok_or(DbError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            let _ = answer.send(writer.run(&mut steps));
        });
        writes.send(job).await.map_err(|_| DbError::Closed)?;
        answered.await.map_err(|_| DbError::Closed)?
    }

    /// Runs `steps` against one snapshot.
    pub async fn read<T, E>(&self, steps: impl FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let permit = self
            .0
            .free_readers
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| DbError::Closed)?;
        let shared = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            shared.read(steps)
        });
        done.await.map_err(|_| DbError::Panicked)?
    }

    /// Ends the writer after what it was given, and closes the file. Further calls are refused.
    pub fn close(&self) {
        // The writer goes last: the last connection to close writes the log back into the file.
        self.0.free_readers.close();
        self.0.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.0.writes.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn read<T, E: From<DbError>>(&self, steps: impl FnOnce(&mut Txn<'_>) -> Result<T, E>) -> Result<T, E> {
        let taken = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = taken.ok_or(DbError::Closed)?;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let snapshot = connection.transaction().map_err(DbError::from)?;
            let mut txn = Txn {
                sql: Sql::Embedded(&snapshot),
                org: self.organisation.org,
                organisation: &self.organisation,
                policy: self.policy,
                clock: HybridClock::default(),
                boot: self.boot,
                now_ms: now_ms(),
                touched: BTreeSet::new(),
                held: BTreeMap::new(),
                entered: BTreeMap::new(),
            };
            steps(&mut txn)
        }));
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        result.unwrap_or_else(|_| Err(DbError::Panicked.into()))
    }
}

/// What only the writer's thread has.
struct Writer {
    connection: Connection,
    organisation: Organisation,
    policy: Policy,
    clock: HybridClock,
    boot: Boot,
    wakes: Arc<Wakes>,
}

fn write_all(mut writer: Writer, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        job(&mut writer);
    }
}

impl Writer {
    fn run<T, E: From<DbError>>(&mut self, steps: &mut impl FnMut(&mut Txn<'_>) -> Result<T, E>) -> Result<T, E> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(DbError::from)?;
        let mut txn = Txn {
            sql: Sql::Embedded(&transaction),
            org: self.organisation.org,
            organisation: &self.organisation,
            policy: self.policy,
            clock: self.clock,
            boot: self.boot,
            now_ms: now_ms(),
            touched: BTreeSet::new(),
            held: BTreeMap::new(),
            entered: BTreeMap::new(),
        };
        let value =
            catch_unwind(AssertUnwindSafe(|| steps(&mut txn))).unwrap_or_else(|_| Err(DbError::Panicked.into()))?;
        let (clock, touched) = (txn.clock, std::mem::take(&mut txn.touched));
        transaction.commit().map_err(DbError::from)?;
        self.clock = clock;
        if !touched.is_empty() {
            self.wakes.wake(Commit::Scopes(Arc::new(touched)));
        }
        Ok(value)
    }
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
