//! How the hub stands: its sites, how far it has each, what waits for the EHR.

use std::collections::BTreeMap;

use clinic::index::Facet;
use clinic::task::TaskState;
use serde::{Deserialize, Serialize};
use sync_protocol::hub::Cause;
use sync_protocol::{Hash, Lane};

use super::{Admin, ReferenceStatus, iso};
use crate::db::{Agent, DbError, EpochBegun, ProofCheck, Reused, Site, SiteFigures, Txn, Wants};
use crate::exit::Failure;

#[derive(Serialize, Deserialize)]
pub struct Status {
    pub epoch: String,
    /// Every new life of the store after the first, and why it began.
    #[serde(default)]
    pub begun: Vec<EpochStatus>,
    /// Until when a confirmed backup covers; absent where none was ever confirmed.
    #[serde(default)]
    pub backup: Option<String>,
    /// Which store, for people.
    pub store: String,
    pub sites: Vec<SiteStatus>,
    /// How many tasks stand in each state, by the state's name.
    pub tasks: BTreeMap<String, u64>,
    /// The sets of reference data, and what came of their last files.
    pub references: Vec<ReferenceStatus>,
    /// What is read of the EHR; absent while it never was.
    pub inbound: Option<InboundStatus>,
    pub warnings: Vec<Warning>,
}

/// A new life of the store.
#[derive(Serialize, Deserialize)]
pub struct EpochStatus {
    pub epoch: String,
    pub begun: String,
    pub cause: String,
}

impl EpochStatus {
    fn of(begun: &EpochBegun) -> Option<EpochStatus> {
        let cause = match begun.epoch.cause {
            Cause::Founded => return None,
            Cause::Mark | Cause::MarkOfOne => "the store was older than the mark beside it: it was put back to a copy",
            Cause::Shown => "an agent showed what the store no longer held: it was put back to a copy",
            Cause::Heard => "an agent told of an epoch that the store had lost",
        };
        Some(EpochStatus {
            epoch: begun.epoch.epoch.to_string(),
            begun: iso(begun.begun_ms),
            cause: cause.to_owned(),
        })
    }
}

/// How far the EHR was read.
#[derive(Serialize, Deserialize)]
pub struct InboundStatus {
    pub feeds: Vec<FeedStatus>,
    /// Appointments that name a location that no site has, or none.
    pub without_site: u64,
    /// What names a patient, or a provider, that the EHR has not told of.
    pub without_patient: u64,
    pub without_provider: u64,
}

#[derive(Serialize, Deserialize)]
pub struct FeedStatus {
    pub feed: String,
    /// When the last reading that came to its end began.
    pub polled: Option<String>,
    /// It is being read for the first time.
    pub filling: bool,
    pub taken: u64,
    pub unknown: u64,
    pub broken: u64,
    pub problem: Option<String>,
}

impl InboundStatus {
    fn load(txn: &mut Txn<'_>) -> Result<Option<InboundStatus>, DbError> {
        let feeds = txn.inbound_feeds()?;
        if feeds.is_empty() {
            return Ok(None);
        }
        let feeds = feeds.into_iter().map(|(name, feed)| FeedStatus {
            feed: name,
            polled: feed.polled_ms.map(iso),
            filling: !feed.filled,
            taken: feed.taken,
            unknown: feed.unknown,
            broken: feed.broken,
            problem: feed.problem,
        });
        Ok(Some(InboundStatus {
            feeds: feeds.collect(),
            without_site: txn.count_waiting(Wants::Site)?,
            without_patient: txn.count_waiting(Wants::Patient)?,
            without_provider: txn.count_waiting(Wants::Provider)?,
        }))
    }
}

#[derive(Serialize, Deserialize)]
pub struct Warning {
    pub severity: String,
    pub text: String,
}

impl Warning {
    fn of_backup(until: Option<u64>) -> Option<Warning> {
        let text = "no backup: none was ever confirmed (mainstay-hub backup-confirmed); sites keep what they wrote for 30 days";
        until.is_none().then(|| Warning {
            severity: "warning".to_owned(),
            text: text.to_owned(),
        })
    }

    /// The hub has one custody for its key so far.
    fn of_custody() -> Option<Warning> {
        let text = vault::Custody::File.warning()?;
        Some(Warning {
            severity: "critical".to_owned(),
            text: text.to_owned(),
        })
    }

    /// A new life of the store, for a week: what was decided at the hub since the copy is gone, and nobody else knows of it.
    fn of_epoch(begun: &EpochBegun, now_ms: u64) -> Option<Warning> {
        let is_new = now_ms.saturating_sub(begun.begun_ms) < WEEK_MS;
        let text = format!(
            "the store was put back to an older copy (found {}): sites return their records; agents that were enrolled or \
             revoked since, and accounts, are as the copy had them: look them through",
            iso(begun.begun_ms)
        );
        (begun.epoch.cause != Cause::Founded && is_new).then(|| Warning {
            severity: "warning".to_owned(),
            text,
        })
    }

    /// A request number that came twice, for a week.
    fn of_reuse(site: &str, reused: &Reused, now_ms: u64) -> Option<Warning> {
        let severity = match reused.explained_ms {
            Some(_) => "warning",
            None => "critical",
        };
        said_of_reuse(reused, now_ms).map(|said| Warning {
            severity: severity.to_owned(),
            text: format!(
                "agent {} of {site}: {said}",
                data_encoding::HEXLOWER.encode(&reused.agent)
            ),
        })
    }

