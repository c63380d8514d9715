//! The hub's folder: where store, keys, logs and socket are, who may use it, and opening what is in it.
//!
//! Keys lie beside the data folder, never inside. What is there is never made anew: a home that was once set up and
//! now lacks its store or its key is refused. With PostgreSQL several homes use one store, each with a copy of the same
//! keys; a home whose keys do not fit the store is refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vault::private_file;
use vault::{Authorities, DataKey, SealingKey, key_file};

use crate::config::Config;
use crate::db::{Db, Place, Policy};
use crate::exit::{Exit, Failure};

mod authority;

pub use authority::Keeping;

pub const DEFAULT: &str = "/var/lib/mainstay-hub";

/// Another command's use of the store is over within this; a service's is not.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct Home(PathBuf);

/// Held by whoever has the store open; the operating system lets go of it when the process ends, however it ends.
pub struct Lock(#[expect(dead_code, reason = "the lock is held by the open file")] File);

/// What a home holds, opened.
pub struct Opened {
    pub db: Db,
    pub authorities: Arc<Authorities>,
    pub sealing: Arc<SealingKey>,
}

impl Opened {
    fn of(db: Db, authorities: Authorities, key: &DataKey) -> Opened {
        Opened {
            db,
            authorities: Arc::new(authorities),
            sealing: Arc::new(SealingKey::of(key)),
        }
    }
}

impl Home {
    pub fn new(folder: &Path) -> Home {
        Home(folder.to_owned())
    }

    pub fn config_file(&self) -> PathBuf {
        self.0.join("hub.toml")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub fn socket(&self) -> PathBuf {
        self.data().join("hub.sock")
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn store(&self) -> PathBuf {
        self.data().join("hub.db")
    }

    fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    fn key_file(&self) -> PathBuf {
        self.keys().join("store.key")
    }

    /// How far the store has got, outside the store and whatever a backup of it takes.
    pub fn mark(&self, config: &Config) -> PathBuf {
        let beside = || self.0.join("mark").join("store");
        config.store.mark_file.clone().unwrap_or_else(beside)
    }

    /// Says that the first set-up has begun and has not ended; it goes on from wherever it was cut off.
    fn setting_up(&self) -> PathBuf {
        self.keys().join("setting-up")
    }

    /// Makes the folders that are missing, for this user alone, and takes the store's lock.
    pub fn lock(&self) -> Result<Lock, Failure> {
        for folder in [&self.0, &self.data(), &self.keys(), &self.logs(), &self.0.join("mark")] {
            private_file::create_private_dir(folder)?;
        }
        let path = self.data().join("hub.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT && !self.socket().exists() => {
                    std::thread::sleep(LOCK_POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::new(
                        Exit::AlreadyRunning,
                        format!("a hub is running on {} already: stop that one first", self.0.display()),
                    ));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(Failure::failed(format!("{}: {error}", path.display())));
                }
            }
        }
    }

    /// Opens what the home holds; on an empty home makes it first. The lock says that nobody else does.
    pub fn open(&self, _lock: &Lock, config: &Config) -> Result<Opened, Failure> {
        key_file::ensure_outside(&self.data(), &self.key_file())?;
        let place = Place {
            file: self.store(),
            config: config.store.clone(),
        };
        let has_store = config.store.postgres.is_none() && self.store().exists();
        let untouched = !self.key_file().exists() && !has_store && !self.has_authority();
        if untouched && !self.setting_up().exists() {
            private_file::create_private(&self.setting_up(), b"the first set-up of this hub has not ended\n")?;
        }
        if !untouched && !self.setting_up().exists() {
            let key = key_file::load(&self.key_file())?;
            if !self.has_authority() {
                return Err(Failure::new(
                    Exit::StoreNotOpened,
                    "the hub's authority is missing: restore the folder keys from a backup",
                ));
            }
            let authorities = self.authorities(&key)?;
            let db = Db::open(&place, &key, Policy::CATALOGUE)?;
            return Ok(Opened::of(db, authorities, &key));
        }

        let key = match self.key_file().exists() {
            true => key_file::load(&self.key_file())?,
            false => key_file::create(&self.key_file())?,
        };
        let authorities = self.authorities(&key)?;
        let db = match has_store {
            true => Db::open(&place, &key, Policy::CATALOGUE)?,
            false => Db::create(&place, &key, Policy::CATALOGUE)?,
        };
        std::fs::remove_file(self.setting_up())
            .map_err(|error| Failure::failed(format!("{}: {error}", self.setting_up().display())))?;
        Ok(Opened::of(db, authorities, &key))
    }
}
