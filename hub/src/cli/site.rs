//! `site`, `token`, `revoke`.

use clap::{Args, Subcommand};

use crate::admin::{Command, SiteCommand, SiteReply};

#[derive(Subcommand)]
pub(super) enum SiteVerb {
    /// Add a site and its rooms.
    Add {
        name: String,
        /// The site's time zone, by its IANA name.
        #[arg(long, value_name = "America/Chicago")]
        zone: String,
        /// A room's name; may be given many times.
        #[arg(long = "room", value_name = "NAME")]
        rooms: Vec<String>,
        /// Who enters into the EHR what the site sends there: the hub's connector, or people at the transcription screen.
        /// Left out: machine if hub.toml names an EHR, else person.
        #[arg(long, value_parser = ["machine", "person"])]
        ehr: Option<String>,
    },
}

#[derive(Args)]
pub(super) struct TokenArguments {
    /// The site's id, as `site add` or `status` gave it.
    #[arg(long)]
    site: String,
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    valid_hours: u32,
}

#[derive(Args)]
pub(super) struct RevokeArguments {
    /// The agent's id, as `status` lists it.
    agent: String,
}

impl SiteVerb {
    pub(super) fn command(self) -> Command {
        Command::Site(match self {
            SiteVerb::Add { name, zone, rooms, ehr } => SiteCommand::Add { name, zone, rooms, ehr },
        })
    }
}

impl TokenArguments {
    pub(super) fn command(self) -> Command {
        Command::Site(SiteCommand::Token {
            site: self.site,
            valid_hours: self.valid_hours,
        })
    }
}

impl RevokeArguments {
    pub(super) fn command(self) -> Command {
        Command::Site(SiteCommand::Revoke { agent: self.agent })
    }
}

pub(super) fn text(reply: &SiteReply) -> String {
    match reply {
        SiteReply::Added { site, name } => {
            format!("added {name}, site {site}\nnext: mainstay-hub token --site {site}")
        }
        SiteReply::Token { token, site, expires } => {
            format!(
                "{}\nfor site {site}, once, until {expires}: mainstay-agent enrol",
                token.as_str()
            )
        }
        SiteReply::Revoked { agent } => format!("agent {agent} is refused from now on"),
    }
}
