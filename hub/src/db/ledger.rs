//! The engine's storage, on the tables. What goes in comes out byte for byte; the engine decides everything.

use sync_protocol::hub::{Cause, ChainHead, Epoch, HubLedger, KeptChange, RowStanding, Standing};
use sync_protocol::ids::BootId;
use sync_protocol::proof::Sum;
use sync_protocol::signed::state_said;
use sync_protocol::wire::{self, PushRequest, ReturnRequest, Told};
use sync_protocol::{Dot, Hash, Header, Lane, RecordState, Signature};
use vault::row_seal::SIGNATURE_BYTES;

use super::pending::{KeptChain, NewChange};
use super::sealing::{unseal_change, unseal_state};
use super::sql::{Row, Value, values};
use super::*;

/// Rows of one page; the wire allows twice as many.
const PAGE_ROWS_MAX: usize = 2_048;
/// Rows that are fetched at once while a page is filled.
const ROWS_AT_ONCE: usize = 128;

/// The sequence of a row that this transaction has moved: what it will be is known when everything is written, and no
/// replica has seen it.
const SEQUENCE_TO_COME: u64 = u64::MAX;

const APPLIED: i64 = 0;
const SET_ASIDE: i64 = 1;
const ALIAS: i64 = 2;

pub(super) fn standing_columns(standing: Standing) -> (i64, Option<i64>) {
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

impl Txn<'_> {
    fn kept_change(&self, row: &Row) -> Result<KeptChange, DbError> {
        let dot = Dot {
            replica: ReplicaId(row.get(0)?),
            counter: row.get(1)?,
        };
        let change = unseal_change(self.keys, dot, &row.get::<Vec<u8>>(2)?)?;
        Ok(KeptChange {
            dot,
            header: change.parse_header().ok(),
            change,
            hash: Hash(row.get(3)?),
            standing: read_standing(row.get(4)?, row.get(5)?)?,
        })
    }

    /// Fetches changes that were not asked for yet.
    fn fetch_changes(&mut self, changes: &BTreeSet<ChangeId>) -> Result<(), DbError> {
        let missing: Vec<ChangeId> = changes
            .iter()
            .filter(|id| !self.pending.found.contains_key(*id) && !self.pending.new_ids.contains_key(*id))
            .copied()
            .collect();
        let keys: Vec<Value> = missing.iter().map(|change| Value::from(change.0)).collect();
        let rows = self.sql.rows_of(
            "SELECT replica, counter, sealed, hash, standing, reason, change_id FROM changes \
             WHERE org = ?1 AND first_dot = 1 AND change_id IN",
            self.org,
            &keys,
        )?;
        for change in missing {
            self.pending.found.insert(change, None);
        }
        for row in &rows {
            let kept = self.kept_change(row)?;
            self.pending.found.insert(ChangeId(row.get(6)?), Some(kept));
        }
        Ok(())
    }

    /// Locks what a return is about.
    pub(super) fn make_ready_for_return(&mut self, request: &ReturnRequest) -> Result<(), DbError> {
        let records: BTreeSet<RecordId> = request.states.iter().map(|returned| returned.record).collect();
        let locks: Vec<[u8; 16]> = records.iter().map(|record| record.0).collect();
        self.lock(&locks)?;
        self.fetch_states(&records)?;
        self.fetch_rows(&records)
    }

    /// Locks what a push is about, and fetches what the engine will ask for: one way for all its changes, whose headers
    /// these are.
    pub(super) fn make_ready(&mut self, request: &PushRequest, headers: &[Header]) -> Result<(), DbError> {
        let records: BTreeSet<RecordId> = headers.iter().map(|header| header.record).collect();
        let mut locks: Vec<[u8; 16]> = records.iter().map(|record| record.0).collect();
        locks.push(request.replica.0);
        self.lock(&locks)?;
        let named = headers
            .iter()
            .flat_map(|header| header.names.iter().flat_map(|names| names.ids.iter().copied()));
        let changes = named.chain(headers.iter().map(|header| header.change)).collect();
        self.fetch_changes(&changes)?;
        self.fetch_states(&records)?;
        self.fetch_rows(&records)
    }
}

/// One row of a feed, with the state of its record and how many bytes that is.
struct FeedRow {
    sequence: u64,
    state: RecordState,
    bytes: u64,
    standing: RowStanding,
    signature: Signature,
}

