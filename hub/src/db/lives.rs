//! The lives of the store: which epoch it is, how far it has got, what of it is safe in a backup, and the mark outside it by
//! which a store that was put back to an older copy is told before it writes anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sync_protocol::hub::{Cause, Epoch, HubLedger};
use vault::private_file;

use super::sql::{Row, Sql, values};
use super::*;

/// Without any confirmed backup, what was received this long ago counts as held for good.
const STABLE_WITHOUT_BACKUP_MS: u64 = 30 * 24 * 3_600 * 1_000;

/// A change keeps the time at which its transaction began. One that began before a backup and was committed after it is not in
/// it, so what came in so shortly before counts only with the next one.
const BEFORE_BACKUP_MS: u64 = 10 * 60 * 1_000;

const SETTLE_EVERY_MS: u64 = 24 * 3_600 * 1_000;

/// One epoch of an organisation, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochBegun {
    pub epoch: Epoch,
    pub begun_ms: u64,
}

fn cause_of(number: i64) -> Result<Cause, DbError> {
    match number {
        0 => Ok(Cause::Founded),
        1 => Ok(Cause::Mark),
        2 => Ok(Cause::Shown),
        3 => Ok(Cause::Heard),
        4 => Ok(Cause::MarkOfOne),
        _ => Err(DbError::Damaged {
            what: "the cause of an epoch",
        }),
    }
}

fn number_of(cause: Cause) -> i64 {
    match cause {
        Cause::Founded => 0,
        Cause::Mark => 1,
        Cause::Shown => 2,
        Cause::Heard => 3,
        Cause::MarkOfOne => 4,
    }
}

