//! Opening encrypted SQLite files (SQLCipher). A file that cannot be opened is left as it is and never made anew; a file
//! that is there is never overwritten; a file that isn't encrypted is not used.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use zeroize::Zeroizing;

use crate::key_file::DataKey;
use crate::private_file::{self, PrivateFileError};
use crate::random::RandomFailed;

const PLAIN_SQLITE_HEADER: &[u8; 16] = b"SQLite format 3\0";
/// SQLCipher's page: a file below one page was cut off.
const PAGE_BYTES: u64 = 4096;
const PURPOSE: &str = "mainstay sqlite 1";

/// Whether the file must be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Makes a new file, whole or not at all; refuses if one is there.
    Create,
    /// Opens the file that is there; never makes one.
    Existing,
}

/// What a deployment may set for its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Page cache of one connection. Decrypted pages: a cold read costs three times a warm one.
    pub cache_kib: u32,
    /// How long one connection waits for another's write before it gives up.
    pub busy_timeout: Duration,
    /// The write-ahead log is written back once it has this many pages of 4 KiB.
    pub checkpoint_pages: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            cache_kib: 8 * 1024,
            busy_timeout: Duration::from_secs(5),
            checkpoint_pages: 1000,
        }
    }
}

/// Why a store could not be opened or made. Whichever it is, the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store {} is missing: correct the data folder, or restore a backup; it is never made anew by itself", .path.display())]
    Missing { path: PathBuf },
    #[error("the store {} is there already and is never overwritten: move it away first", .path.display())]
    Exists { path: PathBuf },
    #[error("{} is not encrypted: it is not this program's store; check the data folder", .path.display())]
    NotEncrypted { path: PathBuf },
    #[error("the store {} does not open: the key is another store's, or the file is damaged (both look the same); check the key file, then restore a backup; the file was left as it is", .path.display())]
    WrongKeyOrDamaged { path: PathBuf },
    #[error("the store {} is in use by another program: stop that one first", .path.display())]
    Busy { path: PathBuf },
    #[error("no permission for the store {}: check the owner of the file and of its folder, and that the disk is not read-only", .path.display())]
    NotPermitted { path: PathBuf },
    #[error("no space left for the store {}: free some on that disk", .path.display())]
    NoSpace { path: PathBuf },
    #[error("the store {}: {reason}; check the disk", .path.display())]
    Io { path: PathBuf, reason: String },
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

/// Why the encrypted pages could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("the check needs the store to itself for a moment, another connection is reading or writing: try again")]
    Busy,
    #[error("the check could not run: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Opens the store for reading and writing: write-ahead log, `synchronous=FULL`, foreign keys on, temporary tables in
/// memory only. The file's key is derived from the data key.
pub fn open(path: &Path, key: &DataKey, mode: Mode, tuning: &Tuning) -> Result<Connection, OpenError> {
    match mode {
        Mode::Create => create(path, key)?,
        Mode::Existing => {}
    }
    inspect(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, key, flags, tuning)?;
    tune_writer(&connection, tuning).map_err(|error| open_error(path, &error))?;
    Ok(connection)
}

/// Opens the store for reading only. It must have been opened with [`open`] before, which sets the write-ahead log and has
/// looked at the file; to open and close it here once more would drop every POSIX lock that this process holds on it.
pub fn open_reader(path: &Path, key: &DataKey, tuning: &Tuning) -> Result<Connection, OpenError> {
    path.metadata().map_err(|error| io_error(path, error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, key, flags, tuning)?;
    connection
        .pragma_update(None, "query_only", true)
        .map_err(|error| open_error(path, &error))?;
    Ok(connection)
}

/// Checks the authentication code of every page; one line for each damaged one, none when all is sound.
///
/// SQLCipher reads the main file only, so the write-ahead log is written back first. Damage inside the log itself is
/// not seen here: SQLite takes a damaged tail for an unfinished write.
pub fn cipher_integrity_check(connection: &Connection) -> Result<Vec<String>, CheckError> {
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        return Err(CheckError::Busy);
    }
    let mut statement = connection.prepare("PRAGMA cipher_integrity_check")?;
    let damaged = statement.query_map([], |row| row.get(0))?;
    Ok(damaged.collect::<Result<_, _>>()?)
}

