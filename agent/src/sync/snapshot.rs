//! A lane that is new here and has much waiting at the hub is filled from a snapshot: chunks named by their digest, each fetched
//! while the one before it is applied, one lane at a time, the highest first, with an exchange of everything else between two
//! turns. What was applied is where the cursor stands. So a kill, a cut line or a snapshot that the hub has dropped costs one
//! chunk; the rest comes with the same snapshot, another one, or the feed. It refuses a chunk that is not what was signed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sync_protocol::handshake::feature;
use sync_protocol::replica::{self, ChunkOutcome, ReplicaError};
use sync_protocol::wire::{Chunk, ChunkNote, Cursor, Manifest, SnapshotReply, SnapshotRequest};
use sync_protocol::{Hash, Lane, ScopeId};
use tokio::time::Instant;

use super::{Broken, Exchange};
use crate::hub_client::HubError;
use crate::line::Filling;
use crate::store::{Priority, ReadTx, TxError, WriteTx};

/// The manifest is kept under this name, so that a later start goes on with the same snapshot.
const KEPT: &str = "snapshot";
/// Chunks are taken for so long before everything else has its turn.
const TURN: Duration = Duration::from_secs(1);
/// What one write may take; the desk waits no longer for it.
const SLICE: Duration = Duration::from_millis(20);
const SLICE_ROWS_MIN: usize = 8;
const SLICE_ROWS_MAX: usize = 1_024;
/// A chunk that is not what was signed, or does not come, is asked for so often in all; then the lane is filled page by page.
const TRIES: usize = 3;
/// A chunk of which something keeps coming is waited for so long; what is written here meanwhile goes up after it.
const CHUNK_MAX: Duration = Duration::from_secs(60);
/// The hub is asked again for a snapshot that it is making after this.
const BEING_MADE: Duration = Duration::from_secs(1);
/// After a snapshot that could not be used, the lane is filled page by page for so long.
const UNUSABLE: Duration = Duration::from_secs(10 * 60);

/// When the hub may be asked again for a snapshot of each lane, and how often a chunk has not come.
#[derive(Default)]
pub struct Snapshots {
    next: Mutex<BTreeMap<(ScopeId, Lane), Instant>>,
    tries: Tries,
    /// A chunk is on its way: on a slow line it fills the line, and would begin again from its first byte if it were dropped.
    fetching: AtomicBool,
}

impl Snapshots {
    pub(super) fn is_fetching(&self) -> bool {
        self.fetching.load(Ordering::Relaxed)
    }

    fn may_ask(&self, lane: (ScopeId, Lane)) -> bool {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.get(&lane).is_none_or(|next| *next <= Instant::now())
    }

    fn not_before(&self, lane: (ScopeId, Lane), pause: Duration) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.insert(lane, Instant::now() + pause);
    }
}

/// The chunk that did not come last, and how often. A chunk that comes clears it, so a line that is cut now and then counts for
/// nothing, and one on which a chunk never arrives does.
#[derive(Default)]
struct Tries(Mutex<Option<(Hash, usize)>>);

