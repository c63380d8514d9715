//! The connector against an EHR that nobody here wrote, through a line that can lose replies, and against a partner that
//! answers whatever a test wants. What happened is judged at the EHR and by the task records.

mod delivering;
mod failing;
mod inbound;
mod matching;
mod reading;
mod scripted;

use std::net::SocketAddr;
use std::time::Duration;

use ::tests::ehr::Ehr;
use ::tests::line::Line;
use clinic::flow::VisitState;
use clinic::numbering::TEMP_SYSTEM;
use clinic::rules::{EHR_SYSTEM, VisitEvent, after_visit, arrive};
use clinic::task::{Answer, Delivery, DeliveryState, Intent, TaskKind, state_of};
use clinic::value::{LinkStanding, Target};
use clinic::write::{Action, Channel};
use clinic::{BirthDate, Identifier, PersonName, Writing, patient, task_record, visit};
use sync_protocol::hub::{Cause, HubLedger, begin_epoch};
use sync_protocol::{Draft, EpochId, Phi, RecordId, RecordState, ReplicaId, ScopeId};
use tempfile::TempDir;

use super::*;
use crate::db::{Place, Policy, Site, random};

const SITE: ScopeId = ScopeId([0x51; 16]);
const PATIENCE: Duration = Duration::from_secs(20);
const ADULT: &str = "1980-12-03";

/// A hub's store with one site, and whatever stands in for the EHR.
struct House {
    db: Db,
    config: Config,
    reach: Reach,
    connector: Option<(Connector, CancellationToken)>,
    folder: TempDir,
}

