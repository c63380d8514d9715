//! The one route for agents behind a proxy that inspects the line: a whole request, sealed to the hub's key, is opened,
//! served as any other, and its whole reply sealed for the asker alone. Who asks, the signature inside says; whether the
//! site's line may be inspected, the store.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use sync_protocol::enclosed::{EnclosedReply, EnclosedRequest, about};
use sync_protocol::request_signature::NUMBER_HEADER;
use sync_protocol::wire::BODY_MAX_BYTES;
use tower::ServiceExt;
use vault::envelope::ReplyKey;

use super::App;
use super::body;
use super::refusal::Refusal;

/// Marks a request that came sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Enclosed;

pub(super) const ROUTE: &str = "/sealed";
/// What headers and sealing add to a body at most.
const OVERHEAD_MAX_BYTES: usize = 4 * 1024;
/// A reply is a page of the feed or a part of a content; none is larger.
const REPLY_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Headers of a reply that the asker is told.
const TOLD: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::RETRY_AFTER,
    header::ETAG,
];

pub(super) async fn serve(State((app, routes)): State<(App, Router)>, request: Request) -> Result<Response, Refusal> {
    let number = request
        .headers()
        .get(NUMBER_HEADER)
        .and_then(|number| number.to_str().ok())
        .ok_or(Refusal::BadRequest("the number"))?;
    let about = about("POST", ROUTE, number);
    let within = Duration::from_secs(app.0.config.body_timeout_secs);
    let sealed = body::read(request.into_body(), BODY_MAX_BYTES + OVERHEAD_MAX_BYTES, within).await?;
    let (plain, reply_key) = app
        .0
        .sealing
        .open(&sealed, &about)
        .map_err(|_| Refusal::BadRequest("the sealed body"))?;
    let reply = match EnclosedRequest::decode(&plain) {
        Ok(enclosed) => answer(routes, enclosed).await,
        Err(_) => Refusal::BadRequest("the sealed request").into_response(),
    };
    seal(reply, reply_key, &about).await
}

async fn answer(routes: Router, enclosed: EnclosedRequest) -> Response {
    let Ok(request) = opened(enclosed) else {
        return Refusal::BadRequest("the sealed request").into_response();
    };
    match routes.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn opened(enclosed: EnclosedRequest) -> Result<Request, axum::http::Error> {
    let mut request = Request::builder()
        .method(Method::from_bytes(enclosed.method.as_bytes())?)
        .uri(enclosed.target.parse::<Uri>()?)
        .extension(Enclosed);
    for (name, value) in &enclosed.headers {
        request = request.header(name, HeaderValue::from_str(value)?);
    }
    request.body(Body::from(enclosed.body))
}

async fn seal(reply: Response, key: ReplyKey, about: &[u8]) -> Result<Response, Refusal> {
    let (parts, body) = reply.into_parts();
    let body = axum::body::to_bytes(body, REPLY_MAX_BYTES).await.map_err(|error| {
        tracing::error!(%error, "a reply could not be sealed");
        Refusal::Failed
    })?;
    let headers = TOLD.iter().filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let enclosed = EnclosedReply {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body: body.to_vec(),
    };
    let sealed = key.seal(&enclosed.encode(), about).map_err(|_| Refusal::Failed)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], sealed).into_response())
}
