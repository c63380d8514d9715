//! Administrators of the console: adding them, what they sign in with, letting them go. The first is added at the
//! command line; nothing here tells a passphrase, and a second factor's secret is told once.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use sync_protocol::RecordId;
use zeroize::Zeroizing;

use super::credential::{hashed, parse_login, refuse_weak};
use super::factor::Factor;
use super::site::named;
use super::{Admin, AdminRole, By, iso};
use crate::db::{Account, Txn, random};
use crate::exit::{Exit, Failure};

/// Longer than at a site: the console reaches every site, from wherever it listens.
pub const ACCOUNT_PASSPHRASE_MIN_CHARS: usize = 12;

/// What is asked about the console's accounts.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum AccountCommand {
    Add(NewAccount),
    List,
    /// Closes the account for good.
    Remove {
        login: String,
    },
    /// Gives another passphrase and another second factor.
    Reset {
        login: String,
        passphrase: Zeroizing<String>,
    },
    /// Forgets wrong tries.
    Unlock {
        login: String,
    },
}

#[derive(Serialize, Deserialize)]
pub struct NewAccount {
    pub login: String,
    pub name: String,
    pub role: String,
    pub passphrase: Zeroizing<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum AccountReply {
    /// What to put into an authenticator app. It is told this once.
    Factor {
        admin: String,
        login: String,
        secret: Zeroizing<String>,
        uri: Zeroizing<String>,
    },
    List {
        admins: Vec<ListedAccount>,
    },
    Removed {
        login: String,
    },
    Unlocked {
        login: String,
    },
}

#[derive(Serialize, Deserialize)]
pub struct ListedAccount {
    pub admin: String,
    pub login: String,
    pub name: String,
    pub role: AdminRole,
    pub added: String,
    pub last_sign_in: Option<String>,
    pub ended: Option<String>,
}

impl AccountCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            AccountCommand::Add(_)
            | AccountCommand::Remove { .. }
            | AccountCommand::Reset { .. }
            | AccountCommand::Unlock { .. } => true,
            AccountCommand::List => false,
        }
    }
}

/// By what the tries of a login are counted; of a login that nobody has in the same way.
pub(crate) fn who_by_login(login: &str) -> [u8; 32] {
    digest_of("login", &login.trim().to_lowercase())
}

/// By what the tries from an address are counted.
pub(crate) fn who_by_address(address: std::net::IpAddr) -> [u8; 32] {
    digest_of("address", &address.to_canonical().to_string())
}

fn digest_of(what: &str, text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, format!("{what}\0{text}").as_bytes()).as_ref());
    bytes
}

impl Admin {
    pub(super) async fn about_accounts(&self, by: By, command: AccountCommand) -> Result<AccountReply, Failure> {
        match command {
            AccountCommand::Add(new) => self.add_account(by, new).await,
            AccountCommand::List => self.list_accounts().await,
            AccountCommand::Remove { login } => self.remove_account(by, &login).await,
            AccountCommand::Reset { login, passphrase } => self.reset_account(by, &login, passphrase).await,
            AccountCommand::Unlock { login } => self.unlock_account(by, &login).await,
        }
    }

    async fn add_account(&self, by: By, new: NewAccount) -> Result<AccountReply, Failure> {
        let login = parse_login(&new.login)?;
        let name = named("the name", &new.name)?;
        let role = AdminRole::parse(&new.role)
            .ok_or_else(|| Failure::new(Exit::Usage, format!("\"{}\" is neither admin nor viewer", new.role)))?;
        refuse_weak(&new.passphrase, ACCOUNT_PASSPHRASE_MIN_CHARS)?;
        let credential = hashed(new.passphrase).await?;
        let factor = Factor::draw()?;
        let admin = RecordId(random()?);
        let told = told(admin, &login, &factor);
        self.db
            .write(move |txn| {
                if txn.account_of_login(&login)?.is_some() {
                    return Err(Failure::failed(format!(
                        "the login \"{login}\" is taken, or was somebody's who left: choose another one"
                    )));
                }
                let added_ms = txn.now_ms();
                txn.add_account(&Account {
                    admin,
                    login: login.clone(),
                    name: name.clone(),
                    role: role.word().to_owned(),
                    credential: credential.clone(),
                    factor: factor.secret().to_vec(),
                    step_taken: 0,
                    added_ms,
                    signed_in_ms: None,
                    ended_ms: None,
                })?;
                Ok(())
            })
            .await?;
        tracing::info!(%admin, role = role.word(), by = %by, "an administrator was added");
        Ok(told)
    }

