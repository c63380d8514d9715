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
    let store = Store::new(
        on,
        Policy {
            index: index_of_names,
            by_beginning: |_| true,
            ..Policy::CATALOGUE
        },
    );
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

fn index_of_names(state: &RecordState) -> Index {
    let name = patient::NAME.ask(state);
    let terms = name
        .standing()
        .map(|name| name.expose().family.clone())
        .into_iter()
        .collect();
    Index {
        terms,
        ..Index::default()
    }
}
