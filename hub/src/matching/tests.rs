use clinic::linking::temp_numbers;
use clinic::task::{Delivery, DeliveryState, ErrorClass, Intent, TaskKind};
use clinic::value::Target;
use clinic::{BirthDate, Identifier, PersonName, task_record};
use sync_protocol::{ChangeId, Draft, ScopeId};
use tempfile::TempDir;

use super::*;
use crate::db::{Db, Place, Policy, random, statements};

const SITE: ScopeId = ScopeId([0x51; 16]);

struct House {
    db: Db,
    matcher: Matcher,
    _folder: TempDir,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            file: folder.path().join("hub.db"),
            config: Default::default(),
        };
        House {
            db: Db::create(&place, &vault::DataKey::generate().unwrap(), Policy::CATALOGUE).unwrap(),
            matcher: Matcher::default(),
            _folder: folder,
        }
    }

    /// A task of a patient that the EHR has taken.
    async fn delivered(&self, kind: TaskKind, patient: RecordId, partner_id: &str) -> RecordId {
        let task = RecordId([7; 16]);
        let delivered = Delivery {
            state: DeliveryState::Delivered,
            attempts: 1,
            class: ErrorClass::None,
            at_ms: 1,
            heeded: ChangeId::NIL,
            note: String::new(),
        };
        let told = Writing::new(task_record::KIND, task, Action::CreateTask, Channel::Rule.program(), 1)
            .set(task_record::KIND_OF_WORK, &kind)
            .set(task_record::TARGET, &Target::Machine)
            .set(task_record::PATIENT, &patient)
            .set(task_record::INTENT, &Intent::Wanted)
            .set(task_record::DELIVERY, &delivered)
            .set(task_record::PARTNER_ID, &partner_id.to_owned());
        self.write(vec![told.done()]).await;
        task
    }

    /// Writes drafts and looks at what they touched, as a push does.
    async fn write(&self, drafts: Vec<Draft>) {
        let matcher = self.matcher.clone();
        let written = self.db.write(move |txn| {
            for draft in &drafts {
                txn.author(draft, Some(SITE))?;
            }
            let touched: Vec<RecordId> = drafts.iter().map(|draft| draft.record).collect();
            matcher.consider(txn, &touched)
        });
        written.await.unwrap();
    }

    async fn patient(&self, name: &str, born: &str, phone: &str, numbers: &[(&str, &str)]) -> RecordId {
        let record = RecordId(random().unwrap());
        let mut writing = edit(record)
            .set(patient::NAME, &Phi::new(PersonName::parse(name)))
            .set(patient::BIRTH_DATE, &Phi::new(BirthDate::parse(born).unwrap()));
        if !phone.is_empty() {
            writing = writing.set(patient::PHONE, &Phi::new(phone.to_owned()));
        }
        let mut drafts = vec![writing.done()];
        drafts.extend(numbers.iter().map(|(system, value)| numbered(record, system, value)));
        self.write(drafts).await;
        record
    }

    async fn decide(&self, a: RecordId, b: RecordId, to: LinkStanding) -> Result<Decided, Refusal> {
        let matcher = self.matcher.clone();
        let actor = Channel::Cli.program();
        self.db.write(move |txn| decide(&matcher, txn, (a, b), to, actor)).await
    }

    async fn state(&self, record: RecordId) -> Option<RecordState> {
        let state = self.db.read(move |txn| txn.state(record)).await.unwrap();
        state.map(Arc::unwrap_or_clone)
    }

    async fn standing(&self, a: RecordId, b: RecordId) -> Option<LinkStanding> {
        let link = self.state(link_id(a, b)).await?;
        standing(&link).standing().copied()
    }

    async fn temps(&self, record: RecordId) -> Vec<String> {
        temp_numbers(&self.state(record).await.unwrap()).into_iter().collect()
    }

    /// How many changes the hub has written.
    async fn written(&self) -> u64 {
        let hub = self.db.organisation().hub_replica;
        let head = self.db.read(move |txn| txn.chain(hub)).await.unwrap();
        head.map_or(0, |head| head.counter)
    }
}

impl Drop for House {
    /// The file is closed before the process goes: what is left open then is torn down under the writer's thread.
    fn drop(&mut self) {
        self.db.close();
    }
}

