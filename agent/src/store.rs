//! The agent's store: one encrypted file that holds the records, this replica's own changes and their chain, how far
//! the feed was followed, and what the siblings keep beside them. SQL stands here and nowhere else in the agent, one
//! file per noun.
//!
//! It refuses: a second process on the same folder; a file of a newer version; to make a store anew where one cannot be
//! opened; to confirm a write before it is on the disk.

mod acks;
mod blobs;
mod changes;
mod codes;
mod contents;
mod fault;
mod feed;
mod identity;
mod lanes;
mod leaves;
mod ledger;
mod lock;
mod messages;
mod meta;
mod readers;
mod records;
mod requests;
mod schema;
mod sign_ins;
mod sources;
#[cfg(test)]
mod tests;
mod tx;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{broadcast, oneshot};
use vault::DataKey;
use vault::sqlite::{self, Mode, OpenError};

pub use blobs::{BLOB_MAX_BYTES, Blob, digest_of};
pub use changes::{ChainCheck, Counts, QuarantinedChange};
pub use codes::{CodeSetStanding, StoredCodeSet};
pub use contents::{Content, ContentStanding};
pub use fault::{ReadError, StoreError, TxError, WriteError};
pub use identity::AuthorError;
pub use leaves::{Miscounted, ShownAnew};
pub use messages::{Message, MessageKey, NewMessage, Outcome};
pub use records::Stored;
pub use sign_ins::SignIn;
pub use sources::SourceValue;
pub use tx::{Committed, ReadTx, WriteTx};

use fault::Fault;
use lock::FolderLock;
use readers::Readers;
use tx::Life;
use writer::{WriteQueue, Writer, job};

const FILE: &str = "agent.db";
/// Prepared statements kept per connection: all that the nouns have, with room for searches.
const STATEMENTS_KEPT: usize = 128;
/// Commits that a listener may be behind before it is told that it missed some.
const COMMITS_KEPT: usize = 256;

/// Whose writes go first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// People, messages and the command line.
    Desk,
    /// What comes from the hub.
    Sync,
}

/// What a deployment may set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuning {
    pub sqlite: sqlite::Tuning,
    /// Threads that read; the page cache is one for each.
    pub readers: usize,
    /// Writes of each priority, and reads, that may wait; more wait for room.
    pub writes_waiting_max: usize,
    pub reads_waiting_max: usize,
    /// One commit holds at most so many writes, and takes no more in after this time.
    pub group_writes_max: usize,
    pub group_max: Duration,
    /// Groups from the desk in a row while something from the hub waits.
    pub desk_groups_max: u32,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            sqlite: sqlite::Tuning {
                cache_kib: 4 * 1024,
                ..sqlite::Tuning::default()
            },
            readers: 3,
            writes_waiting_max: 1_024,
            reads_waiting_max: 1_024,
            group_writes_max: 64,
            group_max: Duration::from_millis(5),
            desk_groups_max: 8,
        }
    }
}

/// A handle on the open store; clones share it. The last one to go ends it, after the writes that wait.
#[derive(Clone)]
pub struct Store(Arc<Open>);

struct Open {
    queue: Arc<WriteQueue>,
    writer: Mutex<Vec<JoinHandle<()>>>,
    readers: Readers,
    committed: broadcast::Sender<Arc<Committed>>,
    lock: Mutex<Option<FolderLock>>,
}

impl Store {
    /// Whether the folder has a store, openable or not.
    pub fn exists(folder: &Path) -> bool {
        folder.join(FILE).symlink_metadata().is_ok()
    }

    /// The store's file in a folder.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Makes a new store in a folder that has none, as a replica that has never written.
    pub fn create(folder: &Path, key: Arc<DataKey>, tuning: Tuning) -> Result<Store, StoreError> {
        Store::start(folder, key, Mode::Create, tuning)
    }

    /// Opens the store that is there, and brings its tables up to date.
    pub fn open(folder: &Path, key: Arc<DataKey>, tuning: Tuning) -> Result<Store, StoreError> {
        Store::start(folder, key, Mode::Existing, tuning)
    }

