//! How the program ends: one code for each reason that a script or a person would act on differently. A number means the
//! same of hub and agent; 8 to 11 are the agent's alone.

use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubError;
use vault::key_file::KeyFileError;
use vault::private_file::PrivateFileError;
use vault::sqlite::OpenError;

use crate::db::DbError;

/// The exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    Config = 3,
    AlreadyRunning = 4,
    PortTaken = 5,
    StoreNotOpened = 6,
    NoSpace = 7,
    NotRunning = 12,
    /// Only at the console: the account's role does not allow it.
    NotAllowed = 13,
    StoreAway = 14,
}

/// Why the program ends, and what to do about it. The message holds nothing of a patient.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
        }
    }

    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, message)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Failure {
        let exit = match &error {
            DbError::Open(open) => exit_of_open(open),
            DbError::Newer { .. }
            | DbError::Migration(_)
            | DbError::Damaged { .. }
            | DbError::OtherKey
            | DbError::Mark(_)
            | DbError::Empty => Exit::StoreNotOpened,
            DbError::Settings(_) => Exit::Config,
            DbError::NoSpace => Exit::NoSpace,
            DbError::Away { .. } | DbError::Conflict { .. } | DbError::GoneBack | DbError::Unknown => Exit::StoreAway,
            DbError::Refused { .. } | DbError::Sqlite(_) | DbError::Panicked | DbError::Closed | DbError::Random => {
                Exit::Failed
            }
        };
        Failure::new(exit, error.to_string())
    }
}

fn exit_of_open(error: &OpenError) -> Exit {
    match error {
        OpenError::NoSpace { .. } => Exit::NoSpace,
        OpenError::Missing { .. }
        | OpenError::Exists { .. }
        | OpenError::NotEncrypted { .. }
        | OpenError::WrongKeyOrDamaged { .. }
        | OpenError::Busy { .. }
        | OpenError::NotPermitted { .. }
        | OpenError::Io { .. } => Exit::StoreNotOpened,
        OpenError::Random(_) => Exit::Failed,
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Failure {
        let exit = match &error {
            KeyFileError::File(PrivateFileError::NoSpace { .. }) => Exit::NoSpace,
            KeyFileError::File(_)
            | KeyFileError::Truncated { .. }
            | KeyFileError::Mistyped { .. }
            | KeyFileError::WrongFormat { .. }
            | KeyFileError::NewerFormat { .. }
            | KeyFileError::InsideData { .. } => Exit::StoreNotOpened,
            KeyFileError::Random(_) => Exit::Failed,
        };
        Failure::new(exit, error.to_string())
    }
}

impl From<PrivateFileError> for Failure {
    fn from(error: PrivateFileError) -> Failure {
        Failure::from(KeyFileError::File(error))
    }
}

impl From<HubError<DbError>> for Failure {
    fn from(error: HubError<DbError>) -> Failure {
        match error {
            HubError::Ledger(error) => error.into(),
            HubError::Refused(reason) => Failure::failed(format!(
                "the change is refused: {}",
                clinic::catalogue::describe_reason(reason)
            )),
            HubError::Damaged(_) => Failure::new(Exit::StoreNotOpened, error.to_string()),
            HubError::ForeignReplica
            | HubError::OtherEpoch
            | HubError::GoneBack
            | HubError::ForeignScope
            | HubError::TooLarge { .. } => Failure::failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_both_tables_for_people() {
        let ours = include_str!("../README.md");
        let of_both = include_str!("../../README.md");
        for exit in [
            Exit::Failed,
            Exit::Usage,
            Exit::Config,
            Exit::AlreadyRunning,
            Exit::PortTaken,
            Exit::StoreNotOpened,
            Exit::NoSpace,
            Exit::NotRunning,
            Exit::NotAllowed,
            Exit::StoreAway,
        ] {
            let row = format!("\n| {} | ", exit as u8);
            assert!(ours.contains(&row) && of_both.contains(&row), "{exit:?}");
        }
    }
}
