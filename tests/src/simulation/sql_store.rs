//! An agent's real store: the product's own tables, SQL and SQLCipher pages, on a disk that fails. Everything that the
//! engine asks of the ledger in memory is asked of this one as well, in one write, and must be answered alike.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use mainstay_agent::store::{ChainCheck, Priority, Store, StoreError, Tuning, TxError, WriteError, WriteTx};
use sync_protocol::proof::{ProofKey, Sum};
use sync_protocol::replica::{ReplicaHead, ReplicaLedger};
use sync_protocol::wire::Cursor;
use sync_protocol::{ChangeId, Dot, RecordId, RecordState};
use tempfile::TempDir;
use vault::DataKey;

use super::agent_store::Call;
use super::disk::{Disk, Image};
use super::rng::Rng;

pub(super) const FILE: &str = "agent.db";
/// Where a machine has a disk in memory.
const IN_MEMORY: &str = "/dev/shm";
/// The log is written back after so few pages, so that a run has that too.
const CHECKPOINT_PAGES: u32 = 24;

pub(crate) struct SqlStore {
    /// Declared before the folder, so that it is closed before that goes.
    store: Option<Store>,
    pub(super) disk: Disk,
    folder: TempDir,
    key: Arc<DataKey>,
}

/// Why a write was not made, or what it showed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Played {
    #[error("{0}")]
    Differs(String),
    #[error(transparent)]
    Tx(#[from] TxError),
}

/// How a write ended.
#[derive(Debug)]
pub(crate) enum Wrote {
    Kept,
    /// Nothing of it was kept, and the store said why.
    Refused(&'static str),
    Damaged,
    Differs(String),
}

/// A new store, as every agent's begins.
fn template() -> Option<&'static (Arc<DataKey>, Image)> {
    static TEMPLATE: OnceLock<Option<(Arc<DataKey>, Image)>> = OnceLock::new();
    let make = || {
        let folder = temporary().ok()?;
        let key = Arc::new(DataKey::generate().ok()?);
        drop(Store::create(folder.path(), key.clone(), tuning()).ok()?);
        let bytes = std::fs::read(folder.path().join(FILE)).ok()?;
        Some((key, Image::from([(FILE.to_owned(), bytes)])))
    };
    TEMPLATE.get_or_init(make).as_ref()
}

fn temporary() -> std::io::Result<TempDir> {
    let builder = tempfile::Builder::new();
    builder.tempdir_in(Path::new(IN_MEMORY)).or_else(|_| builder.tempdir())
}

fn tuning() -> Tuning {
    let mut tuning = Tuning {
        readers: 1,
        ..Tuning::default()
    };
    tuning.sqlite.checkpoint_pages = CHECKPOINT_PAGES;
    tuning
}

impl SqlStore {
    /// A new agent's store.
    pub(crate) fn new(head: ReplicaHead, cursors: &[Cursor]) -> Result<SqlStore, String> {
        let (key, image) = template().ok_or("no store could be made")?;
        let made = SqlStore::of(key.clone(), image)?;
        let mut calls = vec![Call::SetHead(head)];
        calls.extend(cursors.iter().map(|cursor| Call::SetCursor(*cursor)));
        match made.play(calls) {
            Wrote::Kept => Ok(made),
            other @ (Wrote::Refused(_) | Wrote::Damaged | Wrote::Differs(_)) => {
                Err(format!("a new store took no identity: {other:?}"))
            }
        }
    }

    fn of(key: Arc<DataKey>, image: &Image) -> Result<SqlStore, String> {
        let folder = temporary().map_err(|error| error.to_string())?;
        let disk = Disk::beneath(folder.path());
        let mut made = SqlStore {
            store: None,
            disk,
            folder,
            key,
        };
        made.disk.install(image).map_err(|error| error.to_string())?;
        made.open().map_err(|error| error.to_string())?;
        Ok(made)
    }

    /// Another machine with the same files.
    pub(crate) fn cloned(&self) -> Result<SqlStore, String> {
        SqlStore::of(self.key.clone(), &self.image()?)
    }

    pub(crate) fn image(&self) -> Result<Image, String> {
        self.disk.image().map_err(|error| error.to_string())
    }

    /// Stops, puts other files in place, and starts.
    pub(crate) fn restore(&mut self, image: &Image) -> Result<(), String> {
        self.stop_at_once();
        self.disk.install(image).map_err(|error| error.to_string())?;
        self.open().map_err(|error| error.to_string())
    }

