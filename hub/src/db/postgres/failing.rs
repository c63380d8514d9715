//! What went wrong, and whether running the transaction again would help.

use postgres::error::SqlState;

use crate::db::DbError;

/// What kept a transaction from going on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::db) enum Trouble {
    /// Another transaction was in the way: this one can be run again.
    Conflict { reason: String },
    /// The connection ended before the commit: nothing was written.
    Lost { reason: String },
    /// What running it again would not help.
    Refused,
}

impl Trouble {
    pub(in crate::db) fn error(&self) -> DbError {
        match self {
            Trouble::Conflict { reason } => DbError::Conflict { reason: reason.clone() },
            Trouble::Lost { reason } => DbError::Away { reason: reason.clone() },
            Trouble::Refused => DbError::Refused {
                reason: "a statement of this transaction failed before".to_owned(),
            },
        }
    }
}

/// What an error means for the transaction, and what the caller is told. Of the server's own words only those without
/// values are kept.
pub(super) fn judge(error: &postgres::Error) -> (Trouble, DbError) {
    let reason = reason(error);
    let Some(code) = error.code() else {
        let trouble = if error.is_closed() || has_io_source(error) {
            Trouble::Lost { reason }
        } else {
            return (Trouble::Refused, DbError::Refused { reason });
        };
        let told = trouble.error();
        return (trouble, told);
    };
    let conflicts = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::UNIQUE_VIOLATION,
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    let gone = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    if *code == SqlState::DISK_FULL {
        return (Trouble::Refused, DbError::NoSpace);
    }
    let trouble = if conflicts.contains(code) {
        Trouble::Conflict { reason }
    } else if gone.contains(code) || code.code().starts_with("08") {
        Trouble::Lost { reason }
    } else {
        return (Trouble::Refused, DbError::Refused { reason });
    };
    let told = trouble.error();
    (trouble, told)
}

fn has_io_source(error: &postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// Code and kind of an error. The server's message may quote a value, its code never does.
pub(super) fn reason(error: &postgres::Error) -> String {
    if let Some(failed) = error.as_db_error() {
        let about = [failed.table(), failed.constraint()];
        let about: Vec<&str> = about.into_iter().flatten().collect();
        let about = if about.is_empty() {
            String::new()
        } else {
            format!(" ({})", about.join(", "))
        };
        let said = match *failed.code() {
            SqlState::INVALID_CATALOG_NAME => "there is no such database",
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                "the server does not let this user in"
            }
            SqlState::TOO_MANY_CONNECTIONS => "the server has no connection left",
            SqlState::INSUFFICIENT_PRIVILEGE => "this user may not do that",
            SqlState::CANNOT_CONNECT_NOW => "the server is starting or stopping",
            _ => "the server refused",
        };
        return format!("{said}, SQLSTATE {}{about}", failed.code().code());
    }
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.unwrap_or_else(|| error.to_string())
}
