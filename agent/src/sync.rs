//! The exchange loop: push what is written here, pull what the hub has, one exchange at a time; and the probe that tells
//! how the line is. It never applies anything that the engine has not compared with this replica's own chain.

mod push_bytes;
mod repair;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sync_protocol::pause::{After, Pacing};
use sync_protocol::proof::ProofKey;
use sync_protocol::replica::{self, Comparison, Entered, PageOutcome, PushedUpTo, ReplicaError, Taken, Weighing};
use sync_protocol::wire::{BODY_MAX_BYTES, Page, PullReply, PullRequest};
use sync_protocol::{CHANGE_MAX_BYTES, Change, Hash, Lane, ScopeId};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use push_bytes::PushBytes;
use push_bytes::Tried;
pub use repair::Repairs;
pub use snapshot::Snapshots;
use snapshot::UnderWay;

use crate::access::arrivals::take_series;
use crate::access::site::Site;
use crate::clock;
use crate::config::{Config, SyncConfig};
use crate::enrolment::{self, Enrolment};
use crate::hub_client::{HubClient, HubError};
use crate::line::{Asked, LineState, LineWatch, Trouble};
use crate::pages::PagesOpen;
use crate::session::{self, SessionError};
use crate::store::{Committed, Priority, ReadError, Store, TxError, WriteError};
use crate::verified::{self, Why};

/// Of states that are returned, so that a body has room for what goes with them where hardly anything gets smaller.
const RETURN_MAX_BYTES: usize = BODY_MAX_BYTES - 16 * 1024;

/// Everything the loop and the probe share.
pub struct Exchange {
    pub store: Store,
    pub hub: HubClient,
    pub key: ProofKey,
    pub enrolment: Enrolment,
    pub line: LineWatch,
    pub config: watch::Receiver<Arc<Config>>,
    pub pages: PagesOpen,
    /// The probe found the line again.
    pub nudge: Notify,
    /// A session is to begin with the next exchange.
    pub greets: AtomicBool,
    pub repairs: Repairs,
    pub push_bytes: PushBytes,
    pub snapshots: Snapshots,
}

/// Changes on their way up.
struct Run {
    body: Vec<u8>,
    up_to: PushedUpTo,
    changes: usize,
    /// Before compression, and what it was cut to.
    bytes: usize,
    bytes_max: usize,
}

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Session(SessionError),
    #[error(transparent)]
    Write(#[from] WriteError<ReplicaError<TxError>>),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the hub has gone back to an older copy")]
    HubWentBack,
}

impl Broken {
    fn after(&self) -> After {
        match self {
            Broken::Hub(error) | Broken::Session(SessionError::Hub(error)) => error.after(),
            Broken::Session(_) | Broken::Write(_) | Broken::Read(_) | Broken::HubWentBack => After::Failure,
        }
    }

    /// The hub is in another epoch, or has to be told that it should be.
    fn asks_for_epoch(&self) -> bool {
        match self {
            Broken::Hub(error) => error.is_of_other_epoch(),
            Broken::HubWentBack => true,
            Broken::Session(_) | Broken::Write(_) | Broken::Read(_) => false,
        }
    }
}

impl Exchange {
    fn sync_config(&self) -> SyncConfig {
        self.config.borrow().sync.clone()
    }

