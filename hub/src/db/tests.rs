//! The ledger on the real store, driven by the engine.

use clinic::catalogue::{patient, site, staff, visit};
use clinic::flow::VisitState;
use clinic::index::{Facet, Index, Wanted};
use clinic::value::PersonName;
use clinic::{Action, Channel, Writing};
use sync_protocol::change::{Header, Payload, genesis};
use sync_protocol::hub::{HubError, HubLedger, Standing, reason};
use sync_protocol::ids::BootId;
use sync_protocol::wire::{Cursor, Page, PullRequest, PushReply, PushRequest};
use sync_protocol::{Change, Dot, Draft, Hash, HybridTime, KindId, Lane, Phi, RecordState, author, proof};

use super::*;

const SITE: ScopeId = ScopeId([7; 16]);
const OTHER_SITE: ScopeId = ScopeId([8; 16]);

struct Store {
    db: Db,
    key: DataKey,
    place: Place,
    _folder: tempfile::TempDir,
}

fn refuse_visits(header: &Header, payload: &Payload) -> Result<(), u16> {
    if header.kind == visit::KIND {
        Err(900)
    } else {
        clinic::catalogue::admit(header, payload)
    }
}

const WITHOUT_VISITS: Policy = Policy {
    admit: refuse_visits,
    ..Policy::CATALOGUE
};

impl Store {
    fn new(policy: Policy) -> Store {
        let folder = tempfile::tempdir().unwrap();
        let key = DataKey::generate().unwrap();
        let place = Place {
            file: folder.path().join("hub.db"),
            config: Config::default(),
        };
        let db = Db::create(&place, &key, policy).unwrap();
        Store {
            db,
            key,
            place,
            _folder: folder,
        }
    }

    fn reopened(self, policy: Policy) -> Store {
        self.db.close();
        let db = Db::open(&self.place, &self.key, policy).unwrap();
        Store { db, ..self }
    }

    async fn write<T: Send + 'static>(
        &self,
        steps: impl FnMut(&mut Txn<'_>) -> Result<T, HubError<DbError>> + Send + 'static,
    ) -> T {
        self.db.write(steps).await.unwrap()
    }

    async fn push(&self, site: ScopeId, request: PushRequest) -> PushReply {
        self.write(move |txn| txn.push(site, &request)).await.reply
    }

    async fn pull(&self, replica: ReplicaId, from: [u64; 4]) -> Vec<Page> {
        let epoch = self.db.organisation().epoch;
        let cursors = Lane::ALL
            .iter()
            .zip(from)
            .map(|(lane, sequence)| Cursor {
                scope: SITE,
                lane: *lane,
                generation: 0,
                sequence,
            })
            .collect();
        let request = PullRequest {
            willing: Vec::new(),
            epoch,
            replica,
            cursors,
            bytes_max: 100_000,
            wait_ms: 0,
        };
        self.write(move |txn| txn.pull(SITE, &request)).await
    }

    async fn state(&self, record: RecordId) -> Option<RecordState> {
        self.write(move |txn| Ok(txn.state(record)?)).await
    }

    /// Kept bucket sums are what the rows say, in every lane.
    async fn assert_sums_hold(&self, scope: ScopeId) {
        self.write(move |txn| {
            for lane in Lane::ALL {
                let (kept, rows) = (txn.bucket_sums(scope, lane)?, txn.recomputed_sums(scope, lane)?);
                assert_eq!(
                    proof::root(scope, lane, kept),
                    proof::root(scope, lane, rows),
                    "{lane:?}"
                );
            }
            Ok(())
        })
        .await;
    }
}

/// A replica that only writes.
struct Author {
    replica: ReplicaId,
    epoch: EpochId,
    counter: u64,
    hash: Hash,
    changes: Vec<(u64, Hash, Change)>,
}

impl Author {
    fn new(store: &Store, number: u8) -> Author {
        let replica = ReplicaId([number; 16]);
        let epoch = store.db.organisation().epoch;
        Author {
            replica,
            epoch,
            counter: 0,
            hash: genesis(replica),
            changes: Vec::new(),
        }
    }

    fn write(&mut self, id: u8, draft: &Draft, base: Option<&RecordState>) -> ChangeId {
        let change = ChangeId([id; 16]);
        let stamp = Stamp {
            change,
            salt: [id; 16],
            at: HybridTime {
                wall_ms: 1_000 + u64::from(id),
                logical: 0,
            },
            boot: BootId([1; 16]),
            monotonic_ms: 0,
        };
        let dot = Dot {
            replica: self.replica,
            counter: self.counter + 1,
        };
        let (header, payload) = author::compose(draft, &stamp, dot, base, base).unwrap();
        self.append(Change::new(&header, stamp.salt, &payload));
        change
    }

