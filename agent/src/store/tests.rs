//! The store on real encrypted files, and on disks that fail.

mod disk;
mod finding;
mod freeze;
mod hub;
mod keeping;
mod opening;
mod repair;
mod replica;
mod snapshot;
mod walks;
mod writing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clinic::write::{Action, Channel, Writing};
use clinic::{PersonName, patient};
use sync_protocol::replica::Written;
use sync_protocol::{Draft, Phi, RecordId};
use vault::DataKey;

use super::*;

/// A folder for one store, and the key to it.
struct Site {
    folder: tempfile::TempDir,
    key: Arc<DataKey>,
}

impl Site {
    fn new() -> Site {
        Site {
            folder: tempfile::tempdir().unwrap(),
            key: Arc::new(DataKey::generate().unwrap()),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join(FILE)
    }

    fn create(&self) -> Store {
        Store::create(self.path(), self.key.clone(), Tuning::default()).unwrap()
    }

    /// A store that commits together whatever waits together, however long that takes.
    fn create_gathering(&self) -> Store {
        let tuning = Tuning {
            group_max: Duration::from_secs(60),
            ..Tuning::default()
        };
        Store::create(self.path(), self.key.clone(), tuning).unwrap()
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(self.path(), self.key.clone(), Tuning::default())
    }
}

type Authored = Result<Option<Written>, AuthorError>;

fn new_patient(record: RecordId, family: &str) -> Draft {
    Writing::new(patient::KIND, record, Action::Arrive, Channel::Page.program(), 1_000)
        .set(patient::NAME, &Phi::new(PersonName::new(family, "Ada")))
        .done()
}

fn new_phone(record: RecordId, phone: &str) -> Draft {
    Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 2_000)
        .set(patient::PHONE, &Phi::new(phone.to_owned()))
        .done()
}

fn record(number: u8) -> RecordId {
    RecordId([number; 16])
}

fn save(store: &Store, draft: Draft) -> Written {
    store
        .write_blocking(Priority::Desk, move |tx| tx.author(&draft))
        .unwrap()
        .unwrap()
}

fn chain(store: &Store) -> ChainCheck {
    store.read_blocking(|tx| tx.verify_chain()).unwrap()
}
