//! `site`, `token`, `revoke`.

use std::fmt::Write;

use clap::{Args, Subcommand};

use crate::admin::{Command, KnownSite, SiteChange, SiteCommand, SiteReply};

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
    /// List the sites with what the hub knows of each.
    List,
    /// Show one site with its rooms, staff and agents.
    Show {
        /// The site's id.
        site: String,
    },
    /// Change what is said of a site.
    Set(SetArguments),
}

#[derive(Args)]
pub(super) struct SetArguments {
    /// The site's id.
    site: String,
    #[arg(long)]
    name: Option<String>,
    #[arg(long, value_parser = ["machine", "person"])]
    ehr: Option<String>,
    /// Sites of one region may share a thin index of their patients. Empty: none.
    #[arg(long)]
    region: Option<String>,
    /// The EHR's id of the location that the site is (FHIR Location). Empty: none.
    #[arg(long, value_name = "ID")]
    ehr_location: Option<String>,
    /// Whether a proxy may read the line of this site. Where it may, the agent shows no certificate to it: what it sends is
    /// signed, and sealed for the hub.
    #[arg(long, value_parser = ["allowed", "refused"])]
    inspection: Option<String>,
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
            SiteVerb::List => SiteCommand::List,
            SiteVerb::Show { site } => SiteCommand::Show { site },
            SiteVerb::Set(set) => SiteCommand::Set(SiteChange {
                site: set.site,
                name: set.name,
                ehr: set.ehr,
                region: set.region,
                ehr_location: set.ehr_location,
                inspection: set.inspection,
            }),
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
        SiteReply::List { sites } if sites.is_empty() => {
            "there is no site yet\nnext: mainstay-hub site add NAME --zone ZONE".to_owned()
        }
        SiteReply::List { sites } => sites.iter().map(lines_of).collect::<Vec<_>>().join("\n"),
        SiteReply::Shown(detail) => {
            let mut text = lines_of(&detail.known);
            let _ = write!(text, "\n  rooms: {}", detail.rooms.join(", "));
            for person in &detail.staff {
                let _ = write!(text, "\n  {}", super::staff::line_of(person));
            }
            text
        }
        SiteReply::Set { site } => format!("site {site} is changed"),
    }
}

fn lines_of(site: &KnownSite) -> String {
    let seen = site.last_seen.as_deref().unwrap_or("never");
    let mut text = format!(
        "{}  {}  {}\n  last heard of {seen}; {} changes held, {} set aside, {} wait for the EHR, {} for people, {} \
         conflicts",
        site.site,
        site.name,
        site.zone,
        site.accepted,
        site.set_aside,
        site.waits_for_ehr,
        site.waits_for_people,
        site.conflicts
    );
    for agent in &site.agents {
        let _ = match &agent.revoked {
            None => write!(
                text,
                "\n  agent {} enrolled {}, certificate {} days",
                agent.agent, agent.enrolled, agent.certificate_days
            ),
            Some(revoked) => write!(text, "\n  agent {} revoked {revoked}", agent.agent),
        };
    }
    if let Some(notice) = &site.notice {
        let _ = write!(text, "\n  notice: {notice}");
    }
    text
}
