//! The store, driven by the engine: one list of tests, run on either of its engines.

use clinic::catalogue::{patient, site, staff, visit};
use clinic::flow::VisitState;
use clinic::index::{Facet, Index, Wanted};
use clinic::value::PersonName;
use clinic::{Action, Channel, Writing};
use sync_protocol::change::{Header, Payload, genesis};
use sync_protocol::hub::{HubError, HubLedger, Standing, reason};
use sync_protocol::ids::BootId;
use sync_protocol::wire::{Cursor, Page, PullRequest, PushReply, PushRequest};
use sync_protocol::{
    BootClock, Change, ClockFact, Dot, Draft, Hash, HybridTime, KindId, Lane, Phi, RecordState, Stamp, author, proof,
};

use ::tests::postgres::Cluster;

use super::*;

const SITE: ScopeId = ScopeId([7; 16]);
const OTHER_SITE: ScopeId = ScopeId([8; 16]);

/// Which engine a test runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum On {
    Embedded,
    Postgres,
}

/// Every test of the list, on both engines.
macro_rules! on_both_engines {
    ($($file:ident: $($test:ident),+;)+) => {
        mod on_the_embedded_engine {
            $($(#[tokio::test] async fn $test() { super::$file::$test(super::On::Embedded).await; })+)+
        }
        mod on_postgresql {
            $($(#[tokio::test] async fn $test() { super::$file::$test(super::On::Postgres).await; })+)+
        }
    };
}

on_both_engines! {
    ledger:
        two_replicas_that_did_not_see_each_other_both_stand,
        a_run_that_is_sent_again_changes_nothing,
        a_forked_chain_counts_for_nothing_and_hears_the_end_that_is_held,
        what_the_hub_owns_is_set_aside_when_a_site_writes_it,
        a_reborn_replicas_change_is_an_alias_and_takes_effect_once,
        an_id_that_names_another_content_is_set_aside,
        what_is_set_aside_delays_nothing_and_is_applied_by_a_later_version,
        a_change_without_a_readable_header_is_kept_and_counted,
        a_record_that_is_full_sets_aside_what_is_too_much_and_stops_nobody,
        a_list_that_no_reader_takes_is_set_aside,
        a_record_that_is_full_can_be_returned_after_a_restore,
        another_sites_replica_and_scope_are_refused,
        the_feed_has_no_gap_and_pages_go_on_where_the_last_ended,
        a_page_keeps_its_budget_but_always_moves_on,
        each_lane_has_a_budget_of_its_own_and_the_rest_goes_to_the_higher_lanes,
        the_hubs_own_changes_go_on_in_one_chain_after_a_restart,
        a_record_enters_a_scope_once_and_then_follows_it,
        a_kind_nobody_knows_is_kept_for_a_later_version,
        what_a_wrong_clock_wrote_is_corrected_or_suspect,
        what_came_in_shortly_before_a_backup_waits_for_the_next;
    index:
        the_index_follows_the_state,
        a_search_takes_its_words_as_they_are,
        questions_asked_together_are_answered_each_for_itself,
        rows_that_follow_edits_are_those_that_are_made_anew;
    leaves:
        a_sum_that_rotted_is_found_and_set_right,
        a_lane_is_looked_at_once_and_what_was_found_stays_known;
    inbound:
        how_far_the_ehr_was_read_and_what_waits_is_kept,
        what_waits_for_a_record_that_the_index_knows_is_found_behind_all_that_waits_for_none,
        a_sources_last_word_is_kept_by_field;
    snapshots:
        a_snapshot_is_made_chunk_by_chunk_and_goes_on_after_a_restart,
        a_snapshot_that_is_too_old_is_given_out_no_more_and_dropped_with_its_chunks,
        a_snapshot_is_refused_to_another_site_and_to_another_epoch;
    writes:
        each_incarnation_has_a_series_of_its_own_for_good,
        a_write_that_fails_or_panics_leaves_nothing_and_the_next_one_goes_on,
        listeners_hear_of_a_commit_with_the_scopes_it_touched_and_of_no_undone_write,
        a_lease_has_one_owner_until_it_runs_out;
    sealed:
        what_one_organisation_has_another_cannot_reach,
        a_row_in_anothers_place_is_damage;
}

mod crossing;
mod encrypted_line;
mod file;
mod inbound;
mod index;
mod leaves;
mod ledger;
mod sealed;
mod snapshots;
mod writes;

struct Store {
    db: Db,
    key: Arc<DataKey>,
    place: Place,
    _folder: tempfile::TempDir,
    cluster: Option<Cluster>,
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
    fn new(on: On, policy: Policy) -> Store {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(DataKey::generate().unwrap());
        let cluster = match on {
            On::Embedded => None,
            On::Postgres => Some(Cluster::start_without_fsync().unwrap()),
        };
        let place = Place {
            file: folder.path().join("hub.db"),
            config: Config {
                postgres: cluster.as_ref().map(Cluster::url),
                ..Config::default()
            },
        };
        let db = Db::create(&place, &key, policy).unwrap();
        Store {
            db,
            key,
            place,
            _folder: folder,
            cluster,
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
            takes_digest: false,
            willing: Vec::new(),
            epoch,
            replica,
            cursors,
            bytes_max: 100_000,
            wait_ms: 0,
            budgets: BTreeMap::new(),
        };
        self.write(move |txn| txn.pull(SITE, &request)).await
    }

    async fn state(&self, record: RecordId) -> Option<RecordState> {
        self.write(move |txn| Ok(txn.state(record)?.map(Arc::unwrap_or_clone)))
            .await
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
    boot: BootId,
    wall_ms: u64,
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
            boot: BootId([1; 16]),
            wall_ms: 1_000,
        }
    }

    fn write(&mut self, id: u8, draft: &Draft, base: Option<&RecordState>) -> ChangeId {
        self.write_as(ChangeId([id; 16]), draft, base)
    }

    fn write_as(&mut self, change: ChangeId, draft: &Draft, base: Option<&RecordState>) -> ChangeId {
        let stamp = Stamp {
            change,
            salt: change.0,
            at: HybridTime {
                wall_ms: self.wall_ms + u64::from(change.0[0]),
                logical: 0,
            },
            boot: self.boot,
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
            acks: Vec::new(),
            clock: None,
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
