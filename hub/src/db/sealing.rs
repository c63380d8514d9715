//! What of a row the store itself cannot read: contents are sealed for their place under the organisation's key, words to
//! search by are blinded. Both engines are given the same.

use clinic::index::Ways;
use sync_protocol::{Change, Dot, RecordId, RecordState};
use vault::RowKeys;

use super::{DbError, Txn};

/// Of a term that may be asked for by its beginning, so many characters are kept as a word of their own. What is longer
/// is looked up by the longest that fits, and compared once it is open; what is shorter than the shortest is no
/// beginning to look up by.
const BEGINNING_CHARS: [usize; 5] = [4, 5, 6, 8, 10];

pub(super) const TERM: &str = "term";
const BEGINNING: &str = "beginning";

impl Txn<'_> {
    /// Seals a content for the row of a table that these parts of its key name.
    pub fn seal(&self, table: &str, key: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, DbError> {
        seal(self.keys, table, key, plain)
    }

    /// Opens what [`Txn::seal`] sealed for the same row.
    pub fn unseal(&self, table: &str, key: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, DbError> {
        unseal(self.keys, table, key, sealed)
    }

    /// A word as the store may see it, for looking rows up by it.
    pub fn blind(&self, purpose: &str, word: &[u8]) -> [u8; 16] {
        self.keys.blind(purpose, word)
    }
}

pub(super) fn seal(keys: &RowKeys, table: &str, key: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, DbError> {
    let place = [&[table.as_bytes()], key].concat();
    keys.seal(&place, plain).map_err(|_| DbError::Random)
}

pub(super) fn unseal(keys: &RowKeys, table: &str, key: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, DbError> {
    let place = [&[table.as_bytes()], key].concat();
    keys.open(&place, sealed)
        .map_err(|_| DbError::Damaged { what: "a sealed row" })
}

pub(super) fn seal_state(keys: &RowKeys, record: RecordId, state: &[u8]) -> Result<Vec<u8>, DbError> {
    seal(keys, "states", &[&record.0], state)
}

/// A record's state, and how long it is in clear.
pub(super) fn unseal_state(keys: &RowKeys, record: RecordId, sealed: &[u8]) -> Result<(RecordState, u64), DbError> {
    let bytes = unseal(keys, "states", &[&record.0], sealed)?;
    let state = RecordState::parse(&bytes).map_err(|_| DbError::Damaged { what: "a record" })?;
    Ok((state, bytes.len() as u64))
}

/// Header, salt and payload as one: the length of the header, then all three.
pub(super) fn seal_change(keys: &RowKeys, dot: Dot, change: &Change) -> Result<Vec<u8>, DbError> {
    let length = (change.header.len() as u32).to_be_bytes();
    let plain = [&length[..], &change.header, &change.salt, &change.payload].concat();
    seal(keys, "changes", &[&dot.replica.0, &dot.counter.to_be_bytes()], &plain)
}

pub(super) fn unseal_change(keys: &RowKeys, dot: Dot, sealed: &[u8]) -> Result<Change, DbError> {
    let plain = unseal(keys, "changes", &[&dot.replica.0, &dot.counter.to_be_bytes()], sealed)?;
    let parts = || {
        let (length, rest) = plain.split_first_chunk::<4>()?;
        let (header, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (salt, payload) = rest.split_first_chunk::<16>()?;
        Some(Change {
            header: header.to_vec(),
            salt: *salt,
            payload: payload.to_vec(),
        })
    };
    parts().ok_or(DbError::Damaged { what: "a change" })
}

/// Something by which a term is looked up, in clear.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lookup {
    purpose: &'static str,
    text: String,
}

impl Lookup {
    pub(super) fn blind(&self, keys: &RowKeys) -> [u8; 16] {
        keys.blind(self.purpose, self.text.as_bytes())
    }
}

/// Everything by which a term is looked up.
pub(super) fn lookups(term: &str, ways: Ways) -> impl Iterator<Item = Lookup> {
    let whole = ways.whole.then(|| Lookup {
        purpose: TERM,
        text: term.to_owned(),
    });
    let asked = ways.beginning.map_or(&[][..], |shortest| {
        let first = BEGINNING_CHARS.iter().rposition(|chars| *chars <= shortest);
        &BEGINNING_CHARS[first.unwrap_or_default()..]
    });
    let beginnings = asked.iter().filter_map(|chars| {
        let text = beginning(term, *chars)?.to_owned();
        let purpose = BEGINNING;
        Some(Lookup { purpose, text })
    });
    whole.into_iter().chain(beginnings)
}

/// By what the terms with this beginning are looked up; `None` where it is too short.
pub(super) fn blind_beginning(keys: &RowKeys, start: &str) -> Option<[u8; 16]> {
    BEGINNING_CHARS
        .iter()
        .rev()
        .find_map(|chars| beginning(start, *chars))
        .map(|start| keys.blind(BEGINNING, start.as_bytes()))
}

/// The first characters of a text that has as many.
fn beginning(text: &str, chars: usize) -> Option<&str> {
    let (last, letter) = text.char_indices().nth(chars - 1)?;
    text.get(..last + letter.len_utf8())
}

#[cfg(test)]
mod tests {
    use sync_protocol::ReplicaId;
    use vault::{DataKey, RowRoot};

    use super::*;

    fn keys() -> RowKeys {
        RowRoot::of(&DataKey::generate().unwrap()).keys_of([1; 16])
    }

    #[test]
    fn a_change_comes_back_as_it_was_and_in_its_own_place_only() {
        let keys = keys();
        let dot = |counter| Dot {
            replica: ReplicaId([2; 16]),
            counter,
        };
        for (header, payload) in [(vec![], vec![]), (vec![1, 2, 3], vec![4])] {
            let change = Change {
                header,
                salt: [9; 16],
                payload,
            };

            let sealed = seal_change(&keys, dot(1), &change).unwrap();

            let opened = unseal_change(&keys, dot(1), &sealed).unwrap();
            assert_eq!(
                (opened.header, opened.salt, opened.payload),
                (change.header, change.salt, change.payload)
            );
            assert!(unseal_change(&keys, dot(2), &sealed).is_err());
        }
    }

    fn blind(keys: &RowKeys, term: &str, ways: Ways) -> Vec<[u8; 16]> {
        lookups(term, ways).map(|lookup| lookup.blind(keys)).collect()
    }

    fn by_beginning(chars: usize) -> Ways {
        Ways {
            whole: false,
            beginning: Some(chars),
        }
    }

    #[test]
    fn of_beginnings_that_nobody_asks_for_none_is_kept() {
        let keys = keys();
        for (shortest, kept) in [(1, 5), (4, 5), (5, 4), (6, 3), (7, 3), (9, 2), (10, 1), (11, 1)] {
            let terms = blind(&keys, "t:6025550142", by_beginning(shortest));

            assert_eq!(terms.len(), kept, "{shortest}");
            let asked = blind_beginning(&keys, &"t:6025550142"[..shortest.clamp(4, 12)]);
            assert!(asked.is_some_and(|asked| terms.contains(&asked)), "{shortest}");
        }
    }

    #[test]
    fn a_beginning_is_looked_up_by_the_longest_that_was_kept() {
        let keys = keys();
        let kept = blind(&keys, "n:o\u{2019}quiñones", by_beginning(1));

        for start in [
            "n:o\u{2019}",
            "n:o\u{2019}q",
            "n:o\u{2019}quiñon",
            "n:o\u{2019}quiñones",
        ] {
            match blind_beginning(&keys, start) {
                Some(blind) => assert!(kept.contains(&blind), "{start}"),
                None => panic!("{start} is not looked up"),
            }
        }
        assert_eq!(blind_beginning(&keys, "n:q"), None);
        assert_eq!(blind(&keys, "n:vance", Ways::WHOLE).len(), 1);
    }
}
