//! Whose turn it is: it works on patients, several at a time, and runs what is due for each. Woken by commits and by time;
//! what it knows it can find out again, so a crash loses nothing.
//!
//! Several processes share the work. Who works on whom is said by rows of `leases` (see [`super::turn`]); what this one
//! keeps in memory only spares it from asking for what it is at already.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clinic::index::Facet;
use clinic::{link, task_record};
use sync_protocol::hub::HubLedger;
use sync_protocol::{Lane, RecordId, ScopeId};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::delivery::{Desk, Office, dice};
use super::journal::{Caught, StoreError, catch_up};
use super::pace::{May, backoff_ms};
use super::partner::now;
use super::plan::Next;
use super::turn::{Terms, Turn};
use crate::db::{Commit, DbError, Touched};

/// Everything is looked over this often, whatever was heard: deadlines pass without a commit.
const LOOK_OVER_EVERY: Duration = Duration::from_secs(600);
/// How long requests that are under way may take when the hub stops; what is cut off then is looked up at the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long a patient is left alone whose work ended in a fault of the store or of this program.
const FAULT_PAUSE_MS: i64 = 30_000;
/// The steps of one patient's work in one go; a mistake in the plan must not spin.
const STEPS_MAX: usize = 200;

/// Tasks and patients are in the one lane, links in the other.
const LANES: [Lane; 2] = [Lane::Flow, Lane::Safety];
/// How soon a patient on whom somebody else works is looked at again.
const BUSY_PAUSE_MS: i64 = 500;

pub(super) struct Worker {
    desk: Office,
    terms: Terms,
    parallel: usize,
    stop: CancellationToken,
    /// When each patient with work is to be looked at next, milliseconds since 1970.
    due: BTreeMap<RecordId, i64>,
    at_work: BTreeMap<RecordId, AtWork>,
    /// How far each scope's feed was looked at.
    seen: BTreeMap<(ScopeId, Lane), u64>,
    running: JoinSet<Option<i64>>,
}

struct AtWork {
    owner: Id,
    /// Something of the patient changed while the work was under way.
    touched: bool,
}

impl Worker {
    pub(super) fn new(desk: Office, terms: Terms, parallel: usize, stop: CancellationToken) -> Worker {
        Worker {
            desk,
            terms,
            parallel,
            stop,
            due: BTreeMap::new(),
            at_work: BTreeMap::new(),
            seen: BTreeMap::new(),
            running: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut commits = self.desk.db.commits();
        let mut look_over = tokio::time::interval(LOOK_OVER_EVERY);
        loop {
            self.start_what_is_due();
            let until_due = self.until_due();
            tokio::select! {
                () = self.stop.cancelled() => break,
                _ = look_over.tick() => self.look_over().await,
                commit = commits.recv() => match commit {
                    Ok(commit) => match drain(commit, &mut commits) {
                        Ok(scopes) => self.look_at(scopes).await,
                        Err(Missed) => self.look_over().await,
                    },
                    Err(RecvError::Lagged(_)) => self.look_over().await,
                    Err(RecvError::Closed) => break,
                },
                Some(done) = self.running.join_next_with_id() => self.finish(done),
                () = tokio::time::sleep(until_due) => {}
            }
        }
        let ended = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            self.running.shutdown().await;
        }
    }

    fn start_what_is_due(&mut self) {
        let now = now();
        while self.at_work.len() < self.parallel {
            let ready = self
                .due
                .iter()
                .filter(|(patient, at)| **at <= now && !self.at_work.contains_key(*patient));
            let Some((_, patient)) = ready.map(|(patient, at)| (*at, *patient)).min() else {
                return;
            };
            self.due.remove(&patient);
            let turn = match Turn::begin(self.terms) {
                Ok(turn) => turn,
                Err(error) => {
                    tracing::error!(%error, "no lease can be named");
                    self.due.insert(patient, now + FAULT_PAUSE_MS);
                    return;
                }
            };
            let (desk, stop) = (self.desk.of(turn), self.stop.clone());
            let owner = self
                .running
                .spawn(async move { work(&desk, patient, &stop).await })
                .id();
            self.at_work.insert(patient, AtWork { owner, touched: false });
        }
    }

    /// Until somebody is due who can be started then; a full house is woken by whoever is done.
    fn until_due(&self) -> Duration {
        let waiting = self
            .due
            .iter()
            .filter(|(patient, _)| !self.at_work.contains_key(*patient));
        let next = waiting
            .map(|(_, at)| *at)
            .min()
            .filter(|_| self.at_work.len() < self.parallel);
        let wait_ms = next.map_or(LOOK_OVER_EVERY.as_millis() as i64, |at| (at - now()).max(0));
        Duration::from_millis(wait_ms.unsigned_abs())
    }

    fn finish(&mut self, done: Result<(Id, Option<i64>), tokio::task::JoinError>) {
        let (owner, again_ms) = match done {
            Ok((owner, again_ms)) => (owner, again_ms),
            Err(error) => {
                tracing::error!(
                    panicked = error.is_panic(),
                    "the work on a patient's tasks ended in a fault"
                );
                (error.id(), Some(now() + FAULT_PAUSE_MS))
            }
        };
        let Some(patient) = self
            .at_work
            .iter()
            .find(|(_, lease)| lease.owner == owner)
            .map(|(patient, _)| *patient)
        else {
            return;
        };
        let touched = self.at_work.remove(&patient).is_some_and(|lease| lease.touched);
        if let Some(at) = again_ms {
            self.due.insert(patient, at);
        }
        if touched {
            self.touch(patient);
        }
    }

