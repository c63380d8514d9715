//! Makes a proven file searchable, slice by slice, and clears away what is needed no more. It goes on where it was cut
//! off, and holds no more in memory than one piece, one window of the packing and one slice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use clinic::code_set::{CODES_MAX, CodeEntry, LINE_MAX_BYTES};
use sync_protocol::Hash;
use tokio_util::sync::CancellationToken;

use super::{Broken, Named, NamedCodes, PIECES_DROPPED};
use crate::store::{CodeSetStanding, Content, Priority, Store, StoredCodeSet};

/// What one write may take; the desk waits no longer for it.
const SLICE: Duration = Duration::from_millis(20);
const SLICE_CODES_MIN: usize = 20;
const SLICE_CODES_MAX: usize = 1_000;
/// Pages of the index of words that are joined at once.
const PAGES_MIN: usize = 4;
const PAGES_MAX: usize = 64;
/// The pause between two slices, in which others write.
const SLICE_PAUSE: Duration = Duration::from_millis(5);
/// How far back a packed file may refer, as a power of two: so much memory is taken.
const WINDOW_LOG_MAX: u32 = 20;

pub(super) async fn build(
    store: &Store,
    one: &Named,
    codes: &NamedCodes,
    stop: &CancellationToken,
) -> Result<(), Broken> {
    let (digest, name) = (one.digest, codes.name.clone());
    let is_it = move |set: &StoredCodeSet| set.digest == digest && set.name == name;
    let sets = store.read(|tx| tx.code_sets()).await?;
    match sets.into_iter().find(is_it).map(|set| (set.id, set.standing)) {
        Some((_, CodeSetStanding::Searched)) => return Ok(()),
        // It was given up and has come back: its rest goes first.
        Some((set, CodeSetStanding::Dropping)) => drop_codes(store, set, stop).await?,
        Some((_, CodeSetStanding::Building)) | None => {}
    }
    let (thread_store, thread_one, thread_codes) = (store.clone(), one.clone(), codes.clone());
    let thread_stop = stop.clone();
    // Unpacking is work and not waiting.
    let built = tokio::task::spawn_blocking(move || fill(&thread_store, &thread_one, &thread_codes, &thread_stop));
    let set = built
        .await
        .map_err(|_| Broken::Refused("building it ended in a fault of this program"))??;
    store.write(Priority::Sync, move |tx| tx.search_from_now(set)).await?;
    tracing::info!(
        set = codes.name,
        version = codes.version,
        entries = codes.entries,
        "a code set is searched from now on"
    );
    for old in store.read(|tx| tx.code_sets()).await? {
        if old.standing == CodeSetStanding::Dropping {
            drop_codes(store, old.id, stop).await?;
        }
    }
    drop_pieces(store, digest).await
}

fn fill(store: &Store, one: &Named, codes: &NamedCodes, stop: &CancellationToken) -> Result<i64, Broken> {
    let unreadable = |_| Broken::Refused("it cannot be unpacked");
    let (digest, name, version) = (one.digest, codes.name.clone(), codes.version.clone());
    let set = store.write_blocking(Priority::Sync, move |tx| tx.begin_code_set(&name, digest, &version))?;
    let built = store.read_blocking(move |tx| tx.codes_built(set))?;
    let pieces = Pieces {
        store,
        digest,
        place: 0,
        piece: Vec::new(),
        taken: 0,
    };
    let mut unpacked = zstd::stream::read::Decoder::new(pieces).map_err(unreadable)?;
    unpacked.window_log_max(WINDOW_LOG_MAX).map_err(unreadable)?;
    let mut lines = Lines {
        unpacked: BufReader::new(unpacked),
        count: 0,
    };
    while lines.count < built {
        lines.next()?.ok_or(Broken::Refused("it has fewer codes than before"))?;
    }
    let (mut most, mut pages) = (SLICE_CODES_MIN, PAGES_MIN);
    loop {
        if stop.is_cancelled() {
            return Err(Broken::Stopped);
        }
        let from = lines.count;
        let mut slice = Vec::new();
        while slice.len() < most
            && let Some(entry) = lines.next()?
        {
            slice.push(entry);
        }
        if slice.is_empty() {
            break;
        }
        let began = Instant::now();
        store.write_blocking(Priority::Sync, move |tx| tx.add_codes(set, from, &slice))?;
        most = next_slice(most, began.elapsed()).clamp(SLICE_CODES_MIN, SLICE_CODES_MAX);
        std::thread::sleep(SLICE_PAUSE);
        join_some(store, &mut pages)?;
    }
    while join_some(store, &mut pages)? {
        if stop.is_cancelled() {
            return Err(Broken::Stopped);
        }
    }
    if lines.count != codes.entries {
        return Err(Broken::Refused("it has another number of codes than its record says"));
    }
    Ok(set)
}

