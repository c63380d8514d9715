//! The organisation's own record: written when a store is first used, named by people.

use clinic::catalogue::organisation;
use clinic::{Action, Channel, Writing};
use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubLedger;
use sync_protocol::{RecordId, ScopeId};

use super::site::named;
use super::{Admin, By};
use crate::db::{Db, Txn};
use crate::exit::Failure;

/// Until somebody names it.
const UNNAMED: &str = "Unnamed organisation";

/// What is asked about the organisation whose hub this is.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum OrganisationCommand {
    Show,
    Rename { name: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum OrganisationReply {
    Shown { organisation: String, name: String },
}

impl OrganisationCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            OrganisationCommand::Show => false,
            OrganisationCommand::Rename { .. } => true,
        }
    }
}

impl Admin {
    pub(super) async fn about_organisation(
        &self,
        by: By,
        command: OrganisationCommand,
    ) -> Result<OrganisationReply, Failure> {
        match command {
            OrganisationCommand::Show => self.show_organisation().await,
            OrganisationCommand::Rename { name } => {
                let name = named("the organisation's name", &name)?;
                self.db.write(move |txn| write_name(txn, by, &name)).await?;
                tracing::info!(by = %by, "the organisation was renamed");
                self.show_organisation().await
            }
        }
    }

    async fn show_organisation(&self) -> Result<OrganisationReply, Failure> {
        self.db
            .read(|txn| {
                let record = RecordId(txn.organisation().org);
                let name = txn.state(record)?.and_then(|state| organisation::NAME.value(&state));
                Ok::<_, Failure>(OrganisationReply::Shown {
                    organisation: record.to_string(),
                    name: name.unwrap_or_else(|| UNNAMED.to_owned()),
                })
            })
            .await
    }
}

/// Writes the organisation's record where there is none: in a new store, and in one from before there were such records.
pub async fn found(db: &Db) -> Result<(), Failure> {
    let record = RecordId(db.organisation().org);
    let there = db
        .read(move |txn| Ok::<_, Failure>(txn.state(record)?.is_some()))
        .await?;
    if there {
        return Ok(());
    }
    db.write(move |txn| {
        txn.lock(&[record.0])?;
        if txn.state(record)?.is_some() {
            return Ok::<_, Failure>(());
        }
        let now_ms = txn.now_ms() as i64;
        let draft = Writing::new(
            organisation::KIND,
            record,
            Action::Administer,
            Channel::Hub.program(),
            now_ms,
        )
        .set(organisation::NAME, &UNNAMED.to_owned());
        txn.author(&draft.done(), Some(ScopeId(record.0)))?;
        Ok(())
    })
    .await
}

fn write_name(txn: &mut Txn<'_>, by: By, name: &String) -> Result<(), Failure> {
    let record = RecordId(txn.organisation().org);
    txn.lock(&[record.0])?;
    let shown = txn.state(record)?.map(|state| state.shown(organisation::NAME.id));
    let now_ms = txn.now_ms() as i64;
    let draft = Writing::new(organisation::KIND, record, Action::Administer, by.actor(), now_ms).replace(
        organisation::NAME,
        name,
        &shown.unwrap_or_default(),
    );
    txn.author(&draft.done(), Some(ScopeId(record.0)))?;
    Ok(())
}
