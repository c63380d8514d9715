//! The one thread that writes. Writes that wait together are committed together, each in its own savepoint: an error or
//! a panic undoes that one alone. Nobody is answered and nobody is woken before the commit.
//!
//! When SQLite gives up the whole transaction (a full disk, a failed sync), nobody is confirmed: each write is run once
//! more, alone in a transaction of its own, and what still fails is told why.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, oneshot};
use vault::DataKey;
use vault::sqlite::{self, Mode};

use super::fault::{Fault, WriteError};
use super::tx::{Committed, Life, WriteTx};
use super::{Priority, STATEMENTS_KEPT, Tuning};

/// A write that waits for the writer, with the room it takes in the queue.
struct Waiting {
    job: Job,
    _room: OwnedSemaphorePermit,
}

/// A write with its result inside: run as often as need be, answered once.
pub(super) type Job = Box<dyn FnMut(Step<'_, '_>) -> Ran + Send>;

pub(super) enum Step<'a, 'c> {
    Run(&'a mut WriteTx<'c>),
    /// What it returned is committed; or, with a fault, nothing of it was kept.
    Answer(Option<Fault>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    Done,
    Undone(Option<Fault>),
    Answered,
}

pub(super) fn job<T, E, F>(mut write: F, answer: oneshot::Sender<Result<T, WriteError<E>>>) -> Job
where
    F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: std::error::Error + Send + 'static,
{
    let mut answer = Some(answer);
    let mut result: Option<Result<T, E>> = None;
    Box::new(move |step| match step {
        Step::Run(tx) => {
            result = None;
            let returned = write(tx);
            let ran = match &returned {
                Ok(_) => Ran::Done,
                Err(error) => Ran::Undone(Fault::behind(error)),
            };
            result = Some(returned);
            ran
        }
        Step::Answer(fault) => {
            let outcome = match (fault, result.take()) {
                (Some(fault), _) => Err(fault.into()),
                (None, Some(returned)) => returned.map_err(WriteError::Refused),
                (None, None) => Err(WriteError::Panicked),
            };
            if let Some(answer) = answer.take() {
                // The caller may have hung up; the write stands all the same.
                let _ = answer.send(outcome);
            }
            Ran::Answered
        }
    })
}

/// The writes that wait: people and messages before what comes from the hub.
pub(super) struct WriteQueue {
    waiting: Mutex<Lists>,
    filled: Condvar,
    desk_room: Arc<Semaphore>,
    sync_room: Arc<Semaphore>,
    desk_groups_max: u32,
}

#[derive(Default)]
struct Lists {
    desk: VecDeque<Waiting>,
    sync: VecDeque<Waiting>,
    /// Groups from the desk since anything of sync was written, while something of it waited.
    desk_groups: u32,
    closed: bool,
}

impl WriteQueue {
    pub(super) fn new(tuning: &Tuning) -> WriteQueue {
        WriteQueue {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            desk_room: Arc::new(Semaphore::new(tuning.writes_waiting_max)),
            sync_room: Arc::new(Semaphore::new(tuning.writes_waiting_max)),
            desk_groups_max: tuning.desk_groups_max,
        }
    }

