//! What the clinic's index says of records, in tables that know no clinic: links, search terms, facets. Kept in the
//! transaction that stores the record's state.

use std::collections::BTreeMap;

use clinic::index::{Facet, Wanted};
use sync_protocol::{FieldId, KindId, RecordState};

use super::ledger::state_from;
use super::sql::{Row, Value, values};
use super::*;

/// More than this a search does not answer.
const FOUND_MAX: usize = 200;

impl Txn<'_> {
    /// Makes the index tables say what the policy says of this state; rows that stay the same are not touched.
    pub(super) fn put_index(&mut self, state: &RecordState) -> Result<(), DbError> {
        let index = (self.policy.index)(state);
        self.put_links(state, index.links)?;
        self.put_terms(state, index.terms)?;
        self.put_facets(state, &index.facets, index.order_ms)
    }

    fn put_links(&mut self, state: &RecordState, links: Vec<(FieldId, RecordId)>) -> Result<(), DbError> {
        let wanted: BTreeSet<(u16, [u8; 16])> = links.into_iter().map(|(field, target)| (field.0, target.0)).collect();
        let rows = self.sql.rows(
            "SELECT field, target FROM links WHERE org = ?1 AND record = ?2",
            values![self.org, state.record.0],
        )?;
        let rows = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
        let present = rows.collect::<Result<BTreeSet<(u16, [u8; 16])>, DbError>>()?;
        for (field, target) in present.difference(&wanted) {
            self.sql.run(
                "DELETE FROM links WHERE org = ?1 AND target = ?2 AND kind = ?3 AND field = ?4 AND record = ?5",
                values![self.org, target, state.kind.0, *field, state.record.0],
            )?;
        }
        let new: Vec<Vec<Value>> = wanted
            .difference(&present)
            .map(|(field, target)| values![self.org, target, state.kind.0, *field, state.record.0].to_vec())
            .collect();
        self.sql
            .run_many("INSERT INTO links (org, target, kind, field, record) VALUES ", &new, "")
    }

    fn put_terms(&mut self, state: &RecordState, terms: Vec<String>) -> Result<(), DbError> {
        let wanted: BTreeSet<Vec<u8>> = terms.into_iter().map(String::into_bytes).collect();
        let rows = self.sql.rows(
            "SELECT term FROM terms WHERE org = ?1 AND record = ?2",
            values![self.org, state.record.0],
        )?;
        let rows = rows.iter().map(|row| row.get(0));
        let present = rows.collect::<Result<BTreeSet<Vec<u8>>, DbError>>()?;
        for term in present.difference(&wanted) {
            self.sql.run(
                "DELETE FROM terms WHERE org = ?1 AND term = ?2 AND kind = ?3 AND record = ?4",
                values![self.org, term.as_slice(), state.kind.0, state.record.0],
            )?;
        }
        let new: Vec<Vec<Value>> = wanted
            .difference(&present)
            .map(|term| values![self.org, term.as_slice(), state.kind.0, state.record.0].to_vec())
            .collect();
        self.sql
            .run_many("INSERT INTO terms (org, term, kind, record) VALUES ", &new, "")
    }

    fn put_facets(&mut self, state: &RecordState, facets: &[Facet], order_ms: i64) -> Result<(), DbError> {
        let wanted: BTreeMap<u16, i64> = facets.iter().map(|facet| (facet.0, order_ms)).collect();
        let rows = self.sql.rows(
            "SELECT facet, order_ms FROM facets WHERE org = ?1 AND record = ?2",
            values![self.org, state.record.0],
        )?;
        let rows = rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?)));
        let present = rows.collect::<Result<BTreeMap<u16, i64>, DbError>>()?;
        for facet in present.keys().filter(|facet| !wanted.contains_key(facet)) {
            self.sql.run(
                "DELETE FROM facets WHERE org = ?1 AND facet = ?2 AND record = ?3",
                values![self.org, *facet, state.record.0],
            )?;
        }
        for (facet, order_ms) in wanted.iter().filter(|(facet, order)| present.get(facet) != Some(order)) {
            self.sql.run(
                "INSERT INTO facets (org, facet, record, kind, order_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (org, facet, record) DO UPDATE SET order_ms = excluded.order_ms",
                values![self.org, *facet, state.record.0, state.kind.0, *order_ms],
            )?;
        }
        Ok(())
    }

    /// Records with this facet, earliest first.
    pub fn with_facet(&mut self, facet: Facet, at_most: usize) -> Result<Vec<RecordState>, DbError> {
        let rows = self.sql.rows(
            "SELECT record FROM facets WHERE org = ?1 AND facet = ?2 ORDER BY order_ms, record LIMIT ?3",
            values![self.org, facet.0, at_most],
        )?;
        self.states_of(records(&rows)?)
    }

    pub fn count_with_facet(&mut self, facet: Facet) -> Result<u64, DbError> {
        let row = self.sql.one(
            "SELECT count(*) FROM facets WHERE org = ?1 AND facet = ?2",
            values![self.org, facet.0],
        )?;
        row.get(0)
    }

    /// Records of a kind that link to this one.
    pub fn linked_to(&mut self, target: RecordId, kind: KindId) -> Result<Vec<RecordState>, DbError> {
        let rows = self.sql.rows(
            "SELECT DISTINCT record FROM links WHERE org = ?1 AND target = ?2 AND kind = ?3 ORDER BY record",
            values![self.org, target.0, kind.0],
        )?;
        self.states_of(records(&rows)?)
    }

    /// Records of a kind of which, for every word, one of the word's alternatives meets a term. At most
    /// [`FOUND_MAX`]; none when no word is given.
    pub fn search(&mut self, kind: KindId, words: &[Vec<Wanted>]) -> Result<Vec<RecordState>, DbError> {
        if words.is_empty() || words.iter().any(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let mut values = values![self.org, kind.0].to_vec();
        let sets: Vec<String> = words
            .iter()
            .map(|alternatives| {
                let any: Vec<String> = alternatives
                    .iter()
                    .map(|wanted| condition(wanted, &mut values))
                    .collect();
                format!(
                    "SELECT DISTINCT record FROM terms WHERE org = ?1 AND kind = ?2 AND ({})",
                    any.join(" OR ")
                )
            })
            .collect();
        let text = format!("{} ORDER BY record LIMIT {FOUND_MAX}", sets.join(" INTERSECT "));
        let rows = self.sql.rows(&text, &values)?;
        self.states_of(records(&rows)?)
    }

    fn states_of(&mut self, records: Vec<RecordId>) -> Result<Vec<RecordState>, DbError> {
        let keys: Vec<Value> = records.iter().map(|record| Value::from(record.0)).collect();
        let rows = self.sql.rows_of(
            "SELECT record, state FROM states WHERE org = ?1 AND record IN",
            self.org,
            &keys,
        )?;
        let mut states = BTreeMap::new();
        for row in &rows {
            states.insert(RecordId(row.get(0)?), state_from(&row.get::<Vec<u8>>(1)?)?);
        }
        let states = records.into_iter().map(|record| {
            states.remove(&record).ok_or(DbError::Damaged {
                what: "an index row of no record",
            })
        });
        states.collect()
    }
}

fn records(rows: &[Row]) -> Result<Vec<RecordId>, DbError> {
    rows.iter().map(|row| row.get(0).map(RecordId)).collect()
}

/// The comparison of one alternative; what it compares with goes to the end of `values`.
fn condition(wanted: &Wanted, values: &mut Vec<Value>) -> String {
    match wanted {
        Wanted::Exactly(term) => {
            values.push(Value::from(term.as_bytes()));
            format!("term = ?{}", values.len())
        }
        Wanted::StartingWith(prefix) => {
            values.push(Value::from(prefix.as_bytes()));
            // No UTF-8 holds this byte, so it comes after whatever begins with the prefix.
            values.push(Value::from([prefix.as_bytes(), &[0xff]].concat()));
            format!("(term >= ?{} AND term < ?{})", values.len() - 1, values.len())
        }
    }
}
