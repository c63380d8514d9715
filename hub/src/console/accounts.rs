//! Who may use the console, and what the organisation is called.

use axum::extract::{Form, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Console;
use super::refusal::Built;
use super::session::Session;
use super::sites::{Done, OnlyCsrf, foreign};
use super::views::{AdminsView, FreshFactor, Shell, Tab, rendered};
use crate::admin::{AccountCommand, AccountReply, Command, NewAccount, OrganisationCommand, Reply};

impl Console {
    async fn about_accounts(&self, session: &Session, command: AccountCommand) -> Built<AccountReply> {
        if let Reply::Account(reply) = self.carry_out(session, Command::Account(command)).await? {
            Ok(reply)
        } else {
            Err(foreign())
        }
    }

    async fn admins_page(&self, session: &Session, done: Option<&str>, factor: Option<FreshFactor>) -> Built<Response> {
        let AccountReply::List { admins } = self.about_accounts(session, AccountCommand::List).await? else {
            return Err(foreign());
        };
        let view = AdminsView {
            organisation: self.organisation_name(session).await?,
            own_login: session.login.clone(),
            shell: Shell::new(session, Tab::Admins, done),
            admins,
            factor,
        };
        rendered(StatusCode::OK, &view)
    }

    /// The secret is in the answer itself: it is nowhere to be fetched again.
    async fn with_factor(&self, session: &Session, command: AccountCommand) -> Built<Response> {
        if let AccountReply::Factor { login, secret, uri, .. } = self.about_accounts(session, command).await? {
            let factor = FreshFactor { login, secret, uri };
            self.admins_page(session, None, Some(factor)).await
        } else {
            Err(foreign())
        }
    }
}

pub(super) async fn list(
    State(console): State<Console>,
    session: Session,
    Query(done): Query<Done>,
) -> Built<Response> {
    console.admins_page(&session, done.done.as_deref(), None).await
}

#[derive(Deserialize)]
pub(super) struct NewAdmin {
    csrf: String,
    login: String,
    name: String,
    role: String,
    passphrase: Zeroizing<String>,
}

pub(super) async fn add(
    State(console): State<Console>,
    session: Session,
    Form(new): Form<NewAdmin>,
) -> Built<Response> {
    session.check(&new.csrf)?;
    let command = AccountCommand::Add(NewAccount {
        login: new.login,
        name: new.name,
        role: new.role,
        passphrase: new.passphrase,
    });
    console.with_factor(&session, command).await
}

pub(super) async fn remove(
    State(console): State<Console>,
    session: Session,
    Path(login): Path<String>,
    Form(given): Form<OnlyCsrf>,
) -> Built<Response> {
    session.check(&given.csrf)?;
    console
        .about_accounts(&session, AccountCommand::Remove { login })
        .await?;
    Ok(Redirect::to("/admins?done=admin-removed").into_response())
}

pub(super) async fn unlock(
    State(console): State<Console>,
    session: Session,
    Path(login): Path<String>,
    Form(given): Form<OnlyCsrf>,
) -> Built<Response> {
    session.check(&given.csrf)?;
    console
        .about_accounts(&session, AccountCommand::Unlock { login })
        .await?;
    Ok(Redirect::to("/admins?done=admin-unlocked").into_response())
}

#[derive(Deserialize)]
pub(super) struct NewPassphrase {
    csrf: String,
    passphrase: Zeroizing<String>,
}

pub(super) async fn reset(
    State(console): State<Console>,
    session: Session,
    Path(login): Path<String>,
    Form(given): Form<NewPassphrase>,
) -> Built<Response> {
    session.check(&given.csrf)?;
    let command = AccountCommand::Reset {
        login,
        passphrase: given.passphrase,
    };
    console.with_factor(&session, command).await
}

#[derive(Deserialize)]
pub(super) struct NewName {
    csrf: String,
    name: String,
}

pub(super) async fn rename_organisation(
    State(console): State<Console>,
    session: Session,
    Form(given): Form<NewName>,
) -> Built<Response> {
    session.check(&given.csrf)?;
    let command = OrganisationCommand::Rename { name: given.name };
    console.carry_out(&session, Command::Organisation(command)).await?;
    Ok(Redirect::to("/admins?done=renamed").into_response())
}
