//! A lane is held back when too much of what it holds would be altered or removed at once; what is added comes in.

use clinic::catalogue::allergy;
use clinic::value::AllergyStatement;
use sync_protocol::replica::{
    FreezeLimits, LaneWatches, PageOutcome, Taken, Weighing, ask_on, next_pull, pull_after, take_page, thaw,
};
use sync_protocol::wire::Page;
use sync_protocol::{Lane, RecordId};

use super::hub::{Hub, SCOPE, proof_key};
use super::replica::{enrol, push};
use super::*;

const LIMITS: FreezeLimits = FreezeLimits {
    share_percent: 30,
    records_min: 2,
};

/// Asks once, and gives what became of the page of a lane.
fn pull_one(store: &Store, hub: &mut Hub, lane: Lane) -> Taken {
    let request = store
        .write_blocking(Priority::Sync, |tx| {
            let mut request = next_pull(tx, 1 << 20, 0, |_, _| Ok(false))?;
            ask_on(tx, &mut request)?;
            Ok::<_, AuthorError>(request)
        })
        .unwrap();
    let mut taken = None;
    for page in hub.pull(&request) {
        let of = page.lane;
        let outcome = store
            .write_blocking(Priority::Sync, move |tx| take_page(tx, &proof_key(), &LIMITS, &page))
            .unwrap();
        if of == lane {
            taken = Some(outcome);
        }
    }
    taken.unwrap()
}

fn weighed(taken: Taken) -> Weighing {
    match taken {
        Taken::Weighed { weighing, .. } => weighing,
        Taken::Page(outcome) => panic!("{outcome:?}"),
    }
}

/// A site with five patients, all of them the hub's too.
fn filled(site: &Site, hub: &mut Hub) -> Store {
    let store = site.create();
    enrol(&store);
    for number in 1..=5 {
        hub.write(&new_patient(record(number), "Lovelace"));
    }
    assert!(matches!(pull_one(&store, hub, Lane::Flow), Taken::Page(_)));
    store
}

fn phone_of(store: &Store, record: RecordId) -> Option<String> {
    let state = store.read_blocking(move |tx| tx.state(record)).unwrap()?;
    patient::PHONE.value(&state).map(Phi::into_exposed)
}

#[test]
fn a_lane_of_which_too_much_is_altered_waits_for_a_person_and_is_then_applied() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    for number in 1..=3 {
        hub.write(&new_phone(record(number), "602-555-0199"));
    }
    hub.write(&new_patient(record(6), "Byron"));

    let weighing = weighed(pull_one(&store, &mut hub, Lane::Flow));

    assert!(
        weighing.is_frozen && (weighing.altered, weighing.removed, weighing.held) == (3, 0, 5),
        "{weighing:?}"
    );
    assert_eq!(phone_of(&store, record(1)), None);
    let added = store.read_blocking(|tx| tx.state(record(6))).unwrap();
    assert_eq!(added.as_ref(), Some(hub.state(record(6))));
    assert!(weighed(pull_one(&store, &mut hub, Lane::Flow)).is_frozen);

    assert!(
        store
            .write_blocking(Priority::Desk, |tx| thaw(tx, SCOPE, Lane::Flow))
            .unwrap()
    );
    let Taken::Page(PageOutcome::Applied(applied)) = pull_one(&store, &mut hub, Lane::Flow) else {
        panic!("not applied")
    };
    assert_eq!(applied.verified, Some(true));
    assert_eq!(phone_of(&store, record(1)).as_deref(), Some("602-555-0199"));
    assert!(
        !store
            .write_blocking(Priority::Desk, |tx| thaw(tx, SCOPE, Lane::Flow))
            .unwrap()
    );
}

/// Else whoever waits for news of the lanes would ask the hub anew for ever.
#[test]
fn a_lane_that_is_held_back_is_announced_once_and_once_more_when_it_goes_on() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    for number in 1..=3 {
        hub.write(&new_phone(record(number), "602-555-0199"));
    }
    let mut committed = store.committed();
    let mut announced = || {
        std::iter::from_fn(|| committed.try_recv().ok())
            .filter(|news| news.lanes)
            .count()
    };

    let is_frozen = [(); 3].map(|()| weighed(pull_one(&store, &mut hub, Lane::Flow)).is_frozen);
    let held_back = announced();
    let thawed = store.write_blocking(Priority::Desk, |tx| thaw(tx, SCOPE, Lane::Flow));

    assert_eq!((is_frozen, held_back), ([true; 3], 1));
    assert_eq!((thawed.unwrap(), announced()), (true, 1));
}

#[test]
fn what_is_asked_for_beyond_a_page_is_weighed_after_it_and_dropped_once_it_is_decided() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    hub.write(&new_phone(record(1), "602-555-0199"));
    for number in 6..=8 {
        hub.write(&new_patient(record(number), "Byron"));
    }
    let mut question = store
        .write_blocking(Priority::Sync, |tx| next_pull(tx, 1, 0, |_, _| Ok(false)))
        .unwrap();
    question.cursors.retain(|cursor| cursor.lane == Lane::Flow);
    let mut pages = Vec::new();
    while let Some(beyond) = pull_after(&question, &hub.pull(&question)) {
        pages.extend(hub.pull(&question));
        question = beyond;
    }
    pages.extend(hub.pull(&question));
    let take = |page: Page| {
        store
            .write_blocking(Priority::Sync, move |tx| take_page(tx, &proof_key(), &LIMITS, &page))
            .unwrap()
    };

    let last = pages.last().unwrap().clone();
    let weighed: Vec<Weighing> = pages.into_iter().map(|page| weighed(take(page))).collect();

    assert_eq!(weighed.len(), 4);
    assert!(
        weighed.iter().all(|one| (one.altered, one.is_frozen) == (1, false)),
        "{weighed:?}"
    );
    assert_eq!(phone_of(&store, record(1)), None);
    assert_eq!(take(last), Taken::Page(PageOutcome::OtherCursor));
    assert!(matches!(
        pull_one(&store, &mut hub, Lane::Flow),
        Taken::Page(PageOutcome::Applied(_))
    ));
    assert_eq!(phone_of(&store, record(1)).as_deref(), Some("602-555-0199"));
}

