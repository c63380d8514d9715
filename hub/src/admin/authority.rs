//! The authority of the hub, and the one that follows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vault::Authority;
use vault::fingerprint::fingerprint;
use vault::identity::validity;

use super::{Admin, By, iso};
use crate::exit::Failure;

/// What is asked about authorities.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum AuthorityCommand {
    Show,
    Rotate,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum AuthorityReply {
    Shown {
        /// Those that are trusted, the older one first.
        trusted: Vec<ShownAuthority>,
        /// Until when the older one is trusted beside the newer one.
        overlap_ends: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
pub struct ShownAuthority {
    pub fingerprint: String,
    pub valid_until: String,
}

impl AuthorityCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            AuthorityCommand::Show => false,
            AuthorityCommand::Rotate => true,
        }
    }
}

impl Admin {
    pub(super) fn about_authorities(&self, by: By, command: AuthorityCommand) -> Result<AuthorityReply, Failure> {
        let now_secs = jiff::Timestamp::now().as_second();
        if let AuthorityCommand::Rotate = command {
            let ends = self.keeping.rotate(now_secs)?;
            tracing::warn!(by = %by, overlap_ends = secs(ends), "a new authority follows the hub's");
        }
        let authorities = &self.keeping.authorities;
        let trusted = authorities.trusted(now_secs);
        Ok(AuthorityReply::Shown {
            trusted: trusted
                .iter()
                .map(|der| ShownAuthority {
                    fingerprint: fingerprint(der).to_string(),
                    valid_until: validity(der).map(|dates| secs(dates.not_after)).unwrap_or_default(),
                })
                .collect(),
            overlap_ends: authorities.overlap_ends(now_secs).map(secs),
        })
    }

    /// Who signs for the hub, and whom tokens name.
    pub(super) fn serving(&self) -> Arc<Authority> {
        self.keeping.authorities.serving(jiff::Timestamp::now().as_second())
    }
}

fn secs(unix_secs: i64) -> String {
    iso(u64::try_from(unix_secs).unwrap_or_default().saturating_mul(1_000))
}
