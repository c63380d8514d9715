//! The engine's storage, on the tables. What goes in comes out byte for byte; the engine decides everything.

use rusqlite::{OptionalExtension, Row as SqlRow, params};
use sync_protocol::hub::{ChainHead, HubLedger, KeptChange, Standing};
use sync_protocol::proof::Sum;
use sync_protocol::wire::Row;
use sync_protocol::{Change, Dot, Hash, Header, Lane, RecordState};

use super::*;

/// Rows of one page; the wire allows twice as many.
const PAGE_ROWS_MAX: i64 = 2_048;

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

type KeptColumns = ([u8; 16], i64, Vec<u8>, [u8; 16], Vec<u8>, [u8; 32], i64, Option<i64>);

fn kept_columns(row: &SqlRow<'_>) -> rusqlite::Result<KeptColumns> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
        row.get(6)?,
        row.get(7)?,
    ))
}

fn kept_change(columns: KeptColumns) -> Result<KeptChange, DbError> {
    let (replica, counter, header, salt, payload, hash, standing, reason) = columns;
    let change = Change { header, salt, payload };
    Ok(KeptChange {
        dot: Dot {
            replica: ReplicaId(replica),
            counter: unstored(counter),
        },
        header: change.parse_header().ok(),
        change,
        hash: Hash(hash),
        standing: read_standing(standing, reason)?,
    })
}

fn state_from(bytes: &[u8]) -> Result<RecordState, DbError> {
    RecordState::parse(bytes).map_err(|_| DbError::Damaged { what: "a record" })
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
        let mut query = self
            .connection
            .prepare_cached("SELECT counter, hash, scope FROM chains WHERE org = ?1 AND replica = ?2")?;
        let head = query.query_row(params![self.org, replica.0], |row| {
            Ok(ChainHead {
                counter: unstored(row.get(0)?),
                hash: Hash(row.get(1)?),
                scope: ScopeId(row.get(2)?),
            })
        });
        Ok(head.optional()?)
    }

    fn set_chain(&mut self, replica: ReplicaId, head: &ChainHead) -> Result<(), DbError> {
        self.connection
            .prepare_cached(
                "INSERT INTO chains (org, replica, counter, hash, scope) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (org, replica) DO UPDATE SET counter = excluded.counter, hash = excluded.hash",
            )?
            .execute(params![
                self.org,
                replica.0,
                stored(head.counter),
                head.hash.0,
                head.scope.0
            ])?;
        Ok(())
    }

    fn hash_at(&mut self, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, DbError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT hash FROM changes WHERE org = ?1 AND replica = ?2 AND counter = ?3")?;
        let hash = query.query_row(params![self.org, replica.0, stored(counter)], |row| {
            row.get(0).map(Hash)
        });
        Ok(hash.optional()?)
    }

    fn keep(&mut self, kept: &KeptChange) -> Result<(), DbError> {
        let (standing, reason) = standing_columns(kept.standing);
        let first_dot = match &kept.header {
            Some(header) => self.find(header.change)?.is_none(),
            None => false,
        };
        self.connection
            .prepare_cached(
                "INSERT INTO changes (org, replica, counter, change_id, record, header, salt, payload, hash, standing, \
                 reason, first_dot, received_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                self.org,
                kept.dot.replica.0,
                stored(kept.dot.counter),
                kept.header.as_ref().map(|header| header.change.0),
                kept.header.as_ref().map(|header| header.record.0),
                kept.change.header,
                kept.change.salt,
                kept.change.payload,
                kept.hash.0,
                standing,
                reason,
                i64::from(first_dot),
                stored(self.now_ms),
            ])?;
        Ok(())
    }

    fn find(&mut self, change: ChangeId) -> Result<Option<KeptChange>, DbError> {
        let mut query = self.connection.prepare_cached(
            "SELECT replica, counter, header, salt, payload, hash, standing, reason FROM changes \
             WHERE org = ?1 AND change_id = ?2 AND first_dot = 1",
        )?;
        let columns = query.query_row(params![self.org, change.0], kept_columns).optional()?;
        columns.map(kept_change).transpose()
    }

    fn set_standing(&mut self, dot: Dot, standing: Standing) -> Result<(), DbError> {
        let (standing, reason) = standing_columns(standing);
        self.connection
            .prepare_cached(
                "UPDATE changes SET standing = ?4, reason = ?5 WHERE org = ?1 AND replica = ?2 AND counter = ?3",
            )?
            .execute(params![self.org, dot.replica.0, stored(dot.counter), standing, reason])?;
        Ok(())
    }

    fn state(&mut self, record: RecordId) -> Result<Option<RecordState>, DbError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT state FROM states WHERE org = ?1 AND record = ?2")?;
        let bytes: Option<Vec<u8>> = query
            .query_row(params![self.org, record.0], |row| row.get(0))
            .optional()?;
        bytes.map(|bytes| state_from(&bytes)).transpose()
    }

    fn put_state(&mut self, state: &RecordState) -> Result<(), DbError> {
        self.connection
            .prepare_cached(
                "INSERT INTO states (org, record, kind, state) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (org, record) DO UPDATE SET kind = excluded.kind, state = excluded.state",
            )?
            .execute(params![self.org, state.record.0, state.kind.0, state.to_bytes()])?;
        self.put_index(state)
    }

    fn scopes_of(&mut self, record: RecordId) -> Result<Vec<ScopeId>, DbError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT DISTINCT scope FROM feed WHERE org = ?1 AND record = ?2 ORDER BY scope")?;
        let scopes = query.query_map(params![self.org, record.0], |row| row.get(0).map(ScopeId))?;
        Ok(scopes.collect::<Result<_, _>>()?)
    }

    fn move_to_tail(&mut self, scope: ScopeId, lane: Lane, record: RecordId) -> Result<u64, DbError> {
        // The head row is locked until the commit, so sequences have no gap and follow the order of commits.
        let sequence: i64 = self
            .connection
            .prepare_cached(
                "INSERT INTO feed_heads (org, scope, lane, sequence, generation) VALUES (?1, ?2, ?3, 1, 0) \
                 ON CONFLICT (org, scope, lane) DO UPDATE SET sequence = feed_heads.sequence + 1 RETURNING sequence",
            )?
            .query_row(params![self.org, scope.0, lane as i64], |row| row.get(0))?;
        self.connection
            .prepare_cached(
                "INSERT INTO feed (org, scope, lane, record, sequence) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (org, scope, lane, record) DO UPDATE SET sequence = excluded.sequence",
            )?
            .execute(params![self.org, scope.0, lane as i64, record.0, sequence])?;
        self.touched.insert(scope);
        Ok(unstored(sequence))
    }

    fn feed_head(&mut self, scope: ScopeId, lane: Lane) -> Result<(u64, u64), DbError> {
        let mut query = self.connection.prepare_cached(
            "SELECT sequence, generation FROM feed_heads WHERE org = ?1 AND scope = ?2 AND lane = ?3",
        )?;
        let head = query.query_row(params![self.org, scope.0, lane as i64], |row| {
            Ok((unstored(row.get(0)?), unstored(row.get(1)?)))
        });
        Ok(head.optional()?.unwrap_or_default())
    }

    fn rows_after(&mut self, scope: ScopeId, lane: Lane, sequence: u64, bytes_max: u64) -> Result<Vec<Row>, DbError> {
        let mut query = self.connection.prepare_cached(
            "SELECT feed.sequence, states.state FROM feed \
             JOIN states ON states.org = feed.org AND states.record = feed.record \
             WHERE feed.org = ?1 AND feed.scope = ?2 AND feed.lane = ?3 AND feed.sequence > ?4 \
             ORDER BY feed.sequence LIMIT ?5",
        )?;
        let mut found = query.query(params![self.org, scope.0, lane as i64, stored(sequence), PAGE_ROWS_MAX])?;
        let (mut rows, mut total) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let bytes: Vec<u8> = row.get(1)?;
            total += bytes.len() as u64;
            if total > bytes_max && !rows.is_empty() {
                break;
            }
            rows.push(Row {
                sequence: unstored(row.get(0)?),
                state: state_from(&bytes)?,
                bytes: bytes.len() as u64,
            });
        }
        Ok(rows)
    }

    fn add_to_bucket(&mut self, scope: ScopeId, lane: Lane, bucket: u8, plus: Sum, minus: Sum) -> Result<(), DbError> {
        let key = params![self.org, scope.0, lane as i64, bucket];
        let mut query = self
            .connection
            .prepare_cached("SELECT leaves FROM buckets WHERE org = ?1 AND scope = ?2 AND lane = ?3 AND bucket = ?4")?;
        let before: Option<[u8; 32]> = query.query_row(key, |row| row.get(0)).optional()?;
        let before = before.map_or(Sum::default(), |bytes| Sum::from_bytes(&bytes));
        let after = before.plus(plus).minus(minus).to_bytes();
        self.connection
            .prepare_cached(
                "INSERT INTO buckets (org, scope, lane, bucket, leaves) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (org, scope, lane, bucket) DO UPDATE SET leaves = excluded.leaves",
            )?
            .execute(params![self.org, scope.0, lane as i64, bucket, after])?;
        Ok(())
    }

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, DbError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT bucket, leaves FROM buckets WHERE org = ?1 AND scope = ?2 AND lane = ?3")?;
        let sums = query.query_map(params![self.org, scope.0, lane as i64], |row| {
            Ok((row.get(0)?, Sum::from_bytes(&row.get(1)?)))
        })?;
        Ok(sums.collect::<Result<_, _>>()?)
    }
}

