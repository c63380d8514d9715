//! Adding staff. The passphrase leaves here only as an Argon2id hash, in the staff record, so that people can sign in at
//! their site while the line is cut.

use clinic::catalogue::staff;
use clinic::index::{Wanted, login_term};
use clinic::value::Role;
use clinic::{Action, Writing};
use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubLedger;
use sync_protocol::{RecordId, RecordState, ScopeId};
use zeroize::Zeroizing;

use super::credential::{hashed, parse_login, refuse_weak};
use super::known::staff_of;
use super::site::named;
use super::{Admin, By, colleague, no_such_site, parse_site};
use crate::db::random;
use crate::exit::{Exit, Failure};

pub const STAFF_PASSPHRASE_MIN_CHARS: usize = 8;

/// What is asked about the people who work at sites.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum StaffCommand {
    Add(NewStaff),
    List {
        site: String,
    },
    /// Takes somebody's passphrase away: they no longer sign in once their site has heard of it.
    End {
        staff: String,
    },
}

/// Somebody as lists show them.
#[derive(Serialize, Deserialize)]
pub struct ListedStaff {
    pub staff: String,
    pub site: String,
    pub login: String,
    pub name: String,
    pub role: String,
    /// Whether they have a passphrase to sign in with.
    pub may_sign_in: bool,
}

/// Somebody who is to work at a site.
#[derive(Serialize, Deserialize)]
pub struct NewStaff {
    pub login: String,
    pub name: String,
    pub role: String,
    pub site: String,
    pub passphrase: Zeroizing<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum StaffReply {
    Added { staff: String },
    List { staff: Vec<ListedStaff> },
    Ended { staff: String },
}

impl StaffCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            StaffCommand::Add(_) | StaffCommand::End { .. } => true,
            StaffCommand::List { .. } => false,
        }
    }
}

impl Admin {
    pub(super) async fn about_staff(&self, by: By, command: StaffCommand) -> Result<StaffReply, Failure> {
        match command {
            StaffCommand::Add(new) => self.add_staff(by, new).await,
            StaffCommand::List { site } => {
                let scope = parse_site(&site)?;
                let staff = self
                    .db
                    .read(move |txn| {
                        txn.site(scope)?.ok_or_else(|| no_such_site(scope))?;
                        staff_of(txn, scope)
                    })
                    .await?;
                Ok(StaffReply::List { staff })
            }
            StaffCommand::End { staff } => self.end_staff(by, &staff).await,
        }
    }

    async fn end_staff(&self, by: By, text: &str) -> Result<StaffReply, Failure> {
        let record = RecordId::parse(text).ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "that is not the id of somebody's record: see mainstay-hub staff list",
            )
        })?;
        self.db
            .write(move |txn| {
                txn.lock(&[record.0])?;
                let state = txn
                    .state(record)?
                    .filter(|state| state.kind == staff::KIND)
                    .ok_or_else(|| Failure::failed(format!("there is nobody {record}: see mainstay-hub staff list")))?;
                let shown = state.shown(staff::CREDENTIAL.id);
                let now_ms = txn.now_ms() as i64;
                let draft = Writing::new(staff::KIND, record, Action::Administer, by.actor(), now_ms)
                    .clear(staff::CREDENTIAL, &shown);
                txn.author(&draft.done(), None)?;
                Ok::<_, Failure>(())
            })
            .await?;
        tracing::warn!(staff = %record, by = %by, "somebody may no longer sign in at their site");
        Ok(StaffReply::Ended {
            staff: record.to_string(),
        })
    }

    async fn add_staff(&self, by: By, new: NewStaff) -> Result<StaffReply, Failure> {
        let NewStaff {
            login,
            name,
            role,
            site,
            passphrase,
        } = new;
        let login = parse_login(&login)?;
        let name = named("the name", &name)?;
        let role = Role::parse(&role).ok_or_else(|| {
            let words: Vec<_> = Role::ALL.iter().map(|role| role.word()).collect();
            Failure::new(
                Exit::Usage,
                format!("\"{role}\" is no role: give one of {}", words.join(", ")),
            )
        })?;
        let scope = parse_site(&site)?;
        refuse_weak(&passphrase, STAFF_PASSPHRASE_MIN_CHARS)?;
        let credential = hashed(passphrase).await?;

        let record = RecordId(random()?);
        self.db
            .write(move |txn| {
                let at = txn.site(scope)?.ok_or_else(|| no_such_site(scope))?;
                if !txn
                    .search(staff::KIND, &[vec![Wanted::Exactly(login_term(&login))]])?
                    .is_empty()
                {
                    return Err(Failure::failed(format!(
                        "the login \"{login}\" is taken: choose another one"
                    )));
                }
                let draft = Writing::new(staff::KIND, record, Action::Administer, by.actor(), txn.now_ms() as i64)
                    .set(staff::LOGIN, &login)
                    .set(staff::NAME, &name)
                    .set(staff::ROLE, &role)
                    .set(staff::CREDENTIAL, &credential)
                    .set(staff::SITE, &RecordId(scope.0));
                txn.author(&draft.done(), Some(scope))?;
                colleague::say(txn, by.actor(), record, &name, (scope, &at.name))
            })
            .await?;
        tracing::info!(staff = %record, site = %scope, by = %by, "staff was added");
        Ok(StaffReply::Added {
            staff: record.to_string(),
        })
    }
}

impl ListedStaff {
    pub(super) fn of(state: &RecordState, site: ScopeId) -> ListedStaff {
        ListedStaff {
            staff: state.record.to_string(),
            site: site.to_string(),
            login: staff::LOGIN.value(state).unwrap_or_default(),
            name: staff::NAME.value(state).unwrap_or_default(),
            role: staff::ROLE
                .value(state)
                .map(|role| role.word().to_owned())
                .unwrap_or_default(),
            may_sign_in: staff::CREDENTIAL.value(state).is_some(),
        }
    }
}