/// Writes the log back into the file and cuts it off. False when somebody reads an older state; nobody is waited for.
pub fn fold_log(connection: &Connection, busy_timeout: Duration) -> Result<bool, rusqlite::Error> {
    connection.busy_timeout(Duration::ZERO)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    connection.busy_timeout(busy_timeout)?;
    Ok(!busy?)
}

/// Makes the file under another name, encrypted page and all, and only then gives it its own: a power cut leaves no
/// empty file that would look like a store.
fn create(path: &Path, key: &DataKey) -> Result<(), OpenError> {
    for taken in [path.to_owned(), beside(path, "-wal")] {
        // A stale log beside a new file would be replayed into it.
        if taken.symlink_metadata().is_ok() {
            return Err(OpenError::Exists { path: taken });
        }
    }
    let staged = private_file::staging_path(path).map_err(|error| file_error(path, error))?;
    let made = create_staged(path, &staged, key);
    if made.is_err() {
        for leftover in [staged.clone(), beside(&staged, "-wal"), beside(&staged, "-shm")] {
            let _ = fs::remove_file(leftover);
        }
    }
    made
}

fn create_staged(path: &Path, staged: &Path, key: &DataKey) -> Result<(), OpenError> {
    private_file::new_private_file(staged).map_err(|error| io_error(path, error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(staged, key, flags, &Tuning::default())?;
    // The change of journal mode writes the first page; the reading lays out the log's index, so that a disk too small for
    // either is noticed before the store has its name.
    set_write_ahead_log(&connection).map_err(|error| open_error(path, &error))?;
    read_schema(&connection).map_err(|error| open_error(path, &error))?;
    connection.close().map_err(|(_, error)| open_error(path, &error))?;
    OpenOptions::new()
        .write(true)
        .open(staged)
        .and_then(|file| file.sync_all())
        .map_err(|error| io_error(path, error))?;
    inspect(staged)?;
    private_file::place_new(staged, path).map_err(|error| file_error(path, error))
}

fn connect(path: &Path, key: &DataKey, flags: OpenFlags, tuning: &Tuning) -> Result<Connection, OpenError> {
    // Else OpenSSL takes itself apart when the process ends, under the feet of a thread that still closes its connection.
    openssl_sys::init();
    let sqlite = |error| open_error(path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(tuning.busy_timeout).map_err(sqlite)?;
    // SQLCipher would write its findings to stderr.
    connection
        .execute_batch("PRAGMA cipher_log = off; PRAGMA cipher_log_level = NONE;")
        .map_err(sqlite)?;
    // The error of this one statement would quote the key.
    connection.execute_batch(&key_pragma(key)).map_err(|_| OpenError::Io {
        path: path.to_owned(),
        reason: "the cipher did not take the key".to_owned(),
    })?;
    // With a wrong key a log that a crash left behind would be folded into the file when this closes.
    let keep_log = |keep| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep);
    keep_log(true).map_err(sqlite)?;
    read_schema(&connection).map_err(sqlite)?;
    keep_log(false).map_err(sqlite)?;
    tune(&connection, tuning).map_err(sqlite)?;
    Ok(connection)
}

/// The first read, which a wrong key does not survive.
fn read_schema(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
}

/// The string is wiped; SQLite's own short-lived copies are not. `cipher_memory_security` would wipe those, but it also locks
/// and unlocks the pages around every allocation of the whole process and cannot be turned off again. Keeping swap and
/// core dumps away from the process is the service unit's part.
/// The key that a store's pages are encrypted with.
pub fn page_key(key: &DataKey) -> Zeroizing<[u8; 32]> {
    key.derive(b"", PURPOSE)
}

fn key_pragma(key: &DataKey) -> Zeroizing<String> {
    let derived = page_key(key);
    let mut pragma = Zeroizing::new(String::with_capacity(128));
    pragma.push_str("PRAGMA key = \"x'");
    data_encoding::HEXLOWER.encode_append(derived.as_slice(), &mut pragma);
    pragma.push_str("'\";");
    pragma
}

fn tune(connection: &Connection, tuning: &Tuning) -> rusqlite::Result<()> {
    connection.pragma_update(None, "cache_size", -i64::from(tuning.cache_kib))?;
    // Sorting spills to files otherwise, in clear.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    Ok(())
}

fn tune_writer(connection: &Connection, tuning: &Tuning) -> rusqlite::Result<()> {
    set_write_ahead_log(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is overwritten, so that nothing of it can be read with the key either.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", tuning.checkpoint_pages)?;
    Ok(())
}

fn set_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = statement.query([])?;
    let mode: String = match rows.next()? {
        Some(row) => row.get(0)?,
        None => return Err(rusqlite::Error::QueryReturnedNoRows),
    };
    // The first page of a new file is written after this row, and only the step behind it tells whether that failed.
    rows.next()?;
    // Some network file systems keep the old mode without an error.
    if mode == "wal" {
        Ok(())
    } else {
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), None))
    }
}