fn edit(record: RecordId) -> Writing {
    Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 1_000)
}

fn numbered(record: RecordId, system: &str, value: &str) -> Draft {
    let number = Identifier {
        system: system.to_owned(),
        value: value.to_owned(),
        kind: "MR".to_owned(),
    };
    edit(record).assert(patient::IDENTIFIER, &Phi::new(number)).done()
}

#[tokio::test]
async fn a_spelling_variant_is_proposed_and_explained() {
    let house = House::new();
    let one = house.patient("Whitehorse, Jolene", "1987-03-04", "", &[]).await;
    let other = house.patient("Whithorse, Joleen", "1987-03-04", "", &[]).await;
    let stranger = house.patient("Haddad, Nadia", "1961-11-30", "", &[]).await;

    assert_eq!(house.standing(one, other).await, Some(LinkStanding::Proposed));
    assert_eq!(house.standing(one, stranger).await, None);
    let link = house.state(link_id(one, other)).await.unwrap();
    assert!(link::SCORE.value(&link).unwrap() > 2_000);
    let why = link::WHY.value(&link).unwrap();
    assert!(why.expose().starts_with("family name: nearly the same letters, +4.91"));
    let scopes = house
        .db
        .read(move |txn| txn.scopes_of(link_id(one, other)))
        .await
        .unwrap();
    assert_eq!(scopes, [SITE]);
}

#[tokio::test]
async fn a_telephone_number_that_stands_for_none_hides_nobody() {
    let mut house = House::new();
    let few = Config {
        candidates_max: 3,
        ..Config::default()
    };
    house.matcher = few.matcher().unwrap();
    let none = "555-555-5555";
    for year in 1950..1970 {
        let born = format!("{year}-11-30");
        house.patient("Haddad, Nadia", &born, none, &[]).await;
    }
    let one = house.patient("Whitehorse, Jolene", "1987-03-04", none, &[]).await;
    let numbered = house
        .patient("Quill, Orla", "1980-12-03", none, &[("urn:x", "7")])
        .await;

    let alike = house.patient("Whithorse, Joleen", "1987-03-04", none, &[]).await;
    let same = house
        .patient("Quill, Orla", "1980-12-03", none, &[("urn:x", "7")])
        .await;

    assert_eq!(house.standing(one, alike).await, Some(LinkStanding::Proposed));
    assert_eq!(house.standing(numbered, same).await, Some(LinkStanding::Linked));
}

#[tokio::test]
async fn a_number_and_a_birth_date_that_stand_for_none_hide_nobody() {
    let mut house = House::new();
    let few = Config {
        candidates_max: 3,
        ..Config::default()
    };
    house.matcher = few.matcher().unwrap();
    let none = ("urn:ssn", "999-99-9999");
    for family in ["Haddad", "Okafor", "Petrov", "Tanaka", "Moreau", "Delacroix"] {
        let name = format!("{family}, Nadia");
        house.patient(&name, "1900-01-01", "", &[none]).await;
    }
    for day in 11..16 {
        let born = format!("1900-11-{day}");
        house.patient("Whitehorse, Jolene", &born, "", &[]).await;
    }
    let numbered = house
        .patient("Quill, Orla", "1980-12-03", "", &[none, ("urn:x", "7")])
        .await;
    let undated = house.patient("Whitehorse, Jolene", "1900-01-01", "", &[]).await;

    let same = house
        .patient("Marlow, Ada", "1961-05-17", "", &[none, ("urn:x", "7")])
        .await;
    let alike = house.patient("Whitehorse, Joleen", "1900-01-01", "", &[]).await;

    assert!(house.standing(numbered, same).await.is_some());
    assert_eq!(house.standing(undated, alike).await, Some(LinkStanding::Proposed));
}

#[tokio::test]
async fn name_birth_date_and_phone_join_and_nothing_less_does() {
    let house = House::new();
    let one = house.patient("Quill, Orla", "1980-12-03", "602 555 0143", &[]).await;
    let same = house.patient("Quill, Orla", "1980-12-03", "(602) 555-0143", &[]).await;
    let like = house.patient("Quill, Orla", "1980-12-03", "", &[]).await;

    assert_eq!(house.standing(one, same).await, Some(LinkStanding::Linked));
    let proposed = [house.standing(one, like).await, house.standing(same, like).await];
    assert_eq!(proposed.iter().flatten().collect::<Vec<_>>(), [&LinkStanding::Proposed]);
}

