//! Sites: the list, one site, its agents, tokens and staff.

use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Console;
use super::refusal::{Built, Refusal};
use super::session::Session;
use super::views::{FreshToken, RevokeView, Shell, SiteRow, SiteState, SiteView, SitesView, Tab, rendered};
use super::words::moment;
use crate::admin::{
    Command, NewStaff, OrganisationCommand, OrganisationReply, Reply, SiteChange, SiteCommand, SiteDetail, SiteReply,
    StaffCommand,
};
use crate::exit::Failure;

/// How long a token of the console's is good.
const TOKEN_VALID_HOURS: u32 = 24;

#[derive(Deserialize)]
pub(super) struct Done {
    pub(super) done: Option<String>,
}

pub(super) async fn start() -> Redirect {
    std::future::ready(Redirect::to("/sites")).await
}

/// An answer to another command than was given.
pub(super) fn foreign() -> Refusal {
    Refusal::Failed(Failure::failed("the hub answered something else"))
}

impl Console {
    pub(super) async fn carry_out(&self, session: &Session, command: Command) -> Built<Reply> {
        Ok(self.0.admin.carry_out(session.by(), command).await?)
    }

    async fn about_site(&self, session: &Session, command: SiteCommand) -> Built<SiteReply> {
        if let Reply::Site(reply) = self.carry_out(session, Command::Site(command)).await? {
            Ok(reply)
        } else {
            Err(foreign())
        }
    }

    pub(super) async fn organisation_name(&self, session: &Session) -> Built<String> {
        let asked = Command::Organisation(OrganisationCommand::Show);
        if let Reply::Organisation(OrganisationReply::Shown { name, .. }) = self.carry_out(session, asked).await? {
            Ok(name)
        } else {
            Err(foreign())
        }
    }

    async fn detail(&self, session: &Session, site: String) -> Built<Box<SiteDetail>> {
        if let SiteReply::Shown(detail) = self.about_site(session, SiteCommand::Show { site }).await? {
            Ok(detail)
        } else {
            Err(foreign())
        }
    }

    fn site_view(&self, shell: Shell, detail: Box<SiteDetail>, token: Option<FreshToken>) -> SiteView {
        SiteView {
            shell,
            state: SiteState::of(&detail.known, self.0.config.silent_after_secs),
            detail,
            token,
        }
    }
}

pub(super) async fn list(
    State(console): State<Console>,
    session: Session,
    Query(done): Query<Done>,
) -> Built<Response> {
    let SiteReply::List { sites } = console.about_site(&session, SiteCommand::List).await? else {
        return Err(foreign());
    };
    let silent_after_secs = console.0.config.silent_after_secs;
    let mut rows: Vec<SiteRow> = sites
        .into_iter()
        .map(|site| SiteRow {
            state: SiteState::of(&site, silent_after_secs),
            site,
        })
        .collect();
    // Those that differ from normal first.
    rows.sort_by_key(|row| match row.state.tone {
        "act" => 0,
        "watch" => 1,
        "wait" => 2,
        _ => 3,
    });
    let view = SitesView {
        organisation: console.organisation_name(&session).await?,
        shell: Shell::new(&session, Tab::Sites, done.done.as_deref()),
        sites: rows,
    };
    rendered(StatusCode::OK, &view)
}

#[derive(Deserialize)]
pub(super) struct NewSite {
    csrf: String,
    name: String,
    zone: String,
    /// One a line.
    rooms: String,
    ehr: String,
}

pub(super) async fn add(State(console): State<Console>, session: Session, Form(new): Form<NewSite>) -> Built<Response> {
    session.check(&new.csrf)?;
    let rooms = new.rooms.lines().map(str::trim).filter(|line| !line.is_empty());
    let command = SiteCommand::Add {
        name: new.name,
        zone: new.zone.trim().to_owned(),
        rooms: rooms.map(str::to_owned).collect(),
        ehr: Some(new.ehr).filter(|word| !word.is_empty()),
    };
    if let SiteReply::Added { site, .. } = console.about_site(&session, command).await? {
        Ok(Redirect::to(&format!("/sites/{site}?done=site-added")).into_response())
    } else {
        Err(foreign())
    }
}

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Path(site): Path<String>,
    Query(done): Query<Done>,
) -> Built<Response> {
    let detail = console.detail(&session, site).await?;
    let shell = Shell::new(&session, Tab::Sites, done.done.as_deref());
    rendered(StatusCode::OK, &console.site_view(shell, detail, None))
}