    fn touch(&mut self, patient: RecordId) {
        match self.at_work.get_mut(&patient) {
            Some(lease) => lease.touched = true,
            None => {
                self.due.insert(patient, now());
            }
        }
    }

    /// Everybody with work, from scratch.
    async fn look_over(&mut self) {
        let found = self.desk.db.read(|txn| {
            let mut heads = BTreeMap::new();
            for site in txn.sites()? {
                for lane in LANES {
                    heads.insert((site.scope, lane), txn.feed_head(site.scope, lane)?.0);
                }
            }
            let owners = txn.owners_with_facet(Facet::TASK_FOR_HUB, task_record::KIND, task_record::PATIENT.id)?;
            Ok::<_, DbError>((heads, owners))
        });
        match found.await {
            Ok((heads, owners)) => {
                self.seen = heads;
                owners.into_iter().for_each(|patient| self.touch(patient));
            }
            Err(error) => tracing::error!(%error, "the waiting tasks could not be read"),
        }
    }

    /// Whoever changed in these scopes.
    async fn look_at(&mut self, scopes: BTreeSet<ScopeId>) {
        for (scope, lane) in scopes.into_iter().flat_map(|scope| LANES.map(|lane| (scope, lane))) {
            loop {
                let after = self.seen.get(&(scope, lane)).copied().unwrap_or_default();
                let touched = self.desk.db.read(move |txn| match lane {
                    Lane::Safety => {
                        // A link concerns both its ends.
                        let left = txn.touched_since(scope, lane, after, link::KIND, link::LEFT.id)?;
                        let right = txn.touched_since(scope, lane, after, link::KIND, link::RIGHT.id)?;
                        let owners = left.owners.union(&right.owners).copied().collect();
                        Ok::<_, DbError>(Touched { owners, ..left })
                    }
                    Lane::Flow | Lane::Schedule | Lane::Reference => {
                        txn.touched_since(scope, lane, after, task_record::KIND, task_record::PATIENT.id)
                    }
                });
                match touched.await {
                    Ok(touched) => {
                        self.seen.insert((scope, lane), touched.sequence);
                        touched.owners.into_iter().for_each(|patient| self.touch(patient));
                        if !touched.more {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "what changed could not be read");
                        break;
                    }
                }
            }
        }
    }
}

struct Missed;

/// Takes in what was committed meanwhile, so that a burst is looked at once.
fn drain(first: Commit, commits: &mut tokio::sync::broadcast::Receiver<Commit>) -> Result<BTreeSet<ScopeId>, Missed> {
    let (mut next, mut scopes) = (Ok(first), BTreeSet::new());
    loop {
        match next {
            Ok(Commit::Scopes(touched)) => scopes.extend(touched.iter().copied()),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(scopes),
            Ok(Commit::Everything) | Err(TryRecvError::Lagged(_)) => return Err(Missed),
        }
        next = commits.try_recv();
    }
}

/// Works on one person's tasks, in order, until nothing is due; answers when to look again.
async fn work(desk: &Desk, patient: RecordId, stop: &CancellationToken) -> Option<i64> {
    let again = work_through(desk, patient, stop).await;
    desk.turn.end(&desk.db).await;
    again
}

async fn work_through(desk: &Desk, patient: RecordId, stop: &CancellationToken) -> Option<i64> {
    for _ in 0..STEPS_MAX {
        if stop.is_cancelled() {
            return None;
        }
        match step(desk, patient).await {
            Ok(Step::Go) => {}
            Ok(Step::Again(at)) => return at,
            Err(error) => {
                tracing::error!(%error, "a delivery could not be written down");
                return Some(now() + FAULT_PAUSE_MS);
            }
        }
    }
    Some(now() + FAULT_PAUSE_MS)
}

enum Step {
    /// Something was done; there may be more.
    Go,
    Again(Option<i64>),
}

async fn step(desk: &Desk, patient: RecordId) -> Result<Step, StoreError> {
    let (next, situation) = match catch_up(desk, patient).await? {
        Caught::Busy => return Ok(Step::Again(Some(now() + BUSY_PAUSE_MS))),
        Caught::Up(next, Some(situation)) => (next, situation),
        Caught::Up(_, None) => return Ok(Step::Again(None)),
    };
    let task = match &next {
        Next::LookUp(task) | Next::Deliver(task) => situation.task(*task),
        Next::Wait(at) => return Ok(Step::Again(Some(*at))),
        Next::Rest | Next::Note(..) | Next::Known(..) => return Ok(Step::Again(None)),
    };
    let Some(task) = task else { return Ok(Step::Again(None)) };
    match desk.partner.may() {
        May::Go => {}
        May::NotBefore(at) => {
            // Not all at once when it is there again.
            let spread_ms = backoff_ms(0, 1_000, dice()?);
            return Ok(Step::Again(Some(at + spread_ms)));
        }
        May::Probe => {
            desk.partner.probe().await;
            return Ok(Step::Go);
        }
    }
    match next {
        Next::LookUp(_) => desk.look_up(&situation, task).await?,
        Next::Deliver(_) | Next::Wait(_) | Next::Rest | Next::Note(..) | Next::Known(..) => {
            desk.deliver(&situation, task).await?;
        }
    }
    Ok(Step::Go)
}
