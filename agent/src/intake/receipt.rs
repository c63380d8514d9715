//! One frame, from its bytes to its answer: read it, do it in one write that also keeps the original and the answer, and
//! answer only what that write has put on the disk.

use std::sync::Arc;
use std::time::Duration;

use clinic::hl7::{AnswerStamp, Incoming, Outcome, Reading, Receiver};
use formats::hl7::Limits;
use formats::mllp::Broken;
use sync_protocol::{Hash, RecordId};

use super::sources::Words;
use super::{discharge, merges, register, results, schedule};
use crate::access::ActError;
use crate::clock;
use crate::config::MllpConfig;
use crate::store::{MessageKey, NewMessage, Priority, Store, TxError, WriteError, WriteTx, digest_of};

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

/// A message as received, and everything that it says.
pub(super) struct Received {
    bytes: Vec<u8>,
    pub(super) digest: Hash,
    pub(super) received_ms: i64,
    peer: String,
    said: Incoming,
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
    let received = Arc::new(Received::read(frame, config, peer));
    let taken = received.clone();
    let write = store.write(Priority::Desk, move |tx| taken.take(tx));
    let answer = match tokio::time::timeout(KEPT_WITHIN, write).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(WriteError::Refused(error))) => {
            tracing::error!(%error, peer, "an HL7 message could not be used");
            keep_unused(store, received).await
        }
        Ok(Err(WriteError::Panicked)) => keep_unused(store, received).await,
        Ok(Err(error)) => {
            tracing::error!(%error, peer, "an HL7 message could not be kept and was answered so");
            received.said.answering.not_kept(clock::now_ms())
        }
        Err(_) => {
            tracing::error!(peer, "an HL7 message was not kept in time and was answered so");
            received.said.answering.not_kept(clock::now_ms())
        }
    };
    (!answer.is_empty()).then_some(answer)
}

/// Keeps a message that the clinic could not take, whatever was wrong, so that it is listed and not sent for ever.
async fn keep_unused(store: &Store, received: Arc<Received>) -> Vec<u8> {
    let kept = received.clone();
    let write = store.write(Priority::Desk, move |tx| kept.keep_as_unused(tx));
    match tokio::time::timeout(KEPT_WITHIN / 4, write).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => received.said.answering.not_kept(clock::now_ms()),
    }
}

impl Received {
    fn read(frame: Frame, config: &MllpConfig, peer: &str) -> Received {
        let limits = Limits {
            message_max_bytes: config.message_max_bytes,
            ..Limits::default()
        };
        Received {
            digest: digest_of(&frame.bytes),
            received_ms: clock::now_ms(),
            peer: peer.to_owned(),
            said: Incoming::read(&frame.bytes, frame.broken, &limits, Receiver::Site),
            bytes: frame.bytes,
        }
    }

    /// The sender's words, kept in this write.
    pub(super) fn words<'a, 'tx>(&'a self, tx: &'a mut WriteTx<'tx>) -> Words<'a, 'tx> {
        Words {
            tx,
            source: &self.said.source,
        }
    }

    fn key(&self) -> MessageKey {
        MessageKey {
            application: self.said.application.clone(),
            facility: self.said.facility.clone(),
            control: self.said.control.clone(),
            digest: self.digest,
        }
    }

    /// The whole of it, in one write; gives the answer, which is empty for an acknowledgement.
    fn take(&self, tx: &mut WriteTx<'_>) -> Result<Vec<u8>, ActError> {
        if let Some(earlier) = tx.find_message(&self.key())? {
            return Ok(earlier.message.ack);
        }
        tx.put_blob(MEDIA, &self.bytes)?;
        let answering = &self.said.answering;
        let stamp = stamp(tx)?;
        let effect = match &self.said.reading {
            Ok(Reading::Acknowledgement) => {
                let effect = Effect::of_refusal(Outcome::Rejected, NOTHING_SENT.to_owned());
                self.keep(tx, &[], effect)?;
                return Ok(Vec::new());
            }
            Err(refusal) => {
                let answer = answering.refused(stamp, refusal);
                let effect = Effect::of_refusal(Outcome::of_refusal(refusal.code), refusal.to_string());
                self.keep(tx, &answer, effect)?;
                return Ok(answer);
            }
            Ok(Reading::Register(said)) => register::register(tx, self, said)?,
            // Its event is not taken at a site; here it would say what an update says.
            Ok(Reading::Update(said) | Reading::Person(said)) => register::update(tx, self, said)?,
            Ok(Reading::Discharge(said)) => discharge::discharge(tx, self, said)?,
            Ok(Reading::Merge(pairs)) => merges::take(tx, self, pairs)?,
            Ok(Reading::Schedule(said)) => schedule::take(tx, self, said)?,
            Ok(Reading::Results(said)) => results::take(tx, self, said)?,
        };
        let answer = answering.accepted(stamp);
        self.keep(tx, &answer, effect)?;
        Ok(answer)
    }

    fn keep_as_unused(&self, tx: &mut WriteTx<'_>) -> Result<Vec<u8>, TxError> {
        if let Some(earlier) = tx.find_message(&self.key())? {
            return Ok(earlier.message.ack);
        }
        tx.put_blob(MEDIA, &self.bytes)?;
        let answer = self.said.answering.unused(stamp(tx)?);
        self.keep(tx, &answer, Effect::of_refusal(Outcome::Error, NOT_USED.to_owned()))?;
        Ok(answer)
    }

    fn keep(&self, tx: &mut WriteTx<'_>, answer: &[u8], effect: Effect) -> Result<(), TxError> {
        let message = NewMessage {
            key: self.key(),
            received_ms: self.received_ms.cast_unsigned(),
            peer: self.peer.clone(),
            kind: self.said.kind.clone(),
            trigger: self.said.trigger.clone(),
            outcome: effect.outcome,
            ack: answer.to_vec(),
            error: effect.note,
            record: effect.record,
        };
        tx.insert_message(&message).map(|_| ())
    }
}

fn stamp(tx: &WriteTx<'_>) -> Result<AnswerStamp, TxError> {
    Ok(AnswerStamp {
        now_ms: clock::now_ms(),
        id: tx.new_record_id()?,
    })
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