impl Txn<'_> {
    /// The epoch and the replica that the hub writes as in it, as the store has them now.
    pub fn present(&mut self) -> Result<(EpochId, ReplicaId), DbError> {
        if let Some(present) = self.present {
            return Ok(present);
        }
        let row = self.sql.one(
            "SELECT epoch, hub_replica FROM organisations WHERE org = ?1",
            values![self.org],
        )?;
        let present = (EpochId(row.get(0)?), ReplicaId(row.get(1)?));
        self.present = Some(present);
        Ok(present)
    }

    /// Every epoch that this store knows of, in the order in which it came to know of them.
    pub fn epochs_begun(&mut self) -> Result<Vec<EpochBegun>, DbError> {
        let rows = self.sql.rows(
            "SELECT epoch, hub_replica, cause, begun_ms FROM epochs WHERE org = ?1 ORDER BY number",
            values![self.org],
        )?;
        let epoch = |row: &Row| {
            Ok(EpochBegun {
                epoch: Epoch {
                    epoch: EpochId(row.get(0)?),
                    hub_replica: ReplicaId(row.get(1)?),
                    cause: cause_of(row.get(2)?)?,
                },
                begun_ms: row.get(3)?,
            })
        };
        rows.iter().map(epoch).collect()
    }

    pub(super) fn add_epoch(&mut self, epoch: EpochId, hub_replica: ReplicaId, cause: Cause) -> Result<(), DbError> {
        let last = self
            .sql
            .one("SELECT max(number) FROM epochs WHERE org = ?1", values![self.org])?;
        let number = last.get::<i64>(0)? + 1;
        self.sql.run(
            "INSERT INTO epochs (org, number, epoch, hub_replica, cause, begun_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            values![self.org, number, epoch.0, hub_replica.0, number_of(cause), self.now_ms],
        )?;
        Ok(())
    }

    /// Ends the present epoch, unless another process has ended it meanwhile.
    pub(super) fn enter_epoch(&mut self, epoch: EpochId, hub_replica: ReplicaId, cause: Cause) -> Result<(), DbError> {
        let (ended, _) = self.present()?;
        self.lock_series()?;
        self.flush()?;
        // The organisation's row comes last, as in every commit.
        let common = match cause {
            Cause::Mark => "UPDATE chains SET common = counter WHERE org = ?1",
            Cause::Founded | Cause::Shown | Cause::Heard | Cause::MarkOfOne => {
                "UPDATE chains SET common = 0 WHERE org = ?1"
            }
        };
        self.sql.run(common, values![self.org])?;
        let ended = self.sql.run(
            "UPDATE organisations SET epoch = ?2, hub_replica = ?3 WHERE org = ?1 AND epoch = ?4",
            values![self.org, epoch.0, hub_replica.0, ended.0],
        )?;
        if ended == 0 {
            return Err(self.conflict("a new epoch has begun"));
        }
        self.add_epoch(epoch, hub_replica, cause)?;
        let marked = self.mark.and_then(|mark| mark.of(self.org)).map(|noted| noted.series);
        let known = marked.unwrap_or_default().max(self.series_given);
        self.skip_series(hub_replica, (known > 0).then_some(known))?;
        self.pending.chains.clear();
        self.present = Some((epoch, hub_replica));
        self.wrote = true;
        Ok(())
    }

    /// Another transaction was in the way: this one is run again, where others write too.
    fn conflict(&mut self, reason: &str) -> DbError {
        match &mut self.sql {
            Sql::Postgres(session) => session.conflict(reason),
            Sql::Embedded(_) => DbError::Conflict {
                reason: reason.to_owned(),
            },
        }
    }

    /// Counts this commit, if it has clinical content. Another process may have begun an epoch meanwhile, or the store may
    /// have gone back under this one: then nothing of it counts.
    pub(super) fn count_commit(&mut self) -> Result<(), DbError> {
        if !std::mem::take(&mut self.wrote) {
            return Ok(());
        }
        let (epoch, _) = self.present()?;
        let row = self.sql.row(
            "UPDATE organisations SET commits = commits + 1 WHERE org = ?1 AND epoch = ?2 RETURNING commits",
            values![self.org, epoch.0],
        )?;
        let Some(row) = row else {
            return Err(self.conflict("a new epoch has begun"));
        };
        let commits: u64 = row.get(0)?;
        // Whoever commits holds the row, so nothing that is noted by now comes after this.
        if let Some(mark) = self.mark.and_then(|mark| mark.of(self.org))
            && self.is_behind(mark, epoch, commits - 1)?
        {
            self.has_gone_back = true;
            return Err(DbError::GoneBack);
        }
        self.committed = Some(Noted {
            epoch,
            commits,
            series: self.series_given,
        });
        Ok(())
    }

    /// Whether a store that has got so far is not the one of which the mark was noted, or is that one as it was before.
    fn is_behind(&mut self, mark: Noted, epoch: EpochId, commits: u64) -> Result<bool, DbError> {
        if mark.epoch == epoch {
            return Ok(commits < mark.commits);
        }
        // Another process has begun an epoch since, or this store never heard of the one that was.
        Ok(HubLedger::epochs(self)?.iter().all(|known| known.epoch != mark.epoch))
    }

    /// Whoever runs the hub says that a backup holds everything up to a time. It never takes back what was confirmed.
    /// Answers until when backups cover now.
    pub fn confirm_backup(&mut self, until_ms: u64) -> Result<u64, DbError> {
        let until_ms = until_ms.min(self.now_ms);
        self.sql.run(
            "UPDATE organisations SET backup_ms = ?2 WHERE org = ?1 AND backup_ms < ?2",
            values![self.org, until_ms],
        )?;
        self.settle_stable()?;
        Ok(self.backup_ms()?.unwrap_or(until_ms))
    }

    /// Until when a confirmed backup covers, milliseconds since 1970; `None` where none was ever confirmed.
    pub fn backup_ms(&mut self) -> Result<Option<u64>, DbError> {
        let row = self
            .sql
            .one("SELECT backup_ms FROM organisations WHERE org = ?1", values![self.org])?;
        let until: u64 = row.get(0)?;
        Ok((until > 0).then_some(until))
    }

    /// Takes the chains on to where they are held for good by now.
    pub fn settle_stable(&mut self) -> Result<(), DbError> {
        self.flush_records()?;
        let until = match self.backup_ms()? {
            Some(backup_ms) => backup_ms.saturating_sub(BEFORE_BACKUP_MS),
            None => self.now_ms.saturating_sub(STABLE_WITHOUT_BACKUP_MS),
        };
        self.sql.run(
            "UPDATE chains SET stable = coalesce((SELECT max(changes.counter) FROM changes \
             WHERE changes.org = chains.org AND changes.replica = chains.replica \
             AND changes.counter > chains.stable AND changes.received_ms <= ?2), stable) \
             WHERE org = ?1 AND counter > stable",
            values![self.org, until],
        )?;
        self.pending.chains.clear();
        self.sql.run(
            "UPDATE organisations SET settled_ms = ?2 WHERE org = ?1",
            values![self.org, self.now_ms],
        )?;
        Ok(())
    }

    /// [`Txn::settle_stable`], once a day: where no backup was ever confirmed, time alone makes what is held stable.
    pub fn settle_stable_daily(&mut self) -> Result<(), DbError> {
        let row = self
            .sql
            .one("SELECT settled_ms FROM organisations WHERE org = ?1", values![self.org])?;
        if self.now_ms.saturating_sub(row.get(0)?) < SETTLE_EVERY_MS {
            return Ok(());
        }
        self.settle_stable()
    }
}

