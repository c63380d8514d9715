//! Reference data on command: loading a file, and what stands.

use std::collections::BTreeMap;

use clinic::catalogue::{EHR_SOURCE, reference_set};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sync_protocol::RecordState;

use super::{Admin, iso};
use crate::db::{DbError, ReferenceFile, Txn};
use crate::exit::{Exit, Failure};
use crate::reference::{self, File, LoadError, Refused, Set};

const VERSION_MAX_CHARS: usize = 60;

/// What is asked about reference data. A file travels whole, in base 64: the hub's own user need not be able to read it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum ReferenceCommand {
    Load {
        set: String,
        file: String,
        content: String,
        /// Files that the file names, by name.
        named: BTreeMap<String, String>,
        version: Option<String>,
    },
    List,
    Show {
        set: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum ReferenceReply {
    Loaded {
        set: String,
        version: String,
        entries: u64,
        /// Records that were written; none when the same stood already.
        written: u64,
        ended: u64,
    },
    Sets {
        sets: Vec<ReferenceStatus>,
    },
    Set {
        set: Box<ReferenceStatus>,
    },
}

/// How a set stands: its version, and what came of its last file.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct ReferenceStatus {
    pub set: String,
    pub title: String,
    /// Absent while none was ever taken.
    pub version: Option<String>,
    pub entries: u64,
    pub source: Option<String>,
    /// Since when the version stands.
    pub loaded: Option<String>,
    /// Of a code set.
    pub content: Option<String>,
    pub bytes: Option<u64>,
    /// When a file of the set was last taken, though it may have said nothing new.
    pub taken: Option<String>,
    /// The last file that was refused, if the last one was.
    pub refused: Option<RefusedFile>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct RefusedFile {
    pub file: String,
    pub at: String,
    pub why: Refused,
}

impl ReferenceCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            ReferenceCommand::Load { .. } => true,
            ReferenceCommand::List | ReferenceCommand::Show { .. } => false,
        }
    }
}

impl Admin {
    pub(super) async fn about_references(&self, command: ReferenceCommand) -> Result<ReferenceReply, Failure> {
        match command {
            ReferenceCommand::Load {
                set,
                file,
                content,
                named,
                version,
            } => {
                let named = named.into_iter().map(|(name, bytes)| Ok((name, decode(&bytes)?)));
                let file = File {
                    name: file,
                    bytes: decode(&content)?,
                    named: named.collect::<Result<_, Failure>>()?,
                };
                self.load_reference(parse_set(&set)?, file, version).await
            }
            ReferenceCommand::List => {
                let sets = self.db.read(statuses).await?;
                Ok(ReferenceReply::Sets { sets })
            }
            ReferenceCommand::Show { set } => {
                let set = parse_set(&set)?;
                let sets = self.db.read(statuses).await?;
                let set = sets.into_iter().find(|status| status.set == set.word());
                set.map(|set| ReferenceReply::Set { set: Box::new(set) })
                    .ok_or_else(|| Failure::failed("no file of this set was ever loaded: mainstay-hub reference load"))
            }
        }
    }

    async fn load_reference(&self, set: Set, file: File, version: Option<String>) -> Result<ReferenceReply, Failure> {
        let version = version.map(|version| version.trim().to_owned());
        let sound = |version: &String| {
            (1..=VERSION_MAX_CHARS).contains(&version.chars().count()) && !version.contains(char::is_control)
        };
        if !version.as_ref().is_none_or(sound) {
            let text = format!("a version has 1 to {VERSION_MAX_CHARS} characters");
            return Err(Failure::new(Exit::Usage, text));
        }
        let (name, digest) = (file.name.clone(), file.digest());
        match reference::load(&self.db, set, file, version, None).await {
            Ok(outcome) => {
                tracing::info!(set = set.word(), version = outcome.version, "reference data was loaded");
                Ok(ReferenceReply::Loaded {
                    set: set.word().to_owned(),
                    version: outcome.version,
                    entries: outcome.entries,
                    written: outcome.written,
                    ended: outcome.ended,
                })
            }
            Err(LoadError::Failed(failure)) => Err(failure),
            Err(LoadError::LeaseLost) => Err(Failure::failed("another process loads reference data now: try again")),
            Err(LoadError::Refused(refused)) => {
                reference::note_refused(&self.db, set, name.clone(), digest, &refused).await?;
                tracing::warn!(set = set.word(), file = name, %refused, "a file of reference data was refused");
                let lines: Vec<String> = refused.broken.iter().map(|broken| format!("\n  {broken}")).collect();
                let more = match refused.more {
                    0 => String::new(),
                    more => format!("\n  and {more} more"),
                };
                Err(Failure::failed(format!(
                    "{name} is broken and nothing of it was taken; what stood before stands:{}{more}",
                    lines.concat()
                )))
            }
        }
    }
}

