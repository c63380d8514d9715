//! One message as received, and everything that it says: read before anything is written, so that one that cannot be read
//! writes nothing. The program at the site and the hub read alike, and take what is theirs.

use formats::hl7::{ErrorCode, Hl7Error, Limits, Message, MessageType, SegmentId};
use formats::mllp::Broken;

use super::answer::Answering;
use super::{Admission, MergeSaid, PatientReports, Scheduling, merging, sender, source};

/// Who received a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receiver {
    Site,
    Hub,
}

/// The messages that are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// ADT A04: somebody is here.
    Register,
    /// ADT A08: what is known of somebody has changed.
    Update,
    /// ADT A28 and A31, at the hub: what is known of somebody, who is not here.
    Person,
    /// ADT A03, at a site: a visit has ended.
    Discharge,
    /// ADT A40: two numbers are one person's.
    Merge,
    /// SIU S12.
    Book,
    /// SIU S13: another time.
    Reschedule,
    /// SIU S14: anything else of it.
    Modify,
    /// SIU S15.
    Cancel,
    /// SIU S26: nobody came.
    NoShow,
    /// ORU R01, at a site.
    Results,
}

impl Taken {
    /// Everything else is refused by its event (201), whatever its type: the sender learns that this kind is not taken.
    pub fn of(kind: &MessageType, receiver: Receiver) -> Result<Taken, Hl7Error> {
        let refused = |problem| Hl7Error::field(ErrorCode::UnsupportedEvent, SegmentId::MSH, 9, problem);
        let taken = match (kind.code(), kind.event()) {
            ("ADT", Some("A04")) => Taken::Register,
            ("ADT", Some("A08")) => Taken::Update,
            ("ADT", Some("A28" | "A31")) => Taken::Person,
            ("ADT", Some("A03")) => Taken::Discharge,
            ("ADT", Some("A40")) => Taken::Merge,
            ("SIU", Some("S12")) => Taken::Book,
            ("SIU", Some("S13")) => Taken::Reschedule,
            ("SIU", Some("S14")) => Taken::Modify,
            ("SIU", Some("S15")) => Taken::Cancel,
            ("SIU", Some("S26")) => Taken::NoShow,
            ("ORU", Some("R01")) => Taken::Results,
            _ => return Err(Hl7Error::unsupported_event()),
        };
        match (receiver, taken) {
            (Receiver::Site, Taken::Person) => Err(Hl7Error::unsupported_event()),
            (Receiver::Hub, Taken::Discharge) => Err(refused("a visit is its site's own: send its end to the site")),
            (Receiver::Hub, Taken::Results) => Err(refused("results are taken at the site: send them there")),
            (Receiver::Site | Receiver::Hub, taken) => Ok(taken),
        }
    }
}

/// What a message asks for.
#[derive(Clone, Debug)]
pub enum Reading {
    Register(Admission),
    Update(Admission),
    Person(Admission),
    Discharge(Admission),
    Merge(Vec<MergeSaid>),
    Schedule(Scheduling),
    Results(Vec<PatientReports>),
    /// An acknowledgement of something that was never sent; it is kept and, as every acknowledgement, not answered.
    Acknowledgement,
}

impl Reading {
    fn of(message: &Message, receiver: Receiver) -> Result<Reading, Hl7Error> {
        if message.header().is_acknowledgement() {
            return Ok(Reading::Acknowledgement);
        }
        let taken = Taken::of(&message.header().message_type, receiver)?;
        match taken {
            Taken::Register => Admission::read(message).map(Reading::Register),
            Taken::Update => Admission::read(message).map(Reading::Update),
            Taken::Person => Admission::read(message).map(Reading::Person),
            Taken::Discharge => Admission::read(message).map(Reading::Discharge),
            Taken::Merge => merging::read_all(message).map(Reading::Merge),
            Taken::Book | Taken::Reschedule | Taken::Modify | Taken::Cancel | Taken::NoShow => {
                Scheduling::read(message, taken).map(Reading::Schedule)
            }
            Taken::Results => PatientReports::read_all(message).map(Reading::Results),
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Outcome {
    Accepted = 0,
    /// Of a type that is not taken.
    Rejected = 1,
    /// Not readable.
    Error = 2,
    /// Stored, but no patient was found to put it on.
    Unmatched = 3,
}

impl Outcome {
    pub const ALL: [Outcome; 4] = [Outcome::Accepted, Outcome::Rejected, Outcome::Error, Outcome::Unmatched];

    /// What is of a type that is not taken is told apart from what cannot be read.
    pub fn of_refusal(code: ErrorCode) -> Outcome {
        match code {
            ErrorCode::UnsupportedMessageType | ErrorCode::UnsupportedEvent => Outcome::Rejected,
            ErrorCode::SegmentSequence
            | ErrorCode::RequiredFieldMissing
            | ErrorCode::DataType
            | ErrorCode::TableValueNotFound
            | ErrorCode::UnsupportedProcessingId
            | ErrorCode::UnsupportedVersion
            | ErrorCode::UnknownKey
            | ErrorCode::DuplicateKey
            | ErrorCode::RecordLocked
            | ErrorCode::Internal => Outcome::Error,
        }
    }
}

/// A message as received. Of bytes that are no message everything but the answer's envelope is empty.
#[derive(Clone)]
pub struct Incoming {
    pub answering: Answering,
    /// By what its sender's values are remembered.
    pub source: String,
    /// MSH-3, MSH-4, MSH-10, MSH-9.1 and MSH-9.2.
    pub application: String,
    pub facility: String,
    pub control: String,
    pub kind: String,
    pub trigger: String,
    pub reading: Result<Reading, Hl7Error>,
}

impl Incoming {
    pub fn read(bytes: &[u8], broken: Option<Broken>, limits: &Limits, receiver: Receiver) -> Incoming {
        let parsed = match broken {
            Some(broken) => Err(broken.refusal()),
            None => Message::parse_within(bytes, limits),
        };
        match parsed {
            Ok(message) => {
                let header = message.header();
                let (application, facility) = sender(header);
                Incoming {
                    answering: Answering::to(header),
                    source: source(header),
                    application,
                    facility,
                    control: header.control_id.clone(),
                    kind: header.message_type.code().to_owned(),
                    trigger: header.message_type.event().unwrap_or_default().to_owned(),
                    reading: Reading::of(&message, receiver),
                }
            }
            Err(refusal) => Incoming {
                answering: Answering::to_salvaged(bytes),
                source: String::new(),
                application: String::new(),
                facility: String::new(),
                control: String::new(),
                kind: String::new(),
                trigger: String::new(),
                reading: Err(refusal),
            },
        }
    }
}
