//! `staff`.

use std::path::PathBuf;

use clap::Subcommand;

use super::passphrase;
use crate::admin::{Command, NewStaff, StaffCommand, StaffReply};
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
        }))
    }
}

pub(super) fn text(reply: &StaffReply) -> String {
    match reply {
        StaffReply::Added { staff } => format!("added staff {staff}"),
    }
}
