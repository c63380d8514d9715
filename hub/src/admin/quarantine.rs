//! Changes that are set aside: whose, of what kind, why, since when. Nothing of what they say is shown.

use serde::{Deserialize, Serialize};

use super::{Admin, iso};
use crate::db::SetAside;
use crate::exit::Failure;

/// The newest that a list shows; how many there are in all is said beside them.
const LISTED_MAX: usize = 500;

#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum QuarantineCommand {
    List,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum QuarantineReply {
    List { all: u64, changes: Vec<ListedAside> },
}

#[derive(Serialize, Deserialize)]
pub struct ListedAside {
    pub site: String,
    pub site_name: Option<String>,
    /// The agent's incarnation that wrote it, and its place in that one's chain.
    pub replica: String,
    pub counter: u64,
    /// Absent when the change could not be read at all.
    pub change: Option<String>,
    pub kind: Option<String>,
    pub reason_code: u16,
    pub reason: String,
    pub received: String,
}

impl QuarantineCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            QuarantineCommand::List => false,
        }
    }
}

impl Admin {
    pub(super) async fn about_quarantine(&self, command: QuarantineCommand) -> Result<QuarantineReply, Failure> {
        match command {
            QuarantineCommand::List => {
                self.db
                    .read(|txn| {
                        let (aside, all) = txn.list_set_aside(LISTED_MAX)?;
                        let sites = txn.sites()?;
                        let name = |one: &SetAside| {
                            let site = sites.iter().find(|site| site.scope == one.scope);
                            site.map(|site| site.name.clone())
                        };
                        Ok::<_, Failure>(QuarantineReply::List {
                            all,
                            changes: aside.iter().map(|one| ListedAside::of(one, name(one))).collect(),
                        })
                    })
                    .await
            }
        }
    }
}

impl ListedAside {
    fn of(one: &SetAside, site_name: Option<String>) -> ListedAside {
        let kind = one.kind.map(|id| match clinic::catalogue::kind(id) {
            Some(kind) => kind.name.replace('_', " "),
            None => format!("kind {} of a newer version", id.0),
        });
        ListedAside {
            site: one.scope.to_string(),
            site_name,
            replica: one.dot.replica.to_string(),
            counter: one.dot.counter,
            change: one.change.map(|change| change.to_string()),
            kind,
            reason_code: one.reason,
            reason: clinic::catalogue::describe_reason(one.reason).to_owned(),
            received: iso(one.received_ms),
        }
    }
}
