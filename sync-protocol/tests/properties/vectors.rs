//! The laws of version vectors.

use proptest::prelude::*;
use sync_protocol::{Comparison, Dot, VersionVector};

use crate::generate::{dot, vector};

fn joined(one: &VersionVector, two: &VersionVector) -> VersionVector {
    let mut joined = one.clone();
    joined.join(two);
    joined
}

/// An alias names one change for ever, so no two vectors disagree on one.
fn without_aliases(vector: VersionVector) -> VersionVector {
    VersionVector {
        aliases: Default::default(),
        ..vector
    }
}

proptest! {
    #[test]
    fn join_is_commutative_associative_and_idempotent(one in vector(), two in vector(), three in vector()) {
        let (one, two, three) = (without_aliases(one), without_aliases(two), without_aliases(three));

        prop_assert_eq!(joined(&one, &two), joined(&two, &one));
        prop_assert_eq!(joined(&joined(&one, &two), &three), joined(&one, &joined(&two, &three)));
        prop_assert_eq!(joined(&one, &one), one);
    }

    #[test]
    fn a_join_contains_what_either_side_contains_and_nothing_else(one in vector(), two in vector(), dot in dot()) {
        let both = joined(&one, &two);

        prop_assert_eq!(both.contains(dot), one.contains(dot) || two.contains(dot));
        prop_assert_eq!(both.counted(dot), one.counted(dot) || two.counted(dot));
    }

    #[test]
    fn a_join_is_the_same_as_or_after_each_side(one in vector(), two in vector()) {
        let both = joined(&one, &two);

        prop_assert!(matches!(one.compare(&both), Comparison::Same | Comparison::Before));
        prop_assert!(matches!(both.compare(&two), Comparison::Same | Comparison::After));
    }

    #[test]
    fn to_be_before_means_to_contain_less(one in vector(), two in vector()) {
        let dots: Vec<Dot> = [&one, &two]
            .iter()
            .flat_map(|vector| vector.entries.keys())
            .flat_map(|replica| (1..14).map(|counter| Dot { replica: *replica, counter }))
            .collect();
        let within = |a: &VersionVector, b: &VersionVector| {
            dots.iter().all(|dot| (!a.contains(*dot) || b.contains(*dot)) && (!a.counted(*dot) || b.counted(*dot)))
        };

        let expected = match (within(&one, &two), within(&two, &one)) {
            (true, true) => Comparison::Same,
            (true, false) => Comparison::Before,
            (false, true) => Comparison::After,
            (false, false) => Comparison::Concurrent,
        };
        prop_assert_eq!(one.compare(&two), expected);
    }
}
