//! `conflict` and `quarantine`.

use std::fmt::Write;

use clap::Subcommand;

use crate::admin::{
    Command, Conflict, ConflictCommand, ConflictDecision, ConflictReply, ListedAside, QuarantineCommand,
    QuarantineReply,
};

#[derive(Subcommand)]
pub(super) enum ConflictVerb {
    /// Names, birth dates and sexes of patients of whom two were given that did not know of each other.
    List,
    /// Keep one of the values that were shown. All that `conflict list` showed must be named.
    Decide {
        /// The patient's id.
        patient: String,
        #[arg(value_parser = ["name", "birth_date", "sex"])]
        field: String,
        /// The id of the value that is right.
        #[arg(long, value_name = "CHANGE")]
        keep: String,
        /// The ids of all the values that you were shown, the right one among them.
        #[arg(long, value_name = "CHANGE", required = true, num_args = 1..)]
        shown: Vec<String>,
    },
}

#[derive(Subcommand)]
pub(super) enum QuarantineVerb {
    /// Changes that were counted and could not be used, and why. Each is tried again when the hub is upgraded.
    List,
}

impl ConflictVerb {
    pub(super) fn command(self) -> Command {
        Command::Conflict(match self {
            ConflictVerb::List => ConflictCommand::List,
            ConflictVerb::Decide {
                patient,
                field,
                keep,
                shown,
            } => ConflictCommand::Decide(ConflictDecision {
                patient,
                field,
                keep,
                shown,
            }),
        })
    }
}

impl QuarantineVerb {
    pub(super) fn command(self) -> Command {
        match self {
            QuarantineVerb::List => Command::Quarantine(QuarantineCommand::List),
        }
    }
}

pub(super) fn text(reply: &ConflictReply) -> String {
    match reply {
        ConflictReply::List { conflicts } if conflicts.is_empty() => "nothing waits for a decision".to_owned(),
        ConflictReply::List { conflicts } => conflicts.iter().map(lines_of).collect::<Vec<_>>().join("\n"),
        ConflictReply::Decided { patient, field } => format!("patient {patient}: {field} decided"),
    }
}

fn lines_of(conflict: &Conflict) -> String {
    let mut text = format!("{}  {}  {}", conflict.patient, conflict.field, conflict.name);
    for value in &conflict.values {
        let _ = write!(
            text,
            "\n  {}  {}  {}, {}, {}",
            value.change, value.value, value.said_by, value.place, value.entered
        );
    }
    text
}

pub(super) fn text_of_quarantine(reply: &QuarantineReply) -> String {
    match reply {
        QuarantineReply::List { changes, .. } if changes.is_empty() => "nothing is set aside".to_owned(),
        QuarantineReply::List { all, changes } => {
            let lines: Vec<String> = changes.iter().map(line_of).collect();
            format!("{}\n{all} set aside, {} shown", lines.join("\n"), lines.len())
        }
    }
}

fn line_of(one: &ListedAside) -> String {
    format!(
        "{}  {}  {}: {} (agent's replica {}, number {})",
        one.received,
        one.site_name.as_deref().unwrap_or(&one.site),
        one.kind.as_deref().unwrap_or("unreadable"),
        one.reason,
        one.replica,
        one.counter
    )
}
