//! What people do at the hub: sites, tokens, staff, patients, status. The same commands arrive over the local socket
//! while the hub runs, straight from the command line while it does not, and from the console's pages; one function
//! carries them out. Each part has commands and replies of its own.

use std::net::SocketAddr;

use clinic::value::Target;
use serde::{Deserialize, Serialize};
use sync_protocol::ScopeId;

use crate::config::Config;
use crate::db::Db;
use crate::exit::{Exit, Failure};
use crate::home::Keeping;
use crate::matching::Matcher;

mod accounts;
mod authority;
mod backup;
mod by;
mod colleague;
mod conflict;
mod credential;
mod factor;
mod known;
mod link;
mod message;
mod organisation;
mod patient;
mod policy;
mod quarantine;
mod reference;
mod site;
mod staff;
mod status;

pub use accounts::{ACCOUNT_PASSPHRASE_MIN_CHARS, AccountCommand, AccountReply, ListedAccount, NewAccount};
pub(crate) use accounts::{who_by_address, who_by_login};
pub use authority::{AuthorityCommand, AuthorityReply};
pub use backup::{BackupCommand, BackupReply};
pub use by::{AdminRole, By};
pub use conflict::{Conflict, ConflictCommand, ConflictDecision, ConflictReply, ConflictValue};
pub(crate) use credential::{NOBODYS_CREDENTIAL, verify};
pub(crate) use factor::Factor;
pub use known::{KnownAgent, KnownSite, SiteDetail};
pub use link::{Compared, MatchCommand, MatchReply, Pair, Person};
pub use message::{ListedMessage, MessageCommand, MessageReply};
pub use organisation::{OrganisationCommand, OrganisationReply, prepare};
pub use patient::{Edit, FoundPatient, PatientCommand, PatientReply};
pub use policy::{PolicyCommand, PolicyReply, ShownPolicy};
pub use quarantine::{ListedAside, QuarantineCommand, QuarantineReply};
pub use reference::{ReferenceCommand, ReferenceReply, ReferenceStatus, RefusedFile};
pub use site::{SiteChange, SiteCommand, SiteReply};
pub use staff::{ListedStaff, NewStaff, STAFF_PASSPHRASE_MIN_CHARS, StaffCommand, StaffReply};
pub use status::{InboundStatus, SiteStatus, Status};

/// What is asked. It may hold PHI or a passphrase, so it cannot be printed.
#[derive(Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case")]
pub enum Command {
    Organisation(OrganisationCommand),
    Site(SiteCommand),
    Staff(StaffCommand),
    Patient(PatientCommand),
    Policy(PolicyCommand),
    Reference(ReferenceCommand),
    Conflict(ConflictCommand),
    Quarantine(QuarantineCommand),
    Account(AccountCommand),
    Message(MessageCommand),
    Match(MatchCommand),
    Authority(AuthorityCommand),
    Backup(BackupCommand),
    Status,
}

/// What is asked, and of which organisation: the hub's first, unless another is named.
#[derive(Serialize, Deserialize)]
pub struct Asked {
    #[serde(default)]
    pub organisation: Option<String>,
    #[serde(flatten)]
    pub command: Command,
}

/// What is answered.
#[derive(Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case")]
pub enum Reply {
    Organisation(OrganisationReply),
    Site(SiteReply),
    Staff(StaffReply),
    Patient(PatientReply),
    Policy(PolicyReply),
    Reference(ReferenceReply),
    Conflict(ConflictReply),
    Quarantine(QuarantineReply),
    Account(AccountReply),
    Message(MessageReply),
    Match(MatchReply),
    Authority(AuthorityReply),
    Backup(BackupReply),
    Status(Box<Status>),
}

/// Carries out commands.
#[derive(Clone)]
pub struct Admin {
    db: Db,
    keeping: Keeping,
    /// What tokens carry.
    address: Option<String>,
    /// How the EHR takes a new site's tasks, unless said otherwise.
    ehr: Target,
    matcher: Matcher,
}

impl Command {
    /// Whether it changes anything; what does not, those may ask who only look.
    fn changes(&self) -> bool {
        match self {
            Command::Organisation(command) => command.changes(),
            Command::Site(command) => command.changes(),
            Command::Staff(command) => command.changes(),
            Command::Patient(command) => command.changes(),
            Command::Policy(command) => command.changes(),
            Command::Reference(command) => command.changes(),
            Command::Conflict(command) => command.changes(),
            Command::Quarantine(command) => command.changes(),
            Command::Account(command) => command.changes(),
            Command::Message(command) => command.changes(),
            Command::Match(command) => command.changes(),
            Command::Authority(command) => command.changes(),
            Command::Backup(BackupCommand::Confirmed { .. }) => true,
            Command::Status => false,
        }
    }
}

impl Admin {
    pub fn new(db: Db, keeping: Keeping, config: &Config, listens: SocketAddr) -> Admin {
        let ehr = if config.ehr.is_some() {
            Target::Machine
        } else {
            Target::Person
        };
        Admin {
            db,
            keeping,
            address: config.server.address(listens),
            ehr,
            // A table that is unsound was refused when the file was read.
            matcher: config.matching.matcher().unwrap_or_default(),
        }
    }

    pub async fn answer(&self, by: By, asked: Asked) -> Result<Reply, Failure> {
        let admin = self.of_organisation(asked.organisation.as_deref()).await?;
        admin.carry_out(by, asked.command).await
    }

    pub async fn carry_out(&self, by: By, command: Command) -> Result<Reply, Failure> {
        if command.changes() && !by.may_change() {
            return Err(Failure::new(
                Exit::NotAllowed,
                "this account may look and not change: ask an administrator",
            ));
        }
        Ok(match command {
            Command::Organisation(command) => Reply::Organisation(self.about_organisation(by, command).await?),
            Command::Site(command) => Reply::Site(self.about_sites(by, command).await?),
            Command::Staff(command) => Reply::Staff(self.about_staff(by, command).await?),
            Command::Patient(command) => Reply::Patient(self.about_patients(by, command).await?),
            Command::Policy(command) => Reply::Policy(self.about_policies(by, command).await?),
            Command::Reference(command) => Reply::Reference(self.about_references(command).await?),
            Command::Conflict(command) => Reply::Conflict(self.about_conflicts(by, command).await?),
            Command::Quarantine(command) => Reply::Quarantine(self.about_quarantine(command).await?),
            Command::Account(command) => Reply::Account(self.about_accounts(by, command).await?),
            Command::Message(command) => Reply::Message(self.about_messages(by, command).await?),
            Command::Match(command) => Reply::Match(self.about_matches(by, command).await?),
            Command::Authority(command) => Reply::Authority(self.about_authorities(by, command)?),
            Command::Backup(command) => Reply::Backup(self.about_backups(by, command).await?),
            Command::Status => Reply::Status(Box::new(self.status().await?)),
        })
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
