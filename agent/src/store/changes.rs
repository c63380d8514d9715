//! This replica's own changes and their chain: what was written here, in the order of writing. They are kept until the
//! hub holds them for good; nothing here alters what an author wrote, but for the number a new incarnation gives it.

use rusqlite::{OptionalExtension, Row, params};
use sync_protocol::change::{self, Change, Header, genesis};
use sync_protocol::replica::OwnChange;
use sync_protocol::{ChangeId, Dot, Hash, RecordId, ReplicaId};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE own_changes (
    id INTEGER PRIMARY KEY,
    change BLOB NOT NULL UNIQUE,
    replica BLOB NOT NULL,
    counter INTEGER NOT NULL,
    record BLOB NOT NULL,
    header BLOB NOT NULL,
    salt BLOB NOT NULL,
    payload BLOB NOT NULL,
    hash BLOB NOT NULL,
    pending INTEGER NOT NULL,
    quarantine INTEGER,
    UNIQUE (replica, counter)
);
CREATE INDEX own_changes_pending ON own_changes (record, id) WHERE pending = 1;
CREATE INDEX own_changes_quarantined ON own_changes (id) WHERE quarantine IS NOT NULL;
CREATE INDEX own_changes_settled ON own_changes (record) WHERE pending = 0;
CREATE INDEX own_changes_waiting ON own_changes (replica, counter) WHERE pending = 3;";

/// What `pending` is once the content is forgotten; otherwise it is 1, or 0 once a base has the change, or 3 once the record
/// was purged and the content waits for the hub to hold it for good.
const FORGOTTEN: u8 = 2;

/// How the store's own changes stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Written here and not yet in what the hub sent back.
    pub pending: u64,
    /// Of the current incarnation, and not yet acknowledged by the hub.
    pub unsent: u64,
    /// Kept by the hub but not usable there.
    pub quarantined: u64,
}

/// An own change that the hub could not use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuarantinedChange {
    pub change: ChangeId,
    pub record: RecordId,
    pub reason: u16,
}

/// What a check of the chain from its rows found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChainCheck {
    Sound {
        changes: u64,
    },
    /// The change of this number is missing, out of order, or its bytes are not those that were written.
    Broken {
        replica: ReplicaId,
        counter: u64,
    },
}

fn read_own(row: &Row<'_>) -> rusqlite::Result<(Change, Hash)> {
    Ok((
        Change {
            header: row.get(0)?,
            salt: row.get(1)?,
            payload: row.get(2)?,
        },
        Hash(row.get(3)?),
    ))
}

/// How a change hangs on the one before it: by its content, or by the digest that is left of it.
fn read_link(row: &Row<'_>) -> Result<(impl Fn(Hash) -> Hash, Hash), TxError> {
    let forgotten = row.get::<_, u8>(6)? == FORGOTTEN;
    let header: Vec<u8> = row.get(0)?;
    let digest = if forgotten {
        Hash(row.get(2)?)
    } else {
        read_own(row)?.0.payload_digest()
    };
    Ok((
        move |previous| change::link(previous, &header, digest),
        Hash(row.get(3)?),
    ))
}

fn own((change, hash): (Change, Hash)) -> Result<OwnChange, TxError> {
    let header = Header::parse(&change.header).map_err(TxError::unreadable("a change"))?;
    Ok(OwnChange { header, change, hash })
}

