//! Code sets as they are searched: by the beginning of a code or by the beginnings of words. Codes are numbered in the
//! order in which they are offered, so the first that are found are the ones to show. A new version is built beside the
//! one that is searched, takes its place in one step, and then the old one is dropped bit by bit.

use clinic::code_set::{CodeEntry, CodeStanding, code_key};
use rusqlite::{OptionalExtension, params};
use sync_protocol::Hash;

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE code_sets (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    version TEXT NOT NULL,
    standing INTEGER NOT NULL,
    UNIQUE (name, digest)
);
CREATE TABLE codes (
    id INTEGER PRIMARY KEY,
    code_set INTEGER NOT NULL,
    standing INTEGER NOT NULL,
    key TEXT NOT NULL,
    code TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX codes_by_key ON codes (code_set, standing, key);
CREATE VIRTUAL TABLE code_words USING fts5 (
    words,
    content = '',
    contentless_delete = 1,
    detail = 'none',
    prefix = '1 2 3 4 5 6',
    tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO code_words (code_words, rank) VALUES ('automerge', 0);
INSERT INTO code_words (code_words, rank) VALUES ('crisismerge', 1000);";

/// The numbers of one set's codes: far more than a set may have.
const NUMBERS_OF_A_SET: i64 = 1_000_000;
/// Words of one search that count; a person types a handful.
const WORDS_MAX: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeSetStanding {
    Building,
    Searched,
    /// Another version has taken its place.
    Dropping,
}

impl CodeSetStanding {
    const ALL: [CodeSetStanding; 3] = [
        CodeSetStanding::Building,
        CodeSetStanding::Searched,
        CodeSetStanding::Dropping,
    ];
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredCodeSet {
    pub id: i64,
    pub name: String,
    pub digest: Hash,
    pub version: String,
    pub standing: CodeSetStanding,
}

fn first_number(set: i64) -> i64 {
    set.saturating_mul(NUMBERS_OF_A_SET)
}

impl ReadTx<'_> {
    pub fn code_sets(&self) -> Result<Vec<StoredCodeSet>, TxError> {
        let sql = "SELECT id, name, digest, version, standing FROM code_sets ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            let set = (row.get(0)?, row.get(1)?, Hash(row.get(2)?), row.get(3)?);
            Ok((set, usize::from(row.get::<_, u8>(4)?)))
        })?;
        let sets = rows.map(|row| {
            let ((id, name, digest, version), standing) = row?;
            let standing = CodeSetStanding::ALL.get(standing).copied();
            Ok(StoredCodeSet {
                id,
                name,
                digest,
                version,
                standing: standing.ok_or(TxError::Damaged { what: "a code set" })?,
            })
        });
        sets.collect()
    }

    /// How many codes of a set are in its table: it is filled from the first on.
    pub fn codes_built(&self, set: i64) -> Result<u64, TxError> {
        let first = first_number(set);
        let sql = "SELECT COALESCE(MAX(id) + 1 - ?1, 0) FROM codes WHERE id >= ?1 AND id < ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let count: i64 = statement.query_row([first, first + NUMBERS_OF_A_SET], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// Codes of a set that begin as was typed, or whose texts have words that begin as was typed, in any order. The very
    /// code comes first, codes that may be used come before headings. Nothing typed: nothing.
    pub fn search_codes(&self, set: &str, query: &str, limit: u32) -> Result<Vec<CodeEntry>, TxError> {
        let sql = "SELECT id FROM code_sets WHERE name = ?1 AND standing = 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let Some(set): Option<i64> = statement.query_row([set], |row| row.get(0)).optional()? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let key = code_key(query);
        if !key.is_empty() && !query.trim().contains(char::is_whitespace) {
            self.codes_starting(set, &key, limit, &mut found)?;
        }
        self.codes_with_words(set, query, limit, &mut found)?;
        found.truncate(limit as usize);
        Ok(found)
    }

    fn codes_starting(&self, set: i64, key: &str, limit: u32, found: &mut Vec<CodeEntry>) -> Result<(), TxError> {
        let sql = "SELECT code, standing, text FROM codes
                   WHERE code_set = ?1 AND standing = ?2 AND key >= ?3 AND key < ?4 ORDER BY key LIMIT ?5";
        let mut statement = self.connection.prepare_cached(sql)?;
        // No key holds this, so whatever begins with the key lies before it.
        let end = format!("{key}~");
        for standing in CodeStanding::ALL {
            let mut rows = statement.query(params![set, standing as u8, key, end, limit])?;
            while let Some(row) = rows.next()? {
                found.push(read_code(row)?);
            }
        }
        found.sort_by_key(|entry| code_key(&entry.code) != key);
        Ok(())
    }

    fn codes_with_words(&self, set: i64, query: &str, limit: u32, found: &mut Vec<CodeEntry>) -> Result<(), TxError> {
        let words = query
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty());
        let words: Vec<&str> = words.take(WORDS_MAX).collect();
        if words.is_empty() {
            return Ok(());
        }
        // Whole words are read only as far as they are shown, beginnings from all words that begin so: whole ones first.
        for whole in [words.len(), words.len() - 1, 0] {
            if found.len() < limit as usize {
                self.codes_matching(set, &words, whole, limit, found)?;
            }
        }
        Ok(())
    }

    /// Codes with the first so many words as they stand, and the others as beginnings.
    fn codes_matching(
        &self,
        set: i64,
        words: &[&str],
        whole: usize,
        limit: u32,
        found: &mut Vec<CodeEntry>,
    ) -> Result<(), TxError> {
        let wanted = words.iter().enumerate().map(|(place, word)| match place < whole {
            true => format!("\"{word}\""),
            false => format!("\"{word}\"*"),
        });
        let wanted = wanted.collect::<Vec<_>>().join(" AND ");
        let sql = "SELECT c.code, c.standing, c.text FROM
                   (SELECT rowid FROM code_words WHERE code_words MATCH ?1 AND rowid >= ?2 AND rowid < ?3
                    ORDER BY rowid LIMIT ?4) w JOIN codes c ON c.id = w.rowid ORDER BY c.id";
        let first = first_number(set);
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![wanted, first, first + NUMBERS_OF_A_SET, limit])?;
        while let Some(row) = rows.next()? {
            let entry = read_code(row)?;
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
        Ok(())
    }
}

