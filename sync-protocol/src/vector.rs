//! Version vectors of records. A vector compares versions and marks what a state contains; it never removes anything.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ChangeId, Dot, ReplicaId};

/// Per replica the counter of its newest change on this record that is in this state; quarantined ones are exceptions;
/// beside it the dots that a reborn replica gave to changes already known under another dot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VersionVector {
    pub entries: BTreeMap<ReplicaId, Entry>,
    pub aliases: BTreeMap<Dot, ChangeId>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    pub upto: u64,
    pub except: BTreeSet<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    Same,
    Before,
    After,
    Concurrent,
}

impl VersionVector {
    /// Whether the change of this dot, which must be on this record, is in the state.
    pub fn contains(&self, dot: Dot) -> bool {
        self.entries
            .get(&dot.replica)
            .is_some_and(|e| dot.counter <= e.upto && !e.except.contains(&dot.counter))
    }

    /// Whether the dot has been counted, be it quarantined.
    pub fn counted(&self, dot: Dot) -> bool {
        self.entries.get(&dot.replica).is_some_and(|e| dot.counter <= e.upto)
    }

    pub fn is_exception(&self, dot: Dot) -> bool {
        self.entries
            .get(&dot.replica)
            .is_some_and(|e| e.except.contains(&dot.counter))
    }

    pub fn add(&mut self, dot: Dot) {
        let entry = self.entries.entry(dot.replica).or_default();
        entry.upto = entry.upto.max(dot.counter);
        entry.except.remove(&dot.counter);
    }

    /// Counts a dot whose content is not in the state.
    pub fn add_exception(&mut self, dot: Dot) {
        let entry = self.entries.entry(dot.replica).or_default();
        entry.upto = entry.upto.max(dot.counter);
        entry.except.insert(dot.counter);
    }

    /// Notes that `dot` is another name of a change that was already counted; as an exception while that is quarantined.
    pub fn add_alias(&mut self, dot: Dot, of: ChangeId, quarantined: bool) {
        if quarantined {
            self.add_exception(dot);
        } else {
            self.add(dot);
        }
        self.aliases.insert(dot, of);
    }

    pub fn compare(&self, other: &VersionVector) -> Comparison {
        match (self.within(other), other.within(self)) {
            (true, true) => Comparison::Same,
            (true, false) => Comparison::Before,
            (false, true) => Comparison::After,
            (false, false) => Comparison::Concurrent,
        }
    }

    fn within(&self, other: &VersionVector) -> bool {
        self.entries.iter().all(|(replica, mine)| {
            other.entries.get(replica).is_some_and(|theirs| {
                mine.upto <= theirs.upto && theirs.except.iter().all(|c| *c > mine.upto || mine.except.contains(c))
            })
        })
    }

    /// What either contains. An exception of one side stands only where the other does not contain the dot.
    pub fn join(&mut self, other: &VersionVector) {
        for (replica, theirs) in &other.entries {
            let mine = self.entries.entry(*replica).or_default();
            let mut except = BTreeSet::new();
            except.extend(
                mine.except
                    .iter()
                    .filter(|c| **c > theirs.upto || theirs.except.contains(c)),
            );
            except.extend(
                theirs
                    .except
                    .iter()
                    .filter(|c| **c > mine.upto || mine.except.contains(c)),
            );
            mine.except = except;
            mine.upto = mine.upto.max(theirs.upto);
        }
        self.aliases.extend(other.aliases.iter().map(|(dot, id)| (*dot, *id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ReplicaId = ReplicaId([1; 16]);
    const B: ReplicaId = ReplicaId([2; 16]);

    fn dot(replica: ReplicaId, counter: u64) -> Dot {
        Dot { replica, counter }
    }

    #[test]
    fn a_quarantined_dot_is_counted_but_not_contained_until_it_is_released() {
        let mut vector = VersionVector::default();
        vector.add_exception(dot(A, 1));
        vector.add(dot(A, 2));

        assert!(vector.counted(dot(A, 1)) && !vector.contains(dot(A, 1)) && vector.contains(dot(A, 2)));

        vector.add(dot(A, 1));
        assert!(vector.contains(dot(A, 1)));
    }

    #[test]
    fn vectors_compare_as_versions() {
        let mut one = VersionVector::default();
        one.add(dot(A, 1));
        let mut two = one.clone();
        two.add(dot(A, 2));
        let mut three = one.clone();
        three.add(dot(B, 1));

        assert_eq!(one.compare(&one), Comparison::Same);
        assert_eq!(one.compare(&two), Comparison::Before);
        assert_eq!(two.compare(&one), Comparison::After);
        assert_eq!(two.compare(&three), Comparison::Concurrent);
    }

    #[test]
    fn a_released_dot_stays_released_in_a_join_with_an_older_state() {
        let mut old = VersionVector::default();
        old.add_exception(dot(A, 1));
        let mut new = old.clone();
        new.add(dot(A, 1));

        let mut joined = old.clone();
        joined.join(&new);
        assert_eq!(joined, new);
        new.join(&old);
        assert_eq!(joined, new);
    }
}
