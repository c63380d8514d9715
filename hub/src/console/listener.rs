//! The console's own listener: plain on this machine's loopback addresses, TLS everywhere else, with a certificate of the
//! hub's authority that is renewed while the hub runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vault::Authorities;

use super::Config;
use crate::exit::{Exit, Failure};
use crate::server::{self, connection, tls};

const RENEW_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// After a failed accept (no file descriptors left) the next one waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Takes the port.
pub async fn bind(config: &Config) -> Result<TcpListener, Failure> {
    TcpListener::bind(config.listen).await.map_err(|error| {
        let taken = error.kind() == std::io::ErrorKind::AddrInUse;
        let exit = if taken { Exit::PortTaken } else { Exit::Failed };
        Failure::new(
            exit,
            format!(
                "the console cannot listen on {} ({error}): stop who uses it, or set [console] listen",
                config.listen
            ),
        )
    })
}

/// The address that people open.
pub fn address(config: &Config, listens: SocketAddr) -> String {
    let scheme = if config.tls() { "https" } else { "http" };
    format!("{scheme}://{listens}")
}

/// Serves browsers until told to stop.
pub async fn serve(
    listener: TcpListener,
    authorities: Arc<Authorities>,
    config: Config,
    router: Router,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let (current, latest) = watch::channel(certificate(&authorities, &config)?);
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(config.connections_max));
    let limits = Arc::new(server::Config {
        header_timeout_secs: config.header_timeout_secs,
        stop_grace_secs: config.stop_grace_secs,
        ..server::Config::default()
    });
    let mut renewal = tokio::time::interval_at(tokio::time::Instant::now() + RENEW_AFTER, RENEW_AFTER);
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = renewal.tick() => {
                match certificate(&authorities, &config) {
                    Ok(renewed) => { current.send_replace(renewed); }
                    Err(error) => tracing::error!(%error, "the console's certificate was not renewed"),
                }
                continue;
            }
            () = stop.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection to the console could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let acceptor = latest.borrow().clone().map(TlsAcceptor::from);
        let within = Duration::from_secs(config.handshake_timeout_secs);
        let router = router.clone().layer(Extension(Peer(peer.ip())));
        let (limits, stop) = (limits.clone(), stop.clone());
        connections.spawn(async move {
            serve_browser(stream, acceptor, within, router, &limits, stop).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

/// None on loopback, where no TLS is spoken.
fn certificate(authorities: &Authorities, config: &Config) -> Result<Option<Arc<ServerConfig>>, Failure> {
    if !config.tls() {
        return Ok(None);
    }
    let named = server::Config {
        names: config.names.clone(),
        ..server::Config::default()
    };
    tls::certificate(authorities, &named).map(Some)
}

async fn serve_browser(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    within: Duration,
    router: Router,
    limits: &server::Config,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return connection::serve(stream, router, None, limits, stop).await;
    };
    match tokio::time::timeout(within, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => connection::serve(stream, router, None, limits, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a handshake with the console failed"),
        Err(_) => tracing::debug!("a handshake with the console took too long"),
    }
}
