//! Opening a store, and running transactions on whichever engine it has. A transaction that another one was in the way of
//! is run again; who asked hears of it only when that goes on for too long.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::embedded::{self, Embedded, Job};
use super::lives::Noted;
use super::pending::Pending;
use super::postgres::{self, Pool, Server, Session, Trouble};
use super::txn::{Asked, Locks};
use super::*;

/// So often a transaction is run before whoever asked is told to come again.
const RUNS_MAX: u32 = 20;

pub(super) enum Engine {
    Embedded(Embedded),
    Postgres(Postgres),
}

pub(super) struct Postgres {
    pub(super) server: Arc<Server>,
    pool: Pool,
    free_writers: Arc<Semaphore>,
    free_readers: Arc<Semaphore>,
    /// Tells this process's word of commits from others'.
    me: [u8; 16],
    answer_timeout: std::time::Duration,
    commits: Arc<AtomicU64>,
    /// Told to the threads beside those that read and write.
    stop: Arc<AtomicBool>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Store {
    pub(super) fn open(place: &Place, key: &DataKey, policy: Policy, mode: Mode) -> Result<Db, DbError> {
        let root = RowRoot::of(key);
        let (engine, organisations) = match &place.config.postgres {
            Some(address) => open_postgres(address, &place.config, &root, mode)?,
            None => open_embedded(place, key, &root, mode)?,
        };
        let tenants: BTreeMap<[u8; 16], Arc<Tenant>> = organisations
            .iter()
            .map(|organisation| (organisation.org, Arc::new(Tenant::new(organisation.clone(), &root))))
            .collect();
        let first = organisations.first().and_then(|first| tenants.get(&first.org)).cloned();
        let of = first.ok_or(DbError::Empty)?;
        let store = Arc::new(Store {
            engine,
            tenants: Mutex::new(tenants),
            root,
            policy,
            boot: Boot {
                id: BootId(random()?),
                started: Instant::now(),
            },
            mark: OnceLock::new(),
        });
        if let Engine::Postgres(engine) = &store.engine {
            Store::listen(&store, engine)?;
            engine.keep_statistics()?;
        }
        Ok(Db { store, of })
    }

    pub(super) fn tenants(&self) -> MutexGuard<'_, BTreeMap<[u8; 16], Arc<Tenant>>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no other process writes this store.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.engine, Engine::Embedded(_))
    }

    fn txn<'c>(&'c self, of: &'c Tenant, sql: Sql<'c>, writes: bool) -> Txn<'c> {
        Txn {
            sql,
            org: of.organisation.org,
            organisation: &of.organisation,
            keys: &of.keys,
            policy: self.policy,
            clock: of.clock(),
            boot: self.boot,
            now_ms: now_ms(),
            touched: BTreeSet::new(),
            held: BTreeMap::new(),
            regions: None,
            entered: BTreeMap::new(),
            pending: Pending::default(),
            locks: Locks::default(),
            writes,
            present: None,
            any_adopted: None,
            boots: BTreeMap::new(),
            wrote: false,
            mark: self.mark.get(),
            has_gone_back: false,
            series_given: 0,
            committed: None,
        }
    }

    /// Hears of what other processes commit.
    fn listen(store: &Arc<Store>, engine: &Postgres) -> Result<(), DbError> {
        let (server, me, stop) = (engine.server.clone(), engine.me, engine.stop.clone());
        let store = Arc::downgrade(store);
        let wake = move |org: Option<[u8; 16]>, commit: Commit| {
            let Some(store) = store.upgrade() else { return };
            let tenants: Vec<Arc<Tenant>> = match org {
                Some(org) => store.tenants().get(&org).cloned().into_iter().collect(),
                None => store.tenants().values().cloned().collect(),
            };
            tenants.iter().for_each(|tenant| tenant.wakes.wake(commit.clone()));
        };
        std::thread::Builder::new()
            .name("store listener".to_owned())
            .spawn(move || postgres::listen(&server, me, &stop, &wake))
            .map_err(|_| DbError::Closed)?;
        Ok(())
    }
}

