//! The exchange loop: push what is written here, pull what the hub has, one exchange at a time; and the probe that tells
//! how the line is. It never applies anything that the engine has not compared with this replica's own chain.

mod pull;
mod push;
mod push_bytes;
mod repair;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sync_protocol::pause::{After, Pacing};
use sync_protocol::proof::ProofKey;
use sync_protocol::replica::{self, Comparison, Entered, ReplicaError};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use pull::{Pulled, has_news};
pub use push_bytes::PushBytes;
pub use repair::Repairs;
pub use snapshot::Snapshots;

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
        let mut before = Pulled::GoOn;
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
                () = self.nudge.notified() => Ok(Pulled::GoOn),
                outcome = self.exchange(&mut committed, before) => outcome,
            };
            let outcome = match outcome {
                Err(broken) if broken.asks_for_epoch() => self.ask_for_epoch(broken).await.map(|()| Pulled::GoOn),
                other => other,
            };
            match outcome {
                Ok(pulled) => {
                    failures = 0;
                    before = pulled;
                }
                Err(broken) => {
                    before = Pulled::GoOn;
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

    /// Pushes all there is and pulls until nothing is left to come; then asks to be told. The question that the hub holds gives
    /// way to a change of our own at once. What is answered at once is waited for and applied before, or a busy site would
    /// never hear anything. None is asked that way where the exchange before ended `AtRest` and nothing was written since.
    async fn exchange(
        &self,
        committed: &mut broadcast::Receiver<Arc<Committed>>,
        before: Pulled,
    ) -> Result<Pulled, Broken> {
        self.greet().await?;
        // What was told until now is in the store, where the push finds it.
        let rests = !has_news(committed) && before == Pulled::AtRest;
        self.push_all().await?;
        self.return_all().await?;
        if !rests && self.pull_all(committed).await? == Pulled::GoOn {
            return Ok(Pulled::GoOn);
        }
        let held = self.pull_held();
        tokio::pin!(held);
        loop {
            tokio::select! {
                biased;
                news = committed.recv() => match news {
                    // Dropping the question is what keeps an answer from before the next push from being taken for a hub
                    // that went back.
                    Ok(news) if news.own || news.lanes => return Ok(Pulled::GoOn),
                    Ok(_) => {}
                    Err(_) => return Ok(Pulled::GoOn),
                },
                pulled = &mut held => return pulled,
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
