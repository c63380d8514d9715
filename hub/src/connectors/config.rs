//! Table `[ehr]` of `hub.toml`: where the EHR is, and how it is treated. It refuses an address at which names would
//! travel in the clear.

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

/// Table `[ehr]`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The FHIR R4 server's base address, such as `https://ehr.example/fhir`. Without TLS only on this machine.
    pub base_url: String,
    /// How long one request may take before its outcome counts as unknown.
    pub attempt_timeout_secs: u64,
    /// How long a process of the hub keeps a patient to itself without a word. When one is killed or held up, another goes
    /// on with its patients after this time, by looking up what became of the attempt.
    pub lease_secs: u64,
    /// The longest pause between two attempts of one task.
    pub retry_backoff_max_secs: u64,
    /// Patients whose tasks are delivered side by side; the tasks of one patient go one after the other.
    pub parallel_patients: usize,
    /// The pace that the EHR's operator allows.
    pub requests_per_second_max: u32,
    /// After so many attempts that did not take effect a task is set aside for a person.
    pub attempts_max: u32,
    /// After so many requests in a row that the EHR did not serve, it is left in peace and only probed.
    pub breaker_failures: u32,
    /// A file whose first line is the bearer token; read again for every request, so that it can be replaced.
    pub token_file: Option<PathBuf>,
    /// How the EHR is read.
    pub inbound: super::inbound::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            base_url: String::new(),
            attempt_timeout_secs: 20,
            lease_secs: 30,
            retry_backoff_max_secs: 300,
            parallel_patients: 4,
            requests_per_second_max: 20,
            attempts_max: 12,
            breaker_failures: 5,
            token_file: None,
            inbound: super::inbound::Config::default(),
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        self.base()?;
        self.inbound.refuse_unsound()?;
        let limits = [
            ("attempt_timeout_secs", self.attempt_timeout_secs),
            ("retry_backoff_max_secs", self.retry_backoff_max_secs),
            ("parallel_patients", self.parallel_patients as u64),
            ("requests_per_second_max", u64::from(self.requests_per_second_max)),
            ("attempts_max", u64::from(self.attempts_max)),
            ("breaker_failures", u64::from(self.breaker_failures)),
        ];
        match limits.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name} must be at least 1")),
            None if self.lease_secs <= self.attempt_timeout_secs => {
                Err("lease_secs must be more than attempt_timeout_secs: a request must end before its lease".to_owned())
            }
            None => Ok(()),
        }
    }

    /// The base address with a slash at its end, so that paths can be joined to it.
    pub(super) fn base(&self) -> Result<Url, String> {
        let unreadable = |_| "base_url must be an address such as https://ehr.example/fhir".to_owned();
        let mut url = Url::parse(self.base_url.trim()).map_err(unreadable)?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if here => {}
            "http" => return Err("base_url must begin with https:// unless the EHR runs on this machine".to_owned()),
            _ => return Err("base_url must begin with http:// or https://".to_owned()),
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(
                "base_url must have no query, fragment or credentials: a token belongs in token_file".to_owned(),
            );
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base_url: &str) -> Config {
        Config {
            base_url: base_url.to_owned(),
            ..Config::default()
        }
    }

    #[test]
    fn an_address_gets_the_slash_that_paths_are_joined_to() {
        assert_eq!(
            at("https://ehr.example/fhir").base().unwrap().as_str(),
            "https://ehr.example/fhir/"
        );
        assert_eq!(at("http://[::1]:8080").base().unwrap().as_str(), "http://[::1]:8080/");
    }

    #[test]
    fn names_never_travel_in_the_clear() {
        for unsound in [
            "http://ehr.example/fhir",
            "http://10.0.0.7",
            "ftp://127.0.0.1",
            "ehr.example",
            "",
            "https://a:b@ehr.example",
        ] {
            assert!(
                at(unsound).refuse_unsound().unwrap_err().contains("base_url"),
                "{unsound}"
            );
        }
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_name() {
        let config = Config {
            parallel_patients: 0,
            ..at("http://127.0.0.1:1")
        };

        assert_eq!(
            config.refuse_unsound().unwrap_err(),
            "parallel_patients must be at least 1"
        );
    }
}