impl Tries {
    /// Counts one more; answers how many there were.
    fn failed(&self, chunk: Hash) -> usize {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last
            .filter(|(digest, _)| *digest == chunk)
            .map_or(0, |(_, tries)| tries);
        *last = Some((chunk, before + 1));
        before + 1
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The snapshot that is being taken.
pub(super) struct UnderWay {
    reply: SnapshotReply,
    pub(super) manifest: Manifest,
}

impl UnderWay {
    fn of(reply: SnapshotReply) -> Option<UnderWay> {
        let manifest = Manifest::decode(&reply.manifest.as_ref()?.bytes).ok()?;
        Some(UnderWay { reply, manifest })
    }

    /// One that cannot be read is as good as none: the feed goes on.
    pub(super) fn read(tx: &ReadTx<'_>) -> Result<Option<UnderWay>, TxError> {
        let kept = tx.meta(KEPT)?.and_then(|bytes| SnapshotReply::decode(&bytes).ok());
        Ok(kept.and_then(UnderWay::of))
    }

    pub(super) fn is_of(&self, cursor: &Cursor) -> bool {
        (self.manifest.scope, self.manifest.lane) == (cursor.scope, cursor.lane)
    }

    fn lane(&self) -> (ScopeId, Lane) {
        (self.manifest.scope, self.manifest.lane)
    }

    /// How far it is, if it still fits this replica.
    fn place(&self, tx: &ReadTx<'_>) -> Result<Option<u64>, TxError> {
        let head = tx.head()?;
        if (head.epoch, head.replica) != (self.manifest.epoch, self.reply.replica) {
            return Ok(None);
        }
        let cursor = tx.cursors()?.into_iter().find(|cursor| self.is_of(cursor));
        let fits = |c: &Cursor| c.generation == self.manifest.generation && c.sequence >= self.manifest.from;
        Ok(cursor.filter(fits).map(|cursor| cursor.sequence))
    }
}

/// What came of asking for a chunk.
enum Fetched {
    Chunk(Arc<Chunk>),
    /// The hub has it no more.
    Gone,
    /// It is not what was signed, or does not come, however often it is asked for.
    Unusable,
}

impl Exchange {
    /// Goes on with the snapshot that is under way, or asks for one of a lane that has much waiting.
    pub(super) async fn fill(&self, waiting: &[(ScopeId, Lane)]) -> Result<(), Broken> {
        match self.store.read(UnderWay::read).await? {
            Some(under_way) => self.take_turn(Arc::new(under_way)).await,
            None => match self.next_snapshot(waiting).await? {
                Some(request) => self.ask_for_snapshot(&request).await,
                None => Ok(()),
            },
        }
    }

    /// Whether one of these lanes, which have much waiting, is to be filled from a snapshot that may be asked for now.
    pub(super) async fn is_snapshot_due(&self, waiting: &[(ScopeId, Lane)]) -> Result<bool, Broken> {
        self.next_snapshot(waiting).await.map(|request| request.is_some())
    }

    async fn next_snapshot(&self, waiting: &[(ScopeId, Lane)]) -> Result<Option<SnapshotRequest>, Broken> {
        let is_known = |hub: &crate::line::HubAbout| hub.features.contains(feature::SNAPSHOT);
        if !self.line.now().hub.as_ref().is_some_and(is_known) {
            return Ok(None);
        }
        for lane in waiting.iter().filter(|lane| self.snapshots.may_ask(**lane)) {
            let (scope, number) = *lane;
            let found = self.store.read(move |tx| {
                let is_filled = tx.lane_watch(scope, number)?.is_some_and(|watch| watch.is_filled);
                let mut cursors = tx.cursors()?.into_iter();
                let cursor = cursors.find(|cursor| (cursor.scope, cursor.lane) == (scope, number));
                Ok::<_, TxError>((tx.head()?, cursor.filter(|_| !is_filled)))
            });
            let (head, Some(cursor)) = found.await? else { continue };
            let request = SnapshotRequest {
                epoch: head.epoch,
                replica: head.replica,
                cursor,
            };
            return Ok(Some(request));
        }
        Ok(None)
    }

    async fn ask_for_snapshot(&self, request: &SnapshotRequest) -> Result<(), Broken> {
        let lane = (request.cursor.scope, request.cursor.lane);
        let reply = match self.hub.snapshot(request, self.sync_config().request_timeout()).await {
            Ok(reply) => reply,
            Err(HubError::Refused { code, .. }) if is_of_the_snapshot(&code) => {
                tracing::warn!(lane = ?lane.1, code, "the hub makes no snapshot of a lane; it is filled page by page");
                self.snapshots.not_before(lane, UNUSABLE);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.snapshots.not_before(lane, BEING_MADE);
        if reply.manifest.is_none() {
            return Ok(());
        }
        let bytes = reply.encode();
        let fits = |under_way: &UnderWay| {
            let is_asked_for = under_way.is_of(&request.cursor) && under_way.manifest.epoch == request.epoch;
            is_asked_for && under_way.manifest.after(request.cursor.sequence).is_some()
        };
        let Some(under_way) = UnderWay::of(reply).filter(fits) else {
            tracing::error!(lane = ?lane.1, "the hub's snapshot of a lane is not what was asked for; it is filled page by page");
            self.snapshots.not_before(lane, UNUSABLE);
            return Ok(());
        };
        let kept = self.store.write(Priority::Sync, move |tx: &mut WriteTx<'_>| {
            tx.set_meta(KEPT, &bytes).map_err(ReplicaError::Ledger)
        });
        kept.await?;
        tracing::info!(
            lane = ?lane.1, rows = under_way.manifest.rows(), chunks = under_way.manifest.chunks.len(),
            "a lane is filled from a snapshot"
        );
        Ok(())
    }

    /// Takes chunks for a while. The next one is fetched while one is applied.
    async fn take_turn(&self, under_way: Arc<UnderWay>) -> Result<(), Broken> {
        let begun = Instant::now();
        let mut rows_max = SLICE_ROWS_MIN;
        let mut ahead: Option<(u64, Fetched)> = None;
        loop {
            let Some((from, note)) = self.next_chunk(&under_way).await? else {
                tracing::info!(lane = ?under_way.manifest.lane, "the snapshot of a lane is taken; the feed goes on");
                return self.end_snapshot().await;
            };
            let fetched = match ahead.take() {
                Some((begins, fetched)) if begins == from => fetched,
                Some(_) | None => self.fetch(&under_way, from, note).await?,
            };
            let chunk = match fetched {
                Fetched::Chunk(chunk) => chunk,
                Fetched::Gone => {
                    tracing::warn!(lane = ?under_way.manifest.lane, "the hub has dropped the snapshot of a lane; another is asked for");
                    return self.end_snapshot().await;
                }
                Fetched::Unusable => {
                    self.snapshots.not_before(under_way.lane(), UNUSABLE);
                    return self.end_snapshot().await;
                }
            };
            let is_last_of_turn = begun.elapsed() >= TURN;
            let following = under_way.manifest.after(note.to).filter(|_| !is_last_of_turn);
            let fetching = async {
                match following {
                    Some((from, note)) => {
                        Some(self.fetch(&under_way, from, *note).await.map(|fetched| (from, fetched)))
                    }
                    None => None,
                }
            };
            let (applied, fetched) = tokio::join!(self.apply(&under_way, chunk, &mut rows_max), fetching);
            if !applied? {
                return self.end_snapshot().await;
            }
            self.tell_filling(&under_way, note.to);
            ahead = fetched.transpose()?;
            if is_last_of_turn {
                return Ok(());
            }
        }
    }

    /// The chunk that follows the cursor; none when the snapshot is done with, or does not fit any more.
    async fn next_chunk(&self, under_way: &Arc<UnderWay>) -> Result<Option<(u64, ChunkNote)>, Broken> {
        let of = under_way.clone();
        let place = self.store.read(move |tx| of.place(tx)).await?;
        let next = place.and_then(|place| under_way.manifest.after(place));
        Ok(next.map(|(from, note)| (from, *note)))
    }

    async fn fetch(&self, under_way: &UnderWay, from: u64, note: ChunkNote) -> Result<Fetched, Broken> {
        let silence = self.sync_config().request_timeout();
        let ask = || self.hub.snapshot_chunk(note.digest, silence, CHUNK_MAX.max(silence));
        self.snapshots.fetching.store(true, Ordering::Relaxed);
        let fetched = fetch_chunk(&under_way.manifest, from, &note, &self.snapshots.tries, ask).await;
        self.snapshots.fetching.store(false, Ordering::Relaxed);
        Ok(fetched?)
    }

    /// Applies a chunk in short writes. False when the snapshot does not fit any more.
    async fn apply(&self, under_way: &Arc<UnderWay>, chunk: Arc<Chunk>, rows_max: &mut usize) -> Result<bool, Broken> {
        loop {
            let (key, of, chunk, at_most) = (self.key.clone(), under_way.clone(), chunk.clone(), *rows_max);
            let begun = Instant::now();
            let outcome = self.store.write(Priority::Sync, move |tx| {
                let outcome = replica::take_chunk(tx, &key, &of.reply, &chunk, at_most)?;
                if let ChunkOutcome::Applied { applied, .. } = &outcome {
                    tx.observe(applied.latest)?;
                }
                Ok::<_, ReplicaError<TxError>>(outcome)
            });
            match outcome.await? {
                ChunkOutcome::Applied { is_whole: true, .. } => return Ok(true),
                ChunkOutcome::Applied { is_whole: false, .. } => {}
                ChunkOutcome::OtherCursor => return Ok(false),
                ChunkOutcome::NotApplied(comparison) => {
                    self.settle(comparison).await?;
                    return Ok(false);
                }
            }
            *rows_max = match begun.elapsed() {
                took if took > SLICE => *rows_max / 2,
                took if took < SLICE / 2 => *rows_max * 3 / 2,
                _ => *rows_max,
            };
            *rows_max = (*rows_max).clamp(SLICE_ROWS_MIN, SLICE_ROWS_MAX);
        }
    }

    async fn end_snapshot(&self) -> Result<(), Broken> {
        let ended = self.store.write(Priority::Sync, |tx: &mut WriteTx<'_>| {
            tx.remove_meta(KEPT).map_err(ReplicaError::Ledger)
        });
        ended.await?;
        self.line.update(|line| line.filling = None);
        Ok(())
    }

    pub(super) fn tell_filling(&self, under_way: &UnderWay, place: u64) {
        let filling = Filling {
            scope: under_way.manifest.scope,
            lane: under_way.manifest.lane,
            rows: under_way.manifest.rows_until(place),
            of_rows: under_way.manifest.rows(),
        };
        self.line.update(|line| line.filling = Some(filling));
    }
}

/// Asks for a chunk until it is what was signed, or until it was asked for often enough.
async fn fetch_chunk<F: Future<Output = Result<Vec<u8>, HubError>>>(
    manifest: &Manifest,
    from: u64,
    note: &ChunkNote,
    tries: &Tries,
    ask: impl Fn() -> F,
) -> Result<Fetched, HubError> {
    loop {
        match ask().await {
            Ok(bytes) => {
                if let Some(chunk) = manifest.read(from, note, &bytes) {
                    tries.clear();
                    return Ok(Fetched::Chunk(Arc::new(chunk)));
                }
                tracing::error!(chunk = %note.digest, "a chunk of a snapshot is not what was signed: nothing of it is taken");
                if tries.failed(note.digest) < TRIES {
                    continue;
                }
            }
            Err(HubError::Refused { code, .. }) if code == "no_such_blob" => return Ok(Fetched::Gone),
            Err(HubError::Refused { code, .. }) if is_of_the_snapshot(&code) => {
                tracing::error!(chunk = %note.digest, code, "the hub cannot give a chunk of its snapshot");
            }
            // The exchange breaks off: the next one tells whether it is the line or the chunk.
            Err(error) if may_be_the_chunk(&error) && tries.failed(note.digest) < TRIES => return Err(error),
            Err(error) if may_be_the_chunk(&error) => {
                tracing::warn!(
                    chunk = %note.digest, "a chunk of a snapshot does not come; the lane is filled page by page for a while"
                );
            }
            Err(error) => return Err(error),
        }
        tries.clear();
        return Ok(Fetched::Unusable);
    }
}

/// Refusals that speak of the snapshot and not of this agent.
fn is_of_the_snapshot(code: &str) -> bool {
    ["no_such_route", "failed", "no_such_blob"].contains(&code)
}

/// What a chunk that never comes looks like: silence, or what a proxy on the way answers in the hub's place.
fn may_be_the_chunk(error: &HubError) -> bool {
    match error {
        HubError::NotReached | HubError::Unreadable => true,
        HubError::Refused { code, .. } => code.starts_with("HTTP "),
        HubError::WrongAuthority { .. }
        | HubError::Inspected { .. }
        | HubError::Proxy { .. }
        | HubError::Versions { .. }
        | HubError::Dates
        | HubError::Busy { .. }
        | HubError::NotSigned
        | HubError::Setup => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use sync_protocol::wire::{Row, Told, digest_of_chunk};
    use sync_protocol::{EpochId, KindId, RecordId, RecordState};

    use super::*;

    /// A snapshot of one chunk, and its bytes.
    fn snapshot() -> (Manifest, ChunkNote, Vec<u8>) {
        let (scope, lane) = (ScopeId([3; 16]), Lane::Flow);
        let row = Row {
            sequence: 2,
            told: Told::State {
                state: RecordState::new(KindId(1), RecordId([7; 16])),
                offered: false,
            },
            bytes: 0,
            signature: None,
        };
        let chunk = Chunk {
            scope,
            lane,
            generation: 0,
            from: 0,
            to: 2,
            rows: vec![row],
        };
        let bytes = chunk.encode();
        let note = ChunkNote {
            digest: digest_of_chunk(&bytes),
            bytes: bytes.len() as u64,
            rows: 1,
            to: 2,
        };
        let manifest = Manifest {
            epoch: EpochId([1; 16]),
            scope,
            lane,
            generation: 0,
            from: 0,
            chunks: vec![note],
        };
        (manifest, note, bytes)
    }

    /// Asks with these answers, one after the other; says what came of it, and how many were asked for.
    async fn with_answers(tries: &Tries, answers: Vec<Result<Vec<u8>, HubError>>) -> (&'static str, usize) {
        let (manifest, note, _) = snapshot();
        let (left, asked) = (Cell::new(answers.into_iter()), Cell::new(0));
        let ask = || {
            asked.set(asked.get() + 1);
            let mut answers = left.take();
            let answer = answers.next();
            left.set(answers);
            std::future::ready(answer.unwrap())
        };
        let said = match fetch_chunk(&manifest, 0, &note, tries, ask).await {
            Ok(Fetched::Chunk(chunk)) => {
                assert_eq!(chunk.rows.len(), 1);
                "taken"
            }
            Ok(Fetched::Gone) => "gone",
            Ok(Fetched::Unusable) => "page by page",
            Err(_) => "broken off",
        };
        (said, asked.get())
    }

    fn refused(code: &str) -> Result<Vec<u8>, HubError> {
        Err(HubError::Refused {
            code: code.to_owned(),
            message: String::new(),
        })
    }

    #[tokio::test]
    async fn a_chunk_that_is_not_what_was_signed_is_asked_for_again_and_not_without_end() {
        let (_, _, right) = snapshot();
        let wrong = || Ok(vec![0x28; 40]);
        let tries = Tries::default();

        let second = with_answers(&tries, vec![wrong(), Ok(right.clone())]).await;
        let never = with_answers(&tries, vec![wrong(), wrong(), wrong()]).await;
        let mut altered = right.clone();
        altered[20] ^= 1;
        let later = with_answers(&tries, vec![Ok(altered), wrong(), Ok(right)]).await;

        assert_eq!(
            (second, never, later),
            (("taken", 2), ("page by page", 3), ("taken", 3))
        );
    }

    #[tokio::test]
    async fn a_chunk_that_never_comes_is_given_up_after_as_many_exchanges_and_one_that_comes_counts_anew() {
        let (_, _, right) = snapshot();
        let lost = || vec![Err(HubError::NotReached)];
        let tries = Tries::default();

        for _ in 1..TRIES {
            assert_eq!(with_answers(&tries, lost()).await, ("broken off", 1));
        }
        assert_eq!(with_answers(&tries, vec![Ok(right)]).await, ("taken", 1));
        for _ in 1..TRIES {
            assert_eq!(with_answers(&tries, lost()).await, ("broken off", 1));
        }
        assert_eq!(with_answers(&tries, lost()).await, ("page by page", 1));
    }

    #[tokio::test]
    async fn what_the_hub_says_of_a_chunk_decides_what_follows() {
        let tries = Tries::default();

        assert_eq!(with_answers(&tries, vec![refused("no_such_blob")]).await, ("gone", 1));
        assert_eq!(with_answers(&tries, vec![refused("failed")]).await, ("page by page", 1));
        assert_eq!(with_answers(&tries, vec![refused("revoked")]).await, ("broken off", 1));
        // A proxy that lets no chunk through answers in the hub's place.
        for _ in 1..TRIES {
            assert_eq!(with_answers(&tries, vec![refused("HTTP 502")]).await, ("broken off", 1));
        }
        assert_eq!(
            with_answers(&tries, vec![refused("HTTP 502")]).await,
            ("page by page", 1)
        );
    }
}
