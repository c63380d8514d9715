//! The engine's storage, driven by the engine.

use clinic::Identifier;
use sync_protocol::STATE_HELD_MAX_BYTES;
use sync_protocol::wire::{BODY_MAX_BYTES, ReturnRequest, Returned};

use super::*;
use crate::db::sql::values;

pub(super) async fn two_replicas_that_did_not_see_each_other_both_stand(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let (mut one, mut two) = (Author::new(&store, 1), Author::new(&store, 2));
    let record = RecordId([40; 16]);
    one.write(11, &name(record, "Vance", &[]), None);
    two.write(21, &name(record, "Vanze", &[]), None);

    let first = store.push(SITE, one.push_after(0)).await;
    let second = store.push(SITE, two.push_after(0)).await;

    assert_eq!((first.accepted, first.hash, second.accepted), (1, one.hash, 1));
    let state = store.state(record).await.unwrap();
    assert_eq!(state.register(patient::NAME.id).unwrap().values.len(), 2);
    store.assert_sums_hold(SITE).await;
}

pub(super) async fn a_run_that_is_sent_again_changes_nothing(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let record = RecordId([40; 16]);
    one.write(11, &name(record, "Vance", &[]), None);
    one.write(12, &name(record, "Vancer", &[ChangeId([11; 16])]), None);

    store.push(SITE, one.push_after(0)).await;
    let before = (store.state(record).await, store.pull(one.replica, [0; 4]).await);
    let again = store.push(SITE, one.push_after(0)).await;

    assert_eq!(again.accepted, 2);
    assert_eq!(
        (store.state(record).await, store.pull(one.replica, [0; 4]).await),
        before
    );
}

pub(super) async fn a_forked_chain_counts_for_nothing_and_hears_the_end_that_is_held(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let (mut one, mut twin) = (Author::new(&store, 1), Author::new(&store, 1));
    one.write(11, &name(RecordId([40; 16]), "Vance", &[]), None);
    twin.write(12, &name(RecordId([41; 16]), "Reyes", &[]), None);
    store.push(SITE, one.push_after(0)).await;

    let reply = store.push(SITE, twin.push_after(0)).await;

    assert_eq!((reply.accepted, reply.hash), (1, one.hash));
    assert_eq!(store.state(RecordId([41; 16])).await, None);
}

pub(super) async fn what_the_hub_owns_is_set_aside_when_a_site_writes_it(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let record = RecordId([40; 16]);
    let promotes = Writing::new(staff::KIND, record, Action::Edit, Channel::Page.program(), 1)
        .set(staff::LOGIN, &"vance".to_owned())
        .done();
    one.write(11, &promotes, None);

    let reply = store.push(SITE, one.push_after(0)).await;

    assert_eq!(reply.quarantined, [(1, clinic::catalogue::reason::NOT_THE_SITES)]);
    assert!(store.state(record).await.unwrap().register(staff::LOGIN.id).is_none());
}

pub(super) async fn a_reborn_replicas_change_is_an_alias_and_takes_effect_once(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let (mut one, mut reborn) = (Author::new(&store, 1), Author::new(&store, 2));
    let record = RecordId([40; 16]);
    let change = one.write(11, &name(record, "Vance", &[]), None);
    reborn.write(11, &name(record, "Vance", &[]), None);
    store.push(SITE, one.push_after(0)).await;

    let reply = store.push(SITE, reborn.push_after(0)).await;

    assert_eq!((reply.accepted, reply.quarantined.len()), (1, 0));
    let state = store.state(record).await.unwrap();
    assert_eq!(state.register(patient::NAME.id).unwrap().values.len(), 1);
    assert!(state.vector.contains(Dot {
        replica: reborn.replica,
        counter: 1
    }));
    let kept = store.write(move |txn| Ok(txn.find(change)?)).await.unwrap();
    assert_eq!((kept.dot.replica, kept.standing), (one.replica, Standing::Applied));
    store.assert_sums_hold(SITE).await;
}