    fn open(&mut self) -> Result<(), StoreError> {
        let store = Store::open(self.folder.path(), self.key.clone(), tuning())?;
        self.store = Some(store);
        // What a start does to the log is done before anything else is asked.
        self.play(Vec::new());
        Ok(())
    }

    /// A store is opened with another's key: refused, and left as it is.
    pub(crate) fn refuses_another_key(&mut self) -> Result<bool, String> {
        drop(self.store.take());
        let before = self.image()?;
        let other = DataKey::generate().map_err(|error| error.to_string())?;
        let refused = Store::open(self.folder.path(), Arc::new(other), tuning()).is_err();
        let untouched = self.image()? == before;
        self.open().map_err(|error| error.to_string())?;
        Ok(refused && untouched)
    }

    /// The machine stops where it is: nothing more reaches the disk.
    fn stop_at_once(&mut self) {
        self.disk.cut_power();
        drop(self.store.take());
    }

    /// The power is cut, if it was not, and comes back. An error is what the store says of itself when it is opened.
    pub(crate) fn power_cut(&mut self, rng: &mut Rng) -> Result<(), StoreError> {
        self.stop_at_once();
        // A folder that can't be written to ends the run where the store is opened.
        self.disk.settle(rng).ok();
        self.open()
    }

    /// Stops, in good order or at once, a bit turns over, and it starts again. Whether the bit was one of the log, and how it
    /// started.
    pub(crate) fn bit_flip(&mut self, rng: &mut Rng) -> (bool, Result<(), StoreError>) {
        if rng.per_mille(500) {
            drop(self.store.take());
        } else {
            self.stop_at_once();
        }
        let in_log = self.disk.flip_a_bit(rng).unwrap_or(false);
        (in_log, self.open())
    }

    /// Asks the store all of this, in one write.
    pub(crate) fn play(&self, calls: Vec<Call>) -> Wrote {
        let Some(store) = &self.store else {
            return Wrote::Damaged;
        };
        let played = store.write_blocking(Priority::Desk, move |tx| {
            calls.iter().try_for_each(|call| replay(tx, call))
        });
        // Behind a purge the log is folded away after the answer; the next write waits for that.
        let nothing = |_: &mut WriteTx<'_>| Ok::<(), Played>(());
        store.write_blocking(Priority::Desk, nothing).ok();
        match played {
            Ok(()) => Wrote::Kept,
            Err(WriteError::Refused(Played::Differs(how))) => Wrote::Differs(how),
            Err(WriteError::Refused(Played::Tx(TxError::NotAdmitted { reason }))) => {
                Wrote::Differs(format!("what the engine admits is refused for reason {reason}"))
            }
            Err(WriteError::Refused(Played::Tx(_)) | WriteError::Damaged) => Wrote::Damaged,
            Err(WriteError::NoSpace) => Wrote::Refused("disk full"),
            Err(WriteError::Disk) => Wrote::Refused("disk does not take writes"),
            Err(WriteError::Panicked | WriteError::Busy | WriteError::Commit { .. } | WriteError::Stopped) => {
                Wrote::Refused("the write was broken off")
            }
        }
    }

    /// What the store holds; nothing when it can't be read.
    pub(crate) fn fingerprint(&self, records: Vec<RecordId>) -> Option<Prints> {
        let store = self.store.as_ref()?;
        let taken = store.write_blocking(Priority::Desk, move |tx| {
            fingerprint(tx, &records).map_err(Played::from)
        });
        taken.ok()
    }

    /// Whether it is anybody's: one that was never enrolled follows no feed, and says so.
    pub(crate) fn is_enrolled(&self) -> bool {
        let Some(store) = &self.store else { return false };
        let cursors = store.write_blocking(Priority::Desk, |tx| Ok::<_, Played>(ReplicaLedger::cursors(tx)?));
        cursors.is_ok_and(|cursors| !cursors.is_empty())
    }

    /// What the nightly look finds not to be shown as it is held, and shows anew.
    pub(crate) fn show_anew(&self) -> u64 {
        let Some(store) = &self.store else { return 0 };
        let shown = store.write_blocking(Priority::Desk, |tx| tx.show_anew(RecordId::NIL, usize::MAX));
        shown.map_or(0, |shown| shown.rotted)
    }