#[derive(Deserialize)]
pub(super) struct ChangedSite {
    csrf: String,
    name: String,
    ehr: String,
    region: String,
    ehr_location: String,
}

pub(super) async fn set(
    State(console): State<Console>,
    session: Session,
    Path(site): Path<String>,
    Form(changed): Form<ChangedSite>,
) -> Built<Response> {
    session.check(&changed.csrf)?;
    let change = SiteChange {
        site: site.clone(),
        name: Some(changed.name),
        ehr: Some(changed.ehr),
        region: Some(changed.region),
        ehr_location: Some(changed.ehr_location),
        inspection: None,
    };
    if let SiteReply::Set { site } = console.about_site(&session, SiteCommand::Set(change)).await? {
        Ok(Redirect::to(&format!("/sites/{site}?done=site-changed")).into_response())
    } else {
        Err(foreign())
    }
}

#[derive(Deserialize)]
pub(super) struct OnlyCsrf {
    pub(super) csrf: String,
}

/// The token is in the answer itself: it is nowhere to be fetched again.
pub(super) async fn token(
    State(console): State<Console>,
    session: Session,
    Path(site): Path<String>,
    Form(given): Form<OnlyCsrf>,
) -> Built<Response> {
    session.check(&given.csrf)?;
    let command = SiteCommand::Token {
        site: site.clone(),
        valid_hours: TOKEN_VALID_HOURS,
    };
    let SiteReply::Token { token, expires, .. } = console.about_site(&session, command).await? else {
        return Err(foreign());
    };
    let fresh = FreshToken {
        text: token,
        expires: moment(&expires),
    };
    let detail = console.detail(&session, site).await?;
    let shell = Shell::new(&session, Tab::Sites, None);
    rendered(StatusCode::OK, &console.site_view(shell, detail, Some(fresh)))
}

pub(super) async fn ask_revoke(
    State(console): State<Console>,
    session: Session,
    Path((site, agent)): Path<(String, String)>,
) -> Built<Response> {
    let detail = console.detail(&session, site).await?;
    let known = detail.known.agents.iter().find(|one| one.agent == agent);
    let Some(known) = known else {
        return Err(Refusal::Failed(Failure::failed("there is no such agent at this site")));
    };
    let view = RevokeView {
        shell: Shell::new(&session, Tab::Sites, None),
        agent,
        enrolled: moment(&known.enrolled),
        site: detail.known.site.clone(),
        site_name: detail.known.name.clone(),
    };
    rendered(StatusCode::OK, &view)
}

pub(super) async fn revoke(
    State(console): State<Console>,
    session: Session,
    Path((site, agent)): Path<(String, String)>,
    Form(given): Form<OnlyCsrf>,
) -> Built<Response> {
    session.check(&given.csrf)?;
    let site = console.detail(&session, site).await?.known.site;
    console.about_site(&session, SiteCommand::Revoke { agent }).await?;
    Ok(Redirect::to(&format!("/sites/{site}?done=agent-revoked")).into_response())
}

#[derive(Deserialize)]
pub(super) struct NewPerson {
    csrf: String,
    login: String,
    name: String,
    role: String,
    passphrase: Zeroizing<String>,
}

pub(super) async fn add_staff(
    State(console): State<Console>,
    session: Session,
    Path(site): Path<String>,
    Form(new): Form<NewPerson>,
) -> Built<Response> {
    session.check(&new.csrf)?;
    let command = StaffCommand::Add(NewStaff {
        login: new.login,
        name: new.name,
        role: new.role,
        site: site.clone(),
        passphrase: new.passphrase,
    });
    console.carry_out(&session, Command::Staff(command)).await?;
    let site = console.detail(&session, site).await?.known.site;
    Ok(Redirect::to(&format!("/sites/{site}?done=staff-added")).into_response())
}

pub(super) async fn end_staff(
    State(console): State<Console>,
    session: Session,
    Path((site, staff)): Path<(String, String)>,
    Form(given): Form<OnlyCsrf>,
) -> Built<Response> {
    session.check(&given.csrf)?;
    let site = console.detail(&session, site).await?.known.site;
    let command = StaffCommand::End { staff };
    console.carry_out(&session, Command::Staff(command)).await?;
    Ok(Redirect::to(&format!("/sites/{site}?done=staff-ended")).into_response())
}
