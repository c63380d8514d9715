//! What the clinic's index says of records, in tables that know no clinic: links, search terms, facets. Kept in the
//! transaction that stores the record's state. Terms are blind: they narrow a search down, and what is found is compared
//! in clear, here or by whoever asks for few.

use clinic::index::{Facet, Index, Wanted};
use sync_protocol::{FieldId, KindId, RecordState};

use super::sealing::{Lookup, TERM, blind_beginning, lookups};
use super::sql::{Row, Value, row, values};
use super::*;

/// More than this a search does not answer.
const FOUND_MAX: usize = 200;
/// More than this a search does not look at.
const CANDIDATES_MAX: usize = 1_000;
/// Questions that one statement asks together: a few fixed sizes, so that few texts are prepared.
const QUESTIONS_AT_ONCE: [usize; 3] = [1, 4, 16];
/// Terms that one statement looks up.
const TERMS_AT_ONCE: usize = 128;
/// Of more alternatives than this a word is looked up by a list; SQLite takes 500 parts of a compound.
const ALONE_MAX: usize = 64;

const LINKS: [&str; 5] = ["org", "target", "kind", "field", "record"];
const TERMS: [&str; 4] = ["org", "term", "kind", "record"];
const FACETS: [&str; 5] = ["org", "record", "facet", "kind", "order_ms"];

/// A blind word.
type Term = [u8; 16];

/// What the index says of one record, in clear.
#[derive(Default)]
struct Clear {
    links: BTreeSet<(FieldId, RecordId)>,
    lookups: BTreeSet<Lookup>,
    /// With what the list is ordered by.
    facets: BTreeSet<(Facet, i64)>,
}

impl Clear {
    fn of(policy: &Policy, state: &RecordState) -> Clear {
        let Index {
            links,
            terms,
            facets,
            order_ms,
        } = (policy.index)(state);
        let lookups = terms
            .iter()
            .flat_map(|term| lookups(term, (policy.ways)(state.kind, term)));
        Clear {
            links: links.into_iter().collect(),
            lookups: lookups.collect(),
            facets: facets.into_iter().map(|facet| (facet, order_ms)).collect(),
        }
    }

    fn targets(&self) -> BTreeSet<RecordId> {
        self.links.iter().map(|(_, target)| *target).collect()
    }

    /// In an order that tells nothing of the words, and each once.
    fn terms(&self, keys: &RowKeys) -> Vec<Term> {
        let mut terms: Vec<Term> = self.lookups.iter().map(|lookup| lookup.blind(keys)).collect();
        terms.sort_unstable();
        terms.dedup();
        terms
    }

    /// What this says and the other does not.
    fn without(&self, other: &Clear) -> Clear {
        Clear {
            links: self.links.difference(&other.links).copied().collect(),
            lookups: self.lookups.difference(&other.lookups).cloned().collect(),
            facets: self.facets.difference(&other.facets).copied().collect(),
        }
    }
}

/// What the index says of one record, as the tables may see it.
struct Blind {
    links: Vec<(FieldId, RecordId)>,
    terms: Vec<Term>,
    facets: Vec<(Facet, i64)>,
}

impl Blind {
    fn of(clear: Clear, keys: &RowKeys) -> Blind {
        Blind {
            terms: clear.terms(keys),
            links: clear.links.into_iter().collect(),
            facets: clear.facets.into_iter().collect(),
        }
    }
}

/// Rows of the index tables.
#[derive(Default)]
struct Rows {
    links: Vec<[Value; 5]>,
    terms: Vec<[Value; 4]>,
    facets: Vec<[Value; 5]>,
}

