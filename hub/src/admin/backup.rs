//! That a backup of the store is safe: whoever runs the hub says until when it covers. Sites then let go of what they kept
//! for a hub that might have to be put back.

use serde::{Deserialize, Serialize};

use super::{Admin, By, iso};
use crate::exit::Failure;

/// What is said of a backup.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum BackupCommand {
    /// Everything that was committed until this time is in a backup that can be put back.
    Confirmed { until_ms: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum BackupReply {
    Confirmed { until: String },
}

impl Admin {
    pub(super) async fn about_backups(&self, by: By, command: BackupCommand) -> Result<BackupReply, Failure> {
        let BackupCommand::Confirmed { until_ms } = command;
        let until = self
            .db
            .write(move |txn| Ok::<_, Failure>(txn.confirm_backup(until_ms)?))
            .await?;
        let until = iso(until);
        tracing::info!(by = %by, %until, "a backup was confirmed");
        Ok(BackupReply::Confirmed { until })
    }
}