/// How far a store has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Noted {
    epoch: EpochId,
    commits: u64,
    /// The last series of TEMP numbers that is known to have been given.
    series: u32,
}

/// How far each organisation's store had got when it was last heard of, in a file that is outside the store and its backup.
pub(super) struct Mark {
    file: PathBuf,
    kept: Mutex<BTreeMap<[u8; 16], Noted>>,
}

impl Mark {
    fn load(file: &Path) -> Result<(Mark, bool), DbError> {
        let read = match file.exists() {
            true => Some(private_file::read_private(file).map_err(|error| DbError::Mark(error.to_string()))?),
            false => None,
        };
        let text = String::from_utf8_lossy(read.as_ref().map_or(&[], |bytes| bytes.as_slice()));
        let kept = text.lines().filter_map(read_line).collect();
        let mark = Mark {
            file: file.to_owned(),
            kept: Mutex::new(kept),
        };
        Ok((mark, read.is_some()))
    }

    pub(super) fn of(&self, org: [u8; 16]) -> Option<Noted> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&org)
            .copied()
    }

    /// Takes note of a commit, before anybody is told of it. A mark that cannot be written is told and proves less.
    pub(super) fn note(&self, org: [u8; 16], mut noted: Noted) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = kept.get(&org) {
            noted.series = noted.series.max(before.series);
            let is_newer = before.epoch != noted.epoch || before.commits < noted.commits;
            if !is_newer && before.series == noted.series {
                return;
            }
            if !is_newer {
                noted.commits = before.commits;
            }
        }
        kept.insert(org, noted);
        let lines: String = kept.iter().map(|(org, noted)| line(*org, *noted)).collect();
        if let Err(error) = private_file::replace_unsynced(&self.file, lines.as_bytes()) {
            tracing::error!(%error, "the mark of how far the store has got could not be written");
        }
    }
}

fn line(org: [u8; 16], noted: Noted) -> String {
    format!("{} {} {} {}\n", ScopeId(org), noted.epoch, noted.commits, noted.series)
}

/// A line of before there were series in it has three words.
fn read_line(line: &str) -> Option<([u8; 16], Noted)> {
    let mut words = line.split(' ');
    let org = ScopeId::parse(words.next()?)?.0;
    let noted = Noted {
        epoch: EpochId::parse(words.next()?)?,
        commits: words.next()?.parse().ok()?,
        series: words.next().map_or(Some(0), |series| series.parse().ok())?,
    };
    Some((org, noted))
}

