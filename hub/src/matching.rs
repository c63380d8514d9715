//! Which patient records may be one person's. Whoever writes a patient's record asks here, in the same transaction, and
//! what is found alike becomes a link record: proposed where a person has to say, linked where the rule leaves no doubt.
//!
//! What it refuses: to choose between people who are alike; to join by weights; to propose again what a person has
//! called two people; to compare with more than a bounded number.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clinic::linking::{cluster_in, ends, link_id, other_end, sides, standing};
use clinic::matching::{
    Identity, Likeness, Score, Traits, Weights, coverage_questions, judge_own, questions, same_identifier,
};
use clinic::numbering::TEMP_SYSTEM;
use clinic::value::{LinkStanding, ReportText};
use clinic::write::{Action, Channel};
use clinic::{Shown, Writing, coverage, link, patient, result};
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::{Phi, RecordId, RecordState};

use crate::db::{DbError, Txn};

mod config;
mod decision;
mod following;
mod results;

pub use config::Config;
pub use decision::{Decided, Refusal, decide};

pub(crate) type Outcome<T> = Result<T, HubError<DbError>>;

/// Of one patient at most so many are proposed at a time, the most alike first.
const PROPOSALS_MAX: usize = 10;

/// Compares patients by the weights that are configured.
#[derive(Clone, Debug)]
pub struct Matcher(Arc<Settings>);

#[derive(Debug)]
struct Settings {
    weights: Weights,
    candidates_max: usize,
}

/// A patient, and those who may be the same person.
struct Near {
    record: Arc<RecordState>,
    ours: Identity,
    others: Vec<Alike>,
}

/// Somebody who may be the same person.
struct Alike {
    other: Arc<RecordState>,
    likeness: Likeness,
    score: Score,
}

/// Every record that is one person's with this one.
pub fn cluster_of(txn: &mut Txn<'_>, patient: RecordId) -> Result<BTreeSet<RecordId>, DbError> {
    cluster_in(patient, |record| txn.linked_to(record, link::KIND))
}

impl Matcher {
    pub fn weights(&self) -> &Weights {
        &self.0.weights
    }

    /// Looks at records that were written in this transaction: at patients for others that are alike, at links for what
    /// follows from them, and at results for a patient who left the site before they came.
    pub fn consider(&self, txn: &mut Txn<'_>, touched: &[RecordId]) -> Outcome<()> {
        let mut patients = BTreeSet::new();
        for record in touched.iter().collect::<BTreeSet<_>>() {
            let Some(state) = txn.state(*record)? else { continue };
            match state.kind {
                patient::KIND => {
                    patients.insert(state.record);
                }
                coverage::KIND => patients.extend(coverage::PATIENT.value(&state)),
                link::KIND => following::follow(txn, &state)?,
                result::KIND => results::let_bearer_in(txn, &state)?,
                _ => {}
            }
        }
        // First all questions, then all answers: a question that follows a write has that write stored first, alone.
        for near in self.near(txn, patients)? {
            self.judge(txn, near)?;
        }
        Ok(())
    }

    /// Finds who may be the same person as this patient, and writes links for them. Nothing is written where nothing is
    /// new.
    pub fn propose(&self, txn: &mut Txn<'_>, patient: RecordId) -> Outcome<()> {
        for near in self.near(txn, BTreeSet::from([patient]))? {
            self.judge(txn, near)?;
        }
        Ok(())
    }

    /// Patients, each with those who may be the same person; nothing of what is no patient.
    fn near(&self, txn: &mut Txn<'_>, patients: BTreeSet<RecordId>) -> Result<Vec<Near>, DbError> {
        txn.fetch_linked(&patients, &[coverage::KIND])?;
        let mut known = Vec::new();
        for patient in patients {
            if let Some(record) = txn.state(patient)?.filter(|state| state.kind == patient::KIND) {
                let ours = identity(txn, &record)?;
                known.push((record, ours));
            }
        }
        let candidates = self.candidates(txn, &known)?;
        let mut near = Vec::new();
        let mut links = BTreeSet::new();
        // Whoever is near one patient of a push is near others too.
        let mut people = BTreeMap::new();
        for other in candidates.iter().flatten() {
            if let Entry::Vacant(place) = people.entry(other.record) {
                place.insert(identity(txn, other)?);
            }
        }
        let traits: BTreeMap<_, _> = people
            .iter()
            .map(|(record, theirs)| (*record, Traits::of(theirs)))
            .collect();
        for ((record, ours), candidates) in known.into_iter().zip(candidates) {
            let mut others = Vec::new();
            let of_ours = Traits::of(&ours);
            for other in candidates.into_iter().filter(|other| other.record != record.record) {
                let Some(of_theirs) = traits.get(&other.record) else {
                    continue;
                };
                let (likeness, score) = judge_own(&of_ours, of_theirs, &self.0.weights);
                if likeness != Likeness::Unlike {
                    links.insert(link_id(record.record, other.record));
                    others.push(Alike { other, likeness, score });
                }
            }
            near.push(Near { record, ours, others });
        }
        // Another process may be at the same pairs.
        txn.lock(&links.iter().map(|link| link.0).collect::<Vec<_>>())?;
        txn.fetch_states(&links)?;
        Ok(near)
    }