    async fn list_accounts(&self) -> Result<AccountReply, Failure> {
        let accounts = self.db.read(|txn| Ok::<_, Failure>(txn.accounts()?)).await?;
        Ok(AccountReply::List {
            admins: accounts.iter().map(ListedAccount::of).collect::<Result<_, _>>()?,
        })
    }

    async fn remove_account(&self, by: By, login: &str) -> Result<AccountReply, Failure> {
        let login = parse_login(login)?;
        let wanted = login.clone();
        let admin = self
            .db
            .write(move |txn| {
                let account = account_of(txn, &wanted)?;
                if by.actor().who == account.admin {
                    return Err(Failure::failed(
                        "you cannot close your own account: ask another administrator",
                    ));
                }
                txn.end_account(account.admin)?;
                Ok(account.admin)
            })
            .await?;
        tracing::warn!(%admin, by = %by, "an administrator's account was closed");
        Ok(AccountReply::Removed { login })
    }

    async fn reset_account(&self, by: By, login: &str, passphrase: Zeroizing<String>) -> Result<AccountReply, Failure> {
        let login = parse_login(login)?;
        refuse_weak(&passphrase, ACCOUNT_PASSPHRASE_MIN_CHARS)?;
        let credential = hashed(passphrase).await?;
        let factor = Factor::draw()?;
        let (wanted, secret) = (login.clone(), factor.secret().to_vec());
        let admin = self
            .db
            .write(move |txn| {
                let account = account_of(txn, &wanted)?;
                txn.reset_account(account.admin, &credential, &secret)?;
                txn.forget_tries(who_by_login(&wanted))?;
                Ok::<_, Failure>(account.admin)
            })
            .await?;
        tracing::warn!(%admin, by = %by, "an administrator was given another passphrase and second factor");
        Ok(told(admin, &login, &factor))
    }

    async fn unlock_account(&self, by: By, login: &str) -> Result<AccountReply, Failure> {
        let login = parse_login(login)?;
        let wanted = login.clone();
        let admin = self
            .db
            .write(move |txn| {
                let account = account_of(txn, &wanted)?;
                txn.forget_tries(who_by_login(&wanted))?;
                Ok::<_, Failure>(account.admin)
            })
            .await?;
        tracing::info!(%admin, by = %by, "an administrator's wrong tries were forgotten");
        Ok(AccountReply::Unlocked { login })
    }
}

fn told(admin: RecordId, login: &str, factor: &Factor) -> AccountReply {
    AccountReply::Factor {
        admin: admin.to_string(),
        login: login.to_owned(),
        secret: factor.typed(),
        uri: factor.uri(login),
    }
}

/// An account that is not closed.
fn account_of(txn: &mut Txn<'_>, login: &str) -> Result<Account, Failure> {
    txn.account_of_login(login)?
        .filter(|account| account.ended_ms.is_none())
        .ok_or_else(|| {
            Failure::failed(format!(
                "there is no administrator \"{login}\": see mainstay-hub admin list"
            ))
        })
}

impl ListedAccount {
    fn of(account: &Account) -> Result<ListedAccount, Failure> {
        let role = AdminRole::parse(&account.role)
            .ok_or_else(|| Failure::new(Exit::StoreNotOpened, "the store holds an account with an unknown role"))?;
        Ok(ListedAccount {
            admin: account.admin.to_string(),
            login: account.login.clone(),
            name: account.name.clone(),
            role,
            added: iso(account.added_ms),
            last_sign_in: account.signed_in_ms.map(iso),
            ended: account.ended_ms.map(iso),
        })
    }
}
