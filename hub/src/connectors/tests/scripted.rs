//! An EHR that answers whatever a test wants.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::House;
use super::inbound::orla;

/// A version of a resource, as the scripted EHR holds it.
pub(super) fn version(mut resource: Value, id: &str, updated: &str) -> Value {
    resource["id"] = json!(id);
    resource["meta"] = json!({"lastUpdated": updated});
    resource
}

/// An EHR that holds what a test says, pages as badly as a test says, and fails as it says.
#[derive(Clone, Default)]
pub(super) struct Scripted {
    pub(super) holds: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    pub(super) fails: Arc<Mutex<Option<(u16, &'static str)>>>,
    pub(super) endless: Arc<Mutex<bool>>,
    /// The one resource that it does not give by itself.
    pub(super) refuses: Arc<Mutex<Option<&'static str>>>,
    /// It gives so many at once as it is asked for, in the order in which it holds them.
    pub(super) pages: Arc<Mutex<bool>>,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    /// What it tells of the history of appointments, if anything.
    pub(super) history: Arc<Mutex<Vec<Value>>>,
    /// What happens while it gives its next answer.
    pub(super) meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

pub(super) type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Scripted {
    pub(super) fn holds(&self, kind: &str, resources: Vec<Value>) {
        self.holds.lock().unwrap().insert(kind.to_owned(), resources);
    }

    pub(super) fn fails(&self, with: Option<(u16, &'static str)>) {
        *self.fails.lock().unwrap() = with;
    }

    pub(super) fn turns_pages(&self) {
        *self.pages.lock().unwrap() = true;
    }

    pub(super) fn was_asked(&self, start: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|one| one.starts_with(start)).count()
    }
}

async fn scripted_answer(State(ehr): State<Scripted>, uri: Uri) -> Response {
    ehr.asked.lock().unwrap().push(uri.to_string());
    let meanwhile = ehr.meanwhile.lock().unwrap().take();
    if let Some(meanwhile) = meanwhile {
        meanwhile.await;
    }
    if let Some((status, body)) = *ehr.fails.lock().unwrap() {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    let path = uri.path().trim_start_matches('/');
    if *ehr.refuses.lock().unwrap() == Some(path) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if path.ends_with("_history") {
        let history = ehr.history.lock().unwrap().clone();
        return match path == "Appointment/_history" && !history.is_empty() {
            true => page(&ehr, &uri, history).to_string().into_response(),
            false => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let holds = ehr.holds.lock().unwrap();
    if let Some((kind, id)) = path.split_once('/') {
        let found = holds.get(kind).and_then(|all| all.iter().find(|one| one["id"] == id));
        return match found {
            Some(resource) => resource.to_string().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let from = said(&uri, "_lastUpdated=ge");
    let resources = holds.get(path).map(Vec::as_slice).unwrap_or_default();
    let entries = resources
        .iter()
        .filter(|one| from.is_none_or(|from| one["meta"]["lastUpdated"].as_str().is_none_or(|at| at >= from)))
        .map(|resource| json!({"resource": resource}));
    let mut bundle = page(&ehr, &uri, entries.collect());
    if *ehr.endless.lock().unwrap() {
        bundle["link"] = json!([{"relation": "next", "url": format!("/{path}?_cursor=1")}]);
    }
    bundle.to_string().into_response()
}

fn said<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let query = uri.query().unwrap_or_default();
    query.split('&').find_map(|pair| pair.strip_prefix(name))
}

/// As many of the entries as are asked for, from where the last page ended.
fn page(ehr: &Scripted, uri: &Uri, entries: Vec<Value>) -> Value {
    let cursor: usize = said(uri, "_cursor=").map_or(0, |cursor| cursor.parse().unwrap());
    let count: usize = match *ehr.pages.lock().unwrap() {
        true => said(uri, "_count=").unwrap().parse().unwrap(),
        false => usize::MAX,
    };
    let left: Vec<Value> = entries.into_iter().skip(cursor).collect();
    let given: Vec<&Value> = left.iter().take(count).collect();
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "entry": given});
    if left.len() > count {
        let from = said(uri, "_lastUpdated=ge").map(|from| format!("&_lastUpdated=ge{from}"));
        let next = cursor + count;
        let url = format!(
            "{}?_cursor={next}&_count={count}{}",
            uri.path(),
            from.unwrap_or_default()
        );
        bundle["link"] = json!([{"relation": "next", "url": url}]);
    }
    bundle
}

pub(super) async fn scripted() -> (House, Scripted) {
    let ehr = Scripted::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(scripted_answer).with_state(ehr.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (House::leading_to(address).opened().await, ehr)
}

pub(super) fn patient_of(id: &str, updated: &str) -> Value {
    let mut person = orla();
    person["id"] = json!(id);
    person["identifier"] = json!([]);
    person["meta"] = json!({"lastUpdated": updated});
    person
}