    /// Whom to compare each patient with. Whoever the index finds near, and nobody else. What too many agree in tells nobody
    /// apart, such as a telephone number that stands for none; the fewer agree in something, the more it tells.
    fn candidates(
        &self,
        txn: &mut Txn<'_>,
        known: &[(Arc<RecordState>, Identity)],
    ) -> Result<Vec<Vec<Arc<RecordState>>>, DbError> {
        // The patient is found too.
        let at_most = self.0.candidates_max.saturating_add(1);
        let of_people: Vec<_> = known.iter().map(|(_, ours)| questions(ours)).collect();
        let mut people = txn.search_few(patient::KIND, &of_people.concat(), at_most)?.into_iter();
        let of_payers: Vec<_> = known.iter().map(|(_, ours)| coverage_questions(ours)).collect();
        let covered = txn.search_few(coverage::KIND, &of_payers.concat(), at_most)?;
        let mut covered = covered_people(txn, covered)?.into_iter();
        let mut candidates = Vec::new();
        for (of_people, of_payers) in of_people.iter().zip(&of_payers) {
            let mut answers: Vec<Vec<Arc<RecordState>>> = people.by_ref().take(of_people.len()).collect();
            answers.extend(covered.by_ref().take(of_payers.len()));
            answers.sort_by_key(Vec::len);
            let mut seen = BTreeSet::new();
            let mut found: Vec<Arc<RecordState>> = answers.into_iter().flatten().collect();
            found.retain(|state| seen.insert(state.record));
            found.truncate(at_most);
            candidates.push(found);
        }
        let all = candidates.iter().flatten().map(|other| other.record);
        txn.fetch_linked(&all.collect(), &[coverage::KIND, link::KIND])?;
        Ok(candidates)
    }

    fn judge(&self, txn: &mut Txn<'_>, near: Near) -> Outcome<()> {
        let Near { record, ours, others } = near;
        let cluster = cluster_of(txn, record.record)?;
        let mut by_person: BTreeMap<RecordId, Alike> = BTreeMap::new();
        for found in others {
            if cluster.contains(&found.other.record) {
                continue;
            }
            let Some(person) = cluster_of(txn, found.other.record)?.first().copied() else {
                continue;
            };
            let rank = |one: &Alike| (one.likeness, one.score.total);
            match by_person.get(&person) {
                Some(known) if rank(known) >= rank(&found) => {}
                Some(_) | None => {
                    by_person.insert(person, found);
                }
            }
        }
        self.take_back(txn, &record, &ours)?;
        let certain = by_person
            .values()
            .filter(|one| one.likeness == Likeness::Certain)
            .count();
        let distinct = following::distinct_from(txn, &cluster)?;
        let mut alike: Vec<Alike> = by_person.into_values().collect();
        alike.sort_by_key(|one| (std::cmp::Reverse((one.likeness, one.score.total)), one.other.record));
        for one in alike.into_iter().take(PROPOSALS_MAX) {
            let sure = certain == 1 && one.likeness == Likeness::Certain;
            self.write(txn, &record, &one, sure, &distinct)?;
        }
        Ok(())
    }

