//! Pushing, as a part of the exchange: what was written here goes up in runs, the next of which is made ready while the hub takes
//! one in; and after the hub's store began a new life, what it had sent before goes back to it.

use sync_protocol::replica::{self, Comparison, PushedUpTo, ReplicaError};
use sync_protocol::wire::BODY_MAX_BYTES;
use sync_protocol::{CHANGE_MAX_BYTES, Change};
use tokio::time::Instant;

use super::{Broken, Exchange};
use crate::store::{Priority, TxError};

/// Of states that are returned, so that a body has room for what goes with them where hardly anything gets smaller.
const RETURN_MAX_BYTES: usize = BODY_MAX_BYTES - 16 * 1024;

/// Changes on their way up.
struct Run {
    body: Vec<u8>,
    up_to: PushedUpTo,
    changes: usize,
    /// Before compression, and what it was cut to.
    bytes: usize,
    bytes_max: usize,
}

impl Exchange {
    /// Pushes until the hub has all there is. While it takes one run in, the next is made ready.
    pub(super) async fn push_all(&self) -> Result<(), Broken> {
        let limit = self.sync_config().request_timeout();
        let mut ready = self.next_run(None).await?;
        while let Some(run) = ready {
            let sent = async {
                let (tried, started) = (self.push_bytes.tried_with(run.bytes, run.bytes_max), Instant::now());
                let pushed = self.hub.push(run.body, limit).await;
                let took = started.elapsed();
                tried.ended(took, limit, &pushed);
                (pushed, took)
            };
            let ((pushed, took), next) = tokio::join!(sent, self.next_run(Some(run.up_to)));
            let reply = pushed?;
            let all_held = run.up_to.is_held(&reply);
            let comparison = self
                .store
                .write(Priority::Sync, move |tx| replica::handle_push_reply(tx, &reply))
                .await?;
            tracing::debug!(changes = run.changes, "pushed");
            let is_large = run.bytes > CHANGE_MAX_BYTES;
            self.reached(took, is_large.then_some(limit / 4));
            let goes_on = all_held && comparison == Comparison::Same;
            self.settle(comparison).await?;
            ready = match next? {
                Some(next) if goes_on => Some(next),
                _ => self.next_run(None).await?,
            };
        }
        Ok(())
    }

    /// The next run of changes as it is sent: after what the hub has accepted, or after one that is on its way.
    async fn next_run(&self, after: Option<PushedUpTo>) -> Result<Option<Run>, Broken> {
        let mut bytes_max = self.push_bytes.now(self.sync_config().push_max_bytes);
        loop {
            let hub_at_zero_ms = self.line.now().hub_at_zero_ms;
            let next = self
                .store
                .write(Priority::Sync, move |tx| {
                    let mut request = match &after {
                        Some(sent) => replica::push_after(tx, sent, bytes_max)?,
                        None => replica::next_push(tx, bytes_max)?,
                    };
                    if let Some(request) = &mut request {
                        request.clock = hub_at_zero_ms.and_then(|hub_ms| tx.boot_clock(hub_ms));
                    }
                    Ok::<_, ReplicaError<TxError>>(request)
                })
                .await?;
            let Some(request) = next else { return Ok(None) };
            let (up_to, changes) = (PushedUpTo::of(&request), request.changes.len());
            let bytes = request.changes.iter().map(Change::bytes).sum();
            let body = self.hub.body_of(request).await?;
            // What is like nothing else in the run hardly gets smaller.
            if body.len() <= BODY_MAX_BYTES || changes == 1 {
                return Ok(Some(Run {
                    body,
                    up_to,
                    changes,
                    bytes,
                    bytes_max,
                }));
            }
            bytes_max /= 2;
        }
    }

    /// After the hub's store began a new life: returns what the hub sent in the old one, before anything is pulled.
    pub(super) async fn return_all(&self) -> Result<(), Broken> {
        let config = self.sync_config();
        let limit = config.request_timeout();
        let mut states = 0;
        loop {
            let bytes_max = self.push_bytes.now(config.push_max_bytes.min(RETURN_MAX_BYTES));
            let next = self
                .store
                .write(Priority::Sync, move |tx| replica::next_return(tx, bytes_max))
                .await?;
            let Some(request) = next else { break };
            let bytes = request.states.iter().map(|returned| returned.state.len()).sum();
            let (tried, started) = (self.push_bytes.tried_with(bytes, bytes_max), Instant::now());
            let taken = self.hub.give_back(&request, limit).await;
            tried.ended(started.elapsed(), limit, &taken);
            let reply = taken?;
            if reply.refused > 0 {
                tracing::warn!(
                    refused = reply.refused,
                    "the hub did not take back some of what it had sent"
                );
            }
            states += request.states.len();
            self.store
                .write(Priority::Sync, move |tx| replica::handle_return_reply(tx, &reply))
                .await?;
        }
        if states > 0 {
            tracing::info!(states, "returned to the hub what it had sent before");
        }
        Ok(())
    }
}
