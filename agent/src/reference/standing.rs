//! How the sets of reference data stand here: what is in force, what is on its way, what was refused.

use clinic::catalogue::{reference_checked_ms, reference_set};
use serde::Serialize;
use sync_protocol::Hash;

use super::RECORDS_MAX;
use crate::store::{CodeSetStanding, Content, ContentStanding, ReadTx, StoredCodeSet, TxError};

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SetStanding {
    pub set: String,
    pub title: String,
    /// As the hub names it now.
    pub version: String,
    pub entries: i64,
    pub source: String,
    pub loaded_ms: i64,
    /// When it was last known to be as its source has it.
    pub checked_ms: i64,
    #[serde(flatten)]
    pub state: SetState,
    /// Of a code set: the version that is searched here; absent until one is.
    pub searched: Option<String>,
    #[serde(skip)]
    pub is_code_set: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum SetState {
    Current,
    Fetching {
        percent: u64,
    },
    /// Being made searchable.
    Building {
        percent: u64,
    },
    /// What came could not be used; it is tried again.
    Refused {
        at_ms: i64,
    },
}

/// Every set that the hub has named, by name.
pub fn standing(tx: &ReadTx<'_>) -> Result<Vec<SetStanding>, TxError> {
    let (contents, sets) = (tx.contents()?, tx.code_sets()?);
    let mut all = Vec::new();
    for stored in tx.records_of_kind(reference_set::KIND, RECORDS_MAX)? {
        let state = &stored.state;
        let Some(set) = reference_set::NAME.value(state) else {
            continue;
        };
        let content = reference_set::CONTENT.value(state).map(|digest| Hash(digest.0));
        let entries = reference_set::ENTRIES.value(state).unwrap_or_default();
        let searched = |one: &&StoredCodeSet| one.name == set && one.standing == CodeSetStanding::Searched;
        let searched = sets.iter().find(searched);
        all.push(SetStanding {
            title: reference_set::TITLE.value(state).unwrap_or_else(|| set.clone()),
            version: reference_set::VERSION.value(state).unwrap_or_default(),
            entries,
            source: reference_set::SOURCE.value(state).unwrap_or_default(),
            loaded_ms: reference_set::LOADED_MS.value(state).unwrap_or_default(),
            checked_ms: reference_checked_ms(state).unwrap_or_default(),
            state: match content {
                Some(digest) if searched.is_none_or(|one| one.digest != digest) => {
                    on_its_way(tx, digest, entries, &contents, &sets)?
                }
                Some(_) | None => SetState::Current,
            },
            searched: searched.map(|one| one.version.clone()),
            is_code_set: content.is_some(),
            set,
        });
    }
    all.sort_by(|a, b| a.title.cmp(&b.title));
    Ok(all)
}

fn on_its_way(
    tx: &ReadTx<'_>,
    digest: Hash,
    entries: i64,
    contents: &[Content],
    sets: &[StoredCodeSet],
) -> Result<SetState, TxError> {
    let percent = |part: u64, whole: u64| part.saturating_mul(100) / whole.max(1);
    let Some(content) = contents.iter().find(|content| content.digest == digest) else {
        return Ok(SetState::Fetching { percent: 0 });
    };
    Ok(match content.standing {
        ContentStanding::Fetching => SetState::Fetching {
            percent: percent(content.here, content.bytes),
        },
        ContentStanding::Refused => SetState::Refused {
            at_ms: content.tried_ms,
        },
        ContentStanding::Proven => {
            let set = sets.iter().find(|set| set.digest == digest);
            let built = set.map(|set| tx.codes_built(set.id)).transpose()?.unwrap_or_default();
            SetState::Building {
                percent: percent(built, entries.max(0).cast_unsigned()),
            }
        }
    })
}
