//! From what is said to bytes, and from bytes to what is said or to a refusal.

use anyhow::{Context as _, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sync_protocol::cbor::CborError;
use sync_protocol::wire::{self, WireError};
use sync_protocol::{self as engine};

use super::{give, take};
use crate::first::cbor::Refusal;
use crate::first::messages::{self, Message};
use crate::first::model::{self, Hex};
use crate::first::today;

/// Either what is to be written, or bytes that are to be read.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Given<T> {
    Says(T),
    Bytes(Hex),
    /// A message before it is compressed.
    Cbor(Hex),
    /// A message as it is sent.
    Body(Hex),
    /// The same byte so many times, compressed.
    BodyOf {
        byte: u8,
        times: usize,
    },
}

/// A refusal in the words of the files: what kind, and of what.
pub(super) fn refused(error: &CborError) -> Value {
    match error {
        CborError::Malformed(_) => json!({"refused": "malformed"}),
        CborError::Missing { what } => json!({"refused": "missing", "what": what}),
        CborError::Form { what } => json!({"refused": "form", "what": what}),
        CborError::TooLarge { what, max } => json!({"refused": "too large", "what": what, "max": max}),
        CborError::Trailing => json!({"refused": "trailing"}),
    }
}

fn wire_refused(error: &WireError) -> Value {
    match error {
        WireError::Frame => json!({"refused": "frame"}),
        WireError::Body(error) => refused(error),
        WireError::Protocol { theirs } => json!({"refused": "protocol", "theirs": theirs}),
    }
}

/// The two ends of one type: the first format's own, and the engine's.
struct Both<Said, Engine> {
    write_first: fn(&Said) -> Vec<u8>,
    read_first: fn(&[u8]) -> Result<Said, Refusal>,
    write: fn(&Engine) -> Vec<u8>,
    read: fn(&[u8]) -> Result<Engine, CborError>,
    say: fn(&Engine) -> Said,
}

impl<Said, Engine> Both<Said, Engine>
where
    Said: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    fn outcome(&self, given: &Value) -> Result<Value> {
        match take::<Given<Said>>(given)? {
            Given::Says(said) => {
                let bytes = (self.write_first)(&said);
                let read = (self.read)(&bytes).context("the engine cannot read what the first format writes")?;
                ensure!((self.say)(&read) == said, "the engine reads something else");
                ensure!((self.write)(&read) == bytes, "the engine writes something else");
                give(json!({"bytes": Hex(bytes)}))
            }
            Given::Bytes(Hex(bytes)) => {
                let first = (self.read_first)(&bytes);
                match (self.read)(&bytes) {
                    Err(error) => {
                        ensure!(
                            first == Err(today::refusal(&error)),
                            "the first format says {first:?}, the engine {error}"
                        );
                        Ok(refused(&error))
                    }
                    Ok(read) => {
                        let said = (self.say)(&read);
                        ensure!(first.as_ref() == Ok(&said), "the first format reads {first:?}");
                        let canonical = Hex((self.write)(&read));
                        give(json!({"says": said, "canonical": canonical}))
                    }
                }
            }
            Given::Cbor(_) | Given::Body(_) | Given::BodyOf { .. } => anyhow::bail!("only messages have a body"),
        }
    }
}

pub(super) fn header(given: &Value) -> Result<Value> {
    let both = Both {
        write_first: model::Header::to_bytes,
        read_first: model::Header::parse,
        write: engine::Header::to_bytes,
        read: engine::Header::parse,
        say: today::header,
    };
    both.outcome(given)
}

pub(super) fn payload(given: &Value) -> Result<Value> {
    let both = Both {
        write_first: model::Payload::to_bytes,
        read_first: model::Payload::parse,
        write: engine::Payload::to_bytes,
        read: engine::Payload::parse,
        say: today::payload,
    };
    both.outcome(given)
}

pub(super) fn state(given: &Value) -> Result<Value> {
    let both = Both {
        write_first: model::State::to_bytes,
        read_first: model::State::parse,
        write: engine::RecordState::to_bytes,
        read: engine::RecordState::parse,
        say: today::state,
    };
    both.outcome(given)
}

fn message<Said, Engine>(
    given: &Value,
    read: fn(&[u8]) -> Result<Engine, WireError>,
    write: fn(&Engine) -> Vec<u8>,
    say: fn(&Engine) -> Said,
) -> Result<Value>
where
    Said: Message + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let body = match take::<Given<Said>>(given)? {
        Given::Says(said) => {
            let cbor = said.to_cbor();
            let body = said.to_body();
            let engine = read(&body).context("the engine cannot read what the first format writes")?;
            ensure!(say(&engine) == said, "the engine reads something else");
            ensure!(
                messages::unpack(&write(&engine)) == Ok(cbor.clone()),
                "the engine writes something else"
            );
            return give(json!({"cbor": Hex(cbor), "body": Hex(body)}));
        }
        Given::Cbor(Hex(cbor)) => messages::compress(&cbor),
        Given::Body(Hex(body)) => body,
        Given::BodyOf { byte, times } => messages::compress(&vec![byte; times]),
        Given::Bytes(_) => anyhow::bail!("a message has cbor or a body"),
    };
    match read(&body) {
        Err(error) => Ok(wire_refused(&error)),
        Ok(engine) => give(json!({"says": say(&engine)})),
    }
}

pub(super) fn push_request(given: &Value) -> Result<Value> {
    message(
        given,
        wire::PushRequest::decode,
        wire::PushRequest::encode,
        today::push_request,
    )
}

pub(super) fn push_reply(given: &Value) -> Result<Value> {
    message(
        given,
        wire::PushReply::decode,
        wire::PushReply::encode,
        today::push_reply,
    )
}

pub(super) fn pull_request(given: &Value) -> Result<Value> {
    message(
        given,
        wire::PullRequest::decode,
        wire::PullRequest::encode,
        today::pull_request,
    )
}

pub(super) fn pull_reply(given: &Value) -> Result<Value> {
    message(
        given,
        wire::PullReply::decode,
        wire::PullReply::encode,
        today::pull_reply,
    )
}