/// Joins some of the index; false when nothing is left to join.
fn join_some(store: &Store, pages: &mut usize) -> Result<bool, Broken> {
    let at_most = u32::try_from(*pages).unwrap_or(u32::MAX);
    let began = Instant::now();
    let joined = store.write_blocking(Priority::Sync, move |tx| tx.join_words(at_most))?;
    *pages = next_slice(*pages, began.elapsed()).clamp(PAGES_MIN, PAGES_MAX);
    std::thread::sleep(SLICE_PAUSE);
    Ok(joined)
}

/// More while a slice takes half of what it may, half as many once it takes longer than it may.
fn next_slice(size: usize, took: Duration) -> usize {
    match took {
        took if took > SLICE => size / 2,
        took if took < SLICE / 2 => size + size / 2,
        _ => size,
    }
}

struct Lines<R> {
    unpacked: BufReader<R>,
    count: u64,
}

impl<R: Read> Lines<R> {
    fn next(&mut self) -> Result<Option<CodeEntry>, Broken> {
        let mut line = Vec::new();
        let mut within = (&mut self.unpacked).take(LINE_MAX_BYTES as u64);
        within
            .read_until(b'\n', &mut line)
            .map_err(|_| Broken::Refused("it cannot be unpacked"))?;
        if line.is_empty() {
            return Ok(None);
        }
        let entry = std::str::from_utf8(&line)
            .ok()
            .and_then(|line| line.strip_suffix('\n'))
            .and_then(CodeEntry::parse);
        self.count += 1;
        if self.count > CODES_MAX as u64 {
            return Err(Broken::Refused("it has more codes than a set may have"));
        }
        entry.map(Some).ok_or(Broken::Refused("one of its lines is no code"))
    }
}

/// The packed file, read from the store piece by piece.
struct Pieces<'s> {
    store: &'s Store,
    digest: Hash,
    place: u64,
    piece: Vec<u8>,
    taken: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.piece.len() {
            let (digest, place) = (self.digest, self.place);
            let next = self.store.read_blocking(move |tx| tx.content_piece(digest, place));
            self.piece = next.map_err(std::io::Error::other)?.unwrap_or_default();
            self.place += self.piece.len() as u64;
            self.taken = 0;
        }
        let rest = self.piece.get(self.taken..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        Ok(length)
    }
}

/// Clears away contents that no record names any more, versions whose building was overtaken, and the rest of old ones.
pub(super) async fn clear_away(
    store: &Store,
    all: &[Named],
    contents: &[Content],
    sets: &[StoredCodeSet],
    stop: &CancellationToken,
) -> Result<(), Broken> {
    let wanted: BTreeSet<Hash> = all.iter().map(|one| one.digest).collect();
    for set in sets {
        let overtaken = set.standing == CodeSetStanding::Building && !wanted.contains(&set.digest);
        if overtaken {
            let id = set.id;
            store.write(Priority::Sync, move |tx| tx.give_up_code_set(id)).await?;
        }
        if overtaken || set.standing == CodeSetStanding::Dropping {
            drop_codes(store, set.id, stop).await?;
        }
    }
    for content in contents.iter().filter(|content| !wanted.contains(&content.digest)) {
        drop_pieces(store, content.digest).await?;
        let digest = content.digest;
        store.write(Priority::Sync, move |tx| tx.forget_content(digest)).await?;
    }
    Ok(())
}

async fn drop_codes(store: &Store, set: i64, stop: &CancellationToken) -> Result<(), Broken> {
    let mut most = SLICE_CODES_MIN;
    loop {
        let at_most = u32::try_from(most).unwrap_or(u32::MAX);
        let began = Instant::now();
        if !store
            .write(Priority::Sync, move |tx| tx.drop_codes(set, at_most))
            .await?
        {
            return Ok(());
        }
        most = next_slice(most, began.elapsed()).clamp(SLICE_CODES_MIN, SLICE_CODES_MAX);
        let joined = store.write(Priority::Sync, |tx| tx.join_words(PAGES_MIN as u32));
        joined.await?;
        tokio::select! {
            () = stop.cancelled() => return Err(Broken::Stopped),
            () = tokio::time::sleep(SLICE_PAUSE) => {}
        }
    }
}

pub(super) async fn drop_pieces(store: &Store, digest: Hash) -> Result<(), Broken> {
    let drop = move |tx: &mut crate::store::WriteTx<'_>| tx.drop_content_pieces(digest, PIECES_DROPPED);
    while store.write(Priority::Sync, drop).await? {
        tokio::time::sleep(SLICE_PAUSE).await;
    }
    Ok(())
}