impl Txn<'_> {
    /// The bucket sums of a lane as its rows say, not as they were kept; equal unless something rotted.
    pub fn recomputed_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, DbError> {
        let mut query = self.connection.prepare_cached(
            "SELECT states.state FROM feed JOIN states ON states.org = feed.org AND states.record = feed.record \
             WHERE feed.org = ?1 AND feed.scope = ?2 AND feed.lane = ?3",
        )?;
        let mut found = query.query(params![self.org, scope.0, lane as i64])?;
        let mut sums = std::collections::BTreeMap::<u8, Sum>::new();
        while let Some(row) = found.next()? {
            let state = state_from(&row.get::<_, Vec<u8>>(0)?)?;
            let sum = sums.entry(sync_protocol::proof::bucket_of(state.record)).or_default();
            *sum = sum.plus(self.organisation.proof_key.leaf(&state));
        }
        Ok(sums.into_iter().collect())
    }

    /// Changes that are set aside, with the header that names them; those without one can never be used.
    pub fn set_aside(&mut self) -> Result<Vec<Header>, DbError> {
        let mut query = self.connection.prepare_cached(
            "SELECT header FROM changes WHERE org = ?1 AND standing = 1 AND first_dot = 1 ORDER BY replica, counter",
        )?;
        let headers = query.query_map(params![self.org], |row| row.get::<_, Vec<u8>>(0))?;
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        headers
            .iter()
            .map(|bytes| Header::parse(bytes).map_err(|_| DbError::Damaged { what: "a change" }))
            .collect()
    }
}