impl Rows {
    fn add(&mut self, org: [u8; 16], record: RecordId, kind: KindId, said: &Blind) {
        let (record, kind) = (record.0, kind.0);
        let link = |(field, target): &(FieldId, RecordId)| row![org, target.0, kind, field.0, record];
        let term = |term: &Term| row![org, *term, kind, record];
        let facet = |(facet, order_ms): &(Facet, i64)| row![org, record, facet.0, kind, *order_ms];
        self.links.extend(said.links.iter().map(link));
        self.terms.extend(said.terms.iter().map(term));
        self.facets.extend(said.facets.iter().map(facet));
    }

    /// Those that the other has not.
    fn without(&self, other: &Rows) -> Rows {
        Rows {
            links: without(&self.links, &other.links),
            terms: without(&self.terms, &other.terms),
            facets: without(&self.facets, &other.facets),
        }
    }
}

fn without<R: Ord + Clone>(these: &[R], others: &[R]) -> Vec<R> {
    let others: BTreeSet<&R> = others.iter().collect();
    these.iter().filter(|row| !others.contains(row)).cloned().collect()
}

/// What a write makes of one record's rows in the index tables.
pub(super) struct IndexChange {
    record: RecordId,
    kind: KindId,
    linked: BTreeSet<RecordId>,
    linked_before: BTreeSet<RecordId>,
    /// All terms that the record is to have, where they are not those of before.
    terms: Option<Vec<Term>>,
    new: Blind,
    gone: Blind,
}

impl IndexChange {
    /// From what the index says of the state before, if there was one, to what it is to say.
    pub(super) fn of(
        keys: &RowKeys,
        policy: &Policy,
        before: Option<&RecordState>,
        state: &RecordState,
    ) -> IndexChange {
        let was = before.map(|before| Clear::of(policy, before)).unwrap_or_default();
        let is = Clear::of(policy, state);
        let new = Blind::of(is.without(&was), keys);
        let terms = match (is.lookups == was.lookups, was.lookups.is_empty()) {
            (true, _) => None,
            (false, true) => Some(new.terms.clone()),
            (false, false) => Some(is.terms(keys)),
        };
        IndexChange {
            record: state.record,
            kind: state.kind,
            linked: is.targets(),
            linked_before: was.targets(),
            terms,
            new,
            gone: Blind::of(was.without(&is), keys),
        }
    }

    /// The terms one behind the other, for the row of the record's state; `None` where they stay.
    pub(super) fn terms(&self) -> Option<Vec<u8>> {
        self.terms.as_deref().map(<[Term]>::as_flattened).map(<[u8]>::to_vec)
    }
}

