//! Delivering one task: match before create, look up before a second attempt, and commit the attempt before its first
//! byte leaves.

use std::sync::Arc;

use clinic::matching::{Identity, Match};
use clinic::task::{Answer, Delivery, DeliveryState, ErrorClass, TaskKind};
use clinic::{room, visit};
use formats::fhir::{Reference, SearchQuery, encode};
use serde_json::Value;
use sync_protocol::hub::HubLedger;
use sync_protocol::{RecordId, RecordState};

use super::failure::Failure;
use super::finding::{Said, find, find_own, own_query, verdict};
use super::journal::{Outcome, StoreError, begin, settle};
use super::merge::merged;
use super::partner::{Cause, Partner, Version, is_id, now};
use super::plan::{
    NOTE_UNKNOWN_PATIENT, Patience, Situation, Task, after_failed_look_up, after_failure, after_nothing_found,
};
use super::resources::{Telling, VISIT_SYSTEM, encounter_resource, identity, patient_resource};
use super::situation::is_known_outside;
use super::turn::Turn;
use crate::db::{Db, DbError, random};
use crate::matching::Matcher;

/// What every delivery works with.
#[derive(Clone)]
pub(super) struct Office {
    pub(super) db: Db,
    pub(super) partner: Arc<Partner>,
    pub(super) patience: Patience,
    pub(super) matcher: Matcher,
}

impl Office {
    pub(super) fn of(&self, turn: Turn) -> Desk {
        Desk {
            office: self.clone(),
            turn,
        }
    }
}

/// One piece of work.
#[derive(Clone)]
pub(super) struct Desk {
    office: Office,
    pub(super) turn: Turn,
}

impl std::ops::Deref for Desk {
    type Target = Office;

    fn deref(&self) -> &Office {
        &self.office
    }
}

/// The EHR is searched for so many of the records that are one person at most.
const RECORDS_ASKED_MAX: usize = 8;

const NOTE_SEVERAL: &str = "several encounters at the EHR carry this visit's number";
const NOTE_ANOTHERS: &str = "the encounter at the EHR is another patient's: put it right there, then try again";
const NOTE_NOT_WHOLE: &str = "the task does not say what to tell";

fn cause(task: &Task) -> Cause {
    Cause {
        task: task.id,
        correlation: task.correlation,
        attempt: task.delivery.attempts,
    }
}

impl Desk {
    /// Does what `Next::Deliver` says.
    pub(super) async fn deliver(&self, now: &Situation, task: &Task) -> Result<(), StoreError> {
        match task.kind {
            TaskKind::RegisterPatient => self.register(now, task).await,
            TaskKind::Encounter => match now.partner_id_for(task) {
                Some(partner_id) => self.tell(now, task, partner_id).await,
                None => self.find_patient(now, task).await,
            },
        }
    }

    /// Does what `Next::LookUp` says: whether an attempt took effect whose answer was lost.
    pub(super) async fn look_up(&self, now: &Situation, task: &Task) -> Result<(), StoreError> {
        let took_effect = match task.kind {
            TaskKind::RegisterPatient => self.look_up_patient(now, task).await?,
            TaskKind::Encounter => self.look_up_encounter(now, task).await?,
        };
        let outcome = match took_effect {
            Ok(Looked::Done(partner_id)) => Outcome::Delivered(partner_id),
            Ok(Looked::Nothing) => Outcome::Changed(after_nothing_found(&task.delivery, self.patience, self::now())),
            Ok(Looked::Anothers) => return self.set_aside(task, NOTE_ANOTHERS).await,
            Err(failure) => Outcome::Changed(after_failed_look_up(
                &task.delivery,
                &failure,
                self.patience,
                self::now(),
                dice()?,
            )),
        };
        settle(self, task, outcome).await
    }

    async fn register(&self, now: &Situation, task: &Task) -> Result<(), StoreError> {
        let Some(record) = self.record(task.patient).await? else {
            return Ok(());
        };
        let matched = match self.match_up(now, task, None).await? {
            Ok(matched) => matched,
            Err(failure) => return self.fail(task, false, failure).await,
        };
        match matched {
            Match::Attach(partner_id) => settle(self, task, Outcome::Delivered(partner_id)).await,
            Match::Ask(candidates) => settle(self, task, Outcome::Ask(candidates)).await,
            Match::Create => self.create_patient(now, task, &record).await,
        }
    }

    async fn match_up(
        &self,
        now: &Situation,
        task: &Task,
        number_by_hand: Option<&str>,
    ) -> Result<Result<Match, Failure>, StoreError> {
        let mut ours = Vec::new();
        for record in now.cluster.iter().take(RECORDS_ASKED_MAX) {
            ours.extend(self.record(*record).await?.as_deref().map(identity));
        }
        Ok(self.match_with(now, task, &ours, number_by_hand).await)
    }

