//! HL7 messages that came in at the hub: which, and what became of them. What they held is not shown.

use clinic::hl7::Outcome;
use formats::hl7::Message as Hl7;
use serde::{Deserialize, Serialize};

use super::{Admin, By, iso};
use crate::db::Message;
use crate::exit::Failure;

/// More are not listed at once.
const LISTED_MAX: usize = 200;

#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum MessageCommand {
    /// The newest first; only those that somebody should look at, or all.
    List { all: bool },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum MessageReply {
    Listed { messages: Vec<ListedMessage> },
}

/// A message as `message list` shows it.
#[derive(Serialize, Deserialize)]
pub struct ListedMessage {
    pub received: String,
    pub from: String,
    /// `SIU^S12`; empty of what is no message.
    pub kind: String,
    /// MSH-10, by which its sender knows it.
    pub control: Option<String>,
    /// taken, not-taken, not-readable or to-look-at.
    pub outcome: String,
    pub note: Option<String>,
    pub record: Option<String>,
}

impl MessageCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            MessageCommand::List { .. } => false,
        }
    }
}

impl Admin {
    pub(super) async fn about_messages(&self, _by: By, command: MessageCommand) -> Result<MessageReply, Failure> {
        let MessageCommand::List { all } = command;
        let listed = self.db.read(move |txn| {
            if all {
                return txn.messages(None, LISTED_MAX);
            }
            let mut listed = Vec::new();
            for outcome in [Outcome::Unmatched, Outcome::Error, Outcome::Rejected] {
                listed.extend(txn.messages(Some(outcome), LISTED_MAX)?);
            }
            listed.sort_by_key(|message| std::cmp::Reverse((message.received_ms, message.key)));
            listed.truncate(LISTED_MAX);
            Ok(listed)
        });
        let messages = listed.await?.iter().map(ListedMessage::of).collect();
        Ok(MessageReply::Listed { messages })
    }
}

impl ListedMessage {
    fn of(message: &Message) -> ListedMessage {
        let kind = [message.kind.as_str(), &message.event].join("^");
        let control = Hl7::parse(&message.original)
            .ok()
            .map(|original| original.header().control_id.clone());
        let outcome = match message.outcome {
            Outcome::Accepted => "taken",
            Outcome::Rejected => "not-taken",
            Outcome::Error => "not-readable",
            Outcome::Unmatched => "to-look-at",
        };
        ListedMessage {
            received: iso(message.received_ms),
            from: message.peer.clone(),
            kind: kind.trim_matches('^').to_owned(),
            control,
            outcome: outcome.to_owned(),
            note: message.note.clone(),
            record: message.record.map(|record| record.to_string()),
        }
    }
}
