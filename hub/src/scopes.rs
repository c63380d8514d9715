//! What time alone changes of the scopes: bookings come near, visits grow old, a new policy applies. One process of the hub
//! at a time goes through what is due, in small transactions, and tells a site what its cap keeps out.

use std::time::Duration;

use clinic::membership::MemberRule;
use clinic::{Action, Channel, Writing, patient, site};
use schemars::JsonSchema;
use serde::Deserialize;
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::{RecordId, ScopeId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::db::{Db, DbError, LeaseOwner, Txn, random};

/// Table `[scopes]`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often it is looked what time has changed.
    pub sweep_secs: u64,
    /// Patients that one transaction settles.
    pub patients_at_once: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            sweep_secs: 60,
            patients_at_once: 50,
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        if self.sweep_secs == 0 || self.patients_at_once == 0 {
            return Err("sweep_secs and patients_at_once must be at least 1".to_owned());
        }
        Ok(())
    }
}

const LEASE: &[u8] = b"scopes";
/// Sites with a cap that one transaction looks at: of each all patients are counted.
const SITES_AT_ONCE: usize = 20;
/// A process that goes through the scopes says so anew with every transaction; one that is gone is replaced after this.
const LEASE_MS: u64 = 60_000;

type SweepError = HubError<DbError>;

/// Goes through what is due until told to stop.
pub fn start(db: Db, config: Config, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Ok(owner) = random() else { return };
        let every = Duration::from_secs(config.sweep_secs);
        loop {
            if let Err(error) = sweep_all(&db, &config, owner, &stop).await {
                tracing::warn!(%error, "the scopes could not be brought up to date; it is tried again");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(every) => {}
            }
        }
        // Another process need not wait until the lease runs out.
        if let Err(error) = give_back(&db, owner).await {
            tracing::warn!(%error, "the lease of the scopes could not be given back; it runs out by itself");
        }
    })
}

async fn give_back(db: &Db, owner: LeaseOwner) -> Result<(), DbError> {
    for organisation in db.organisations().await? {
        if let Some(db) = db.of(organisation.org) {
            db.write(move |txn| txn.release_lease(LEASE, owner)).await?;
        }
    }
    Ok(())
}

async fn sweep_all(db: &Db, config: &Config, owner: LeaseOwner, stop: &CancellationToken) -> Result<(), SweepError> {
    for organisation in db.organisations().await? {
        if let Some(db) = db.of(organisation.org) {
            sweep(&db, config, owner, stop).await?;
        }
    }
    Ok(())
}

/// One sweep: until nothing is due, or another process has the lease.
async fn sweep(db: &Db, config: &Config, owner: LeaseOwner, stop: &CancellationToken) -> Result<(), SweepError> {
    let at_once = config.patients_at_once;
    let mut looked_at = ScopeId([0; 16]);
    while !stop.is_cancelled() {
        let done = db
            .write(move |txn| {
                let until = txn.now_ms() + LEASE_MS;
                if !txn.take_lease(LEASE, owner, until)? {
                    return Ok::<_, SweepError>(Round::Another);
                }
                round(txn, at_once, looked_at)
            })
            .await?;
        match done {
            Round::Settled(patients) => tracing::debug!(patients, "scopes settled"),
            Round::LetIn { patients, after } => {
                if patients > 0 {
                    tracing::debug!(patients, "there is room again in scopes");
                }
                looked_at = after;
            }
            Round::Nothing | Round::Another => return Ok(()),
        }
    }
    Ok(())
}

#[derive(Debug)]
enum Round {
    Settled(usize),
    /// Sites with a cap were looked at, up to this one.
    LetIn {
        patients: usize,
        after: ScopeId,
    },
    Nothing,
    /// Another process of the hub does it.
    Another,
}

/// What one transaction does of a sweep. Only when nothing else is due are sites looked at, and each once in a sweep.
fn round(txn: &mut Txn<'_>, at_once: usize, looked_at: ScopeId) -> Result<Round, SweepError> {
    let settled = settle_due(txn, at_once)? + sweep_policy(txn, at_once)?;
    if settled > 0 {
        return Ok(Round::Settled(settled));
    }
    if let Some(let_in) = let_in(txn, at_once, looked_at)? {
        return Ok(let_in);
    }
    tell_sites(txn)?;
    txn.settle_stable_daily()?;
    Ok(Round::Nothing)
}

