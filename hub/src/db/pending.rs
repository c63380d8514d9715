//! What a transaction has read and is to write. The engine asks for one record at a time; statements go to the store in
//! few large ones: what is needed is fetched beforehand, what is written waits here for the transaction's end or for the
//! first question that only the tables can answer.
//!
//! Order is what keeps processes from waiting for each other in a ring: changes and states first, under the locks of
//! their records; then the heads of the scopes, sorted.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync_protocol::hub::{ChainHead, KeptChange, RowStanding};
use sync_protocol::proof::Sum;
use sync_protocol::signed::state_said;
use sync_protocol::{HybridTime, KindId, Lane, RecordState};
use vault::row_seal::SIGNATURE_BYTES;

use super::alongside::alongside;
use super::index::IndexChange;
use super::ledger::{row_standing, standing_columns};
use super::sealing::{seal_change, seal_state, unseal_state};
use super::sql::{Value, row, values};
use super::*;

#[derive(Default)]
pub(super) struct Pending {
    pub(super) states: BTreeMap<RecordId, KeptState>,
    /// Those of them that are to be written: few among the many that were only read.
    pub(super) written: BTreeSet<RecordId>,
    pub(super) chains: BTreeMap<ReplicaId, KeptChain>,
    /// Changes as they are stored; `None` where there is none.
    pub(super) found: BTreeMap<ChangeId, Option<KeptChange>>,
    /// Changes to be inserted.
    pub(super) changes: BTreeMap<(ReplicaId, u64), NewChange>,
    /// The dot of each of those under which its id is kept first.
    pub(super) new_ids: BTreeMap<ChangeId, (ReplicaId, u64)>,
    /// The rows of records in the feeds as they are stored: sequence and standing by scope and lane.
    pub(super) rows: BTreeMap<RecordId, StoredRows>,
    moves: BTreeMap<(ScopeId, u8), Moves>,
    sums: BTreeMap<(ScopeId, u8, u8), Sum>,
    pub(super) seen: BTreeSet<ScopeId>,
    /// What links to records, as it is stored.
    pub(super) links: BTreeMap<RecordId, BTreeSet<(RecordId, KindId)>>,
    /// The places of patients in scopes as they are to be.
    pub(super) members: BTreeMap<RecordId, Vec<Member>>,
    pub(super) member_writes: BTreeMap<(ScopeId, RecordId), Option<Member>>,
    pub(super) scope_policy: Option<PolicyInForce>,
}

pub(super) type StoredRows = BTreeMap<(ScopeId, u8), (u64, RowStanding)>;

pub(super) struct KeptState {
    pub(super) state: Option<Arc<RecordState>>,
    /// The bytes of a state that is to be written.
    pub(super) canonical: Vec<u8>,
    /// There is a row of it.
    pub(super) is_stored: bool,
    /// What that row holds, where another state is to be written.
    pub(super) before: Option<Arc<RecordState>>,
}

/// A state on its way into its row.
struct Written {
    state: Arc<RecordState>,
    canonical: Vec<u8>,
    /// What its row held.
    before: Option<Arc<RecordState>>,
}

/// What the row of a state holds, and what becomes of the tables of the index.
struct StateRow {
    sealed: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
    index: IndexChange,
}

impl StateRow {
    fn of(keys: &RowKeys, policy: &Policy, written: &Written) -> Result<StateRow, DbError> {
        Ok(StateRow {
            sealed: seal_state(keys, written.state.record, &written.canonical)?,
            signature: keys.sign(&state_said(&written.canonical)),
            index: IndexChange::of(keys, policy, written.before.as_deref(), &written.state),
        })
    }
}

pub(super) struct KeptChain {
    pub(super) head: Option<ChainHead>,
    /// How far it is held for good.
    pub(super) stable: u64,
    pub(super) is_written: bool,
}

pub(super) struct NewChange {
    pub(super) kept: KeptChange,
    pub(super) is_first: bool,
}

/// Records to be moved to the tail of a scope's lane: each once, where it was moved last, as it stands then.
#[derive(Default)]
struct Moves {
    order: BTreeMap<u64, RecordId>,
    place: BTreeMap<RecordId, (u64, RowStanding)>,
}

impl Moves {
    fn append(&mut self, record: RecordId, standing: RowStanding) {
        let next = self.order.last_key_value().map_or(0, |(last, _)| last + 1);
        if let Some((before, _)) = self.place.insert(record, (next, standing)) {
            self.order.remove(&before);
        }
        self.order.insert(next, record);
    }

