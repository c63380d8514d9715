//! What is known of this store outside of it: the machine and the file that it was written on, and how far its chain had got.
//! A store that does not fit was copied or put back, and takes a new identity before it writes anything. The witness proves
//! nothing where it is missing; the hub's view of the chain, compared with every answer, is behind it.

use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::time::UNIX_EPOCH;

use sync_protocol::ReplicaId;
use sync_protocol::replica::{ReplicaError, ReplicaHead};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use vault::private_file;

use crate::clock;
use crate::fault::Fault;
use crate::home::Home;
use crate::store::{Priority, Store, TxError, digest_of};
use crate::verified::{self, Why};

/// The names of the lines of the file.
const MACHINE: &str = "machine";
const FILE: &str = "inode";
const CHAIN: &str = "chain";

/// One testimony. A machine or a file system that gives no id gives none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Witness {
    machine: Option<String>,
    file: Option<String>,
    chain: Option<(ReplicaId, u64)>,
}

impl Witness {
    fn parse(text: &str) -> Witness {
        let mut witness = Witness::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some((MACHINE, id)) => witness.machine = Some(id.to_owned()),
                Some((FILE, id)) => witness.file = Some(id.to_owned()),
                Some((CHAIN, end)) => {
                    let end = end.split_once(' ');
                    let end =
                        end.and_then(|(replica, counter)| Some((ReplicaId::parse(replica)?, counter.parse().ok()?)));
                    witness.chain = end;
                }
                Some((_, _)) | None => {}
            }
        }
        witness
    }

    fn render(&self) -> String {
        let machine = self.machine.iter().map(|id| format!("{MACHINE} {id}\n"));
        let file = self.file.iter().map(|id| format!("{FILE} {id}\n"));
        let chain = self.chain.iter().map(|(replica, n)| format!("{CHAIN} {replica} {n}\n"));
        machine.chain(file).chain(chain).collect()
    }

    /// Why what was known does not fit what is found.
    fn contradicts(&self, found: &Witness) -> Option<Why> {
        let differs = |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some() && one != other;
        if differs(&self.machine, &found.machine) {
            return Some(Why::OtherMachine);
        }
        if differs(&self.file, &found.file) {
            return Some(Why::OtherFile);
        }
        match (self.chain, found.chain) {
            (Some((replica, reached)), Some((now, counter))) if replica != now || counter < reached => {
                Some(Why::BehindMark)
            }
            (_, _) => None,
        }
    }
}

/// The witness of one home.
pub struct Mark {
    path: PathBuf,
    here: Witness,
}

impl Mark {
    /// Compares what is known with the store, before its first write. A store that does not fit takes a new identity.
    pub async fn prove(home: &Home, store: &Store) -> Result<Mark, Fault> {
        let path = home.mark();
        if let Some(folder) = path.parent() {
            private_file::create_private_dir(folder)?;
        }
        let here = Witness {
            machine: machine_id(),
            file: file_id(&home.data()),
            chain: None,
        };
        let mark = Mark { path, here };
        let head = store.read(|tx| tx.head()).await?;
        let known = match mark.path.exists() {
            true => Witness::parse(&String::from_utf8_lossy(&private_file::read_private(&mark.path)?)),
            false => Witness::default(),
        };
        if let Some(why) = known.contradicts(&mark.at(&head)) {
            mark.take_new_identity(store, why).await?;
        }
        mark.note(&store.read(|tx| tx.head()).await?)?;
        Ok(mark)
    }

    async fn take_new_identity(&self, store: &Store, why: Why) -> Result<(), Fault> {
        let reborn = store
            .write(Priority::Desk, move |tx| {
                let reborn = tx.take_new_incarnation()?;
                verified::note_rebirth(tx, clock::now_ms(), why)?;
                Ok::<_, ReplicaError<TxError>>(reborn)
            })
            .await
            .map_err(|error| Fault::Other(error.to_string()))?;
        tracing::warn!(
            from = %reborn.from, to = %reborn.to, changes = reborn.changes, cause = why.words(), "took a new identity"
        );
        Ok(())
    }

    fn at(&self, head: &ReplicaHead) -> Witness {
        Witness {
            chain: Some((head.replica, head.counter)),
            ..self.here.clone()
        }
    }

    fn note(&self, head: &ReplicaHead) -> Result<(), private_file::PrivateFileError> {
        private_file::replace_unsynced(&self.path, self.at(head).render().as_bytes())
    }

    /// Follows the store's chain until told to stop. The mark may be a moment behind: it proves less then, never wrongly.
    pub async fn follow(self, store: Store, stop: CancellationToken) {
        let mut committed = store.committed();
        loop {
            let news = tokio::select! {
                () = stop.cancelled() => return,
                news = committed.recv() => news,
            };
            match news {
                Ok(news) if !news.own => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
            let noted = match store.read(|tx| tx.head()).await {
                Ok(head) => self.note(&head).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = noted {
                let file = self.path.display();
                tracing::error!(%error, %file, "the mark beside the store could not be written");
            }
        }
    }
}

/// The machine's own id (machine-id(5)), hashed as that page asks: it is not told to anybody.
fn machine_id() -> Option<String> {
    let id = std::fs::read("/etc/machine-id").ok()?;
    let said = [b"mainstay witness 1 ".as_slice(), id.trim_ascii()].concat();
    (!id.trim_ascii().is_empty()).then(|| digest_of(&said).to_string())
}

/// Which file of the file system the store is: inode and time of birth. The number of the device may be another after a reboot.
#[cfg(unix)]
fn file_id(data: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::metadata(Store::file(data)).ok()?;
    let born = file.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}:{}", file.ino(), born.as_nanos()))
}

#[cfg(not(unix))]
fn file_id(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(machine: &str, file: &str, counter: u64) -> Witness {
        Witness {
            machine: Some(machine.to_owned()),
            file: Some(file.to_owned()),
            chain: Some((ReplicaId([1; 16]), counter)),
        }
    }

    #[test]
    fn a_witness_comes_back_from_its_file() {
        let known = witness("m", "1:2", 7);

        assert_eq!(Witness::parse(&known.render()), known);
        assert_eq!(Witness::parse("something else\nchain x y\n"), Witness::default());
    }

    #[test]
    fn a_store_that_was_copied_or_put_back_contradicts_its_witness() {
        let known = witness("m", "1:2", 7);

        assert_eq!(known.contradicts(&witness("m", "1:2", 7)), None);
        assert_eq!(known.contradicts(&witness("m", "1:2", 9)), None);
        assert_eq!(known.contradicts(&witness("other", "1:2", 7)), Some(Why::OtherMachine));
        assert_eq!(known.contradicts(&witness("m", "1:3", 7)), Some(Why::OtherFile));
        assert_eq!(known.contradicts(&witness("m", "1:2", 6)), Some(Why::BehindMark));
        assert_eq!(Witness::default().contradicts(&known), None);
    }
}
