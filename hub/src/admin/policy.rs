//! Policies: what the organisation has decided, as signed records of the hub's own. A new text is a new version; sites obey it
//! with their next exchange and show it.

use clinic::policies::{self, ReferencePolicy, ScopePolicy};
use clinic::value::{REPORT_MAX_BYTES, ReportText, Signature};
use clinic::{Action, Writing, policy_record as policy};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use sync_protocol::RecordId;
use sync_protocol::hub::HubLedger;
use vault::authority::is_signed_by;

use super::{Admin, By, iso};
use crate::db::{PolicyInForce, Txn};
use crate::exit::{Exit, Failure};

/// What is asked about policies.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum PolicyCommand {
    List,
    Show { name: String },
    Set { name: String, body: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum PolicyReply {
    List { policies: Vec<ShownPolicy> },
    Shown { policy: ShownPolicy },
    Set { name: String, version: i64 },
}

/// A policy as lists show it. Version 0: nobody has set it, and the defaults hold.
#[derive(Serialize, Deserialize)]
pub struct ShownPolicy {
    pub name: String,
    pub version: i64,
    pub since: Option<String>,
    pub body: String,
}

impl PolicyCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            PolicyCommand::List | PolicyCommand::Show { .. } => false,
            PolicyCommand::Set { .. } => true,
        }
    }
}

impl Admin {
    pub(super) async fn about_policies(&self, by: By, command: PolicyCommand) -> Result<PolicyReply, Failure> {
        match command {
            PolicyCommand::List => {
                let policies = self
                    .db
                    .read(|txn| policies::NAMES.map(|name| shown(txn, name)).into_iter().collect());
                Ok(PolicyReply::List {
                    policies: policies.await?,
                })
            }
            PolicyCommand::Show { name } => {
                known(&name)?;
                let policy = self.db.read(move |txn| shown(txn, &name)).await?;
                Ok(PolicyReply::Shown { policy })
            }
            PolicyCommand::Set { name, body } => self.set_policy(by, name, body).await,
        }
    }

    /// Signs anew what no authority that is trusted any more had signed: agents that never knew it could not obey otherwise.
    pub async fn sign_again(&self) -> Result<(), Failure> {
        let trusted = self.keeping.authorities.trusted(jiff::Timestamp::now().as_second());
        for name in policies::NAMES {
            let signers = trusted.clone();
            let stale = self.db.read(move |txn| stale(txn, name, &signers)).await?;
            if let Some(body) = stale {
                self.set_policy(By::CommandLine, name.to_owned(), body).await?;
            }
        }
        Ok(())
    }

    async fn set_policy(&self, by: By, name: String, body: String) -> Result<PolicyReply, Failure> {
        if body.len() > REPORT_MAX_BYTES {
            return Err(Failure::new(
                Exit::Usage,
                format!("a policy has at most {REPORT_MAX_BYTES} bytes"),
            ));
        }
        policies::check(&name, &body).map_err(|error| Failure::new(Exit::Usage, format!("policy {name}: {error}")))?;
        let (authority, told) = (self.serving(), name.clone());
        let version = self
            .db
            .write(move |txn| {
                let organisation = RecordId(txn.organisation().org);
                let id = policies::policy_id(organisation, &name);
                txn.lock(&[id.0])?;
                let state = txn.state(id)?;
                let version = state
                    .as_ref()
                    .and_then(|state| policy::VERSION.value(state))
                    .unwrap_or(0)
                    + 1;
                let signed_ms = txn.now_ms() as i64;
                let bytes = policies::signed_bytes(organisation, &name, version, signed_ms, &body);
                let signature = authority
                    .sign_bytes(&bytes)
                    .map_err(|error| Failure::failed(format!("the policy could not be signed: {error}")))?;
                let seen = |field| state.as_ref().map(|state| state.shown(field)).unwrap_or_default();
                let draft = Writing::new(policy::KIND, id, Action::Administer, by.actor(), signed_ms)
                    .replace(policy::NAME, &name, &seen(policy::NAME.id))
                    .replace(policy::VERSION, &version, &seen(policy::VERSION.id))
                    .replace(policy::BODY, &ReportText(body.clone()), &seen(policy::BODY.id))
                    .replace(policy::SIGNED_MS, &signed_ms, &seen(policy::SIGNED_MS.id))
                    .replace(policy::SIGNATURE, &Signature(signature), &seen(policy::SIGNATURE.id));
                txn.author(&draft.done(), None)?;
                obey(txn, &name, version, &body)?;
                Ok::<_, Failure>(version)
            })
            .await?;
        tracing::info!(policy = told, version, "a policy was set");
        Ok(PolicyReply::Set { name: told, version })
    }
}

/// The body of a policy whose signature is of none of these authorities.
fn stale(txn: &mut Txn<'_>, name: &str, signers: &[CertificateDer<'static>]) -> Result<Option<String>, Failure> {
    let organisation = RecordId(txn.organisation().org);
    let Some(state) = txn.state(policies::policy_id(organisation, name))? else {
        return Ok(None);
    };
    let (Some(version), Some(signed_ms), Some(body), Some(signature)) = (
        policy::VERSION.value(&state),
        policy::SIGNED_MS.value(&state),
        policy::BODY.value(&state),
        policy::SIGNATURE.value(&state),
    ) else {
        return Ok(None);
    };
    let bytes = policies::signed_bytes(organisation, name, version, signed_ms, &body.0);
    let stands = signers.iter().any(|der| is_signed_by(der, &bytes, &signature.0));
    Ok((!stands).then_some(body.0))
}

/// What the hub itself does differently from now on.
fn obey(txn: &mut Txn<'_>, name: &str, version: i64, body: &str) -> Result<(), Failure> {
    if name != policies::SCOPE {
        return Ok(());
    }
    let policy =
        ScopePolicy::parse(body).map_err(|error| Failure::new(Exit::Usage, format!("policy {name}: {error}")))?;
    txn.set_scope_policy(&PolicyInForce {
        version,
        policy,
        swept_after: RecordId::NIL,
        swept: false,
    })?;
    Ok(())
}

fn known(name: &str) -> Result<(), Failure> {
    if policies::NAMES.contains(&name) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        format!(
            "there is no policy \"{name}\": there are {}",
            policies::NAMES.join(", ")
        ),
    ))
}

fn shown(txn: &mut Txn<'_>, name: &str) -> Result<ShownPolicy, Failure> {
    let id = policies::policy_id(RecordId(txn.organisation().org), name);
    let state = txn.state(id)?;
    let Some((state, version)) = state
        .and_then(|state| Some((policy::VERSION.value(&state)?, state)))
        .map(|(v, s)| (s, v))
    else {
        return Ok(ShownPolicy {
            name: name.to_owned(),
            version: 0,
            since: None,
            body: defaults(name)?,
        });
    };
    let since = policy::SIGNED_MS.value(&state).and_then(|ms| u64::try_from(ms).ok());
    Ok(ShownPolicy {
        name: name.to_owned(),
        version,
        since: since.map(iso),
        body: policy::BODY.value(&state).map(|body| body.0).unwrap_or_default(),
    })
}

fn defaults(name: &str) -> Result<String, Failure> {
    let text = match name {
        policies::SCOPE => toml::to_string(&ScopePolicy::default()),
        _ => toml::to_string(&ReferencePolicy::default()),
    };
    text.map_err(|error| Failure::failed(format!("the defaults cannot be shown: {error}")))
}