fn parse_set(word: &str) -> Result<Set, Failure> {
    Set::parse(word).ok_or_else(|| {
        let words: Vec<_> = Set::ALL.iter().map(|set| set.word()).collect();
        Failure::new(
            Exit::Usage,
            format!("there is no such set: give one of {}", words.join(", ")),
        )
    })
}

fn decode(text: &str) -> Result<Vec<u8>, Failure> {
    BASE64
        .decode(text.as_bytes())
        .map_err(|_| Failure::failed("the file did not arrive whole: try again"))
}

/// Every set that was ever loaded, came from the EHR, or had a file refused. Of one name the files' comes before the EHR's.
pub(super) fn statuses(txn: &mut Txn<'_>) -> Result<Vec<ReferenceStatus>, DbError> {
    let mut all: BTreeMap<(String, bool), ReferenceStatus> = BTreeMap::new();
    for state in txn.all_of_kind(reference_set::KIND)? {
        let status = ReferenceStatus::of(&state);
        let is_of_ehr = status.source.as_deref() == Some(EHR_SOURCE);
        all.insert((status.set.clone(), is_of_ehr), status);
    }
    for file in txn.reference_files()? {
        let status = all.entry((file.set.clone(), false)).or_insert_with(|| ReferenceStatus {
            set: file.set.clone(),
            ..ReferenceStatus::default()
        });
        status.add(file);
    }
    Ok(all.into_values().collect())
}

impl ReferenceStatus {
    fn of(state: &RecordState) -> ReferenceStatus {
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        ReferenceStatus {
            set: reference_set::NAME.value(state).unwrap_or_default(),
            title: reference_set::TITLE.value(state).unwrap_or_default(),
            version: reference_set::VERSION.value(state),
            entries: number(reference_set::ENTRIES.value(state)).unwrap_or_default(),
            source: reference_set::SOURCE.value(state),
            loaded: number(reference_set::LOADED_MS.value(state)).map(iso),
            content: reference_set::CONTENT
                .value(state)
                .map(|digest| HEXLOWER.encode(&digest.0)),
            bytes: number(reference_set::BYTES.value(state)),
            taken: None,
            refused: None,
        }
    }

    fn add(&mut self, file: ReferenceFile) {
        self.taken = file.taken_ms.map(iso);
        let why = file.refused.and_then(|refused| serde_json::from_str(&refused).ok());
        self.refused = why.map(|why| RefusedFile {
            file: file.file,
            at: iso(file.at_ms),
            why,
        });
    }
}

#[cfg(test)]
mod tests {
    use clinic::{Action, Channel, Writing};
    use sync_protocol::RecordId;
    use sync_protocol::hub::HubError;
    use vault::DataKey;

    use super::*;
    use crate::db::{Db, Place, Policy};

    #[tokio::test]
    async fn a_files_set_and_the_ehrs_of_the_same_name_are_both_shown() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            file: folder.path().join("hub.db"),
            config: Default::default(),
        };
        let db = Db::create(&place, &DataKey::generate().unwrap(), Policy::CATALOGUE).unwrap();
        let set = |id: u8, source: &str| {
            let record = RecordId([id; 16]);
            Writing::new(
                reference_set::KIND,
                record,
                Action::Administer,
                Channel::Hub.program(),
                1,
            )
            .set(reference_set::NAME, &"providers".to_owned())
            .set(reference_set::SOURCE, &source.to_owned())
            .done()
        };
        let drafts = [set(1, "list.csv"), set(2, EHR_SOURCE)];
        let written = db.write(move |txn| {
            for draft in &drafts {
                txn.author(draft, None)?;
            }
            txn.note_reference_file(&ReferenceFile {
                set: "providers".to_owned(),
                file: "list.csv".to_owned(),
                digest: [7; 32],
                at_ms: 5,
                taken_ms: Some(5),
                refused: None,
            })?;
            Ok::<_, HubError<DbError>>(())
        });
        written.await.unwrap();

        let all = db.read(statuses).await.unwrap();

        let told: Vec<_> = all
            .iter()
            .map(|status| (status.source.as_deref(), status.taken.is_some()))
            .collect();
        assert_eq!(told, [(Some("list.csv"), true), (Some(EHR_SOURCE), false)]);
        db.close();
    }
}
