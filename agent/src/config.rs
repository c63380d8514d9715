//! Settings: one struct per part, composed here. Every setting has a default, so an empty file is a whole one. What a file
//! says wrong is told with file, line and remedy, and nothing is started.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sync_protocol::Lane;
use sync_protocol::replica::FreezeLimits;

use crate::hub_client::ProxyWay;

#[derive(Clone, PartialEq, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub page: PageConfig,
    pub mllp: MllpConfig,
    pub sync: SyncConfig,
    pub jobs: JobsConfig,
    pub log: LogConfig,
}

/// The local page.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PageConfig {
    /// Where the page is served; a loopback address, since anything else would need TLS.
    pub listen: SocketAddr,
    /// Largest form, in bytes.
    pub form_max_bytes: usize,
    /// Event streams that may be open at once.
    pub streams_max: usize,
}

impl Default for PageConfig {
    fn default() -> PageConfig {
        PageConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7780)),
            form_max_bytes: 65_536,
            streams_max: 64,
        }
    }
}

/// HL7 v2 over MLLP.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MllpConfig {
    /// Where messages are taken in; a loopback address or one of the clinic's own network.
    pub listen: SocketAddr,
    /// Largest message, in bytes.
    pub message_max_bytes: usize,
    /// Connections that may be open at once.
    pub connections_max: usize,
    /// A connection on which nothing comes for so long is closed.
    pub idle_secs: u64,
}

impl Default for MllpConfig {
    fn default() -> MllpConfig {
        MllpConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 2575)),
            message_max_bytes: 1_048_576,
            connections_max: 64,
            idle_secs: 3_600,
        }
    }
}

/// Once unpacked at the hub, a push and all around it have room in what a body may unpack to.
const PUSH_MOST_BYTES: usize = sync_protocol::wire::UNPACKED_MAX_BYTES / 2;

/// The line to the hub.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyncConfig {
    /// How often the line is probed while a page is open.
    pub probe_secs: u64,
    /// How often it is probed while none is.
    pub probe_idle_secs: u64,
    /// An answer to a probe that takes longer counts as no answer.
    pub probe_timeout_ms: u64,
    /// An answer that takes longer counts as slow.
    pub slow_ms: u64,
    /// Until a request that is not answered counts as lost.
    pub request_timeout_secs: u64,
    /// How long the hub may hold a question that it has nothing to say to.
    pub long_poll_secs: u64,
    /// Largest run of changes in one push, in bytes before compression.
    pub push_max_bytes: usize,
    /// Largest answer to one pull, in bytes before compression.
    pub pull_max_bytes: u64,
    /// Of that, what each lane has to itself while something of it waits; the rest goes to the higher lanes first.
    pub pull_lane_bytes: LaneBytes,
    /// A lane that is new here and has at least so many sequences waiting at the hub is filled from a snapshot.
    pub snapshot_rows_min: u64,
    /// A lane is held back when what waits would remove or alter more than this share of the records that it holds here.
    pub freeze_share_percent: u64,
    /// Fewer records than this never hold a lane back.
    pub freeze_records_min: u64,
    /// Tries are repeated after a random time up to this.
    pub backoff_max_secs: u64,
    /// The CONNECT proxy through which the hub is reached, such as "http://proxy.clinic.example:3128". Empty: none.
    pub proxy: String,
    /// A file that nobody else may read, whose first line is the proxy's `user:password`. Empty: the proxy wants none.
    pub proxy_credentials_file: PathBuf,
}

/// Bytes for each lane, the highest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LaneBytes {
    pub safety: u64,
    pub flow: u64,
    pub schedule: u64,
    pub reference: u64,
}

impl Default for LaneBytes {
    fn default() -> LaneBytes {
        LaneBytes {
            safety: 32 * 1024,
            flow: 32 * 1024,
            schedule: 16 * 1024,
            reference: 16 * 1024,
        }
    }
}

impl LaneBytes {
    pub fn budgets(&self) -> BTreeMap<Lane, u64> {
        let bytes = [self.safety, self.flow, self.schedule, self.reference];
        Lane::ALL.into_iter().zip(bytes).collect()
    }
}

impl Default for SyncConfig {
    fn default() -> SyncConfig {
        SyncConfig {
            probe_secs: 2,
            probe_idle_secs: 15,
            probe_timeout_ms: 2_000,
            slow_ms: 1_000,
            request_timeout_secs: 20,
            long_poll_secs: 25,
            push_max_bytes: 512 * 1024,
            pull_max_bytes: 128 * 1024,
            pull_lane_bytes: LaneBytes::default(),
            snapshot_rows_min: 5_000,
            freeze_share_percent: 30,
            freeze_records_min: 50,
            backoff_max_secs: 15,
            proxy: String::new(),
            proxy_credentials_file: PathBuf::new(),
        }
    }
}