    /// Runs until told to stop. What goes wrong is tried again, after a random time that grows to the set limit.
    pub async fn run(&self, stop: CancellationToken) {
        let mut committed = self.store.committed();
        let mut failures = 0u32;
        while !stop.is_cancelled() {
            if self.is_held().await {
                self.line
                    .update(|line| line.enter(LineState::Held, None, clock::now_ms()));
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = committed.recv() => continue,
                }
            }
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                // The line is back: a question that went into the dead one would wait for its time to run out.
                () = self.nudge.notified() => Ok(()),
                outcome = self.exchange(&mut committed) => outcome,
            };
            let outcome = match outcome {
                Err(broken) if broken.asks_for_epoch() => self.ask_for_epoch(broken).await,
                other => other,
            };
            match outcome {
                Ok(()) => failures = 0,
                Err(broken) => {
                    failures = failures.saturating_add(1);
                    self.greets.store(true, Ordering::Relaxed);
                    self.note(&broken);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.nudge.notified() => {}
                        () = sleep(self.pacing().pause(broken.after(), failures, clock::random_below)) => {}
                    }
                }
            }
        }
    }

    async fn is_held(&self) -> bool {
        match self.store.read(Site::of).await {
            Ok(site) => !site.held.is_empty(),
            Err(error) => {
                tracing::error!(%error, "whether the line is held cannot be read; it counts as held");
                true
            }
        }
    }

    /// Pushes all there is and pulls until nothing is left to come; then asks to be told. Only the question that the hub
    /// holds gives way to a change of our own: one that is answered at once is waited for, or a busy site would never
    /// hear anything.
    async fn exchange(&self, committed: &mut broadcast::Receiver<Arc<Committed>>) -> Result<(), Broken> {
        self.greet().await?;
        self.push_all().await?;
        self.return_all().await?;
        let waiting = self.pull(Duration::ZERO).await?;
        if self.fill(&waiting).await? || self.line.now().behind > 0 {
            return Ok(());
        }
        let held = self.pull(self.sync_config().long_poll());
        tokio::pin!(held);
        loop {
            tokio::select! {
                biased;
                news = committed.recv() => match news {
                    // Dropping the question is what keeps an answer from before the next push from being taken for a hub
                    // that went back.
                    Ok(news) if news.own || news.lanes => return Ok(()),
                    Ok(_) => {}
                    Err(_) => return Ok(()),
                },
                pulled = &mut held => return pulled.map(|_| ()),
            }
        }
    }

    /// Begins a session where one is to begin: at the start, and when the line comes back.
    async fn greet(&self) -> Result<(), Broken> {
        if let Some(newest) = self.hub.take_surpassed() {
            tracing::error!("the hub has taken requests with this agent's key that this store knows nothing of");
            let noted = self.store.write(Priority::Sync, move |tx| {
                enrolment::note_surpassed(tx, newest, clock::now_ms()).map_err(ReplicaError::Ledger)
            });
            noted.await?;
        }
        if !self.greets.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        session::greet(&self.store, &self.hub, &self.line)
            .await
            .map_err(|error| match error {
                SessionError::Hub(error) => Broken::Hub(error),
                other @ (SessionError::Read(_)
                | SessionError::Write(_)
                | SessionError::Answer(_)
                | SessionError::Key) => Broken::Session(other),
            })
    }

    /// Pushes until the hub has all there is. While it takes one run in, the next is made ready.
    async fn push_all(&self) -> Result<(), Broken> {
        let limit = self.sync_config().request_timeout();
        let mut ready = self.next_run(None).await?;
        while let Some(run) = ready {
            let sent = async {
                let started = Instant::now();
                (self.hub.push(run.body, limit).await, started.elapsed())
            };
            let ((pushed, took), next) = tokio::join!(sent, self.next_run(Some(run.up_to)));
            let tried = Tried {
                bytes: run.bytes,
                bytes_max: run.bytes_max,
                took,
                limit,
            };
            self.push_bytes.learn(&tried, &pushed);
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

    /// Shows the hub what it said before. If its store has begun a new life, or begins one for that, this replica enters it;
    /// if not, what broke the exchange off stands.
    async fn ask_for_epoch(&self, broken: Broken) -> Result<(), Broken> {
        let limit = self.sync_config().request_timeout();
        let request = self
            .store
            .write(Priority::Sync, |tx| replica::epoch_request(tx))
            .await?;
        let reply = self.hub.epoch(&request, limit).await?;
        let entered = self.store.write(Priority::Sync, move |tx| {
            let entered = tx.enter_epoch(&reply)?;
            if let Entered::New(_) = entered {
                verified::note_rebirth(tx, clock::now_ms(), Why::NewEpoch)?;
            }
            Ok::<_, ReplicaError<TxError>>(entered)
        });
        match entered.await? {
            Entered::Same => Err(broken),
            Entered::New(reborn) => {
                tracing::warn!(
                    from = %reborn.from, to = %reborn.to, changes = reborn.changes,
                    cause = Why::NewEpoch.words(), "took a new identity"
                );
                Ok(())
            }
        }
    }

    /// After the hub's store began a new life: returns what the hub sent in the old one, before anything is pulled.
    async fn return_all(&self) -> Result<(), Broken> {
        let config = self.sync_config();
        let mut states = 0;
        loop {
            let bytes_max = self.push_bytes.now(config.push_max_bytes.min(RETURN_MAX_BYTES));
            let next = self
                .store
                .write(Priority::Sync, move |tx| replica::next_return(tx, bytes_max))
                .await?;
            let Some(request) = next else { break };
            let started = Instant::now();
            let taken = self.hub.give_back(&request, config.request_timeout()).await;
            let tried = Tried {
                bytes: request.states.iter().map(|returned| returned.state.len()).sum(),
                bytes_max,
                took: started.elapsed(),
                limit: config.request_timeout(),
            };
            self.push_bytes.learn(&tried, &taken);
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

    /// Answers the lanes that have so much waiting that a snapshot would fill them sooner, the highest first. The lane that is
    /// being filled from one is left out.
    async fn pull(&self, wait: Duration) -> Result<Vec<(ScopeId, Lane)>, Broken> {
        let config = self.sync_config();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let bytes_max = config.pull_max_bytes;
        // What is answered at once tells every lane in full; what is held may be told in one.
        let takes_digest = !wait.is_zero();
        // Where nothing is known to wait, they would only make the question longer.
        let budgets = if self.line.now().behind > 0 {
            config.pull_lane_bytes.budgets()
        } else {
            BTreeMap::new()
        };
        let (request, filling) = self
            .store
            .write(Priority::Sync, move |tx| {
                let mut request = replica::next_pull(tx, bytes_max, wait_ms, |tx, record| tx.is_worked_with(record))?;
                replica::ask_on(tx, &mut request)?;
                request.budgets = budgets.clone();
                let filling = UnderWay::read(tx)?;
                request
                    .cursors
                    .retain(|cursor| filling.as_ref().is_none_or(|filling| !filling.is_of(cursor)));
                if takes_digest {
                    replica::ask_for_digest(tx, &mut request)?;
                }
                Ok::<_, ReplicaError<TxError>>((request, filling))
            })
            .await?;
        let asked = request.replica;
        let asked_at = Asked::now();
        let reply = self.hub.pull(&request, wait + config.request_timeout()).await?;
        self.note_answer(&reply, asked_at, wait);
        if let Some(series) = reply.series {
            let taken = self.store.write(Priority::Sync, move |tx| {
                take_series(tx, asked, series).map_err(ReplicaError::Ledger)
            });
            taken.await?;
        }
        let follows = reply.follows;
        let new_lanes = self
            .store
            .write(Priority::Sync, move |tx| replica::follow(tx, &follows))
            .await?;
        let behind = reply.pages.iter().map(Page::behind).sum::<u64>() + u64::from(new_lanes);
        let many = |page: &&Page| page.behind() >= config.snapshot_rows_min;
        let waiting = reply
            .pages
            .iter()
            .filter(many)
            .map(|page| (page.scope, page.lane))
            .collect();
        let mut differing = Vec::new();
        for page in reply.pages {
            let of = (page.scope, page.lane);
            if self.take(page).await? == Some(false) {
                differing.push(of);
            }
        }
        self.line.update(|line| {
            line.behind = behind + u64::from(filling.is_some());
            line.exchanged_ms = Some(clock::now_ms());
        });
        for (scope, lane) in differing {
            self.mend(scope, lane).await?;
        }
        if let Some(digest) = reply.at_rest {
            self.note_rest(request, digest).await?;
        }
        Ok(waiting)
    }

    /// Nothing was new: every lane is proven at once, where our digest is the hub's. Where it is not, the question that follows
    /// this exchange is answered with pages.
    async fn note_rest(&self, request: PullRequest, digest: Hash) -> Result<(), Broken> {
        self.store
            .write(Priority::Sync, move |tx| {
                let lanes = replica::compare_digest(tx, &request, digest)?;
                for (scope, lane, root) in lanes.into_iter().flatten() {
                    verified::note(tx, (scope, lane), root, true, clock::now_ms())?;
                }
                Ok::<_, ReplicaError<TxError>>(())
            })
            .await?;
        Ok(())
    }

    /// Applies a page; answers whether the roots are equal, where it reached the head.
    async fn take(&self, page: Page) -> Result<Option<bool>, Broken> {
        let (key, limits) = (self.key.clone(), self.sync_config().freeze_limits());
        let (lane, has_rows) = (page.lane, !page.rows.is_empty());
        let taken = self.store.write(Priority::Sync, move |tx| {
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
        match taken.await? {
            Taken::Page(PageOutcome::Applied(applied)) => Ok(applied.verified),
            // Another exchange was quicker; the next one asks from where that left off.
            Taken::Page(PageOutcome::OtherCursor) => Ok(None),
            Taken::Page(PageOutcome::NotApplied(comparison)) => self.settle(comparison).await.map(|()| None),
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
                Ok(None)
            }
        }
    }

    /// Takes a new identity when ours turns out to be somebody else's too, or to have gone back.
    async fn settle(&self, comparison: Comparison) -> Result<(), Broken> {
        let lost = match comparison {
            Comparison::Same | Comparison::Stale => return Ok(()),
            Comparison::HubWentBack { accepted, hub } => {
                tracing::error!(accepted, hub, "the hub holds less of our changes than it acknowledged");
                return Err(Broken::HubWentBack);
            }
            Comparison::Lost(lost) => lost,
        };
        let reborn = self.store.write(Priority::Sync, move |tx| {
            let reborn = tx.take_new_incarnation()?;
            verified::note_rebirth(tx, clock::now_ms(), Why::Lost(lost))?;
            Ok::<_, ReplicaError<TxError>>(reborn)
        });
        let reborn = reborn.await?;
        let cause = Why::Lost(lost).words();
        tracing::warn!(from = %reborn.from, to = %reborn.to, changes = reborn.changes, cause, "took a new identity");
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

    /// The hub has answered. Where it was given much to do it may take so long before the line counts as slow, and how long it
    /// took is no round trip.
    fn reached(&self, took: Duration, much: Option<Duration>) {
        let slow = much.unwrap_or(Duration::from_millis(self.sync_config().slow_ms));
        let state = if took > slow {
            LineState::Slow
        } else {
            LineState::Connected
        };
        self.line.update(|line| {
            line.enter(state, None, clock::now_ms());
            if much.is_none() {
                line.round_trip_ms = u64::try_from(took.as_millis()).ok();
            }
            line.inspected_by = self.hub.inspected_by();
        });
    }

    fn note(&self, broken: &Broken) {
        let trouble = match broken {
            Broken::Hub(error) => error.trouble(),
            Broken::HubWentBack => Trouble::HubWentBack,
            Broken::Write(error) => {
                tracing::error!(%error, "an exchange could not be kept");
                return;
            }
            Broken::Session(error) => {
                tracing::error!(%error, "the session with the hub could not begin");
                return;
            }
            Broken::Read(error) => {
                tracing::error!(%error, "an exchange could not be read");
                return;
            }
        };
        let was = self.line.now().state;
        self.line
            .update(|line| line.enter(LineState::CutOff, Some(trouble.clone()), clock::now_ms()));
        if was != LineState::CutOff {
            tracing::warn!(trouble = trouble.words(), "cut off");
        }
    }

    fn pacing(&self) -> Pacing {
        Pacing {
            backoff_max: Duration::from_secs(self.sync_config().backoff_max_secs),
            window: Duration::from_millis(self.line.now().reconnect_window_ms),
        }
    }

    /// Asks the hub for a sign of life: often while somebody looks, seldom while nobody does.
    pub async fn probe(&self, stop: CancellationToken) {
        loop {
            let config = self.sync_config();
            let every = if self.pages.any() {
                config.probe_secs
            } else {
                config.probe_idle_secs
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.pages.opened() => {}
                () = sleep(Duration::from_secs(every)) => {}
            }
            let line = self.line.now();
            if line.state == LineState::Held || line.trouble.as_ref().is_some_and(Trouble::is_revoked) {
                continue;
            }
            self.probe_once(Duration::from_millis(config.probe_timeout_ms)).await;
        }
    }

    async fn probe_once(&self, limit: Duration) {
        let started = Instant::now();
        let asked = Asked::now();
        let answer = timeout(limit, self.hub.probe(limit))
            .await
            .unwrap_or(Err(HubError::NotReached));
        let before = self.line.now();
        if before.state == LineState::Held {
            return;
        }
        match answer {
            // A hub that answers a probe and refuses an exchange is not back until an exchange succeeds.
            Ok(_) if before.trouble.as_ref().is_some_and(Trouble::only_an_exchange_ends) => {}
            Ok(probe) => {
                self.reached(started.elapsed(), None);
                self.line.update(|line| {
                    line.reconnect_window_ms = probe.reconnect_window_ms;
                    line.ehr_reached = probe.ehr_reached;
                    line.note_hub_clock(asked, probe.hub_ms);
                });
                if before.state == LineState::CutOff {
                    tracing::info!("the line is back");
                    // Everybody's line may have come back this very moment.
                    sleep(self.pacing().back(clock::random_below)).await;
                    if !self.snapshots.is_fetching() {
                        self.nudge.notify_one();
                    }
                }
            }
            Err(error) => self.note(&Broken::Hub(error)),
        }
    }
}
