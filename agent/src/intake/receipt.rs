//! One frame, from its bytes to its answer: read it, do it in one write that also keeps the original and the answer, and
//! answer only what that write has put on the disk.

use std::sync::Arc;
use std::time::Duration;

use clinic::hl7::{Admission, PatientReports, Taken};
use formats::hl7::{ErrorCode, Hl7Error, Limits, Message};
use formats::mllp::Broken;
use sync_protocol::{Hash, RecordId};

use super::answer::Answering;
use super::{discharge, register, results};
use crate::access::ActError;
use crate::clock;
use crate::config::MllpConfig;
use crate::store::{MessageKey, NewMessage, Outcome, Priority, Store, TxError, WriteError, WriteTx, digest_of};

/// As what the original is kept.
const MEDIA: &str = "application/hl7-v2";
/// A sender gives up after five seconds; a write that takes longer is answered as not kept. It may still be kept: then the
/// message that is sent again gets its answer.
const KEPT_WITHIN: Duration = Duration::from_secs(4);

const NOTHING_SENT: &str = "MSH-9: an acknowledgement of something that was never sent";
const NOT_USED: &str = "the message can be read but could not be used here";

/// What came between frame bytes.
pub(super) struct Frame {
    bytes: Vec<u8>,
    broken: Option<Broken>,
}

impl Frame {
    pub(super) fn whole(bytes: Vec<u8>) -> Frame {
        Frame { bytes, broken: None }
    }

    pub(super) fn broken(bytes: Vec<u8>, reason: Broken) -> Frame {
        Frame {
            bytes,
            broken: Some(reason),
        }
    }
}

/// A message as received, and everything that it says: read before anything is written.
pub(super) struct Incoming {
    bytes: Vec<u8>,
    pub(super) digest: Hash,
    pub(super) received_ms: i64,
    peer: String,
    answering: Answering,
    pub(super) source: String,
    application: String,
    facility: String,
    control: String,
    kind: String,
    trigger: String,
    reading: Result<Reading, Hl7Error>,
}

/// What a message asks for.
enum Reading {
    Register(Admission),
    Update(Admission),
    Discharge(Admission),
    Results(Vec<PatientReports>),
    /// An acknowledgement of something that was never sent; it is kept and, as every acknowledgement, not answered.
    Acknowledgement,
}

/// What became of a message in the clinic.
pub(super) struct Effect {
    pub(super) outcome: Outcome,
    /// What somebody should know about it; never what it held.
    pub(super) note: Option<String>,
    /// The record that it made or altered first.
    pub(super) record: Option<RecordId>,
}

/// Takes in one frame; gives the bytes to answer with. `None` only for an acknowledgement.
pub(super) async fn receive(store: &Store, config: &MllpConfig, peer: &str, frame: Frame) -> Option<Vec<u8>> {
    let incoming = Arc::new(Incoming::read(frame, config, peer));
    let taken = incoming.clone();
    let write = store.write(Priority::Desk, move |tx| taken.take(tx));
    let answer = match tokio::time::timeout(KEPT_WITHIN, write).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(WriteError::Refused(error))) => {
            tracing::error!(%error, peer, "an HL7 message could not be used");
            keep_unused(store, incoming).await
        }
        Ok(Err(WriteError::Panicked)) => keep_unused(store, incoming).await,
        Ok(Err(error)) => {
            tracing::error!(%error, peer, "an HL7 message could not be kept and was answered so");
            incoming.answering.not_kept()
        }
        Err(_) => {
            tracing::error!(peer, "an HL7 message was not kept in time and was answered so");
            incoming.answering.not_kept()
        }
    };
    (!answer.is_empty()).then_some(answer)
}

/// Keeps a message that the clinic could not take, whatever was wrong, so that it is listed and not sent for ever.
async fn keep_unused(store: &Store, incoming: Arc<Incoming>) -> Vec<u8> {
    let kept = incoming.clone();
    let write = store.write(Priority::Desk, move |tx| kept.keep_as_unused(tx));
    match tokio::time::timeout(KEPT_WITHIN / 4, write).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => incoming.answering.not_kept(),
    }
}

