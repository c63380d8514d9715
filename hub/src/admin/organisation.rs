//! The organisations of this hub, each with its own record: one is there from the start, others are added. Nothing that
//! is asked of one reaches another.

use clinic::catalogue::organisation;
use clinic::{Action, Channel, Writing};
use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubLedger;
use sync_protocol::{RecordId, ScopeId};

use super::site::named;
use super::{Admin, By, colleague};
use crate::db::{Db, Txn};
use crate::exit::Failure;

/// Records that one transaction indexes anew.
const INDEXED_AT_ONCE: usize = 500;

/// Until somebody names it.
const UNNAMED: &str = "Unnamed organisation";

/// What is asked about the organisation whose hub this is.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum OrganisationCommand {
    List,
    Add { name: String },
    Show,
    Rename { name: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum OrganisationReply {
    Shown { organisation: String, name: String },
    Added { organisation: String, name: String },
    List { organisations: Vec<ListedOrganisation> },
}

#[derive(Serialize, Deserialize)]
pub struct ListedOrganisation {
    pub organisation: String,
    pub name: String,
    pub sites: u64,
}

impl OrganisationCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            OrganisationCommand::List | OrganisationCommand::Show => false,
            OrganisationCommand::Add { .. } | OrganisationCommand::Rename { .. } => true,
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
            OrganisationCommand::List => self.list_organisations().await,
            OrganisationCommand::Add { name } => self.add_organisation(by, &name).await,
            OrganisationCommand::Show => self.show_organisation().await,
            OrganisationCommand::Rename { name } => {
                let name = named("the organisation's name", &name)?;
                self.db.write(move |txn| write_name(txn, by, &name)).await?;
                tracing::info!(by = %by, "the organisation was renamed");
                self.show_organisation().await
            }
        }
    }

    /// This administration as another organisation of the hub has it.
    pub async fn of_organisation(&self, id: Option<&str>) -> Result<Admin, Failure> {
        let Some(id) = id else { return Ok(self.clone()) };
        let record = RecordId::parse(id).ok_or_else(|| no_such_organisation(id))?;
        // Another process may have founded it since.
        self.db.organisations().await?;
        let db = self.db.of(record.0).ok_or_else(|| no_such_organisation(id))?;
        Ok(Admin { db, ..self.clone() })
    }

    async fn list_organisations(&self) -> Result<OrganisationReply, Failure> {
        let mut organisations = Vec::new();
        for known in self.db.organisations().await? {
            let Some(db) = self.db.of(known.org) else { continue };
            let listed = db.read(|txn| {
                Ok::<_, Failure>(ListedOrganisation {
                    organisation: RecordId(txn.organisation().org).to_string(),
                    name: name_of(txn)?,
                    sites: txn.sites()?.len() as u64,
                })
            });
            organisations.push(listed.await?);
        }
        Ok(OrganisationReply::List { organisations })
    }

    async fn add_organisation(&self, by: By, name: &str) -> Result<OrganisationReply, Failure> {
        let name = named("the organisation's name", name)?;
        if let OrganisationReply::List { organisations } = self.list_organisations().await?
            && let Some(known) = organisations.iter().find(|known| known.name == name)
        {
            let text = format!("there is an organisation \"{name}\" already: {}", known.organisation);
            return Err(Failure::failed(text));
        }
        let db = self.db.found_organisation().await?;
        found(&db).await?;
        let told = name.clone();
        db.write(move |txn| write_name(txn, by, &told)).await?;
        let organisation = RecordId(db.organisation().org).to_string();
        tracing::info!(%organisation, by = %by, "an organisation was added");
        Ok(OrganisationReply::Added { organisation, name })
    }

    async fn show_organisation(&self) -> Result<OrganisationReply, Failure> {
        self.db
            .read(|txn| {
                Ok::<_, Failure>(OrganisationReply::Shown {
                    organisation: RecordId(txn.organisation().org).to_string(),
                    name: name_of(txn)?,
                })
            })
            .await
    }
}

fn name_of(txn: &mut Txn<'_>) -> Result<String, Failure> {
    let state = txn.state(RecordId(txn.organisation().org))?;
    let name = state.and_then(|state| organisation::NAME.value(&state));
    Ok(name.unwrap_or_else(|| UNNAMED.to_owned()))
}

fn no_such_organisation(id: &str) -> Failure {
    Failure::failed(format!(
        "there is no organisation \"{id}\": see mainstay-hub organisation list"
    ))
}

/// Makes every organisation's store whole: what a new one, or one of an earlier version, still lacks.
pub async fn prepare(db: &Db) -> Result<(), Failure> {
    for known in db.organisations().await? {
        let Some(of) = db.of(known.org) else { continue };
        take_up_catalogue(&of).await?;
        found(&of).await?;
        colleague::say_missing(&of).await?;
    }
    Ok(())
}

/// What another version of the catalogue asks for: an index of all records, and another try for what is set aside.
async fn take_up_catalogue(db: &Db) -> Result<(), Failure> {
    let now = clinic::catalogue::VERSION;
    if db.read(|txn| txn.catalogue_tried()).await? == now {
        return Ok(());
    }
    let mut after = RecordId([0; 16]);
    let mut batch = 0;
    while let Some(last) = db.write(move |txn| txn.index_anew(after, INDEXED_AT_ONCE)).await? {
        after = last;
        batch += 1;
        tracing::info!(batch, "the records are indexed anew for this version");
    }
    let released = db.write(move |txn| txn.retry_set_aside(now)).await?;
    if released > 0 {
        tracing::info!(released, "changes that were set aside can be used by this version");
    }
    Ok(())
}

/// Writes the organisation's record where there is none: in a new store, and in one from before there were such records.
async fn found(db: &Db) -> Result<(), Failure> {
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
