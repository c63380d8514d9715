//! Table `[reference]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where files of reference data are looked for, and when.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A folder that is watched; its files are named after the sets: `providers.csv`, `icd-10-cm.txt`, `cvx.json`.
    pub folder: Option<PathBuf>,
    /// When the folder is looked through besides, "HH:MM" on the clock of `zone`; files that were refused are tried again.
    pub refresh_at: String,
    /// An IANA time zone.
    pub zone: String,
    /// A file is read when it has not changed for so long.
    pub settle_secs: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            folder: None,
            refresh_at: "03:30".to_owned(),
            zone: "UTC".to_owned(),
            settle_secs: 2,
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        self.time()
            .ok_or("refresh_at must be a time of day, such as \"03:30\"")?;
        jiff::tz::TimeZone::get(&self.zone).map_err(|_| "zone must be an IANA name, such as America/Chicago")?;
        if self.settle_secs == 0 {
            return Err("settle_secs must be at least 1".to_owned());
        }
        Ok(())
    }

    pub(super) fn time(&self) -> Option<jiff::civil::Time> {
        let (hour, minute) = self.refresh_at.split_once(':')?;
        jiff::civil::Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
    }
}
