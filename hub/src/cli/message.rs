//! `message`.

use clap::Subcommand;

use crate::admin::{Command, MessageCommand, MessageReply};

#[derive(Subcommand)]
pub(super) enum MessageVerb {
    /// List the HL7 messages that came in at the hub and that somebody should look at, newest first.
    List {
        /// Also those that were taken.
        #[arg(long)]
        all: bool,
    },
}

impl MessageVerb {
    pub(super) fn command(self) -> Command {
        Command::Message(match self {
            MessageVerb::List { all } => MessageCommand::List { all },
        })
    }
}

pub(super) fn text(reply: &MessageReply) -> String {
    let MessageReply::Listed { messages } = reply;
    if messages.is_empty() {
        return "no messages".to_owned();
    }
    let line = |message: &crate::admin::ListedMessage| {
        let control = message.control.as_deref().unwrap_or("-");
        let note = message.note.as_deref().unwrap_or_default();
        let parts = [&message.received, &message.outcome, &message.kind];
        let head = parts.map(String::as_str).join("  ");
        format!("{head}  {control}  {}  {note}", message.from)
            .trim_end()
            .to_owned()
    };
    messages.iter().map(line).collect::<Vec<_>>().join("\n")
}
