//! HL7 over MLLP into the hub's real store, through a loopback socket. Everybody here is made up.

use std::net::{Ipv4Addr, SocketAddr};

use clinic::hl7::Outcome;
use clinic::value::{AppointmentStatus, Target};
use clinic::{allergy, appointment, link, patient, visit};
use formats::hl7::Message as Hl7;
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::{KindId, RecordId, RecordState, ScopeId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use vault::{Authorities, Authority, DataKey};

use super::*;
use crate::db::{Message, Place, Policy, Site};

const NORTH: ScopeId = ScopeId([7; 16]);
const SOUTH: ScopeId = ScopeId([8; 16]);
const PATIENCE: Duration = Duration::from_secs(5);
const NINE_MS: i64 = 1_767_625_200_000;

struct Hub {
    db: Db,
    authorities: Arc<Authorities>,
    address: SocketAddr,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

fn config() -> Config {
    Config {
        listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        sites: [("NORTH CLINIC", "North"), ("south", "South"), ("NOWHERE", "Gone")]
            .map(|(place, site)| (place.to_owned(), site.to_owned()))
            .into(),
        ..Config::default()
    }
}

impl Hub {
    async fn open(config: Config) -> Hub {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            file: folder.path().join("hub.db"),
            config: crate::db::Config::default(),
        };
        let db = Db::create(&place, &DataKey::generate().unwrap(), Policy::CATALOGUE).unwrap();
        db.write(|txn| {
            for (scope, name) in [(NORTH, "North"), (SOUTH, "South")] {
                txn.add_site(&Site {
                    scope,
                    name: name.to_owned(),
                    zone: "America/Chicago".to_owned(),
                    ehr: Target::Person,
                    seen_ms: None,
                })?;
            }
            Ok::<_, HubError<DbError>>(())
        })
        .await
        .unwrap();
        let authority = Authority::create("Hub", jiff::Timestamp::now().as_second()).unwrap();
        let authorities = Arc::new(Authorities::alone(authority));
        let (issuer, server) = (authorities.clone(), crate::server::Config::default());
        let certificate = Box::new(move || crate::server::tls::certificate(&issuer, &server));
        let listener = Listener::bind(&db, &config, &Matcher::default(), certificate)
            .await
            .unwrap()
            .unwrap();
        let (address, stop) = (listener.address().unwrap(), CancellationToken::new());
        tokio::spawn(listener.serve(stop.clone()));
        Hub {
            db,
            authorities,
            address,
            stop,
            _folder: folder,
        }
    }

    async fn send(&self, message: &str) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        exchange(stream, message.as_bytes()).await
    }

    async fn read<T: Send + 'static>(
        &self,
        steps: impl FnMut(&mut crate::db::Txn<'_>) -> Result<T, HubError<DbError>> + Send + 'static,
    ) -> T {
        self.db.read(steps).await.unwrap()
    }

    async fn of_kind(&self, kind: KindId) -> Vec<RecordState> {
        self.read(move |txn| {
            let ids = txn.records_after(kind, RecordId::NIL, 100)?;
            let states = ids
                .into_iter()
                .map(|id| Ok(Arc::unwrap_or_clone(txn.state(id)?.unwrap())));
            states.collect()
        })
        .await
    }

    async fn scopes_of(&self, record: RecordId) -> Vec<ScopeId> {
        self.read(move |txn| Ok(txn.scopes_of(record)?))
            .await
            .into_iter()
            .collect()
    }

    async fn messages(&self) -> Vec<Message> {
        self.read(|txn| Ok(txn.messages(None, 100)?)).await
    }

    async fn booking(&self) -> RecordState {
        let mut all = self.of_kind(appointment::KIND).await;
        assert_eq!(all.len(), 1, "bookings");
        all.remove(0)
    }
}

