//! The threads that read, each with a connection of its own that cannot write. Every read has one snapshot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use vault::DataKey;
use vault::sqlite;

use super::fault::{Fault, ReadError, StoreError, TxError};
use super::tx::ReadTx;
use super::{STATEMENTS_KEPT, Tuning, opened};

/// A read that waits, with the room it takes in the queue. It answers for itself and says whether the connection is
/// still good.
struct Waiting {
    job: Job,
    _room: OwnedSemaphorePermit,
}

type Job = Box<dyn FnOnce(&Connection) -> Option<Fault> + Send>;

pub(super) struct Readers {
    waiting: Mutex<Option<mpsc::Sender<Waiting>>>,
    room: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Reader {
    connection: Connection,
    path: PathBuf,
    key: Arc<DataKey>,
    tuning: Tuning,
    waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>,
}

impl Readers {
    pub(super) fn start(path: &Path, key: &Arc<DataKey>, tuning: &Tuning) -> Result<Readers, StoreError> {
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for number in 0..tuning.readers.max(1) {
            let reader = Reader {
                connection: opened(path, sqlite::open_reader(path, key, &tuning.sqlite))?,
                path: path.to_owned(),
                key: key.clone(),
                tuning: *tuning,
                waiting: receiver.clone(),
            };
            let thread = thread::Builder::new()
                .name(format!("store-reader-{number}"))
                .spawn(move || reader.run());
            threads.push(thread.map_err(|error| super::lock::folder_error(path, &error))?);
        }
        Ok(Readers {
            waiting: Mutex::new(Some(sender)),
            room: Arc::new(Semaphore::new(tuning.reads_waiting_max)),
            threads: Mutex::new(threads),
        })
    }

    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, ReadError>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, TxError> + Send + 'static,
        T: Send + 'static,
    {
        let Ok(room) = self.room.clone().acquire_owned().await else {
            return Err(ReadError::Stopped);
        };
        let (answer, answered) = oneshot::channel();
        self.push(Waiting {
            job: job(read, answer),
            _room: room,
        });
        answered.await.unwrap_or(Err(ReadError::Stopped))
    }

    fn push(&self, waiting: Waiting) {
        let sender = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.as_ref() {
            // Fails only when every reader is gone; the dropped read tells its caller.
            let _ = sender.send(waiting);
        }
    }

    /// Answers the reads that wait and ends the threads.
    pub(super) fn close(&self) {
        drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        super::join_all(threads);
    }
}

fn job<T, F>(read: F, answer: oneshot::Sender<Result<T, ReadError>>) -> Job
where
    F: FnOnce(&ReadTx<'_>) -> Result<T, TxError> + Send + 'static,
    T: Send + 'static,
{
    Box::new(move |connection| {
        if answer.is_closed() {
            return None;
        }
        let result = in_snapshot(connection, read);
        let fault = match &result {
            Err(ReadError::Failed(error)) => Fault::behind(error),
            Ok(_) | Err(ReadError::Panicked | ReadError::Stopped) => None,
        };
        let _ = answer.send(result);
        fault
    })
}

fn in_snapshot<T>(
    connection: &Connection,
    read: impl FnOnce(&ReadTx<'_>) -> Result<T, TxError>,
) -> Result<T, ReadError> {
    // Ends with the scope, whatever happens in it.
    let snapshot = connection.unchecked_transaction().map_err(TxError::from)?;
    let read = catch_unwind(AssertUnwindSafe(|| read(&ReadTx::new(&snapshot))));
    read.map_err(|_| ReadError::Panicked)?.map_err(ReadError::Failed)
}

impl Reader {
    fn run(mut self) {
        self.connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(waiting) = next else { return };
            let fault = (waiting.job)(&self.connection);
            if fault.is_some_and(Fault::needs_new_connection) {
                self.open_again();
            }
        }
    }

    fn open_again(&mut self) {
        match sqlite::open_reader(&self.path, &self.key, &self.tuning.sqlite) {
            Ok(connection) => {
                self.connection = connection;
                self.connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
            }
            Err(error) => tracing::error!(%error, "a reader could not open the store again after a fault"),
        }
    }
}