    /// What the daily look at a lane's rows found: unreadable records for as long as they are, a sum for a week.
    fn of_proof(site: &str, check: &ProofCheck, now_ms: u64) -> Option<Warning> {
        let lane = format!("{:?}", check.lane).to_lowercase();
        if check.unreadable > 0 {
            return Some(Warning {
                severity: "critical".to_owned(),
                text: format!(
                    "{} records of {site} cannot be read as stored (lane {lane}): the log names them; restore a backup",
                    check.unreadable
                ),
            });
        }
        let found_ms = check.found_ms.filter(|found| now_ms.saturating_sub(*found) < WEEK_MS)?;
        Some(Warning {
            severity: "warning".to_owned(),
            text: format!(
                "{} sums of {site} had rotted by {} (lane {lane}) and were set right: check the store's disk",
                check.miscounted,
                iso(found_ms)
            ),
        })
    }
}

/// What an administrator reads of request numbers that came twice, for a week.
pub(super) fn said_of_reuse(reused: &Reused, now_ms: u64) -> Option<String> {
    if now_ms.saturating_sub(reused.last_ms) > WEEK_MS {
        return None;
    }
    let (times, last) = (reused.times, iso(reused.last_ms));
    Some(match reused.explained_ms {
        Some(at) => format!(
            "{times} requests came under a number that it had used (last {last}); it took a new identity at {}, so its store was \
             put back or copied",
            iso(at)
        ),
        None => format!(
            "{times} requests came under a number that it had used (last {last}) and were refused, and no new identity explains \
             it: somebody sends its requests again or has its key; revoke it (mainstay-hub revoke) and enrol it anew"
        ),
    })
}

const WEEK_MS: u64 = 7 * 24 * 3_600_000;

#[derive(Serialize, Deserialize)]
pub struct SiteStatus {
    pub site: String,
    pub name: String,
    pub last_seen: Option<String>,
    pub accepted: u64,
    pub quarantined: u64,
    pub agents: Vec<AgentStatus>,
    pub roots: Roots,
    /// When all of its lanes' rows were last compared with the sums that the roots are made of.
    #[serde(default)]
    pub proof_checked: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub struct AgentStatus {
    pub agent: String,
    pub enrolled: String,
    pub revoked: Option<String>,
}

/// One per lane, as hexadecimal digits.
#[derive(Serialize, Deserialize)]
pub struct Roots {
    pub safety: String,
    pub flow: String,
    pub schedule: String,
    pub reference: String,
}

impl Admin {
    pub(super) async fn status(&self) -> Result<Status, Failure> {
        let store = self.db.shown();
        let status = self.db.read(move |txn| {
            let mut sites = Vec::new();
            let mut warnings: Vec<Warning> = Warning::of_custody().into_iter().collect();
            let checks = txn.proof_checks()?;
            let reused = txn.reused_numbers()?;
            let begun = txn.epochs_begun()?;
            warnings.extend(begun.iter().filter_map(|one| Warning::of_epoch(one, txn.now_ms())));
            for site in txn.sites()? {
                let came_twice = reused.iter().filter(|reused| reused.scope == site.scope);
                warnings.extend(came_twice.filter_map(|reused| Warning::of_reuse(&site.name, reused, txn.now_ms())));
                let of_site: Vec<&ProofCheck> = checks.iter().filter(|check| check.scope == site.scope).collect();
                warnings.extend(
                    of_site
                        .iter()
                        .filter_map(|check| Warning::of_proof(&site.name, check, txn.now_ms())),
                );
                let figures = txn.site_figures(site.scope)?;
                let agents = txn.agents_of(site.scope)?;
                sites.push(SiteStatus::of(site, &figures, &agents, &of_site));
            }
            let mut tasks = BTreeMap::new();
            for state in TaskState::ALL {
                let count = txn.count_with_facet(Facet::task(*state))?;
                tasks.insert(state.word().to_owned(), count);
            }
            let references = super::reference::statuses(txn)?;
            let (epoch, _) = txn.present()?;
            let backup = txn.backup_ms()?;
            warnings.extend(Warning::of_backup(backup));
            Ok::<_, Failure>(Status {
                epoch: epoch.to_string(),
                begun: begun.iter().filter_map(EpochStatus::of).collect(),
                backup: backup.map(iso),
                store,
                sites,
                tasks,
                references,
                inbound: InboundStatus::load(txn)?,
                warnings,
            })
        });
        status.await
    }
}

impl SiteStatus {
    fn of(site: Site, figures: &SiteFigures, agents: &[Agent], checks: &[&ProofCheck]) -> SiteStatus {
        let root = |wanted: Lane| {
            let found = figures.roots.iter().find(|(lane, _)| *lane == wanted);
            found.map_or(Hash([0; 32]), |(_, root)| *root).to_string()
        };
        SiteStatus {
            site: site.scope.to_string(),
            name: site.name,
            last_seen: site.seen_ms.map(iso),
            accepted: figures.accepted,
            quarantined: figures.quarantined,
            agents: agents.iter().map(AgentStatus::of).collect(),
            roots: Roots {
                safety: root(Lane::Safety),
                flow: root(Lane::Flow),
                schedule: root(Lane::Schedule),
                reference: root(Lane::Reference),
            },
            proof_checked: checks.iter().map(|check| check.checked_ms).min().map(iso),
        }
    }
}

impl AgentStatus {
    fn of(agent: &Agent) -> AgentStatus {
        AgentStatus {
            agent: data_encoding::HEXLOWER.encode(&agent.agent),
            enrolled: iso(agent.enrolled_ms),
            revoked: agent.revoked_ms.map(iso),
        }
    }
}