    fn append(&mut self, change: Change) {
        let before = self.hash;
        self.counter += 1;
        self.hash = change.link(before);
        self.changes.push((self.counter, before, change));
    }

    fn push_after(&self, after: u64) -> PushRequest {
        let run: Vec<_> = self.changes.iter().filter(|(counter, ..)| *counter > after).collect();
        PushRequest {
            epoch: self.epoch,
            replica: self.replica,
            after,
            previous: run.first().map_or(self.hash, |(_, before, _)| *before),
            changes: run.into_iter().map(|(_, _, change)| change.clone()).collect(),
            last: self.hash,
        }
    }
}

fn name(record: RecordId, family: &str, shown: &[ChangeId]) -> Draft {
    Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 1)
        .replace(patient::NAME, &Phi::new(PersonName::new(family, "Ana")), shown)
        .done()
}

fn arrival(record: RecordId) -> Draft {
    Writing::new(visit::KIND, record, Action::Arrive, Channel::Page.program(), 5_000)
        .set(visit::PATIENT, &RecordId([9; 16]))
        .assert(visit::TRANSITION, &VisitState::Arrived)
        .done()
}

#[tokio::test]
async fn two_replicas_that_did_not_see_each_other_both_stand() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn a_run_that_is_sent_again_changes_nothing() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn a_forked_chain_counts_for_nothing_and_hears_the_end_that_is_held() {
    let store = Store::new(Policy::CATALOGUE);
    let (mut one, mut twin) = (Author::new(&store, 1), Author::new(&store, 1));
    one.write(11, &name(RecordId([40; 16]), "Vance", &[]), None);
    twin.write(12, &name(RecordId([41; 16]), "Reyes", &[]), None);
    store.push(SITE, one.push_after(0)).await;

    let reply = store.push(SITE, twin.push_after(0)).await;

    assert_eq!((reply.accepted, reply.hash), (1, one.hash));
    assert_eq!(store.state(RecordId([41; 16])).await, None);
}

#[tokio::test]
async fn what_the_hub_owns_is_set_aside_when_a_site_writes_it() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn a_reborn_replicas_change_is_an_alias_and_takes_effect_once() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn an_id_that_names_another_content_is_set_aside() {
    let store = Store::new(Policy::CATALOGUE);
    let (mut one, mut two) = (Author::new(&store, 1), Author::new(&store, 2));
    one.write(11, &name(RecordId([40; 16]), "Vance", &[]), None);
    two.write(11, &name(RecordId([40; 16]), "Reyes", &[]), None);
    store.push(SITE, one.push_after(0)).await;

    let reply = store.push(SITE, two.push_after(0)).await;

    assert_eq!(reply.quarantined, [(1, reason::ID_REUSED)]);
}