/// What can be told without the key, and what opening must not be trusted to tell.
fn inspect(path: &Path) -> Result<(), OpenError> {
    let mut file = File::open(path).map_err(|error| io_error(path, error))?;
    let length = file.metadata().map_err(|error| io_error(path, error))?.len();
    // SQLite would take an empty file for a new database and fill it.
    if length < PAGE_BYTES {
        return Err(OpenError::WrongKeyOrDamaged { path: path.to_owned() });
    }
    let mut header = [0; PLAIN_SQLITE_HEADER.len()];
    file.read_exact(&mut header).map_err(|error| io_error(path, error))?;
    if header == *PLAIN_SQLITE_HEADER {
        return Err(OpenError::NotEncrypted { path: path.to_owned() });
    }
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "SQLite's codes are open-ended")]
fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    let Some(failure) = error.sqlite_error() else {
        return OpenError::Io {
            path,
            reason: "SQLite refused a setting".to_owned(),
        };
    };
    if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE {
        // The shared index of the log could not be laid out, for which a full disk is the usual reason.
        return OpenError::NoSpace { path };
    }
    if failure.code == ErrorCode::CannotOpen
        && let Err(error) = OpenOptions::new().read(true).write(true).open(&path)
    {
        return io_error(&path, error);
    }
    match failure.code {
        ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => OpenError::WrongKeyOrDamaged { path },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            OpenError::Busy { path }
        }
        ErrorCode::PermissionDenied | ErrorCode::ReadOnly => OpenError::NotPermitted { path },
        ErrorCode::DiskFull => OpenError::NoSpace { path },
        _ => OpenError::Io {
            path,
            reason: format!(
                "{} (SQLite code {})",
                ffi::code_to_str(failure.extended_code),
                failure.extended_code
            ),
        },
    }
}

fn io_error(path: &Path, error: io::Error) -> OpenError {
    file_error(path, PrivateFileError::io(path, error))
}

fn file_error(path: &Path, error: PrivateFileError) -> OpenError {
    match error {
        PrivateFileError::Missing { path } => OpenError::Missing { path },
        PrivateFileError::Exists { path } => OpenError::Exists { path },
        PrivateFileError::NotPermitted { path } => OpenError::NotPermitted { path },
        PrivateFileError::NoSpace { path } => OpenError::NoSpace { path },
        PrivateFileError::Io { path, source } => OpenError::Io {
            path,
            reason: source.to_string(),
        },
        PrivateFileError::Random(failed) => OpenError::Random(failed),
        PrivateFileError::ReadableByOthers { .. }
        | PrivateFileError::WrongOwner { .. }
        | PrivateFileError::FolderWritableByOthers { .. }
        | PrivateFileError::TooLarge { .. } => OpenError::Io {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