pub(super) async fn an_id_that_names_another_content_is_set_aside(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let (mut one, mut two) = (Author::new(&store, 1), Author::new(&store, 2));
    one.write(11, &name(RecordId([40; 16]), "Vance", &[]), None);
    two.write(11, &name(RecordId([40; 16]), "Reyes", &[]), None);
    store.push(SITE, one.push_after(0)).await;

    let reply = store.push(SITE, two.push_after(0)).await;

    assert_eq!(reply.quarantined, [(1, reason::ID_REUSED)]);
}

pub(super) async fn what_is_set_aside_delays_nothing_and_is_applied_by_a_later_version(on: On) {
    let store = Store::new(on, WITHOUT_VISITS);
    let mut one = Author::new(&store, 1);
    let (arrived, record) = (RecordId([50; 16]), RecordId([40; 16]));
    one.write(11, &arrival(arrived), None);
    one.write(12, &name(record, "Vance", &[]), None);

    let reply = store.push(SITE, one.push_after(0)).await;

    assert_eq!((reply.accepted, reply.quarantined), (2, vec![(1, 900)]));
    assert!(store.state(record).await.is_some());
    let first = Dot {
        replica: one.replica,
        counter: 1,
    };
    assert!(store.state(arrived).await.unwrap().vector.is_exception(first));
    assert_eq!(store.write(|txn| Ok(txn.site_figures(SITE)?)).await.quarantined, 1);

    let store = store.reopened(Policy::CATALOGUE);
    assert_eq!(
        store.write(|txn| txn.retry_set_aside(clinic::catalogue::VERSION)).await,
        0
    );
    assert_eq!(
        store
            .write(|txn| txn.retry_set_aside(clinic::catalogue::VERSION + 1))
            .await,
        1
    );

    let state = store.state(arrived).await.unwrap();
    assert!(state.vector.contains(first) && state.elements(visit::TRANSITION.id).count() == 1);
    assert_eq!(
        store.write(|txn| Ok(txn.with_facet(Facet::VISIT_OPEN, 10)?)).await,
        [state]
    );
    assert_eq!(store.write(|txn| Ok(txn.site_figures(SITE)?)).await.quarantined, 0);
    store.assert_sums_hold(SITE).await;
}

pub(super) async fn a_change_without_a_readable_header_is_kept_and_counted(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    one.append(Change {
        header: vec![0xff, 0x00],
        salt: [0; 16],
        payload: vec![1],
    });
    one.write(12, &name(RecordId([40; 16]), "Vance", &[]), None);

    let reply = store.push(SITE, one.push_after(0)).await;

    assert_eq!((reply.accepted, reply.quarantined), (2, vec![(1, reason::UNREADABLE)]));
    assert_eq!(store.push(SITE, one.push_after(0)).await.accepted, 2);
    assert_eq!(store.write(|txn| Ok(txn.set_aside()?.len())).await, 0);
}

fn number(record: RecordId, value: &str) -> Draft {
    let number = Identifier {
        system: "RIVERSIDE".to_owned(),
        value: value.to_owned(),
        kind: "MR".to_owned(),
    };
    Writing::new(patient::KIND, record, Action::Message, Channel::Page.program(), 1)
        .assert(patient::IDENTIFIER, &Phi::new(number))
        .done()
}

fn numbered(number: u16) -> ChangeId {
    let mut id = [0xaa; 16];
    id[..2].copy_from_slice(&number.to_be_bytes());
    ChangeId(id)
}

/// Numbers of 300 letters, of which a record holds about 500.
const TOO_MANY: u16 = 700;

