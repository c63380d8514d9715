//! `policy`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::admin::{Command, PolicyCommand, PolicyReply};
use crate::exit::{Exit, Failure};

#[derive(Subcommand)]
pub(super) enum PolicyVerb {
    /// List the policies, their versions and since when they hold.
    List,
    /// Print a policy's text: what can be set, with the values in force.
    Show {
        /// scope (which patients a site has) or reference (when a site calls reference data old).
        name: String,
    },
    /// Set a policy from a TOML file; sites obey it with their next exchange.
    ///
    /// First print what holds, then change it: mainstay-hub policy show scope > scope.toml
    Set {
        name: String,
        /// `-` reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl PolicyVerb {
    pub(super) fn command(self) -> Result<Command, Failure> {
        Ok(Command::Policy(match self {
            PolicyVerb::List => PolicyCommand::List,
            PolicyVerb::Show { name } => PolicyCommand::Show { name },
            PolicyVerb::Set { name, file } => PolicyCommand::Set {
                name,
                body: read(&file)?,
            },
        }))
    }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))
}

pub(super) fn text(reply: &PolicyReply) -> String {
    match reply {
        PolicyReply::List { policies } => {
            let line = |one: &crate::admin::ShownPolicy| match &one.since {
                Some(since) => format!("{}  version {} since {since}", one.name, one.version),
                None => format!("{}  not set: the defaults hold", one.name),
            };
            policies.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        PolicyReply::Shown { policy } => policy.body.trim_end().to_owned(),
        PolicyReply::Set { name, version } => format!("policy {name} is version {version} from now on"),
    }
}
