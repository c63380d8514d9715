//! Pulling, as a part of the exchange: the hub's pages are applied and proven, and what follows them is fetched meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sync_protocol::replica::{self, PageOutcome, ReplicaError, Taken, Weighing};
use sync_protocol::wire::{Page, PullReply, PullRequest};
use sync_protocol::{Hash, Lane, ScopeId};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use super::snapshot::UnderWay;
use super::{Broken, Exchange};
use crate::access::arrivals::take_series;
use crate::clock;
use crate::line::{Asked, LineState};
use crate::store::{Committed, Priority, TxError};
use crate::verified;

/// How a pull ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pulled {
    /// More may be to come, or to be pushed: what follows asks for it at once.
    GoOn,
    /// Nothing is left to come.
    AtRest,
}

/// How the hub may say that nothing is new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Telling {
    /// By one digest of all lanes.
    InOne,
    /// By each lane's page.
    Pages,
}

/// What the hub answered, to be applied.
struct Answer {
    request: PullRequest,
    reply: PullReply,
    /// A lane is filled from a snapshot; it was not asked for.
    is_filling: bool,
}

/// What came of an answer.
#[derive(Default)]
struct TakenIn {
    /// Lanes that reached the hub's head and are not what the hub has.
    differing: Vec<(ScopeId, Lane)>,
    /// Nothing was new, and every lane was proven at once.
    is_at_rest: bool,
    /// What was asked for beyond this answer cannot be used.
    is_broken_off: bool,
}

impl Exchange {
    /// Pulls until nothing is left to come, or something else is due. While one answer is applied, the next is fetched.
    pub(super) async fn pull_all(&self, committed: &mut Receiver<Arc<Committed>>) -> Result<Pulled, Broken> {
        let mut answer = self.ask_afresh(Duration::ZERO, Telling::InOne).await?;
        if answer.reply.at_rest.is_some() {
            if self.take_in_and_mend(answer).await? == Pulled::AtRest {
                return Ok(Pulled::AtRest);
            }
            // Something differs, and only pages tell what; or a lane is new.
            answer = self.ask_afresh(Duration::ZERO, Telling::Pages).await?;
        }
        loop {
            let waiting = self.much_waiting(&answer.reply);
            if answer.is_filling || self.is_snapshot_due(&waiting).await? {
                self.take_in_and_mend(answer).await?;
                self.fill(&waiting).await?;
                return Ok(Pulled::GoOn);
            }
            // Asked here, so that what was fetched already is not fetched in vain.
            let is_last = has_news(committed) || self.is_held().await;
            let following = if is_last { None } else { self.question_after(&answer) };
            let next = async {
                match following {
                    Some(request) => Some(self.ask(request, false).await),
                    None => None,
                }
            };
            let (taken, next) = tokio::join!(self.take_in(answer), next);
            let taken = taken?;
            let is_broken_off = taken.is_broken_off;
            self.mend_all(taken).await?;
            answer = match next.transpose()? {
                Some(next) if !is_broken_off => next,
                Some(_) => return Ok(Pulled::GoOn),
                None if is_last || self.line.now().behind > 0 => return Ok(Pulled::GoOn),
                None => return Ok(Pulled::AtRest),
            };
        }
    }

    /// Asks to be told, and takes in what is told.
    pub(super) async fn pull_held(&self) -> Result<Pulled, Broken> {
        let wait = self.sync_config().long_poll();
        let answer = self.ask_afresh(wait, Telling::InOne).await?;
        self.take_in_and_mend(answer).await
    }

    /// Asks for what follows the cursors.
    async fn ask_afresh(&self, wait: Duration, telling: Telling) -> Result<Answer, Broken> {
        let config = self.sync_config();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let bytes_max = config.pull_max_bytes;
        // Where nothing is known to wait, they would only make the question longer.
        let budgets = if self.line.now().behind > 0 {
            config.pull_lane_bytes.budgets()
        } else {
            BTreeMap::new()
        };
        let (request, is_filling) = self
            .store
            .write(Priority::Sync, move |tx| {
                let mut request = replica::next_pull(tx, bytes_max, wait_ms, |tx, record| tx.is_worked_with(record))?;
                replica::ask_on(tx, &mut request)?;
                request.budgets = budgets.clone();
                let filling = UnderWay::read(tx)?;
                request
                    .cursors
                    .retain(|cursor| filling.as_ref().is_none_or(|filling| !filling.is_of(cursor)));
                if telling == Telling::InOne {
                    replica::ask_for_digest(tx, &mut request)?;
                }
                Ok::<_, ReplicaError<TxError>>((request, filling.is_some()))
            })
            .await?;
        self.ask(request, is_filling).await
    }

    /// What follows an answer that is still to be applied.
    fn question_after(&self, answer: &Answer) -> Option<PullRequest> {
        let mut request = replica::pull_after(&answer.request, &answer.reply.pages)?;
        request.budgets = self.sync_config().pull_lane_bytes.budgets();
        Some(request)
    }

    async fn ask(&self, request: PullRequest, is_filling: bool) -> Result<Answer, Broken> {
        let wait = Duration::from_millis(request.wait_ms);
        let asked = Asked::now();
        let limit = wait + self.sync_config().request_timeout();
        let reply = self.hub.pull(&request, limit).await?;
        self.note_answer(&reply, asked, wait);
        Ok(Answer {
            request,
            reply,
            is_filling,
        })
    }

    /// Lanes that have so much waiting that a snapshot may fill them sooner, the highest first.
    fn much_waiting(&self, reply: &PullReply) -> Vec<(ScopeId, Lane)> {
        let much = self.sync_config().snapshot_rows_min;
        let pages = reply.pages.iter().filter(|page| page.behind() >= much);
        pages.map(|page| (page.scope, page.lane)).collect()
    }

