//! Records as the hub last sent them and as they are shown here, and the index that finds them. The index is generic:
//! what it holds of a record is the clinic's to say, and it is replaced only where it differs.

use std::collections::BTreeSet;

use clinic::index::{Facet, Index, Wanted, index_of};
use clinic::patient;
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, params, params_from_iter};
use sync_protocol::replica::Place;
use sync_protocol::wire::Returned;
use sync_protocol::{FieldId, KindId, Lane, RecordId, RecordState, ScopeId, Signature};

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE records (
    record BLOB PRIMARY KEY,
    kind INTEGER NOT NULL,
    order_ms INTEGER NOT NULL,
    scope BLOB,
    lane INTEGER,
    sequence INTEGER,
    base BLOB,
    shown BLOB NOT NULL
    , offered INTEGER NOT NULL DEFAULT 0, signature BLOB);
CREATE INDEX records_of_kind ON records (kind, order_ms, record);
CREATE INDEX records_offered ON records (record) WHERE offered = 1;
CREATE INDEX records_of_lane ON records (scope, lane) WHERE scope IS NOT NULL;
CREATE TABLE links (
    target BLOB NOT NULL,
    kind INTEGER NOT NULL,
    field INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (target, kind, field, record)
) WITHOUT ROWID;
CREATE INDEX links_of_record ON links (record);
CREATE TABLE terms (
    kind INTEGER NOT NULL,
    term TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (kind, term, record)
) WITHOUT ROWID;
CREATE INDEX terms_of_record ON terms (record);
CREATE TABLE facets (
    facet INTEGER NOT NULL,
    order_ms INTEGER NOT NULL,
    record BLOB NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (facet, order_ms, record)
) WITHOUT ROWID;
CREATE INDEX facets_of_record ON facets (record);";

/// The records that link to one record and are read at once: far above any patient's visits, tasks or results.
const LINKED_MAX: u32 = 2_000;
/// Words and alternatives of one search; a person types a handful.
const WORDS_MAX: usize = 8;
const ALTERNATIVES_MAX: usize = 16;

/// A record as it is shown here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub state: RecordState,
    /// The hub has sent it.
    pub base: bool,
    /// Own changes on it that are not in the base yet and wait for the hub.
    pub pending: u32,
    /// Own changes on it that the hub could not use.
    pub quarantined: u32,
}

const STORED: &str = "SELECT r.shown, r.base IS NOT NULL,
    (SELECT count(*) FROM own_changes c WHERE c.record = r.record AND c.pending = 1 AND c.quarantine IS NULL),
    (SELECT count(*) FROM own_changes c WHERE c.record = r.record AND c.pending = 1 AND c.quarantine IS NOT NULL)
    FROM records r";

fn read_stored(row: &Row<'_>) -> Result<Stored, TxError> {
    let shown = row
        .get_ref(0)?
        .as_blob()
        .map_err(|_| TxError::Damaged { what: "a record" })?;
    Ok(Stored {
        state: RecordState::parse(shown).map_err(TxError::unreadable("a record"))?,
        base: row.get(1)?,
        pending: row.get(2)?,
        quarantined: row.get(3)?,
    })
}

