//! What is found by what.

use clinic::appointment;
use clinic::value::AppointmentStatus;

use super::super::sql::{Value, values};
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

const NAMES: [&str; 5] = [
    "Vance",
    "Vanderbilt",
    "Van der Vance",
    "O\u{2019}Quiñones",
    "Vance-Vanderbilt",
];

/// Whatever becomes of records, several times in one transaction and with questions in between: the rows that were added and
/// taken out one by one are those that are made of the states anew.
pub(super) async fn rows_that_follow_edits_are_those_that_are_made_anew(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut seed = 7u64;
    let mut dice = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32
    };
    // One whose edits come many in one push, before anything of them is written.
    let mut site = Author::new(&store, 1);
    let mut last = Vec::new();
    for round in 0..60u8 {
        let pushed = site.counter;
        for edit in 0..3u8 {
            let name = name(RecordId([70; 16]), NAMES[dice() as usize % NAMES.len()], &last);
            let id = std::array::from_fn(|place| if place == 0 { round } else { edit });
            last = vec![site.write_as(ChangeId(id), &name, None)];
        }
        store.push(SITE, site.push_after(pushed)).await;
        let edits: Vec<[u32; 3]> = (0..4).map(|_| [dice(), dice(), dice()]).collect();
        store
            .write(move |txn| {
                for edit in &edits {
                    edit_at_hub(txn, *edit)?;
                }
                Ok(())
            })
            .await;

        let kept = store.write(|txn| Ok(index_rows(txn)?)).await;
        index_anew(&store).await;
        assert_eq!(kept, store.write(|txn| Ok(index_rows(txn)?)).await, "round {round}");
    }
    let whole = store.write(|txn| Ok(index_rows(txn)?)).await;
    let counts = whole.each_ref().map(BTreeSet::len);
    assert!(counts[0] > 2 && counts[1] > 20 && counts[2] > 1, "{counts:?}");

    // What is made anew sets right what no edit would: rows that are missing, and those that were written by other rules.
    store
        .write(|txn| {
            let org = txn.org;
            for table in ["links", "terms", "facets"] {
                txn.sql
                    .run(&format!("DELETE FROM {table} WHERE org = ?1"), values![org])?;
            }
            let (stray, of) = ([3u8; 16], patient_of(0).0);
            txn.sql.run(
                "INSERT INTO terms (org, term, kind, record) VALUES (?1, ?2, ?3, ?4)",
                values![org, stray, patient::KIND.0, of],
            )?;
            txn.sql.run(
                "UPDATE states SET terms = ?3 WHERE org = ?1 AND record = ?2",
                values![org, of, stray],
            )?;
            Ok(())
        })
        .await;
    index_anew(&store).await;
    assert_eq!(whole, store.write(|txn| Ok(index_rows(txn)?)).await);
}

fn patient_of(number: u32) -> RecordId {
    RecordId([40 + (number % 5) as u8; 16])
}

/// One of the edits that move rows: names with beginnings in common, telephone numbers, links, lists and their order.
fn edit_at_hub(txn: &mut Txn<'_>, [what, which, value]: [u32; 3]) -> Result<(), HubError<DbError>> {
    let patient = patient_of(which);
    let booking = RecordId([60 + (which % 4) as u8; 16]);
    let shown = |txn: &mut Txn<'_>, record, field| {
        let state = txn.state(record)?;
        Ok::<_, HubError<DbError>>(state.map(|state| state.shown(field)).unwrap_or_default())
    };
    let writing = |kind, record| Writing::new(kind, record, Action::Edit, Channel::Hub.program(), 1);
    let of_patient = writing(patient::KIND, patient);
    let of_booking = writing(appointment::KIND, booking);
    let draft = match what % 6 {
        0 => {
            let name = PersonName::new(NAMES[value as usize % NAMES.len()], "Ana");
            // Now and then in place of nothing, so that two names stand side by side.
            let shown = if value % 7 == 0 {
                Vec::new()
            } else {
                shown(txn, patient, patient::NAME.id)?
            };
            of_patient.replace(patient::NAME, &Phi::new(name), &shown)
        }
        1 => {
            let phone = format!("602 555 01{:02}", value % 12);
            let shown = shown(txn, patient, patient::PHONE.id)?;
            of_patient.replace(patient::PHONE, &Phi::new(phone), &shown)
        }
        2 => {
            let shown = shown(txn, patient, patient::PHONE.id)?;
            of_patient.clear(patient::PHONE, &shown)
        }
        3 => {
            let shown = shown(txn, booking, appointment::PATIENT.id)?;
            of_booking.replace(appointment::PATIENT, &patient_of(value), &shown)
        }
        4 => {
            let shown = shown(txn, booking, appointment::STARTS_MS.id)?;
            of_booking.replace(appointment::STARTS_MS, &i64::from(value % 9), &shown)
        }
        _ => {
            let status = [AppointmentStatus::Booked, AppointmentStatus::Cancelled][value as usize % 2];
            let shown = shown(txn, booking, appointment::STATUS.id)?;
            of_booking.replace(appointment::STATUS, &status, &shown)
        }
    };
    txn.author(&draft.done(), None)?;
    if value % 3 == 0 {
        txn.linked_to(patient, appointment::KIND)?;
    }
    Ok(())
}

async fn index_anew(store: &Store) {
    let mut after = RecordId([0; 16]);
    while let Some(last) = store.write(move |txn| Ok(txn.index_anew(after, 3)?)).await {
        after = last;
    }
}

/// The rows of all three tables; the terms must be those that stand with the records' states.
fn index_rows(txn: &mut Txn<'_>) -> Result<[BTreeSet<Vec<Value>>; 3], DbError> {
    txn.flush()?;
    let org = txn.org;
    let found = txn.sql.rows(
        "SELECT record, kind, terms FROM states WHERE org = ?1 AND terms IS NOT NULL",
        values![org],
    )?;
    let mut with_states = BTreeSet::new();
    for row in &found {
        let (record, kind): ([u8; 16], u16) = (row.get(0)?, row.get(1)?);
        let terms: Vec<u8> = row.get(2)?;
        let (terms, []) = terms.as_chunks::<16>() else {
            panic!("{terms:?}");
        };
        assert!(terms.is_sorted(), "their order tells of the words");
        with_states.extend(terms.iter().map(|term| values![*term, kind, record].to_vec()));
    }
    let mut rows = |named: &str, table: &str| {
        let rows = txn
            .sql
            .rows(&format!("SELECT {named} FROM {table} WHERE org = ?1"), values![org])?;
        Ok::<_, DbError>(rows.into_iter().map(|row| row.0).collect())
    };
    let terms = rows("term, kind, record", "terms")?;
    assert_eq!(terms, with_states);
    Ok([
        rows("target, kind, field, record", "links")?,
        terms,
        rows("record, facet, kind, order_ms", "facets")?,
    ])
}
