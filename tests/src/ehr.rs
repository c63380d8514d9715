//! A real FHIR R4 server that nobody here wrote (`helios-hfs`), standing in for the EHR, on a data folder of its own.
//!
//! What Mainstay delivered is judged by searching it. Refuses to be shared: each test has its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{cache, process};

const READY_PATIENCE: Duration = Duration::from_secs(60);
const PORT_TRIES: u32 = 3;

pub struct Ehr {
    address: SocketAddr,
    child: Child,
    http: reqwest::Client,
    log: PathBuf,
}

/// A patient as the EHR already knows them.
#[derive(Clone, Copy, Debug)]
pub struct KnownPatient<'a> {
    pub family: &'a str,
    pub given: &'a str,
    /// ISO date.
    pub birth_date: &'a str,
    pub phone: Option<&'a str>,
    /// Assigning system and value.
    pub identifier: Option<(&'a str, &'a str)>,
}

impl Ehr {
    /// Whether `tests/prerequisites` has built it.
    pub fn is_installed() -> bool {
        cache::helios_binary().is_ok() && cache::helios_definitions().is_ok()
    }

    /// Starts an empty server that keeps its database and its log in `folder`, and waits until it answers.
    pub async fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let mut tries = 1;
        loop {
            match Self::start_once(folder).await {
                // Between choosing a free port and taking it, somebody else may have taken it.
                Err(_) if tries < PORT_TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn start_once(folder: &Path) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::free_port()?));
        let log = folder.join("ehr.log");
        let log_file = File::create(&log).with_context(|| format!("{} cannot be written", log.display()))?;
        let helios = cache::helios_binary()?;
        let mut command = match process::which("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(helios);
                command
            }
            None => Command::new(helios),
        };
        command
            .args(["--host", "127.0.0.1", "--log-level", "warn"])
            .envs([
                ("HFS_UI_ENABLED", "false"),
                ("HFS_SOF_ENABLED", "false"),
                ("HFS_SEED_CONFORMANCE", "false"),
            ])
            .args([
                "--port",
                &address.port().to_string(),
                "--base-url",
                &format!("http://{address}"),
            ])
            .arg("--database-url")
            .arg(folder.join("ehr.sqlite"))
            .arg("--data-dir")
            .arg(cache::helios_definitions()?)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .kill_on_drop(true);
        let child = command.spawn().context("the EHR did not start")?;
        let mut ehr = Self {
            address,
            child,
            http: crate::plain_http()?,
            log,
        };
        ehr.answers().await?;
        Ok(ehr)
    }

    async fn answers(&mut self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + READY_PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("the EHR ended with {status} before it answered; it said: {said}");
            }
            let asked = self
                .http
                .get(format!("{}/metadata", self.base_url()))
                .timeout(Duration::from_secs(5))
                .send()
                .await;
            if asked.is_ok_and(|reply| reply.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!(
            "the EHR did not answer within {READY_PATIENCE:?}; see {}",
            self.log.display()
        )
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Searches, such as `("Patient", &[("family", "Quiñones"), ("birthdate", "1990-08-19")])`; gives the matches.
    pub async fn search(&self, kind: &str, terms: &[(&str, &str)]) -> Result<Vec<Value>> {
        let asked = self
            .http
            .get(format!("{}/{kind}", self.base_url()))
            .query(terms)
            .query(&[("_count", "1000")]);
        let reply = asked.send().await.context("the EHR does not answer a search")?;
        let status = reply.status();
        let mut bundle: Value = reply.json().await?;
        ensure!(status.is_success(), "the EHR refused to search {kind}: {bundle}");
        let Some(entries) = bundle["entry"].as_array_mut() else {
            return Ok(Vec::new());
        };
        let matched = entries.iter_mut().filter(|entry| entry["search"]["mode"] != "outcome");
        Ok(matched.map(|entry| entry["resource"].take()).collect())
    }

    pub async fn patients_named(&self, family: &str, birth_date: &str) -> Result<Vec<Value>> {
        self.search("Patient", &[("family", family), ("birthdate", birth_date)])
            .await
    }

    pub async fn patients_with_identifier(&self, system: &str, value: &str) -> Result<Vec<Value>> {
        self.search("Patient", &[("identifier", &format!("{system}|{value}"))])
            .await
    }

    pub async fn encounters_of(&self, patient_id: &str) -> Result<Vec<Value>> {
        self.search("Encounter", &[("patient", &format!("Patient/{patient_id}"))])
            .await
    }

    /// Creates a resource as another system would; gives it as stored.
    pub async fn create(&self, resource: &Value) -> Result<Value> {
        let kind = resource["resourceType"]
            .as_str()
            .context("a resource without resourceType")?;
        let reply = self
            .http
            .post(format!("{}/{kind}", self.base_url()))
            .header("content-type", "application/fhir+json")
            .header("prefer", "return=representation")
            .body(resource.to_string())
            .send()
            .await?;
        let status = reply.status();
        let stored: Value = reply.json().await?;
        ensure!(status.is_success(), "the EHR refused to create the {kind}: {stored}");
        Ok(stored)
    }

    /// Puts a patient there before Mainstay has met them; gives the EHR's id.
    pub async fn already_knows(&self, patient: KnownPatient<'_>) -> Result<String> {
        let mut resource = json!({
            "resourceType": "Patient",
            "active": true,
            "name": [{"use": "official", "family": patient.family, "given": [patient.given]}],
            "birthDate": patient.birth_date,
        });
        if let Some(phone) = patient.phone {
            resource["telecom"] = json!([{"system": "phone", "value": phone}]);
        }
        if let Some((system, value)) = patient.identifier {
            resource["identifier"] = json!([{"system": system, "value": value}]);
        }
        let stored = self.create(&resource).await?;
        Ok(stored["id"].as_str().context("the EHR gave no id")?.to_owned())
    }

    /// Ends it; the database stays in the folder.
    pub async fn stop(&mut self) -> Result<()> {
        self.child.kill().await.context("the EHR could not be ended")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_ehr_finds_a_known_patient_by_name_birth_date_and_identifier() {
        let folder = tempfile::tempdir().unwrap();
        let ehr = Ehr::start(folder.path()).await.unwrap();
        let known = KnownPatient {
            family: "Quiñones-Whitfield",
            given: "Zoë",
            birth_date: "1990-08-19",
            phone: Some("+1 312 555 0142"),
            identifier: Some(("urn:example:mrn", "104882")),
        };

        let id = ehr.already_knows(known).await.unwrap();

        let named = ehr.patients_named("Quiñones-Whitfield", "1990-08-19").await.unwrap();
        let identified = ehr.patients_with_identifier("urn:example:mrn", "104882").await.unwrap();
        assert_eq!((named.len(), named[0]["id"].as_str()), (1, Some(id.as_str())));
        assert_eq!(identified, named);
        assert!(
            ehr.patients_named("Quiñones-Whitfield", "1990-08-18")
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test]
    async fn the_ehr_finds_encounters_by_patient_and_creates_one_only_once_per_identifier() {
        let folder = tempfile::tempdir().unwrap();
        let ehr = Ehr::start(folder.path()).await.unwrap();
        let known = KnownPatient {
            family: "Okafor",
            given: "Ade",
            birth_date: "2014-02-03",
            phone: None,
            identifier: None,
        };
        let patient = ehr.already_knows(known).await.unwrap();
        let encounter = json!({
            "resourceType": "Encounter",
            "identifier": [{"system": "urn:example:visit", "value": "v1"}],
            "status": "arrived",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": {"reference": format!("Patient/{patient}")},
        });

        let mut statuses = Vec::new();
        for _ in 0..2 {
            let asked = ehr.http.post(format!("{}/Encounter", ehr.base_url()));
            let asked = asked
                .header("content-type", "application/fhir+json")
                .body(encounter.to_string());
            let reply = asked
                .header("if-none-exist", "identifier=urn:example:visit|v1")
                .send()
                .await
                .unwrap();
            statuses.push(reply.status().as_u16());
        }

        assert_eq!(statuses, [201, 200]);
        assert_eq!(ehr.encounters_of(&patient).await.unwrap().len(), 1);
    }
}