impl SyncConfig {
    pub fn freeze_limits(&self) -> FreezeLimits {
        FreezeLimits {
            share_percent: self.freeze_share_percent,
            records_min: self.freeze_records_min,
        }
    }

    /// A request that is not answered by then counts as lost.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_secs)
    }

    pub fn long_poll(&self) -> Duration {
        Duration::from_secs(self.long_poll_secs)
    }

    /// The way through the proxy, with what the file of credentials says now.
    pub fn proxy_way(&self) -> Result<Option<ProxyWay>, String> {
        if self.proxy.is_empty() {
            return Ok(None);
        }
        let mut way = ProxyWay {
            url: self.proxy.clone(),
            credentials: None,
        };
        if !self.proxy_credentials_file.as_os_str().is_empty() {
            let file = self.proxy_credentials_file.display();
            let bytes = vault::private_file::read_private(&self.proxy_credentials_file)
                .map_err(|error| format!("`sync.proxy_credentials_file`: {error}"))?;
            let bytes = zeroize::Zeroizing::new(bytes);
            let line = std::str::from_utf8(&bytes).ok().and_then(|text| text.lines().next());
            let line = line.map(str::trim).filter(|line| line.contains(':'));
            let line = line.ok_or_else(|| format!("{file}: the first line must be user:password"))?;
            way.credentials = Some(Arc::new(zeroize::Zeroizing::new(line.to_owned())));
        }
        Ok(Some(way))
    }

    fn check_proxy(&self) -> Result<(), String> {
        let has_file = !self.proxy_credentials_file.as_os_str().is_empty();
        match self.proxy.as_str() {
            "" if has_file => Err("`sync.proxy_credentials_file` needs `sync.proxy`".to_owned()),
            "" => Ok(()),
            url if !url.starts_with("http://") => {
                Err("`sync.proxy` must begin with http://, as in \"http://proxy.clinic.example:3128\"".to_owned())
            }
            url if url.contains('@') => Err(
                "`sync.proxy` must not hold a user name or password: put them into a file and name it by \
                 `sync.proxy_credentials_file`"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

/// Work that is done by the clock.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// When the proof of agreement is recomputed from the rows, in the site's own time, "HH:MM".
    #[schemars(with = "String")]
    pub recompute_roots_at: TimeOfDay,
}

impl Default for JobsConfig {
    fn default() -> JobsConfig {
        JobsConfig {
            recompute_roots_at: TimeOfDay { hour: 2, minute: 30 },
        }
    }
}

/// A time of day on the site's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    pub hour: i8,
    pub minute: i8,
}

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<TimeOfDay, String> {
        let parts = text
            .split_once(':')
            .and_then(|(h, m)| Some((h.parse::<i8>().ok()?, m.parse::<i8>().ok()?)));
        match parts {
            Some((hour @ 0..=23, minute @ 0..=59)) => Ok(TimeOfDay { hour, minute }),
            _ => Err(format!("`{text}` is not a time of day; write it as \"02:30\"")),
        }
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> String {
        format!("{:02}:{:02}", time.hour, time.minute)
    }
}

/// The log: JSON lines, a file a day.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// error, warn, info, debug or trace.
    pub level: LogLevel,
    /// Daily files that are kept.
    pub keep_files: usize,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            level: LogLevel::Info,
            keep_files: 30,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{} cannot be read: {reason}; correct its permissions, or remove it to run on the defaults", .file.display())]
    Unreadable { file: PathBuf, reason: String },
    #[error("{}{}: {what}; correct it, `mainstay-agent check-config` tells whether it is right", .file.display(), on_line(.line))]
    Wrong {
        file: PathBuf,
        line: Option<usize>,
        what: String,
    },
}

fn on_line(line: &Option<usize>) -> String {
    line.map(|line| format!(", line {line}")).unwrap_or_default()
}

/// Reads the file; a missing one is an empty one.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => {
            return Err(ConfigError::Unreadable {
                file: file.to_owned(),
                reason: error.to_string(),
            });
        }
    };
    parse(file, &text)
}

fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let config: Config = toml::from_str(text).map_err(|error| ConfigError::Wrong {
        file: file.to_owned(),
        line: error.span().map(|span| text[..span.start].matches('\n').count() + 1),
        what: error.message().replace('\n', " "),
    })?;
    config.check().map_err(|what| ConfigError::Wrong {
        file: file.to_owned(),
        line: None,
        what,
    })?;
    Ok(config)
}

