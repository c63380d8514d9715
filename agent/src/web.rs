//! The site's local page: server-rendered, live by one stream of events per browser, whole without a script.
//!
//! It reads the store and hands acts to `access`, which decides and writes. It refuses: a name of this machine other than
//! a loopback one, a form whose token is not the sign-in's, and to put anything about a person into an address.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use sync_protocol::Hash;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::lock_out::LockOut;
use crate::app::App;

mod allergies;
mod arrivals;
mod board;
mod bookings;
mod conflicts;
mod connection;
mod desk;
mod door;
mod downtime;
mod events;
mod fields;
mod flow;
mod frame;
mod last_act;
mod line_story;
mod links;
mod moves;
mod names;
mod patient_page;
mod patients;
mod places;
mod reading;
mod reference;
mod refusal;
mod remarks;
mod results;
mod search;
mod sent;
mod sign_in;
mod site_clock;
mod task_rows;
mod tasks;
#[cfg(test)]
mod tests;
mod transcription;
mod unmatched;
pub mod views;
mod visit_story;
mod visits;
mod work;

use last_act::LastAct;
use line_story::LineStory;

/// What all requests share.
struct Web {
    app: App,
    /// The port that the page is reached under.
    port: u16,
    stop: CancellationToken,
    lock_out: Mutex<LockOut>,
    /// Passphrases are held against credentials a few at a time: each takes memory on purpose.
    verifying: Semaphore,
    /// Event streams that may still be opened.
    streams: Arc<Semaphore>,
    /// What was last done under each sign-in, for the foot of the page.
    last_acts: Mutex<BTreeMap<Hash, LastAct>>,
    line_story: Mutex<LineStory>,
    /// Why the last write could not be kept, if it couldn't.
    store_trouble: Mutex<Option<&'static str>>,
}

/// Passphrases verified side by side.
const VERIFYING_MAX: usize = 2;

impl Web {
    fn new(app: App, port: u16, stop: CancellationToken) -> Web {
        let streams_max = app.config.borrow().page.streams_max;
        Web {
            app,
            port,
            stop,
            lock_out: Mutex::default(),
            verifying: Semaphore::new(VERIFYING_MAX),
            streams: Arc::new(Semaphore::new(streams_max)),
            last_acts: Mutex::default(),
            line_story: Mutex::default(),
            store_trouble: Mutex::default(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves the page until told to stop.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> std::io::Result<()> {
    let port = listener.local_addr()?.port();
    let web = Arc::new(Web::new(app, port, stop.clone()));
    let followed = line_story::follow(web.clone());
    let commits = line_story::follow_commits(web.clone());
    let served = axum::serve(listener, routes(web)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let served = async { served.await.inspect_err(|_| stop.cancel()) };
    let (served, (), ()) = tokio::join!(served, followed, commits);
    served
}

/// The page as a service, under the port of the settings.
pub fn router(app: App) -> Router {
    let port = app.config.borrow().page.listen.port();
    routes(Arc::new(Web::new(app, port, CancellationToken::new())))
}

fn routes(web: Arc<Web>) -> Router {
    let form_max_bytes = web.app.config.borrow().page.form_max_bytes;
    let routes = Router::new()
        .route("/", get(board::home))
        .route("/sign-in", get(sign_in::door).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/theme", post(sign_in::set_theme))
        .route("/board", get(board::show))
        .route("/arrivals", get(arrivals::ask).post(arrivals::arrive))
        .route("/arrivals/{visit}", get(arrivals::arrived))
        .route("/appointments/{id}/arrive", post(bookings::arrive))
        .route("/find", get(search::ask).post(search::find))
        .route("/visits/{id}/move", post(visits::move_on))
        .route("/visits/{id}/undo", post(visits::undo))
        .route("/rooms/{id}/state", post(visits::set_room))
        .route("/patients/{id}", get(patients::show))
        .route("/patients/{id}/edit", post(patients::edit))
        .route("/patients/{id}/allergies", post(patients::add_allergy))
        .route("/patients/{id}/same/{other}", post(links::decide))
        .route("/allergies/{id}/refute", post(patients::refute_allergy))
        .route("/conflicts/{record}/{field}/decide", post(conflicts::decide))
        .route("/work", get(work::show))
        .route("/tasks/{id}", get(transcription::show))
        .route("/tasks/{id}/withdraw", post(tasks::withdraw))
        .route("/tasks/{id}/retry", post(tasks::retry))
        .route("/tasks/{id}/entered", post(transcription::entered))
        .route("/tasks/{id}/answer", post(tasks::answer))
        .route("/results/{id}/match", post(unmatched::match_result))
        .route("/downtime", get(downtime::show))
        .route("/downtime/declare", post(downtime::declare))
        .route("/downtime/end", post(downtime::end))
        .route("/connection", get(connection::show))
        .route("/reference", get(reference::show))
        .route("/reference/search", post(reference::search))
        .route("/reference/forms/{id}", get(reference::fetch_form))
        .route("/line/hold", post(connection::hold))
        .route("/line/release", post(connection::release))
        .route("/banner", get(frame::banner_alone))
        .route("/events", get(events::stream))
        .route("/assets/{name}", get(door::asset))
        .fallback(desk::nothing_here)
        .method_not_allowed_fallback(desk::nothing_here)
        .layer(DefaultBodyLimit::max(form_max_bytes))
        .with_state(web.clone());
    door::guarded(routes, web.port)
}
