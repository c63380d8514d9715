//! The listener for agents. The hub's own certificate lives in memory: each start makes one, and one that grows old is
//! replaced while the hub runs; agents trust the authority, not the certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vault::Authorities;

use super::Config;
use super::connection;
use super::peer::Certificate;
use crate::exit::{Exit, Failure};

/// Certificates are valid 90 days; one is replaced when it is this old.
const RENEW_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// After a failed accept (no file descriptors left) the next one waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Files that are open besides connections of agents: the store's, the console's, the log's, those to other systems.
const OTHER_FILES: u64 = 256;

/// Takes the port.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|error| {
        let taken = error.kind() == std::io::ErrorKind::AddrInUse;
        let exit = if taken { Exit::PortTaken } else { Exit::Failed };
        Failure::new(
            exit,
            format!("{listen} cannot be listened on ({error}): stop who uses it, or set [server] listen"),
        )
    })
}

pub fn certificate(authorities: &Authorities, config: &Config) -> Result<Arc<ServerConfig>, Failure> {
    let now_secs = jiff::Timestamp::now().as_second();
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Config, format!("the hub's certificate: {error}"));
    let identity = authorities
        .serving(now_secs)
        .issue_server(&config.names, now_secs)
        .map_err(|error| failed(&error))?;
    let trusted = authorities.trusted(now_secs);
    let tls = vault::tls::server_config(&trusted, &identity).map_err(|error| failed(&error))?;
    Ok(Arc::new(tls))
}

/// Serves agents until told to stop, then lets open requests end within the grace.
pub async fn serve(
    listener: TcpListener,
    authorities: Arc<Authorities>,
    config: Config,
    router: Router,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let (current, latest) = watch::channel(certificate(&authorities, &config)?);
    let mut made_of = authorities.version(jiff::Timestamp::now().as_second());
    let connections = TaskTracker::new();
    make_room(config.connections_max);
    let slots = Arc::new(Semaphore::new(config.connections_max));
    let mut renewal = tokio::time::interval_at(tokio::time::Instant::now() + RENEW_AFTER, RENEW_AFTER);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            _ = renewal.tick() => {
                renew(&authorities, &config, &current);
                continue;
            }
            () = stop.cancelled() => break,
        };
        let Some((stream, slot)) = accepted else { continue };
        let now = authorities.version(jiff::Timestamp::now().as_second());
        if now != made_of {
            made_of = now;
            renew(&authorities, &config, &current);
        }
        let acceptor = TlsAcceptor::from(latest.borrow().clone());
        let (router, config, stop) = (router.clone(), config.clone(), stop.clone());
        connections.spawn(async move {
            serve_agent(stream, acceptor, router, &config, stop).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Asks the system for as many open files as there may be connections, as many as it allows; says so where that is too few.
fn make_room(connections_max: usize) {
    let wanted = connections_max as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = Rlimit {
        current: Some(allowed),
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    if allowed < wanted {
        tracing::warn!(
            allowed,
            connections_max,
            "this process may open fewer files than `server.connections_max` needs: raise the service's limit (LimitNOFILE)"
        );
    }
}

fn renew(authorities: &Authorities, config: &Config, current: &watch::Sender<Arc<ServerConfig>>) {
    match certificate(authorities, config) {
        Ok(renewed) => {
            current.send_replace(renewed);
        }
        Err(error) => tracing::error!(%error, "the hub's certificate was not renewed"),
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be taken");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn serve_agent(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    config: &Config,
    stop: CancellationToken,
) {
    // Small answers are the rule; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let within = Duration::from_secs(config.handshake_timeout_secs);
    let stream = match tokio::time::timeout(within, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!("a handshake took too long");
            return;
        }
    };
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    let certificate = leaf.and_then(|der| Certificate::read(der));
    connection::serve(stream, router, certificate, config, stop).await;
}
