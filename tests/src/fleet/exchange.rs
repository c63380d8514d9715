//! The exchanges of one simulated agent, in the steps of the real agent's: push all there is, pull until nothing is left to
//! come, then hold a question open; after a failure wait a random time that grows, or as long as the hub asks. It makes no push
//! ready before the last is answered, and none smaller after one that was not.

use std::time::{Duration, Instant};

use sync_protocol::pause::{After, Pacing};
use sync_protocol::replica::{self, Comparison, PageOutcome};
use sync_protocol::wire::{Cursor, Page, PullReply, PushReply};
use sync_protocol::{Lane, ScopeId};
use tokio_util::sync::CancellationToken;

use super::agent::{Compared, SimAgent};
use super::{now_ms, random_below};

/// The real agent's defaults.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const LONG_POLL: Duration = Duration::from_secs(25);
const PUSH_BYTES: usize = 512 * 1024;
const PULL_BYTES: u64 = 128 * 1024;
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Why an exchange broke off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    NotReached,
    Busy { status: u16, retry_after: Duration },
    Refused(String),
}

/// What a pull told.
#[derive(Default)]
pub(super) struct Told {
    /// How much is still to come.
    behind: u64,
    /// When it was asked, if nothing was new and every lane was proven at once.
    rests_by: Option<Instant>,
    /// The hub said in one that nothing is new, and has something else.
    differs: bool,
}

fn refused(said: impl std::fmt::Display) -> Trouble {
    Trouble::Refused(said.to_string())
}

