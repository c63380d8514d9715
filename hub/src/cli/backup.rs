//! `backup-confirmed`.

use clap::Args;

use crate::admin::{BackupCommand, BackupReply, Command};
use crate::exit::Failure;

#[derive(Args)]
pub(super) struct BackupArguments {
    /// When the backup began, such as 2026-11-21T02:00:00Z: what was committed before is in it.
    #[arg(long, value_name = "TIME")]
    until: jiff::Timestamp,
}

impl BackupArguments {
    pub(super) fn command(&self) -> Result<Command, Failure> {
        let until_ms = u64::try_from(self.until.as_millisecond())
            .map_err(|_| Failure::failed("a backup cannot have begun before 1970: correct --until"))?;
        Ok(Command::Backup(BackupCommand::Confirmed { until_ms }))
    }
}

pub(super) fn text(reply: &BackupReply) -> String {
    match reply {
        BackupReply::Confirmed { until } => format!("backups cover everything until {until}"),
    }
}
