//! What a repair costs: a site that holds so many patients, of which some differ from the hub's, and every body that is sent
//! until both hold the same again. Memory at both ends; the bodies are the real ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clinic::catalogue::patient;
use clinic::value::{BirthDate, PersonName};
use clinic::{Action, Channel, Writing};
use sync_protocol::hub::{self, Rulebook};
use sync_protocol::ids::BootId;
use sync_protocol::proof::ProofKey;
use sync_protocol::replica::{self, RepairOutcome};
use sync_protocol::wire::{PullRequest, RepairReply, RepairRequest};
use sync_protocol::{ChangeId, EpochId, HybridTime, Lane, Phi, RecordId, ReplicaId, ScopeId, Stamp};

use super::hub_store::HubStore;
use super::replica_store::ReplicaStore;
use super::rng::Rng;
use super::world::SEAL;

/// What was sent and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairFigure {
    pub round_trips: usize,
    pub bytes_up: usize,
    pub bytes_down: usize,
    /// The hub's rows of what differed, before compression: what had to be sent in any case.
    pub rows_bytes: u64,
    pub mended: usize,
    pub took: Duration,
}

const SITE: ScopeId = ScopeId([5; 16]);
const LANE: Lane = Lane::Flow;
/// The agent's own budget for a page.
const BYTES_MAX: u64 = 128 * 1024;

/// Lets `differing` of `records` patients differ: a third is missing, the others hold another content.
pub fn repair_figure(records: usize, differing: usize) -> Result<RepairFigure, String> {
    let mut rng = Rng::seeded(7);
    let key = ProofKey::new(&[7; 32]);
    let (epoch, hub_replica) = (EpochId(rng.id()), ReplicaId(rng.id()));
    let mut hub = HubStore::new(epoch, hub_replica, key.clone(), None);
    let rulebook = Rulebook {
        admit: &|_, _| Ok(()),
        lane: &|_| LANE,
        enters_site: &|_| true,
        key: &key,
        seal: SEAL,
    };
    let mut ids = Vec::with_capacity(records);
    for number in 0..records {
        let record = RecordId(rng.id());
        ids.push(record);
        let stamp = Stamp {
            change: ChangeId(rng.id()),
            salt: rng.id(),
            at: HybridTime {
                wall_ms: 1_800_000_000_000 + number as u64,
                logical: 0,
            },
            boot: BootId([1; 16]),
            monotonic_ms: number as u64,
        };
        hub::author_at_hub(&mut hub, &rulebook, &a_patient(record, number), &stamp, Some(SITE)).map_err(said)?;
    }
    let mut agent = ReplicaStore::new(ReplicaId(rng.id()), epoch, SITE);
    fill(&mut agent, &mut hub, &key)?;

    for record in ids.iter().step_by((records / differing).max(1)).take(differing) {
        if record.0[15] % 3 == 0 {
            agent.bases.remove(record);
        } else if let Some((_, base)) = agent.bases.get_mut(record) {
            Arc::make_mut(base)
                .unknown
                .0
                .insert(99, sync_protocol::cbor::Raw::int(1));
        }
    }
    for bucket in 0..=u8::MAX {
        replica::recount(&mut agent, &key, SITE, LANE, bucket).map_err(said)?;
    }
    repair(&mut agent, &mut hub, &key)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn a_patient(record: RecordId, number: usize) -> sync_protocol::Draft {
    let name = PersonName::new(&format!("Family{number}"), &format!("Given{}", number % 97));
    let born = BirthDate::new(1930 + (number % 90) as i16, Some(1 + (number % 12) as i8), Some(7));
    let mut writing = Writing::new(patient::KIND, record, Action::Arrive, Channel::Page.program(), 0)
        .set(patient::NAME, &Phi::new(name))
        .set(patient::PHONE, &Phi::new(format!("(602) 555-{:04}", number % 10_000)));
    if let Some(born) = born {
        writing = writing.set(patient::BIRTH_DATE, &Phi::new(born));
    }
    writing.done()
}

fn fill(agent: &mut ReplicaStore, hub: &mut HubStore, key: &ProofKey) -> Result<(), String> {
    loop {
        let request: PullRequest = replica::next_pull(agent, BYTES_MAX, 0, |_, _| Ok(false)).map_err(said)?;
        let pages = hub::handle_pull(hub, &SEAL, SITE, &[], &request).map_err(said)?;
        let mut is_filled = true;
        for page in &pages {
            is_filled &= page.behind() == 0;
            replica::handle_page(agent, key, page).map_err(said)?;
        }
        if is_filled {
            return Ok(());
        }
    }
}

fn repair(agent: &mut ReplicaStore, hub: &mut HubStore, key: &ProofKey) -> Result<RepairFigure, String> {
    let mut figure = RepairFigure::default();
    let begun = Instant::now();
    loop {
        let asked = replica::next_repair(agent, SITE, LANE, BYTES_MAX).map_err(said)?;
        let asked = asked.ok_or("the lane is not followed")?;
        let reply = ask(hub, key, &asked, &mut figure)?;
        let narrowed = replica::narrow(agent, key, &reply, BYTES_MAX).map_err(said)?;
        let narrowed = narrowed.ok_or("nothing differs")?;
        let page = ask(hub, key, &narrowed, &mut figure)?.page;
        figure.rows_bytes += page.rows.iter().map(|row| row.bytes).sum::<u64>();
        match replica::handle_repair(agent, key, &page).map_err(said)? {
            RepairOutcome::Mended(mended) => {
                figure.mended += mended.applied.records.len();
                if mended.applied.verified == Some(true) {
                    figure.took = begun.elapsed();
                    return Ok(figure);
                }
            }
            other @ (RepairOutcome::OtherCursor | RepairOutcome::NotApplied(_)) => {
                return Err(format!("the repair broke off: {other:?}"));
            }
        }
    }
}

fn ask(
    hub: &mut HubStore,
    key: &ProofKey,
    asked: &RepairRequest,
    figure: &mut RepairFigure,
) -> Result<RepairReply, String> {
    let body = asked.encode();
    figure.round_trips += 1;
    figure.bytes_up += body.len();
    let request = RepairRequest::decode(&body).map_err(said)?;
    let compared = hub::handle_repair(hub, key, &SEAL, SITE, &[], &request).map_err(said)?;
    let body = compared.reply.encode();
    figure.bytes_down += body.len();
    RepairReply::decode(&body).map_err(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_many_records_are_found_and_mended_in_two_round_trips() {
        let figure = repair_figure(2_000, 10).unwrap();

        assert_eq!((figure.mended, figure.round_trips), (10, 2));
        assert!(figure.bytes_up + figure.bytes_down < 16 * 1024, "{figure:?}");
    }
}
