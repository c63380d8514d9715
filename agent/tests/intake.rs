//! HL7 over MLLP into a real store, through a loopback socket: kept before it is answered, known when it comes again,
//! never on the wrong patient, never unanswered. Everybody here is made up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a helper that fails fails its test, and one that had nothing to do says so"
)]

#[path = "intake/bookings.rs"]
mod bookings;
#[path = "intake/corpus.rs"]
mod corpus;
#[path = "intake/lines.rs"]
mod lines;
#[path = "intake/merges.rs"]
mod merges;
#[path = "intake/registrations.rs"]
mod registrations;
#[path = "intake/results.rs"]
mod results;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clinic::catalogue::{patient, visit};
use clinic::flow::{self, VisitState};
use clinic::index::Facet;
use formats::hl7::Message;
use mainstay_agent::access::site::SITE;
use mainstay_agent::config::MllpConfig;
use mainstay_agent::intake;
use mainstay_agent::store::{self, NewMessage, Outcome, Priority, Store, Tuning, TxError, WriteTx};
use sync_protocol::{KindId, Phi, RecordId, RecordState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vault::DataKey;

/// As long as a sender waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// A site's store with the intake running on it.
struct Site {
    store: Store,
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn open() -> Site {
        Site::with(MllpConfig::default()).await
    }

    async fn with(config: MllpConfig) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(DataKey::generate().unwrap());
        let store = Store::create(folder.path(), key, Tuning::default()).unwrap();
        store
            .write(Priority::Desk, |tx: &mut WriteTx<'_>| tx.set_meta(SITE, &[8; 16]))
            .await
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(intake::serve(store.clone(), config, listener, stop.clone()));
        Site {
            store,
            address,
            stop,
            served,
            _folder: folder,
        }
    }

    async fn connect(&self) -> Sender {
        Sender {
            stream: TcpStream::connect(self.address).await.unwrap(),
        }
    }

    /// Sends one message on a connection of its own.
    async fn send(&self, message: &str) -> Answer {
        self.connect().await.send(message.as_bytes()).await
    }

    async fn of_kind(&self, kind: KindId) -> Vec<RecordState> {
        let read = self
            .store
            .read(move |tx| tx.records_of_kind(kind, 1_000))
            .await
            .unwrap();
        read.into_iter().map(|stored| stored.state).collect()
    }

    async fn linked(&self, target: RecordId, kind: KindId) -> Vec<RecordState> {
        let read = self.store.read(move |tx| tx.linked(target, kind)).await.unwrap();
        read.into_iter().map(|stored| stored.state).collect()
    }

    async fn unmatched(&self) -> Vec<RecordState> {
        let read = self
            .store
            .read(|tx| tx.with_facet(Facet::RESULT_UNMATCHED, 100))
            .await
            .unwrap();
        read.into_iter().map(|stored| stored.state).collect()
    }

    /// The one patient there is.
    async fn patient(&self) -> RecordState {
        let mut all = self.of_kind(patient::KIND).await;
        assert_eq!(all.len(), 1, "patients");
        all.remove(0)
    }

    /// Where the one visit there is stands.
    async fn visit(&self) -> (RecordState, VisitState) {
        let mut all = self.of_kind(visit::KIND).await;
        assert_eq!(all.len(), 1, "visits");
        let standing = flow::standing(&all[0]).unwrap().state;
        (all.remove(0), standing)
    }

    /// Messages as kept, newest first.
    async fn messages(&self, outcome: Option<Outcome>) -> Vec<NewMessage> {
        let read = self
            .store
            .read(move |tx| tx.messages(outcome, None, 1_000))
            .await
            .unwrap();
        read.into_iter().map(|message| message.message).collect()
    }

    /// How many changes this site has written.
    async fn changes(&self) -> u64 {
        self.store.read(|tx| tx.head()).await.unwrap().counter
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnMut(&mut WriteTx<'_>) -> Result<T, mainstay_agent::access::ActError> + Send + 'static,
    ) -> T {
        self.store.write(Priority::Desk, write).await.unwrap()
    }

    /// The original of a message, as it is kept.
    async fn original(&self, message: &NewMessage) -> Option<store::Blob> {
        let digest = message.key.digest;
        self.store
            .read(move |tx| -> Result<_, TxError> { tx.blob(digest) })
            .await
            .unwrap()
    }
}

/// A sender on one connection.
struct Sender {
    stream: TcpStream,
}

/// An acknowledgement: its bytes, and what they say.
#[derive(PartialEq, Eq, Debug)]
struct Answer {
    bytes: Vec<u8>,
    code: String,
    answers: String,
    error: String,
    location: String,
}

impl Sender {
    async fn send(&mut self, message: &[u8]) -> Answer {
        self.bytes(&[b"\x0b", message, b"\x1c\r"].concat()).await;
        self.answer().await
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn answer(&mut self) -> Answer {
        let read = tokio::time::timeout(PATIENCE, self.frame()).await;
        Answer::read(read.expect("no acknowledgement in time"))
    }

    async fn frame(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\x1c\r") {
            let read = self.stream.read_buf(&mut bytes).await.unwrap();
            assert!(read > 0, "hung up without an acknowledgement");
        }
        assert_eq!(bytes[0], 0x0b);
        bytes[1..bytes.len() - 2].to_vec()
    }

    /// Whether the other side has hung up, with nothing more to say.
    async fn is_hung_up_on(&mut self) -> bool {
        let mut rest = [0; 16];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut rest)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }
}

impl Answer {
    fn read(bytes: Vec<u8>) -> Answer {
        let message = Message::parse(&bytes).unwrap();
        let field = |segment: &str, n: u16| -> String {
            let found = message.segments(segment).next();
            found
                .map(|segment| segment.field(n).raw().to_owned())
                .unwrap_or_default()
        };
        let error = field("ERR", 3);
        let error = error.split('^').next().unwrap_or_default().to_owned();
        let (code, answers, location) = (field("MSA", 1), field("MSA", 2), field("ERR", 2));
        Answer {
            bytes,
            code,
            answers,
            error,
            location,
        }
    }

    fn is(&self, code: &str, answers: &str) -> bool {
        (self.code.as_str(), self.answers.as_str()) == (code, answers)
    }
}

/// A made-up person as a sender knows them.
#[derive(Clone, Copy)]
struct Person {
    number: &'static str,
    name: &'static str,
    born: &'static str,
    phone: &'static str,
    visit: &'static str,
}

const DOLORES: Person = Person {
    number: "740101^^^RIVERSIDE^MR",
    name: "Quiñones-Whitfield^Dolores^^^^^L",
    born: "19610302",
    phone: "312-555-0101",
    visit: "V740101",
};

const SEAMUS: Person = Person {
    number: "740103^^^RIVERSIDE^MR",
    name: "O'Brien^Séamus",
    born: "19481130",
    phone: "312-555-0103",
    visit: "V740103",
};

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y%m%d%H%M%S+0000").to_string()
}