pub(super) async fn a_record_that_is_full_sets_aside_what_is_too_much_and_stops_nobody(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let (mut one, mut two) = (Author::new(&store, 1), Author::new(&store, 2));
    let (full, other) = (RecordId([40; 16]), RecordId([41; 16]));
    let mut aside = Vec::new();
    for at in 0..TOO_MANY {
        one.write_as(numbered(at), &number(full, &format!("{at:0300}")), None);
        if (at + 1) % 100 == 0 {
            let from = u64::from(at + 1) - 100;
            aside.extend(store.push(SITE, one.push_after(from)).await.quarantined);
        }
    }

    assert!(aside.iter().all(|(_, why)| *why == reason::RECORD_FULL), "{aside:?}");
    let state = store.state(full).await.unwrap();
    let held = state.elements(patient::IDENTIFIER.id).count();
    assert_eq!(held + aside.len(), usize::from(TOO_MANY));
    assert!(held > 400 && state.to_bytes().len() <= STATE_HELD_MAX_BYTES, "{held}");
    // Whoever writes on it, or on anything else, goes on; and so does every lane of every site.
    two.write(11, &name(full, &"Vance ".repeat(100), &[]), None);
    two.write(12, &name(other, "Ito", &[]), None);
    let reply = store.push(SITE, two.push_after(0)).await;
    assert_eq!((reply.accepted, reply.quarantined), (2, vec![(1, reason::RECORD_FULL)]));
    let mut from = [0; 4];
    let mut pulled = Vec::new();
    for _ in 0..2 {
        for page in store.pull(two.replica, from).await {
            from[page.lane as usize] = page.to;
            pulled.extend(page.rows.iter().map(sync_protocol::wire::Row::record));
        }
    }
    assert_eq!(pulled, [full, other]);
    store.assert_sums_hold(SITE).await;
    let store = store.reopened(Policy::CATALOGUE);
    assert!(store.state(full).await.is_some());
}

pub(super) async fn a_list_that_no_reader_takes_is_set_aside(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let record = RecordId([40; 16]);
    // Ids of changes that never come: the register goes on waiting for them.
    const NAMED_EACH: u16 = 900;
    for at in 0..5 {
        let named: Vec<ChangeId> = (0..NAMED_EACH).map(|id| numbered(at * NAMED_EACH + id)).collect();
        one.write_as(ChangeId([0xb0 + at as u8; 16]), &name(record, "Vance", &named), None);
    }

    let reply = store.push(SITE, one.push_after(0)).await;

    assert_eq!((reply.accepted, reply.quarantined), (5, vec![(5, reason::RECORD_FULL)]));
    let store = store.reopened(Policy::CATALOGUE);
    let state = store.state(record).await.unwrap();
    let waiting = state.register(patient::NAME.id).unwrap().unseen.len();
    assert_eq!(waiting, 4 * usize::from(NAMED_EACH));
    // Another version of the catalogue makes no room.
    let released = store.write(|txn| txn.retry_set_aside(clinic::catalogue::VERSION + 1));
    assert_eq!(released.await, 0);
}

pub(super) async fn a_record_that_is_full_can_be_returned_after_a_restore(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let record = RecordId([40; 16]);
    let mut noise = NOISE;
    for at in 0..150 {
        let value: String = (0..1_800).map(|_| printable(&mut noise)).collect();
        one.write_as(numbered(at), &number(record, &value), None);
    }
    let reply = store.push(SITE, one.push_after(0)).await;
    let aside = &reply.quarantined;
    assert!(
        !aside.is_empty() && aside.iter().all(|(_, why)| *why == reason::RECORD_FULL),
        "{aside:?}"
    );

    let (state, signature) = store
        .write(move |txn| Ok((txn.state(record)?.unwrap(), txn.signature(record)?.unwrap())))
        .await;
    let request = ReturnRequest {
        epoch: store.db.organisation().epoch,
        replica: one.replica,
        acks: Vec::new(),
        states: vec![Returned {
            record,
            state: state.to_bytes(),
            signature,
            scope: Some(SITE),
        }],
    };

    let body = request.encode();
    assert!(body.len() <= BODY_MAX_BYTES, "{} bytes", body.len());
    let request = ReturnRequest::decode(&body).unwrap();
    let taken = store.write(move |txn| txn.take_back(SITE, &request)).await;
    assert_eq!(taken.reply.refused, 0);
    assert_eq!(store.state(record).await, Some(Arc::unwrap_or_clone(state)));
}

const NOISE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The next of a row of letters that hardly pack (xorshift, Marsaglia 2003).
fn printable(noise: &mut u64) -> char {
    *noise ^= *noise << 13;
    *noise ^= *noise >> 7;
    *noise ^= *noise << 17;
    char::from(b' ' + (*noise % 95) as u8)
}

