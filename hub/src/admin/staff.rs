//! Adding staff. The passphrase leaves here only as an Argon2id hash, in the staff record, so that people can sign in at
//! their site while the line is cut.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use clinic::catalogue::staff;
use clinic::index::{Wanted, login_term};
use clinic::value::Role;
use clinic::{Action, Writing};
use serde::{Deserialize, Serialize};
use sync_protocol::RecordId;
use zeroize::Zeroizing;

use super::site::named;
use super::{Admin, By, no_such_site, parse_site};
use crate::db::random;
use crate::exit::{Exit, Failure};

const LOGIN_MAX_CHARS: usize = 64;
const PASSPHRASE_MIN_CHARS: usize = 8;
const PASSPHRASE_MAX_BYTES: usize = 256;

/// What is asked about the people who work at sites.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum StaffCommand {
    Add(NewStaff),
}

/// Somebody who is to work at a site.
#[derive(Serialize, Deserialize)]
pub struct NewStaff {
    pub login: String,
    pub name: String,
    pub role: String,
    pub site: String,
    pub passphrase: Zeroizing<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum StaffReply {
    Added { staff: String },
}

impl StaffCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            StaffCommand::Add(_) => true,
        }
    }
}

impl Admin {
    pub(super) async fn about_staff(&self, by: By, command: StaffCommand) -> Result<StaffReply, Failure> {
        match command {
            StaffCommand::Add(new) => self.add_staff(by, new).await,
        }
    }

    async fn add_staff(&self, by: By, new: NewStaff) -> Result<StaffReply, Failure> {
        let NewStaff {
            login,
            name,
            role,
            site,
            passphrase,
        } = new;
        let login = parse_login(&login)?;
        let name = named("the name", &name)?;
        let role = Role::parse(&role).ok_or_else(|| {
            let words: Vec<_> = Role::ALL.iter().map(|role| role.word()).collect();
            Failure::new(
                Exit::Usage,
                format!("\"{role}\" is no role: give one of {}", words.join(", ")),
            )
        })?;
        let scope = parse_site(&site)?;
        refuse_weak(&passphrase)?;
        let credential = tokio::task::spawn_blocking(move || hash(&passphrase))
            .await
            .map_err(|_| Failure::failed("the passphrase could not be hashed"))??;

        let record = RecordId(random()?);
        self.db
            .write(move |txn| {
                txn.site(scope)?.ok_or_else(|| no_such_site(scope))?;
                if !txn
                    .search(staff::KIND, &[vec![Wanted::Exactly(login_term(&login))]])?
                    .is_empty()
                {
                    return Err(Failure::failed(format!(
                        "the login \"{login}\" is taken: choose another one"
                    )));
                }
                let draft = Writing::new(staff::KIND, record, Action::Administer, by.actor(), txn.now_ms() as i64)
                    .set(staff::LOGIN, &login)
                    .set(staff::NAME, &name)
                    .set(staff::ROLE, &role)
                    .set(staff::CREDENTIAL, &credential)
                    .set(staff::SITE, &RecordId(scope.0));
                txn.author(&draft.done(), Some(scope))?;
                Ok(())
            })
            .await?;
        tracing::info!(staff = %record, site = %scope, "staff was added");
        Ok(StaffReply::Added {
            staff: record.to_string(),
        })
    }
}

/// Lower case, so that nobody is locked out by a shift key.
fn parse_login(text: &str) -> Result<String, Failure> {
    let login = text.trim().to_lowercase();
    let sound = login.chars().all(|c| c.is_ascii_alphanumeric() || ".-_@".contains(c));
    if !sound || login.is_empty() || login.len() > LOGIN_MAX_CHARS {
        return Err(Failure::new(
            Exit::Usage,
            format!("a login has 1 to {LOGIN_MAX_CHARS} letters, digits, dots, hyphens, underscores"),
        ));
    }
    Ok(login)
}

fn refuse_weak(passphrase: &str) -> Result<(), Failure> {
    let chars = passphrase.chars().count();
    if chars < PASSPHRASE_MIN_CHARS || passphrase.len() > PASSPHRASE_MAX_BYTES {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "a passphrase has at least {PASSPHRASE_MIN_CHARS} characters and at most {PASSPHRASE_MAX_BYTES} bytes"
            ),
        ));
    }
    Ok(())
}

/// A PHC string with the library's defaults, which are OWASP's first choice (19 MiB, 2 passes, 1 lane).
fn hash(passphrase: &str) -> Result<String, Failure> {
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password_with_salt(passphrase.as_bytes(), &random()?);
    match hash {
        Ok(hash) => Ok(hash.to_string()),
        Err(error) => Err(Failure::failed(format!("the passphrase could not be hashed: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordVerifier;

    use super::*;

    #[test]
    fn a_hash_is_argon2id_and_verifies_only_its_passphrase() {
        let text = hash("correct horse battery").unwrap();
        let parsed = PasswordHash::new(&text).unwrap();

        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert!(
            Argon2::default()
                .verify_password(b"correct horse battery", &parsed)
                .is_ok()
        );
        assert!(
            Argon2::default()
                .verify_password(b"correct horse batterz", &parsed)
                .is_err()
        );
    }

    #[test]
    fn logins_are_folded_and_bounded() {
        assert_eq!(parse_login(" M.Okafor ").unwrap(), "m.okafor");
        for refused in ["", "a b", "ümlaut", &"x".repeat(65)] {
            assert_eq!(parse_login(refused).unwrap_err().exit, Exit::Usage);
        }
    }
}