impl ReadTx<'_> {
    pub fn counts(&self) -> Result<Counts, TxError> {
        // Each is counted from its own index alone; a quarantined change is pending as well.
        let sql = "SELECT (SELECT count(*) FROM own_changes WHERE pending = 1),
                   (SELECT count(*) FROM own_changes WHERE quarantine IS NOT NULL)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let (pending, quarantined) =
            statement.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let head = self.head()?;
        Ok(Counts {
            pending: (pending - quarantined).cast_unsigned(),
            unsent: head.counter.saturating_sub(head.accepted),
            quarantined: quarantined.cast_unsigned(),
        })
    }

    pub fn quarantined(&self, limit: u32) -> Result<Vec<QuarantinedChange>, TxError> {
        let sql = "SELECT change, record, quarantine FROM own_changes WHERE quarantine IS NOT NULL
                   ORDER BY id LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([limit], |row| {
            Ok(QuarantinedChange {
                change: ChangeId(row.get(0)?),
                record: RecordId(row.get(1)?),
                reason: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Own changes on a record that no base contains, oldest first.
    pub fn pending_of(&self, record: RecordId) -> Result<Vec<OwnChange>, TxError> {
        let sql = "SELECT header, salt, payload, hash FROM own_changes WHERE pending = 1 AND record = ?1 ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([record.0], read_own)?;
        rows.map(|row| own(row?)).collect()
    }

    pub fn hash_of(&self, dot: Dot) -> Result<Option<Hash>, TxError> {
        let sql = "SELECT hash FROM own_changes WHERE replica = ?1 AND counter = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let hash = statement.query_row(params![dot.replica.0, dot.counter.cast_signed()], |row| row.get(0));
        Ok(hash.optional()?.map(Hash))
    }

    pub(super) fn run_after(&self, dot: Dot, bytes_max: usize) -> Result<Vec<OwnChange>, TxError> {
        let sql =
            "SELECT header, salt, payload, hash FROM own_changes WHERE replica = ?1 AND counter > ?2 AND pending <> 2
             ORDER BY counter";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![dot.replica.0, dot.counter.cast_signed()], read_own)?;
        let (mut run, mut bytes) = (Vec::new(), 0usize);
        for row in rows {
            let own = own(row?)?;
            bytes = bytes.saturating_add(own.change.bytes());
            if bytes > bytes_max && !run.is_empty() {
                break;
            }
            run.push(own);
        }
        Ok(run)
    }

    /// Reads every own change and verifies each chain from its genesis, and that the current one ends where the head
    /// says. A damaged tail of SQLite's log loses rows without an error; this notices.
    pub fn verify_chain(&self) -> Result<ChainCheck, TxError> {
        let head = self.head()?;
        let sql =
            "SELECT header, salt, payload, hash, replica, counter, pending FROM own_changes ORDER BY replica, counter";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut last = Dot {
            replica: ReplicaId::NIL,
            counter: 0,
        };
        let (mut hash, mut current, mut changes) = (genesis(last.replica), (0, genesis(head.replica)), 0);
        while let Some(row) = rows.next()? {
            let (link, stored) = read_link(row)?;
            let dot = Dot {
                replica: ReplicaId(row.get(4)?),
                counter: row.get::<_, i64>(5)?.cast_unsigned(),
            };
            if dot.replica != last.replica {
                last = Dot {
                    replica: dot.replica,
                    counter: 0,
                };
                hash = genesis(dot.replica);
            }
            hash = link(hash);
            if dot.counter != last.counter + 1 || hash != stored {
                return Ok(ChainCheck::Broken {
                    replica: dot.replica,
                    counter: last.counter + 1,
                });
            }
            if dot.replica == head.replica {
                current = (dot.counter, hash);
            }
            last = dot;
            changes += 1;
        }
        if current != (head.counter, head.hash) {
            return Ok(ChainCheck::Broken {
                replica: head.replica,
                counter: current.0 + 1,
            });
        }
        Ok(ChainCheck::Sound { changes })
    }
}

impl WriteTx<'_> {
    pub(super) fn insert_own(&mut self, own: &OwnChange) -> Result<(), TxError> {
        let payload = own
            .change
            .parse_payload()
            .map_err(TxError::unreadable("a new change"))?;
        clinic::catalogue::admit(&own.header, &payload).map_err(|reason| TxError::NotAdmitted { reason })?;
        let sql = "INSERT INTO own_changes (change, replica, counter, record, header, salt, payload, hash, pending)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1)";
        self.connection.prepare_cached(sql)?.execute(params![
            own.header.change.0,
            own.header.dot.replica.0,
            own.header.dot.counter.cast_signed(),
            own.header.record.0,
            own.change.header,
            own.change.salt,
            own.change.payload,
            own.hash.0
        ])?;
        self.changed.own = true;
        Ok(())
    }

    pub(super) fn update_own(&mut self, own: &OwnChange) -> Result<(), TxError> {
        let sql =
            "UPDATE own_changes SET replica = ?2, counter = ?3, header = ?4, hash = ?5, pending = 1 WHERE change = ?1";
        self.connection.prepare_cached(sql)?.execute(params![
            own.header.change.0,
            own.header.dot.replica.0,
            own.header.dot.counter.cast_signed(),
            own.change.header,
            own.hash.0
        ])?;
        self.changed.own = true;
        Ok(())
    }

    pub(super) fn settle_own(&mut self, change: ChangeId) -> Result<(), TxError> {
        let sql = "UPDATE own_changes SET pending = 0, quarantine = NULL WHERE change = ?1";
        self.connection.prepare_cached(sql)?.execute([change.0])?;
        Ok(())
    }

    /// Forgets the content of settled changes on a record, but for what the hub does not hold for good yet: that waits.
    pub(super) fn forget_own(&mut self, record: RecordId) -> Result<(), TxError> {
        let sql = "SELECT change, replica, counter FROM own_changes INDEXED BY own_changes_settled
                   WHERE record = ?1 AND pending = 0";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([record.0], |row| {
            let counter = row.get::<_, i64>(2)?.cast_unsigned();
            Ok((row.get::<_, [u8; 16]>(0)?, ReplicaId(row.get(1)?), counter))
        })?;
        for (change, replica, counter) in rows.collect::<Result<Vec<_>, _>>()? {
            if self.stable_of(replica)?.is_some_and(|stable| counter > stable) {
                let sql = "UPDATE own_changes SET pending = 3 WHERE change = ?1";
                self.connection.prepare_cached(sql)?.execute([change])?;
            } else {
                self.forget_change(change)?;
            }
        }
        Ok(())
    }

    /// Forgets the content of a change. The digest that the chain hangs on takes its place, with no salt beside it.
    pub(super) fn forget_change(&mut self, change: [u8; 16]) -> Result<(), TxError> {
        let sql = "SELECT header, salt, payload FROM own_changes WHERE change = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let digest = statement.query_row([change], |row| {
            let change = Change {
                header: row.get(0)?,
                salt: row.get(1)?,
                payload: row.get(2)?,
            };
            Ok(change.payload_digest())
        })?;
        let sql = "UPDATE own_changes SET pending = 2, salt = x'', payload = ?2 WHERE change = ?1";
        self.connection
            .prepare_cached(sql)?
            .execute(params![change, digest.0])?;
        Ok(())
    }

    pub(super) fn quarantine_own(&mut self, dot: Dot, reason: u16) -> Result<(), TxError> {
        let sql = "UPDATE own_changes SET quarantine = ?3 WHERE replica = ?1 AND counter = ?2 AND pending = 1
                   RETURNING record";
        let mut statement = self.connection.prepare_cached(sql)?;
        let values = params![dot.replica.0, dot.counter.cast_signed(), reason];
        let touched = statement.query_row(values, |row| row.get(0).map(RecordId));
        if let Some(record) = touched.optional()? {
            self.changed.kinds.extend(self.kind_of(record)?);
            self.changed.records.insert(record);
            self.changed.acknowledged = true;
        }
        Ok(())
    }
}
