//! Bundle, as a search gives it.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::encounter::Encounter;
use super::json::{Resource, from_value, known, resource_type};
use super::outcome::OperationOutcome;
use super::patient::Patient;

/// A resource in a bundle. Kinds that we do not read are told by name alone.
#[derive(Clone, PartialEq, Eq)]
pub enum AnyResource {
    Patient(Box<Patient>),
    Encounter(Box<Encounter>),
    OperationOutcome(Box<OperationOutcome>),
    Other { kind: String },
}

/// Why a resource is in a search result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchMode {
    Match,
    Include,
    Outcome,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BundleEntry {
    pub full_url: Option<String>,
    pub resource: Option<AnyResource>,
    #[serde(rename = "search", deserialize_with = "mode")]
    pub search_mode: Option<SearchMode>,
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BundleLink {
    pub relation: Option<String>,
    pub url: Option<String>,
}

/// Read only. A bundle of another type than `searchset` reads the same way.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bundle {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// How many resources match, on all pages; servers may leave it out.
    pub total: Option<u64>,
    pub link: Vec<BundleLink>,
    pub entry: Vec<BundleEntry>,
}

conceal_debug!(AnyResource, BundleEntry, BundleLink, Bundle);

impl Resource for Bundle {
    const TYPE: &'static str = "Bundle";
}

impl<'de> Deserialize<'de> for AnyResource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let kind = resource_type(&value).unwrap_or_default().to_owned();
        let read = match kind.as_str() {
            Patient::TYPE => from_value(value).map(Self::Patient),
            Encounter::TYPE => from_value(value).map(Self::Encounter),
            OperationOutcome::TYPE => from_value(value).map(Self::OperationOutcome),
            _ => Ok(Self::Other { kind }),
        };
        read.map_err(de::Error::custom)
    }
}

impl<R: Resource> Resource for Box<R> {
    const TYPE: &'static str = R::TYPE;
}

fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SearchMode>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Search {
        #[serde(deserialize_with = "known")]
        mode: Option<SearchMode>,
    }
    Ok(Search::deserialize(deserializer)?.mode)
}

impl Bundle {
    /// Where the next page is; none on the last.
    pub fn next_url(&self) -> Option<&str> {
        let mut next = self.link.iter().filter(|link| link.relation.as_deref() == Some("next"));
        next.find_map(|link| link.url.as_deref())
    }

    /// The patients that match, without those merely included.
    pub fn patients(&self) -> impl Iterator<Item = &Patient> {
        self.matches().filter_map(|resource| match resource {
            AnyResource::Patient(patient) => Some(&**patient),
            AnyResource::Encounter(_) | AnyResource::OperationOutcome(_) | AnyResource::Other { .. } => None,
        })
    }

    /// The encounters that match, without those merely included.
    pub fn encounters(&self) -> impl Iterator<Item = &Encounter> {
        self.matches().filter_map(|resource| match resource {
            AnyResource::Encounter(encounter) => Some(&**encounter),
            AnyResource::Patient(_) | AnyResource::OperationOutcome(_) | AnyResource::Other { .. } => None,
        })
    }

    fn matches(&self) -> impl Iterator<Item = &AnyResource> {
        let matches = |entry: &&BundleEntry| entry.search_mode.is_none_or(|mode| mode == SearchMode::Match);
        self.entry
            .iter()
            .filter(matches)
            .filter_map(|entry| entry.resource.as_ref())
    }
}
