//! The log: JSON lines in a file a day, and short lines on standard error. What is logged carries no PHI, by type: the
//! types that hold any do not print.

use std::io::IsTerminal;
use std::path::Path;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{LogConfig, LogLevel};

/// Keeps the log being written; the last lines are flushed when it goes.
pub struct Log {
    _flush: WorkerGuard,
    level: reload::Handle<Targets, Registry>,
}

/// Begins the log. Called once, before anything is logged.
pub fn begin(folder: &Path, config: &LogConfig) -> Result<Log, String> {
    let appender = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix("agent")
        .filename_suffix("log")
        .max_log_files(config.keep_files)
        .build(folder)
        .map_err(|error| format!("the log folder {}: {error}", folder.display()))?;
    let (lines, flush) = tracing_appender::non_blocking(appender);
    let (filter, level) = reload::Layer::new(filter_of(config.level));
    let file = fmt::layer().json().with_writer(lines).with_current_span(false);
    let console = fmt::layer()
        .compact()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(file)
        .with(console.with_filter(LevelFilter::WARN))
        .try_init()
        .map_err(|error| error.to_string())?;
    Ok(Log { _flush: flush, level })
}

impl Log {
    pub fn set_level(&self, level: LogLevel) {
        if self.level.reload(filter_of(level)).is_err() {
            tracing::warn!("the log level could not be changed");
        }
    }
}

/// Other crates may quote what they were sent when they are asked for more than warnings; that is not ours to vouch for.
fn filter_of(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("mainstay_agent", ours)
}