pub(super) async fn another_sites_replica_and_scope_are_refused(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    one.write(11, &name(RecordId([40; 16]), "Vance", &[]), None);
    store.push(SITE, one.push_after(0)).await;
    let (push, epoch, replica) = (one.push_after(1), one.epoch, one.replica);

    let pushed = store.db.write(move |txn| txn.push(OTHER_SITE, &push)).await;
    let cursor = Cursor {
        scope: SITE,
        lane: Lane::Flow,
        generation: 0,
        sequence: 0,
    };
    let request = PullRequest {
        takes_digest: false,
        willing: Vec::new(),
        epoch,
        replica: ReplicaId([3; 16]),
        cursors: vec![cursor],
        bytes_max: 1000,
        wait_ms: 0,
        budgets: BTreeMap::new(),
    };
    let own = PullRequest {
        takes_digest: false,
        willing: Vec::new(),
        replica,
        cursors: Vec::new(),
        ..request.clone()
    };
    let scope = store.db.read(move |txn| txn.pull(OTHER_SITE, &request)).await;
    let chain = store.db.read(move |txn| txn.pull(OTHER_SITE, &own)).await;

    assert!(matches!(pushed, Err(HubError::ForeignReplica)));
    assert!(matches!(scope, Err(HubError::ForeignScope)));
    assert!(matches!(chain, Err(HubError::ForeignReplica)));
}

pub(super) async fn the_feed_has_no_gap_and_pages_go_on_where_the_last_ended(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    for number in 0..20u8 {
        one.write(100 + number, &name(RecordId([number + 1; 16]), "Vance", &[]), None);
    }
    store.push(SITE, one.push_after(0)).await;
    one.write(140, &name(RecordId([1; 16]), "Reyes", &[ChangeId([100; 16])]), None);
    store.push(SITE, one.push_after(20)).await;

    let whole = store.pull(one.replica, [0; 4]).await;
    let flow = whole.iter().find(|page| page.lane == Lane::Flow).unwrap();
    let sequences: Vec<u64> = flow.rows.iter().map(|row| row.sequence).collect();

    // The first record's row moved from the head to the tail.
    assert_eq!(sequences, (2..=21).collect::<Vec<_>>());
    assert_eq!((flow.head, flow.to, flow.accepted), (21, 21, 21));
    let sums = store.write(|txn| Ok(txn.recomputed_sums(SITE, Lane::Flow)?)).await;
    assert_eq!(flow.root, Some(proof::root(SITE, Lane::Flow, sums)));

    let rest = store.pull(one.replica, [0, 15, 0, 0]).await;
    let flow = rest.iter().find(|page| page.lane == Lane::Flow).unwrap();
    assert_eq!(
        flow.rows.iter().map(|row| row.sequence).collect::<Vec<_>>(),
        (16..=21).collect::<Vec<_>>()
    );
}

pub(super) async fn a_page_keeps_its_budget_but_always_moves_on(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    for number in 0..10u8 {
        one.write(100 + number, &name(RecordId([number + 1; 16]), "Vance", &[]), None);
    }
    store.push(SITE, one.push_after(0)).await;

    let (some, least) = store
        .write(|txn| {
            Ok((
                txn.rows_after(SITE, Lane::Flow, 0, 400)?,
                txn.rows_after(SITE, Lane::Flow, 0, 1)?,
            ))
        })
        .await;

    assert!(some.len() > 1 && some.iter().map(|row| row.bytes).sum::<u64>() <= 400);
    assert_eq!(least.len(), 1);
}

pub(super) async fn the_hubs_own_changes_go_on_in_one_chain_after_a_restart(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let record = RecordId(SITE.0);
    let draft = |name: &str| {
        Writing::new(site::KIND, record, Action::Administer, Channel::Cli.program(), 1)
            .set(site::NAME, &name.to_owned())
            .done()
    };
    let first = draft("Riverside");
    let written = store.write(move |txn| txn.author(&first, Some(SITE))).await.unwrap();
    let store = store.reopened(Policy::CATALOGUE);

    let second = draft("Riverside Clinic");
    let next = store.write(move |txn| txn.author(&second, Some(SITE))).await.unwrap();

    assert_eq!((written.dot.counter, next.dot.counter), (1, 2));
    assert_eq!(written.dot.replica, store.db.organisation().hub_replica);
    let state = store.state(record).await.unwrap();
    let times: Vec<_> = state
        .register(site::NAME.id)
        .unwrap()
        .values
        .values()
        .map(|live| live.origin.at)
        .collect();
    assert_eq!(times.len(), 2);
    assert_ne!(times[0], times[1]);
    store.assert_sums_hold(SITE).await;
}

