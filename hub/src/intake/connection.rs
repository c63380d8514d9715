//! One connection: bytes in, frames out of them, one message at a time, each answered before the next is begun. It may run over
//! TLS or not.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use formats::mllp::{self, Framed, Framer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::Config;
use super::receipt::{self, Frame};
use crate::db::Db;
use crate::matching::Matcher;

/// A frame of which nothing more comes for so long is given up and answered: its sender is gone or broken.
const FRAME_STALLED: Duration = Duration::from_secs(30);
/// A sender that does not take its answer for so long is hung up on; it finds the answer when it sends again.
const ANSWER_TAKEN: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 64 * 1024;

pub(super) struct Connection<S> {
    stream: S,
    peer: String,
    db: Db,
    config: Arc<Config>,
    matcher: Matcher,
    framer: Framer,
}

/// What came of waiting for bytes.
enum Heard {
    Bytes,
    /// The other side has ended, failed or said nothing for too long: what is left of a frame is all there will be.
    End,
    Stop,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S, peer: String, db: Db, config: Arc<Config>, matcher: Matcher) -> Connection<S> {
        let framer = Framer::new(config.message_max_bytes);
        Connection {
            stream,
            peer,
            db,
            config,
            matcher,
            framer,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut bytes = BytesMut::with_capacity(READ_BYTES);
        loop {
            match self.hear(&mut bytes, &stop).await {
                Heard::Bytes => self.framer.push(&bytes),
                Heard::End => {
                    self.framer.finish();
                    self.answer_frames(&stop).await;
                    return;
                }
                Heard::Stop => return,
            }
            bytes.clear();
            if !self.answer_frames(&stop).await {
                return;
            }
        }
    }

    async fn hear(&mut self, bytes: &mut BytesMut, stop: &CancellationToken) -> Heard {
        let idle = Duration::from_secs(self.config.idle_secs);
        let patience = if self.framer.is_within_frame() {
            idle.min(FRAME_STALLED)
        } else {
            idle
        };
        let read = tokio::select! {
            () = stop.cancelled() => return Heard::Stop,
            read = tokio::time::timeout(patience, self.stream.read_buf(bytes)) => read,
        };
        match read {
            Ok(Ok(1..)) => Heard::Bytes,
            Ok(Ok(0) | Err(_)) | Err(_) => Heard::End,
        }
    }

    /// Answers the frames that are whole. `false`: the connection is of no more use, or the hub stops.
    async fn answer_frames(&mut self, stop: &CancellationToken) -> bool {
        while let Some(framed) = self.framer.poll() {
            if stop.is_cancelled() {
                return false;
            }
            let frame = match framed {
                Framed::Message(bytes) => Frame::whole(bytes),
                Framed::Broken { reason, bytes } => Frame::broken(bytes, reason),
                Framed::Skipped { count } => {
                    tracing::warn!(peer = %self.peer, count, "bytes outside of any MLLP frame were skipped");
                    continue;
                }
            };
            let answer = receipt::receive(&self.db, &self.config, &self.matcher, &self.peer, frame).await;
            if let Some(answer) = answer
                && !self.send(&answer).await
            {
                return false;
            }
        }
        true
    }

    async fn send(&mut self, answer: &[u8]) -> bool {
        let framed = mllp::encode(answer);
        let write = async {
            self.stream.write_all(&framed).await?;
            self.stream.flush().await
        };
        let sent = tokio::time::timeout(ANSWER_TAKEN, write).await;
        matches!(sent, Ok(Ok(())))
    }
}