impl Txn<'_> {
    /// Writes what has become of the rows of records; those that stay the same are neither read nor touched.
    pub(super) fn put_index(&mut self, changes: Vec<IndexChange>) -> Result<(), DbError> {
        let (mut new, mut gone) = (Rows::default(), Rows::default());
        for change in changes {
            let link = (change.record, change.kind);
            self.pending.relink(link, &change.linked_before, &change.linked);
            new.add(self.org, change.record, change.kind, &change.new);
            gone.add(self.org, change.record, change.kind, &change.gone);
        }
        self.replace_rows(gone, new)
    }

    fn replace_rows(&mut self, gone: Rows, new: Rows) -> Result<(), DbError> {
        self.replace("links", LINKS, gone.links, new.links, "DO NOTHING")?;
        self.replace("terms", TERMS, gone.terms, new.terms, "DO NOTHING")?;
        let reorder = "(org, record, facet) DO UPDATE SET order_ms = excluded.order_ms";
        self.replace("facets", FACETS, gone.facets, new.facets, reorder)
    }

    /// `if_there`: what becomes of a new row that the table has already, which the state before did not say.
    fn replace<const WIDTH: usize>(
        &mut self,
        table: &str,
        columns: [&str; WIDTH],
        gone: Vec<[Value; WIDTH]>,
        mut new: Vec<[Value; WIDTH]>,
        if_there: &str,
    ) -> Result<(), DbError> {
        let gone: Vec<Vec<Value>> = gone.into_iter().map(Vec::from).collect();
        self.sql.rows_of_keys(
            &format!("DELETE FROM {table} WHERE org = ?1 AND"),
            self.org,
            &columns,
            &gone,
        )?;
        // In the order of the tree that they go into, and each once.
        new.sort_unstable();
        new.dedup();
        let insert = format!("INSERT INTO {table} ({})", columns.join(", "));
        self.sql.put_all(&insert, &new, &format!("ON CONFLICT {if_there}"))?;
        Ok(())
    }

    /// Makes the index anew of the records after this one, at most so many, by what its tables hold of them; gives the last of
    /// them, `None` at the end.
    pub fn index_anew(&mut self, after: RecordId, at_most: usize) -> Result<Option<RecordId>, DbError> {
        let rows = self.sql.rows(
            "SELECT record FROM states WHERE org = ?1 AND record > ?2 ORDER BY record LIMIT ?3",
            values![self.org, after.0, at_most],
        )?;
        let records = records(&rows)?;
        // Another process may write them; what is read is what its rows are compared with.
        self.lock(&records.iter().map(|record| record.0).collect::<Vec<_>>())?;
        let states = self.shared_states(records)?;
        let stored: Vec<Value> = states.iter().map(|state| Value::from(state.record.0)).collect();
        let present = Rows {
            links: self.kept_rows("links", LINKS, &stored)?,
            terms: self.kept_terms(&stored)?,
            facets: self.kept_rows("facets", FACETS, &stored)?,
        };
        let mut wanted = Rows::default();
        for state in &states {
            let said = Blind::of(Clear::of(&self.policy, state), self.keys);
            self.sql.run(
                "UPDATE states SET terms = ?3 WHERE org = ?1 AND record = ?2 AND COALESCE(terms, ?4) <> ?3",
                values![self.org, state.record.0, said.terms.as_flattened(), Vec::new()],
            )?;
            wanted.add(self.org, state.record, state.kind, &said);
        }
        // All that are wanted, there or not: of terms only what was said to be written is known.
        self.replace_rows(present.without(&wanted), wanted)?;
        Ok(states.last().map(|state| state.record))
    }

    /// The terms that were written of these records.
    fn kept_terms(&mut self, records: &[Value]) -> Result<Vec<[Value; 4]>, DbError> {
        let rows = self.sql.rows_of(
            "SELECT record, kind, terms FROM states WHERE org = ?1 AND terms IS NOT NULL AND record IN",
            self.org,
            records,
        )?;
        let mut kept = Vec::new();
        for row in &rows {
            let (record, kind): ([u8; 16], u16) = (row.get(0)?, row.get(1)?);
            let terms: Vec<u8> = row.get(2)?;
            let (terms, []) = terms.as_chunks::<16>() else {
                return Err(DbError::Damaged {
                    what: "a record's terms",
                });
            };
            kept.extend(terms.iter().map(|term| row![self.org, *term, kind, record]));
        }
        Ok(kept)
    }

    /// What a table holds of these records.
    fn kept_rows<const WIDTH: usize>(
        &mut self,
        table: &str,
        columns: [&str; WIDTH],
        records: &[Value],
    ) -> Result<Vec<[Value; WIDTH]>, DbError> {
        let before = format!(
            "SELECT {} FROM {table} WHERE org = ?1 AND record IN",
            columns.join(", ")
        );
        let damaged = |_| DbError::Damaged { what: "an index row" };
        let rows = self.sql.rows_of(&before, self.org, records)?.into_iter();
        rows.map(|row| row.0.try_into().map_err(damaged)).collect()
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
    pub fn linked_to(&mut self, target: RecordId, kind: KindId) -> Result<Vec<Arc<RecordState>>, DbError> {
        let links = self.linking_to(target)?.into_iter();
        self.shared_states(links.filter(|(_, of)| *of == kind).map(|(record, _)| record).collect())
    }

    /// Fetches what links to these records, of these kinds, with its states: one way for all of them.
    pub fn fetch_linked(&mut self, targets: &BTreeSet<RecordId>, kinds: &[KindId]) -> Result<(), DbError> {
        self.fetch_links(targets)?;
        let links = targets.iter().filter_map(|target| self.pending.links.get(target));
        let linked = links.flatten().filter(|(_, kind)| kinds.contains(kind));
        self.fetch_states(&linked.map(|(record, _)| *record).collect())
    }

    /// Records of a kind of which, for every word, one of the word's alternatives meets a term. At most
    /// [`FOUND_MAX`]; none when no word is given, or none that can be looked up.
    pub fn search(&mut self, kind: KindId, words: &[Vec<Wanted>]) -> Result<Vec<RecordState>, DbError> {
        let near = self.near(kind, &[words.to_vec()], CANDIDATES_MAX)?;
        let mut found = self.shared_states(near.concat())?;
        found.retain(|state| is_meant(&(self.policy.index)(state).terms, words));
        found.truncate(FOUND_MAX);
        Ok(found.into_iter().map(Arc::unwrap_or_clone).collect())
    }

    /// Of each question the records that meet it by the index alone, for whoever compares them: none where more than so many
    /// do, and of those none is opened. All are asked together, since the way to a store may be long.
    pub fn search_few(
        &mut self,
        kind: KindId,
        questions: &[Vec<Vec<Wanted>>],
        at_most: usize,
    ) -> Result<Vec<Vec<Arc<RecordState>>>, DbError> {
        let mut near = self.near(kind, questions, at_most.saturating_add(1))?;
        near.iter_mut()
            .filter(|found| found.len() > at_most)
            .for_each(Vec::clear);
        self.fetch_states(&near.iter().flatten().copied().collect())?;
        near.into_iter().map(|found| self.shared_states(found)).collect()
    }

    /// Records that may be meant, by their blind terms, of each question.
    fn near(
        &mut self,
        kind: KindId,
        questions: &[Vec<Vec<Wanted>>],
        at_most: usize,
    ) -> Result<Vec<Vec<RecordId>>, DbError> {
        let mut by_shape: BTreeMap<Vec<usize>, Vec<(usize, Vec<Value>)>> = BTreeMap::new();
        for (number, words) in questions.iter().enumerate() {
            let Some(words) = self.blinded(words) else { continue };
            let shape = words.iter().map(Vec::len).collect();
            by_shape.entry(shape).or_default().push((number, words.concat()));
        }
        let mut found = vec![Vec::new(); questions.len()];
        if by_shape.is_empty() {
            return Ok(found);
        }
        self.flush_records()?;
        for (shape, alike) in by_shape {
            for (numbers, terms) in together(&shape, &alike) {
                let asked = [values![self.org, kind.0], &terms].concat();
                for row in self.sql.rows(&text_of(&shape, numbers.len(), at_most), &asked)? {
                    let number = numbers.get(row.get::<usize>(0)?).copied().flatten();
                    if let Some(answer) = number.and_then(|number| found.get_mut(number)) {
                        answer.push(RecordId(row.get(1)?));
                    }
                }
            }
        }
        Ok(found)
    }

    /// The terms that each word is looked up by: one for each alternative, and the last again until there are so many as
    /// other questions have too. A word is left out where an alternative is too short to be looked up. `None` where
    /// nothing can be asked.
    fn blinded(&self, words: &[Vec<Wanted>]) -> Option<Vec<Vec<Value>>> {
        if words.iter().any(Vec::is_empty) {
            return None;
        }
        let blind = |wanted: &Wanted| match wanted {
            Wanted::Exactly(term) => Some(self.keys.blind(TERM, term.as_bytes())),
            Wanted::StartingWith(start) => blind_beginning(self.keys, start),
        };
        let mut blinded: Vec<Vec<Value>> = words
            .iter()
            .filter_map(|word| word.iter().map(|wanted| blind(wanted).map(Value::from)).collect())
            .collect();
        for terms in &mut blinded {
            let filled = terms.len().next_power_of_two();
            terms.extend(std::iter::repeat_n(terms.last().cloned(), filled - terms.len()).flatten());
        }
        blinded.sort_by_key(Vec::len);
        (!blinded.is_empty()).then_some(blinded)
    }

    pub(super) fn states_of(&mut self, records: Vec<RecordId>) -> Result<Vec<RecordState>, DbError> {
        let states = self.shared_states(records)?.into_iter();
        Ok(states.map(Arc::unwrap_or_clone).collect())
    }

    /// The states of records that are there.
    fn shared_states(&mut self, records: Vec<RecordId>) -> Result<Vec<Arc<RecordState>>, DbError> {
        self.fetch_states(&records.iter().copied().collect())?;
        let states = records.into_iter().map(|record| {
            let kept = self.pending.states.get(&record);
            kept.and_then(|kept| kept.state.clone()).ok_or(DbError::Damaged {
                what: "an index row of no record",
            })
        });
        states.collect()
    }
}