impl SimAgent {
    /// Runs until told to stop.
    pub(super) async fn run(&self, stop: CancellationToken) {
        let mut failures = 0u32;
        let mut rests = None;
        loop {
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.exchange(rests) => outcome,
            };
            let trouble = match outcome {
                Ok(told) => {
                    failures = 0;
                    rests = told.rests_by;
                    continue;
                }
                Err(trouble) => trouble,
            };
            rests = None;
            failures += 1;
            self.count(|tally| tally.note(&trouble, failures));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause(&trouble, failures)) => {}
            }
        }
    }

    /// `rests_by`: when the question was asked by which everything rests. Then none is asked that is answered at once, unless
    /// something is to be pushed.
    async fn exchange(&self, rests_by: Option<Instant>) -> Result<Told, Trouble> {
        let rests_by = rests_by.filter(|_| self.unpushed() == 0);
        self.push_all().await?;
        let asked = rests_by.unwrap_or_else(Instant::now);
        if rests_by.is_none() {
            let mut told = self.pull(Duration::ZERO, true).await?;
            if told.differs {
                told = self.pull(Duration::ZERO, false).await?;
            }
            if told.behind > 0 {
                return Ok(Told::default());
            }
        }
        tokio::select! {
            biased;
            () = self.has_written() => Ok(Told::default()),
            () = self.is_wanted_since(asked) => Ok(Told::default()),
            told = self.pull(LONG_POLL, true) => told,
        }
    }

    /// Ends when something is there to be pushed.
    async fn has_written(&self) {
        while self.unpushed() == 0 {
            self.wrote.notified().await;
        }
    }

    /// Ends when somebody wants an answer to a newer question.
    async fn is_wanted_since(&self, asked: Instant) {
        // The sender is the agent's own: it is there.
        let _ = self.wanted.subscribe().wait_for(|wanted| *wanted > asked).await;
    }

    async fn push_all(&self) -> Result<(), Trouble> {
        loop {
            let next = replica::next_push(&mut self.held().ledger, PUSH_BYTES).map_err(refused)?;
            let Some(request) = next else { return Ok(()) };
            let began = Instant::now();
            let answer = self.post("/v1/push", request.encode_compact(), REQUEST_TIMEOUT).await?;
            let reply = PushReply::decode(&answer).map_err(refused)?;
            let mut held = self.held();
            let comparison = replica::handle_push_reply(&mut held.ledger, &reply).map_err(refused)?;
            if held.unpushed() == 0 {
                held.drained = Instant::now();
            }
            drop(held);
            self.count(|tally| {
                tally.pushes += 1;
                tally.push_took.push(began.elapsed());
                tally.changes_accepted += reply.accepted.saturating_sub(request.after);
            });
            if let Some((counter, reason)) = reply.quarantined.first() {
                return Err(refused(format!("change {counter} was set aside for reason {reason}")));
            }
            sound(comparison)?;
        }
    }

    async fn pull(&self, wait: Duration, takes_digest: bool) -> Result<Told, Trouble> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let asked = replica::next_pull(&mut self.held().ledger, PULL_BYTES, wait_ms, |_, _| Ok(false));
        let mut request = asked.map_err(refused)?;
        if takes_digest {
            replica::ask_for_digest(&mut self.held().ledger, &mut request).map_err(refused)?;
        }
        let body = request.encode();
        let bytes_up = body.len() as u64;
        let asked = Instant::now();
        let answer = self.post("/v1/pull", body, wait + REQUEST_TIMEOUT).await?;
        let reply = PullReply::decode(&answer).map_err(refused)?;
        self.count(|tally| {
            tally.pulled.add(bytes_up, answer.len() as u64);
        });
        let new_lanes = replica::follow(&mut self.held().ledger, &reply.follows).map_err(refused)?;
        let behind = reply.pages.iter().map(Page::behind).sum::<u64>() + u64::from(new_lanes);
        for page in &reply.pages {
            self.take(page, asked)?;
        }
        let (mut rests_by, mut differs) = (None, false);
        if let Some(digest) = reply.at_rest {
            let mut held = self.held();
            let lanes = replica::compare_digest(&mut held.ledger, &request, digest).map_err(refused)?;
            rests_by = Some(asked).filter(|_| lanes.is_some() && !new_lanes);
            differs = lanes.is_none();
            let lanes = lanes.unwrap_or_default();
            for (scope, lane, _) in &lanes {
                held.lanes.entry((*scope, *lane)).or_default().compared = Some(Compared { equal: true, asked });
            }
            drop(held);
            self.count(|tally| {
                tally.equal += lanes.len() as u64;
                tally.rested.add(bytes_up, answer.len() as u64);
            });
        }
        Ok(Told {
            behind,
            rests_by,
            differs,
        })
    }

    /// What the hub says to a pull of this scope, refusing or not.
    pub async fn asks_for(&self, scope: ScopeId) -> Result<(), String> {
        let asked = replica::next_pull(&mut self.held().ledger, PULL_BYTES, 0, |_, _| Ok(false));
        let mut request = asked.map_err(|error| error.to_string())?;
        request.cursors = Lane::ALL
            .map(|lane| Cursor {
                scope,
                lane,
                generation: 0,
                sequence: 0,
            })
            .to_vec();
        let answer = self.post("/v1/pull", request.encode(), REQUEST_TIMEOUT).await;
        answer.map(|_| ()).map_err(|trouble| format!("{trouble:?}"))
    }

    fn take(&self, page: &Page, asked: Instant) -> Result<(), Trouble> {
        let mut held = self.held();
        let lane = held.lanes.entry((page.scope, page.lane)).or_default();
        if page.head < lane.head {
            return Err(refused(format!(
                "the feed's head went back from {} to {}",
                lane.head, page.head
            )));
        }
        lane.head = page.head;
        match replica::handle_page(&mut held.ledger, &self.key, page).map_err(refused)? {
            PageOutcome::Applied(applied) => {
                held.clock.observe(applied.latest, now_ms());
                if applied.verified.is_some() || !page.rows.is_empty() {
                    let compared = applied.verified.map(|equal| Compared { equal, asked });
                    held.lanes.entry((page.scope, page.lane)).or_default().compared = compared;
                }
                drop(held);
                self.count(|tally| {
                    tally.rows += page.rows.len() as u64;
                    tally.equal += u64::from(applied.verified == Some(true));
                    tally.unequal += u64::from(applied.verified == Some(false));
                });
                Ok(())
            }
            PageOutcome::OtherCursor => Ok(()),
            PageOutcome::NotApplied(comparison) => sound(comparison),
        }
    }

    async fn post(&self, route: &str, body: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, Trouble> {
        let request = self
            .client
            .post(format!("{}{route}", self.hub_url()))
            .timeout(timeout)
            .header("content-type", "application/cbor")
            .body(body);
        let response = request.send().await.map_err(|_| Trouble::NotReached)?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let answer = response.bytes().await.map_err(|_| Trouble::NotReached)?;
        match retry_after {
            _ if status.is_success() => Ok(answer.to_vec()),
            Some(retry_after) if status == 503 || status == 429 => Err(Trouble::Busy {
                status: status.as_u16(),
                retry_after,
            }),
            _ => Err(refused(format!("{status} {}", String::from_utf8_lossy(&answer)))),
        }
    }
}

/// Nobody copies or restores a simulated agent, so the hub must never lose sight of its chain.
fn sound(comparison: Comparison) -> Result<(), Trouble> {
    match comparison {
        Comparison::Same => Ok(()),
        other @ (Comparison::Stale | Comparison::Lost(_) | Comparison::HubWentBack { .. }) => {
            Err(refused(format!("the chains differ: {other:?}")))
        }
    }
}

/// The agent's own pauses; no window, since a simulated agent asks for no probe, which tells it.
fn pause(trouble: &Trouble, failures: u32) -> Duration {
    let pacing = Pacing {
        backoff_max: BACKOFF_MAX,
        window: Duration::ZERO,
    };
    let after = match trouble {
        Trouble::Busy { retry_after, .. } => After::AskedToWait(*retry_after),
        Trouble::NotReached | Trouble::Refused(_) => After::Failure,
    };
    pacing.pause(after, failures, random_below)
}
