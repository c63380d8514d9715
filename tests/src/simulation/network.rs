//! What is under way between agents and the hub, as bytes, and what may happen to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync_protocol::wire::{
    BODY_MAX_BYTES, EpochReply, EpochRequest, PullReply, PullRequest, PushReply, PushRequest, ReturnReply,
    ReturnRequest, WireError,
};
use sync_protocol::{Lane, ScopeId};

use super::rng::Rng;
use super::trace::{Checked, Failure, Invariant};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    Push,
    Pull,
    PushReply,
    PullReply,
    Epoch,
    EpochReply,
    Return,
    ReturnReply,
    /// The hub does not serve a request of another epoch, and names its own.
    Refusal,
}

impl Message {
    pub(crate) fn to_hub(self) -> bool {
        match self {
            Message::Push | Message::Pull | Message::Epoch | Message::Return => true,
            Message::PushReply | Message::PullReply | Message::EpochReply | Message::ReturnReply | Message::Refusal => {
                false
            }
        }
    }
}

/// The line between an agent and the hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    Whole,
    Cut,
    /// What the agent says arrives, and no answer comes back.
    OnlyUp,
    OnlyDown,
}

impl Line {
    pub(crate) fn carries(self, message: Message) -> bool {
        match self {
            Line::Whole => true,
            Line::Cut => false,
            Line::OnlyUp => message.to_hub(),
            Line::OnlyDown => !message.to_hub(),
        }
    }
}

/// A push that another hub process has taken up. It has no lock yet, so it has no sequence either.
pub(crate) struct SlowPush {
    pub(crate) agent: usize,
    pub(crate) request: PushRequest,
    /// Sequences that a wrong hub has drawn all the same.
    pub(crate) drawn: BTreeMap<(ScopeId, Lane), Vec<u64>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    /// Whose request it is, or whose answer.
    pub(crate) agent: usize,
    pub(crate) message: Message,
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Who asked is gone with its connection: what is asked arrives, and no pages come back.
    pub(crate) is_of_nobody: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    Push(PushRequest),
    Pull(PullRequest),
    PullOfNobody(PullRequest),
    PushReply(PushReply),
    PullReply(PullReply),
    Epoch(EpochRequest),
    EpochReply(EpochReply),
    Return(ReturnRequest),
    ReturnReply(ReturnReply),
    Refusal(EpochReply),
}

impl Envelope {
    pub(crate) fn open(&self) -> Checked<Opened> {
        if self.message.to_hub() && self.bytes.len() > BODY_MAX_BYTES {
            let detail = format!("no hub takes a {:?} of {} bytes", self.message, self.bytes.len());
            return Err(Failure::new(Invariant::EngineSound, detail));
        }
        self.read(&self.bytes)
            .map_err(|error| Failure::new(Invariant::EngineSound, format!("a body as sent: {error}")))
    }

    fn read(&self, bytes: &[u8]) -> Result<Opened, WireError> {
        let opened = open(self.message, bytes)?;
        if let (true, Opened::Pull(request)) = (self.is_of_nobody, &opened) {
            return Ok(Opened::PullOfNobody(request.clone()));
        }
        Ok(opened)
    }

    /// Hurts the body as a line or a disk would and opens it. It must be refused, or read as it was sent; for a
    /// shortened body only refusal will do.
    pub(crate) fn open_damaged(&self, rng: &mut Rng, shorten: bool) -> Checked<Option<Opened>> {
        let mut bytes = (*self.bytes).clone();
        if shorten {
            bytes.truncate(rng.index(bytes.len()));
        } else {
            for _ in 0..=rng.below(3) {
                let at = rng.index(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
        }
        let Ok(opened) = self.read(&bytes) else {
            return Ok(None);
        };
        if shorten || opened != self.open()? {
            let how = if shorten { "shortened" } else { "altered" };
            return Err(Failure::new(
                Invariant::DamageRefused,
                format!("{how} {:?} was read", self.message),
            ));
        }
        Ok(Some(opened))
    }
}

impl Opened {
    /// Alters one change of a push after it was unpacked, as no line does but a meddler might: its chain no longer holds.
    pub(crate) fn tampered(self, rng: &mut Rng) -> Opened {
        let Opened::Push(mut request) = self else { return self };
        let at = rng.index(request.changes.len());
        let Some(change) = request.changes.get_mut(at) else {
            return Opened::Push(request);
        };
        let bytes = match rng.below(3) {
            0 => &mut change.header[..],
            1 => &mut change.salt[..],
            _ => &mut change.payload[..],
        };
        let at = rng.index(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
        Opened::Push(request)
    }
}

fn open(message: Message, bytes: &[u8]) -> Result<Opened, WireError> {
    Ok(match message {
        Message::Push => Opened::Push(PushRequest::decode(bytes)?),
        Message::Pull => Opened::Pull(PullRequest::decode(bytes)?),
        Message::PushReply => Opened::PushReply(PushReply::decode(bytes)?),
        Message::PullReply => Opened::PullReply(PullReply::decode(bytes)?),
        Message::Epoch => Opened::Epoch(EpochRequest::decode(bytes)?),
        Message::EpochReply => Opened::EpochReply(EpochReply::decode(bytes)?),
        Message::Return => Opened::Return(ReturnRequest::decode(bytes)?),
        Message::ReturnReply => Opened::ReturnReply(ReturnReply::decode(bytes)?),
        Message::Refusal => Opened::Refusal(EpochReply::decode(bytes)?),
    })
}