    async fn match_with(
        &self,
        now: &Situation,
        task: &Task,
        ours: &[Identity],
        number_by_hand: Option<&str>,
    ) -> Result<Match, Failure> {
        let answer = task.valid_answer();
        if let Some(Answer::Attach(id)) = answer
            && is_id(id)
            && self.partner.read("Patient", id, cause(task)).await?.is_some()
        {
            return Ok(Match::Attach(id.clone()));
        }
        let mut found = find(&self.partner, ours, &now.cluster, number_by_hand, cause(task)).await?;
        found
            .candidates
            .retain(|one| !now.somebody_else.contains(&one.partner_id));
        let said = Said {
            answer,
            offered: &task.offered,
        };
        Ok(verdict(&found, ours, said, self.matcher.weights()))
    }

    async fn create_patient(&self, now: &Situation, task: &Task, record: &RecordState) -> Result<(), StoreError> {
        let Ok(body) = encode(&patient_resource(record)) else {
            return self.set_aside(task, NOTE_NOT_WHOLE).await;
        };
        let Some((task, begin_before_ms)) = begin(self, task).await? else {
            return Ok(());
        };
        let condition = own_query(&now.cluster);
        let created = self
            .partner
            .create("Patient", body, &condition, cause(&task), begin_before_ms);
        match created.await {
            Ok(created) => self.created(&task, created.id).await,
            Err(failure) => self.fail(&task, true, failure).await,
        }
    }

    /// A partner that took it but does not say under which id is asked.
    async fn created(&self, task: &Task, id: Option<String>) -> Result<(), StoreError> {
        match id {
            Some(id) => settle(self, task, Outcome::Delivered(id)).await,
            None => {
                self.fail(task, true, unknown("the EHR did not say under which id"))
                    .await
            }
        }
    }

    async fn look_up_patient(&self, now: &Situation, task: &Task) -> Result<Result<Looked, Failure>, StoreError> {
        let own = find_own(&self.partner, &now.cluster, cause(task)).await;
        Ok(own.map(|own| match own.as_slice() {
            [one] => Looked::Done(one.clone()),
            // None, or several: the next attempt matches again, and asks.
            _ => Looked::Nothing,
        }))
    }

    /// The registration was entered by hand or withdrawn, so the EHR may know the patient without our knowing under which
    /// id. Nobody is created for an encounter's sake.
    async fn find_patient(&self, now: &Situation, task: &Task) -> Result<(), StoreError> {
        let outcome = match self.match_up(now, task, now.number_by_hand()).await? {
            Ok(Match::Attach(id)) => Outcome::PatientFound(id),
            Ok(Match::Ask(candidates)) => Outcome::Ask(candidates),
            Ok(Match::Create) => Outcome::Changed(Delivery {
                state: DeliveryState::OnHold,
                class: ErrorClass::None,
                at_ms: self::now(),
                note: NOTE_UNKNOWN_PATIENT.to_owned(),
                ..task.delivery.clone()
            }),
            Err(failure) => return self.fail(task, false, failure).await,
        };
        settle(self, task, outcome).await
    }

    /// Tells the partner of the encounter: creates it, or changes what it has.
    async fn tell(&self, now: &Situation, task: &Task, partner_id: &str) -> Result<(), StoreError> {
        let Some(ours) = self.encounter(task, partner_id).await? else {
            return self.set_aside(task, NOTE_NOT_WHOLE).await;
        };
        let theirs = match self.find_encounter(task).await {
            Ok(theirs) => theirs,
            Err(failure) => return self.fail(task, false, failure).await,
        };
        match theirs {
            Theirs::Several => self.set_aside(task, NOTE_SEVERAL).await,
            Theirs::One(_, version) if self.is_anothers(now, &version.resource).await? => {
                self.set_aside(task, NOTE_ANOTHERS).await
            }
            Theirs::One(id, version) => match merged(&version.resource, &ours) {
                None => settle(self, task, Outcome::Delivered(id)).await,
                Some(changed) => {
                    let Some((task, begin_before_ms)) = begin(self, task).await? else {
                        return Ok(());
                    };
                    let body = changed.to_string().into_bytes();
                    match self
                        .partner
                        .update("Encounter", &id, body, &version.etag, cause(&task), begin_before_ms)
                        .await
                    {
                        Ok(()) => settle(self, &task, Outcome::Delivered(id)).await,
                        Err(failure) => self.fail(&task, true, failure).await,
                    }
                }
            },
            Theirs::None => {
                let Some(condition) = visit_query(task) else {
                    return self.set_aside(task, NOTE_NOT_WHOLE).await;
                };
                let Some((task, begin_before_ms)) = begin(self, task).await? else {
                    return Ok(());
                };
                let body = ours.to_string().into_bytes();
                match self
                    .partner
                    .create(
                        "Encounter",
                        body,
                        &condition.to_query_string(),
                        cause(&task),
                        begin_before_ms,
                    )
                    .await
                {
                    Ok(created) if created.is_new => self.created(&task, created.id).await,
                    // It was there after all and says something older.
                    Ok(_) => self.fail(&task, true, unknown("the encounter was there already")).await,
                    Err(failure) => self.fail(&task, true, failure).await,
                }
            }
        }
    }