#[derive(PartialEq, Eq, Debug)]
struct Answer {
    bytes: Vec<u8>,
    code: String,
    error: String,
    location: String,
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, message: &[u8]) -> Answer {
    stream.write_all(&[b"\x0b", message, b"\x1c\r"].concat()).await.unwrap();
    stream.flush().await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\x1c\r") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut bytes))
            .await
            .unwrap();
        assert!(read.unwrap() > 0, "hung up without an acknowledgement");
    }
    let bytes = bytes[1..bytes.len() - 2].to_vec();
    let answer = Hl7::parse(&bytes).unwrap();
    let field = |segment: &str, n: u16| {
        let found = answer.segments(segment).next();
        found.map(|found| found.field(n).raw().to_owned()).unwrap_or_default()
    };
    Answer {
        code: field("MSA", 1),
        error: field("ERR", 3).split('^').next().unwrap_or_default().to_owned(),
        location: field("ERR", 2),
        bytes,
    }
}

const DOLORES: &str = "PID|1||740101^^^RIVERSIDE^MR||Whitfield^Dolores||19610302|F|||||312-555-0101";
const AGAIN: &str = "PID|1||740199^^^RIVERSIDE^MR||Whitfield^Lola||19610302|F";

fn hl7(kind: &str, control: &str, sent: &str, segments: &[&str]) -> String {
    let msh = format!("MSH|^~\\&|SCHED|RIVERSIDE|MAINSTAY|HERE|{sent}||{kind}|{control}|P|2.5.1");
    [&[msh.as_str()], segments, &[""]].concat().join("\r")
}

fn siu(event: &str, control: &str, sent: &str, place: &str) -> String {
    let start = "AIS|1||99213^Office visit|202601050900|||20|min";
    let place = format!("AIL|1||EXAM^1^^{place}");
    let segments = ["SCH||F-1^EHR^2.999.4^ISO", DOLORES, "RGS|1", start, &place];
    hl7(&format!("SIU^{event}^SIU_S12"), control, sent, &segments)
}

#[tokio::test]
async fn a_booking_goes_to_the_site_that_its_place_stands_for_and_no_other() {
    let hub = Hub::open(config()).await;
    let starts = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2)).strftime("%Y%m%d%H%M+0000");
    let soon = siu("S12", "1", "20260102080000", "north clinic").replace("202601050900", &starts.to_string());

    let answer = hub.send(&soon).await;

    assert_eq!(answer.code, "AA", "{answer:?}");
    let booking = hub.booking().await;
    assert_eq!(appointment::SITE.value(&booking), Some(RecordId(NORTH.0)));
    assert_eq!(hub.scopes_of(booking.record).await, [NORTH]);
    let whose = appointment::PATIENT.value(&booking).unwrap();
    assert_eq!(hub.of_kind(patient::KIND).await[0].record, whose);
    assert_eq!(hub.scopes_of(whose).await, [NORTH]);
}

#[tokio::test]
async fn a_booking_is_moved_and_cancelled_in_the_zone_of_its_site() {
    let hub = Hub::open(config()).await;
    hub.send(&siu("S12", "1", "20260102080000", "NORTH CLINIC")).await;
    let stands = async |hub: &Hub| {
        let state = hub.booking().await;
        (appointment::STATUS.value(&state), appointment::STARTS_MS.value(&state))
    };
    assert_eq!(stands(&hub).await, (Some(AppointmentStatus::Booked), Some(NINE_MS)));

    let moved = siu("S13", "2", "20260102090000", "NORTH CLINIC").replace("202601050900", "202601051000");
    hub.send(&moved).await;
    assert_eq!(stands(&hub).await.1, Some(NINE_MS + 3_600_000));
    hub.send(&siu("S15", "3", "20260102100000", "NORTH CLINIC")).await;
    assert_eq!(stands(&hub).await.0, Some(AppointmentStatus::Cancelled));

    let late = hub.send(&siu("S12", "4", "20260102083000", "NORTH CLINIC")).await;
    assert_eq!(late.code, "AA");
    assert_eq!(stands(&hub).await.0, Some(AppointmentStatus::Cancelled));
}

