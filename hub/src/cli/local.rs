//! Asking the running hub over its local socket.

use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::admin::{Asked, Reply};
use crate::exit::{Exit, Failure};
use crate::service::{COMMAND_ROUTE, Outcome};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
const REPLY_MAX_BYTES: usize = 16 * 1024 * 1024;

pub(super) async fn send(socket: &Path, asked: &Asked) -> Result<Reply, Failure> {
    let no_answer = |why: &dyn std::fmt::Display| {
        Failure::new(
            Exit::NotRunning,
            format!(
                "the hub that holds this folder does not answer at {} ({why}): look at its log",
                socket.display()
            ),
        )
    };
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, ask(socket, asked)).await;
    let body = answered
        .map_err(|_| no_answer(&"no answer in time"))?
        .map_err(|error| no_answer(&error))?;
    match serde_json::from_slice(&body) {
        Ok(Outcome::Done(reply)) => Ok(reply),
        Ok(Outcome::Failed(failure)) => Err(failure),
        Err(_) => Err(no_answer(&"it is of another version: restart it")),
    }
}

async fn ask(socket: &Path, asked: &Asked) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(COMMAND_ROUTE)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(serde_json::to_vec(asked)?))?;
    let response = sender.send_request(request).await?;
    let body = axum::body::to_bytes(Body::new(response.into_body()), REPLY_MAX_BYTES).await?;
    drop(sender);
    connection.await??;
    Ok(body.to_vec())
}
