//! A neighbouring system that sends an agent new patients with an allergy each, one after another, for as long as it is
//! let, and notes what was confirmed. It never repeats a message.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tests::hl7_peer::RawMllp;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(100);
/// One for each site, and one for the second machine.
pub(super) const WRITERS: usize = 4;

/// What became of one message. Its number is the patient's at the sending system, and names the allergy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sent {
    pub(super) number: String,
    pub(super) confirmed: bool,
    /// The disk that confirmed it was thrown away: unless the hub had it, nobody has.
    pub(super) disk_lost: bool,
}

/// Clones share what they know.
#[derive(Clone, Default)]
pub(super) struct Book(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    /// Nobody while the agent does not run.
    to: Option<SocketAddr>,
    sent: Vec<Sent>,
    /// The last of them may still be confirmed.
    is_under_way: bool,
}

impl Book {
    fn with<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn send_to(&self, to: Option<SocketAddr>) {
        self.with(|inside| inside.to = to);
    }

    /// How many messages there were so far.
    pub(super) fn length(&self) -> usize {
        self.with(|inside| inside.sent.len())
    }

    /// Whether a message is sent and not yet answered.
    pub(super) fn is_sending(&self) -> bool {
        self.with(|inside| inside.is_under_way)
    }

    /// These messages went with the disk that had confirmed them.
    pub(super) fn lose(&self, places: Range<usize>) {
        self.with(|inside| {
            let lost = inside.sent.iter_mut().take(places.end).skip(places.start);
            lost.for_each(|sent| sent.disk_lost = true);
        });
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.with(|inside| inside.sent.clone())
    }
}

pub(super) struct Writer {
    pub(super) book: Book,
    task: JoinHandle<()>,
}

impl Writer {
    /// `writer` tells this one's numbers and people from all others', of which there are [`WRITERS`].
    pub(super) fn start(writer: usize, stop: CancellationToken) -> Writer {
        let book = Book::default();
        let task = tokio::spawn(keep_sending(writer, book.clone(), stop));
        Writer { book, task }
    }

    pub(super) async fn join(self) -> Book {
        let _ = self.task.await;
        self.book
    }
}

async fn keep_sending(writer: usize, book: Book, stop: CancellationToken) {
    let mut line: Option<(SocketAddr, RawMllp)> = None;
    for place in 0usize.. {
        let Some(to) = next_address(&book, &stop).await else {
            return;
        };
        if line.as_ref().is_none_or(|(at, _)| *at != to) {
            line = RawMllp::connect(to).await.ok().map(|peer| (to, peer));
        }
        let Some((_, peer)) = &mut line else { continue };

        let number = format!("W{writer}-{place:06}");
        let began = book.with(|inside| {
            inside.sent.push(Sent {
                number: number.clone(),
                confirmed: false,
                disk_lost: false,
            });
            inside.is_under_way = true;
            inside.sent.len() - 1
        });
        let answer = peer
            .send(message(&number, place * WRITERS + writer).as_bytes(), PATIENCE)
            .await;
        let is_confirmed = answer.is_ok_and(|(ack, _)| ack.code() == "AA");
        book.with(|inside| {
            inside.sent[began].confirmed = is_confirmed;
            inside.is_under_way = false;
        });
        if !is_confirmed {
            line = None;
        }
    }
}

/// Where the agent listens, as soon as it does. `None`: it is time to stop.
async fn next_address(book: &Book, stop: &CancellationToken) -> Option<SocketAddr> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(BETWEEN) => {}
        }
        if let Some(to) = book.with(|inside| inside.to) {
            return Some(to);
        }
    }
}

/// A new patient, known to the sender by `number`, who is allergic to something of that name. No two persons are alike: whom the
/// hub takes for one is not what is looked at here.
fn message(number: &str, person: usize) -> String {
    let (year, month, day) = (1930 + person % 90, 1 + person % 12, 1 + person % 28);
    format!(
        "MSH|^~\\&|CHAOS|RIVERSIDE|MAINSTAY|RIVERSIDE|20260414080000||ADT^A08^ADT_A01|{number}|P|2.5.1\r\
         EVN||20260414080000\r\
         PID|1||{number}^^^RIVERSIDE^MR||{}^{}||{year}{month:02}{day:02}|F\r\
         AL1|1|DA|^{number}|MO\r",
        syllables(person),
        syllables(person / 7 + 3)
    )
}

fn syllables(number: usize) -> String {
    const PARTS: [&str; 12] = [
        "Ma", "ri", "ko", "len", "to", "vas", "hu", "ber", "qui", "san", "dor", "wei",
    ];
    (0..4).map(|place| PARTS[number / 12usize.pow(place) % 12]).collect()
}
