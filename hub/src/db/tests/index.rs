//! What is found by what.

use super::*;

pub(super) async fn the_index_follows_the_state(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let (record, arrived) = (RecordId([9; 16]), RecordId([50; 16]));
    one.write(11, &name(record, "Vance", &[]), None);
    one.write(12, &arrival(arrived), None);
    store.push(SITE, one.push_after(0)).await;
    let find = async |text: &'static str| {
        store
            .write(move |txn| Ok(txn.search(patient::KIND, &clinic::index::search(text))?.len()))
            .await
    };

    assert_eq!(
        (find("vance").await, find("van ana").await, find("vance bob").await),
        (1, 1, 0)
    );
    assert_eq!(
        store
            .write(move |txn| Ok(txn.linked_to(record, visit::KIND)?.len()))
            .await,
        1
    );

    one.write(13, &name(record, "Quigley", &[ChangeId([11; 16])]), None);
    store.push(SITE, one.push_after(2)).await;

    assert_eq!((find("vance").await, find("quigley").await), (0, 1));
}

pub(super) async fn a_search_takes_its_words_as_they_are(on: On) {
    let store = Store::new(on, WHOLE_NAME);
    let mut one = Author::new(&store, 1);
    one.write(11, &name(RecordId([40; 16]), "100% _x'", &[]), None);
    store.push(SITE, one.push_after(0)).await;
    let find = async |wanted: Wanted| {
        store
            .write(move |txn| Ok(txn.search(patient::KIND, &[vec![wanted.clone()]])?.len()))
            .await
    };

    assert_eq!(find(Wanted::StartingWith("100% _".to_owned())).await, 1);
    assert_eq!(find(Wanted::StartingWith("1%".to_owned())).await, 0);
    assert_eq!(find(Wanted::Exactly("100% _x'".to_owned())).await, 1);
    assert_eq!(find(Wanted::Exactly("100%".to_owned())).await, 0);
}

/// Twenty questions of one word, and others of two words, with alternatives, of too many, and such as cannot be asked.
pub(super) async fn questions_asked_together_are_answered_each_for_itself(on: On) {
    let store = Store::new(on, BY_WORD);
    let mut one = Author::new(&store, 1);
    let people: Vec<String> = (0..20)
        .map(|number| format!("n{number} {}", ["even", "odd"][number % 2]))
        .collect();
    for (number, words) in (0u8..).zip(&people) {
        one.write(100 + number, &name(RecordId([40 + number; 16]), words, &[]), None);
    }
    store.push(SITE, one.push_after(0)).await;
    let exactly = |term: &str| Wanted::Exactly(term.to_owned());
    let mut questions: Vec<Vec<Vec<Wanted>>> = (0..20).map(|n| vec![vec![exactly(&format!("n{n}"))]]).collect();
    questions.extend([
        vec![vec![exactly("odd")], vec![exactly("n1"), exactly("n2"), exactly("n4")]],
        vec![vec![exactly("n5"), exactly("n6"), exactly("nobody")]],
        vec![vec![exactly("odd")]],
        vec![vec![exactly("odd"), exactly("n2")]],
        vec![vec![exactly("nobody")]],
        vec![vec![]],
        vec![],
        vec![
            (0..300)
                .map(|n| exactly(&format!("x{n}")))
                .chain([exactly("n3")])
                .collect(),
        ],
        vec![
            vec![exactly("odd")],
            (0..4)
                .map(|n| exactly(&format!("n{n}")))
                .chain((0..70).map(|n| exactly(&format!("x{n}"))))
                .collect(),
        ],
    ]);

    let asked = questions.clone();
    let (together, alone) = store
        .write(move |txn| {
            let together = txn.search_few(patient::KIND, &asked, 10)?.into_iter();
            let together: Vec<Vec<RecordState>> = together
                .map(|found| found.into_iter().map(Arc::unwrap_or_clone).collect())
                .collect();
            let alone = asked.iter().map(|question| txn.search(patient::KIND, question));
            Ok((together, alone.collect::<Result<Vec<_>, DbError>>()?))
        })
        .await;

    let sizes: Vec<usize> = together.iter().map(Vec::len).collect();
    assert_eq!(sizes[..20], [1; 20]);
    assert_eq!(
        sizes[20..],
        [1, 2, 10, 0, 0, 0, 0, 1, 2],
        "ten and one are more than ten"
    );
    for (number, (together, alone)) in together.iter().zip(&alone).enumerate() {
        assert!(together == alone || number == 23, "question {number}");
    }
    assert_eq!(alone[23].len(), 11);
}

const WHOLE_NAME: Policy = Policy {
    index: |state| named(state, |name| vec![name.to_owned()]),
    ways: |_, _| clinic::index::Ways {
        whole: true,
        beginning: Some(1),
    },
    ..Policy::CATALOGUE
};

const BY_WORD: Policy = Policy {
    index: |state| named(state, |name| name.split(' ').map(str::to_owned).collect()),
    ..Policy::CATALOGUE
};

fn named(state: &RecordState, terms: fn(&str) -> Vec<String>) -> Index {
    let name = patient::NAME.ask(state);
    let terms = name.standing().map(|name| terms(&name.expose().family));
    Index {
        terms: terms.unwrap_or_default(),
        ..Index::default()
    }
}
