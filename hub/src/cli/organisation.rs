//! `organisation`.

use clap::Subcommand;

use crate::admin::{Command, OrganisationCommand, OrganisationReply};

#[derive(Subcommand)]
pub(super) enum OrganisationVerb {
    /// Show the organisation whose sites these are.
    Show,
    /// Call it something else; sites hear of it with their next exchange.
    Rename { name: String },
}

impl OrganisationVerb {
    pub(super) fn command(self) -> Command {
        Command::Organisation(match self {
            OrganisationVerb::Show => OrganisationCommand::Show,
            OrganisationVerb::Rename { name } => OrganisationCommand::Rename { name },
        })
    }
}

pub(super) fn text(reply: &OrganisationReply) -> String {
    match reply {
        OrganisationReply::Shown { organisation, name } => format!("{organisation}  {name}"),
    }
}
