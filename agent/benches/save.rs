//! What a durable save costs: one field of one patient through the store, beside bare SQLCipher that writes the same
//! rows and bytes to the same tables of the same kind of file, on the same disk, in the same run.
//!
//! `cargo bench -p mainstay-agent --bench save` prints divan's table, then the ratio and the CPU time of a change.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run says why")]

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clinic::write::{Action, Channel, Writing};
use clinic::{PersonName, patient};
use mainstay_agent::store::{AuthorError, Priority, Store, Tuning, digest_of};
use rusqlite::{Connection, params};
use sync_protocol::{Phi, RecordId};
use vault::DataKey;
use vault::sqlite::{self, Mode};

const PATIENTS: u32 = 10_000;
const DESKS: u32 = 16;
/// Each round takes its turn at either side, so that whatever else the machine does falls on both.
const ROUNDS: u32 = 20;
const SAVES_PER_ROUND: u32 = 50;

struct Site {
    _folder: tempfile::TempDir,
    store: Store,
    saved: u32,
}

/// Any patient of the day: the same one is not saved again before all others have been.
fn nth(number: u32) -> RecordId {
    let mut id = [0; 16];
    id.copy_from_slice(&digest_of(&(number % PATIENTS).to_be_bytes()).0[..16]);
    RecordId(id)
}

fn fill(store: &Store) {
    for first in (0..PATIENTS).step_by(500) {
        let filled = store.write_blocking(Priority::Desk, move |tx| {
            for number in first..(first + 500).min(PATIENTS) {
                let name = PersonName::new(&format!("Family{number}"), "Given");
                let arrival = Writing::new(
                    patient::KIND,
                    nth(number),
                    Action::Arrive,
                    Channel::Page.program(),
                    1_000,
                )
                .set(patient::NAME, &Phi::new(name))
                .set(patient::EMAIL, &Phi::new(format!("given.family{number}@example.org")))
                .done();
                tx.author(&arrival)?;
            }
            Ok::<_, AuthorError>(())
        });
        filled.unwrap();
    }
}

fn save(store: &Store, number: u32) {
    let phone = Writing::new(patient::KIND, nth(number), Action::Edit, Channel::Page.program(), 2_000)
        .set(patient::PHONE, &Phi::new(format!("602555{number:04}")))
        .done();
    store
        .write_blocking(Priority::Desk, move |tx| tx.author(&phone))
        .unwrap();
}

impl Site {
    fn filled() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(DataKey::generate().unwrap());
        let store = Store::create(folder.path(), key, Tuning::default()).unwrap();
        fill(&store);
        Site {
            _folder: folder,
            store,
            saved: 0,
        }
    }

    fn save_next(&mut self) {
        save(&self.store, self.saved);
        self.saved += 1;
    }
}

/// The same tables with the same rows in them, and the bytes that one save writes.
struct Bare {
    _folder: tempfile::TempDir,
    connection: Connection,
    header: Vec<u8>,
    payload: Vec<u8>,
    shown: Vec<u8>,
    replica: [u8; 16],
    counter: i64,
    saved: u32,
}

impl Bare {
    fn filled() -> Bare {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(DataKey::generate().unwrap());
        let store = Store::create(folder.path(), key.clone(), Tuning::default()).unwrap();
        fill(&store);
        save(&store, 0);
        let (own, shown, head) = store
            .read_blocking(|tx| {
                Ok((
                    tx.pending_of(nth(0))?.pop().unwrap(),
                    tx.state(nth(0))?.unwrap(),
                    tx.head()?,
                ))
            })
            .unwrap();
        drop(store);
        let tuning = Tuning::default().sqlite;
        let connection = sqlite::open(&folder.path().join("agent.db"), &key, Mode::Existing, &tuning).unwrap();
        Bare {
            _folder: folder,
            connection,
            header: own.change.header,
            payload: own.change.payload,
            shown: shown.to_bytes(),
            replica: head.replica.0,
            counter: head.counter.cast_signed(),
            saved: 1,
        }
    }