    fn room(&self, priority: Priority) -> &Arc<Semaphore> {
        match priority {
            Priority::Desk => &self.desk_room,
            Priority::Sync => &self.sync_room,
        }
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the write in at once, or gives it back when the queue is full.
    pub(super) fn offer(&self, priority: Priority, job: Job) -> Result<(), Job> {
        match self.room(priority).clone().try_acquire_owned() {
            Ok(room) => self.push(priority, Waiting { job, _room: room }),
            Err(_) => return Err(job),
        }
        Ok(())
    }

    pub(super) async fn wait_for_room(&self, priority: Priority, job: Job) {
        // Room is never closed off; a write that comes after the end is dropped, which tells its caller.
        if let Ok(room) = self.room(priority).clone().acquire_owned().await {
            self.push(priority, Waiting { job, _room: room });
        }
    }

    fn push(&self, priority: Priority, waiting: Waiting) {
        let mut lists = self.lists();
        if lists.closed {
            return;
        }
        match priority {
            Priority::Desk => lists.desk.push_back(waiting),
            Priority::Sync => lists.sync.push_back(waiting),
        }
        self.filled.notify_one();
    }

    /// No more writes are taken; those that wait are still made.
    pub(super) fn close(&self) {
        self.lists().closed = true;
        self.filled.notify_all();
    }

    /// The first of the next group; nothing when the queue is closed and empty.
    fn first(&self) -> Option<(Priority, Waiting)> {
        let mut lists = self.lists();
        loop {
            let sync_is_due = lists.desk.is_empty() || lists.desk_groups >= self.desk_groups_max;
            if sync_is_due && let Some(waiting) = lists.sync.pop_front() {
                lists.desk_groups = 0;
                return Some((Priority::Sync, waiting));
            }
            if let Some(waiting) = lists.desk.pop_front() {
                lists.desk_groups = if lists.sync.is_empty() {
                    0
                } else {
                    lists.desk_groups + 1
                };
                return Some((Priority::Desk, waiting));
            }
            if lists.closed {
                return None;
            }
            lists = self.filled.wait(lists).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// One more for the same group, if it waits already. The desk never waits for a page of a pull to be applied.
    fn another(&self, priority: Priority) -> Option<Waiting> {
        let mut lists = self.lists();
        match priority {
            Priority::Desk => lists.desk.pop_front(),
            Priority::Sync if lists.desk.is_empty() => lists.sync.pop_front(),
            Priority::Sync => None,
        }
    }
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) key: Arc<DataKey>,
    pub(super) tuning: Tuning,
    pub(super) life: Life,
    pub(super) queue: Arc<WriteQueue>,
    pub(super) committed: broadcast::Sender<Arc<Committed>>,
    /// Something was purged since the log was last folded away.
    pub(super) purged: bool,
}

impl Writer {
    pub(super) fn run(mut self) {
        self.connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        self.fold_log();
        while let Some((priority, first)) = self.queue.first() {
            let mut group = vec![first];
            match self.commit_group(priority, &mut group) {
                Ok(changed) => {
                    self.announce(changed);
                    group.iter_mut().for_each(|waiting| answer(waiting, None));
                }
                Err(fault) => {
                    tracing::warn!(?fault, writes = group.len(), "a group of writes was rolled back");
                    self.give_up(fault);
                    group.iter_mut().for_each(|waiting| self.run_alone(waiting));
                }
            }
            self.fold_log();
        }
    }

    /// After a purge the log still holds what was purged, until it is written back and cut off. A reader in the way is
    /// never waited for: the next write tries again.
    fn fold_log(&mut self) {
        if !self.purged {
            return;
        }
        match sqlite::fold_log(&self.connection, self.tuning.sqlite.busy_timeout) {
            Ok(folded) => self.purged = !folded,
            Err(error) => tracing::warn!(%error, "the log could not be folded away after a purge"),
        }
    }

    fn commit_group(&mut self, priority: Priority, group: &mut Vec<Waiting>) -> Result<Committed, Fault> {
        let began = Instant::now();
        self.execute("BEGIN IMMEDIATE")?;
        let mut changed = Committed::default();
        let mut next = 0;
        while let Some(waiting) = group.get_mut(next) {
            changed.add(self.run_in_savepoint(waiting)?);
            next += 1;
            if next < self.tuning.group_writes_max && began.elapsed() < self.tuning.group_max {
                group.extend(self.queue.another(priority));
            }
        }
        self.execute("COMMIT")?;
        Ok(changed)
    }

    fn run_alone(&mut self, waiting: &mut Waiting) {
        let ended = self.execute("BEGIN IMMEDIATE").and_then(|()| {
            let changed = self.run_in_savepoint(waiting)?;
            self.execute("COMMIT")?;
            Ok(changed)
        });
        match ended {
            Ok(changed) => {
                self.announce(changed);
                answer(waiting, None);
            }
            Err(fault) => {
                self.give_up(fault);
                answer(waiting, Some(fault));
            }
        }
    }

    /// A fault means that the whole transaction is lost; a write that is merely refused or panics is undone alone.
    fn run_in_savepoint(&self, waiting: &mut Waiting) -> Result<Committed, Fault> {
        self.execute("SAVEPOINT one")?;
        let mut tx = WriteTx::new(&self.connection, &self.life);
        let ran = catch_unwind(AssertUnwindSafe(|| (waiting.job)(Step::Run(&mut tx))));
        let changed = std::mem::take(&mut tx.changed);
        let fault = match ran {
            Ok(Ran::Undone(fault)) => fault,
            Ok(Ran::Done | Ran::Answered) | Err(_) => None,
        };
        if fault.is_some() || self.connection.is_autocommit() {
            return Err(fault.unwrap_or(Fault::Other(0)));
        }
        if matches!(ran, Ok(Ran::Done)) {
            self.execute("RELEASE one")?;
            return Ok(changed);
        }
        self.execute("ROLLBACK TO one")?;
        self.execute("RELEASE one")?;
        Ok(Committed::default())
    }

    fn execute(&self, sql: &str) -> Result<(), Fault> {
        let done = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]));
        done.map(|_| ()).map_err(|error| Fault::of(&error))
    }

    /// Leaves the lost transaction, and the connection too where it may be dead.
    fn give_up(&mut self, fault: Fault) {
        if !self.connection.is_autocommit() && self.execute("ROLLBACK").is_err() {
            tracing::error!("a lost transaction could not be rolled back");
        }
        if fault.needs_new_connection() || !self.connection.is_autocommit() {
            match sqlite::open(&self.path, &self.key, Mode::Existing, &self.tuning.sqlite) {
                Ok(connection) => {
                    self.connection = connection;
                    self.connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
                }
                Err(error) => tracing::error!(%error, "the store could not be opened again after a fault"),
            }
        }
    }

    fn announce(&mut self, changed: Committed) {
        self.purged |= changed.purged;
        if !changed.is_empty() {
            // Nobody may be listening.
            let _ = self.committed.send(Arc::new(changed));
        }
    }
}

fn answer(waiting: &mut Waiting, fault: Option<Fault>) {
    (waiting.job)(Step::Answer(fault));
}
