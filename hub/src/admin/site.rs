//! Adding a site, and the token by which its agent enrols.

use clinic::catalogue::{room, site};
use clinic::value::Target;
use clinic::{Action, Writing};
use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubLedger;
use sync_protocol::{RecordId, ScopeId};
use vault::EnrolmentToken;
use zeroize::Zeroizing;

use super::known::{KnownSite, SiteDetail};
use super::{Admin, By, colleague, iso, no_such_site, parse_site};
use crate::db::{Site, TokenRow, random};
use crate::exit::{Exit, Failure};

const NAME_MAX_CHARS: usize = 120;
const ROOMS_MAX: usize = 200;
const TOKEN_VALID_MAX_HOURS: u32 = 24 * 30;

/// What is asked about sites and their agents.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum SiteCommand {
    Add {
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
    List,
    Show {
        site: String,
    },
    Set(SiteChange),
}

/// What to say differently of a site; what is absent stays. An empty region or EHR location takes it back.
#[derive(Serialize, Deserialize)]
pub struct SiteChange {
    pub site: String,
    pub name: Option<String>,
    pub ehr: Option<String>,
    pub region: Option<String>,
    pub ehr_location: Option<String>,
    /// "allowed" or "refused": whether a proxy may read the site's line.
    #[serde(default)]
    pub inspection: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum SiteReply {
    Added {
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
    List {
        sites: Vec<KnownSite>,
    },
    Shown(Box<SiteDetail>),
    Set {
        site: String,
    },
}

impl SiteCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            SiteCommand::Add { .. } | SiteCommand::Token { .. } | SiteCommand::Revoke { .. } | SiteCommand::Set(_) => {
                true
            }
            SiteCommand::List | SiteCommand::Show { .. } => false,
        }
    }
}

impl Admin {
    pub(super) async fn about_sites(&self, by: By, command: SiteCommand) -> Result<SiteReply, Failure> {
        match command {
            SiteCommand::Add { name, zone, rooms, ehr } => self.add_site(by, name, zone, rooms, ehr).await,
            SiteCommand::Token { site, valid_hours } => self.issue_token(by, &site, valid_hours).await,
            SiteCommand::Revoke { agent } => self.revoke(by, &agent).await,
            SiteCommand::List => self.list_sites().await,
            SiteCommand::Show { site } => self.show_site(&site).await,
            SiteCommand::Set(change) => self.change_site(by, change).await,
        }
    }

    /// Writes the site and its rooms, and begins their scope.
    async fn add_site(
        &self,
        by: By,
        name: String,
        zone: String,
        rooms: Vec<String>,
        ehr: Option<String>,
    ) -> Result<SiteReply, Failure> {
        let name = named("the site's name", &name)?;
        let rooms = rooms
            .iter()
            .map(|room| named("a room's name", room))
            .collect::<Result<Vec<_>, _>>()?;
        if rooms.len() > ROOMS_MAX {
            return Err(Failure::new(
                Exit::Usage,
                format!("a site has at most {ROOMS_MAX} rooms"),
            ));
        }
        if jiff::tz::TimeZone::get(&zone).is_err() {
            return Err(Failure::new(
                Exit::Usage,
                format!("\"{zone}\" is not a time zone: give one of the IANA names, such as America/Chicago"),
            ));
        }
        let ehr = match ehr {
            None => self.ehr,
            Some(word) => target(&word)?,
        };
        let scope = ScopeId(random()?);
        let added = Site {
            scope,
            name: name.clone(),
            zone,
            ehr,
            seen_ms: None,
        };
        self.db.write(move |txn| write_site(txn, by, &added, &rooms)).await?;
        tracing::info!(site = %scope, by = %by, "a site was added");
        Ok(SiteReply::Added {
            site: scope.to_string(),
            name,
        })
    }

    async fn issue_token(&self, by: By, site: &str, valid_hours: u32) -> Result<SiteReply, Failure> {
        if !(1..=TOKEN_VALID_MAX_HOURS).contains(&valid_hours) {
            return Err(Failure::new(
                Exit::Usage,
                format!("a token is valid for 1 to {TOKEN_VALID_MAX_HOURS} hours"),
            ));
        }
        let scope = parse_site(site)?;
        let address = self.address.as_ref().ok_or_else(|| {
            Failure::new(
                Exit::Config,
                "a token carries the hub's address, and none is known: set [server] public_url in hub.toml, or start \
                 the hub first when [server] listen takes any free port",
            )
        })?;
        let token = EnrolmentToken::issue(address, self.serving().fingerprint())
            .map_err(|error| Failure::new(Exit::Config, format!("[server] public_url: {error}")))?;
        let (id, secret_hash) = (*token.id(), token.secret().digest());
        let expires_ms = self
            .db
            .write(move |txn| {
                txn.site(scope)?.ok_or_else(|| no_such_site(scope))?;
                let expires_ms = txn.now_ms() + u64::from(valid_hours) * 3_600_000;
                txn.add_token(&TokenRow {
                    token: id,
                    secret_hash,
                    scope,
                    expires_ms,
                    used_by: None,
                })?;
                Ok::<_, Failure>(expires_ms)
            })
            .await?;
        tracing::info!(site = %scope, valid_hours, by = %by, "a token was issued");
        Ok(SiteReply::Token {
            token: token.render(),
            site: scope.to_string(),
            expires: iso(expires_ms),
        })
    }

