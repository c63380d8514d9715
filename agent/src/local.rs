//! The local socket: what the command line asks the running service. Only the service's own user can open it.

use std::path::PathBuf;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clinic::catalogue::{allergy, patient, task, visit};
use clinic::flow;
use clinic::index::{self, Facet};
use clinic::read::Shown;
use clinic::task::state_of;
use serde::{Deserialize, Serialize};
use sync_protocol::{Phi, RecordId, RecordState};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::access::arrivals::temp_number_of;
use crate::app::App;
use crate::home::Home;
use crate::status;
use crate::store::{Priority, ReadError, ReadTx, TxError};

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("the agent does not run on {}: start it with `mainstay-agent run --home {}`", .home.display(), .home.display())]
    NotRunning { home: PathBuf },
    #[error("{0}")]
    Refused(String),
}

/// A visit on the board, for the command line.
#[derive(Serialize, Deserialize)]
pub struct BoardLine {
    pub visit: String,
    pub patient: String,
    pub name: String,
    pub birth_date: String,
    pub state: String,
    pub since_ms: i64,
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
pub struct PatientLine {
    pub patient: String,
    pub name: Value,
    pub birth_date: Value,
    pub phone: Option<String>,
    pub email: Option<String>,
    pub temp_number: Option<String>,
    pub numbers: Vec<String>,
    pub allergies: Vec<String>,
}

/// An `ask` field: what stands, and the values that wait for a person.
#[derive(Serialize, Deserialize)]
pub struct Value {
    pub standing: Option<String>,
    pub open: Vec<OpenValue>,
}

#[derive(Serialize, Deserialize)]
pub struct OpenValue {
    pub value: String,
    pub entered_ms: i64,
    pub who: String,
}

#[derive(Serialize, Deserialize)]
pub struct QueueLine {
    pub task: String,
    pub kind: String,
    pub state: String,
    pub patient: String,
    pub created_ms: i64,
    pub attempts: u32,
    pub note: String,
}

/// What is looked for. It travels in a body, since an address may end up in a log.
#[derive(Serialize, Deserialize)]
pub struct PatientQuery {
    pub query: String,
}

/// A lane by its word, as `status` names it.
#[derive(Serialize, Deserialize)]
pub struct LaneNamed {
    pub lane: String,
}

const LINES_MAX: u32 = 500;

fn router(app: App) -> Router {
    Router::new()
        .route("/status", get(get_status))
        .route("/board", get(get_board))
        .route("/queue", get(get_queue))
        .route("/patient", post(find_patient))
        .route("/accept-lane", post(accept_lane))
        .with_state(app)
}

type Answer<T> = Result<Json<T>, (StatusCode, String)>;

fn failed(error: ReadError) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn get_status(State(app): State<App>) -> Answer<status::Status> {
    status::gather(&app).await.map(Json).map_err(failed)
}

async fn get_board(State(app): State<App>) -> Answer<Vec<BoardLine>> {
    app.store.read(board).await.map(Json).map_err(failed)
}

async fn get_queue(State(app): State<App>) -> Answer<Vec<QueueLine>> {
    app.store.read(queue).await.map(Json).map_err(failed)
}

async fn find_patient(State(app): State<App>, Json(asked): Json<PatientQuery>) -> Answer<Vec<PatientLine>> {
    app.store
        .read(move |tx| patients(tx, &asked.query))
        .await
        .map(Json)
        .map_err(failed)
}

async fn accept_lane(State(app): State<App>, Json(named): Json<LaneNamed>) -> Answer<LaneNamed> {
    let (own, word) = (app.enrolment.scope, named.lane.clone());
    let accepted = app
        .store
        .write(Priority::Desk, move |tx| status::accept_lane(tx, own, &word));
    let accepted = accepted
        .await
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    if accepted {
        tracing::warn!(
            lane = named.lane,
            "a lane that was held back was accepted by a person at this machine"
        );
        return Ok(Json(named));
    }
    let text = format!(
        "no lane \"{}\" is held back; `mainstay-agent status` names those that are",
        named.lane
    );
    Err((StatusCode::CONFLICT, text))
}

fn board(tx: &ReadTx<'_>) -> Result<Vec<BoardLine>, TxError> {
    let mut lines = Vec::new();
    for stored in tx.with_facet(Facet::VISIT_OPEN, LINES_MAX)? {
        let Some(standing) = flow::standing(&stored.state) else {
            continue;
        };
        let patient_id = visit::PATIENT.value(&stored.state).unwrap_or(RecordId::NIL);
        let patient = tx.state(patient_id)?;
        let said = |read: fn(&RecordState) -> String| patient.as_ref().map(read).unwrap_or_default();
        lines.push(BoardLine {
            visit: stored.state.record.to_string(),
            patient: patient_id.to_string(),
            name: said(|state| in_a_word(&patient::NAME.ask(state), |name| name.listed())),
            birth_date: said(|state| in_a_word(&patient::BIRTH_DATE.ask(state), |date| date.iso())),
            state: standing.state.word().to_owned(),
            since_ms: standing.since_ms,
            reason: visit::REASON
                .value(&stored.state)
                .map(Phi::into_exposed)
                .unwrap_or_default(),
        });
    }
    Ok(lines)
}

/// What stands, or that a person has yet to decide what does.
fn in_a_word<T>(shown: &Shown<Phi<T>>, word: impl Fn(&T) -> String) -> String {
    match shown.standing() {
        Some(value) => word(value.expose()),
        None if shown.is_open() => "to be decided".to_owned(),
        None => String::new(),
    }
}

fn queue(tx: &ReadTx<'_>) -> Result<Vec<QueueLine>, TxError> {
    let tasks = tx.with_facet(Facet::TASK_OPEN, LINES_MAX)?;
    let line = |state: &RecordState| {
        let delivery = task::DELIVERY.value(state);
        QueueLine {
            task: state.record.to_string(),
            kind: task::KIND_OF_WORK
                .value(state)
                .map(|kind| kind.word().to_owned())
                .unwrap_or_default(),
            state: state_of(state).word().to_owned(),
            patient: task::PATIENT.value(state).unwrap_or(RecordId::NIL).to_string(),
            created_ms: index::index_of(state).order_ms,
            attempts: delivery.as_ref().map(|delivery| delivery.attempts).unwrap_or_default(),
            note: delivery.map(|delivery| delivery.note).unwrap_or_default(),
        }
    };
    Ok(tasks.iter().map(|stored| line(&stored.state)).collect())
}

fn patients(tx: &ReadTx<'_>, query: &str) -> Result<Vec<PatientLine>, TxError> {
    if let Some(id) = RecordId::parse(query) {
        let state = tx.state(id)?.filter(|state| state.kind == patient::KIND);
        return state.iter().map(|state| patient_line(tx, state)).collect();
    }
    let found = tx.search(&index::search(query), patient::KIND, 50)?;
    found.iter().map(|stored| patient_line(tx, &stored.state)).collect()
}

fn patient_line(tx: &ReadTx<'_>, state: &RecordState) -> Result<PatientLine, TxError> {
    let mut allergies = Vec::new();
    for stored in tx.linked(state.record, allergy::KIND)? {
        if sync_protocol::rules::assertions(&stored.state, allergy::STATEMENT.id).active {
            let asserted = allergy::STATEMENT.asserted(&stored.state);
            allergies.extend(
                asserted
                    .into_values()
                    .next()
                    .map(|said| said.value.expose().substance.clone()),
            );
        }
    }
    Ok(PatientLine {
        patient: state.record.to_string(),
        name: value(patient::NAME.ask(state), |name| name.listed()),
        birth_date: value(patient::BIRTH_DATE.ask(state), |date| date.iso()),
        phone: patient::PHONE.value(state).map(Phi::into_exposed),
        email: patient::EMAIL.value(state).map(Phi::into_exposed),
        temp_number: temp_number_of(state),
        numbers: patient::IDENTIFIER
            .standing(state)
            .into_iter()
            .map(|id| id.value.expose().value.clone())
            .collect(),
        allergies,
    })
}

fn value<T>(shown: Shown<Phi<T>>, word: impl Fn(&T) -> String) -> Value {
    let standing = shown.standing().map(|value| word(value.expose()));
    let open = match shown {
        Shown::Open { values, .. } => values
            .into_iter()
            .map(|said| OpenValue {
                value: word(said.value.expose()),
                entered_ms: said.entered_ms,
                who: said.actor.who.to_string(),
            })
            .collect(),
        Shown::Nothing | Shown::One(_) => Vec::new(),
    };
    Value { standing, open }
}

/// Opens the socket. A socket file of an earlier run is replaced: the folder's lock is ours.
pub fn bind(home: &Home) -> Result<UnixListener, LocalError> {
    let path = home.socket();
    let refused = |error: std::io::Error| LocalError::Refused(format!("the local socket {}: {error}", path.display()));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refused(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(refused)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(refused)?;
    Ok(listener)
}

/// Serves the socket until told to stop.
pub async fn serve(home: &Home, listener: UnixListener, app: App, stop: CancellationToken) -> std::io::Result<()> {
    let served = axum::serve(listener, router(app))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await;
    std::fs::remove_file(home.socket()).ok();
    served
}

/// Asks the running service.
pub async fn ask(home: &Home, path: &str) -> Result<serde_json::Value, LocalError> {
    send(home, path, None::<&LaneNamed>).await
}

/// Tells the running service something, or asks what must not stand in an address.
pub async fn tell(home: &Home, path: &str, body: &impl Serialize) -> Result<serde_json::Value, LocalError> {
    send(home, path, Some(body)).await
}

async fn send(home: &Home, path: &str, body: Option<&impl Serialize>) -> Result<serde_json::Value, LocalError> {
    let socket = home.socket();
    let not_running = || LocalError::NotRunning {
        home: home.path().to_owned(),
    };
    let client = reqwest::Client::builder()
        .unix_socket(socket)
        .timeout(Duration::from_secs(30))
        .build()
        .map_err(|error| LocalError::Refused(error.to_string()))?;
    let url = format!("http://agent{path}");
    let request = match body {
        Some(body) => client.post(url).json(body),
        None => client.get(url),
    };
    let response = request.send().await.map_err(|_| not_running())?;
    if !response.status().is_success() {
        return Err(LocalError::Refused(response.text().await.unwrap_or_default()));
    }
    response
        .json()
        .await
        .map_err(|error| LocalError::Refused(error.to_string()))
}