pub(super) async fn a_record_enters_a_scope_once_and_then_follows_it(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let record = RecordId([40; 16]);
    one.write(11, &name(record, "Vance", &[]), None);
    store.push(SITE, one.push_after(0)).await;

    store
        .write(move |txn| {
            txn.enter(OTHER_SITE, record)?;
            txn.enter(OTHER_SITE, record)
        })
        .await;
    let edit = name(record, "Reyes", &[ChangeId([11; 16])]);
    store.write(move |txn| txn.author(&edit, None)).await.unwrap();

    let heads = store
        .write(|txn| Ok((txn.feed_head(SITE, Lane::Flow)?, txn.feed_head(OTHER_SITE, Lane::Flow)?)))
        .await;
    assert_eq!(heads, ((2, 0), (2, 0)));
    store.assert_sums_hold(SITE).await;
    store.assert_sums_hold(OTHER_SITE).await;
}

pub(super) async fn a_kind_nobody_knows_is_kept_for_a_later_version(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let mut draft = name(RecordId([40; 16]), "Vance", &[]);
    draft.kind = KindId(999);
    one.write(11, &draft, None);

    let reply = store.push(SITE, one.push_after(0)).await;

    assert_eq!(reply.quarantined, [(1, clinic::catalogue::reason::UNKNOWN_KIND)]);
}

/// Rows of each lane in one pull, by how many bytes each has to itself.
async fn rows_by_lane(store: &Store, bytes_max: u64, budgets: &[(Lane, u64)]) -> Vec<(Lane, usize)> {
    let cursors = Lane::ALL.map(|lane| Cursor {
        scope: SITE,
        lane,
        generation: 0,
        sequence: 0,
    });
    let request = PullRequest {
        epoch: store.db.organisation().epoch,
        replica: ReplicaId([3; 16]),
        cursors: cursors.to_vec(),
        bytes_max,
        wait_ms: 0,
        willing: Vec::new(),
        takes_digest: false,
        budgets: budgets.iter().copied().collect(),
    };
    let pages = store.write(move |txn| txn.pull(SITE, &request)).await;
    pages.iter().map(|page| (page.lane, page.rows.len())).collect()
}

pub(super) async fn each_lane_has_a_budget_of_its_own_and_the_rest_goes_to_the_higher_lanes(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    for number in 1..=10 {
        for draft in [
            name(RecordId([number; 16]), "Vance", &[]),
            allergy(RecordId([100 + number; 16])),
        ] {
            store
                .write(move |txn| txn.author(&draft, Some(SITE)))
                .await
                .expect("a change");
        }
    }
    let (safety, flow) = (Lane::Safety, Lane::Flow);
    let (schedule, reference) = ((Lane::Schedule, 0), (Lane::Reference, 0));

    // As ever: the higher lane takes all that it can use, at least a row, and a lane at its head is proven.
    let higher = rows_by_lane(&store, 1, &[]).await;
    assert_eq!(higher, [(safety, 1), schedule, reference]);
    // A budget of one byte is one row.
    let both = rows_by_lane(&store, 2, &[(safety, 1), (flow, 1)]).await;
    assert_eq!(both, [(safety, 1), (flow, 1), schedule, reference]);
    // What nobody has to himself goes to the higher lane.
    let most = rows_by_lane(&store, 1_000, &[(flow, 1)]).await;
    assert!(most[0].1 > 1, "{most:?}");
    assert_eq!(most[1], (flow, 1));
    // A lane of which nothing waits keeps nothing from the others.
    let all = rows_by_lane(&store, 100_000, &[(Lane::Schedule, 99_000)]).await;
    assert_eq!(all[..2], [(safety, 10), (flow, 10)]);
    // More than there is to give: each has its share.
    let shared = rows_by_lane(&store, 2, &[(safety, 1_000), (flow, 1_000)]).await;
    assert_eq!(shared[..2], [(safety, 1), (flow, 1)]);
}

