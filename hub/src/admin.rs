//! What people do at the hub: sites, tokens, staff, patients, status. The same commands arrive over the local socket
//! while the hub runs and straight from the command line while it does not; either way one function carries them out.

use std::net::SocketAddr;
use std::sync::Arc;

use clinic::value::Target;
use serde::{Deserialize, Serialize};
use sync_protocol::ScopeId;
use vault::Authority;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::db::Db;
use crate::exit::Failure;

mod patient;
mod site;
mod staff;
mod status;

pub use patient::{Edit, FoundPatient};
pub use status::{SiteStatus, Status};

/// What is asked. It may hold PHI or a passphrase, so it cannot be printed.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    SiteAdd {
        name: String,
        zone: String,
        rooms: Vec<String>,
        ehr: Option<String>,
    },
    Token {
        site: String,
        valid_hours: u32,
    },
    Revoke {
        agent: String,
    },
    StaffAdd {
        login: String,
        name: String,
        role: String,
        site: String,
        passphrase: Zeroizing<String>,
    },
    PatientEdit(Edit),
    PatientFind {
        text: String,
    },
    Status,
}

/// What is answered.
#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    Site {
        site: String,
        name: String,
    },
    Token {
        token: Zeroizing<String>,
        site: String,
        expires: String,
    },
    Revoked {
        agent: String,
    },
    Staff {
        staff: String,
    },
    Edited {
        patient: String,
        changes: Vec<String>,
    },
    Patients {
        patients: Vec<FoundPatient>,
    },
    Status(Status),
}

/// Carries out commands.
#[derive(Clone)]
pub struct Admin {
    db: Db,
    authority: Arc<Authority>,
    /// What tokens carry.
    address: Option<String>,
    /// How the EHR takes a new site's tasks, unless said otherwise.
    ehr: Target,
}

impl Admin {
    pub fn new(db: Db, authority: Arc<Authority>, config: &Config, listens: SocketAddr) -> Admin {
        let ehr = if config.ehr.is_some() {
            Target::Machine
        } else {
            Target::Person
        };
        Admin {
            db,
            authority,
            address: config.server.address(listens),
            ehr,
        }
    }

    pub async fn carry_out(&self, command: Command) -> Result<Reply, Failure> {
        match command {
            Command::SiteAdd { name, zone, rooms, ehr } => self.add_site(name, zone, rooms, ehr).await,
            Command::Token { site, valid_hours } => self.issue_token(&site, valid_hours).await,
            Command::Revoke { agent } => self.revoke(&agent).await,
            Command::StaffAdd {
                login,
                name,
                role,
                site,
                passphrase,
            } => self.add_staff(login, name, &role, &site, passphrase).await,
            Command::PatientEdit(edit) => self.edit_patient(edit).await,
            Command::PatientFind { text } => self.find_patients(&text).await,
            Command::Status => self.status().await,
        }
    }
}

/// Reads a site's id as people give it; whether there is such a site, the store says.
fn parse_site(text: &str) -> Result<ScopeId, Failure> {
    ScopeId::parse(text)
        .ok_or_else(|| Failure::failed(format!("\"{text}\" is not a site's id: see mainstay-hub status")))
}

fn no_such_site(site: ScopeId) -> Failure {
    Failure::failed(format!("there is no site {site}: see mainstay-hub status"))
}

fn iso(ms: u64) -> String {
    let timestamp = jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(i64::MAX));
    timestamp
        .unwrap_or(jiff::Timestamp::MAX)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
