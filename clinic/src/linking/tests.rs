use proptest::prelude::*;
use sync_protocol::author::{self, Stamp};
use sync_protocol::ids::BootId;
use sync_protocol::{ChangeId, Dot, Draft, HybridTime, KindId, Phi, ReplicaId};

use super::*;
use crate::value::PersonName;
use crate::write::{Action, Channel, Writing};

fn id(number: u8) -> RecordId {
    RecordId([number; 16])
}

/// Applies what is written to a new record, each at its own time.
fn written(kind: KindId, record: RecordId, drafts: impl IntoIterator<Item = (u64, Draft)>) -> RecordState {
    let mut state = RecordState::new(kind, record);
    for (at, (wall_ms, draft)) in drafts.into_iter().enumerate() {
        let mut change = record.0;
        change[15] = change[15].wrapping_add(at as u8 + 1);
        let stamp = Stamp {
            change: ChangeId(change),
            salt: [0; 16],
            at: HybridTime { wall_ms, logical: 0 },
            boot: BootId([0; 16]),
            monotonic_ms: 0,
        };
        let dot = Dot {
            replica: ReplicaId(record.0),
            counter: at as u64 + 1,
        };
        let (header, payload) = author::compose(&draft, &stamp, dot, Some(&state), Some(&state)).unwrap();
        state.apply(&header, &payload, |_| true);
    }
    state
}

fn linked(a: RecordId, b: RecordId, standing: LinkStanding) -> RecordState {
    let (left, right) = sides(a, b);
    let writing = Writing::new(link::KIND, link_id(a, b), Action::Link, Channel::Hub.program(), 1)
        .set(link::LEFT, &left)
        .set(link::RIGHT, &right)
        .set(link::STANDING, &standing);
    written(link::KIND, link_id(a, b), [(1, writing.done())])
}

fn person(record: RecordId, named_ms: u64, numbers: &[(&str, &str, &str)]) -> RecordState {
    let writing = || Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 1);
    let name = writing().set(patient::NAME, &Phi::new(PersonName::new("Quill", "Orla")));
    let numbers = numbers.iter().map(|(system, value, kind)| {
        let number = Identifier {
            system: (*system).to_owned(),
            value: (*value).to_owned(),
            kind: (*kind).to_owned(),
        };
        (
            named_ms,
            writing().assert(patient::IDENTIFIER, &Phi::new(number)).done(),
        )
    });
    written(
        patient::KIND,
        record,
        std::iter::once((named_ms, name.done())).chain(numbers),
    )
}

#[test]
fn a_link_has_one_id_whichever_record_is_named_first() {
    assert_eq!(link_id(id(1), id(2)), link_id(id(2), id(1)));
    assert_ne!(link_id(id(1), id(2)), link_id(id(1), id(3)));
}

#[test]
fn only_links_that_stand_join() {
    let links = [
        linked(id(1), id(2), LinkStanding::Linked),
        linked(id(3), id(2), LinkStanding::Linked),
        linked(id(3), id(4), LinkStanding::Proposed),
        linked(id(5), id(1), LinkStanding::Distinct),
    ];

    assert_eq!(cluster(id(1), &links), BTreeSet::from([id(1), id(2), id(3)]));
    assert_eq!(cluster(id(4), &links), BTreeSet::from([id(4)]));
}

#[test]
fn a_link_whose_id_is_not_of_its_ends_joins_nobody() {
    let mut forged = linked(id(1), id(2), LinkStanding::Linked);
    forged.record = link_id(id(1), id(9));

    assert_eq!(joined(&forged), None);
}

#[test]
fn the_record_that_the_ehr_knows_stands_for_the_person() {
    let older = person(id(1), 10, &[]);
    let known = person(id(2), 20, &[(EHR_SYSTEM, "77", EHR_ID_KIND)]);
    let chart_number_only = person(id(3), 5, &[(EHR_SYSTEM, "78", "MR")]);

    assert_eq!(primary(&[older.clone(), known]), Some(id(2)));
    assert_eq!(primary(&[older, chart_number_only]), Some(id(3)));
    assert_eq!(primary::<RecordState>(&[]), None);
}

#[test]
fn of_two_that_the_ehr_does_not_know_the_one_named_first_stands() {
    assert_eq!(primary(&[person(id(1), 20, &[]), person(id(2), 10, &[])]), Some(id(2)));
    assert_eq!(primary(&[person(id(2), 10, &[]), person(id(1), 10, &[])]), Some(id(1)));
}

#[test]
fn a_number_that_two_records_carry_is_listed_once() {
    let one = person(id(1), 1, &[(TEMP_SYSTEM, "T0010013", "TEMP"), ("urn:x", "7", "MR")]);
    let two = person(id(2), 1, &[(TEMP_SYSTEM, "T0010013", "TEMP"), ("urn:x", "8", "MR")]);

    let listed: Vec<_> = identifiers(&[one.clone(), two])
        .into_iter()
        .map(|number| (number.record, number.said.value.expose().value.clone()))
        .collect();

    assert_eq!(
        listed,
        [
            (id(1), "T0010013".to_owned()),
            (id(1), "7".to_owned()),
            (id(2), "8".to_owned())
        ]
    );
    assert_eq!(temp_numbers(&one), BTreeSet::from(["T0010013".to_owned()]));
}

proptest! {
    #[test]
    fn everybody_of_a_cluster_has_the_same_cluster(pairs in proptest::collection::vec((1u8..12, 1u8..12), 0..14)) {
        let links: Vec<_> = pairs
            .into_iter()
            .filter(|(a, b)| a != b)
            .map(|(a, b)| linked(id(a), id(b), LinkStanding::Linked))
            .collect();
        for one in 1..12 {
            let members = cluster(id(one), &links);
            let asked = cluster_in(id(one), |record| {
                Ok::<_, ()>(links.iter().filter(|link| other_end(link, record).is_some()).cloned().collect())
            });
            prop_assert_eq!(asked.as_ref(), Ok(&members));
            for member in &members {
                prop_assert_eq!(&cluster(*member, &links), &members);
            }
        }
    }
}
