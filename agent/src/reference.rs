//! Reference data at the site: fetches the contents that the hub's records name, and makes code sets searchable, in the
//! background. What stood goes on being searched until a new version is whole and proven.
//!
//! It never fetches while the exchange has something to say, and writes in slices so short that the desk does not wait.
//! What comes and is not what its digest says is thrown away, told, and tried again later.

mod build;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use clinic::catalogue::{form, reference_set};
use ring::digest::{Context, SHA256};
use sync_protocol::{Hash, RecordState};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use standing::{SetStanding, SetState, standing};

use crate::clock;
use crate::config::Config;
use crate::hub_client::{HubClient, HubError};
use crate::line::{LineState, LineWatch};
use crate::store::{Content, ContentStanding, Priority, ReadError, ReadTx, Store, TxError, WriteError};

/// What is asked for, and written, at once.
const PIECE_BYTES: u64 = 64 * 1024;
/// The pause after every piece: the bulk lane leaves the line to the others.
const PIECE_PAUSE: Duration = Duration::from_millis(50);
/// How often a line that is busy or cut is looked at again.
const LINE_PAUSE: Duration = Duration::from_millis(500);
/// A content that was refused is fetched again after this.
const REFUSED_AGAIN_MS: i64 = 10 * 60 * 1000;
/// How often what is missing is looked for, besides when a record changes.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The longest pause after a failure.
const BACKOFF_MAX_MS: u64 = 60_000;
/// Contents larger than this are not fetched: no set or form is.
const CONTENT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Records of a kind that are looked at.
const RECORDS_MAX: u32 = 5_000;
/// Pieces that one write drops.
const PIECES_DROPPED: u32 = 8;

/// What a record names.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Named {
    digest: Hash,
    bytes: u64,
    /// Of a code set: its name, version and number of entries.
    codes: Option<NamedCodes>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct NamedCodes {
    name: String,
    version: String,
    entries: u64,
}

/// Why a content could not be had.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError<TxError>),
    /// What came is not what was named.
    #[error("{0}")]
    Refused(&'static str),
    #[error("the agent stops")]
    Stopped,
}

/// The job that fetches and builds.
pub struct References {
    store: Store,
    hub: HubClient,
    line: LineWatch,
    config: watch::Receiver<Arc<Config>>,
}

impl References {
    pub fn new(store: Store, hub: HubClient, line: LineWatch, config: watch::Receiver<Arc<Config>>) -> References {
        References {
            store,
            hub,
            line,
            config,
        }
    }

