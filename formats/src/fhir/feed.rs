//! A page of what changed at a server: of a search by `_lastUpdated`, or of a history.
//!
//! Each entry is read for itself: one that is broken or of a kind that is not read here is told by kind and id, and never
//! stands in the way of the others.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use super::appointment::Appointment;
use super::bundle::Bundle;
use super::coverage::Coverage;
use super::json::{FhirError, Resource, from_value, resource_type};
use super::patient::Patient;
use super::place::{Location, Practitioner};

/// One page.
#[derive(Clone, Default)]
pub struct Feed {
    /// Where the next page is; none on the last.
    pub next: Option<String>,
    pub entries: Vec<FeedEntry>,
}

/// What a server says has become of one resource.
#[derive(Clone)]
pub struct FeedEntry {
    pub kind: String,
    pub id: Option<String>,
    /// When it became so, by the server's clock: an R4 instant.
    pub updated: Option<String>,
    pub content: Content,
    /// What the server holds but for its version and its time, to tell whether anything is new.
    pub bytes: Vec<u8>,
}

#[derive(Clone)]
pub enum Content {
    Patient(Box<Patient>),
    Coverage(Box<Coverage>),
    Practitioner(Box<Practitioner>),
    Location(Box<Location>),
    Appointment(Box<Appointment>),
    /// It is no more.
    Deleted,
    /// Of a kind that is not read here.
    Unknown,
    /// Of a kind that is read, and not shaped as R4 has it.
    Broken,
}

conceal_debug!(Feed, FeedEntry, Content);

impl Feed {
    /// Fails only when the page as a whole is no bundle.
    pub fn read(bytes: &[u8]) -> Result<Feed, FhirError> {
        let expected = Bundle::TYPE;
        let value: Value = serde_json::from_slice(bytes).map_err(|error| FhirError::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
        if resource_type(&value) != Some(expected) {
            return Err(FhirError::OtherResource { expected });
        }
        let Value::Object(mut bundle) = value else {
            return Err(FhirError::Shape { expected });
        };
        let links = bundle.remove("link").unwrap_or_default();
        let next = links.as_array().and_then(|links| {
            let mut next = links.iter().filter(|link| link["relation"] == "next");
            next.find_map(|link| link["url"].as_str()).map(str::to_owned)
        });
        let entries = match bundle.remove("entry") {
            Some(Value::Array(entries)) => entries,
            Some(Value::Null) | None => Vec::new(),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                return Err(FhirError::Shape { expected });
            }
        };
        Ok(Feed {
            next,
            entries: entries.into_iter().filter_map(FeedEntry::read).collect(),
        })
    }

    /// Of a page that is too large to be taken apart only which resources are on it, when they changed, and which were
    /// deleted. What they say is left out ([`Content::Broken`]), so that one of them that cannot be read for itself is told from its next version.
    pub fn outline(bytes: &[u8]) -> Result<Feed, FhirError> {
        let expected = Bundle::TYPE;
        let outline: Outline = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
            Category::Data => FhirError::Shape { expected },
            Category::Io | Category::Syntax | Category::Eof => FhirError::NotJson {
                line: error.line(),
                column: error.column(),
            },
        })?;
        if outline.resource_type != expected {
            return Err(FhirError::OtherResource { expected });
        }
        let mut links = outline.link.into_iter();
        let next = links.find(|link| link.relation.as_deref() == Some("next"));
        Ok(Feed {
            next: next.and_then(|link| link.url),
            entries: outline.entry.into_iter().filter_map(OutlineEntry::told).collect(),
        })
    }
}

/// A page without what its resources say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    resource_type: String,
    #[serde(default)]
    link: Vec<OutlineLink>,
    #[serde(default)]
    entry: Vec<OutlineEntry>,
}

