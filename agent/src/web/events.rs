//! One stream of events per browser: which parts of a page to fetch again. It says what has changed and never how; what
//! comes quickly is gathered, and a beat tells an open page that its server is there.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use clinic::catalogue::{allergy, coverage, patient, result, room, site, staff, task, visit};
use clinic::read::Said;
use futures::Stream;
use futures::stream::unfold;
use sync_protocol::{KindId, RecordId, RecordState};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::Web;
use super::desk::Desk;
use super::door::plain;
use super::sign_in::Token;
use crate::access;
use crate::clock;
use crate::line::Line;
use crate::pages::PageOpen;
use crate::store::{Committed, ReadTx, TxError};

/// At most four renewals a second.
const GATHER: Duration = Duration::from_millis(250);
/// A page says after 25 s of silence that it has lost its server.
const BEAT_EVERY: Duration = Duration::from_secs(8);
/// Beyond so many changed records at once every open patient page looks again.
const PATIENTS_NAMED_MAX: usize = 32;

/// A part of a page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part {
    Banner,
    Board,
    Work,
    Connection,
    EveryPatient,
    Patient(RecordId),
}

impl Part {
    fn events(self) -> Vec<Event> {
        let named = |fragment: &str| Event::default().data(format!("{{\"fragment\":\"{fragment}\"}}"));
        let of = |fragment: &str, id: RecordId| {
            Event::default().data(format!("{{\"fragment\":\"{fragment}\",\"record\":\"{id}\"}}"))
        };
        match self {
            Part::Banner => vec![named("banner")],
            Part::Board => vec![named("board")],
            Part::Work => vec![named("work")],
            Part::Connection => vec![named("connection")],
            Part::EveryPatient => vec![named("patient"), named("patient-head")],
            Part::Patient(id) => vec![of("patient", id), of("patient-head", id)],
        }
    }
}

pub(super) async fn stream(desk: Desk) -> Response {
    let Ok(permit) = desk.web.streams.clone().try_acquire_owned() else {
        let why = "More pages are open here than this machine serves live. This one works, but does not renew itself.";
        return plain(StatusCode::SERVICE_UNAVAILABLE, "Too many pages", why);
    };
    Sse::new(events(Listener::new(&desk, permit))).into_response()
}

struct Listener {
    web: Arc<Web>,
    token: Token,
    committed: broadcast::Receiver<Arc<Committed>>,
    line: watch::Receiver<Line>,
    /// Parts to be told of, not before `tell_at`.
    parts: BTreeSet<Part>,
    changed: BTreeSet<RecordId>,
    tell_at: Instant,
    beat_at: Instant,
    ready: Vec<Event>,
    _open: PageOpen,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    fn new(desk: &Desk, permit: OwnedSemaphorePermit) -> Listener {
        let web = desk.web.clone();
        Listener {
            token: desk.token.clone(),
            committed: web.app.store.committed(),
            line: web.app.line.subscribe(),
            parts: BTreeSet::new(),
            changed: BTreeSet::new(),
            tell_at: Instant::now(),
            // The first comes at once, so that the page knows it is heard.
            beat_at: Instant::now(),
            ready: Vec::new(),
            _open: web.app.pages.open(),
            _permit: permit,
            web,
        }
    }

    fn note_commit(&mut self, committed: Result<Arc<Committed>, RecvError>) -> bool {
        match committed {
            Ok(committed) => {
                self.parts.extend(parts_of(&committed));
                self.changed.extend(committed.records.iter().copied());
                true
            }
            Err(RecvError::Lagged(_)) => {
                self.note_everything();
                true
            }
            Err(RecvError::Closed) => false,
        }
    }

    fn note_everything(&mut self) {
        self.parts.extend([
            Part::Banner,
            Part::Board,
            Part::Work,
            Part::Connection,
            Part::EveryPatient,
        ]);
    }

    /// Names the patients whose pages the changed records are on.
    async fn name_patients(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        if changed.len() > PATIENTS_NAMED_MAX {
            self.parts.insert(Part::EveryPatient);
        } else if !changed.is_empty() {
            match self.web.app.store.read(move |tx| patients_of(tx, &changed)).await {
                Ok(patients) => self.parts.extend(patients.into_iter().map(Part::Patient)),
                Err(_) => _ = self.parts.insert(Part::EveryPatient),
            }
        }
    }

    /// Whoever was signed out hears nothing more.
    async fn is_signed_in(&self) -> bool {
        let token = self.token.clone();
        let now_ms = clock::now_ms().unsigned_abs();
        let read = self
            .web
            .app
            .store
            .read(move |tx| access::sign_in::of_token(tx, token.bytes(), now_ms));
        matches!(read.await, Ok(Some(_)))
    }
}

fn events(listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(listener, |mut listener| async move {
        let event = next(&mut listener).await?;
        Some((Ok(event), listener))
    })
}

async fn next(listener: &mut Listener) -> Option<Event> {
    let stop = listener.web.stop.clone();
    loop {
        if let Some(event) = listener.ready.pop() {
            return Some(event);
        }
        let something = !listener.parts.is_empty();
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep_until(listener.tell_at), if something => {
                listener.name_patients().await;
                listener.ready = std::mem::take(&mut listener.parts).into_iter().flat_map(Part::events).collect();
                listener.tell_at = Instant::now() + GATHER;
            }
            () = sleep_until(listener.beat_at) => {
                if !listener.is_signed_in().await {
                    return None;
                }
                listener.beat_at = Instant::now() + BEAT_EVERY;
                return Some(Event::default().event("beat").data("{}"));
            }
            committed = listener.committed.recv() => {
                if !listener.note_commit(committed) {
                    return None;
                }
            }
            changed = listener.line.changed() => {
                changed.ok()?;
                listener.parts.extend([Part::Banner, Part::Connection]);
            }
        }
    }
}

fn parts_of(committed: &Committed) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    for kind in &committed.kinds {
        parts.extend(parts_of_kind(*kind));
    }
    if committed.own || committed.acknowledged {
        parts.insert(Part::Connection);
    }
    if committed.messages {
        parts.insert(Part::Work);
    }
    parts
}

fn parts_of_kind(kind: KindId) -> &'static [Part] {
    match kind {
        patient::KIND | visit::KIND | task::KIND => &[Part::Banner, Part::Board, Part::Work],
        allergy::KIND | room::KIND => &[Part::Board],
        result::KIND => &[Part::Banner, Part::Work],
        site::KIND | staff::KIND => &[Part::Banner, Part::Board, Part::Work, Part::Connection],
        _ => &[],
    }
}

fn patients_of(tx: &ReadTx<'_>, changed: &BTreeSet<RecordId>) -> Result<BTreeSet<RecordId>, TxError> {
    let mut patients = BTreeSet::new();
    for id in changed {
        patients.extend(tx.state(*id)?.as_ref().and_then(patient_of));
    }
    Ok(patients)
}

fn patient_of(state: &RecordState) -> Option<RecordId> {
    let linked: Option<Said<RecordId>> = match state.kind {
        patient::KIND => return Some(state.record),
        allergy::KIND => allergy::PATIENT.latest(state),
        visit::KIND => visit::PATIENT.latest(state),
        task::KIND => task::PATIENT.latest(state),
        result::KIND => result::PATIENT.latest(state),
        coverage::KIND => coverage::PATIENT.latest(state),
        _ => None,
    };
    linked.map(|said| said.value)
}
