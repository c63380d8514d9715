//! The engine's storage, on the tables. What goes in comes out byte for byte; the engine decides everything.

use sync_protocol::hub::{ChainHead, HubLedger, KeptChange, RowStanding, Standing};
use sync_protocol::proof::Sum;
use sync_protocol::wire::{self, Told};
use sync_protocol::{Change, Dot, Hash, Header, Lane, RecordState};

use super::sql::{Row, values};
use super::*;

/// Rows of one page; the wire allows twice as many.
const PAGE_ROWS_MAX: usize = 2_048;
/// Rows that are fetched at once while a page is filled.
const ROWS_AT_ONCE: usize = 128;

const APPLIED: i64 = 0;
const SET_ASIDE: i64 = 1;
const ALIAS: i64 = 2;

fn standing_columns(standing: Standing) -> (i64, Option<i64>) {
    match standing {
        Standing::Applied => (APPLIED, None),
        Standing::Quarantined(reason) => (SET_ASIDE, Some(i64::from(reason))),
        Standing::Alias => (ALIAS, None),
    }
}

fn read_standing(standing: i64, reason: Option<i64>) -> Result<Standing, DbError> {
    let reason = reason.and_then(|reason| u16::try_from(reason).ok());
    match (standing, reason) {
        (APPLIED, _) => Ok(Standing::Applied),
        (SET_ASIDE, Some(reason)) => Ok(Standing::Quarantined(reason)),
        (ALIAS, _) => Ok(Standing::Alias),
        (_, _) => Err(DbError::Damaged {
            what: "a change's standing",
        }),
    }
}

const KEPT_COLUMNS: &str = "replica, counter, header, salt, payload, hash, standing, reason";

fn kept_change(row: &Row) -> Result<KeptChange, DbError> {
    let change = Change {
        header: row.get(2)?,
        salt: row.get(3)?,
        payload: row.get(4)?,
    };
    Ok(KeptChange {
        dot: Dot {
            replica: ReplicaId(row.get(0)?),
            counter: row.get(1)?,
        },
        header: change.parse_header().ok(),
        change,
        hash: Hash(row.get(5)?),
        standing: read_standing(row.get(6)?, row.get(7)?)?,
    })
}

pub(super) fn state_from(bytes: &[u8]) -> Result<RecordState, DbError> {
    RecordState::parse(bytes).map_err(|_| DbError::Damaged { what: "a record" })
}

fn row_standing(number: i64) -> Result<RowStanding, DbError> {
    let all = [RowStanding::Live, RowStanding::Offered, RowStanding::Gone];
    let found = all.into_iter().find(|standing| *standing as i64 == number);
    found.ok_or(DbError::Damaged {
        what: "a feed row's standing",
    })
}

fn told(state: RecordState, standing: RowStanding) -> Told {
    match standing {
        RowStanding::Live | RowStanding::Offered => Told::State {
            state,
            offered: standing == RowStanding::Offered,
        },
        RowStanding::Gone => Told::Gone {
            record: state.record,
            vector: state.vector,
        },
    }
}