impl Person {
    fn pid(&self) -> String {
        format!(
            "PID|1||{}||{}||{}|F|||||{}",
            self.number, self.name, self.born, self.phone
        )
    }

    /// An ADT message, with segments of one's own after it.
    fn adt(&self, event: &str, control: &str, more: &[&str]) -> String {
        let at = now();
        let mut segments = vec![
            format!("MSH|^~\\&|FRONTDESK|RIVERSIDE|MAINSTAY|HERE|{at}||ADT^{event}|{control}|P|2.5.1"),
            format!("EVN|{event}|{at}"),
            self.pid(),
            format!("PV1|1|O{}{}", "|".repeat(17), self.visit),
        ];
        segments.extend(more.iter().map(|segment| (*segment).to_owned()));
        segments.join("\r") + "\r"
    }

    /// A glucose result from the laboratory.
    fn oru(&self, control: &str, value: &str) -> String {
        let at = now();
        [
            format!("MSH|^~\\&|LAB|CASCADE|MAINSTAY|HERE|{at}||ORU^R01|{control}|P|2.5.1|||AL|NE"),
            self.pid(),
            format!("OBR|1||{control}|2345-7^Glucose^LN|||20260102081500-0600"),
            format!("OBX|1|NM|2345-7^Glucose^LN||{value}|mg/dL|70-99|H|||F"),
            String::new(),
        ]
        .join("\r")
    }
}

impl Person {
    /// A booking of this person, sent at a time, with segments of one's own after it.
    fn siu(&self, event: &str, control: &str, sent: &str, more: &[&str]) -> String {
        let mut segments = vec![
            format!("MSH|^~\\&|SCHED|RIVERSIDE|MAINSTAY|HERE|{sent}||SIU^{event}^SIU_S12|{control}|P|2.5.1"),
            format!("SCH|P-{0}^DESK|F-{0}^EHR^2.999.4^ISO", self.visit),
            self.pid(),
            "RGS|1".to_owned(),
        ];
        segments.extend(more.iter().map(|segment| (*segment).to_owned()));
        segments.join("\r") + "\r"
    }

    /// Says that this person's number goes on and another one was merged into it.
    fn a40(&self, control: &str, merged: &str) -> String {
        let at = now();
        let msh = format!("MSH|^~\\&|FRONTDESK|RIVERSIDE|MAINSTAY|HERE|{at}||ADT^A40^ADT_A39|{control}|P|2.5.1");
        [
            msh,
            format!("EVN|A40|{at}"),
            self.pid(),
            format!("MRG|{merged}"),
            String::new(),
        ]
        .join("\r")
    }
}

fn phone(patient: &RecordState) -> Option<String> {
    patient::PHONE.value(patient).map(Phi::into_exposed)
}