pub(super) fn row_standing(number: i64) -> Result<RowStanding, DbError> {
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
        Ok(self.present()?.0)
    }

    fn hub_replica(&mut self) -> Result<ReplicaId, DbError> {
        Ok(self.present()?.1)
    }

    fn epochs(&mut self) -> Result<Vec<Epoch>, DbError> {
        Ok(self.epochs_begun()?.iter().map(|begun| begun.epoch).collect())
    }

    fn set_epoch(&mut self, epoch: EpochId, hub_replica: ReplicaId, cause: Cause) -> Result<(), DbError> {
        self.enter_epoch(epoch, hub_replica, cause)
    }

    fn hear_of_epoch(&mut self, epoch: EpochId) -> Result<(), DbError> {
        self.add_epoch(epoch, ReplicaId::NIL, Cause::Heard)
    }

    fn boot_zero(&mut self, boot: BootId) -> Result<Option<u64>, DbError> {
        if let Some(known) = self.boots.get(&boot) {
            return Ok(*known);
        }
        let row = self.sql.row(
            "SELECT zero_ms FROM boots WHERE org = ?1 AND boot = ?2",
            values![self.org, boot.0],
        )?;
        let zero_ms = row.map(|row| row.get(0)).transpose()?;
        self.boots.insert(boot, zero_ms);
        Ok(zero_ms)
    }

    fn set_boot_zero(&mut self, boot: BootId, zero_ms: u64) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO boots (org, boot, zero_ms) VALUES (?1, ?2, ?3) \
             ON CONFLICT (org, boot) DO UPDATE SET zero_ms = excluded.zero_ms WHERE boots.zero_ms > excluded.zero_ms",
            values![self.org, boot.0, zero_ms],
        )?;
        self.boots.insert(boot, Some(zero_ms));
        Ok(())
    }

    fn stable(&mut self, replica: ReplicaId) -> Result<u64, DbError> {
        self.chain(replica)?;
        Ok(self.pending.chains.get(&replica).map_or(0, |chain| chain.stable))
    }

    fn id_at(&mut self, dot: Dot) -> Result<Option<ChangeId>, DbError> {
        if let Some(new) = self.pending.changes.get(&(dot.replica, dot.counter)) {
            return Ok(new.kept.header.as_ref().map(|header| header.change));
        }
        let row = self.sql.row(
            "SELECT change_id FROM changes WHERE org = ?1 AND replica = ?2 AND counter = ?3",
            values![self.org, dot.replica.0, dot.counter],
        )?;
        if let Some(row) = row {
            return Ok(row.get::<Option<[u8; 16]>>(0)?.map(ChangeId));
        }
        let row = self.sql.row(
            "SELECT change_id FROM adopted WHERE org = ?1 AND replica = ?2 AND counter = ?3",
            values![self.org, dot.replica.0, dot.counter],
        )?;
        row.map(|row| row.get(0).map(ChangeId)).transpose()
    }

    fn adopted(&mut self, change: ChangeId) -> Result<Option<(Dot, RecordId)>, DbError> {
        if self.any_adopted.is_none() {
            let any = self
                .sql
                .row("SELECT 1 FROM adopted WHERE org = ?1 LIMIT 1", values![self.org])?;
            self.any_adopted = Some(any.is_some());
        }
        if self.any_adopted == Some(false) {
            return Ok(None);
        }
        let row = self.sql.row(
            "SELECT replica, counter, record FROM adopted WHERE org = ?1 AND change_id = ?2",
            values![self.org, change.0],
        )?;
        let Some(row) = row else { return Ok(None) };
        let dot = Dot {
            replica: ReplicaId(row.get(0)?),
            counter: row.get(1)?,
        };
        Ok(Some((dot, RecordId(row.get(2)?))))
    }

    fn adopt(&mut self, change: ChangeId, dot: Dot, record: RecordId) -> Result<(), DbError> {
        self.any_adopted = Some(true);
        self.sql.run(
            "INSERT INTO adopted (org, change_id, replica, counter, record) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (org, change_id) DO UPDATE SET replica = excluded.replica, counter = excluded.counter",
            values![self.org, change.0, dot.replica.0, dot.counter, record.0],
        )?;
        Ok(())
    }

    fn chain(&mut self, replica: ReplicaId) -> Result<Option<ChainHead>, DbError> {
        if let Some(chain) = self.pending.chains.get(&replica) {
            return Ok(chain.head);
        }
        let row = self.sql.row(
            "SELECT counter, hash, scope, epoch, common, stable FROM chains WHERE org = ?1 AND replica = ?2",
            values![self.org, replica.0],
        )?;
        let (head, stable) = match row {
            Some(row) => {
                let head = ChainHead {
                    counter: row.get(0)?,
                    hash: Hash(row.get(1)?),
                    scope: ScopeId(row.get(2)?),
                    epoch: EpochId(row.get(3)?),
                    common: row.get(4)?,
                };
                (Some(head), row.get(5)?)
            }
            None => (None, 0),
        };
        let chain = KeptChain {
            head,
            stable,
            is_written: false,
        };
        self.pending.chains.insert(replica, chain);
        Ok(head)
    }

    fn set_chain(&mut self, replica: ReplicaId, head: &ChainHead) -> Result<(), DbError> {
        let stable = self.pending.chains.get(&replica).map_or(0, |chain| chain.stable);
        let chain = KeptChain {
            head: Some(*head),
            stable,
            is_written: true,
        };
        self.pending.chains.insert(replica, chain);
        Ok(())
    }

    fn hash_at(&mut self, replica: ReplicaId, counter: u64) -> Result<Option<Hash>, DbError> {
        if let Some(head) = self.chain(replica)?.filter(|head| head.counter == counter) {
            return Ok(Some(head.hash));
        }
        if let Some(new) = self.pending.changes.get(&(replica, counter)) {
            return Ok(Some(new.kept.hash));
        }
        let row = self.sql.row(
            "SELECT hash FROM changes WHERE org = ?1 AND replica = ?2 AND counter = ?3",
            values![self.org, replica.0, counter],
        )?;
        row.map(|row| row.get(0).map(Hash)).transpose()
    }

    fn keep(&mut self, kept: KeptChange) -> Result<(), DbError> {
        let id = kept.header.as_ref().map(|header| header.change);
        let is_first = match id {
            Some(id) => self.find(id)?.is_none(),
            None => false,
        };
        let dot = (kept.dot.replica, kept.dot.counter);
        if let Some(id) = id.filter(|_| is_first) {
            self.pending.new_ids.insert(id, dot);
        }
        self.pending.changes.insert(dot, NewChange { kept, is_first });
        Ok(())
    }

    fn find(&mut self, change: ChangeId) -> Result<Option<KeptChange>, DbError> {
        if let Some(new) = self.pending.new_ids.get(&change) {
            return Ok(self.pending.changes.get(new).map(|new| new.kept.clone()));
        }
        self.fetch_changes(&BTreeSet::from([change]))?;
        Ok(self.pending.found.get(&change).cloned().flatten())
    }

    fn set_standing(&mut self, dot: Dot, standing: Standing) -> Result<(), DbError> {
        self.flush_records()?;
        let (number, reason) = standing_columns(standing);
        self.sql.run(
            "UPDATE changes SET standing = ?4, reason = ?5 WHERE org = ?1 AND replica = ?2 AND counter = ?3",
            values![self.org, dot.replica.0, dot.counter, number, reason],
        )?;
        for kept in self.pending.found.values_mut().flatten().filter(|kept| kept.dot == dot) {
            kept.standing = standing;
        }
        Ok(())
    }

    fn state(&mut self, record: RecordId) -> Result<Option<Arc<RecordState>>, DbError> {
        self.fetch_states(&BTreeSet::from([record]))?;
        let kept = self.pending.states.get(&record);
        Ok(kept.and_then(|kept| kept.state.clone()))
    }

    fn put_state(&mut self, state: RecordState, canonical: Vec<u8>) -> Result<(), DbError> {
        let record = state.record;
        self.fetch_states(&BTreeSet::from([record]))?;
        // What it follows from was read before; most records of a transaction are locked before anything is read.
        self.lock(&[record.0])?;
        if let Some(kept) = self.pending.states.get_mut(&record) {
            let before = kept.state.replace(Arc::new(state));
            if kept.is_stored && kept.before.is_none() {
                kept.before = before;
            }
            kept.canonical = canonical;
            self.pending.written.insert(record);
        }
        Ok(())
    }

    fn signature(&mut self, record: RecordId) -> Result<Option<Signature>, DbError> {
        self.flush_records()?;
        let row = self.sql.row(
            "SELECT signature FROM states WHERE org = ?1 AND record = ?2",
            values![self.org, record.0],
        )?;
        let Some(row) = row else { return Ok(None) };
        Ok(row.get::<Option<[u8; SIGNATURE_BYTES]>>(0)?.map(Signature))
    }

    fn rows_of(&mut self, record: RecordId) -> Result<Vec<(ScopeId, RowStanding)>, DbError> {
        self.fetch_rows(&BTreeSet::from([record]))?;
        let stored = self.pending.rows.get(&record).into_iter().flatten();
        let mut rows: BTreeMap<ScopeId, RowStanding> =
            stored.map(|((scope, _), (_, standing))| (*scope, *standing)).collect();
        rows.extend(self.pending.moved(record));
        Ok(rows.into_iter().collect())
    }

    fn row(&mut self, scope: ScopeId, lane: Lane, record: RecordId) -> Result<Option<(u64, RowStanding)>, DbError> {
        if let Some(standing) = self.pending.moved_in(scope, lane, record) {
            return Ok(Some((SEQUENCE_TO_COME, standing)));
        }
        self.fetch_rows(&BTreeSet::from([record]))?;
        let rows = self.pending.rows.get(&record);
        Ok(rows.and_then(|rows| rows.get(&(scope, lane as u8)).copied()))
    }

    fn has_quarantined(&mut self, site: ScopeId, record: RecordId) -> Result<bool, DbError> {
        self.flush_records()?;
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
        self.pending.move_to_tail(scope, lane, record, standing);
        self.touched.insert(scope);
        Ok(())
    }

    fn feed_head(&mut self, scope: ScopeId, lane: Lane) -> Result<(u64, u64), DbError> {
        self.flush_feed()?;
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
        self.flush()?;
        let (mut rows, mut total, mut after) = (Vec::<wire::Row>::new(), 0, sequence);
        while rows.len() < PAGE_ROWS_MAX {
            let found = self.rows_of_feed(scope, lane, after)?;
            let is_last = found.len() < ROWS_AT_ONCE;
            for row in found {
                after = row.sequence;
                total += row.bytes;
                if total > bytes_max && !rows.is_empty() {
                    return Ok(rows);
                }
                rows.push(wire::Row {
                    sequence: row.sequence,
                    told: told(row.state, row.standing),
                    bytes: row.bytes,
                    signature: Some(row.signature),
                });
            }
            if is_last {
                break;
            }
        }
        Ok(rows)
    }

    fn add_to_bucket(&mut self, scope: ScopeId, lane: Lane, bucket: u8, plus: Sum, minus: Sum) -> Result<(), DbError> {
        self.pending.add_to_bucket(scope, lane, bucket, plus, minus);
        Ok(())
    }

    fn bucket_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, DbError> {
        self.flush_feed()?;
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

    /// Some rows of a lane after a sequence.
    fn rows_of_feed(&mut self, scope: ScopeId, lane: Lane, after: u64) -> Result<Vec<FeedRow>, DbError> {
        let found = self.sql.rows(
            "SELECT feed.sequence, states.record, states.state, feed.standing, states.signature FROM feed \
             JOIN states ON states.org = feed.org AND states.record = feed.record \
             WHERE feed.org = ?1 AND feed.scope = ?2 AND feed.lane = ?3 AND feed.sequence > ?4 \
             ORDER BY feed.sequence LIMIT ?5",
            values![self.org, scope.0, lane as i64, after, ROWS_AT_ONCE],
        )?;
        let row = |row: &Row| {
            let (state, bytes) = unseal_state(self.keys, RecordId(row.get(1)?), &row.get::<Vec<u8>>(2)?)?;
            let signature = match row.get::<Option<[u8; SIGNATURE_BYTES]>>(4)? {
                Some(signature) => signature,
                // Written by a version that did not sign.
                None => self.keys.sign(&state_said(&state.to_bytes())),
            };
            Ok(FeedRow {
                signature: Signature(signature),
                sequence: row.get(0)?,
                state,
                bytes,
                standing: row_standing(row.get(3)?)?,
            })
        };
        found.iter().map(row).collect()
    }

    /// The bucket sums of a lane as its rows say, not as they were kept; equal unless something rotted.
    pub fn recomputed_sums(&mut self, scope: ScopeId, lane: Lane) -> Result<Vec<(u8, Sum)>, DbError> {
        self.flush()?;
        let mut sums = BTreeMap::<u8, Sum>::new();
        let mut after = 0u64;
        loop {
            let found = self.rows_of_feed(scope, lane, after)?;
            for row in &found {
                after = row.sequence;
                if row.standing.is_in_scope() {
                    let sum = sums
                        .entry(sync_protocol::proof::bucket_of(row.state.record))
                        .or_default();
                    *sum = sum.plus(self.organisation.proof_key.leaf(&row.state));
                }
            }
            if found.len() < ROWS_AT_ONCE {
                return Ok(sums.into_iter().collect());
            }
        }
    }

    /// Changes that are set aside, with the header that names them; those without one can never be used.
    pub fn set_aside(&mut self) -> Result<Vec<Header>, DbError> {
        self.flush_records()?;
        let rows = self.sql.rows(
            "SELECT replica, counter, sealed, hash, standing, reason FROM changes \
             WHERE org = ?1 AND standing = 1 AND first_dot = 1 ORDER BY replica, counter",
            values![self.org],
        )?;
        let header = |row: &Row| {
            self.kept_change(row)?
                .header
                .ok_or(DbError::Damaged { what: "a change" })
        };
        rows.iter().map(header).collect()
    }
}
