//! What the clinic's index says of records, in tables that know no clinic: links, search terms, facets. Kept in the
//! transaction that stores the record's state. Terms are blind: they narrow a search down, and what is found is compared
//! in clear.

use clinic::index::{Facet, Wanted};
use sync_protocol::{KindId, RecordState};

use super::sealing::{TERM, blind_beginning, blind_terms};
use super::sql::{Row, Value, values};
use super::*;

/// More than this a search does not answer.
const FOUND_MAX: usize = 200;
/// More than this a search does not look at.
const CANDIDATES_MAX: usize = 1_000;

impl Txn<'_> {
    /// Makes the index tables say what the policy says of these states; rows that stay the same are not touched. Of a
    /// record that was not stored before there are no rows.
    pub(super) fn put_index(&mut self, states: &[(RecordId, RecordState, bool)]) -> Result<(), DbError> {
        let (mut links, mut terms, mut facets) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (record, state, _) in states {
            let (record, kind, index) = (record.0, state.kind.0, (self.policy.index)(state));
            for (field, target) in index.links {
                links.insert(values![record, target.0, kind, field.0].to_vec());
            }
            for term in index.terms {
                let blind = blind_terms(self.keys, &term, (self.policy.by_beginning)(&term));
                terms.extend(blind.into_iter().map(|term| values![record, term, kind].to_vec()));
            }
            for facet in index.facets {
                facets.insert(values![record, facet.0, kind, index.order_ms].to_vec());
            }
        }
        let stored: Vec<Value> = states
            .iter()
            .filter(|(_, _, is_stored)| *is_stored)
            .map(|(record, ..)| Value::from(record.0))
            .collect();
        self.put_rows("links", &["record", "target", "kind", "field"], &stored, &links)?;
        self.put_rows("terms", &["record", "term", "kind"], &stored, &terms)?;
        self.put_rows("facets", &["record", "facet", "kind", "order_ms"], &stored, &facets)
    }

    /// Makes the index anew of the records after this one, at most so many; gives the last of them, `None` at the end.
    pub fn index_anew(&mut self, after: RecordId, at_most: usize) -> Result<Option<RecordId>, DbError> {
        let rows = self.sql.rows(
            "SELECT record FROM states WHERE org = ?1 AND record > ?2 ORDER BY record LIMIT ?3",
            values![self.org, after.0, at_most],
        )?;
        let states = self.states_of(records(&rows)?)?;
        let last = states.last().map(|state| state.record);
        let stored: Vec<_> = states.into_iter().map(|state| (state.record, state, true)).collect();
        self.put_index(&stored)?;
        Ok(last)
    }

    fn put_rows(
        &mut self,
        table: &str,
        columns: &[&str],
        stored: &[Value],
        wanted: &BTreeSet<Vec<Value>>,
    ) -> Result<(), DbError> {
        let named = columns.join(", ");
        let before = format!("SELECT {named} FROM {table} WHERE org = ?1 AND record IN");
        let rows = self.sql.rows_of(&before, self.org, stored)?;
        let present: BTreeSet<Vec<Value>> = rows.into_iter().map(|row| row.0).collect();
        let gone: Vec<Vec<Value>> = present.difference(wanted).cloned().collect();
        self.sql.rows_of_keys(
            &format!("DELETE FROM {table} WHERE org = ?1 AND"),
            self.org,
            columns,
            &gone,
        )?;
        let new: Vec<Vec<Value>> = wanted
            .difference(&present)
            .map(|row| [values![self.org], row].concat())
            .collect();
        self.sql
            .put_all(&format!("INSERT INTO {table} (org, {named})"), &new, "")?;
        Ok(())
    }

    /// Records with this facet, earliest first.
    pub fn with_facet(&mut self, facet: Facet, at_most: usize) -> Result<Vec<RecordState>, DbError> {
        self.flush_records()?;
        let rows = self.sql.rows(
            "SELECT record FROM facets WHERE org = ?1 AND facet = ?2 ORDER BY order_ms, record LIMIT ?3",
            values![self.org, facet.0, at_most],
        )?;
        self.states_of(records(&rows)?)
    }

    pub fn count_with_facet(&mut self, facet: Facet) -> Result<u64, DbError> {
        self.flush_records()?;
        let row = self.sql.one(
            "SELECT count(*) FROM facets WHERE org = ?1 AND facet = ?2",
            values![self.org, facet.0],
        )?;
        row.get(0)
    }

    /// Records of a kind that link to this one.
    pub fn linked_to(&mut self, target: RecordId, kind: KindId) -> Result<Vec<RecordState>, DbError> {
        let links = self.linking_to(target)?.into_iter();
        self.states_of(links.filter(|(_, of)| *of == kind).map(|(record, _)| record).collect())
    }

    /// Records of a kind of which, for every word, one of the word's alternatives meets a term. At most
    /// [`FOUND_MAX`]; none when no word is given, or none that can be looked up.
    pub fn search(&mut self, kind: KindId, words: &[Vec<Wanted>]) -> Result<Vec<RecordState>, DbError> {
        let near = self.near(kind, words, CANDIDATES_MAX)?;
        let mut found = self.meant(near, words)?;
        found.truncate(FOUND_MAX);
        Ok(found)
    }

    /// As [`Txn::search`], for what is to tell few apart: nobody where more than so many may be meant, and then no record is
    /// opened.
    pub fn search_few(
        &mut self,
        kind: KindId,
        words: &[Vec<Wanted>],
        at_most: usize,
    ) -> Result<Vec<RecordState>, DbError> {
        let near = self.near(kind, words, at_most.saturating_add(1))?;
        if near.len() > at_most {
            return Ok(Vec::new());
        }
        self.meant(near, words)
    }

    /// Records that may be meant, by their blind terms.
    fn near(&mut self, kind: KindId, words: &[Vec<Wanted>], at_most: usize) -> Result<Vec<RecordId>, DbError> {
        let mut values = values![self.org, kind.0].to_vec();
        let sets: Vec<String> = words
            .iter()
            .filter_map(|word| self.candidates(word, &mut values))
            .collect();
        if sets.is_empty() || words.iter().any(Vec::is_empty) {
            return Ok(Vec::new());
        }
        self.flush_records()?;
        let text = format!("{} ORDER BY record LIMIT {at_most}", sets.join(" INTERSECT "));
        records(&self.sql.rows(&text, &values)?)
    }

    /// The index only narrows down: it knows no beginning beyond a length, and one blind word may stand for two.
    fn meant(&mut self, near: Vec<RecordId>, words: &[Vec<Wanted>]) -> Result<Vec<RecordState>, DbError> {
        let mut found = self.states_of(near)?;
        found.retain(|state| is_meant(&(self.policy.index)(state).terms, words));
        Ok(found)
    }

    /// The question for the records that may meet one of a word's alternatives; what it compares with goes to the end of
    /// `values`. `None` where an alternative is too short to be looked up.
    fn candidates(&self, alternatives: &[Wanted], values: &mut Vec<Value>) -> Option<String> {
        let blind = alternatives.iter().map(|wanted| match wanted {
            Wanted::Exactly(term) => Some(self.keys.blind(TERM, term.as_bytes())),
            Wanted::StartingWith(start) => blind_beginning(self.keys, start),
        });
        let blind = blind.collect::<Option<Vec<_>>>()?;
        let places: Vec<String> = blind
            .into_iter()
            .map(|term| {
                values.push(Value::from(term));
                format!("?{}", values.len())
            })
            .collect();
        Some(format!(
            "SELECT DISTINCT record FROM terms WHERE org = ?1 AND kind = ?2 AND term IN ({})",
            places.join(", ")
        ))
    }

    pub(super) fn states_of(&mut self, records: Vec<RecordId>) -> Result<Vec<RecordState>, DbError> {
        self.fetch_states(&records.iter().copied().collect())?;
        let states = records.into_iter().map(|record| {
            let kept = self.pending.states.get(&record).and_then(|kept| kept.state.clone());
            kept.ok_or(DbError::Damaged {
                what: "an index row of no record",
            })
        });
        states.collect()
    }
}

/// Whether every word has an alternative that one of the terms meets.
fn is_meant(terms: &[String], words: &[Vec<Wanted>]) -> bool {
    let meets = |wanted: &Wanted| match wanted {
        Wanted::Exactly(term) => terms.contains(term),
        Wanted::StartingWith(start) => terms.iter().any(|term| term.starts_with(start)),
    };
    words.iter().all(|alternatives| alternatives.iter().any(meets))
}

fn records(rows: &[Row]) -> Result<Vec<RecordId>, DbError> {
    rows.iter().map(|row| row.get(0).map(RecordId)).collect()
}