    /// The agent is refused from its next request on; a pull that is held now is its last.
    async fn revoke(&self, by: By, agent: &str) -> Result<SiteReply, Failure> {
        let id = RecordId::parse(agent).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("\"{agent}\" is not an agent's id: see mainstay-hub status"),
            )
        })?;
        let known = self.db.write(move |txn| Ok::<_, Failure>(txn.revoke(id.0)?)).await?;
        if !known {
            return Err(Failure::failed(format!(
                "there is no agent {id}: see mainstay-hub status"
            )));
        }
        tracing::warn!(agent = %id, by = %by, "an agent's enrolment was revoked");
        Ok(SiteReply::Revoked { agent: id.to_string() })
    }
}

impl Admin {
    async fn change_site(&self, by: By, change: SiteChange) -> Result<SiteReply, Failure> {
        let scope = parse_site(&change.site)?;
        let name = change
            .name
            .as_deref()
            .map(|name| named("the site's name", name))
            .transpose()?;
        let ehr = change.ehr.as_deref().map(target).transpose()?;
        let region = change
            .region
            .as_deref()
            .map(|text| remark("the region", text))
            .transpose()?;
        let location = change
            .ehr_location
            .as_deref()
            .map(|text| remark("the EHR location", text))
            .transpose()?;
        let inspection = change.inspection.as_deref().map(inspection).transpose()?;
        if name.is_none() && ehr.is_none() && region.is_none() && location.is_none() && inspection.is_none() {
            return Err(Failure::new(
                Exit::Usage,
                "say what to change: --name, --ehr, --region, --ehr-location or --inspection",
            ));
        }
        let changes_record = name.is_some() || ehr.is_some() || region.is_some() || location.is_some();
        self.db
            .write(move |txn| {
                let record = RecordId(scope.0);
                txn.lock(&[record.0])?;
                let before = txn.site(scope)?.ok_or_else(|| no_such_site(scope))?;
                if let Some(allows) = inspection {
                    txn.set_allows_inspection(scope, allows)?;
                }
                if !changes_record {
                    return Ok::<_, Failure>(());
                }
                let state = txn.state(record)?.ok_or_else(|| no_such_site(scope))?;
                let shown = |field: sync_protocol::FieldId| state.shown(field);
                let now_ms = txn.now_ms() as i64;
                let mut draft = Writing::new(site::KIND, record, Action::Administer, by.actor(), now_ms);
                if let Some(name) = &name {
                    draft = draft.replace(site::NAME, name, &shown(site::NAME.id));
                }
                if let Some(ehr) = &ehr {
                    draft = draft.replace(site::EHR, ehr, &shown(site::EHR.id));
                }
                for (field, text) in [(site::REGION, &region), (site::EHR_LOCATION, &location)] {
                    draft = match text {
                        None => draft,
                        Some(text) if text.is_empty() => draft.clear(field, &shown(field.id)),
                        Some(text) => draft.replace(field, text, &shown(field.id)),
                    };
                }
                if let Some(name) = &name {
                    colleague::say_site(txn, by.actor(), scope, name)?;
                }
                let name = name.clone().unwrap_or(before.name);
                txn.change_site(scope, &name, ehr.unwrap_or(before.ehr))?;
                txn.author(&draft.done(), Some(scope))?;
                Ok::<_, Failure>(())
            })
            .await?;
        tracing::info!(site = %scope, by = %by, "a site was changed");
        Ok(SiteReply::Set {
            site: scope.to_string(),
        })
    }
}

fn inspection(word: &str) -> Result<bool, Failure> {
    match word {
        "allowed" => Ok(true),
        "refused" => Ok(false),
        other => Err(Failure::new(
            Exit::Usage,
            format!("\"{other}\" is neither allowed nor refused"),
        )),
    }
}

fn target(word: &str) -> Result<Target, Failure> {
    Target::parse(word).ok_or_else(|| Failure::new(Exit::Usage, format!("\"{word}\" is neither machine nor person")))
}

/// A name, or nothing.
fn remark(what: &str, text: &str) -> Result<String, Failure> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    named(what, text)
}

fn write_site(txn: &mut crate::db::Txn<'_>, by: By, added: &Site, rooms: &[String]) -> Result<(), Failure> {
    let (actor, now_ms) = (by.actor(), txn.now_ms() as i64);
    let record = RecordId(added.scope.0);
    txn.add_site(added)?;
    let draft = Writing::new(site::KIND, record, Action::Administer, actor, now_ms)
        .set(site::NAME, &added.name)
        .set(site::ZONE, &added.zone)
        .set(site::EHR, &added.ehr);
    txn.author(&draft.done(), Some(added.scope))?;
    for name in rooms {
        let draft = Writing::new(room::KIND, RecordId(random()?), Action::Administer, actor, now_ms)
            .set(room::SITE, &record)
            .set(room::NAME, name);
        txn.author(&draft.done(), Some(added.scope))?;
    }
    Ok(())
}

/// A name that can be shown on one line.
pub(super) fn named(what: &str, text: &str) -> Result<String, Failure> {
    let name = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() || name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{what} must have 1 to {NAME_MAX_CHARS} characters"),
        ));
    }
    Ok(name)
}
