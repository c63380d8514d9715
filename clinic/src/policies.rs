//! The policies of an organisation: what each says, as TOML, and the bytes that are signed. A policy that names a setting
//! nobody knows, or a value out of its range, is refused with the line.

use serde::{Deserialize, Serialize};
use sync_protocol::RecordId;
use uuid::Uuid;

/// Policy `scope`: which patients a site has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopePolicy {
    /// Patients with a booking at the site within so many days, beside today's.
    pub schedule_days: i64,
    /// Patients whose visit there ended within so many days, or whom the site wrote itself.
    pub recent_days: i64,
    /// A thin index of the region's patients: their own record, without what belongs to it. Off until the privacy officer
    /// turns it on.
    pub region_index: bool,
    /// Patients that one site has at most by schedule, recent visit and region index; who is there is never kept out.
    pub patients_max: i64,
}

impl Default for ScopePolicy {
    fn default() -> ScopePolicy {
        ScopePolicy {
            schedule_days: 3,
            recent_days: 30,
            region_index: false,
            patients_max: 50_000,
        }
    }
}

/// Policy `reference`: when a site calls reference data old.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReferencePolicy {
    /// A schedule, or a list from the EHR, that was last found to be so longer ago than this is marked. That one is found
    /// unchanged is written down every four hours.
    pub stale_after_hours: i64,
    /// A code set, or a list from a file, that was last found to be so longer ago than this is marked.
    pub code_set_stale_after_days: i64,
}

impl Default for ReferencePolicy {
    fn default() -> ReferencePolicy {
        ReferencePolicy {
            stale_after_hours: 24,
            code_set_stale_after_days: 400,
        }
    }
}

/// The names of the policies that there are.
pub const SCOPE: &str = "scope";
pub const REFERENCE: &str = "reference";
pub const NAMES: [&str; 2] = [SCOPE, REFERENCE];

const DAYS_MAX: i64 = 366;
const PATIENTS_MAX: i64 = 1_000_000;
const STALE_DAYS_MAX: i64 = 3_660;

impl ScopePolicy {
    pub fn parse(text: &str) -> Result<ScopePolicy, String> {
        let policy: ScopePolicy = parse(text)?;
        within("schedule_days", policy.schedule_days, 0, DAYS_MAX)?;
        within("recent_days", policy.recent_days, 1, DAYS_MAX)?;
        within("patients_max", policy.patients_max, 1, PATIENTS_MAX)?;
        Ok(policy)
    }
}

impl ReferencePolicy {
    pub fn parse(text: &str) -> Result<ReferencePolicy, String> {
        let policy: ReferencePolicy = parse(text)?;
        within("stale_after_hours", policy.stale_after_hours, 1, 24 * DAYS_MAX)?;
        within(
            "code_set_stale_after_days",
            policy.code_set_stale_after_days,
            1,
            STALE_DAYS_MAX,
        )?;
        Ok(policy)
    }
}

/// Checks a policy's text by its name; what is wrong is told with its line.
pub fn check(name: &str, text: &str) -> Result<(), String> {
    match name {
        SCOPE => ScopePolicy::parse(text).map(|_| ()),
        REFERENCE => ReferencePolicy::parse(text).map(|_| ()),
        _ => Err(format!("there is no policy \"{name}\": there are {}", NAMES.join(", "))),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        format!("line {line}: {}", error.message().trim())
    })
}

fn within(name: &str, value: i64, least: i64, most: i64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{name} must be {least} to {most}"))
    }
}

const POLICIES: Uuid = Uuid::from_u128(0x6d61_696e_7374_6179_8000_706f_6c69_6301);

/// The record of a policy: one per organisation and name.
pub fn policy_id(organisation: RecordId, name: &str) -> RecordId {
    let named = [&organisation.0[..], name.as_bytes()].concat();
    RecordId(Uuid::new_v5(&POLICIES, &named).into_bytes())
}

/// The bytes that the hub signs: every part with its length before it, so that no two policies have the same.
pub fn signed_bytes(organisation: RecordId, name: &str, version: i64, signed_ms: i64, body: &str) -> Vec<u8> {
    let mut bytes = b"mainstay policy 1".to_vec();
    for part in [
        &organisation.0[..],
        name.as_bytes(),
        &version.to_be_bytes(),
        &signed_ms.to_be_bytes(),
        body.as_bytes(),
    ] {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_policy_says_the_defaults() {
        assert_eq!(ScopePolicy::parse(""), Ok(ScopePolicy::default()));
        assert_eq!(ReferencePolicy::parse(""), Ok(ReferencePolicy::default()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_or_name() {
        let unknown = ScopePolicy::parse("recent_days = 7\nrecent_dais = 8\n").unwrap_err();
        assert!(unknown.starts_with("line 2: unknown field `recent_dais`"), "{unknown}");
        assert_eq!(
            ScopePolicy::parse("recent_days = 0").unwrap_err(),
            "recent_days must be 1 to 366"
        );
        assert!(check("scopes", "").unwrap_err().contains("there are scope, reference"));
    }

    #[test]
    fn two_policies_never_sign_the_same_bytes() {
        let org = RecordId([1; 16]);
        let one = signed_bytes(org, "scope", 1, 2, "ab");
        assert_ne!(one, signed_bytes(org, "scopea", 1, 2, "b"));
        assert_ne!(one, signed_bytes(org, "scope", 2, 2, "ab"));
    }
}