impl Config {
    fn check(&self) -> Result<(), String> {
        if !self.page.listen.ip().is_loopback() {
            return Err(format!(
                "`page.listen` is {}, but without TLS the page is served on loopback only",
                self.page.listen
            ));
        }
        let positive = [
            ("page.form_max_bytes", self.page.form_max_bytes as u64),
            ("page.streams_max", self.page.streams_max as u64),
            ("mllp.message_max_bytes", self.mllp.message_max_bytes as u64),
            ("mllp.connections_max", self.mllp.connections_max as u64),
            ("mllp.idle_secs", self.mllp.idle_secs),
            ("sync.probe_secs", self.sync.probe_secs),
            ("sync.probe_idle_secs", self.sync.probe_idle_secs),
            ("sync.probe_timeout_ms", self.sync.probe_timeout_ms),
            ("sync.request_timeout_secs", self.sync.request_timeout_secs),
            ("sync.pull_max_bytes", self.sync.pull_max_bytes),
            ("sync.snapshot_rows_min", self.sync.snapshot_rows_min),
            ("sync.freeze_share_percent", self.sync.freeze_share_percent),
            ("sync.freeze_records_min", self.sync.freeze_records_min),
            ("sync.backoff_max_secs", self.sync.backoff_max_secs),
            ("log.keep_files", self.log.keep_files as u64),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("`{name}` must be more than 0"));
        }
        self.sync.check_proxy()?;
        let kept = self.sync.pull_lane_bytes.budgets().into_values();
        if kept.fold(0u64, u64::saturating_add) > self.sync.pull_max_bytes {
            return Err("the lanes of `sync.pull_lane_bytes` together may be at most `sync.pull_max_bytes`".to_owned());
        }
        if self.sync.push_max_bytes < sync_protocol::CHANGE_MAX_BYTES {
            return Err(format!(
                "`sync.push_max_bytes` must hold one change: at least {}",
                sync_protocol::CHANGE_MAX_BYTES
            ));
        }
        if self.sync.push_max_bytes > PUSH_MOST_BYTES {
            return Err(format!("`sync.push_max_bytes` may be at most {PUSH_MOST_BYTES}"));
        }
        Ok(())
    }

    /// Settings that differ from `new` and hold only from the next start.
    pub fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let mut settings = Vec::new();
        if self.page != new.page {
            settings.push("page");
        }
        if self.mllp != new.mllp {
            settings.push("mllp");
        }
        if (&self.sync.proxy, &self.sync.proxy_credentials_file) != (&new.sync.proxy, &new.sync.proxy_credentials_file)
        {
            settings.push("sync.proxy");
        }
        if self.jobs != new.jobs {
            settings.push("jobs");
        }
        if self.log.keep_files != new.log.keep_files {
            settings.push("log.keep_files");
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("agent.toml"), text).unwrap_err().to_string()
    }

    const SHIPPED: &str = include_str!("../../config/agent.toml");

    #[test]
    fn the_file_that_ships_is_the_defaults() {
        let with_every_setting: String = SHIPPED
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n")
            .collect();

        assert_eq!(parse(Path::new("agent.toml"), SHIPPED).unwrap(), Config::default());
        let shipped: toml::Table = with_every_setting.parse().unwrap();
        assert_eq!(shipped, toml::Table::try_from(Config::default()).unwrap());
    }

    #[test]
    fn every_setting_in_the_file_that_ships_has_words() {
        let lines: Vec<&str> = SHIPPED.lines().collect();
        let settings = lines.iter().enumerate().filter(|(_, line)| line.starts_with("#: "));
        for (at, setting) in settings {
            let above = lines[..at].iter().rev().find(|line| !line.starts_with("#: "));
            assert!(above.is_some_and(|line| line.starts_with("# ")), "{setting}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let unknown = error("[page]\nlisten = \"127.0.0.1:80\"\ncolour = 1\n");
        assert!(
            unknown.contains("agent.toml, line 3") && unknown.contains("colour"),
            "{unknown}"
        );
        let outside = error("[page]\nlisten = \"0.0.0.0:80\"\n");
        assert!(
            outside.contains("page.listen") && outside.contains("loopback"),
            "{outside}"
        );
        let scheme = error("[sync]\nproxy = \"proxy:3128\"\n");
        assert!(scheme.contains("sync.proxy") && scheme.contains("http://"), "{scheme}");
        let secret = error("[sync]\nproxy = \"http://user:password@proxy:3128\"\n");
        assert!(
            secret.contains("proxy_credentials_file") && !secret.contains("user:password"),
            "{secret}"
        );
        let time = error("[jobs]\nrecompute_roots_at = \"25:00\"\n");
        assert!(time.contains("line 2") && time.contains("02:30"), "{time}");
    }
}