fn open_embedded(
    place: &Place,
    key: &DataKey,
    root: &RowRoot,
    mode: Mode,
) -> Result<(Engine, Vec<Organisation>), DbError> {
    let connection = embedded::open(&place.file, key, mode, &place.config)?;
    let mut sql = Sql::Embedded(&connection);
    migrations::bring_forward(&mut sql, root)?;
    planner::tell(&connection)?;
    let mut organisations = Organisation::all(&mut sql, root)?;
    if organisations.is_empty() {
        // A new store, or one whose first start was cut off between making the file and its first row.
        organisations.push(Organisation::found(&mut sql, root)?);
    }
    // One process has this store, so whoever held a lease is gone.
    sql.run("DELETE FROM leases", &[])?;
    let engine = Embedded::start(connection, &place.file, key, &place.config)?;
    Ok((Engine::Embedded(engine), organisations))
}

fn open_postgres(
    address: &str,
    config: &Config,
    root: &RowRoot,
    mode: Mode,
) -> Result<(Engine, Vec<Organisation>), DbError> {
    let server = Server::new(address, config)?;
    let organisations = aside(|| {
        let mut session = server.connect()?;
        // One process at a time; the lock ends with this connection.
        session.lock_tables()?;
        let mut sql = Sql::Postgres(&mut session);
        migrations::bring_forward(&mut sql, root)?;
        let mut organisations = Organisation::all(&mut sql, root)?;
        if let (Mode::Create, true) = (mode, organisations.is_empty()) {
            organisations.push(Organisation::found(&mut sql, root)?);
        }
        Ok(organisations)
    })?;
    let engine = Postgres {
        server: Arc::new(server),
        pool: Pool::default(),
        free_writers: Arc::new(Semaphore::new(config.connections.max(1))),
        free_readers: Arc::new(Semaphore::new(config.readers.max(1))),
        me: random()?,
        answer_timeout: config.answer_timeout(),
        commits: Arc::default(),
        stop: Arc::default(),
    };
    Ok((Engine::Postgres(engine), organisations))
}

/// Runs what blocks on a thread of its own and waits for it, since whoever opens a store may be driving async tasks.
fn aside<T: Send>(steps: impl FnOnce() -> Result<T, DbError> + Send) -> Result<T, DbError> {
    std::thread::scope(|scope| scope.spawn(steps).join().unwrap_or(Err(DbError::Panicked)))
}