impl ReadTx<'_> {
    pub fn record(&self, record: RecordId) -> Result<Option<Stored>, TxError> {
        let mut found = self.stored("WHERE r.record = ?1", params![record.0])?;
        Ok(found.pop())
    }

    /// What is shown of a record, without how it stands with the hub.
    pub fn state(&self, record: RecordId) -> Result<Option<RecordState>, TxError> {
        self.state_in("SELECT shown FROM records WHERE record = ?1", record)
    }

    /// The record exactly as the hub sent it.
    pub fn base_of(&self, record: RecordId) -> Result<Option<RecordState>, TxError> {
        self.state_in("SELECT base FROM records WHERE record = ?1", record)
    }

    pub(super) fn kind_of(&self, record: RecordId) -> Result<Option<KindId>, TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT kind FROM records WHERE record = ?1")?;
        let kind = statement.query_row([record.0], |row| row.get(0));
        Ok(kind.optional()?.map(KindId))
    }

    /// Where the base is counted.
    pub(super) fn place_of(&self, record: RecordId) -> Result<Option<Place>, TxError> {
        let sql = "SELECT record, scope, lane, sequence, offered FROM records
                   WHERE record = ?1 AND base IS NOT NULL AND scope IS NOT NULL";
        let mut found = self.places(sql, params![record.0])?;
        Ok(found.pop().map(|(_, place)| place))
    }

    /// Records that the hub offers to forget.
    pub(super) fn offered(&self, at_most: usize) -> Result<Vec<(RecordId, Place)>, TxError> {
        // Left to itself SQLite walks through every record of the scope, which each exchange would wait for.
        let sql = "SELECT record, scope, lane, sequence, offered FROM records INDEXED BY records_offered
                   WHERE offered = 1 AND base IS NOT NULL AND scope IS NOT NULL LIMIT ?1";
        self.places(sql, params![i64::try_from(at_most).unwrap_or(i64::MAX)])
    }

    fn places(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<(RecordId, Place)>, TxError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut places = Vec::new();
        while let Some(row) = rows.next()? {
            let place = Place {
                scope: ScopeId(row.get(1)?),
                lane: Lane::from_number(row.get(2)?).ok_or(TxError::Damaged { what: "a lane" })?,
                sequence: row.get::<_, i64>(3)?.cast_unsigned(),
                offered: row.get(4)?,
            };
            places.push((RecordId(row.get(0)?), place));
        }
        Ok(places)
    }

    /// Whether somebody at the site works with the patient that the record is or belongs to: a visit or a task is open.
    pub fn is_worked_with(&self, record: RecordId) -> Result<bool, TxError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM links l JOIN facets f ON f.record = l.record
                   WHERE f.facet IN (?2, ?3) AND l.target IN (
                       SELECT r.record FROM records r WHERE r.kind = ?4
                       AND (r.record = ?1 OR r.record IN (SELECT target FROM links WHERE record = ?1))))";
        let mut statement = self.connection.prepare_cached(sql)?;
        let facets = (Facet::VISIT_OPEN.0, Facet::TASK_OPEN.0);
        Ok(statement.query_row(params![record.0, facets.0, facets.1, patient::KIND.0], |row| row.get(0))?)
    }

    /// Records of one kind that link to `target` by any field, the latest first.
    pub fn linked(&self, target: RecordId, kind: KindId) -> Result<Vec<Stored>, TxError> {
        let sql = "WHERE r.record IN (SELECT l.record FROM links l WHERE l.target = ?1 AND l.kind = ?2)
                   ORDER BY r.order_ms DESC, r.record LIMIT ?3";
        self.stored(sql, params![target.0, kind.0, LINKED_MAX])
    }

    pub fn count_linked(&self, target: RecordId, kind: KindId) -> Result<u64, TxError> {
        let sql = "SELECT count(DISTINCT record) FROM links WHERE target = ?1 AND kind = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_row(params![target.0, kind.0], |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }

    /// Records on a list, the earliest first.
    pub fn with_facet(&self, facet: Facet, limit: u32) -> Result<Vec<Stored>, TxError> {
        let sql = "JOIN facets f ON f.record = r.record WHERE f.facet = ?1 ORDER BY f.order_ms, f.record LIMIT ?2";
        self.stored(sql, params![facet.0, limit])
    }

    pub fn count_facet(&self, facet: Facet) -> Result<u64, TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT count(*) FROM facets WHERE facet = ?1")?;
        Ok(statement
            .query_row([facet.0], |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }

    /// How many on a list stand before a time.
    pub fn count_facet_before(&self, facet: Facet, before_ms: i64) -> Result<u64, TxError> {
        let sql = "SELECT count(*) FROM facets WHERE facet = ?1 AND order_ms < ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_row(params![facet.0, before_ms], |row| row.get::<_, i64>(0))?
            .cast_unsigned())
    }

    /// Records of one kind in the order of their lists, the earliest first.
    pub fn records_of_kind(&self, kind: KindId, limit: u32) -> Result<Vec<Stored>, TxError> {
        self.stored(
            "WHERE r.kind = ?1 ORDER BY r.order_ms, r.record LIMIT ?2",
            params![kind.0, limit],
        )
    }

    /// Records of one kind from a time on, in the order of their lists, the earliest first.
    pub fn records_since(&self, kind: KindId, since_ms: i64, limit: u32) -> Result<Vec<Stored>, TxError> {
        let tail = "WHERE r.kind = ?1 AND r.order_ms >= ?2 ORDER BY r.order_ms, r.record LIMIT ?3";
        self.stored(tail, params![kind.0, since_ms, limit])
    }

    /// Records of one kind that meet every word by one of its alternatives. No words: nothing.
    pub fn search(&self, words: &[Vec<Wanted>], kind: KindId, limit: u32) -> Result<Vec<Stored>, TxError> {
        let words: Vec<&Vec<Wanted>> = words.iter().filter(|word| !word.is_empty()).take(WORDS_MAX).collect();
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let mut values = vec![Value::Integer(i64::from(kind.0)), Value::Integer(i64::from(limit))];
        let mut met = Vec::new();
        for word in words {
            // An OR over the index would be read as a scan of the whole kind.
            let alternatives: Vec<String> = word
                .iter()
                .take(ALTERNATIVES_MAX)
                .map(|wanted| {
                    format!(
                        "SELECT record FROM terms WHERE kind = ?1 AND {}",
                        condition(wanted, &mut values)
                    )
                })
                .collect();
            met.push(format!("SELECT record FROM ({})", alternatives.join(" UNION ")));
        }
        // Only those that are asked for are read whole: a short word may meet every patient there is.
        let tail = format!(
            "WHERE r.record IN (SELECT record FROM records WHERE record IN ({}) ORDER BY order_ms DESC, record LIMIT ?2)
             ORDER BY r.order_ms DESC, r.record",
            met.join(" INTERSECT ")
        );
        self.stored(&tail, params_from_iter(values))
    }

    fn stored(&self, tail: &str, values: impl rusqlite::Params) -> Result<Vec<Stored>, TxError> {
        let mut statement = self.connection.prepare_cached(&format!("{STORED} {tail}"))?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read_stored(row)?);
        }
        Ok(found)
    }

    fn state_in(&self, sql: &str, record: RecordId) -> Result<Option<RecordState>, TxError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let bytes: Option<Option<Vec<u8>>> = statement.query_row([record.0], |row| row.get(0)).optional()?;
        let state = bytes.flatten().map(|bytes| RecordState::parse(&bytes));
        state.transpose().map_err(TxError::unreadable("a record"))
    }
}