    fn save_next(&mut self) {
        self.counter += 1;
        let change = digest_of(&self.counter.to_be_bytes()).0;
        let id = &change[..16];
        let record = nth(self.saved).0;
        let own = "INSERT INTO own_changes (change, replica, counter, record, header, salt, payload, hash, pending)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)";
        let head = "UPDATE identity SET counter = ?1, hash = ?2, clock_wall_ms = ?3";
        let run = |sql, values: &[&dyn rusqlite::ToSql]| {
            self.connection.prepare_cached(sql).unwrap().execute(values).unwrap();
        };
        run("BEGIN IMMEDIATE", &[]);
        run(
            own,
            params![
                id,
                self.replica,
                self.counter,
                record,
                self.header,
                id,
                self.payload,
                change
            ],
        );
        run(
            "UPDATE records SET order_ms = 0, shown = ?2 WHERE record = ?1",
            params![record, self.shown],
        );
        run(head, params![self.counter, change, self.counter]);
        run("COMMIT", &[]);
        self.saved += 1;
    }
}

#[divan::bench(max_time = 5)]
fn save_through_the_store(bencher: divan::Bencher<'_, '_>) {
    let mut site = Site::filled();
    bencher.bench_local(|| site.save_next());
}

#[divan::bench(max_time = 5)]
fn same_rows_and_bytes_by_bare_sqlcipher(bencher: divan::Bencher<'_, '_>) {
    let mut bare = Bare::filled();
    bencher.bench_local(|| bare.save_next());
}

/// Nanoseconds on a processor of all threads of this process so far.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("schedstat")).ok());
    Duration::from_nanos(
        stats
            .map(|stat| stat.split(' ').next().unwrap().parse::<u64>().unwrap())
            .sum(),
    )
}

struct Figures {
    saves: Vec<Duration>,
    cpu: Duration,
}

impl Figures {
    fn new() -> Figures {
        Figures {
            saves: Vec::new(),
            cpu: Duration::ZERO,
        }
    }

    fn round(&mut self, mut save: impl FnMut()) {
        let before = cpu();
        for _ in 0..SAVES_PER_ROUND {
            let began = Instant::now();
            save();
            self.saves.push(began.elapsed());
        }
        self.cpu += cpu() - before;
    }

    /// Of the saves in order of time, the one that so many percent are faster than.
    fn percentile(&mut self, percent: usize) -> f64 {
        self.saves.sort();
        micros(self.saves[self.saves.len() * percent / 100])
    }

    fn cpu_per_save(&self) -> f64 {
        micros(self.cpu) / self.saves.len() as f64
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn one_desk() {
    let (mut site, mut bare) = (Site::filled(), Bare::filled());
    let (mut ours, mut theirs) = (Figures::new(), Figures::new());
    for _ in 0..ROUNDS {
        ours.round(|| site.save_next());
        theirs.round(|| bare.save_next());
    }
    for (name, percent) in [("median", 50), ("fastest tenth", 10)] {
        let (store, bare) = (ours.percentile(percent), theirs.percentile(percent));
        println!(
            "one desk, {name}: store {store:.0} µs, bare SQLCipher {bare:.0} µs, ratio {:.2}",
            store / bare
        );
    }
    println!(
        "CPU per change: store {:.0} µs, bare {:.0} µs",
        ours.cpu_per_save(),
        theirs.cpu_per_save()
    );
}

fn many_desks() {
    let site = Site::filled();
    let saves = ROUNDS * SAVES_PER_ROUND;
    let (before, began) = (cpu(), Instant::now());
    let spent = thread::scope(|scope| {
        let desks: Vec<_> = (0..DESKS)
            .map(|desk| {
                let store = &site.store;
                scope.spawn(move || {
                    let mine = |number: &u32| number % DESKS == desk;
                    (0..saves).filter(mine).for_each(|number| save(store, number));
                    thread_cpu()
                })
            })
            .collect();
        desks.into_iter().map(|desk| desk.join().unwrap()).sum::<Duration>()
    });
    let per_second = f64::from(saves) / began.elapsed().as_secs_f64();
    let each = micros(cpu() - before + spent) / f64::from(saves);
    println!("{DESKS} desks: {per_second:.0} durable saves a second, CPU per change {each:.0} µs");
}

/// Of this thread alone: what it spent is gone from the process's tasks once it ends.
fn thread_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn main() {
    divan::main();
    if std::env::args().any(|argument| argument == "--bench") {
        one_desk();
        many_desks();
    }
}