impl HubLedger for Txn<'_> {
    type Error = DbError;

    fn epoch(&mut self) -> Result<EpochId, DbError> {
        Ok(self.organisation.epoch)
    }

    fn hub_replica(&mut self) -> Result<ReplicaId, DbError> {
        Ok(self.organisation.hub_replica)
    }

    fn chain(&mut self, replica: ReplicaId) -> Result<Option<ChainHead>, DbError> {
        let row = self.sql.row(
            "SELECT counter, hash, scope FROM chains WHERE org = ?1 AND replica = ?2",
            values![self.org, replica.0],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(ChainHead {
            counter: row.get(0)?,
            hash: Hash(row.get(1)?),
            scope: ScopeId(row.get(2)?),
        }))
    }

    fn set_chain(&mut self, replica: ReplicaId, head: &ChainHead) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO chains (org, replica, counter, hash, scope) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (org, replica) DO UPDATE SET counter = excluded.counter, hash = excluded.hash",
            values![self.org, replica.0, head.counter, head.hash.0, head.scope.0],
        )?;
        Ok(())
    }

    fn hash_at(&mut self, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, DbError> {
        let row = self.sql.row(
            "SELECT hash FROM changes WHERE org = ?1 AND replica = ?2 AND counter = ?3",
            values![self.org, replica.0, counter],
        )?;
        row.map(|row| row.get(0).map(Hash)).transpose()
    }

    fn keep(&mut self, kept: &KeptChange) -> Result<(), DbError> {
        let (standing, reason) = standing_columns(kept.standing);
        let first_dot = match &kept.header {
            Some(header) => self.find(header.change)?.is_none(),
            None => false,
        };
        self.sql.run(
            "INSERT INTO changes (org, replica, counter, change_id, record, header, salt, payload, hash, standing, \
             reason, first_dot, received_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            values![
                self.org,
                kept.dot.replica.0,
                kept.dot.counter,
                kept.header.as_ref().map(|header| header.change.0),
                kept.header.as_ref().map(|header| header.record.0),
                kept.change.header.as_slice(),
                kept.change.salt,
                kept.change.payload.as_slice(),
                kept.hash.0,
                standing,
                reason,
                first_dot,
                self.now_ms,
            ],
        )?;
        Ok(())
    }

    fn find(&mut self, change: ChangeId) -> Result<Option<KeptChange>, DbError> {
        let row = self.sql.row(
            &format!("SELECT {KEPT_COLUMNS} FROM changes WHERE org = ?1 AND change_id = ?2 AND first_dot = 1"),
            values![self.org, change.0],
        )?;
        row.as_ref().map(kept_change).transpose()
    }

    fn set_standing(&mut self, dot: Dot, standing: Standing) -> Result<(), DbError> {
        let (standing, reason) = standing_columns(standing);
        self.sql.run(
            "UPDATE changes SET standing = ?4, reason = ?5 WHERE org = ?1 AND replica = ?2 AND counter = ?3",
            values![self.org, dot.replica.0, dot.counter, standing, reason],
        )?;
        Ok(())
    }

    fn state(&mut self, record: RecordId) -> Result<Option<RecordState>, DbError> {
        let row = self.sql.row(
            "SELECT state FROM states WHERE org = ?1 AND record = ?2",
            values![self.org, record.0],
        )?;
        row.map(|row| state_from(&row.get::<Vec<u8>>(0)?)).transpose()
    }

    fn put_state(&mut self, state: &RecordState) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO states (org, record, kind, state) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (org, record) DO UPDATE SET kind = excluded.kind, state = excluded.state",
            values![self.org, state.record.0, state.kind.0, state.to_bytes()],
        )?;
        self.put_index(state)
    }

    fn rows_of(&mut self, record: RecordId) -> Result<Vec<(ScopeId, RowStanding)>, DbError> {
        let rows = self.sql.rows(
            "SELECT scope, standing FROM feed WHERE org = ?1 AND record = ?2 ORDER BY scope",
            values![self.org, record.0],
        )?;
        let row = |row: &Row| Ok((ScopeId(row.get(0)?), row_standing(row.get(1)?)?));
        rows.iter().map(row).collect()
    }

    fn row(&mut self, scope: ScopeId, lane: Lane, record: RecordId) -> Result<Option<(u64, RowStanding)>, DbError> {
        let found = self.sql.row(
            "SELECT sequence, standing FROM feed WHERE org = ?1 AND scope = ?2 AND lane = ?3 AND record = ?4",
            values![self.org, scope.0, lane as i64, record.0],
        )?;
        found
            .map(|row| Ok((row.get(0)?, row_standing(row.get(1)?)?)))
            .transpose()
    }

    fn has_quarantined(&mut self, site: ScopeId, record: RecordId) -> Result<bool, DbError> {
        let row = self.sql.row(
            "SELECT 1 FROM changes JOIN chains ON chains.org = changes.org AND chains.replica = changes.replica \
             WHERE changes.org = ?1 AND changes.record = ?2 AND changes.standing = 1 AND chains.scope = ?3 LIMIT 1",
            values![self.org, record.0, site.0],
        )?;
        Ok(row.is_some())
    }

    fn move_to_tail(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        record: RecordId,
        standing: RowStanding,
    ) -> Result<(), DbError> {
        // The head row is locked until the commit, so sequences have no gap and follow the order of commits.
        let head = self.sql.one(
            "INSERT INTO feed_heads (org, scope, lane, sequence, generation) VALUES (?1, ?2, ?3, 1, 0) \
             ON CONFLICT (org, scope, lane) DO UPDATE SET sequence = feed_heads.sequence + 1 RETURNING sequence",
            values![self.org, scope.0, lane as i64],
        )?;
        let sequence: u64 = head.get(0)?;
        self.sql.run(
            "INSERT INTO feed (org, scope, lane, record, sequence, standing) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (org, scope, lane, record) \
             DO UPDATE SET sequence = excluded.sequence, standing = excluded.standing",
            values![self.org, scope.0, lane as i64, record.0, sequence, standing as i64],
        )?;
        self.touched.insert(scope);
        Ok(())
    }

    fn feed_head(&mut self, scope: ScopeId, lane: Lane) -> Result<(u64, u64), DbError> {
        let row = self.sql.row(
            "SELECT sequence, generation FROM feed_heads WHERE org = ?1 AND scope = ?2 AND lane = ?3",
            values![self.org, scope.0, lane as i64],
        )?;
        let Some(row) = row else { return Ok((0, 0)) };
        Ok((row.get(0)?, row.get(1)?))
    }

    fn rows_after(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        sequence: u64,
        bytes_max: u64,
    ) -> Result<Vec<wire::Row>, DbError> {
        let (mut rows, mut total, mut after) = (Vec::<wire::Row>::new(), 0, sequence);
        while rows.len() < PAGE_ROWS_MAX {
            let found = self.sql.rows(
                "SELECT feed.sequence, states.state, feed.standing FROM feed \
                 JOIN states ON states.org = feed.org AND states.record = feed.record \
                 WHERE feed.org = ?1 AND feed.scope = ?2 AND feed.lane = ?3 AND feed.sequence > ?4 \
                 ORDER BY feed.sequence LIMIT ?5",
                values![self.org, scope.0, lane as i64, after, ROWS_AT_ONCE],
            )?;
            for row in &found {
                after = row.get(0)?;
                let bytes: Vec<u8> = row.get(1)?;
                total += bytes.len() as u64;
                if total > bytes_max && !rows.is_empty() {
                    return Ok(rows);
                }
                rows.push(wire::Row {
                    sequence: after,
                    told: told(state_from(&bytes)?, row_standing(row.get(2)?)?),
                    bytes: bytes.len() as u64,
                });
            }
            if found.len() < ROWS_AT_ONCE {
                break;
            }
        }
        Ok(rows)
    }

    fn add_to_bucket(&mut self, scope: ScopeId, lane: Lane, bucket: u8, plus: Sum, minus: Sum) -> Result<(), DbError> {
        let row = self.sql.row(
            "SELECT leaves FROM buckets WHERE org = ?1 AND scope = ?2 AND lane = ?3 AND bucket = ?4",
            values![self.org, scope.0, lane as i64, bucket],
        )?;
        let before = match row {
            Some(row) => Sum::from_bytes(&row.get(0)?),
            None => Sum::default(),
        };
        let after = before.plus(plus).minus(minus).to_bytes();
        self.sql.run(
            "INSERT INTO buckets (org, scope, lane, bucket, leaves) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (org, scope, lane, bucket) DO UPDATE SET leaves = excluded.leaves",
            values![self.org, scope.0, lane as i64, bucket, after],
        )?;
        Ok(())
    }

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, DbError> {
        let rows = self.sql.rows(
            "SELECT bucket, leaves FROM buckets WHERE org = ?1 AND scope = ?2 AND lane = ?3",
            values![self.org, scope.0, lane as i64],
        )?;
        let sum = |row: &Row| Ok((row.get(0)?, Sum::from_bytes(&row.get(1)?)));
        rows.iter().map(sum).collect()
    }
}