/// Cuts questions of one shape into lists that one statement asks together, in few sizes: the numbers of the questions, and
/// their terms. A list is filled up with its last question, whose further answers belong to nobody.
fn together(shape: &[usize], alike: &[(usize, Vec<Value>)]) -> impl Iterator<Item = (Vec<Option<usize>>, Vec<Value>)> {
    let terms: usize = shape.iter().sum();
    let fits = move |size: &usize| size * terms <= TERMS_AT_ONCE;
    let most = QUESTIONS_AT_ONCE.into_iter().rfind(fits).unwrap_or(1);
    alike.chunks(most).map(move |chunk| {
        let mut sizes = QUESTIONS_AT_ONCE.into_iter();
        let size = sizes.find(|size| *size >= chunk.len()).unwrap_or(most);
        let mut numbers: Vec<Option<usize>> = chunk.iter().map(|(number, _)| Some(*number)).collect();
        let mut asked: Vec<Value> = chunk.iter().flat_map(|(_, terms)| terms.clone()).collect();
        for (_, last) in std::iter::repeat_n(chunk.last(), size - chunk.len()).flatten() {
            numbers.push(None);
            asked.extend_from_slice(last);
        }
        (numbers, asked)
    })
}

/// Asks so many questions of one shape. Every term is compared for itself, unless there are very many: a list of them
/// PostgreSQL looks for by walking through all that an organisation has, for as long as it does not know the table.
pub(super) fn text_of(shape: &[usize], questions: usize, at_most: usize) -> String {
    let mut last = 2;
    let mut places = |count: usize| {
        let places: Vec<String> = (last + 1..=last + count).map(|place| format!("?{place}")).collect();
        last += count;
        places
    };
    let one_of = |term: &str| format!("SELECT record FROM terms WHERE org = ?1 AND term {term} AND kind = ?2");
    let mut word = |alternatives: &usize| {
        let places = places(*alternatives);
        if *alternatives > ALONE_MAX {
            return format!(
                "SELECT DISTINCT record FROM ({}) AS word",
                one_of(&format!("IN ({})", places.join(", ")))
            );
        }
        let each: Vec<String> = places.iter().map(|place| one_of(&format!("= {place}"))).collect();
        match each.as_slice() {
            [one] => one.clone(),
            several => format!("SELECT record FROM ({}) AS word", several.join(" UNION ")),
        }
    };
    let question = |number| {
        let words: Vec<String> = shape.iter().map(&mut word).collect();
        format!(
            "SELECT {number} AS question, record FROM ({} ORDER BY record LIMIT {at_most}) AS asked",
            words.join(" INTERSECT ")
        )
    };
    (0..questions).map(question).collect::<Vec<_>>().join(" UNION ALL ")
}

/// Whether every word has an alternative that one of the terms meets. The index only narrows down: it knows no beginning
/// beyond a length, and one blind word may stand for two.
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