    fn in_order(&self) -> impl Iterator<Item = (RecordId, RowStanding)> {
        let standing = |record| self.place.get(record).map(|(_, standing)| (*record, *standing));
        self.order.values().filter_map(standing)
    }
}

impl Pending {
    pub(super) fn move_to_tail(&mut self, scope: ScopeId, lane: Lane, record: RecordId, standing: RowStanding) {
        let moves = self.moves.entry((scope, lane as u8)).or_default();
        moves.append(record, standing);
    }

    /// How the record is to stand in a scope's lane into which it is moved.
    pub(super) fn moved_in(&self, scope: ScopeId, lane: Lane, record: RecordId) -> Option<RowStanding> {
        let moves = self.moves.get(&(scope, lane as u8))?;
        moves.place.get(&record).map(|(_, standing)| *standing)
    }

    /// The scopes in which the record is moved, and how it is to stand there.
    pub(super) fn moved(&self, record: RecordId) -> impl Iterator<Item = (ScopeId, RowStanding)> {
        self.moves.iter().filter_map(move |((scope, _), moves)| {
            let (_, standing) = moves.place.get(&record)?;
            Some((*scope, *standing))
        })
    }

    pub(super) fn add_to_bucket(&mut self, scope: ScopeId, lane: Lane, bucket: u8, plus: Sum, minus: Sum) {
        let sum = self.sums.entry((scope, lane as u8, bucket)).or_default();
        *sum = sum.plus(plus).minus(minus);
    }

    /// What is known of links, as it is once this record is written, which links to these, and not to all of those any more.
    pub(super) fn relink(
        &mut self,
        link: (RecordId, KindId),
        before: &BTreeSet<RecordId>,
        targets: &BTreeSet<RecordId>,
    ) {
        for target in before.difference(targets) {
            if let Some(links) = self.links.get_mut(target) {
                links.remove(&link);
            }
        }
        for target in targets {
            if let Some(links) = self.links.get_mut(target) {
                links.insert(link);
            }
        }
    }

    /// Forgets what was read of these before they were locked, but not what is to be written.
    pub(super) fn forget_read(&mut self, ids: &BTreeSet<[u8; 16]>) {
        self.found.clear();
        for id in ids {
            let record = RecordId(*id);
            if !self.member_writes.keys().any(|(_, patient)| *patient == record) {
                self.members.remove(&record);
            }
            self.links.remove(&record);
            self.rows.remove(&RecordId(*id));
            if self.chains.get(&ReplicaId(*id)).is_some_and(|chain| !chain.is_written) {
                self.chains.remove(&ReplicaId(*id));
            }
        }
    }
}