    fn start(folder: &Path, key: Arc<DataKey>, mode: Mode, tuning: Tuning) -> Result<Store, StoreError> {
        let path = folder.join(FILE);
        if mode == Mode::Existing && !Store::exists(folder) {
            return Err(StoreError::Open(OpenError::Missing { path }));
        }
        let lock = FolderLock::take(folder)?;
        let mut connection = opened(folder, sqlite::open(&path, &key, mode, &tuning.sqlite))?;
        let life = Life::begin()?;
        prepare(&mut connection, &life).map_err(|error| told_apart(folder, error))?;

        let readers = Readers::start(&path, &key, &tuning)?;
        let queue = Arc::new(WriteQueue::new(&tuning));
        let (committed, _) = broadcast::channel(COMMITS_KEPT);
        let writer = Writer {
            connection,
            path,
            key,
            tuning,
            life,
            queue: queue.clone(),
            committed: committed.clone(),
            // A log that a crash left behind may hold what was purged.
            purged: true,
        };
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run());
        let thread = thread.map_err(|error| lock::folder_error(folder, &error))?;
        Ok(Store(Arc::new(Open {
            queue,
            writer: Mutex::new(vec![thread]),
            readers,
            committed,
            lock: Mutex::new(Some(lock)),
        })))
    }

    /// Makes a write and answers once it is on the disk. It is in the queue as soon as this returns, if there is room,
    /// and is made even if the future is dropped. The closure may be run more than once; what counts is the last run.
    pub fn write<T, E, F>(
        &self,
        priority: Priority,
        write: F,
    ) -> impl Future<Output = Result<T, WriteError<E>>> + Send + use<T, E, F>
    where
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let offered = self.0.queue.offer(priority, job(write, answer));
        let queue = self.0.queue.clone();
        async move {
            if let Err(job) = offered {
                queue.wait_for_room(priority, job).await;
            }
            answered.await.unwrap_or(Err(WriteError::Stopped))
        }
    }

    /// [`Store::write`] for a thread that may wait; never from an async task.
    pub fn write_blocking<T, E, F>(&self, priority: Priority, write: F) -> Result<T, WriteError<E>>
    where
        F: FnMut(&mut WriteTx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
    {
        futures::executor::block_on(self.write(priority, write))
    }

    /// Reads from one snapshot, which holds every write that was answered before.
    pub async fn read<T, F>(&self, read: F) -> Result<T, ReadError>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, TxError> + Send + 'static,
        T: Send + 'static,
    {
        self.0.readers.read(read).await
    }

    /// [`Store::read`] for a thread that may wait; never from an async task.
    pub fn read_blocking<T, F>(&self, read: F) -> Result<T, ReadError>
    where
        F: FnOnce(&ReadTx<'_>) -> Result<T, TxError> + Send + 'static,
        T: Send + 'static,
    {
        futures::executor::block_on(self.read(read))
    }

    /// Tells of every commit from now on that changed something. Whoever is told that it missed some must look at all.
    pub fn committed(&self) -> broadcast::Receiver<Arc<Committed>> {
        self.0.committed.subscribe()
    }

    /// Takes no more reads and writes, makes those that wait, and gives the folder free.
    pub async fn shutdown(&self) {
        let open = self.0.clone();
        // Fails only when closing panicked, which joins nothing more.
        let _ = tokio::task::spawn_blocking(move || open.close()).await;
    }
}

impl Open {
    fn close(&self) {
        self.readers.close();
        self.queue.close();
        join_all(std::mem::take(
            &mut *self.writer.lock().unwrap_or_else(PoisonError::into_inner),
        ));
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

/// A thread of ours may hold the last handle; it cannot wait for itself and ends on its own.
fn join_all(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("a thread of the store ended by a fault in the program");
        }
    }
}

fn prepare(connection: &mut Connection, life: &Life) -> Result<(), StoreError> {
    schema::migrate(connection)?;
    identity::ensure(connection, life)
}

fn opened(folder: &Path, opened: Result<Connection, OpenError>) -> Result<Connection, StoreError> {
    opened.map_err(|error| {
        if matches!(error, OpenError::NoSpace { .. }) {
            return StoreError::NoSpace {
                folder: folder.to_owned(),
            };
        }
        StoreError::Open(error)
    })
}

/// A disk that fills up while the tables are made is a full disk and nothing else.
fn told_apart(folder: &Path, error: StoreError) -> StoreError {
    match Fault::behind(&error) {
        Some(Fault::NoSpace) => StoreError::NoSpace {
            folder: folder.to_owned(),
        },
        Some(Fault::Damaged) => StoreError::Open(OpenError::WrongKeyOrDamaged {
            path: PathBuf::from(folder).join(FILE),
        }),
        Some(Fault::Disk | Fault::Busy | Fault::Other(_)) | None => error,
    }
}
