//! `run`: puts the parts together, tells them to stop, and waits until each has.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin, Asked, By, Reply};
use crate::config::Config;
use crate::connectors::Connector;
use crate::console::{self, Console};
use crate::ehr::Reach;
use crate::exit::{Exit, Failure};
use crate::home::{Home, Keeping, Opened};
use crate::intake;
use crate::reference::{self, Refresh};
use crate::server::{self, App, connection, tls};
use crate::snapshots::Bell;
use crate::{continuity, proof, scopes, snapshots};

/// What came of a command, as it travels over the local socket.
#[derive(Serialize, Deserialize)]
pub(crate) enum Outcome {
    Done(Reply),
    Failed(Failure),
}

pub(crate) const COMMAND_ROUTE: &str = "/command";
/// A command may bring a file of reference data, in base 64.
const COMMAND_MAX_BYTES: usize = 2 * reference::FILE_MAX_BYTES;

/// Runs until told to stop. `ready` is called once with the hub's address and the console's when everything listens. The caller
/// holds the home's lock.
pub async fn run(
    home: &Home,
    opened: Opened,
    config: Config,
    stop: CancellationToken,
    ready: impl FnOnce(&str, Option<&str>),
) -> Result<(), Failure> {
    let Opened {
        db,
        authorities,
        sealing,
    } = opened;
    admin::prepare(&db).await?;
    let listener = tls::bind(config.server.listen).await?;
    let listens = listener
        .local_addr()
        .map_err(|error| Failure::failed(format!("the listener: {error}")))?;
    let (issuer, named) = (authorities.clone(), config.server.clone());
    let certificate = Box::new(move || tls::certificate(&issuer, &named));
    let local = bind_local(&home.socket())?;
    let address = config
        .server
        .address(listens)
        .unwrap_or_else(|| format!("https://{listens}"));
    let admin = Admin::new(db.clone(), Keeping::new(authorities.clone(), home), &config, listens);
    admin.sign_again().await?;
    let matcher = config
        .matching
        .matcher()
        .map_err(|error| Failure::new(Exit::Config, format!("table [matching]: {error}")))?;
    let messages = intake::Listener::bind(&db, &config.mllp, &matcher, certificate).await?;
    let reach = Reach::default();
    let connector = match &config.ehr {
        Some(ehr) => Some(
            Connector::start(db.clone(), ehr, matcher.clone(), reach.clone(), stop.clone())
                .map_err(|error| Failure::new(Exit::Config, error.to_string()))?,
        ),
        None => None,
    };
    let refreshed = match Refresh::of(&db, &config.reference)? {
        Some(refresh) => tokio::spawn(refresh.run(stop.clone())),
        None => tokio::spawn(async { Ok(()) }),
    };
    let bell = Bell::default();
    let app = App::new(
        db.clone(),
        (authorities.clone(), sealing),
        config.server.clone(),
        matcher,
        reach,
        (config.snapshots.clone(), bell.clone()),
        stop.clone(),
    );

    let console = match &config.console {
        Some(console) => Some(ConsoleAt::bind(console).await?),
        None => None,
    };
    let console_address = console.as_ref().map(|at| at.address.clone());
    let console = console.map(|at| {
        let router = Console::new(admin.clone(), db.clone(), at.config.clone()).router();
        let authorities = authorities.clone();
        tokio::spawn(console::listener::serve(
            at.listener,
            authorities,
            at.config,
            router,
            stop.clone(),
        ))
    });

    let commands = Router::new()
        .route(COMMAND_ROUTE, post(command))
        .layer(DefaultBodyLimit::max(COMMAND_MAX_BYTES))
        .with_state(admin);
    let local = tokio::spawn(serve_local(local, commands, config.server.clone(), stop.clone()));
    let scopes = scopes::start(db.clone(), config.scopes.clone(), stop.clone());
    let proof = proof::start(db.clone(), config.proof.clone(), stop.clone());
    let continuity = continuity::start(db.clone(), stop.clone());
    let snapshots = snapshots::start(db.clone(), config.snapshots.clone(), bell, stop.clone());
    let messages = tokio::spawn(take_messages(messages, stop.clone()));
    let agents = tokio::spawn(tls::serve(
        listener,
        authorities,
        config.server,
        app.router(),
        stop.clone(),
    ));
    tracing::info!(%address, "the hub is ready");
    if let Some(address) = &console_address {
        tracing::info!(%address, "the console is ready");
    }
    ready(&address, console_address.as_deref());

    let agents = agents.await;
    // Whichever part ended first takes the others with it.
    stop.cancel();
    let local = local.await;
    let refreshed = refreshed.await;
    let console = match console {
        Some(console) => console.await,
        None => Ok(Ok(())),
    };
    let delivered = match connector {
        Some(connector) => connector.stopped().await,
        None => true,
    };
    let _ = scopes.await;
    let _ = proof.await;
    let _ = continuity.await;
    let _ = snapshots.await;
    let messages = messages.await;
    let _ = std::fs::remove_file(home.socket());
    db.close();
    tracing::info!("the hub has stopped");
    agents.map_err(|_| Failure::failed("the listener for agents ended in a fault of this program"))??;
    match refreshed {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Failure::failed(format!("the schedule of reference data: {error}"))),
        Err(_) => {
            return Err(Failure::failed(
                "looking for reference data ended in a fault of this program",
            ));
        }
    }
    console.map_err(|_| Failure::failed("the console ended in a fault of this program"))??;
    messages.map_err(|_| Failure::failed("the listener for HL7 ended in a fault of this program"))??;
    local.map_err(|_| Failure::failed("the local socket ended in a fault of this program"))?;
    if delivered {
        Ok(())
    } else {
        Err(Failure::failed("the EHR connector ended in a fault of this program"))
    }
}

