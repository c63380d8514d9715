//! Logins and passphrases, of staff and of administrators. A passphrase is kept as an Argon2id hash and as nothing else.

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use zeroize::Zeroizing;

use crate::db::random;
use crate::exit::{Exit, Failure};

const LOGIN_MAX_CHARS: usize = 64;
const PASSPHRASE_MAX_BYTES: usize = 256;

/// Held against a login that nobody has, so that the time it takes tells nothing. Nobody knows a passphrase for it.
pub(crate) const NOBODYS_CREDENTIAL: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIG5vYm9keQ$q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA";

/// Hashes beside the async threads: it takes tens of milliseconds on purpose.
pub(super) async fn hashed(passphrase: Zeroizing<String>) -> Result<String, Failure> {
    tokio::task::spawn_blocking(move || hash(&passphrase))
        .await
        .map_err(|_| Failure::failed("the passphrase could not be hashed"))?
}

/// Whether the passphrase is the credential's.
pub(crate) fn verify(credential: &str, passphrase: &str) -> bool {
    Argon2::default()
        .verify_password(passphrase.as_bytes(), credential)
        .is_ok()
}

/// Lower case, so that nobody is locked out by a shift key.
pub(super) fn parse_login(text: &str) -> Result<String, Failure> {
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

pub(super) fn refuse_weak(passphrase: &str, min_chars: usize) -> Result<(), Failure> {
    let chars = passphrase.chars().count();
    if chars < min_chars || passphrase.len() > PASSPHRASE_MAX_BYTES {
        return Err(Failure::new(
            Exit::Usage,
            format!("a passphrase has at least {min_chars} characters and at most {PASSPHRASE_MAX_BYTES} bytes"),
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
