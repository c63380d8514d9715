//! The authorities in a home: `authority` and those that followed it, each a certificate in clear and a key sealed under
//! the store's. None is ever written over; the newest two count.

use std::path::PathBuf;
use std::sync::Arc;

use vault::{Authorities, Authority, DataKey, key_file, private_file, seal};

use super::Home;
use crate::exit::{Exit, Failure};

const LABEL: &str = "hub authority";
const NAME: &str = "Mainstay hub";
/// Authorities follow one another after months; a folder with more is not one of ours.
const FOLLOWERS_MAX: u32 = 1_000;

/// The authorities of a running hub with the home that keeps them.
#[derive(Clone)]
pub struct Keeping {
    pub authorities: Arc<Authorities>,
    home: Home,
}

impl Keeping {
    pub fn new(authorities: Arc<Authorities>, home: &Home) -> Keeping {
        Keeping {
            authorities,
            home: home.clone(),
        }
    }

    /// Makes the authority that follows the one of today. Both are trusted until the overlap ends, which is given in unix
    /// seconds.
    pub fn rotate(&self, now_secs: i64) -> Result<i64, Failure> {
        if let Some(end) = self.authorities.overlap_ends(now_secs) {
            let until = jiff::Timestamp::from_second(end).unwrap_or(jiff::Timestamp::MAX);
            return Err(Failure::new(
                Exit::Usage,
                format!(
                    "two authorities are trusted already, until {}: another one can follow after that",
                    until.strftime("%Y-%m-%d")
                ),
            ));
        }
        let key = key_file::load(&self.home.key_file())?;
        let newest = self.home.newest_authority();
        let first = self.home.load_authority(newest, &key)?;
        let next = self.home.create_authority(newest + 1, &key, now_secs)?;
        self.authorities.replace(first, Some(next)).map_err(broken)?;
        self.authorities
            .overlap_ends(now_secs)
            .ok_or_else(|| Failure::failed("the new authority is not in force: check this machine's clock"))
    }
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::StoreNotOpened, format!("the hub's authority: {error}"))
}

impl Home {
    pub(super) fn has_authority(&self) -> bool {
        self.authority_file(1, "key").exists()
    }

    /// Loads what is there; makes the first one where there is none.
    pub(super) fn authorities(&self, key: &DataKey) -> Result<Authorities, Failure> {
        if !self.has_authority() {
            let made = self.create_authority(1, key, jiff::Timestamp::now().as_second())?;
            return Ok(Authorities::alone(made));
        }
        let newest = self.newest_authority();
        let last = self.load_authority(newest, key)?;
        if newest == 1 {
            return Ok(Authorities::alone(last));
        }
        Authorities::new(self.load_authority(newest - 1, key)?, Some(last)).map_err(broken)
    }

    fn authority_file(&self, number: u32, ending: &str) -> PathBuf {
        match number {
            1 => self.keys().join(format!("authority.{ending}")),
            follower => self.keys().join(format!("authority-{follower}.{ending}")),
        }
    }

    /// The certificate is written last: a key without one is of a rotation that was cut off, and is made anew.
    fn newest_authority(&self) -> u32 {
        let followers = (2..FOLLOWERS_MAX).take_while(|number| self.authority_file(*number, "pem").exists());
        followers.last().unwrap_or(1)
    }

    fn create_authority(&self, number: u32, key: &DataKey, now_secs: i64) -> Result<Authority, Failure> {
        let authority = Authority::create(NAME, now_secs).map_err(broken)?;
        let (sealed, clear) = (self.authority_file(number, "key"), self.authority_file(number, "pem"));
        seal::write_sealed(&sealed, key, LABEL, &authority.key_pkcs8()).map_err(broken)?;
        private_file::write_private(&clear, authority.certificate_pem().as_bytes())?;
        Ok(authority)
    }

    fn load_authority(&self, number: u32, key: &DataKey) -> Result<Authority, Failure> {
        let private = seal::read_sealed(&self.authority_file(number, "key"), key, LABEL).map_err(broken)?;
        let certificate = private_file::read_private(&self.authority_file(number, "pem"))?;
        let certificate = std::str::from_utf8(&certificate).map_err(broken)?;
        Authority::restore_pem(certificate, &private).map_err(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_authority_follows_and_both_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let _lock = home.lock().unwrap();
        let key = key_file::create(&home.key_file()).unwrap();
        let authorities = Arc::new(home.authorities(&key).unwrap());
        let now = jiff::Timestamp::now().as_second();
        let before = authorities.trusted(now);

        let end = Keeping::new(Arc::clone(&authorities), &home).rotate(now).unwrap();
        let again = Keeping::new(Arc::clone(&authorities), &home).rotate(now);
        let restarted = home.authorities(&key).unwrap();

        assert_eq!(end, now + 120 * 24 * 60 * 60);
        assert!(again.is_err());
        assert_eq!(authorities.trusted(now).len(), 2);
        assert_eq!(authorities.trusted(now)[0], before[0]);
        assert_eq!(restarted.trusted(now), authorities.trusted(now));
        assert_eq!(restarted.trusted(end).len(), 1);
    }
}
