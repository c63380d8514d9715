//! Logs: one JSON line per entry in `HOME/logs`, a file a day. An entry names ids, counts and codes; nothing that says
//! something of a patient has a form that could be written here.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::Failure;

/// Table `[log]`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Days, one file each, that are kept.
    pub keep_days: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            level: "info".to_owned(),
            keep_days: 30,
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        if !["error", "warn", "info", "debug", "trace"].contains(&self.level.as_str()) {
            return Err("level must be error, warn, info, debug or trace".to_owned());
        }
        if self.keep_days == 0 {
            return Err("keep_days must be at least 1".to_owned());
        }
        Ok(())
    }
}

/// Starts logging to the folder; what is returned writes out the rest when it is dropped.
pub fn start(folder: &Path, config: &Config) -> Result<WorkerGuard, Failure> {
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("hub")
        .filename_suffix("jsonl")
        .max_log_files(config.keep_days)
        .build(folder)
        .map_err(|error| Failure::failed(format!("logs cannot be written to {}: {error}", folder.display())))?;
    let (writer, guard) = tracing_appender::non_blocking(appender);
    let level = &config.level;
    // What other crates would say of a request is not ours to vouch for: only their warnings are kept.
    let filter = EnvFilter::new(format!("warn,mainstay_hub={level}"));
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(writer);
    tracing_subscriber::registry()
        .with(filter)
        .with(json)
        .try_init()
        .map_err(|error| Failure::failed(format!("logging was started twice: {error}")))?;
    Ok(guard)
}