impl Db {
    /// Keeps a mark outside the store, in `file`, and proves by it before anything is written that the store has not gone
    /// back; an organisation whose store has begins a new epoch. Answers how many did.
    ///
    /// A file that is missing proves nothing. Of a store that one process has alone, that means it is not known to be whole;
    /// of one that several share, that this process is new to it.
    pub async fn keep_mark(&self, file: &Path) -> Result<usize, DbError> {
        let (mark, found) = Mark::load(file)?;
        let mut begun = 0;
        for organisation in self.organisations().await? {
            let Some(db) = self.of(organisation.org) else { continue };
            let reached = mark.of(organisation.org);
            let alone = self.store.is_alone();
            let now = db
                .write(move |txn| txn.begin_if_gone_back(reached, found || !alone))
                .await?;
            begun += usize::from(now.begun);
            now.take_note(&mark, organisation.org);
        }
        // Kept for as long as the store is open.
        let _ = self.store.mark.set(mark);
        Ok(begun)
    }

    /// Takes note of how far other processes have brought the store, and begins a new epoch where it is behind what was noted:
    /// it was put back while this process ran. Of a store that nobody else writes there is nothing to learn.
    pub async fn look_at_mark(&self) -> Result<(), DbError> {
        if self.store.is_alone() || self.store.mark.get().is_none() {
            return Ok(());
        }
        for organisation in self.organisations().await? {
            let Some(db) = self.of(organisation.org) else { continue };
            // Noted before the snapshot is taken, so that only a store that went back can lack it.
            let reached = self.store.mark.get().and_then(|mark| mark.of(organisation.org));
            let mut now = db.read(move |txn| txn.reached(reached, true)).await?;
            if now.is_behind {
                now = db.write(move |txn| txn.begin_if_gone_back(reached, true)).await?;
            }
            if let Some(mark) = self.store.mark.get() {
                now.take_note(mark, organisation.org);
            }
        }
        Ok(())
    }
}

/// How far the store has got, and what that says.
pub(super) struct Reached {
    now: Noted,
    is_behind: bool,
    begun: bool,
}

impl Reached {
    pub(super) fn take_note(&self, mark: &Mark, org: [u8; 16]) {
        if self.begun {
            tracing::warn!(
                epoch = %self.now.epoch,
                "the store is older than it was when this hub last wrote it: a new epoch begins, and every site returns what it has"
            );
        }
        mark.note(org, self.now);
    }
}

impl Txn<'_> {
    fn reached(&mut self, mark: Option<Noted>, may_be_new: bool) -> Result<Reached, DbError> {
        let row = self.sql.one(
            "SELECT epoch, commits FROM organisations WHERE org = ?1",
            values![self.org],
        )?;
        let now = Noted {
            epoch: EpochId(row.get(0)?),
            commits: row.get(1)?,
            series: self.last_series()?,
        };
        let is_behind = match mark {
            Some(mark) => self.is_behind(mark, now.epoch, now.commits)?,
            None => !may_be_new && now.commits > 0,
        };
        Ok(Reached {
            now,
            is_behind,
            begun: false,
        })
    }

    pub(super) fn begin_if_gone_back(&mut self, mark: Option<Noted>, may_be_new: bool) -> Result<Reached, DbError> {
        let found = self.reached(mark, may_be_new)?;
        if !found.is_behind {
            return Ok(found);
        }
        let cause = match &self.sql {
            Sql::Embedded(_) => Cause::Mark,
            Sql::Postgres(_) => Cause::MarkOfOne,
        };
        self.series_given = mark.map_or(0, |mark| mark.series);
        let epoch = EpochId(random()?);
        self.enter_epoch(epoch, ReplicaId(random()?), cause)?;
        Ok(Reached {
            now: Noted {
                epoch,
                // This transaction counts as well.
                commits: found.now.commits + 1,
                series: self.last_series()?,
            },
            is_behind: false,
            begun: true,
        })
    }
}

impl Organisation {
    /// The first row of a new organisation's epochs.
    pub(super) fn begin_first_epoch(&self, sql: &mut Sql<'_>) -> Result<(), DbError> {
        sql.run(
            "INSERT INTO epochs (org, number, epoch, hub_replica, cause, begun_ms) VALUES (?1, 1, ?2, ?3, 0, ?4)",
            values![self.org, self.epoch.0, self.hub_replica.0, now_ms()],
        )?;
        Ok(())
    }
}