impl Db {
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
        let (store, of) = (self.store.clone(), self.of.clone());
        match &self.store.engine {
            Engine::Embedded(engine) => {
                let (answer, answered) = oneshot::channel();
                let job: Job = Box::new(move |connection| {
                    let mut done = Done::default();
                    let result = embedded::write(connection, |sql| {
                        let mut txn = store.txn(&of, sql, true);
                        let value = attempt(&mut txn, &mut steps)?;
                        done = Done::of(&mut txn);
                        Ok(value)
                    });
                    if result.is_ok() {
                        of.after(&store, done);
                    }
                    // Whoever gets the answer may end the program next: nothing may hold the store open from this thread then, or
                    // the writer would close its connection after the cipher's library has gone.
                    drop((steps, store));
                    let _ = answer.send(result);
                });
                engine.writes()?.send(job).await.map_err(|_| DbError::Closed)?;
                answered.await.map_err(|_| DbError::Closed)?
            }
            Engine::Postgres(engine) => {
                let work = move |engine: &Postgres| engine.write(&store, &of, &mut steps);
                engine
                    .within(engine.free_writers.clone(), self.store.clone(), work)
                    .await
            }
        }
    }

    /// Runs `steps` against one snapshot.
    pub async fn read<T, E>(&self, steps: impl FnOnce(&mut Txn<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (store, of) = (self.store.clone(), self.of.clone());
        match &self.store.engine {
            Engine::Embedded(engine) => {
                let permit = engine.free_readers.clone().acquire_owned().await;
                let permit = permit.map_err(|_| DbError::Closed)?;
                let done = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    let Engine::Embedded(engine) = &store.engine else {
                        return Err(DbError::Closed.into());
                    };
                    engine.read(|sql| guarded(|| steps(&mut store.txn(&of, sql, false))))?
                });
                done.await.map_err(|_| DbError::Panicked)?
            }
            Engine::Postgres(engine) => {
                let work = move |engine: &Postgres| engine.read(&store, &of, steps);
                engine
                    .within(engine.free_readers.clone(), self.store.clone(), work)
                    .await
            }
        }
    }

    /// All organisations of the store, the oldest first, those included that other processes have founded since.
    pub async fn organisations(&self) -> Result<Vec<Organisation>, DbError> {
        let root = self.store.clone();
        let all = self
            .read(move |txn| Organisation::all(&mut txn.sql, &root.root))
            .await?;
        let mut tenants = self.store.tenants();
        for organisation in &all {
            tenants
                .entry(organisation.org)
                .or_insert_with(|| Arc::new(Tenant::new(organisation.clone(), &self.store.root)));
        }
        Ok(all)
    }

    /// Founds another organisation in the same store, and gives the handle that is its own.
    pub async fn found_organisation(&self) -> Result<Db, DbError> {
        let root = self.store.clone();
        let organisation = self
            .write(move |txn| Organisation::found(&mut txn.sql, &root.root))
            .await?;
        let tenant = Arc::new(Tenant::new(organisation.clone(), &self.store.root));
        self.store.tenants().insert(organisation.org, tenant.clone());
        Ok(Db {
            store: self.store.clone(),
            of: tenant,
        })
    }

    /// Ends the store after what it was given. Further calls are refused.
    pub fn close(&self) {
        match &self.store.engine {
            Engine::Embedded(engine) => engine.close(),
            Engine::Postgres(engine) => {
                engine.free_writers.close();
                engine.free_readers.close();
                engine.stop.store(true, Ordering::Relaxed);
                engine.pool.close();
            }
        }
    }
}

/// What a transaction leaves behind once it is committed.
#[derive(Default)]
struct Done {
    clock: HybridClock,
    touched: BTreeSet<ScopeId>,
    committed: Option<Noted>,
}

impl Done {
    fn of(txn: &mut Txn<'_>) -> Done {
        Done {
            clock: txn.clock,
            touched: std::mem::take(&mut txn.touched),
            committed: txn.committed,
        }
    }
}

impl Tenant {
    fn after(&self, store: &Store, done: Done) {
        self.set_clock(done.clock);
        if let (Some(mark), Some(noted)) = (store.mark.get(), done.committed) {
            mark.note(self.organisation.org, noted);
        }
        if !done.touched.is_empty() {
            self.wakes.wake(Commit::Scopes(Arc::new(done.touched)));
        }
    }
}

/// The steps of a write and what they leave to be written; a fault of the program is an error like any other.
fn attempt<T, E: From<DbError>>(
    txn: &mut Txn<'_>,
    steps: &mut impl FnMut(&mut Txn<'_>) -> Result<T, E>,
) -> Result<T, E> {
    guarded(|| {
        let value = steps(txn)?;
        txn.flush()?;
        txn.count_commit()?;
        Ok(value)
    })
}

fn guarded<T, E: From<DbError>>(steps: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(steps)).unwrap_or_else(|_| Err(DbError::Panicked.into()))
}

impl Postgres {
    fn keep_statistics(&self) -> Result<(), DbError> {
        let (server, commits, stop) = (self.server.clone(), self.commits.clone(), self.stop.clone());
        std::thread::Builder::new()
            .name("store statistics".to_owned())
            .spawn(move || postgres::keep_statistics(&server, &commits, &stop))
            .map_err(|_| DbError::Closed)?;
        Ok(())
    }