    async fn look_up_encounter(&self, now: &Situation, task: &Task) -> Result<Result<Looked, Failure>, StoreError> {
        let partner_id = now.partner_id_for(task).map(String::as_str).unwrap_or_default();
        let Some(ours) = self.encounter(task, partner_id).await? else {
            return Ok(Ok(Looked::Nothing));
        };
        let theirs = match self.find_encounter(task).await {
            Ok(theirs) => theirs,
            Err(failure) => return Ok(Err(failure)),
        };
        Ok(Ok(match theirs {
            Theirs::One(_, version) if self.is_anothers(now, &version.resource).await? => Looked::Anothers,
            Theirs::One(id, version) if task.was_delivered() || merged(&version.resource, &ours).is_none() => {
                Looked::Done(id)
            }
            Theirs::One(..) | Theirs::None | Theirs::Several => Looked::Nothing,
        }))
    }

    /// Whether an encounter that carries our visit's number is under a patient whom we know as another person: the records
    /// were linked when it was delivered, and are no longer.
    async fn is_anothers(&self, now: &Situation, encounter: &Value) -> Result<bool, StoreError> {
        let subject = Reference {
            reference: encounter["subject"]["reference"].as_str().map(str::to_owned),
            ..Reference::default()
        };
        let Some(subject) = subject.id_of("Patient").map(str::to_owned) else {
            return Ok(false);
        };
        if now.partner_ids.values().any(|known| *known == subject) {
            return Ok(false);
        }
        let cluster = now.cluster.clone();
        let known = self.db.read(move |txn| is_known_outside(txn, &cluster, &subject));
        Ok(known.await?)
    }

    async fn find_encounter(&self, task: &Task) -> Result<Theirs, Failure> {
        let Some(query) = visit_query(task) else {
            return Ok(Theirs::None);
        };
        let visit = task.visit.map(|visit| visit.to_string());
        let bundle = self
            .partner
            .search("Encounter", &query.to_query_string(), cause(task))
            .await?;
        let ids: Vec<String> = bundle
            .encounters()
            .filter(|encounter| {
                encounter
                    .identifier
                    .iter()
                    .any(|id| id.system.as_deref() == Some(VISIT_SYSTEM) && id.value == visit)
            })
            .filter_map(|encounter| encounter.id.clone().filter(|id| is_id(id)))
            .collect();
        match ids.as_slice() {
            [] => Ok(Theirs::None),
            [one] => match self.partner.read("Encounter", one, cause(task)).await? {
                Some(version) => Ok(Theirs::One(one.clone(), version)),
                None => Err(Failure::Conflict {
                    note: "the encounter was found and is not there".to_owned(),
                }),
            },
            _ => Ok(Theirs::Several),
        }
    }

    /// The encounter as we would have it; `None` when the task does not name a visit and what to tell of it.
    async fn encounter(&self, task: &Task, partner_id: &str) -> Result<Option<Value>, StoreError> {
        let (Some(visit), Some(state)) = (task.visit, task.tells) else {
            return Ok(None);
        };
        let Some(visit) = self.record(visit).await? else {
            return Ok(None);
        };
        let room = match visit::ROOM.value(&visit) {
            Some(room) => self.record(room).await?.and_then(|room| room::NAME.value(&room)),
            None => None,
        };
        let encounter = encounter_resource(&Telling {
            visit: &visit,
            state,
            patient: partner_id,
            room,
        });
        Ok(encode(&encounter)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    async fn record(&self, id: RecordId) -> Result<Option<Arc<RecordState>>, StoreError> {
        self.db.read(move |txn| txn.state(id)).await.map_err(StoreError::from)
    }

    async fn fail(&self, task: &Task, begun: bool, failure: Failure) -> Result<(), StoreError> {
        let delivery = after_failure(&task.delivery, begun, &failure, self.patience, now(), dice()?);
        settle(self, task, Outcome::Changed(delivery)).await
    }

    async fn set_aside(&self, task: &Task, note: &str) -> Result<(), StoreError> {
        let delivery = Delivery {
            state: DeliveryState::SetAside,
            class: ErrorClass::Conflict,
            at_ms: now(),
            note: note.to_owned(),
            ..task.delivery.clone()
        };
        settle(self, task, Outcome::Changed(delivery)).await
    }
}

/// What a look-up has told.
enum Looked {
    /// The attempt took effect; the partner has it under this id.
    Done(String),
    Nothing,
    /// It is there, under another patient.
    Anothers,
}

/// The partner's encounters that carry our visit's number.
enum Theirs {
    None,
    One(String, Version),
    Several,
}

fn visit_query(task: &Task) -> Option<SearchQuery> {
    Some(SearchQuery::new().token("identifier", VISIT_SYSTEM, &task.visit?.to_string()))
}

fn unknown(note: &str) -> Failure {
    Failure::Unknown {
        class: ErrorClass::None,
        note: note.to_owned(),
    }
}

pub(super) fn dice() -> Result<u64, DbError> {
    let mut eight = [0; 8];
    eight.copy_from_slice(&random()?[..8]);
    Ok(u64::from_le_bytes(eight))
}