fn allergy(record: RecordId) -> Draft {
    use clinic::catalogue::allergy;
    use clinic::value::AllergyStatement;
    let statement = AllergyStatement {
        substance: "Penicillin".to_owned(),
        ..AllergyStatement::default()
    };
    let writing = Writing::new(allergy::KIND, record, Action::AddAllergy, Channel::Page.program(), 1);
    writing
        .set(allergy::PATIENT, &RecordId([1; 16]))
        .assert(allergy::STATEMENT, &Phi::new(statement))
        .done()
}

pub(super) async fn what_a_wrong_clock_wrote_is_corrected_or_suspect(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let (early, late) = (RecordId([40; 16]), RecordId([41; 16]));
    let clock = |boot: u8| {
        Some(BootClock {
            boot: BootId([boot; 16]),
            zero_ms: 500_000,
            monotonic_ms: 20,
            wall_ms: 1_050,
        })
    };

    // Brought by a later start, of which alone it is known how wrong its clock is.
    let mut before = Author::new(&store, 7);
    before.write(1, &name(early, "Vance", &[]), None);
    let mut request = before.push_after(0);
    request.clock = clock(2);
    store.push(SITE, request).await;
    // Brought by the start that wrote it.
    let mut now = Author::new(&store, 8);
    now.write(2, &name(late, "Ito", &[]), None);
    let mut request = now.push_after(0);
    request.clock = clock(1);
    store.push(SITE, request).await;

    // Brought by a later start whose clock was set right, with times that have not come yet.
    let right = Some(BootClock {
        wall_ms: 500_020,
        ..clock(4).unwrap()
    });
    let (to_come, passed) = (RecordId([42; 16]), RecordId([43; 16]));
    let mut ahead = Author::new(&store, 9);
    (ahead.boot, ahead.wall_ms) = (BootId([3; 16]), 9_000_000);
    ahead.write(3, &name(to_come, "Okafor", &[]), None);
    let mut request = ahead.push_after(0);
    request.clock = right;
    store.push(SITE, request).await;
    let mut sound = Author::new(&store, 10);
    sound.boot = BootId([3; 16]);
    sound.write(4, &name(passed, "Lindqvist", &[]), None);
    let mut request = sound.push_after(0);
    request.clock = right;
    store.push(SITE, request).await;

    let noted = |state: Option<RecordState>| {
        let state = state.unwrap();
        let register = state.register(patient::NAME.id).unwrap();
        register
            .values
            .values()
            .map(|live| live.origin.clock)
            .collect::<Vec<_>>()
    };
    assert_eq!(noted(store.state(early).await), [Some(ClockFact::Suspect)]);
    assert_eq!(noted(store.state(late).await), [Some(ClockFact::Corrected(500_000))]);
    assert_eq!(noted(store.state(to_come).await), [Some(ClockFact::Suspect)]);
    assert_eq!(noted(store.state(passed).await), [None]);
    store.assert_sums_hold(SITE).await;
}

pub(super) async fn what_came_in_shortly_before_a_backup_waits_for_the_next(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    one.write(11, &name(RecordId([40; 16]), "Vance", &[]), None);
    one.write(12, &name(RecordId([41; 16]), "Ito", &[]), None);
    store.push(SITE, one.push_after(0)).await;
    let replica = one.replica;

    let stable = store
        .write(move |txn| {
            txn.confirm_backup(txn.now_ms())?;
            let at_once = txn.stable(replica)?;
            txn.sql.run(
                "UPDATE changes SET received_ms = received_ms - 3600000 WHERE org = ?1 AND counter = 1",
                values![txn.org],
            )?;
            txn.settle_stable()?;
            Ok((at_once, txn.stable(replica)?))
        })
        .await;

    assert_eq!(stable, (0, 1));
}