impl Txn<'_> {
    /// The scopes that have the record, be it offered to be forgotten.
    pub fn scopes_of(&mut self, record: RecordId) -> Result<Vec<ScopeId>, DbError> {
        let rows = self.rows_of(record)?.into_iter();
        Ok(rows
            .filter(|(_, standing)| standing.is_in_scope())
            .map(|(scope, _)| scope)
            .collect())
    }

    /// The bucket sums of a lane as its rows say, not as they were kept; equal unless something rotted.
    pub fn recomputed_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, DbError> {
        let mut sums = BTreeMap::<u8, Sum>::new();
        let mut after = 0u64;
        loop {
            let found = self.sql.rows(
                "SELECT feed.sequence, states.state FROM feed \
                 JOIN states ON states.org = feed.org AND states.record = feed.record \
                 WHERE feed.org = ?1 AND feed.scope = ?2 AND feed.lane = ?3 AND feed.sequence > ?4 \
                 AND feed.standing <> 2 ORDER BY feed.sequence LIMIT ?5",
                values![self.org, scope.0, lane as i64, after, ROWS_AT_ONCE],
            )?;
            for row in &found {
                after = row.get(0)?;
                let state = state_from(&row.get::<Vec<u8>>(1)?)?;
                let sum = sums.entry(sync_protocol::proof::bucket_of(state.record)).or_default();
                *sum = sum.plus(self.organisation.proof_key.leaf(&state));
            }
            if found.len() < ROWS_AT_ONCE {
                return Ok(sums.into_iter().collect());
            }
        }
    }

    /// Changes that are set aside, with the header that names them; those without one can never be used.
    pub fn set_aside(&mut self) -> Result<Vec<Header>, DbError> {
        let rows = self.sql.rows(
            "SELECT header FROM changes WHERE org = ?1 AND standing = 1 AND first_dot = 1 ORDER BY replica, counter",
            values![self.org],
        )?;
        let header =
            |row: &Row| Header::parse(&row.get::<Vec<u8>>(0)?).map_err(|_| DbError::Damaged { what: "a change" });
        rows.iter().map(header).collect()
    }
}