#[tokio::test]
async fn two_who_are_certain_are_asked_about() {
    let house = House::new();
    let one = house
        .patient("Quill, Orla", "1980-12-03", "602 555 0143", &[("urn:x", "7")])
        .await;
    let other = house
        .patient("Quill, Orla", "1980-12-03", "602 555 0144", &[("urn:y", "8")])
        .await;
    house.decide(one, other, LinkStanding::Distinct).await.unwrap();

    let third = house
        .patient("Quill, Orla", "1980-12-03", "", &[("urn:x", "7"), ("urn:y", "8")])
        .await;

    assert_eq!(house.standing(one, third).await, Some(LinkStanding::Proposed));
    assert_eq!(house.standing(other, third).await, Some(LinkStanding::Proposed));
}

#[tokio::test]
async fn looking_again_writes_nothing() {
    let house = House::new();
    let one = house.patient("Whitehorse, Jolene", "1987-03-04", "", &[]).await;
    let other = house.patient("Whithorse, Joleen", "1987-03-04", "", &[]).await;
    let before = house.written().await;

    let matcher = house.matcher.clone();
    let again = house
        .db
        .write(move |txn| matcher.consider(txn, &[one, other, link_id(one, other)]));
    again.await.unwrap();

    assert_eq!(house.written().await, before);
}

#[tokio::test]
async fn what_is_asked_of_the_store_for_fifty_patients_is_asked_together() {
    let house = House::new();
    let matcher = house.matcher.clone();
    let asked = house.db.write(move |txn| {
        let mut written = BTreeSet::new();
        for number in 0..50 {
            let record = RecordId(random()?);
            let draft = edit(record)
                .set(
                    patient::NAME,
                    &Phi::new(PersonName::new(&format!("Vance{number}"), "Ana")),
                )
                .set(patient::BIRTH_DATE, &Phi::new(BirthDate::parse("1990-03-02").unwrap()))
                .set(patient::PHONE, &Phi::new(format!("(602) 555-{number:04}")));
            txn.author(&draft.done(), Some(SITE))?;
            written.insert(record);
        }
        let before = statements();
        let near = matcher.near(txn, written)?;
        Ok::<_, HubError<DbError>>((near.len(), statements() - before))
    });
    let (people, asked) = asked.await.unwrap();

    assert_eq!(people, 50);
    assert!(asked <= 25, "{asked} statements for {people} patients");
}

#[tokio::test]
async fn two_people_are_not_proposed_again_unless_a_number_says_otherwise() {
    let house = House::new();
    let one = house
        .patient("Whitehorse, Jolene", "1987-03-04", "", &[("urn:x", "7")])
        .await;
    let other = house.patient("Whithorse, Joleen", "1987-03-04", "", &[]).await;
    house.decide(one, other, LinkStanding::Distinct).await.unwrap();

    house
        .write(vec![
            edit(other)
                .set(patient::PHONE, &Phi::new("602 555 0143".to_owned()))
                .done(),
        ])
        .await;
    assert_eq!(house.standing(one, other).await, Some(LinkStanding::Distinct));

    house.write(vec![numbered(other, "urn:x", "7")]).await;
    assert_eq!(house.standing(one, other).await, Some(LinkStanding::Proposed));
}

#[tokio::test]
async fn a_correction_takes_a_question_back_that_nobody_answered() {
    let house = House::new();
    let one = house.patient("Whitehorse, Jolene", "1987-03-04", "", &[]).await;
    let other = house.patient("Whithorse, Joleen", "1987-03-04", "", &[]).await;
    let shown = house.state(other).await.unwrap();

    let corrected = edit(other)
        .replace(
            patient::NAME,
            &Phi::new(PersonName::parse("Haddad, Nadia")),
            &shown.shown(patient::NAME.id),
        )
        .replace(
            patient::BIRTH_DATE,
            &Phi::new(BirthDate::parse("1961-11-30").unwrap()),
            &shown.shown(patient::BIRTH_DATE.id),
        );
    house.write(vec![corrected.done()]).await;

    assert_eq!(house.standing(one, other).await, None);
}

