//! Repair, as a part of the exchange: when a lane's root is not the hub's, what differs is found and set right, and the operator
//! is told what it was. It is never tried in a circle: what could not be mended is left alone for a while.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sync_protocol::replica::{self, RepairOutcome, ReplicaError};
use sync_protocol::wire::{Page, RepairReply, RepairRequest};
use sync_protocol::{Lane, ScopeId};
use tokio::time::Instant;

use super::{Broken, Exchange};
use crate::clock;
use crate::hub_client::HubError;
use crate::store::{Priority, TxError};
use crate::verified::{self, Repair};

/// Questions of one repair, twice as many as the largest site needs for a lane that differs in every part.
const ROUNDS_MAX: usize = 256;
/// A lane that could not be mended is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// When each lane may be repaired again.
#[derive(Default)]
pub struct Repairs(Mutex<BTreeMap<(ScopeId, Lane), Instant>>);

impl Repairs {
    /// Whether the lane's turn has come; if so, the next one is a while away.
    fn is_due(&self, lane: (ScopeId, Lane)) -> bool {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = next.get(&lane).is_none_or(|next| *next <= now);
        if due {
            next.insert(lane, now + AGAIN_AFTER);
        }
        due
    }

    fn done(&self, lane: (ScopeId, Lane)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&lane);
    }
}

impl Exchange {
    /// Finds what a lane holds differently from the hub, and sets it right.
    pub(super) async fn mend(&self, scope: ScopeId, lane: Lane) -> Result<(), Broken> {
        if !self.repairs.is_due((scope, lane)) {
            return Ok(());
        }
        tracing::error!(
            ?lane,
            "this site and the hub do not hold the same facts in this lane: it is repaired"
        );
        let mut repair = Repair {
            at_ms: clock::now_ms(),
            scope,
            lane,
            rotted: self.recount(scope, lane).await?,
            mended: 0,
            ahead: 0,
        };
        let mut is_equal = false;
        for _ in 0..ROUNDS_MAX {
            let Some(reply) = self.ask_buckets(scope, lane).await? else {
                break;
            };
            let Some(page) = self.ask_parts(reply).await? else {
                // The rows are the same here and there: a sum had rotted, and is counted anew by now. The next pull proves it.
                break;
            };
            let key = self.key.clone();
            let outcome = self
                .store
                .write(Priority::Sync, move |tx| {
                    let outcome = replica::handle_repair(tx, &key, &page)?;
                    if let RepairOutcome::Mended(mended) = &outcome {
                        tx.observe(mended.applied.latest)?;
                    }
                    Ok::<_, ReplicaError<TxError>>(outcome)
                })
                .await?;
            match outcome {
                RepairOutcome::Mended(mended) => {
                    repair.mended += mended.applied.records.len() as u64;
                    repair.ahead = mended.ahead.len() as u64;
                    is_equal = mended.applied.verified == Some(true);
                    if is_equal || mended.applied.records.is_empty() {
                        break;
                    }
                }
                // The feed has gone on: the next page's root tells whether anything still differs.
                RepairOutcome::OtherCursor => break,
                RepairOutcome::NotApplied(comparison) => return self.settle(comparison).await,
            }
        }
        self.tell(repair, is_equal).await
    }

    /// Sets the sums of a lane to what its rows say; answers how many were wrong.
    async fn recount(&self, scope: ScopeId, lane: Lane) -> Result<u64, Broken> {
        let key = self.key.clone();
        let wrong = self.store.read(move |tx| tx.miscounted(scope, lane, &key)).await?;
        let mut rotted = 0;
        for one in wrong {
            let key = self.key.clone();
            let recounted = self.store.write(Priority::Sync, move |tx| {
                replica::recount(tx, &key, one.scope, one.lane, one.bucket)
            });
            rotted += u64::from(recounted.await?);
        }
        Ok(rotted)
    }

    async fn ask_buckets(&self, scope: ScopeId, lane: Lane) -> Result<Option<RepairReply>, Broken> {
        let config = self.sync_config();
        let bytes_max = config.pull_max_bytes;
        let request = self
            .store
            .write(Priority::Sync, move |tx| {
                replica::next_repair(tx, scope, lane, bytes_max)
            })
            .await?;
        let timeout = config.request_timeout();
        match request {
            Some(request) => self.ask_hub(&request, timeout).await,
            None => Ok(None),
        }
    }

    async fn ask_parts(&self, reply: RepairReply) -> Result<Option<Page>, Broken> {
        let config = self.sync_config();
        let (key, bytes_max) = (self.key.clone(), config.pull_max_bytes);
        let request = self
            .store
            .write(Priority::Sync, move |tx| replica::narrow(tx, &key, &reply, bytes_max))
            .await?;
        let timeout = config.request_timeout();
        match request {
            Some(request) => Ok(Some(self.hub.repair(&request, timeout).await?.page)),
            None => Ok(None),
        }
    }

    /// A hub that knows no repair refuses; what differs is then told and stays.
    async fn ask_hub(&self, request: &RepairRequest, timeout: Duration) -> Result<Option<RepairReply>, Broken> {
        match self.hub.repair(request, timeout).await {
            Ok(reply) => Ok(Some(reply)),
            Err(HubError::Refused { code, .. }) => {
                tracing::error!(code, "the hub does not repair: bring it up to date");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn tell(&self, repair: Repair, is_equal: bool) -> Result<(), Broken> {
        let told = self.store.write(Priority::Sync, move |tx| {
            verified::note_repair(tx, &repair).map_err(ReplicaError::Ledger)
        });
        told.await?;
        let Repair {
            lane,
            rotted,
            mended,
            ahead,
            ..
        } = repair;
        if ahead > 0 {
            tracing::error!(
                ?lane,
                ahead,
                "records here hold what the hub lacks; they are left as they are"
            );
        }
        if is_equal {
            self.repairs.done((repair.scope, lane));
            tracing::warn!(
                ?lane,
                rotted,
                mended,
                "the lane was repaired: site and hub hold the same again"
            );
        } else {
            tracing::warn!(
                ?lane,
                rotted,
                mended,
                "the repair came to its end; the next pull compares again"
            );
        }
        Ok(())
    }
}
