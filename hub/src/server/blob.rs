//! Contents that records name: code sets and forms. Only for an enrolled agent, and only what a record of the
//! organisation's scope names; whatever else is asked for is not there. A range may be asked for, so that a transfer that
//! broke off goes on where it was.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clinic::value::BlobDigest;

use super::App;
use super::caller::Caller;
use super::refusal::Refusal;
use crate::db::{Db, DbError};
use crate::reference;

/// What is read from the store at once.
const PART_BYTES: u64 = 4 * crate::db::PIECE_BYTES as u64;

pub(super) async fn blob(
    State(app): State<App>,
    caller: Caller,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = name_of(&digest)?;
    let db = app.db_of(caller).await?;
    let bytes = db
        .read(move |txn| {
            caller.site(txn)?;
            if !reference::is_named(txn, BlobDigest(name))? {
                return Err(Refusal::NoSuchBlob);
            }
            txn.blob_bytes(name)?.ok_or(Refusal::NoSuchBlob)
        })
        .await?;
    let asked = headers
        .get(header::RANGE)
        .map(|range| range.to_str().unwrap_or_default());
    let Some((from, end)) = asked.map_or(Some((0, bytes)), |range| parse_range(range, bytes)) else {
        let unsatisfied = [(header::CONTENT_RANGE, format!("bytes */{bytes}"))];
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied).into_response());
    };
    let mut response = Response::new(Body::from_stream(parts(db, name, from, end)));
    let said = response.headers_mut();
    said.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/octet-stream"),
    );
    said.insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    said.insert(header::CONTENT_LENGTH, (end - from).into());
    if asked.is_some() {
        let range = format!("bytes {from}-{}/{bytes}", end.saturating_sub(1));
        said.extend(range.try_into().map(|range| (header::CONTENT_RANGE, range)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// A digest as it stands in an address.
pub(super) fn name_of(digest: &str) -> Result<[u8; 32], Refusal> {
    let bytes = data_encoding::HEXLOWER.decode(digest.as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Refusal::BadRequest("the digest"))
}

/// One range of bytes, `bytes=100-199` or `bytes=100-`, as its first place and the one after its last.
fn parse_range(text: &str, bytes: u64) -> Option<(u64, u64)> {
    let (from, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let from: u64 = from.parse().ok()?;
    let end = match last {
        "" => bytes,
        last => last.parse::<u64>().ok()?.saturating_add(1).min(bytes),
    };
    (from < end).then_some((from, end))
}

/// The bytes of a range, read from the store as they are taken.
fn parts(
    db: Db,
    name: [u8; 32],
    from: u64,
    end: u64,
) -> impl futures::Stream<Item = Result<Bytes, DbError>> + Send + 'static {
    futures::stream::try_unfold(from, move |at| {
        let db = db.clone();
        async move {
            if at >= end {
                return Ok(None);
            }
            let part = db
                .read(move |txn| txn.blob_part(name, at, PART_BYTES.min(end - at)))
                .await?;
            if part.is_empty() {
                // It was replaced meanwhile; the agent finds its transfer cut off.
                return Err(DbError::Damaged {
                    what: "a content without its end",
                });
            }
            let next = at + part.len() as u64;
            Ok(Some((Bytes::from(part), next)))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_content_or_none() {
        assert_eq!(parse_range("bytes=0-", 10), Some((0, 10)));
        assert_eq!(parse_range("bytes=4-5", 10), Some((4, 6)));
        assert_eq!(parse_range("bytes=4-99", 10), Some((4, 10)));
        for refused in [
            "bytes=10-",
            "bytes=5-4",
            "bytes=-3",
            "bytes=a-b",
            "chars=0-1",
            "bytes=0-1,3-4",
        ] {
            assert_eq!(parse_range(refused, 10), None, "{refused}");
        }
    }
}