#[tokio::test]
async fn temp_numbers_follow_a_link_and_an_unlink_takes_back_just_those() {
    let house = House::new();
    let one = house
        .patient("Quill, Orla", "1980-12-03", "", &[(TEMP_SYSTEM, "T0010013")])
        .await;
    let other = house
        .patient("Quill, Orla", "1980-12-03", "", &[(TEMP_SYSTEM, "T0010021")])
        .await;
    let (before, _) = (house.state(other).await, house.state(one).await);

    house.decide(one, other, LinkStanding::Linked).await.unwrap();
    assert_eq!(house.temps(one).await, ["T0010013", "T0010021"]);
    assert_eq!(house.state(other).await, before);

    house.decide(one, other, LinkStanding::Proposed).await.unwrap();
    assert_eq!(house.temps(one).await, ["T0010013"]);
    assert_eq!(house.temps(other).await, ["T0010021"]);

    house.decide(one, other, LinkStanding::Linked).await.unwrap();
    assert_eq!(house.temps(one).await, ["T0010013", "T0010021"]);
    assert_eq!(
        house.decide(one, other, LinkStanding::Linked).await.unwrap(),
        Decided::AsBefore
    );
}

#[tokio::test]
async fn a_parted_patient_is_to_be_registered_again() {
    let house = House::new();
    let one = house.patient("Quill, Orla", "1980-12-03", "", &[]).await;
    let other = house.patient("Quill, Orla", "1980-12-03", "", &[]).await;
    house.decide(one, other, LinkStanding::Linked).await.unwrap();
    let task = house.delivered(TaskKind::RegisterPatient, other, "77").await;

    house.decide(one, other, LinkStanding::Distinct).await.unwrap();

    let task = house.state(task).await.unwrap();
    assert_eq!(
        task_record::DELIVERY.value(&task).unwrap().state,
        DeliveryState::Waiting
    );
    assert_eq!(task_record::PARTNER_ID.value(&task), None);
}

#[tokio::test]
async fn encounters_are_looked_at_again_only_where_two_were_linked() {
    for linked_before in [false, true] {
        let house = House::new();
        let one = house.patient("Quill, Orla", "1980-12-03", "", &[]).await;
        let other = house.patient("Quill, Orla", "1980-12-03", "", &[]).await;
        if linked_before {
            house.decide(one, other, LinkStanding::Linked).await.unwrap();
        }
        let task = house.delivered(TaskKind::Encounter, other, "e1").await;

        house.decide(one, other, LinkStanding::Distinct).await.unwrap();

        let task = house.state(task).await.unwrap();
        let expected = match linked_before {
            true => DeliveryState::OutcomeUnknown,
            false => DeliveryState::Delivered,
        };
        assert_eq!(task_record::DELIVERY.value(&task).unwrap().state, expected);
    }
}

#[tokio::test]
async fn a_record_that_is_full_keeps_nothing_from_being_pushed() {
    let house = House::new();
    let full = house.patient("Quill, Orla", "1980-12-03", "", &[("urn:x", "7")]).await;
    house.db.write(move |txn| txn.fill_up(full)).await.unwrap();

    let other = house
        .patient(
            "Quill, Orla",
            "1980-12-03",
            "",
            &[("urn:x", "7"), (TEMP_SYSTEM, "T0010021")],
        )
        .await;

    assert_eq!(house.standing(full, other).await, Some(LinkStanding::Linked));
    assert!(house.temps(full).await.is_empty());
    assert_eq!(house.temps(other).await, ["T0010021"]);
}

#[tokio::test]
async fn what_cannot_be_said_is_refused() {
    let house = House::new();
    let one = house.patient("Quill, Orla", "1980-12-03", "", &[]).await;
    let other = house.patient("Haddad, Nadia", "1961-11-30", "", &[]).await;

    let with_itself = house.decide(one, one, LinkStanding::Linked).await;
    let with_nobody = house.decide(one, RecordId([9; 16]), LinkStanding::Linked).await;
    let parted = house.decide(one, other, LinkStanding::Proposed).await;

    assert!(matches!(with_itself, Err(Refusal::Same)));
    assert!(matches!(with_nobody, Err(Refusal::NoSuchPatient(_))));
    assert!(matches!(parted, Err(Refusal::NotLinked)));
}
