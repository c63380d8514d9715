//! `staff`.

use std::path::PathBuf;

use clap::Subcommand;

use super::passphrase;
use crate::admin::{Command, ListedStaff, NewStaff, StaffCommand, StaffReply};
use crate::exit::Failure;

#[derive(Subcommand)]
pub(super) enum StaffVerb {
    /// Add somebody who works at a site. The passphrase is asked for, or read from a file.
    Add {
        login: String,
        /// As "Family, Given".
        #[arg(long)]
        name: String,
        #[arg(long, value_parser = ["front-desk", "nurse", "provider", "lead"])]
        role: String,
        /// The site's id.
        #[arg(long)]
        site: String,
        /// A file whose first line is the passphrase; `-` reads standard input.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// List who works, or has worked, at a site.
    List {
        #[arg(long)]
        site: String,
    },
    /// Take somebody's passphrase away: they no longer sign in once their site has heard of it.
    End {
        /// The id of their record, as `staff list` gives it.
        staff: String,
    },
}

impl StaffVerb {
    pub(super) fn command(self) -> Result<Command, Failure> {
        Ok(Command::Staff(match self {
            StaffVerb::Add {
                login,
                name,
                role,
                site,
                passphrase_file,
            } => StaffCommand::Add(NewStaff {
                login,
                name,
                role,
                site,
                passphrase: passphrase::read(passphrase_file.as_deref())?,
            }),
            StaffVerb::List { site } => StaffCommand::List { site },
            StaffVerb::End { staff } => StaffCommand::End { staff },
        }))
    }
}

pub(super) fn text(reply: &StaffReply) -> String {
    match reply {
        StaffReply::Added { staff } => format!("added staff {staff}"),
        StaffReply::List { staff } if staff.is_empty() => "nobody works there yet".to_owned(),
        StaffReply::List { staff } => staff.iter().map(line_of).collect::<Vec<_>>().join("\n"),
        StaffReply::Ended { staff } => format!("staff {staff} may no longer sign in, once their site hears of it"),
    }
}

pub(super) fn line_of(person: &ListedStaff) -> String {
    let ended = if person.may_sign_in { "" } else { "  (may not sign in)" };
    format!(
        "{}  {}  {}  {}{ended}",
        person.staff, person.login, person.role, person.name
    )
}