    /// Runs until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut committed = self.store.committed();
        let mut failures = 0u32;
        while !stop.is_cancelled() {
            match self.look(&stop).await {
                Ok(()) => failures = 0,
                Err(Broken::Stopped) => return,
                Err(broken) => {
                    failures = failures.saturating_add(1);
                    tracing::debug!(%broken, "reference data could not be fetched");
                    let most = 1_000u64.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX_MS);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(Duration::from_millis(clock::random_below(most))) => continue,
                    }
                }
            }
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep(LOOK_EVERY) => break,
                    news = committed.recv() => match news {
                        Ok(news) if news.kinds.contains(&reference_set::KIND) || news.kinds.contains(&form::KIND) => break,
                        Ok(_) => {}
                        Err(_) => break,
                    },
                }
            }
        }
    }

    /// Fetches whatever is missing, and clears away what is named no more. One that fails does not hold up the others.
    async fn look(&self, stop: &CancellationToken) -> Result<(), Broken> {
        let (all, contents, sets) = self
            .store
            .read(|tx| Ok((named(tx)?, tx.contents()?, tx.code_sets()?)))
            .await?;
        build::clear_away(&self.store, &all, &contents, &sets, stop).await?;
        let mut outcome = Ok(());
        for one in &all {
            let content = contents.iter().find(|content| content.digest == one.digest);
            match self.have(one, content, stop).await {
                Ok(()) => {}
                Err(Broken::Stopped) => return Err(Broken::Stopped),
                Err(Broken::Refused(why)) => {
                    tracing::error!(content = %one.digest, why, "a content from the hub was refused; what stood before stands");
                    self.refuse(one).await?;
                }
                Err(broken) => outcome = Err(broken),
            }
        }
        outcome
    }

    async fn have(&self, one: &Named, content: Option<&Content>, stop: &CancellationToken) -> Result<(), Broken> {
        if one.bytes == 0 || one.bytes > CONTENT_MAX_BYTES {
            return Err(Broken::Refused("its record says a size that no content has"));
        }
        match content.map(|content| (content.standing, content.tried_ms)) {
            Some((ContentStanding::Proven, _)) => {}
            Some((ContentStanding::Refused, tried_ms)) if clock::now_ms() - tried_ms < REFUSED_AGAIN_MS => {
                return Ok(());
            }
            Some((ContentStanding::Fetching | ContentStanding::Refused, _)) | None => {
                let here = content.map_or(0, |content| content.here);
                self.fetch(one, here, stop).await?;
            }
        }
        match &one.codes {
            Some(codes) => build::build(&self.store, one, codes, stop).await,
            None => Ok(()),
        }
    }

    async fn fetch(&self, one: &Named, here: u64, stop: &CancellationToken) -> Result<(), Broken> {
        let (digest, bytes) = (one.digest, one.bytes);
        let now_ms = clock::now_ms();
        let begun = self.store.write(Priority::Sync, move |tx| {
            tx.set_content(digest, bytes, ContentStanding::Fetching, now_ms)
        });
        begun.await?;
        let mut place = here;
        while place < bytes {
            self.until_free(stop).await?;
            let wait = self.config.borrow().sync.request_timeout();
            let asked = self.hub.blob_part(digest, place, PIECE_BYTES.min(bytes - place), wait);
            let (part, whole) = tokio::select! {
                () = stop.cancelled() => return Err(Broken::Stopped),
                part = asked => part?,
            };
            if whole != bytes {
                return Err(Broken::Refused("it is of another size than its record says"));
            }
            let length = part.len() as u64;
            let kept = self
                .store
                .write(Priority::Sync, move |tx| tx.add_content_piece(digest, place, &part));
            kept.await?;
            place += length;
            sleep(PIECE_PAUSE).await;
        }
        self.prove(one).await?;
        let now_ms = clock::now_ms();
        let proven = self.store.write(Priority::Sync, move |tx| {
            tx.set_content(digest, bytes, ContentStanding::Proven, now_ms)
        });
        proven.await?;
        tracing::info!(content = %digest, bytes, "a content was fetched and is what its digest says");
        Ok(())
    }

    /// Waits until the line is there and nothing else wants it.
    async fn until_free(&self, stop: &CancellationToken) -> Result<(), Broken> {
        loop {
            let line = self.line.now();
            let is_there = matches!(line.state, LineState::Connected | LineState::Slow);
            if is_there && line.behind == 0 && self.store.read(|tx| tx.counts()).await?.unsent == 0 {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => return Err(Broken::Stopped),
                () = sleep(LINE_PAUSE) => {}
            }
        }
    }

    async fn prove(&self, one: &Named) -> Result<(), Broken> {
        let mut context = Context::new(&SHA256);
        let (digest, mut place) = (one.digest, 0);
        while place < one.bytes {
            let piece = self.store.read(move |tx| tx.content_piece(digest, place)).await?;
            let piece = piece.filter(|piece| !piece.is_empty());
            let piece = piece.ok_or(Broken::Refused("its pieces do not join"))?;
            context.update(&piece);
            place += piece.len() as u64;
        }
        if context.finish().as_ref() != digest.0 {
            return Err(Broken::Refused("it is not what its digest says"));
        }
        Ok(())
    }

    /// Throws away what came, so that the next try begins anew.
    async fn refuse(&self, one: &Named) -> Result<(), Broken> {
        let (digest, bytes, now_ms) = (one.digest, one.bytes, clock::now_ms());
        let refused = self.store.write(Priority::Sync, move |tx| {
            for set in tx.code_sets()?.into_iter().filter(|set| set.digest == digest) {
                tx.give_up_code_set(set.id)?;
            }
            tx.set_content(digest, bytes, ContentStanding::Refused, now_ms)
        });
        refused.await?;
        build::drop_pieces(&self.store, digest).await
    }
}

/// The contents that records name now.
fn named(tx: &ReadTx<'_>) -> Result<Vec<Named>, TxError> {
    let size = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    let of_set = |state: &RecordState| {
        Some(Named {
            digest: Hash(reference_set::CONTENT.value(state)?.0),
            bytes: size(reference_set::BYTES.value(state)),
            codes: Some(NamedCodes {
                name: reference_set::NAME.value(state)?,
                version: reference_set::VERSION.value(state).unwrap_or_default(),
                entries: size(reference_set::ENTRIES.value(state)),
            }),
        })
    };
    let of_form = |state: &RecordState| {
        Some(Named {
            digest: Hash(
                form::CONTENT
                    .value(state)
                    .filter(|_| form::ENDED_MS.value(state).is_none())?
                    .0,
            ),
            bytes: size(form::BYTES.value(state)),
            codes: None,
        })
    };
    let sets = tx.records_of_kind(reference_set::KIND, RECORDS_MAX)?;
    let forms = tx.records_of_kind(form::KIND, RECORDS_MAX)?;
    let sets = sets.iter().filter_map(|stored| of_set(&stored.state));
    Ok(sets
        .chain(forms.iter().filter_map(|stored| of_form(&stored.state)))
        .collect())
}