#[tokio::test]
async fn an_older_message_of_a_booking_says_nothing_of_its_patient_either() {
    let hub = Hub::open(config()).await;
    let newer = siu("S12", "1", "20260102100500", "NORTH CLINIC").replace("312-555-0101", "312-555-0177");
    hub.send(&newer).await;

    let late = hub.send(&siu("S12", "2", "20260102100000", "NORTH CLINIC")).await;
    let of_another = siu("S12", "3", "20260102100000", "NORTH CLINIC")
        .replace("740101", "740303")
        .replace("Whitfield^Dolores", "Marsh^Ines");
    let of_another = hub.send(&of_another).await;

    assert_eq!([late.code, of_another.code], ["AA", "AA"]);
    let people = hub.of_kind(patient::KIND).await;
    assert_eq!(people.len(), 1);
    assert_eq!(patient::PHONE.value(&people[0]).unwrap().expose(), "312-555-0177");
    let notes = hub.messages().await;
    let older = notes
        .iter()
        .filter(|kept| kept.note.as_deref().is_some_and(|note| note.starts_with("MSH-7")));
    assert_eq!(older.count(), 2);
}

#[tokio::test]
async fn a_message_that_comes_again_gets_the_same_bytes_and_writes_nothing() {
    let hub = Hub::open(config()).await;
    let message = siu("S12", "1", "20260102080000", "NORTH CLINIC");
    let first = hub.send(&message).await;
    hub.send(&siu("S15", "2", "20260102090000", "NORTH CLINIC")).await;

    let again = hub.send(&message).await;

    assert_eq!(again, first);
    assert_eq!(hub.messages().await.len(), 2);
    assert_eq!(
        hub.messages()
            .await
            .iter()
            .filter(|kept| kept.original == message.as_bytes())
            .count(),
        1
    );
    let booking = hub.booking().await;
    assert_eq!(appointment::STATUS.value(&booking), Some(AppointmentStatus::Cancelled));
}

#[tokio::test]
async fn a_place_that_stands_for_no_site_is_refused_by_name_and_writes_nothing() {
    let hub = Hub::open(config()).await;

    for (control, place) in [("1", "UNHEARD"), ("2", "NOWHERE"), ("3", "")] {
        let answer = hub.send(&siu("S12", control, "20260102080000", place)).await;
        assert_eq!((answer.code.as_str(), answer.error.as_str()), ("AE", "204"), "{place}");
        assert_eq!(answer.location, "AIL^1^3");
    }
    let walk_in = hub
        .send(&hl7("ADT^A04^ADT_A01", "4", "20260102080000", &[DOLORES, "PV1|1|O"]))
        .await;

    assert_eq!((walk_in.code.as_str(), walk_in.location.as_str()), ("AE", "PV1^1^3"));
    assert!(hub.of_kind(patient::KIND).await.is_empty());
    assert!(hub.messages().await.iter().all(|kept| kept.outcome == Outcome::Error));
}

#[tokio::test]
async fn people_are_kept_without_a_visit_and_what_is_a_sites_is_refused() {
    let hub = Hub::open(config()).await;
    let adt = |event: &str, control: &str, more: &[&str]| {
        let segments = [&[DOLORES], more].concat();
        hl7(&format!("ADT^{event}"), control, "20260102080000", &segments)
    };

    let known = hub.send(&adt("A28", "1", &["AL1|1|DA|^Penicillin"])).await;
    let changed = hub
        .send(&adt("A31", "2", &[]).replace("312-555-0101", "312-555-0199"))
        .await;
    let here = hub.send(&adt("A04", "3", &["PV1|1|O|W^^^SOUTH"])).await;

    assert_eq!([known.code, changed.code, here.code], ["AA", "AA", "AA"]);
    let people = hub.of_kind(patient::KIND).await;
    assert_eq!(people.len(), 1);
    assert_eq!(patient::PHONE.value(&people[0]).unwrap().expose(), "312-555-0101");
    assert_eq!(hub.of_kind(allergy::KIND).await.len(), 1);
    assert!(hub.of_kind(visit::KIND).await.is_empty());
    let told = hub.read(|txn| Ok(txn.messages(Some(Outcome::Unmatched), 10)?)).await;
    assert!(told[0].note.as_deref().unwrap().contains("no visit is started"));
    for (control, kind) in [("5", "A03"), ("6", "A11")] {
        let answer = hub.send(&adt(kind, control, &["PV1|1|O|W^^^SOUTH"])).await;
        assert_eq!((answer.code.as_str(), answer.error.as_str()), ("AR", "201"), "{kind}");
    }
    let result = hub
        .send(&hl7("ORU^R01", "7", "20260102080000", &[DOLORES, "OBR|1||1|X"]))
        .await;
    assert_eq!((result.code.as_str(), result.error.as_str()), ("AR", "201"));
}

