//! What can go wrong in the store, told apart as far as the caller or an operator can do something about it. No error
//! carries content.

use std::error::Error;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use sync_protocol::cbor::CborError;
use vault::sqlite::OpenError;

/// Why a store could not be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the agent runs on {} already{}: stop it first, or choose another folder", .folder.display(), process(.pid))]
    AlreadyRunning { folder: PathBuf, pid: Option<u32> },
    #[error(
        "the store is of version {found} and this program knows up to {known}: install the newer program again; nothing was changed"
    )]
    Newer { found: u32, known: u32 },
    #[error("no space left for the store in {}: free some on that disk", .folder.display())]
    NoSpace { folder: PathBuf },
    #[error(transparent)]
    Open(OpenError),
    #[error(
        "the store in {} could not be brought up to date; nothing was changed: install the version that ran before, or restore a backup", .folder.display()
    )]
    Migration {
        folder: PathBuf,
        source: rusqlite_migration::Error,
    },
    #[error("the store does not say which replica it is: it is damaged, restore a backup")]
    NoIdentity,
    #[error("the store's folder {}: {reason}; check its owner and the disk", .folder.display())]
    Folder { folder: PathBuf, reason: String },
    #[error(transparent)]
    Tx(#[from] TxError),
}

fn process(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// What a statement inside a write or a read met.
#[derive(Debug, thiserror::Error)]
pub enum TxError {
    #[error("the store refused a statement")]
    Sqlite(#[source] rusqlite::Error),
    #[error("{what} as stored cannot be read: the store is damaged, restore a backup")]
    Damaged { what: &'static str },
    #[error("the catalogue does not admit the change: reason {reason}")]
    NotAdmitted { reason: u16 },
    #[error("{what} is {bytes} bytes, more than {max}")]
    TooLarge {
        what: &'static str,
        bytes: usize,
        max: usize,
    },
    #[error("the operating system gave no random bytes: nothing can be named until it does")]
    Random,
}

impl From<rusqlite::Error> for TxError {
    fn from(error: rusqlite::Error) -> TxError {
        TxError::Sqlite(error)
    }
}

impl TxError {
    pub(super) fn unreadable(what: &'static str) -> impl FnOnce(CborError) -> TxError {
        move |_| TxError::Damaged { what }
    }
}

/// Why a write was not made. Whichever it is, nothing of it was kept, and it can be asked for again.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    #[error(transparent)]
    Refused(E),
    #[error("the write broke off by a fault in the program; nothing of it was kept")]
    Panicked,
    #[error("no space left on the store's disk: free some, then save again; what was saved before is safe")]
    NoSpace,
    #[error("the store's disk does not take writes: check the disk, then save again; what was saved before is safe")]
    Disk,
    #[error("the store is damaged: stop the agent and restore a backup")]
    Damaged,
    #[error("the store is in use by another program: stop that one, then save again")]
    Busy,
    #[error("the store could not commit (SQLite code {code})")]
    Commit { code: i32 },
    #[error("the agent is stopping and takes no more writes")]
    Stopped,
}

/// Why a read gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Failed(#[from] TxError),
    #[error("the read broke off by a fault in the program")]
    Panicked,
    #[error("the agent is stopping and answers no more reads")]
    Stopped,
}

/// What became of a transaction that SQLite itself could not carry through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    NoSpace,
    Disk,
    Damaged,
    Busy,
    Other(i32),
}

impl Fault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "SQLite's other codes are told by their number"
    )]
    pub(super) fn of(error: &rusqlite::Error) -> Fault {
        let Some(failure) = error.sqlite_error() else {
            return Fault::Other(0);
        };
        match failure.code {
            ErrorCode::DiskFull => Fault::NoSpace,
            ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                Fault::Disk
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Fault::Damaged,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => Fault::Busy,
            _ => Fault::Other(failure.extended_code),
        }
    }

    /// Finds the disk's fault behind a write's own error, where there is one.
    pub(super) fn behind(error: &(dyn Error + 'static)) -> Option<Fault> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(sqlite) = error.downcast_ref::<rusqlite::Error>() {
                return match Fault::of(sqlite) {
                    Fault::Other(_) => None,
                    fault @ (Fault::NoSpace | Fault::Disk | Fault::Damaged | Fault::Busy) => Some(fault),
                };
            }
            cause = error.source();
        }
        None
    }

    /// After one bad page the whole connection is dead, and a failed write leaves doubts about it.
    pub(super) fn needs_new_connection(self) -> bool {
        matches!(self, Fault::Disk | Fault::Damaged)
    }
}

impl<E> From<Fault> for WriteError<E> {
    fn from(fault: Fault) -> WriteError<E> {
        match fault {
            Fault::NoSpace => WriteError::NoSpace,
            Fault::Disk => WriteError::Disk,
            Fault::Damaged => WriteError::Damaged,
            Fault::Busy => WriteError::Busy,
            Fault::Other(code) => WriteError::Commit { code },
        }
    }
}