impl Incoming {
    fn read(frame: Frame, config: &MllpConfig, peer: &str) -> Incoming {
        let limits = Limits {
            message_max_bytes: config.message_max_bytes,
            ..Limits::default()
        };
        let parsed = match frame.broken {
            Some(broken) => Err(broken.refusal()),
            None => Message::parse_within(&frame.bytes, &limits),
        };
        let received_ms = clock::now_ms();
        let digest = digest_of(&frame.bytes);
        let peer = peer.to_owned();
        match parsed {
            Ok(message) => {
                let header = message.header();
                let (application, facility) = clinic::hl7::sender(header);
                Incoming {
                    digest,
                    received_ms,
                    peer,
                    answering: Answering::to(header),
                    source: clinic::hl7::source(header),
                    application,
                    facility,
                    control: header.control_id.clone(),
                    kind: header.message_type.code().to_owned(),
                    trigger: header.message_type.event().unwrap_or_default().to_owned(),
                    reading: Reading::of(&message),
                    bytes: frame.bytes,
                }
            }
            Err(refusal) => Incoming {
                digest,
                received_ms,
                peer,
                answering: Answering::to_salvaged(&frame.bytes),
                source: String::new(),
                application: String::new(),
                facility: String::new(),
                control: String::new(),
                kind: String::new(),
                trigger: String::new(),
                reading: Err(refusal),
                bytes: frame.bytes,
            },
        }
    }

    fn key(&self) -> MessageKey {
        MessageKey {
            application: self.application.clone(),
            facility: self.facility.clone(),
            control: self.control.clone(),
            digest: self.digest,
        }
    }

    /// The whole of it, in one write; gives the answer, which is empty for an acknowledgement.
    fn take(&self, tx: &mut WriteTx<'_>) -> Result<Vec<u8>, ActError> {
        if let Some(earlier) = tx.find_message(&self.key())? {
            return Ok(earlier.message.ack);
        }
        tx.put_blob(MEDIA, &self.bytes)?;
        let (answer, effect) = match &self.reading {
            Ok(Reading::Acknowledgement) => (
                Vec::new(),
                Effect::of_refusal(Outcome::Rejected, NOTHING_SENT.to_owned()),
            ),
            Ok(Reading::Register(said)) => (self.answering.accepted(tx)?, register::register(tx, self, said)?),
            Ok(Reading::Update(said)) => (self.answering.accepted(tx)?, register::update(tx, self, said)?),
            Ok(Reading::Discharge(said)) => (self.answering.accepted(tx)?, discharge::discharge(tx, self, said)?),
            Ok(Reading::Results(said)) => (self.answering.accepted(tx)?, results::take(tx, self, said)?),
            Err(refusal) => {
                let effect = Effect::of_refusal(outcome_of(refusal.code), refusal.to_string());
                (self.answering.refused(tx, refusal)?, effect)
            }
        };
        self.keep(tx, &answer, effect)?;
        Ok(answer)
    }

    fn keep_as_unused(&self, tx: &mut WriteTx<'_>) -> Result<Vec<u8>, TxError> {
        if let Some(earlier) = tx.find_message(&self.key())? {
            return Ok(earlier.message.ack);
        }
        tx.put_blob(MEDIA, &self.bytes)?;
        let answer = self.answering.unused(tx)?;
        self.keep(tx, &answer, Effect::of_refusal(Outcome::Error, NOT_USED.to_owned()))?;
        Ok(answer)
    }

    fn keep(&self, tx: &mut WriteTx<'_>, answer: &[u8], effect: Effect) -> Result<(), TxError> {
        let message = NewMessage {
            key: self.key(),
            received_ms: self.received_ms.cast_unsigned(),
            peer: self.peer.clone(),
            kind: self.kind.clone(),
            trigger: self.trigger.clone(),
            outcome: effect.outcome,
            ack: answer.to_vec(),
            error: effect.note,
            record: effect.record,
        };
        tx.insert_message(&message).map(|_| ())
    }
}

/// What is of a type that is not taken is told apart from what cannot be read.
fn outcome_of(code: ErrorCode) -> Outcome {
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

impl Reading {
    fn of(message: &Message) -> Result<Reading, Hl7Error> {
        if message.header().is_acknowledgement() {
            return Ok(Reading::Acknowledgement);
        }
        match Taken::of(&message.header().message_type)? {
            Taken::Register => Admission::read(message).map(Reading::Register),
            Taken::Update => Admission::read(message).map(Reading::Update),
            Taken::Discharge => Admission::read(message).map(Reading::Discharge),
            Taken::Results => PatientReports::read_all(message).map(Reading::Results),
        }
    }
}

impl Effect {
    pub(super) fn accepted(record: Option<RecordId>, note: Option<&str>) -> Effect {
        Effect {
            outcome: Outcome::Accepted,
            note: note.map(str::to_owned),
            record,
        }
    }

    pub(super) fn unmatched(record: Option<RecordId>, note: &str) -> Effect {
        Effect {
            outcome: Outcome::Unmatched,
            note: Some(note.to_owned()),
            record,
        }
    }

    fn of_refusal(outcome: Outcome, note: String) -> Effect {
        Effect {
            outcome,
            note: Some(note),
            record: None,
        }
    }
}
