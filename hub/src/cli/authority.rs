//! `authority`.

use std::fmt::Write;

use clap::Subcommand;

use crate::admin::{AuthorityCommand, AuthorityReply, Command};

#[derive(Subcommand)]
pub(super) enum AuthorityVerb {
    /// Show the authorities that are trusted.
    Show,
    /// Make the authority that follows. Both are trusted for 120 days, in which every agent learns of it by itself; an
    /// agent that is away for longer has to be enrolled again. Other homes of this hub need a copy of the folder keys and
    /// a restart.
    Rotate,
}

impl AuthorityVerb {
    pub(super) fn command(self) -> Command {
        Command::Authority(match self {
            AuthorityVerb::Show => AuthorityCommand::Show,
            AuthorityVerb::Rotate => AuthorityCommand::Rotate,
        })
    }
}

pub(super) fn text(reply: &AuthorityReply) -> String {
    let AuthorityReply::Shown { trusted, overlap_ends } = reply;
    let mut text = String::new();
    for authority in trusted {
        let _ = writeln!(text, "{}  valid until {}", authority.fingerprint, authority.valid_until);
    }
    match overlap_ends {
        Some(end) => {
            let _ = write!(text, "both are trusted until {end}");
        }
        None => {
            let _ = write!(text, "one authority is trusted");
        }
    }
    text
}