#[test]
fn a_lane_that_is_held_back_goes_over_to_a_scope_that_was_rebuilt_and_is_weighed_anew() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    for number in 1..=3 {
        hub.write(&new_phone(record(number), "602-555-0199"));
    }
    assert!(weighed(pull_one(&store, &mut hub, Lane::Flow)).is_frozen);

    hub.rebuild();

    let thrown_away = pull_one(&store, &mut hub, Lane::Flow);
    assert_eq!(thrown_away, Taken::Page(PageOutcome::OtherCursor));
    let weighing = weighed(pull_one(&store, &mut hub, Lane::Flow));
    assert_eq!((weighing.is_frozen, weighing.altered), (true, 3));
    let thawed = store.write_blocking(Priority::Desk, |tx| thaw(tx, SCOPE, Lane::Flow));
    assert!(thawed.unwrap());
    assert!(matches!(
        pull_one(&store, &mut hub, Lane::Flow),
        Taken::Page(PageOutcome::Applied(_))
    ));
    assert_eq!(phone_of(&store, record(1)).as_deref(), Some("602-555-0199"));
}

#[test]
fn a_scope_that_was_rebuilt_is_weighed_however_far_the_lane_had_been_read_before() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    for number in 1..=3 {
        hub.write(&new_phone(record(number), "602-555-0199"));
    }

    hub.rebuild();

    let thrown_away = pull_one(&store, &mut hub, Lane::Flow);
    assert_eq!(thrown_away, Taken::Page(PageOutcome::OtherCursor));
    let weighing = weighed(pull_one(&store, &mut hub, Lane::Flow));
    assert_eq!((weighing.is_frozen, weighing.altered), (true, 3));
    assert_eq!(phone_of(&store, record(1)), None);
}

#[test]
fn a_few_alterations_and_what_was_written_here_hold_nothing_back() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    hub.write(&new_phone(record(1), "602-555-0199"));
    for number in 2..=4 {
        save(&store, new_phone(record(number), "602-555-0100"));
    }
    push(&store, &mut hub);

    let first = weighed(pull_one(&store, &mut hub, Lane::Flow));
    assert!(!first.is_frozen && first.altered == 1, "{first:?}");
    let Taken::Page(PageOutcome::Applied(applied)) = pull_one(&store, &mut hub, Lane::Flow) else {
        panic!("not applied")
    };
    assert_eq!(applied.verified, Some(true));
    assert_eq!(phone_of(&store, record(1)).as_deref(), Some("602-555-0199"));
}

#[test]
fn records_that_leave_are_weighed_and_kept_until_a_person_accepts() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = filled(&site, &mut hub);
    for number in 1..=3 {
        hub.offer(record(number));
    }
    pull_one(&store, &mut hub, Lane::Flow);
    for _ in 0..2 {
        pull_one(&store, &mut hub, Lane::Flow);
    }

    let watch = store
        .write_blocking(Priority::Sync, |tx| LaneWatches::lane_watch(tx, SCOPE, Lane::Flow))
        .unwrap()
        .unwrap();
    let weighing = watch.weighing.unwrap();
    assert!(weighing.is_frozen && weighing.removed == 3, "{weighing:?}");
    assert!(store.read_blocking(|tx| tx.base_of(record(1))).unwrap().is_some());
}

#[test]
fn an_allergy_that_is_added_comes_in_while_its_lane_is_held_back() {
    let (site, mut hub) = (Site::new(), Hub::new());
    let store = site.create();
    enrol(&store);
    let note = |number: u8, substance: &str| {
        let statement = AllergyStatement {
            substance: substance.to_owned(),
            ..AllergyStatement::default()
        };
        Writing::new(
            allergy::KIND,
            record(number),
            Action::AddAllergy,
            Channel::Page.program(),
            1_000,
        )
        .set(allergy::PATIENT, &record(99))
        .assert(allergy::STATEMENT, &Phi::new(statement))
        .done()
    };
    let retract = |hub: &Hub, number: u8| {
        let shown = hub.state(record(number)).shown(allergy::PATIENT.id);
        Writing::new(
            allergy::KIND,
            record(number),
            Action::AddAllergy,
            Channel::Page.program(),
            2_000,
        )
        .replace(allergy::PATIENT, &record(98), &shown)
        .done()
    };
    for number in 1..=4 {
        hub.write(&note(number, "Latex"));
    }
    pull_one(&store, &mut hub, Lane::Safety);
    for number in 1..=3 {
        let draft = retract(&hub, number);
        hub.write(&draft);
    }
    hub.write(&note(4, "Penicillin"));
    hub.write(&note(5, "Aspirin"));

    let weighing = weighed(pull_one(&store, &mut hub, Lane::Safety));

    assert!(weighing.is_frozen && weighing.altered == 3, "{weighing:?}");
    for number in [4, 5] {
        let here = store.read_blocking(move |tx| tx.state(record(number))).unwrap();
        assert_eq!(here.as_ref(), Some(hub.state(record(number))));
    }
    let altered = store.read_blocking(|tx| tx.state(record(1))).unwrap();
    assert_ne!(altered.as_ref(), Some(hub.state(record(1))));
}
