//! What only the embedded engine has: one file, one named thread that writes, one transaction after the other, and
//! connections that read a snapshot each.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{Semaphore, mpsc};
use vault::DataKey;
use vault::sqlite::Mode;

use super::config::Config;
use super::sql::STATEMENTS_MAX;
use super::{DbError, Sql};

/// Writes that may wait for the writer; beyond it a caller waits to be let in.
const WRITES_MAX: usize = 256;

pub(super) type Job = Box<dyn FnOnce(&mut Connection) + Send>;

pub(super) struct Embedded {
    writes: Mutex<Option<mpsc::Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    pub(super) free_readers: Arc<Semaphore>,
}

/// The connection that writes, before anything else is opened.
pub(super) fn open(file: &Path, key: &DataKey, mode: Mode, config: &Config) -> Result<Connection, DbError> {
    let connection = vault::sqlite::open(file, key, mode, &config.tuning())?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

impl Embedded {
    pub(super) fn start(
        mut connection: Connection,
        file: &Path,
        key: &DataKey,
        config: &Config,
    ) -> Result<Embedded, DbError> {
        let reader = || {
            let reader = vault::sqlite::open_reader(file, key, &config.reading())?;
            reader.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
            Ok::<_, DbError>(reader)
        };
        let readers = (0..config.readers.max(1))
            .map(|_| reader())
            .collect::<Result<Vec<_>, _>>()?;
        let (writes, mut jobs) = mpsc::channel::<Job>(WRITES_MAX);
        let writer = std::thread::Builder::new()
            .name("store writer".to_owned())
            .spawn(move || {
                while let Some(job) = jobs.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|_| DbError::Closed)?;
        Ok(Embedded {
            writes: Mutex::new(Some(writes)),
            writer: Mutex::new(Some(writer)),
            free_readers: Arc::new(Semaphore::new(readers.len())),
            readers: Mutex::new(readers),
        })
    }

    /// Where jobs for the writer go in.
    pub(super) fn writes(&self) -> Result<mpsc::Sender<Job>, DbError> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        writes.ok_or(DbError::Closed)
    }

    /// Runs `steps` against one snapshot. The caller holds a permit of `free_readers`.
    pub(super) fn read<T>(&self, steps: impl FnOnce(Sql<'_>) -> T) -> Result<T, DbError> {
        let taken = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = taken.ok_or(DbError::Closed)?;
        let result = match connection.transaction() {
            Ok(snapshot) => Ok(steps(Sql::Embedded(&snapshot))),
            Err(error) => Err(error.into()),
        };
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        result
    }

    /// Ends the writer after what it was given, and closes the file. Further calls are refused.
    pub(super) fn close(&self) {
        // The writer goes last: the last connection to close writes the log back into the file.
        self.free_readers.close();
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last write may be what held the store; its thread then ends by itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != std::thread::current().id()) {
            let _ = writer.join();
        }
    }
}

/// A connection that is still closing while the program ends would find the cipher's library gone.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs `steps` in one transaction: committed when they answer `Ok`, undone otherwise.
pub(super) fn write<T, E: From<DbError>>(
    connection: &mut Connection,
    steps: impl FnOnce(Sql<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(DbError::from)?;
    let value = steps(Sql::Embedded(&transaction))?;
    transaction.commit().map_err(DbError::from)?;
    Ok(value)
}