    async fn take_in_and_mend(&self, answer: Answer) -> Result<Pulled, Broken> {
        let taken = self.take_in(answer).await?;
        let pulled = if taken.is_at_rest { Pulled::AtRest } else { Pulled::GoOn };
        self.mend_all(taken).await?;
        Ok(pulled)
    }

    async fn mend_all(&self, taken: TakenIn) -> Result<(), Broken> {
        for (scope, lane) in taken.differing {
            self.mend(scope, lane).await?;
        }
        Ok(())
    }

    async fn take_in(&self, answer: Answer) -> Result<TakenIn, Broken> {
        let Answer {
            request,
            reply,
            is_filling,
        } = answer;
        if let Some(series) = reply.series {
            let replica = request.replica;
            let taken = self.store.write(Priority::Sync, move |tx| {
                take_series(tx, replica, series).map_err(ReplicaError::Ledger)
            });
            taken.await?;
        }
        let follows = reply.follows;
        let new_lanes = self
            .store
            .write(Priority::Sync, move |tx| replica::follow(tx, &follows))
            .await?;
        let behind = reply.pages.iter().map(Page::behind).sum::<u64>();
        let mut taken = TakenIn {
            // A new one may come before those that were asked for.
            is_broken_off: new_lanes,
            ..TakenIn::default()
        };
        for page in reply.pages {
            self.take(page, &mut taken).await?;
        }
        self.line.update(|line| {
            line.behind = behind + u64::from(new_lanes) + u64::from(is_filling);
            line.exchanged_ms = Some(clock::now_ms());
        });
        if let Some(digest) = reply.at_rest {
            taken.is_at_rest = self.note_rest(request, digest).await? && !new_lanes;
        }
        Ok(taken)
    }

    /// Nothing was new: every lane is proven at once, where our digest is the hub's. Where it is not, pages are asked for. Answers
    /// which it was.
    async fn note_rest(&self, request: PullRequest, digest: Hash) -> Result<bool, Broken> {
        let noted = self.store.write(Priority::Sync, move |tx| {
            let Some(lanes) = replica::compare_digest(tx, &request, digest)? else {
                return Ok::<_, ReplicaError<TxError>>(false);
            };
            for (scope, lane, root) in lanes {
                verified::note(tx, (scope, lane), root, true, clock::now_ms())?;
            }
            Ok(true)
        });
        Ok(noted.await?)
    }

    async fn take(&self, page: Page, taken: &mut TakenIn) -> Result<(), Broken> {
        let (key, limits) = (self.key.clone(), self.sync_config().freeze_limits());
        let (scope, lane, has_rows) = (page.scope, page.lane, !page.rows.is_empty());
        let outcome = self.store.write(Priority::Sync, move |tx| {
            let taken = replica::take_page(tx, &key, &limits, &page)?;
            match &taken {
                Taken::Page(PageOutcome::Applied(applied)) => {
                    tx.observe(applied.latest)?;
                    if let (Some(equal), Some(root)) = (applied.verified, page.root) {
                        verified::note(tx, (page.scope, page.lane), root, equal, clock::now_ms())?;
                    }
                }
                Taken::Weighed { added, .. } => tx.observe(added.latest)?,
                Taken::Page(PageOutcome::OtherCursor | PageOutcome::NotApplied(_)) => {}
            }
            Ok::<_, ReplicaError<TxError>>(taken)
        });
        match outcome.await? {
            Taken::Page(PageOutcome::Applied(applied)) => {
                if applied.verified == Some(false) {
                    taken.differing.push((scope, lane));
                }
            }
            // Another exchange was quicker; the next one asks from where that left off.
            Taken::Page(PageOutcome::OtherCursor) => taken.is_broken_off = true,
            Taken::Page(PageOutcome::NotApplied(comparison)) => {
                taken.is_broken_off = true;
                self.settle(comparison).await?;
            }
            Taken::Weighed { weighing, .. } => {
                if weighing.is_frozen && has_rows {
                    let Weighing {
                        altered, removed, held, ..
                    } = weighing;
                    tracing::error!(
                        ?lane,
                        altered,
                        removed,
                        held,
                        "too much of a lane would be altered or removed at once: it is held back until a person accepts it"
                    );
                }
            }
        }
        Ok(())
    }

    fn note_answer(&self, reply: &PullReply, asked: Asked, wait: Duration) {
        let now = clock::now_ms();
        let hub_ms = i64::try_from(reply.hub_ms).unwrap_or(i64::MAX);
        self.line.update(|line| {
            line.inspected_by = self.hub.inspected_by();
            line.ehr_reached = reply.ehr_reached;
            line.ehr_polled_ms = reply.ehr_polled_ms.and_then(|ms| i64::try_from(ms).ok());
            // A question that was held says nothing of the round trip, and too little of the clock.
            if wait.is_zero() {
                line.note_hub_clock(asked, hub_ms);
            }
            if matches!(line.state, LineState::Starting | LineState::CutOff | LineState::Held) {
                line.enter(LineState::Connected, None, now);
            }
        });
    }
}

/// Whether anything was told since this was last asked that the next exchange is for: an own change, or a lane that is held back
/// or goes on.
pub(super) fn has_news(committed: &mut Receiver<Arc<Committed>>) -> bool {
    let mut has_news = false;
    loop {
        match committed.try_recv() {
            Ok(news) => has_news |= news.own || news.lanes,
            Err(TryRecvError::Lagged(_)) => has_news = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return has_news,
        }
    }
}
