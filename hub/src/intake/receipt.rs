//! One frame, from its bytes to its answer: read it, do it in one transaction that also keeps the original and the answer,
//! and answer only what that transaction has committed.

use std::sync::Arc;
use std::time::Duration;

use clinic::Identifier;
use clinic::hl7::{AnswerStamp, Incoming, Outcome, Reading, Receiver};
use clinic::index::identifier_term;
use formats::hl7::Limits;
use formats::mllp::Broken;
use ring::digest;
use sync_protocol::RecordId;
use sync_protocol::hub::HubError;

use super::Config;
use super::effects::{Effect, Taking};
use crate::db::{Db, DbError, Message, MessageKey, Txn, now_ms, random};
use crate::matching::Matcher;

/// A sender gives up after five seconds; a write that takes longer is answered as not kept. It may still be kept: then the
/// message that is sent again gets its answer.
const KEPT_WITHIN: Duration = Duration::from_secs(4);

const NOTHING_SENT: &str = "MSH-9: an acknowledgement of something that was never sent";
const NOT_USED: &str = "the message can be read but could not be used here";
const SITES_OWN: &str = "the event is a site's own";

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
struct Received {
    bytes: Vec<u8>,
    key: MessageKey,
    received_ms: u64,
    peer: String,
    said: Incoming,
    config: Arc<Config>,
    matcher: Matcher,
}

type Fault = HubError<DbError>;

/// Takes in one frame; gives the bytes to answer with. `None` only for an acknowledgement.
pub(super) async fn receive(
    db: &Db,
    config: &Arc<Config>,
    matcher: &Matcher,
    peer: &str,
    frame: Frame,
) -> Option<Vec<u8>> {
    let received = Arc::new(Received::read(frame, config, matcher, peer));
    let taken = received.clone();
    let write = db.write(move |txn| taken.take(txn));
    let answer = match tokio::time::timeout(KEPT_WITHIN, write).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if is_the_messages(&error) => {
            tracing::error!(%error, peer, "an HL7 message could not be used");
            keep_unused(db, received).await
        }
        Ok(Err(error)) => {
            tracing::error!(%error, peer, "an HL7 message could not be kept and was answered so");
            received.said.answering.not_kept(now_ms().cast_signed())
        }
        Err(_) => {
            tracing::error!(peer, "an HL7 message was not kept in time and was answered so");
            received.said.answering.not_kept(now_ms().cast_signed())
        }
    };
    (!answer.is_empty()).then_some(answer)
}

/// Whether the content is to blame, so that another try would end alike.
fn is_the_messages(error: &Fault) -> bool {
    matches!(
        error,
        HubError::Refused(_) | HubError::TooLarge { .. } | HubError::Ledger(DbError::Panicked)
    )
}

/// Keeps a message that could not be taken, whatever was wrong, so that it is listed and not sent for ever.
async fn keep_unused(db: &Db, received: Arc<Received>) -> Vec<u8> {
    let kept = received.clone();
    let write = db.write(move |txn| kept.keep_as_unused(txn));
    match tokio::time::timeout(KEPT_WITHIN / 4, write).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => received.said.answering.not_kept(now_ms().cast_signed()),
    }
}

impl Received {
    fn read(frame: Frame, config: &Arc<Config>, matcher: &Matcher, peer: &str) -> Received {
        let limits = Limits {
            message_max_bytes: config.message_max_bytes,
            ..Limits::default()
        };
        let said = Incoming::read(&frame.bytes, frame.broken, &limits, Receiver::Hub);
        Received {
            key: key_of(&said, &frame.bytes),
            received_ms: now_ms(),
            peer: peer.to_owned(),
            said,
            config: config.clone(),
            matcher: matcher.clone(),
            bytes: frame.bytes,
        }
    }

