//! The hub's local socket, spoken to as its command line does, and kept open: a thousand sites are added without starting
//! a program three thousand times.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sync_protocol::RecordId;

/// A hub process that was stopped in the middle of a command is not waited for any longer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Clones share the connections.
#[derive(Clone)]
pub struct HubSocket {
    client: reqwest::Client,
    organisation: Option<String>,
}

impl HubSocket {
    /// The socket of a hub that runs on this home folder.
    pub fn of(home: &Path) -> Result<HubSocket> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .unix_socket(home.join("data/hub.sock"))
            .timeout(TIMEOUT)
            .build()
            .context("no client for the local socket")?;
        Ok(HubSocket {
            client,
            organisation: None,
        })
    }

    /// Asks about another organisation than the hub's first.
    pub fn of_organisation(mut self, id: &str) -> HubSocket {
        self.organisation = Some(id.to_owned());
        self
    }

    /// Carries out one command, which is what the hub's verbs are made into.
    pub async fn ask(&self, command: &Value) -> Result<Value> {
        let mut command = command.clone();
        if let Some(id) = &self.organisation {
            command["organisation"] = json!(id);
        }
        let asked = self.client.post("http://localhost/command").json(&command).send();
        let answer: Value = asked.await.context("the local socket")?.json().await?;
        match answer.get("Done") {
            Some(done) => Ok(done.clone()),
            None => bail!("the hub refused {}: {answer}", command["about"]),
        }
    }

    /// A site's id.
    pub async fn add_site(&self, name: &str) -> Result<String> {
        let command = json!({
            "about": "site", "command": "add", "name": name, "zone": "America/Chicago", "rooms": [], "ehr": "person"
        });
        let added = self.ask(&command).await?;
        Ok(added["site"].as_str().context("the hub named no site")?.to_owned())
    }

    pub async fn token(&self, site: &str) -> Result<String> {
        let command = json!({ "about": "site", "command": "token", "site": site, "valid_hours": 1 });
        let issued = self.ask(&command).await?;
        Ok(issued["token"].as_str().context("the hub gave no token")?.to_owned())
    }

    /// Notes an allergy and a telephone number at the hub.
    pub async fn edit_patient(&self, patient: RecordId, substance: &str, phone: &str) -> Result<()> {
        let command = json!({
            "about": "patient", "command": "edit", "patient": patient.to_string(), "add_allergy": substance, "phone": phone
        });
        self.ask(&command).await.map(|_| ())
    }

    pub async fn status(&self) -> Result<Value> {
        self.ask(&json!({ "about": "status" })).await
    }
}
