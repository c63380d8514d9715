//! What the hub knows of a site, and no more: when it was last heard of, never why it is silent.

use clinic::catalogue::{room, site, staff};
use clinic::index::Facet;
use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubLedger;
use sync_protocol::{RecordId, RecordState, ScopeId};

use super::site::SiteReply;
use super::staff::ListedStaff;
use super::status::said_of_reuse;
use super::{Admin, iso, no_such_site, parse_site};
use crate::db::{Agent, Reused, Site, Txn};
use crate::exit::Failure;

const CERTIFICATE_VALID_MS: u64 = vault::authority::CERTIFICATE_VALID_DAYS as u64 * DAY_MS;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Serialize, Deserialize)]
pub struct KnownSite {
    pub site: String,
    pub name: String,
    pub zone: String,
    /// "machine" or "person".
    pub ehr: String,
    pub region: Option<String>,
    pub ehr_location: Option<String>,
    pub last_seen: Option<String>,
    /// Since it was last heard of.
    pub silent_secs: Option<u64>,
    /// Whether a proxy may read the site's line.
    pub inspection: bool,
    /// As people at the site declared it.
    pub downtime: bool,
    pub line_held: bool,
    /// What of the policy could not be kept.
    pub notice: Option<String>,
    pub agents: Vec<KnownAgent>,
    pub accepted: u64,
    pub set_aside: u64,
    /// Tasks that the connector has not delivered.
    pub waits_for_ehr: u64,
    /// Tasks that people at the site have not typed in.
    pub waits_for_people: u64,
    pub conflicts: u64,
    /// Tokens that can still be used.
    pub open_tokens: u64,
}

#[derive(Serialize, Deserialize)]
pub struct KnownAgent {
    pub agent: String,
    pub enrolled: String,
    pub revoked: Option<String>,
    /// Less than 0 once it has run out.
    pub certificate_days: i64,
    /// Whether its requests are signed.
    pub signs: bool,
    /// The version that runs there, as it said at its last handshake.
    pub program: Option<String>,
    /// What is to be known of request numbers of its that came twice.
    #[serde(default)]
    pub alert: Option<String>,
    /// Nothing explains that.
    #[serde(default)]
    pub is_alone: bool,
}

#[derive(Serialize, Deserialize)]
pub struct SiteDetail {
    #[serde(flatten)]
    pub known: KnownSite,
    pub rooms: Vec<String>,
    pub staff: Vec<ListedStaff>,
}

impl Admin {
    pub(super) async fn list_sites(&self) -> Result<SiteReply, Failure> {
        self.db
            .read(|txn| {
                let mut known = Vec::new();
                for site in txn.sites()? {
                    known.push(known_site(txn, site)?);
                }
                Ok::<_, Failure>(SiteReply::List { sites: known })
            })
            .await
    }

    pub(super) async fn show_site(&self, site: &str) -> Result<SiteReply, Failure> {
        let scope = parse_site(site)?;
        self.db
            .read(move |txn| {
                let site = txn.site(scope)?.ok_or_else(|| no_such_site(scope))?;
                let record = RecordId(scope.0);
                let rooms = txn.linked_to(record, room::KIND)?;
                let mut rooms: Vec<String> = rooms.iter().filter_map(|state| room::NAME.value(state)).collect();
                rooms.sort_by_key(|name| (name.parse::<u32>().unwrap_or(u32::MAX), name.clone()));
                Ok::<_, Failure>(SiteReply::Shown(Box::new(SiteDetail {
                    known: known_site(txn, site)?,
                    rooms,
                    staff: staff_of(txn, scope)?,
                })))
            })
            .await
    }
}

/// Everybody who works or has worked at a site, by name.
pub(super) fn staff_of(txn: &mut Txn<'_>, scope: ScopeId) -> Result<Vec<ListedStaff>, Failure> {
    let states = txn.linked_to(RecordId(scope.0), staff::KIND)?;
    let mut listed: Vec<ListedStaff> = states.iter().map(|state| ListedStaff::of(state, scope)).collect();
    listed.sort_by(|a, b| (&a.name, &a.login).cmp(&(&b.name, &b.login)));
    Ok(listed)
}

fn known_site(txn: &mut Txn<'_>, site: Site) -> Result<KnownSite, Failure> {
    let scope = site.scope;
    let now_ms = txn.now_ms();
    let figures = txn.site_figures(scope)?;
    let agents = txn.agents_of(scope)?;
    let reused = txn.reused_numbers()?;
    let state = txn.state(RecordId(scope.0))?;
    let text = |field| state.as_deref().and_then(|state| value_of(field, state));
    Ok(KnownSite {
        site: scope.to_string(),
        name: site.name,
        zone: site.zone,
        ehr: site.ehr.word().to_owned(),
        region: text(site::REGION),
        ehr_location: text(site::EHR_LOCATION),
        last_seen: site.seen_ms.map(iso),
        silent_secs: site.seen_ms.map(|seen_ms| now_ms.saturating_sub(seen_ms) / 1000),
        inspection: txn.allows_inspection(scope)?,
        downtime: state
            .as_ref()
            .is_some_and(|state| !site::DOWNTIME.standing(state).is_empty()),
        line_held: state
            .as_ref()
            .is_some_and(|state| !site::HOLD.standing(state).is_empty()),
        notice: text(site::NOTICE),
        agents: agents
            .iter()
            .map(|agent| {
                let reused = reused.iter().find(|reused| reused.agent == agent.agent);
                KnownAgent::of(txn, agent, reused, now_ms)
            })
            .collect::<Result<_, _>>()?,
        accepted: figures.accepted,
        set_aside: figures.quarantined,
        waits_for_ehr: txn.count_in_site(scope, Facet::TASK_FOR_HUB)?,
        waits_for_people: txn.count_in_site(scope, Facet::TASK_TO_ENTER)?,
        conflicts: txn.count_in_site(scope, Facet::CONFLICT)?,
        open_tokens: txn.open_tokens(scope)?,
    })
}

fn value_of(field: clinic::catalogue::Field<String>, state: &RecordState) -> Option<String> {
    field.value(state).filter(|text| !text.is_empty())
}

impl KnownAgent {
    fn of(txn: &mut Txn<'_>, agent: &Agent, reused: Option<&Reused>, now_ms: u64) -> Result<KnownAgent, Failure> {
        let left_ms = (agent.certified_ms + CERTIFICATE_VALID_MS) as i64 - now_ms as i64;
        let alert = reused.and_then(|reused| said_of_reuse(reused, now_ms));
        Ok(KnownAgent {
            agent: data_encoding::HEXLOWER.encode(&agent.agent),
            enrolled: iso(agent.enrolled_ms),
            revoked: agent.revoked_ms.map(iso),
            certificate_days: left_ms.div_euclid(DAY_MS as i64),
            signs: txn.request_key(agent.agent)?.is_some(),
            program: txn.greeted(agent.agent)?.map(|greeted| greeted.program),
            is_alone: alert.is_some() && reused.is_some_and(|reused| reused.explained_ms.is_none()),
            alert,
        })
    }
}