#[tokio::test]
async fn a_merge_links_two_records() {
    let hub = Hub::open(config()).await;
    hub.send(&hl7("ADT^A28", "1", "20260102080000", &[DOLORES])).await;
    hub.send(&hl7("ADT^A28", "2", "20260102080000", &[AGAIN])).await;

    let mrg = "MRG|740199^^^RIVERSIDE^MR";
    let merged = hub
        .send(&hl7("ADT^A40^ADT_A39", "3", "20260102080000", &[DOLORES, mrg]))
        .await;
    let itself = hub
        .send(&hl7("ADT^A40^ADT_A39", "4", "20260102080000", &[AGAIN, mrg]))
        .await;

    assert_eq!(merged.code, "AA");
    assert_eq!((itself.code.as_str(), itself.location.as_str()), ("AE", "MRG^1^1"));
    let links = hub.of_kind(link::KIND).await;
    assert_eq!(links.len(), 1);
    assert!(clinic::linking::joined(&links[0]).is_some());
}

#[tokio::test]
async fn somebody_new_who_is_like_somebody_known_is_asked_about_at_once() {
    let hub = Hub::open(config()).await;
    let other = DOLORES
        .replace("740101^^^RIVERSIDE", "55^^^ELSEWHERE")
        .replace("Whitfield", "Whitfeld");
    hub.send(&hl7("ADT^A28", "1", "20260102080000", &[DOLORES])).await;

    hub.send(&hl7("ADT^A28", "2", "20260102080000", &[&other])).await;

    assert_eq!(hub.of_kind(patient::KIND).await.len(), 2);
    assert_eq!(hub.of_kind(link::KIND).await.len(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_message_are_answered_and_listed() {
    let hub = Hub::open(config()).await;

    let rubbish = hub.send("GET / HTTP/1.1\r\n\r\n").await;
    let after = hub.send(&siu("S12", "1", "20260102080000", "NORTH CLINIC")).await;

    assert_eq!((rubbish.code.as_str(), after.code.as_str()), ("AE", "AA"));
    assert_eq!(hub.read(|txn| Ok(txn.count_messages(Outcome::Error)?)).await, 1);
}

#[tokio::test]
async fn with_tls_it_shows_the_hubs_certificate_and_takes_messages() {
    let hub = Hub::open(Config { tls: true, ..config() }).await;
    let client = vault::tls::client_config(hub.authorities.first().certificate(), None).unwrap();
    let stream = TcpStream::connect(hub.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();

    let stream = TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await
        .unwrap();
    let answer = exchange(stream, siu("S12", "1", "20260102080000", "NORTH CLINIC").as_bytes()).await;

    assert_eq!(answer.code, "AA");
    hub.stop.cancel();
}

#[test]
fn it_refuses_to_listen_to_others_without_tls() {
    let outside = |tls| Config {
        listen: Some(SocketAddr::from(([0, 0, 0, 0], 2575))),
        tls,
        ..Config::default()
    };

    let refused = outside(false).refuse_unsound().unwrap_err();

    assert!(
        refused.contains("0.0.0.0:2575") && refused.contains("tls = true"),
        "{refused}"
    );
    assert!(outside(true).refuse_unsound().is_ok());
    let nothing = Config {
        idle_secs: 0,
        ..Config::default()
    };
    assert!(nothing.refuse_unsound().unwrap_err().contains("idle_secs"));
}