#[derive(Deserialize)]
struct OutlineLink {
    relation: Option<String>,
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutlineEntry {
    resource: Option<OutlineResource>,
    search: Option<OutlineSearch>,
    full_url: Option<String>,
    request: Option<OutlineRequest>,
    response: Option<OutlineResponse>,
}

impl OutlineEntry {
    fn told(self) -> Option<FeedEntry> {
        if is_beside(self.search.as_ref().and_then(|search| search.mode.as_deref())) {
            return None;
        }
        if let Some(request) = self.request.filter(OutlineRequest::deletes) {
            let url = request.url.or(self.full_url)?;
            return FeedEntry::deleted(&url, self.response.and_then(|response| response.last_modified));
        }
        let resource = self.resource?;
        let updated = resource.meta.and_then(|meta| meta.last_updated);
        Some(FeedEntry {
            kind: resource.resource_type,
            id: resource.id,
            bytes: updated.clone().unwrap_or_default().into_bytes(),
            updated,
            content: Content::Broken,
        })
    }
}

#[derive(Deserialize)]
struct OutlineRequest {
    method: Option<String>,
    url: Option<String>,
}

impl OutlineRequest {
    fn deletes(&self) -> bool {
        self.method.as_deref() == Some("DELETE")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutlineResponse {
    last_modified: Option<String>,
}

#[derive(Deserialize)]
struct OutlineSearch {
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutlineResource {
    resource_type: String,
    id: Option<String>,
    meta: Option<OutlineMeta>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutlineMeta {
    last_updated: Option<String>,
}

impl FeedEntry {
    /// One resource for itself, as a read answers it.
    pub fn of_resource(mut resource: Value) -> FeedEntry {
        let kind = resource_type(&resource).unwrap_or_default().to_owned();
        let id = resource["id"].as_str().map(str::to_owned);
        let updated = resource["meta"]["lastUpdated"].as_str().map(str::to_owned);
        if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) {
            meta.remove("versionId");
            meta.remove("lastUpdated");
        }
        let bytes = serde_json::to_vec(&resource).unwrap_or_default();
        let content = match kind.as_str() {
            Patient::TYPE => read(resource, Content::Patient),
            Coverage::TYPE => read(resource, Content::Coverage),
            Practitioner::TYPE => read(resource, Content::Practitioner),
            Location::TYPE => read(resource, Content::Location),
            Appointment::TYPE => read(resource, Content::Appointment),
            _ => Content::Unknown,
        };
        FeedEntry {
            kind,
            id,
            updated,
            content,
            bytes,
        }
    }

    fn deleted(url: &str, updated: Option<String>) -> Option<FeedEntry> {
        let current = url.split_once("/_history/").map_or(url, |(current, _)| current);
        let (before, id) = current.rsplit_once('/')?;
        Some(FeedEntry {
            kind: before.rsplit('/').next()?.to_owned(),
            id: Some(id.to_owned()),
            updated,
            content: Content::Deleted,
            bytes: Vec::new(),
        })
    }

    /// `None` for what is no resource that changed: an outcome, or what was merely included.
    fn read(mut entry: Value) -> Option<FeedEntry> {
        if is_beside(entry["search"]["mode"].as_str()) {
            return None;
        }
        let modified = entry["response"]["lastModified"].as_str().map(str::to_owned);
        if entry["request"]["method"] == "DELETE" {
            let url = entry["request"]["url"].as_str().or(entry["fullUrl"].as_str())?;
            return FeedEntry::deleted(url, modified);
        }
        let resource = entry.get_mut("resource")?.take();
        let read = FeedEntry::of_resource(resource);
        Some(FeedEntry {
            updated: read.updated.or(modified),
            ..read
        })
    }
}

/// Whether an entry stands on a page without having changed.
fn is_beside(mode: Option<&str>) -> bool {
    matches!(mode, Some("outcome" | "include"))
}

fn read<R: Resource + DeserializeOwned>(resource: Value, content: fn(Box<R>) -> Content) -> Content {
    from_value(resource).map_or(Content::Broken, |read| content(Box::new(read)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{"resourceType":"Bundle","type":"searchset",
        "link":[{"relation":"self","url":"http://e/A"},{"relation":"next","url":"http://e/A?_cursor=1"}],
        "entry":[
          {"resource":{"resourceType":"Patient","id":"p1","meta":{"versionId":"7","lastUpdated":"2026-01-02T03:04:05Z"},
            "name":[{"family":"Quill"}]},"search":{"mode":"match"}},
          {"resource":{"resourceType":"Patient","id":"p2","name":"Quill"}},
          {"resource":{"resourceType":"Slot","id":"s1"}},
          {"resource":{"resourceType":"OperationOutcome"},"search":{"mode":"outcome"}},
          {"resource":{"resourceType":"Appointment","id":"a1","status":"checked-in","participant":[
            {"actor":{"reference":"Location/l1"}},{"actor":{"reference":"http://e/fhir/Patient/p1"}}]}}]}"#;

    #[test]
    fn one_broken_or_unknown_resource_leaves_the_others_readable() {
        let feed = Feed::read(PAGE.as_bytes()).unwrap();

        assert_eq!(feed.next.as_deref(), Some("http://e/A?_cursor=1"));
        let ids: Vec<_> = feed.entries.iter().map(|entry| entry.id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["p1", "p2", "s1", "a1"]);
        assert!(matches!(feed.entries[0].content, Content::Patient(_)));
        assert!(matches!(feed.entries[1].content, Content::Broken));
        assert!(matches!(feed.entries[2].content, Content::Unknown));
        let Content::Appointment(appointment) = &feed.entries[3].content else {
            panic!("no appointment");
        };
        assert_eq!(appointment.participant_of("Patient"), Some("p1"));
        assert_eq!(appointment.participant_of("Location"), Some("l1"));
    }

    #[test]
    fn an_outline_of_a_page_says_what_is_on_it_and_when_it_changed() {
        let outline = Feed::outline(PAGE.as_bytes()).unwrap();

        assert_eq!(outline.next.as_deref(), Some("http://e/A?_cursor=1"));
        let first = &outline.entries[0];
        assert_eq!((first.kind.as_str(), first.id.as_deref()), ("Patient", Some("p1")));
        assert_eq!(first.updated.as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(outline.entries.len(), 4);
        assert!(
            outline
                .entries
                .iter()
                .all(|entry| matches!(entry.content, Content::Broken))
        );
        assert!(Feed::outline(b"<html>").is_err() && Feed::outline(b"{}").is_err());
    }

    #[test]
    fn another_version_of_the_same_content_is_nothing_new() {
        let again = PAGE.replace("\"7\"", "\"8\"").replace("03:04:05Z", "03:04:06.123Z");

        let (first, second) = (
            Feed::read(PAGE.as_bytes()).unwrap(),
            Feed::read(again.as_bytes()).unwrap(),
        );

        assert_eq!(first.entries[0].bytes, second.entries[0].bytes);
        assert_ne!(first.entries[0].updated, second.entries[0].updated);
    }

    #[test]
    fn a_history_tells_what_was_deleted() {
        let history = br#"{"resourceType":"Bundle","type":"history","entry":[
            {"fullUrl":"http://e/Appointment/a1","request":{"method":"DELETE","url":"Appointment/a1"},
             "response":{"status":"204","lastModified":"2026-01-02T03:04:05Z"}},
            {"request":{"method":"DELETE","url":"http://e/fhir/Location/l1/_history/3"}},
            {"request":{"method":"PUT","url":"Appointment/a2"}}]}"#;

        for feed in [Feed::read(history).unwrap(), Feed::outline(history).unwrap()] {
            let told: Vec<_> = feed
                .entries
                .iter()
                .map(|one| (one.kind.as_str(), one.id.as_deref()))
                .collect();
            assert_eq!(told, [("Appointment", Some("a1")), ("Location", Some("l1"))]);
            assert_eq!(feed.entries[0].updated.as_deref(), Some("2026-01-02T03:04:05Z"));
            assert!(matches!(feed.entries[0].content, Content::Deleted));
        }
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        for text in [
            "<html>",
            "[]",
            "{}",
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":"Bundle","entry":7}"#,
        ] {
            assert!(Feed::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
