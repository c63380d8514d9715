//! Taking in a request's body, within its size and its time.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;

use super::refusal::Refusal;

pub(crate) async fn read(body: Body, max_bytes: usize, within: Duration) -> Result<Vec<u8>, Refusal> {
    let whole = async {
        let mut bytes = Vec::new();
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            // The other end went away; nobody is left to be told.
            let piece = piece.map_err(|_| Refusal::BadRequest("the body"))?;
            if bytes.len() + piece.len() > max_bytes {
                return Err(Refusal::TooLarge { max_bytes });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    tokio::time::timeout(within, whole)
        .await
        .unwrap_or(Err(Refusal::TooSlow))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_body_at_the_limit_is_taken_and_one_beyond_it_refused() {
        assert_eq!(read(Body::from(vec![1; 10]), 10, SOON).await, Ok(vec![1; 10]));
        assert_eq!(
            read(Body::from(vec![1; 11]), 10, SOON).await,
            Err(Refusal::TooLarge { max_bytes: 10 })
        );
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());

        assert_eq!(read(never, 10, SOON).await, Err(Refusal::TooSlow));
    }
}