    /// What the store's own checks say: of the chain from its first change on, and of the roots from the rows.
    pub(crate) fn is_sound(&self, key: &ProofKey) -> bool {
        let (Some(store), key) = (&self.store, key.clone()) else {
            return false;
        };
        let sound = store.write_blocking(Priority::Desk, move |tx| {
            let chain = matches!(tx.verify_chain()?, ChainCheck::Sound { .. });
            let mut sound = chain;
            for cursor in ReplicaLedger::cursors(tx)? {
                sound &= tx.miscounted(cursor.scope, cursor.lane, &key)?.is_empty();
            }
            Ok::<bool, Played>(sound)
        });
        sound.unwrap_or(false)
    }
}

impl Drop for SqlStore {
    fn drop(&mut self) {
        self.stop_at_once();
        self.disk.remove();
    }
}

fn alike<T: PartialEq>(what: &str, is: &T, expected: &T) -> Result<(), Played> {
    if is == expected {
        Ok(())
    } else {
        Err(Played::Differs(format!("{what} is another than in memory")))
    }
}

/// Asks the store what the ledger in memory was asked, and compares the answers.
fn replay(tx: &mut WriteTx<'_>, call: &Call) -> Result<(), Played> {
    match call {
        Call::Head(head) => alike("the head", &tx.head()?, head),
        Call::SetHead(head) => Ok(tx.set_head(head)?),
        Call::OwnHash(counter, hash) => alike("a hash of the chain", &tx.own_hash(*counter)?, hash),
        Call::Append(own) => Ok(tx.append(own)?),
        Call::OwnAfter(counter, bytes_max, run) => {
            let is: Vec<_> = tx
                .own_after(*counter, *bytes_max)?
                .into_iter()
                .map(|own| own.hash)
                .collect();
            alike("a run of own changes", &is, &run.iter().map(|own| own.hash).collect())
        }
        Call::Restamp(own) => Ok(tx.restamp(own)?),
        Call::Pending(record, pending) => {
            let is: Vec<ChangeId> = tx.pending(*record)?.iter().map(|own| own.header.change).collect();
            alike("what is pending", &is, pending)
        }
        Call::Settle(change) => Ok(tx.settle(*change)?),
        Call::NoteQuarantined(counter, reason) => Ok(tx.note_quarantined(*counter, *reason)?),
        Call::Base(record, base) => alike("a base", &tx.base(*record)?, &base.as_deref().cloned()),
        Call::Place(record, place) => alike("a place", &ReplicaLedger::place(tx, *record)?, place),
        Call::PutBase(place, state, signature) => Ok(tx.put_base(*place, state, signature.as_ref())?),
        Call::Acks(acks) => alike("the hub's words", &tx.acks()?, acks),
        Call::PutAck(held) => Ok(tx.put_ack(held)?),
        Call::DropAck(replica) => Ok(tx.drop_ack(*replica)?),
        Call::ForgetStable(upto) => Ok(tx.forget_stable(*upto)?),
        Call::BasesAfter(record, bytes_max, bases) => {
            alike("what is returned", &tx.bases_after(*record, *bytes_max)?, bases)
        }
        Call::Rewind => Ok(tx.rewind()?),
        Call::LetGo(record) => Ok(tx.let_go(*record)?),
        Call::Purge(record) => Ok(tx.purge(*record)?),
        Call::Offers(at_most, offers) => {
            let (mut is, mut expected) = (tx.offers(*at_most)?, offers.clone());
            is.sort_by_key(|(record, _)| *record);
            expected.sort_by_key(|(record, _)| *record);
            alike("the offers", &is, &expected)
        }
        Call::Shown(record, shown) => alike("what is shown", &tx.shown(*record)?, &shown.as_deref().cloned()),
        Call::PutShown(state) => Ok(tx.put_shown(state)?),
        Call::Cursors(cursors) => {
            let (mut is, mut expected) = (ReplicaLedger::cursors(tx)?, cursors.clone());
            is.sort_by_key(|cursor| (cursor.scope, cursor.lane));
            expected.sort_by_key(|cursor| (cursor.scope, cursor.lane));
            alike("the cursors", &is, &expected)
        }
        Call::SetCursor(cursor) => Ok(tx.set_cursor(cursor)?),
        Call::AddToBucket(scope, lane, bucket, plus, minus) => {
            Ok(tx.add_to_bucket(*scope, *lane, *bucket, *plus, *minus)?)
        }
        Call::BucketSums(scope, lane, sums) => alike("the sums", &ReplicaLedger::bucket_sums(tx, *scope, *lane)?, sums),
    }
}