    /// The whole of it, in one transaction; gives the answer, which is empty for an acknowledgement.
    fn take(&self, txn: &mut Txn<'_>) -> Result<Vec<u8>, Fault> {
        // Two processes that are sent the same message, or make the same person known, do so one after the other.
        txn.lock(&self.concerns(txn))?;
        if let Some(earlier) = txn.message(&self.key)? {
            return Ok(earlier.ack);
        }
        let mut taking = Taking {
            txn,
            config: &self.config,
            source: &self.said.source,
            received_ms: self.received_ms.cast_signed(),
            touched: Vec::new(),
        };
        let effect = match &self.said.reading {
            Ok(Reading::Acknowledgement) => {
                self.keep(txn, &[], Outcome::Rejected, Some(NOTHING_SENT.to_owned()), None)?;
                return Ok(Vec::new());
            }
            Err(refusal) => Effect::refused(*refusal),
            Ok(Reading::Register(said)) => taking.register(said)?,
            Ok(Reading::Update(said) | Reading::Person(said)) => taking.update(said)?,
            Ok(Reading::Schedule(said)) => taking.schedule(said)?,
            Ok(Reading::Merge(pairs)) => taking.merge(pairs)?,
            // Refused by their event before they are read.
            Ok(Reading::Discharge(_) | Reading::Results(_)) => {
                tracing::error!(SITES_OWN);
                return self.keep_as_unused(txn);
            }
        };
        let touched = taking.touched;
        self.matcher.consider(txn, &touched)?;
        let stamp = stamp()?;
        let answer = match &effect.refusal {
            Some(refusal) => self.said.answering.refused(stamp, refusal),
            None => self.said.answering.accepted(stamp),
        };
        self.keep(txn, &answer, effect.outcome, effect.note, effect.record)?;
        Ok(answer)
    }

    /// What no other process may work on meanwhile: this message, every number of its people, its booking.
    fn concerns(&self, txn: &Txn<'_>) -> Vec<[u8; 16]> {
        let numbers: Vec<&Identifier> = match &self.said.reading {
            Ok(Reading::Register(said) | Reading::Update(said) | Reading::Person(said) | Reading::Discharge(said)) => {
                said.person.identifiers.iter().collect()
            }
            Ok(Reading::Schedule(said)) => said.person.identifiers.iter().chain([&said.number]).collect(),
            Ok(Reading::Merge(pairs)) => pairs
                .iter()
                .flat_map(|pair| pair.person.identifiers.iter().chain(&pair.merged))
                .collect(),
            Ok(Reading::Results(_) | Reading::Acknowledgement) | Err(_) => Vec::new(),
        };
        let number = |number: &Identifier| txn.blind("number", identifier_term(&number.value).as_bytes());
        let message = txn.blind("message", &self.key);
        numbers.into_iter().map(number).chain([message]).collect()
    }

    fn keep_as_unused(&self, txn: &mut Txn<'_>) -> Result<Vec<u8>, Fault> {
        txn.lock(&[txn.blind("message", &self.key)])?;
        if let Some(earlier) = txn.message(&self.key)? {
            return Ok(earlier.ack);
        }
        let answer = self.said.answering.unused(stamp()?);
        self.keep(txn, &answer, Outcome::Error, Some(NOT_USED.to_owned()), None)?;
        Ok(answer)
    }

    fn keep(
        &self,
        txn: &mut Txn<'_>,
        answer: &[u8],
        outcome: Outcome,
        note: Option<String>,
        record: Option<RecordId>,
    ) -> Result<(), DbError> {
        txn.insert_message(&Message {
            key: self.key,
            received_ms: self.received_ms,
            peer: self.peer.clone(),
            kind: self.said.kind.clone(),
            event: self.said.trigger.clone(),
            outcome,
            note,
            record,
            ack: answer.to_vec(),
            original: self.bytes.clone(),
        })
    }
}

/// Sending application and facility, control id, content: each with its length before it.
fn key_of(said: &Incoming, bytes: &[u8]) -> MessageKey {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [
        said.application.as_bytes(),
        said.facility.as_bytes(),
        said.control.as_bytes(),
        bytes,
    ] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(hash.finish().as_ref());
    key
}

fn stamp() -> Result<AnswerStamp, DbError> {
    Ok(AnswerStamp {
        now_ms: now_ms().cast_signed(),
        id: RecordId(random()?),
    })
}