impl House {
    fn leading_to(ehr: SocketAddr) -> House {
        vault::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            file: folder.path().join("hub.db"),
            config: Default::default(),
        };
        let db = Db::create(&place, &vault::DataKey::generate().unwrap(), Policy::CATALOGUE).unwrap();
        let config = Config {
            base_url: format!("http://{ehr}"),
            attempt_timeout_secs: 5,
            lease_secs: 6,
            retry_backoff_max_secs: 1,
            ..Config::default()
        };
        House {
            db,
            config,
            reach: Reach::default(),
            connector: None,
            folder,
        }
    }

    async fn opened(self) -> House {
        let site = Site {
            scope: SITE,
            name: "Riverside".to_owned(),
            zone: "America/Chicago".to_owned(),
            ehr: Target::Machine,
            seen_ms: None,
        };
        self.db.write(move |txn| txn.add_site(&site)).await.unwrap();
        self
    }

    /// A house whose EHR is the real one, behind a line.
    async fn with_ehr() -> (House, Ehr, Line) {
        let line = Line::lay().await.unwrap();
        let house = House::leading_to(line.address()).opened().await;
        let ehr = Ehr::start(&house.folder.path().join("ehr")).await.unwrap();
        line.lead_to(ehr.address());
        (house, ehr, line)
    }

    fn deliver(&mut self) {
        let stop = CancellationToken::new();
        let connector = Connector::start(
            self.db.clone(),
            &self.config,
            Matcher::default(),
            self.reach.clone(),
            stop.clone(),
        )
        .unwrap();
        self.connector = Some((connector, stop));
    }

    /// As if the hub's power went: nothing is finished, nothing is written.
    async fn pull_the_plug(&mut self) {
        let (connector, _) = self.connector.take().unwrap();
        connector.worker.abort();
        connector.watch.abort();
        let _ = connector.worker.await;
    }

    async fn stop_delivering(&mut self) {
        if let Some((connector, stop)) = self.connector.take() {
            stop.cancel();
            connector.stopped().await;
        }
    }

    async fn stop(mut self) {
        self.stop_delivering().await;
        self.db.close();
    }

    /// Writes drafts and looks at what they touched, as a push does.
    async fn write(&self, drafts: Vec<Draft>) {
        self.db
            .write(move |txn| {
                for draft in &drafts {
                    txn.author(draft, Some(SITE))?;
                }
                let touched: Vec<RecordId> = drafts.iter().map(|draft| draft.record).collect();
                Matcher::default().consider(txn, &touched)
            })
            .await
            .unwrap();
    }

    async fn record(&self, id: RecordId) -> RecordState {
        let state = self.db.read(move |txn| txn.state(id)).await;
        Arc::unwrap_or_clone(state.unwrap().unwrap())
    }

    /// Somebody arrives: a patient, a visit, and the tasks that the rules make of it.
    async fn arrival(&self, person: Person<'_>) -> Arrived {
        let (patient_id, visit_id) = (RecordId(random().unwrap()), RecordId(random().unwrap()));
        let event_ms = now();
        let page = Channel::Page.program();
        let mut writing = Writing::new(patient::KIND, patient_id, Action::Arrive, page, event_ms)
            .set(patient::NAME, &Phi::new(PersonName::parse(person.name)))
            .set(
                patient::BIRTH_DATE,
                &Phi::new(BirthDate::parse(person.birth_date).unwrap()),
            );
        if let Some(phone) = person.phone {
            writing = writing.set(patient::PHONE, &Phi::new(phone.to_owned()));
        }
        let arrival = arrive(visit_id, patient_id, RecordId(SITE.0), page, event_ms)
            .set(visit::REASON, &Phi::new("cough".to_owned()));
        self.write(vec![writing.done(), arrival.done()]).await;
        let arrived = Arrived {
            patient: patient_id,
            visit: visit_id,
        };
        self.write(self.tasks_caused(arrived, None).await).await;
        arrived
    }

    async fn moved(&self, arrived: Arrived, from: VisitState, to: VisitState) {
        let step = Writing::new(visit::KIND, arrived.visit, Action::Move, Channel::Page.program(), now());
        self.write(vec![step.assert(visit::TRANSITION, &to).done()]).await;
        self.write(self.tasks_caused(arrived, Some(from)).await).await;
    }

    async fn tasks_caused(&self, arrived: Arrived, before: Option<VisitState>) -> Vec<Draft> {
        let (patient, visit) = (self.record(arrived.patient).await, self.record(arrived.visit).await);
        let cause = clinic::flow::standing(&visit).unwrap().steps.last().unwrap().change;
        let tasks = self.tasks(arrived.patient).await;
        after_visit(&VisitEvent {
            cause,
            event_ms: now(),
            before,
            visit: &visit,
            patient: &patient,
            tasks: &tasks,
            target: Target::Machine,
        })
    }

    async fn tasks(&self, patient: RecordId) -> Vec<RecordState> {
        let linked = self.db.read(move |txn| txn.linked_to(patient, task_record::KIND)).await;
        linked.unwrap().into_iter().map(Arc::unwrap_or_clone).collect()
    }

    async fn task(&self, patient: RecordId, kind: TaskKind) -> RecordState {
        let tasks = self.tasks(patient).await;
        tasks
            .into_iter()
            .find(|task| task_record::KIND_OF_WORK.value(task) == Some(kind))
            .unwrap()
    }

    async fn registration(&self, arrived: Arrived) -> (Delivery, RecordState) {
        let task = self.task(arrived.patient, TaskKind::RegisterPatient).await;
        let delivery = task_record::DELIVERY.value(&task).unwrap_or_else(situation::not_begun);
        (delivery, task)
    }

    /// The patient's id at the EHR as the record has it.
    async fn partner_id(&self, arrived: Arrived) -> Option<String> {
        let record = self.record(arrived.patient).await;
        let standing = patient::IDENTIFIER
            .standing(&record)
            .into_iter()
            .map(|said| said.value.into_exposed());
        let mut of_ehr = standing.filter(|id| id.system == EHR_SYSTEM);
        of_ehr.next().map(|id| id.value)
    }

    async fn says(&self, task: &RecordState, fill: impl FnOnce(Writing) -> Writing) {
        let writing = Writing::new(
            task_record::KIND,
            task.record,
            Action::ChangeTask,
            Channel::Page.program(),
            now(),
        );
        self.write(vec![fill(writing).done()]).await;
    }

    async fn mints(&self, arrived: Arrived, number: &str) {
        let number = Identifier {
            system: TEMP_SYSTEM.to_owned(),
            value: number.to_owned(),
            kind: "TEMP".to_owned(),
        };
        let page = Channel::Page.program();
        let writing = Writing::new(patient::KIND, arrived.patient, Action::Arrive, page, now());
        self.write(vec![writing.assert(patient::IDENTIFIER, &Phi::new(number)).done()])
            .await;
    }

    async fn decides(&self, one: Arrived, other: Arrived, to: LinkStanding) {
        let actor = Channel::Cli.program();
        let decided = self.db.write(move |txn| {
            let both = (one.patient, other.patient);
            crate::matching::decide(&Matcher::default(), txn, both, to, actor)
        });
        decided.await.unwrap();
    }

    /// A new life of the hub begins, as after its store was put back to a copy.
    async fn is_put_back_to_a_copy(&self) {
        let begun = self.db.write(|txn| {
            let (epoch, replica) = (EpochId(random()?), ReplicaId(random()?));
            begin_epoch(txn, epoch, replica, Cause::Mark)
        });
        begun.await.unwrap();
    }

    async fn asks_for(&self, task: &RecordState, intent: Intent) {
        let shown = task.shown(task_record::INTENT.id);
        self.says(task, |writing| writing.restate(task_record::INTENT, &intent, &shown))
            .await;
    }

    async fn answers(&self, task: &RecordState, answer: Answer) {
        let shown = task.shown(task_record::ANSWER.id);
        self.says(task, |writing| writing.replace(task_record::ANSWER, &answer, &shown))
            .await;
    }

    /// Waits until the registration is in this state.
    async fn until_registration(&self, arrived: Arrived, state: DeliveryState) -> (Delivery, RecordState) {
        let what = format!("a registration that is {}", state.word());
        let asked = ::tests::until(PATIENCE, &what, async || {
            let (delivery, task) = self.registration(arrived).await;
            Ok((delivery.state == state).then_some((delivery, task)))
        });
        match asked.await {
            Ok(found) => found,
            Err(error) => panic!("{error}; it is {:?}", self.registration(arrived).await.0),
        }
    }

    /// Waits until the registration is done, or waits for a person.
    async fn until_decided(&self, arrived: Arrived) {
        let asked = ::tests::until(PATIENCE, "a registration that is done or asked about", async || {
            let (delivery, _) = self.registration(arrived).await;
            let decided = matches!(delivery.state, DeliveryState::Delivered | DeliveryState::OnHold);
            Ok(decided.then_some(()))
        });
        asked.await.unwrap();
    }

    async fn until_set_aside(&self, task: RecordId) -> Delivery {
        let asked = ::tests::until(PATIENCE, "a task that is set aside", async || {
            let delivery = task_record::DELIVERY.value(&self.record(task).await);
            Ok(delivery.filter(|delivery| delivery.state == DeliveryState::SetAside))
        });
        asked.await.unwrap()
    }

    /// Waits until every task of the patient is final.
    async fn until_all_done(&self, arrived: Arrived) {
        let asked = ::tests::until(PATIENCE, "every task to be done", async || {
            let tasks = self.tasks(arrived.patient).await;
            Ok(tasks.iter().all(|task| state_of(task).is_final()).then_some(()))
        });
        if let Err(error) = asked.await {
            let tasks = self.tasks(arrived.patient).await;
            let states: Vec<_> = tasks
                .iter()
                .map(|task| (state_of(task), task_record::DELIVERY.value(task)))
                .collect();
            panic!("{error}; they are {states:?}");
        }
    }
}

#[derive(Clone, Copy)]
struct Person<'a> {
    name: &'a str,
    birth_date: &'a str,
    phone: Option<&'a str>,
}

const QUILL: Person<'static> = Person {
    name: "Quill, Orla",
    birth_date: ADULT,
    phone: Some("(602) 555-0143"),
};

#[derive(Clone, Copy)]
struct Arrived {
    patient: RecordId,
    visit: RecordId,
}

impl Arrived {
    /// The patients at the EHR that carry our record's identifier.
    async fn at(&self, ehr: &Ehr) -> Vec<serde_json::Value> {
        ehr.patients_with_identifier("urn:mainstay:patient", &self.patient.to_string())
            .await
            .unwrap()
    }

    async fn encounters_at(&self, ehr: &Ehr) -> Vec<serde_json::Value> {
        let token = format!("urn:mainstay:visit|{}", self.visit);
        ehr.search("Encounter", &[("identifier", &token)]).await.unwrap()
    }
}