/// Whether a call changes anything.
pub(crate) fn writes(call: &Call) -> bool {
    match call {
        Call::SetHead(_)
        | Call::Append(_)
        | Call::Restamp(_)
        | Call::Settle(_)
        | Call::NoteQuarantined(..)
        | Call::PutAck(_)
        | Call::DropAck(_)
        | Call::ForgetStable(_)
        | Call::Rewind
        | Call::PutBase(..)
        | Call::LetGo(_)
        | Call::Purge(_)
        | Call::PutShown(_)
        | Call::SetCursor(_)
        | Call::AddToBucket(..) => true,
        Call::Head(_)
        | Call::OwnHash(..)
        | Call::OwnAfter(..)
        | Call::Pending(..)
        | Call::Acks(_)
        | Call::BasesAfter(..)
        | Call::Base(..)
        | Call::Place(..)
        | Call::Offers(..)
        | Call::Shown(..)
        | Call::Cursors(_)
        | Call::BucketSums(..) => false,
    }
}

/// What any ledger holds, in one number for each part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Prints {
    head: u64,
    chain: u64,
    bases: u64,
    shown: u64,
    places: u64,
    pending: u64,
    cursors: u64,
    sums: u64,
    words: u64,
    returned: u64,
}

impl Prints {
    /// The parts in which two stores differ.
    pub(crate) fn differences(&self, other: &Prints) -> Vec<&'static str> {
        let parts = [
            ("head", self.head, other.head),
            ("chain", self.chain, other.chain),
            ("bases", self.bases, other.bases),
            ("shown", self.shown, other.shown),
            ("places", self.places, other.places),
            ("pending", self.pending, other.pending),
            ("cursors", self.cursors, other.cursors),
            ("sums", self.sums, other.sums),
            ("words", self.words, other.words),
            ("returned", self.returned, other.returned),
        ];
        let differing = parts.iter().filter(|(_, one, two)| one != two);
        differing.map(|(part, ..)| *part).collect()
    }
}

pub(crate) fn fingerprint<L: ReplicaLedger>(ledger: &mut L, records: &[RecordId]) -> Result<Prints, L::Error> {
    let start = || Fingerprint(0xcbf2_9ce4_8422_2325);
    let (mut chain, mut bases, mut shown) = (start(), start(), start());
    let (mut places, mut pending, mut at, mut sums) = (start(), start(), start(), start());
    let head = ledger.head()?;
    let dot = |counter| Dot {
        replica: head.replica,
        counter,
    };
    for counter in 1..=head.counter {
        chain.add(&ledger.own_hash(dot(counter))?.map(|hash| hash.0).unwrap_or_default());
    }
    // Below what was accepted the content may have been forgotten.
    for own in ledger.own_after(dot(head.accepted), usize::MAX)? {
        chain.add(&own.change.header);
    }
    let bytes = |state: Option<RecordState>| state.map(|state| state.to_bytes()).unwrap_or_default();
    for record in records {
        bases.add(&bytes(ledger.base(*record)?));
        shown.add(&bytes(ledger.shown(*record)?));
        places.add(format!("{:?}", ledger.place(*record)?).as_bytes());
        for own in ledger.pending(*record)? {
            pending.add(&own.header.change.0);
        }
    }
    let mut cursors = ledger.cursors()?;
    cursors.sort_by_key(|cursor| (cursor.scope, cursor.lane));
    for cursor in cursors {
        at.add(format!("{cursor:?}").as_bytes());
        let mut of_lane = ledger.bucket_sums(cursor.scope, cursor.lane)?;
        of_lane.retain(|(_, sum)| *sum != Sum::default());
        of_lane.sort_by_key(|(bucket, _)| *bucket);
        sums.add(format!("{of_lane:?}").as_bytes());
    }
    let (mut words, mut returned) = (start(), start());
    for held in ledger.acks()? {
        words.add(format!("{held:?}").as_bytes());
    }
    for base in ledger.bases_after(RecordId::NIL, usize::MAX)? {
        returned.add(&base.record.0);
        returned.add(&base.signature.0);
    }
    let mut of_head = start();
    of_head.add(format!("{head:?}").as_bytes());
    Ok(Prints {
        head: of_head.0,
        chain: chain.0,
        bases: bases.0,
        shown: shown.0,
        places: places.0,
        pending: pending.0,
        cursors: at.0,
        sums: sums.0,
        words: words.0,
        returned: returned.0,
    })
}

struct Fingerprint(u64);

impl Fingerprint {
    /// FNV-1a.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&(bytes.len() as u64).to_be_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