    /// Proposals of ours that corrections have made hopeless.
    fn take_back(&self, txn: &mut Txn<'_>, record: &RecordState, ours: &Identity) -> Outcome<()> {
        for state in txn.linked_to(record.record, link::KIND)? {
            if !proposed_by_us(&state) {
                continue;
            }
            let Some(other) = other_end(&state, record.record) else {
                continue;
            };
            let Some(other) = txn.state(other)? else { continue };
            let (likeness, score) = judge_own(&Traits::of(ours), &Traits::of(&identity(txn, &other)?), &self.0.weights);
            if likeness == Likeness::Unlike && score.total < self.0.weights.thresholds.hopeless_below {
                let draft = writing(txn, &state)
                    .clear(link::STANDING, &state.shown(link::STANDING.id))
                    .done();
                txn.author_if_room(&draft, None)?;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        txn: &mut Txn<'_>,
        record: &RecordState,
        alike: &Alike,
        sure: bool,
        distinct: &BTreeSet<RecordId>,
    ) -> Outcome<()> {
        let others = cluster_of(txn, alike.other.record)?;
        let called_distinct = !others.is_disjoint(distinct);
        let (left, right) = sides(record.record, alike.other.record);
        let link = txn.state(link_id(left, right))?;
        let said = link.as_deref().map_or(Shown::Nothing, standing);
        let to = match (&said, link.as_ref()) {
            (Shown::Open { .. }, _) => return Ok(()),
            (Shown::One(one), _) if one.value == LinkStanding::Distinct => {
                if !numbered_since(record, &alike.other, one.entered_ms) {
                    return Ok(());
                }
                LinkStanding::Proposed
            }
            (Shown::One(_), Some(link)) if !proposed_by_us(link) => return Ok(()),
            (Shown::One(_) | Shown::Nothing, _) if called_distinct => return Ok(()),
            (Shown::One(_) | Shown::Nothing, _) if sure => LinkStanding::Linked,
            (Shown::One(_) | Shown::Nothing, _) => LinkStanding::Proposed,
        };
        let link = link.unwrap_or_else(|| Arc::new(RecordState::new(link::KIND, link_id(left, right))));
        if !scored(txn, &link, (left, right), &alike.score, to)? {
            return Ok(());
        }
        tracing::info!(link = %link.record, standing = to.word(), "two patient records may be one person's");
        match (to, txn.state(link.record)?) {
            (LinkStanding::Linked, Some(link)) => following::follow(txn, &link),
            (LinkStanding::Linked | LinkStanding::Proposed | LinkStanding::Distinct, _) => Ok(()),
        }
    }
}

/// Those whose coverages these are.
fn covered_people(txn: &mut Txn<'_>, found: Vec<Vec<Arc<RecordState>>>) -> Result<Vec<Vec<Arc<RecordState>>>, DbError> {
    let of = |coverage: &Arc<RecordState>| coverage::PATIENT.value(coverage);
    txn.fetch_states(&found.iter().flatten().filter_map(of).collect())?;
    let mut people = Vec::new();
    for coverages in found {
        let mut covered = Vec::new();
        for patient in coverages.iter().filter_map(of) {
            let patient = txn.state(patient)?.filter(|state| state.kind == patient::KIND);
            covered.extend(patient);
        }
        people.push(covered);
    }
    Ok(people)
}

/// Writes how alike the two are and how the link stands, where that is new. The link goes wherever either patient is.
fn scored(
    txn: &mut Txn<'_>,
    link: &RecordState,
    (left, right): (RecordId, RecordId),
    score: &Score,
    to: LinkStanding,
) -> Outcome<bool> {
    let mut draft = writing(txn, link);
    if ends(link).is_none() {
        draft = draft.replace(link::LEFT, &left, &link.shown(link::LEFT.id)).replace(
            link::RIGHT,
            &right,
            &link.shown(link::RIGHT.id),
        );
    }
    if standing(link).standing() != Some(&to) {
        draft = draft.replace(link::STANDING, &to, &link.shown(link::STANDING.id));
    }
    let why = Phi::new(ReportText(score.explained()));
    if link::SCORE.value(link) != Some(score.total) {
        draft = draft.replace(link::SCORE, &score.total, &link.shown(link::SCORE.id));
    }
    if link::WHY.value(link).as_ref().map(Phi::expose) != Some(why.expose()) {
        draft = draft.replace(link::WHY, &why, &link.shown(link::WHY.id));
    }
    if draft.is_empty() {
        return Ok(false);
    }
    if txn.author_if_room(&draft.done(), None)?.is_none() {
        return Ok(false);
    }
    following::enter_where_the_ends_are(txn, link.record, (left, right))?;
    Ok(true)
}

fn writing(txn: &Txn<'_>, link: &RecordState) -> Writing {
    let now_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
    Writing::new(link::KIND, link.record, Action::Link, Channel::Hub.program(), now_ms)
}

/// What a patient is known by, with the member ids of their coverages.
fn identity(txn: &mut Txn<'_>, state: &RecordState) -> Result<Identity, DbError> {
    let coverages = txn.linked_to(state.record, coverage::KIND)?;
    Ok(Identity::of_patient(state).covered(coverages.iter().map(AsRef::as_ref)))
}

/// Whether the proposal is the matcher's own; what a person has said stays as it is.
fn proposed_by_us(link: &RecordState) -> bool {
    match standing(link) {
        Shown::One(said) => said.value == LinkStanding::Proposed && said.actor == Channel::Hub.program(),
        Shown::Nothing | Shown::Open { .. } => false,
    }
}

/// Whether a number of one authority has come to be on both records after this time.
fn numbered_since(a: &RecordState, b: &RecordState, since_ms: i64) -> bool {
    let numbers = |state: &RecordState, after: bool| Identity {
        identifiers: patient::IDENTIFIER
            .standing(state)
            .into_iter()
            .filter(|said| !after || said.entered_ms > since_ms)
            .map(|said| said.value.into_exposed())
            .filter(|id| id.system != TEMP_SYSTEM)
            .collect(),
        ..Identity::default()
    };
    same_identifier(&numbers(a, true), &numbers(b, false)) || same_identifier(&numbers(a, false), &numbers(b, true))
}

#[cfg(test)]
mod tests;
