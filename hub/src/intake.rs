//! HL7 v2 over MLLP at the hub: bookings, merges and what is known of people, for all sites. Every frame is kept, done and
//! answered, in this order and each once, as at a site.
//!
//! It refuses: visits and results, which are a site's; a booking of a place that no site is named for; to listen without
//! TLS to anybody but this machine.

mod config;
mod connection;
mod effects;
mod receipt;
mod words;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use connection::Connection;

use crate::db::{Db, DbError};
use crate::exit::{Exit, Failure};
use crate::matching::Matcher;

/// How long to wait when the system gives no more connections, before asking again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// A handshake that takes longer is given up.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// Certificates are valid 90 days; one is replaced when it is this old.
const RENEW_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Issues the hub's certificate for the next while.
pub type Certificate = Box<dyn Fn() -> Result<Arc<ServerConfig>, Failure> + Send + Sync>;

/// The listener, ready to serve.
pub struct Listener {
    socket: TcpListener,
    db: Db,
    config: Arc<Config>,
    matcher: Matcher,
    certificate: Option<Certificate>,
}

impl Listener {
    /// Takes the port, if one is set.
    pub async fn bind(
        db: &Db,
        config: &Config,
        matcher: &Matcher,
        certificate: Certificate,
    ) -> Result<Option<Listener>, Failure> {
        let Some(listen) = config.listen else { return Ok(None) };
        let socket = TcpListener::bind(listen).await.map_err(|error| {
            let taken = error.kind() == std::io::ErrorKind::AddrInUse;
            let exit = if taken { Exit::PortTaken } else { Exit::Failed };
            let what = "cannot be listened on for HL7";
            Failure::new(
                exit,
                format!("{listen} {what} ({error}): stop who uses it, or set [mllp] listen"),
            )
        })?;
        Ok(Some(Listener {
            socket,
            db: db.clone(),
            config: Arc::new(config.clone()),
            matcher: matcher.clone(),
            certificate: config.tls.then_some(certificate),
        }))
    }

    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes connections until told to stop, then lets each finish the message that it is about.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), Failure> {
        self.warn_of_unknown_sites().await?;
        let mut acceptor = self.acceptor()?;
        let mut renewal = tokio::time::interval_at(tokio::time::Instant::now() + RENEW_AFTER, RENEW_AFTER);
        let mut connections: JoinSet<()> = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                _ = renewal.tick() => {
                    match self.acceptor() {
                        Ok(renewed) => acceptor = renewed,
                        Err(error) => tracing::error!(%error, "the certificate for HL7 was not renewed"),
                    }
                    continue;
                }
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) if connections.len() >= self.config.connections_max => {
                    tracing::warn!(%peer, "an HL7 connection was closed at once: `mllp.connections_max` are open");
                    drop(stream);
                }
                Ok((stream, peer)) => {
                    let keeping = (self.db.clone(), self.config.clone(), self.matcher.clone());
                    connections.spawn(take(stream, acceptor.clone(), peer.to_string(), keeping, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "no HL7 connection can be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
        Ok(())
    }

    fn acceptor(&self) -> Result<Option<TlsAcceptor>, Failure> {
        let issued = self.certificate.as_ref().map(|certificate| certificate());
        Ok(issued.transpose()?.map(TlsAcceptor::from))
    }

    /// A site may be added later, so one that is not there stops nothing.
    async fn warn_of_unknown_sites(&self) -> Result<(), Failure> {
        let sites = self
            .db
            .read(|txn| txn.sites())
            .await
            .map_err(|error: DbError| Failure::from(error))?;
        for (place, site) in &self.config.sites {
            if !sites.iter().any(|known| config::names(site, known)) {
                tracing::warn!(place, site, "[mllp.sites] names a site that there is not");
            }
        }
        Ok(())
    }
}

async fn take(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    peer: String,
    (db, config, matcher): (Db, Arc<Config>, Matcher),
    stop: CancellationToken,
) {
    // An acknowledgement is a single small packet that somebody waits for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was not set");
    }
    let Some(acceptor) = acceptor else {
        Connection::new(stream, peer, db, config, matcher).run(stop).await;
        return;
    };
    match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Connection::new(stream, peer, db, config, matcher).run(stop).await,
        Ok(Err(error)) => tracing::debug!(%error, peer, "a handshake for HL7 failed"),
        Err(_) => tracing::debug!(peer, "a handshake for HL7 took too long"),
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("an HL7 connection ended by a fault in the program");
    }
}

#[cfg(test)]
mod tests;
