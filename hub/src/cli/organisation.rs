//! `organisation`.

use clap::Subcommand;

use crate::admin::{Command, OrganisationCommand, OrganisationReply};

#[derive(Subcommand)]
pub(super) enum OrganisationVerb {
    /// List the organisations of this hub.
    List,
    /// Add another organisation; its sites, staff and policies are given with --organisation ID.
    Add { name: String },
    /// Show the organisation whose sites these are.
    Show,
    /// Call it something else; sites hear of it with their next exchange.
    Rename { name: String },
}

impl OrganisationVerb {
    pub(super) fn command(self) -> Command {
        Command::Organisation(match self {
            OrganisationVerb::List => OrganisationCommand::List,
            OrganisationVerb::Add { name } => OrganisationCommand::Add { name },
            OrganisationVerb::Show => OrganisationCommand::Show,
            OrganisationVerb::Rename { name } => OrganisationCommand::Rename { name },
        })
    }
}

pub(super) fn text(reply: &OrganisationReply) -> String {
    match reply {
        OrganisationReply::Shown { organisation, name } => format!("{organisation}  {name}"),
        OrganisationReply::Added { organisation, name } => {
            format!(
                "{organisation}  {name}\nadd its sites with: mainstay-hub site add --organisation {organisation} NAME"
            )
        }
        OrganisationReply::List { organisations } => organisations
            .iter()
            .map(|known| format!("{}  {:>4} sites  {}", known.organisation, known.sites, known.name))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}