/// The console's listener before anything is served.
struct ConsoleAt {
    listener: tokio::net::TcpListener,
    config: console::Config,
    address: String,
}

impl ConsoleAt {
    async fn bind(config: &console::Config) -> Result<ConsoleAt, Failure> {
        let listener = console::listener::bind(config).await?;
        let listens = listener
            .local_addr()
            .map_err(|error| Failure::failed(format!("the console's listener: {error}")))?;
        Ok(ConsoleAt {
            listener,
            address: console::listener::address(config, listens),
            config: config.clone(),
        })
    }
}

/// Takes HL7 messages in, where the hub is to. If that ends by a failure, so does the hub.
async fn take_messages(listener: Option<intake::Listener>, stop: CancellationToken) -> Result<(), Failure> {
    let Some(listener) = listener else { return Ok(()) };
    if let Ok(address) = listener.address() {
        tracing::info!(%address, "HL7 messages are taken in");
    }
    let ended = listener.serve(stop.clone()).await;
    stop.cancel();
    ended
}

/// Told to stop by the service manager or by the keyboard.
pub fn stop_on_signals(stop: &CancellationToken) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Failure::failed(format!("signals cannot be listened to: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = stop.cancelled() => {}
        }
        stop.cancel();
    });
    Ok(())
}

/// The lock says that nobody else uses the socket: one that is there was left by a hub that was killed.
fn bind_local(path: &Path) -> Result<UnixListener, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("the local socket {}: {error}", path.display()));
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Its folder is this user's alone, so there is no moment at which others could connect.
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

async fn serve_local(listener: UnixListener, commands: Router, config: server::Config, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let config = Arc::new(config);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a local connection could not be taken");
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let (commands, config, stop) = (commands.clone(), config.clone(), stop.clone());
        connections.spawn(async move { connection::serve(stream, commands, None, &config, stop).await });
    }
    connections.close();
    connections.wait().await;
}

async fn command(State(admin): State<Admin>, Json(asked): Json<Asked>) -> Json<Outcome> {
    Json(match admin.answer(By::CommandLine, asked).await {
        Ok(reply) => Outcome::Done(reply),
        Err(failure) => Outcome::Failed(failure),
    })
}