impl Txn<'_> {
    /// Fetches the states of records that were not read yet.
    pub fn fetch_states(&mut self, records: &BTreeSet<RecordId>) -> Result<(), DbError> {
        let missing: Vec<RecordId> = records
            .iter()
            .filter(|record| !self.pending.states.contains_key(*record))
            .copied()
            .collect();
        let mut found = self.stored_states(&missing)?;
        for record in missing {
            let state = found.remove(&record);
            self.pending.states.insert(
                record,
                KeptState {
                    is_stored: state.is_some(),
                    state: state.map(Arc::new),
                    canonical: Vec::new(),
                    before: None,
                },
            );
        }
        Ok(())
    }

    pub(super) fn stored_states(&mut self, records: &[RecordId]) -> Result<BTreeMap<RecordId, RecordState>, DbError> {
        let keys: Vec<Value> = records.iter().map(|record| Value::from(record.0)).collect();
        let rows = self.sql.rows_of(
            "SELECT record, state FROM states WHERE org = ?1 AND record IN",
            self.org,
            &keys,
        )?;
        let mut states = BTreeMap::new();
        for row in &rows {
            let record = RecordId(row.get(0)?);
            states.insert(record, unseal_state(self.keys, record, &row.get::<Vec<u8>>(1)?)?.0);
        }
        Ok(states)
    }

    /// Fetches the feed rows of records that were not asked for yet.
    pub(super) fn fetch_rows(&mut self, records: &BTreeSet<RecordId>) -> Result<(), DbError> {
        let missing: Vec<RecordId> = records
            .iter()
            .filter(|record| !self.pending.rows.contains_key(*record))
            .copied()
            .collect();
        let keys: Vec<Value> = missing.iter().map(|record| Value::from(record.0)).collect();
        let found = self.sql.rows_of(
            "SELECT record, scope, lane, sequence, standing FROM feed WHERE org = ?1 AND record IN",
            self.org,
            &keys,
        )?;
        for record in missing {
            self.pending.rows.insert(record, StoredRows::new());
        }
        for row in &found {
            let rows = self.pending.rows.entry(RecordId(row.get(0)?)).or_default();
            let standing = row_standing(row.get(4)?)?;
            rows.insert((ScopeId(row.get(1)?), row.get(2)?), (row.get(3)?, standing));
        }
        Ok(())
    }

    /// Writes everything that waits.
    pub(super) fn flush(&mut self) -> Result<(), DbError> {
        self.flush_records()?;
        self.flush_members()?;
        self.flush_feed()?;
        for scope in std::mem::take(&mut self.pending.seen) {
            self.sql.run(
                "UPDATE sites SET seen_ms = ?3 WHERE org = ?1 AND scope = ?2",
                values![self.org, scope.0, self.now_ms],
            )?;
        }
        Ok(())
    }

    /// Writes changes, chains, states and what is indexed of them. What there is to compute for the states is done beside
    /// the writing of the changes.
    pub(super) fn flush_records(&mut self) -> Result<(), DbError> {
        let states = self.take_written();
        let (keys, policy) = (self.keys, self.policy);
        let (made, changes) = alongside(
            &states,
            |state| StateRow::of(keys, &policy, state),
            || {
                self.flush_changes()?;
                self.flush_chains()
            },
        );
        changes?;
        if states.is_empty() {
            return Ok(());
        }
        let (mut rows, mut indexed) = (Vec::with_capacity(states.len()), Vec::with_capacity(states.len()));
        for (written, made) in states.iter().zip(made) {
            let StateRow {
                sealed,
                signature,
                index,
            } = made?;
            let (record, kind) = (written.state.record.0, written.state.kind.0);
            rows.push(row![self.org, record, kind, sealed, signature, index.terms()]);
            indexed.push(index);
        }
        self.wrote = true;
        self.sql.put_all(
            "INSERT INTO states (org, record, kind, state, signature, terms)",
            &rows,
            "ON CONFLICT (org, record) DO UPDATE SET kind = excluded.kind, state = excluded.state, \
             signature = excluded.signature, terms = COALESCE(excluded.terms, states.terms)",
        )?;
        self.put_index(indexed)
    }

    fn take_written(&mut self) -> Vec<Written> {
        let mut states = Vec::new();
        for record in std::mem::take(&mut self.pending.written) {
            let Some(kept) = self.pending.states.get_mut(&record) else {
                continue;
            };
            if let Some(state) = &kept.state {
                states.push(Written {
                    state: state.clone(),
                    canonical: std::mem::take(&mut kept.canonical),
                    before: kept.before.take(),
                });
                kept.is_stored = true;
            }
        }
        states
    }

    fn flush_changes(&mut self) -> Result<(), DbError> {
        let changes = std::mem::take(&mut self.pending.changes);
        self.pending.new_ids.clear();
        let mut rows = Vec::with_capacity(changes.len());
        for NewChange { kept, is_first } in changes.into_values() {
            let (standing, reason) = standing_columns(kept.standing);
            rows.push(row![
                self.org,
                kept.dot.replica.0,
                kept.dot.counter,
                kept.header.as_ref().map(|header| header.change.0),
                kept.header.as_ref().map(|header| header.record.0),
                seal_change(self.keys, kept.dot, &kept.change)?,
                kept.hash.0,
                standing,
                reason,
                is_first,
                self.now_ms,
            ]);
            self.wrote = true;
            if let (true, Some(header)) = (is_first, &kept.header) {
                self.pending.found.insert(header.change, Some(kept));
            }
        }
        self.sql.put_all(
            "INSERT INTO changes (org, replica, counter, change_id, record, sealed, hash, standing, reason, first_dot, \
             received_ms)",
            &rows,
            "",
        )?;
        Ok(())
    }

    fn flush_chains(&mut self) -> Result<(), DbError> {
        let (_, hub_replica) = self.present()?;
        let mut rows = Vec::new();
        for (replica, chain) in &mut self.pending.chains {
            let (true, Some(head)) = (chain.is_written, chain.head) else {
                continue;
            };
            chain.is_written = false;
            // Only the hub's own replica goes on after the time that it wrote last.
            let at = if *replica == hub_replica {
                self.clock.last
            } else {
                HybridTime::default()
            };
            rows.push(row![
                self.org,
                replica.0,
                head.counter,
                head.hash.0,
                head.scope.0,
                at.wall_ms,
                at.logical,
                head.epoch.0,
                head.common
            ]);
        }
        self.sql.put_all(
            "INSERT INTO chains (org, replica, counter, hash, scope, at_ms, at_logical, epoch, common)",
            &rows,
            "ON CONFLICT (org, replica) DO UPDATE SET counter = excluded.counter, hash = excluded.hash, \
             at_ms = excluded.at_ms, at_logical = excluded.at_logical",
        )?;
        Ok(())
    }

    /// Moves the rows of the feed, and adds to the sums of their buckets.
    pub(super) fn flush_feed(&mut self) -> Result<(), DbError> {
        let moves = std::mem::take(&mut self.pending.moves);
        let sums = std::mem::take(&mut self.pending.sums);
        let mut counts: BTreeMap<(ScopeId, u8), usize> = BTreeMap::new();
        for (scope, lane, _) in sums.keys() {
            counts.insert((*scope, *lane), 0);
        }
        for (head, moves) in &moves {
            counts.insert(*head, moves.order.len());
        }
        if counts.is_empty() {
            return Ok(());
        }
        self.wrote = true;
        let ends = self.take_sequences(&counts)?;
        let mut rows = Vec::new();
        for ((scope, lane), moves) in &moves {
            let end = ends.get(&(*scope, *lane)).copied().unwrap_or_default();
            let first = end - moves.order.len() as u64 + 1;
            for (sequence, (record, standing)) in (first..).zip(moves.in_order()) {
                rows.push(row![self.org, scope.0, *lane, record.0, sequence, standing as i64]);
            }
        }
        self.sql.put_all(
            "INSERT INTO feed (org, scope, lane, record, sequence, standing)",
            &rows,
            "ON CONFLICT (org, scope, lane, record) \
             DO UPDATE SET sequence = excluded.sequence, standing = excluded.standing",
        )?;
        self.pending.rows.clear();
        self.add_sums(sums)
    }

    /// Takes so many sequences of each head, and answers the last of them. The heads are locked until the commit, so
    /// sequences have no gap and follow the order of commits.
    pub(super) fn take_sequences(
        &mut self,
        counts: &BTreeMap<(ScopeId, u8), usize>,
    ) -> Result<BTreeMap<(ScopeId, u8), u64>, DbError> {
        let heads: Vec<[Value; 5]> = counts
            .iter()
            .map(|((scope, lane), count)| row![self.org, scope.0, *lane, *count, 0u8])
            .collect();
        let ends = self.sql.put_all(
            "INSERT INTO feed_heads (org, scope, lane, sequence, generation)",
            &heads,
            "ON CONFLICT (org, scope, lane) DO UPDATE SET sequence = feed_heads.sequence + excluded.sequence \
             RETURNING scope, lane, sequence",
        )?;
        let end = |row: &sql::Row| Ok(((ScopeId(row.get(0)?), row.get(1)?), row.get(2)?));
        ends.iter().map(end).collect()
    }

    fn add_sums(&mut self, sums: BTreeMap<(ScopeId, u8, u8), Sum>) -> Result<(), DbError> {
        let keys: Vec<Vec<Value>> = sums
            .keys()
            .map(|(scope, lane, bucket)| values![scope.0, *lane, *bucket].to_vec())
            .collect();
        let found = self.sql.rows_of_keys(
            "SELECT scope, lane, bucket, leaves FROM buckets WHERE org = ?1 AND",
            self.org,
            &["scope", "lane", "bucket"],
            &keys,
        )?;
        let mut sums = sums;
        for row in &found {
            let key = (ScopeId(row.get(0)?), row.get(1)?, row.get(2)?);
            if let Some(sum) = sums.get_mut(&key) {
                *sum = sum.plus(Sum::from_bytes(&row.get(3)?));
            }
        }
        let rows: Vec<[Value; 5]> = sums
            .iter()
            .map(|((scope, lane, bucket), sum)| row![self.org, scope.0, *lane, *bucket, sum.to_bytes()])
            .collect();
        self.sql.put_all(
            "INSERT INTO buckets (org, scope, lane, bucket, leaves)",
            &rows,
            "ON CONFLICT (org, scope, lane, bucket) DO UPDATE SET leaves = excluded.leaves",
        )?;
        Ok(())
    }
}