    /// Runs what blocks where it may, with a permit, and answers in time.
    async fn within<T, E>(
        &self,
        permits: Arc<Semaphore>,
        store: Arc<Store>,
        work: impl FnOnce(&Postgres) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let until = tokio::time::Instant::now() + self.answer_timeout;
        let permit: OwnedSemaphorePermit = in_time(until, permits.acquire_owned())
            .await
            .ok_or_else(|| DbError::Conflict {
                reason: "no connection was free in time".to_owned(),
            })?
            .map_err(|_| DbError::Closed)?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            match &store.engine {
                Engine::Postgres(engine) => work(engine),
                Engine::Embedded(_) => Err(DbError::Closed.into()),
            }
        });
        let done = in_time(until, done).await.ok_or(DbError::Unknown)?;
        done.map_err(|_| DbError::Panicked)?
    }

    fn write<T, E: From<DbError>>(
        &self,
        store: &Store,
        of: &Tenant,
        steps: &mut impl FnMut(&mut Txn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut asked = Asked::default();
        let (mut run, begun) = (1, Instant::now());
        loop {
            let mut session = self.pool.begin(&self.server, Session::begin_write)?;
            let mut txn = store.txn(of, Sql::Postgres(&mut session), true);
            let result = match txn.lock_first(&asked) {
                Ok(()) => attempt(&mut txn, steps),
                Err(error) => Err(error.into()),
            };
            let done = Done::of(&mut txn);
            let has_gone_back = txn.has_gone_back;
            asked = std::mem::take(&mut txn.locks.asked);
            drop(txn);
            let trouble = session.trouble().cloned();
            let (result, trouble) = match (result, trouble) {
                (Ok(value), None) => {
                    match session.commit(postgres::told(self.me, of.organisation.org, &done.touched).as_deref()) {
                        Ok(()) => {
                            self.commits.fetch_add(1, Ordering::Relaxed);
                            self.pool.put_back(session);
                            of.after(store, done);
                            return Ok(value);
                        }
                        Err(DbError::Unknown) => return Err(DbError::Unknown.into()),
                        Err(error) => (Err(error.into()), session.trouble().cloned()),
                    }
                }
                // The steps may have gone on after a statement failed: what failed counts.
                (Ok(_), Some(trouble)) => (Err(trouble.error().into()), Some(trouble)),
                (Err(error), trouble) => (Err(error), trouble),
            };
            session.rollback();
            self.pool.put_back(session);
            if has_gone_back && run < RUNS_MAX {
                self.begin_again(store, of)?;
                run += 1;
                continue;
            }
            match trouble {
                Some(Trouble::Conflict { .. } | Trouble::Lost { .. })
                    if run < RUNS_MAX && begun.elapsed() < self.answer_timeout => {}
                Some(trouble @ (Trouble::Conflict { .. } | Trouble::Lost { .. })) => {
                    return Err(trouble.error().into());
                }
                Some(Trouble::Refused) | None => return result,
            }
            std::thread::sleep(postgres::pause_before(run)?);
            run += 1;
        }
    }

    /// The store was put back while this process ran: a new epoch begins, unless another process has begun it.
    fn begin_again(&self, store: &Store, of: &Tenant) -> Result<(), DbError> {
        let Some(mark) = store.mark.get() else { return Ok(()) };
        let reached = mark.of(of.organisation.org);
        let now = self.write(store, of, &mut |txn: &mut Txn<'_>| {
            txn.begin_if_gone_back(reached, true)
        })?;
        now.take_note(mark, of.organisation.org);
        Ok(())
    }

    fn read<T, E: From<DbError>>(
        &self,
        store: &Store,
        of: &Tenant,
        steps: impl FnOnce(&mut Txn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut session = self.pool.begin(&self.server, Session::begin_read)?;
        let result = guarded(|| steps(&mut store.txn(of, Sql::Postgres(&mut session), false)));
        let trouble = session.trouble().cloned();
        session.rollback();
        self.pool.put_back(session);
        match trouble {
            // Whatever the steps made of it.
            Some(trouble @ (Trouble::Conflict { .. } | Trouble::Lost { .. })) => Err(trouble.error().into()),
            Some(Trouble::Refused) | None => result,
        }
    }
}

/// `None` when the time is up first.
async fn in_time<F: Future>(until: tokio::time::Instant, steps: F) -> Option<F::Output> {
    tokio::time::timeout_at(until, steps).await.ok()
}