#[tokio::test]
async fn what_is_set_aside_delays_nothing_and_is_applied_by_a_later_version() {
    let store = Store::new(WITHOUT_VISITS);
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

#[tokio::test]
async fn a_change_without_a_readable_header_is_kept_and_counted() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn another_sites_replica_and_scope_are_refused() {
    let store = Store::new(Policy::CATALOGUE);
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
        willing: Vec::new(),
        epoch,
        replica: ReplicaId([3; 16]),
        cursors: vec![cursor],
        bytes_max: 1000,
        wait_ms: 0,
    };
    let own = PullRequest {
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

#[tokio::test]
async fn the_feed_has_no_gap_and_pages_go_on_where_the_last_ended() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn a_page_keeps_its_budget_but_always_moves_on() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn the_hubs_own_changes_go_on_in_one_chain_after_a_restart() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn a_record_enters_a_scope_once_and_then_follows_it() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn the_index_follows_the_state() {
    let store = Store::new(Policy::CATALOGUE);
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

#[tokio::test]
async fn a_search_takes_its_words_as_they_are() {
    let store = Store::new(Policy {
        index: index_of_names,
        ..Policy::CATALOGUE
    });
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

#[tokio::test]
async fn each_incarnation_has_a_series_of_its_own_for_good() {
    let store = Store::new(Policy::CATALOGUE);

    let given = store
        .write(|txn| {
            let first = txn.allot_series(ReplicaId([1; 16]), SITE)?;
            let second = txn.allot_series(ReplicaId([2; 16]), SITE)?;
            Ok((first, second, txn.allot_series(ReplicaId([1; 16]), SITE)?))
        })
        .await;

    assert_eq!(given, (1, 2, 1));
}

#[tokio::test]
async fn a_write_that_fails_or_panics_leaves_nothing_and_the_next_one_goes_on() {
    let store = Store::new(Policy::CATALOGUE);
    let draft = name(RecordId([40; 16]), "Vance", &[]);
    let (refused, faulty) = (draft.clone(), draft.clone());

    let failed: Result<(), HubError<DbError>> = store
        .db
        .write(move |txn| {
            txn.author(&refused, Some(SITE))?;
            Err(HubError::Refused(1))
        })
        .await;
    let panicked: Result<(), HubError<DbError>> = store
        .db
        .write(move |txn| {
            txn.author(&faulty, Some(SITE))?;
            panic!("a fault on purpose")
        })
        .await;
    let written = store.write(move |txn| txn.author(&draft, Some(SITE))).await.unwrap();

    assert!(matches!(failed, Err(HubError::Refused(1))));
    assert!(matches!(panicked, Err(HubError::Ledger(DbError::Panicked))));
    assert_eq!(written.dot.counter, 1);
}

#[tokio::test]
async fn listeners_hear_of_a_commit_with_the_scopes_it_touched_and_of_no_undone_write() {
    let store = Store::new(Policy::CATALOGUE);
    let mut commits = store.db.commits();
    let draft = name(RecordId([40; 16]), "Vance", &[]);
    let undone = draft.clone();

    let _: Result<(), HubError<DbError>> = store
        .db
        .write(move |txn| {
            txn.author(&undone, Some(OTHER_SITE))?;
            Err(HubError::Refused(1))
        })
        .await;
    store.write(move |txn| txn.author(&draft, Some(SITE))).await;

    let heard = commits.try_recv().unwrap();
    assert_eq!(heard, Commit::Scopes(Arc::new(BTreeSet::from([SITE]))));
    assert!(commits.try_recv().is_err());
}

#[tokio::test]
async fn a_kind_nobody_knows_is_kept_for_a_later_version() {
    let store = Store::new(Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let mut draft = name(RecordId([40; 16]), "Vance", &[]);
    draft.kind = KindId(999);
    one.write(11, &draft, None);

    let reply = store.push(SITE, one.push_after(0)).await;

    assert_eq!(reply.quarantined, [(1, clinic::catalogue::reason::UNKNOWN_KIND)]);
}

#[test]
fn another_key_and_a_newer_store_are_refused_and_left_as_they_are() {
    let store = Store::new(Policy::CATALOGUE);
    store.db.close();
    let before = std::fs::read(&store.place.file).unwrap();

    let other = Db::open(&store.place, &DataKey::generate().unwrap(), Policy::CATALOGUE);
    assert!(matches!(other, Err(DbError::Open(OpenError::WrongKeyOrDamaged { .. }))));
    assert!(
        std::fs::read(&store.place.file).unwrap() == before,
        "the file has changed"
    );

    let connection = vault::sqlite::open(&store.place.file, &store.key, Mode::Existing, &Tuning::default()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let newer = Db::open(&store.place, &store.key, Policy::CATALOGUE);
    assert!(matches!(newer, Err(DbError::Newer { stored: 99, .. })));
}

#[tokio::test]
async fn a_lease_has_one_owner_until_it_runs_out() {
    let store = Store::new(Policy::CATALOGUE);
    let db = store.db.clone();
    let (mine, other) = ([1; 16], [2; 16]);

    let (taken, refused, prolonged) = db
        .write(move |txn| {
            let until = txn.now_ms() + 60_000;
            let taken = txn.take_lease(b"work", mine, until)?;
            let refused = txn.take_lease(b"work", other, until)?;
            Ok::<_, DbError>((taken, refused, txn.take_lease(b"work", mine, until + 1)?))
        })
        .await
        .unwrap();
    let after = db
        .write(move |txn| {
            let now = txn.now_ms();
            txn.take_lease(b"work", mine, now)?;
            Ok::<_, DbError>((
                txn.holds_lease(b"work", mine)?,
                txn.take_lease(b"work", other, now + 1)?,
            ))
        })
        .await
        .unwrap();

    assert_eq!((taken, refused, prolonged), (true, false, true));
    assert_eq!(after, (false, true));
}
