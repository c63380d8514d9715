//! The organisation's policies as this site has them. A policy counts only where the authority that this agent trusts signed
//! it for this organisation; another one is shown, is not obeyed, and the defaults hold.

use clinic::policies::{self, ReferencePolicy, ScopePolicy};
use clinic::policy_record as policy;
use sync_protocol::RecordId;

use crate::enrolment::{self, Enrolment};
use crate::store::{ReadTx, TxError};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    pub name: String,
    pub version: i64,
    pub signed_ms: i64,
    pub body: String,
    /// Signed by the hub's authority, for this organisation.
    pub is_genuine: bool,
}

/// More policies than this nobody has.
const POLICIES_MAX: u32 = 100;

/// The policies that the hub has sent, by name.
pub fn all(tx: &ReadTx<'_>, enrolment: &Enrolment) -> Result<Vec<Policy>, TxError> {
    let organisation = vault::identity::peer_identity(&enrolment.certificate)
        .map(|names| RecordId(names.organisation.into_bytes()))
        .unwrap_or(RecordId::NIL);
    let mut found = Vec::new();
    for stored in tx.records_of_kind(policy::KIND, POLICIES_MAX)? {
        let state = &stored.state;
        let (Some(name), Some(version), Some(signed_ms), Some(body)) = (
            policy::NAME.value(state),
            policy::VERSION.value(state),
            policy::SIGNED_MS.value(state),
            policy::BODY.value(state),
        ) else {
            continue;
        };
        let bytes = policies::signed_bytes(organisation, &name, version, signed_ms, &body.0);
        let is_genuine = policy::SIGNATURE.value(state).map_or(Ok(false), |signature| {
            enrolment::is_signed_by_hub(tx, &bytes, &signature.0)
        })?;
        found.push(Policy {
            name,
            version,
            signed_ms,
            body: body.0,
            is_genuine,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// When reference data counts as old.
pub fn reference(tx: &ReadTx<'_>, enrolment: &Enrolment) -> Result<ReferencePolicy, TxError> {
    let body = genuine(tx, enrolment, policies::REFERENCE)?;
    Ok(body
        .and_then(|body| ReferencePolicy::parse(&body).ok())
        .unwrap_or_default())
}

/// Which patients this site has, as the hub decided it.
pub fn scope(tx: &ReadTx<'_>, enrolment: &Enrolment) -> Result<ScopePolicy, TxError> {
    let body = genuine(tx, enrolment, policies::SCOPE)?;
    Ok(body.and_then(|body| ScopePolicy::parse(&body).ok()).unwrap_or_default())
}

fn genuine(tx: &ReadTx<'_>, enrolment: &Enrolment, name: &str) -> Result<Option<String>, TxError> {
    let found = all(tx, enrolment)?.into_iter();
    Ok(found
        .filter(|policy| policy.is_genuine && policy.name == name)
        .map(|policy| policy.body)
        .next())
}

/// What a scope policy means, in words for the people of the site.
pub fn scope_words(policy: &ScopePolicy) -> String {
    let days = |days: i64| match days {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let region = if policy.region_index {
        "; names and numbers of the region’s patients"
    } else {
        ""
    };
    format!(
        "open visits; bookings of today and the next {}; visits of the last {}{region}; at most {} patients",
        days(policy.schedule_days),
        days(policy.recent_days),
        policy.patients_max
    )
}
