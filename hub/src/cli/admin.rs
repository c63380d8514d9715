//! `admin`: who may use the console.

use std::path::PathBuf;

use clap::Subcommand;

use super::passphrase;
use crate::admin::{AccountCommand, AccountReply, Command, ListedAccount, NewAccount};
use crate::exit::Failure;

#[derive(Subcommand)]
pub(super) enum AdminVerb {
    /// Let somebody use the console. Asks for a passphrase, and answers what to put into an authenticator app.
    Add {
        login: String,
        /// As the console shows it.
        #[arg(long)]
        name: String,
        /// admin may change everything, viewer only looks.
        #[arg(long, value_parser = ["admin", "viewer"])]
        role: String,
        /// A file whose first line is the passphrase; `-` reads standard input.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Everybody who may use the console, or could.
    List,
    /// Close an account for good and end its sign-ins.
    Remove { login: String },
    /// Give somebody another passphrase and another second factor: a lost phone, a passphrase that got about.
    Reset {
        login: String,
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Forget the wrong tries that closed an account for a while.
    Unlock { login: String },
}

impl AdminVerb {
    pub(super) fn command(self) -> Result<Command, Failure> {
        Ok(Command::Account(match self {
            AdminVerb::Add {
                login,
                name,
                role,
                passphrase_file,
            } => AccountCommand::Add(NewAccount {
                login,
                name,
                role,
                passphrase: passphrase::read(passphrase_file.as_deref())?,
            }),
            AdminVerb::List => AccountCommand::List,
            AdminVerb::Remove { login } => AccountCommand::Remove { login },
            AdminVerb::Reset { login, passphrase_file } => AccountCommand::Reset {
                login,
                passphrase: passphrase::read(passphrase_file.as_deref())?,
            },
            AdminVerb::Unlock { login } => AccountCommand::Unlock { login },
        }))
    }
}

pub(super) fn text(reply: &AccountReply) -> String {
    match reply {
        AccountReply::Factor { login, secret, uri, .. } => format!(
            "{login} signs in at the console with the passphrase and a code of an authenticator app.\n\
             Put this into the app now; it is not shown again:\n  {}\n  {}",
            secret.as_str(),
            uri.as_str()
        ),
        AccountReply::List { admins } if admins.is_empty() => {
            "nobody may use the console yet\nnext: mainstay-hub admin add LOGIN --name NAME --role admin".to_owned()
        }
        AccountReply::List { admins } => admins.iter().map(line_of).collect::<Vec<_>>().join("\n"),
        AccountReply::Removed { login } => format!("{login} may no longer use the console"),
        AccountReply::Unlocked { login } => format!("{login} may try again"),
    }
}

fn line_of(account: &ListedAccount) -> String {
    let state = match (&account.ended, &account.last_sign_in) {
        (Some(ended), _) => format!("closed {ended}"),
        (None, Some(seen)) => format!("last signed in {seen}"),
        (None, None) => "has not signed in yet".to_owned(),
    };
    format!("{}  {}  {}  {state}", account.login, account.role.word(), account.name)
}
