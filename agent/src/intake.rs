//! HL7 v2 over MLLP, in: every frame is kept, done in the clinic and answered, in this order and each once. A message is
//! one write; it is acknowledged only after that is on the disk, and one that comes again gets the same acknowledgement
//! and changes nothing.
//!
//! It refuses: to answer what is not kept as if it were; to put anything on a patient by a number alone; to let one
//! sender hold up another, since each connection has its own task and limits.

mod connection;
mod discharge;
mod merges;
mod receipt;
mod register;
mod results;
mod schedule;
mod sources;
mod visits;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::MllpConfig;
use crate::store::Store;
use connection::Connection;

/// How long to wait when the system gives no more connections, before asking again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Takes connections until told to stop, then lets each finish the message that it is about. Beside them, results that wait
/// for their patient are tried again.
pub async fn serve(store: Store, config: MllpConfig, listener: TcpListener, stop: CancellationToken) {
    let config = Arc::new(config);
    let waiting = tokio::spawn(waiting::follow(store.clone(), stop.clone()));
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() >= config.connections_max => {
                tracing::warn!(%peer, "an HL7 connection was closed at once: `mllp.connections_max` are open");
                drop(stream);
            }
            Ok((stream, peer)) => {
                let connection = prepared(stream, peer.to_string(), &store, &config);
                connections.spawn(connection.run(stop.clone()));
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
    report(waiting.await);
}

fn prepared(stream: TcpStream, peer: String, store: &Store, config: &Arc<MllpConfig>) -> Connection {
    // An acknowledgement is a single small packet that somebody waits for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was not set");
    }
    Connection::new(stream, peer, store.clone(), config.clone())
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a part of the HL7 intake ended by a fault in the program");
    }
}