/// Adds what a term is compared with to `values` and gives the comparison. No term holds the last character there is,
/// so everything that starts with a text lies between it and it followed by that.
fn condition(wanted: &Wanted, values: &mut Vec<Value>) -> String {
    match wanted {
        Wanted::Exactly(term) => {
            values.push(Value::Text(term.clone()));
            format!("term = ?{}", values.len())
        }
        Wanted::StartingWith(start) => {
            values.push(Value::Text(start.clone()));
            values.push(Value::Text(format!("{start}{}", char::MAX)));
            format!("(term >= ?{} AND term < ?{})", values.len() - 1, values.len())
        }
    }
}

impl WriteTx<'_> {
    /// Of a record that is new here nothing is shown until that is written, which follows in the same savepoint.
    pub(super) fn write_base(
        &mut self,
        place: Place,
        state: &RecordState,
        signature: Option<&Signature>,
    ) -> Result<(), TxError> {
        let sql = "INSERT INTO records (record, kind, order_ms, scope, lane, sequence, base, shown, offered, signature)
                   VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, x'', ?7, ?8) ON CONFLICT (record) DO UPDATE SET
                   scope = excluded.scope, lane = excluded.lane, sequence = excluded.sequence, base = excluded.base,
                   offered = excluded.offered, signature = excluded.signature";
        self.connection.prepare_cached(sql)?.execute(params![
            state.record.0,
            state.kind.0,
            place.scope.0,
            place.lane as u8,
            place.sequence.cast_signed(),
            state.to_bytes(),
            place.offered,
            signature.map(|signature| signature.0)
        ])?;
        Ok(())
    }

    /// Bases of the records above this one as they were received, with the hub's signature, in the order of records.
    pub(super) fn signed_bases(&self, record: RecordId, bytes_max: usize) -> Result<Vec<Returned>, TxError> {
        let sql = "SELECT record, scope, base, signature FROM records
                   WHERE record > ?1 AND base IS NOT NULL AND signature IS NOT NULL ORDER BY record";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([record.0])?;
        let (mut states, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let returned = Returned {
                record: RecordId(row.get(0)?),
                scope: row.get::<_, Option<[u8; 16]>>(1)?.map(ScopeId),
                state: row.get(2)?,
                signature: Signature(row.get(3)?),
            };
            bytes += returned.state.len();
            if bytes > bytes_max && !states.is_empty() {
                break;
            }
            states.push(returned);
        }
        Ok(states)
    }

    /// The base stays readable; no scope counts it any more.
    pub(super) fn uncount_base(&mut self, record: RecordId) -> Result<(), TxError> {
        let sql = "UPDATE records SET scope = NULL, lane = NULL, sequence = NULL, offered = 0 WHERE record = ?1";
        self.connection.prepare_cached(sql)?.execute([record.0])?;
        Ok(())
    }

    /// Removes all that is kept of a record: base, view, index, what sources said of it, original messages, and the
    /// content of own changes on it. Pages that are freed are overwritten.
    pub(super) fn purge_record(&mut self, record: RecordId) -> Result<(), TxError> {
        let kind = self.kind_of(record)?;
        self.forget_own(record)?;
        self.forget_said(record)?;
        for sql in [
            "DELETE FROM blobs WHERE digest IN (SELECT digest FROM messages WHERE record = ?1)",
            "DELETE FROM links WHERE record = ?1",
            "DELETE FROM terms WHERE record = ?1",
            "DELETE FROM facets WHERE record = ?1",
            "DELETE FROM records WHERE record = ?1",
        ] {
            self.connection.prepare_cached(sql)?.execute([record.0])?;
        }
        self.changed.kinds.extend(kind);
        self.changed.records.insert(record);
        self.changed.purged = true;
        Ok(())
    }

    pub(super) fn write_shown(&mut self, state: &RecordState) -> Result<(), TxError> {
        self.changed.kinds.insert(state.kind);
        self.changed.records.insert(state.record);
        let bytes = state.to_bytes();
        // What was written here is mostly shown as it comes back from the hub. Its index rows were written with it.
        if self.is_shown(state.record, &bytes)? {
            return Ok(());
        }
        let index = index_of(state);
        let sql = "INSERT INTO records (record, kind, order_ms, shown) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (record) DO UPDATE SET order_ms = excluded.order_ms, shown = excluded.shown";
        let values = params![state.record.0, state.kind.0, index.order_ms, bytes];
        self.connection.prepare_cached(sql)?.execute(values)?;
        self.replace_links(state, &index)?;
        self.replace_terms(state, &index)?;
        self.replace_facets(state, &index)
    }

    fn is_shown(&self, record: RecordId, bytes: &[u8]) -> Result<bool, TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT shown = ?2 FROM records WHERE record = ?1")?;
        let is_shown = statement.query_row(params![record.0, bytes], |row| row.get(0));
        Ok(is_shown.optional()?.unwrap_or(false))
    }

    fn replace_links(&self, state: &RecordState, index: &Index) -> Result<(), TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT field, target FROM links WHERE record = ?1")?;
        let rows = statement.query_map([state.record.0], |row| {
            Ok((FieldId(row.get(0)?), RecordId(row.get(1)?)))
        })?;
        let old: BTreeSet<(FieldId, RecordId)> = rows.collect::<Result<_, _>>()?;
        let new: BTreeSet<(FieldId, RecordId)> = index.links.iter().copied().collect();
        for (field, target) in old.difference(&new) {
            let sql = "DELETE FROM links WHERE target = ?1 AND kind = ?2 AND field = ?3 AND record = ?4";
            let values = params![target.0, state.kind.0, field.0, state.record.0];
            self.connection.prepare_cached(sql)?.execute(values)?;
        }
        for (field, target) in new.difference(&old) {
            let values = params![target.0, state.kind.0, field.0, state.record.0];
            self.connection
                .prepare_cached("INSERT INTO links VALUES (?1, ?2, ?3, ?4)")?
                .execute(values)?;
        }
        Ok(())
    }

    fn replace_terms(&self, state: &RecordState, index: &Index) -> Result<(), TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT term FROM terms WHERE record = ?1")?;
        let old: BTreeSet<String> = statement
            .query_map([state.record.0], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let new: BTreeSet<String> = index.terms.iter().cloned().collect();
        for term in old.difference(&new) {
            let sql = "DELETE FROM terms WHERE kind = ?1 AND term = ?2 AND record = ?3";
            self.connection
                .prepare_cached(sql)?
                .execute(params![state.kind.0, term, state.record.0])?;
        }
        for term in new.difference(&old) {
            let values = params![state.kind.0, term, state.record.0];
            self.connection
                .prepare_cached("INSERT INTO terms VALUES (?1, ?2, ?3)")?
                .execute(values)?;
        }
        Ok(())
    }

    fn replace_facets(&self, state: &RecordState, index: &Index) -> Result<(), TxError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT facet, order_ms FROM facets WHERE record = ?1")?;
        let rows = statement.query_map([state.record.0], |row| Ok((Facet(row.get(0)?), row.get(1)?)))?;
        let old: BTreeSet<(Facet, i64)> = rows.collect::<Result<_, _>>()?;
        let new: BTreeSet<(Facet, i64)> = index.facets.iter().map(|facet| (*facet, index.order_ms)).collect();
        for (facet, order_ms) in old.difference(&new) {
            let sql = "DELETE FROM facets WHERE facet = ?1 AND order_ms = ?2 AND record = ?3";
            self.connection
                .prepare_cached(sql)?
                .execute(params![facet.0, order_ms, state.record.0])?;
        }
        for (facet, order_ms) in new.difference(&old) {
            let values = params![facet.0, order_ms, state.record.0, state.kind.0];
            self.connection
                .prepare_cached("INSERT INTO facets VALUES (?1, ?2, ?3, ?4)")?
                .execute(values)?;
        }
        Ok(())
    }
}