fn read_code(row: &rusqlite::Row<'_>) -> Result<CodeEntry, TxError> {
    let standing = CodeStanding::ALL.get(usize::from(row.get::<_, u8>(1)?)).copied();
    Ok(CodeEntry {
        code: row.get(0)?,
        standing: standing.ok_or(TxError::Damaged { what: "a code" })?,
        text: row.get(2)?,
    })
}

impl WriteTx<'_> {
    /// Begins a version of a set, or goes on with it.
    pub fn begin_code_set(&mut self, name: &str, digest: Hash, version: &str) -> Result<i64, TxError> {
        let sql = "INSERT INTO code_sets (name, digest, version, standing) VALUES (?1, ?2, ?3, 0)
                   ON CONFLICT (name, digest) DO UPDATE SET version = excluded.version";
        self.connection
            .prepare_cached(sql)?
            .execute(params![name, digest.0, version])?;
        let sql = "SELECT id FROM code_sets WHERE name = ?1 AND digest = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params![name, digest.0], |row| row.get(0))?)
    }

    /// Adds codes to a set that is being built; `from` is how many it has before them.
    pub fn add_codes(&mut self, set: i64, from: u64, codes: &[CodeEntry]) -> Result<(), TxError> {
        let add = "INSERT INTO codes (id, code_set, standing, key, code, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut add = self.connection.prepare_cached(add)?;
        let mut words = self
            .connection
            .prepare_cached("INSERT INTO code_words (rowid, words) VALUES (?1, ?2)")?;
        let first = first_number(set) + from.cast_signed();
        for (number, entry) in (first..).zip(codes) {
            let key = code_key(&entry.code);
            add.execute(params![number, set, entry.standing as u8, key, entry.code, entry.text])?;
            words.execute(params![number, format!("{key} {}", entry.text)])?;
        }
        Ok(())
    }

    /// Joins some of what the index of words was written in, about so many pages of it. False when nothing is left to
    /// join. The index never does it by itself: it would take its time in the middle of somebody's write.
    pub fn join_words(&mut self, pages: u32) -> Result<bool, TxError> {
        let before = self.connection.total_changes();
        self.connection
            .prepare_cached("INSERT INTO code_words (code_words, rank) VALUES ('merge', ?1)")?
            .execute([pages])?;
        // The statement counts as one change itself.
        Ok(self.connection.total_changes() - before > 1)
    }

    /// The set is searched from now on, and no other version of it.
    pub fn search_from_now(&mut self, set: i64) -> Result<(), TxError> {
        let sql = "UPDATE code_sets SET standing = CASE WHEN id = ?1 THEN 1 ELSE 2 END
                   WHERE name = (SELECT name FROM code_sets WHERE id = ?1)";
        self.connection.prepare_cached(sql)?.execute([set])?;
        Ok(())
    }

    /// Gives a set up; [`WriteTx::drop_codes`] clears it away.
    pub fn give_up_code_set(&mut self, set: i64) -> Result<(), TxError> {
        self.connection
            .prepare_cached("UPDATE code_sets SET standing = 2 WHERE id = ?1")?
            .execute([set])?;
        Ok(())
    }

    /// Clears away some codes of a set that is given up, and at last the set. False when nothing of it is left.
    pub fn drop_codes(&mut self, set: i64, at_most: u32) -> Result<bool, TxError> {
        let first = first_number(set);
        let last = "SELECT MAX(id) FROM (SELECT id FROM codes WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3)";
        let mut last = self.connection.prepare_cached(last)?;
        let last: Option<i64> = last.query_row(params![first, first + NUMBERS_OF_A_SET, at_most], |row| row.get(0))?;
        let Some(last) = last else {
            self.connection
                .prepare_cached("DELETE FROM code_sets WHERE id = ?1")?
                .execute([set])?;
            return Ok(false);
        };
        for sql in [
            "DELETE FROM code_words WHERE rowid IN (SELECT id FROM codes WHERE id >= ?1 AND id <= ?2)",
            "DELETE FROM codes WHERE id >= ?1 AND id <= ?2",
        ] {
            self.connection.prepare_cached(sql)?.execute([first, last])?;
        }
        Ok(true)
    }
}