fn settle_due(txn: &mut Txn<'_>, at_most: usize) -> Result<usize, SweepError> {
    let due = txn.members_due(txn.now_ms() as i64, at_most)?;
    for patient in &due {
        txn.settle_patient(*patient, None)?;
    }
    Ok(due.len())
}

/// Goes through every patient once for a new policy, a part at a time; where it was is kept in the store.
fn sweep_policy(txn: &mut Txn<'_>, at_most: usize) -> Result<usize, SweepError> {
    let mut in_force = txn.scope_policy()?;
    if in_force.swept {
        return Ok(0);
    }
    let patients = txn.records_after(patient::KIND, in_force.swept_after, at_most)?;
    for one in &patients {
        txn.settle_patient(*one, None)?;
    }
    match patients.last() {
        Some(last) => in_force.swept_after = *last,
        None => in_force.swept = true,
    }
    if in_force.swept {
        tracing::info!(
            version = in_force.version,
            "every patient was gone through for the scope policy"
        );
    }
    txn.set_scope_policy(&in_force)?;
    Ok(patients.len())
}

/// Lets in those whom a cap kept out, where there is room again, from the sites after this one on. `None` when no site is
/// left to look at.
fn let_in(txn: &mut Txn<'_>, at_most: usize, after: ScopeId) -> Result<Option<Round>, SweepError> {
    let patients_max = u64::try_from(txn.scope_policy()?.policy.patients_max).unwrap_or(0);
    let (mut patients, mut after, mut looked_at) = (0, after, 0);
    while looked_at < SITES_AT_ONCE {
        let Some(scope) = txn.next_that_keeps_out(after)? else {
            break;
        };
        looked_at += 1;
        let room = patients_max.saturating_sub(txn.members_in(scope)?);
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(at_most - patients);
        let let_in = txn.members_kept_out(scope, room)?;
        for patient in &let_in {
            txn.settle_patient(*patient, None)?;
        }
        patients += let_in.len();
        if patients == at_most {
            // The next transaction looks whether the same site has room for more.
            return Ok(Some(Round::LetIn { patients, after }));
        }
        after = scope;
    }
    Ok((looked_at > 0).then_some(Round::LetIn { patients, after }))
}

/// Says on a site's record what its cap keeps out and by which rule, and takes it back when it no longer does.
fn tell_sites(txn: &mut Txn<'_>) -> Result<(), SweepError> {
    let patients_max = txn.scope_policy()?.policy.patients_max;
    let kept_out = txn.kept_out_by()?;
    let sites = txn.sites()?;
    txn.fetch_states(&sites.iter().map(|one| RecordId(one.scope.0)).collect())?;
    for one in sites {
        let rules = kept_out.get(&one.scope).map(Vec::as_slice).unwrap_or_default();
        let notice = notice(rules, patients_max);
        let Some(record) = txn.state(RecordId(one.scope.0))? else {
            continue;
        };
        if site::NOTICE.value(&record) == notice {
            continue;
        }
        let shown = record.shown(site::NOTICE.id);
        let now_ms = txn.now_ms() as i64;
        let writing = Writing::new(
            site::KIND,
            record.record,
            Action::Administer,
            Channel::Rule.program(),
            now_ms,
        );
        let writing = match &notice {
            Some(text) => writing.replace(site::NOTICE, text, &shown),
            None => writing.clear(site::NOTICE, &shown),
        };
        if txn.author_if_room(&writing.done(), Some(one.scope))?.is_none() {
            continue;
        }
        match notice {
            Some(_) => tracing::warn!(site = %one.scope, patients_max, "the cap keeps patients out of a site"),
            None => tracing::info!(site = %one.scope, "the cap keeps nobody out of the site any more"),
        }
    }
    Ok(())
}

fn notice(kept_out: &[MemberRule], patients_max: i64) -> Option<String> {
    if kept_out.is_empty() {
        return None;
    }
    let rules: Vec<&str> = kept_out.iter().map(|rule| rule.word()).collect();
    Some(format!(
        "This site has the {patients_max} patients that policy \"scope\" allows (patients_max). Kept out by it: patients of \
         rule {}. Ask who runs the hub to raise it or to narrow the rule.",
        rules.join(" and rule ")
    ))
}

#[cfg(test)]
#[path = "scopes/tests.rs"]
mod tests;
