//! The EHR as the rest of the hub sees it: where it is, and whether it was reached when last tried. Delivery itself is
//! the connectors'.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::watch;

/// Table `[ehr]`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The FHIR server's base address, such as `https://ehr.example/fhir`.
    pub base_url: String,
    /// How long one request may take before its outcome counts as unknown.
    pub attempt_timeout_secs: u64,
    /// The longest pause between two attempts.
    pub retry_backoff_max_secs: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            base_url: String::new(),
            attempt_timeout_secs: 20,
            retry_backoff_max_secs: 300,
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        if !self.base_url.starts_with("http://") && !self.base_url.starts_with("https://") {
            return Err("base_url must begin with http:// or https://".to_owned());
        }
        if self.attempt_timeout_secs == 0 || self.retry_backoff_max_secs == 0 {
            return Err("attempt_timeout_secs and retry_backoff_max_secs must be at least 1".to_owned());
        }
        Ok(())
    }
}

/// Whether the EHR is reached, as the connector last found: `None` while there is no machine to reach, or none was
/// tried yet. Clones share it.
#[derive(Clone)]
pub struct Reach(Arc<watch::Sender<Option<bool>>>);

impl Default for Reach {
    fn default() -> Reach {
        Reach(Arc::new(watch::Sender::new(None)))
    }
}

impl Reach {
    pub fn now(&self) -> Option<bool> {
        *self.0.borrow()
    }

    pub fn found(&self, reached: bool) {
        self.0.send_if_modified(|known| {
            let news = *known != Some(reached);
            *known = Some(reached);
            news
        });
    }
}
