//! Files, good and broken, against a real store.

use clinic::catalogue::{EHR_SOURCE, appointment, form, patient, provider, reference_checked_ms, reference_set};
use clinic::value::{AppointmentStatus, Identifier};
use clinic::{Action, Channel, Writing};
use sync_protocol::{KindId, Phi, RecordId, RecordState, ScopeId};
use vault::DataKey;

use super::*;
use crate::db::{self, Db, DbError, Place, Policy, Site};

mod files;

use files::ORDER;

struct Hub {
    db: Db,
    _folder: tempfile::TempDir,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.db.close();
    }
}

impl Hub {
    fn new() -> Hub {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            file: folder.path().join("hub.db"),
            config: db::Config::default(),
        };
        let db = Db::create(&place, &DataKey::generate().unwrap(), Policy::CATALOGUE).unwrap();
        Hub { db, _folder: folder }
    }

    async fn load(&self, set: Set, text: &str) -> Outcome {
        self.try_load(set, text).await.unwrap()
    }

    async fn try_load(&self, set: Set, text: &str) -> Result<Outcome, Refused> {
        match load(&self.db, set, file(text), None, None).await {
            Ok(outcome) => Ok(outcome),
            Err(LoadError::Refused(refused)) => Err(refused),
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn author(&self, draft: sync_protocol::Draft) {
        let written: Result<(), LoadError> = self
            .db
            .write(move |txn| {
                txn.author(&draft, None)?;
                Ok(())
            })
            .await;
        written.unwrap();
    }

    async fn all(&self, kind: KindId) -> Vec<RecordState> {
        let read = self.db.read(move |txn| txn.all_of_kind(kind));
        let all: Result<_, DbError> = read.await;
        all.unwrap()
    }

    async fn site(&self, name: &str, zone: &str) -> ScopeId {
        let scope = ScopeId(db::random().unwrap());
        let site = Site {
            scope,
            name: name.to_owned(),
            zone: zone.to_owned(),
            ehr: clinic::value::Target::Person,
            seen_ms: None,
        };
        let added: Result<(), DbError> = self.db.write(move |txn| txn.add_site(&site)).await;
        added.unwrap();
        scope
    }
}

fn file(text: &str) -> File {
    bytes(text.as_bytes().to_vec())
}

fn bytes(bytes: Vec<u8>) -> File {
    File {
        name: "list.csv".to_owned(),
        bytes,
        named: BTreeMap::new(),
    }
}

fn refused(set: Set, text: &str) -> String {
    file(text).read(set).map(|_| ()).unwrap_err().to_string()
}

const PROVIDERS: &str = "npi,name,specialty\n1234567893,\"Adams, Ada\",Pediatrics\n1245319599,\"Brown, Ben\",\n";

#[tokio::test]
async fn the_same_list_twice_writes_nothing_and_what_it_no_longer_names_is_ended_until_it_names_it_again() {
    let hub = Hub::new();

    let first = hub.load(Set::Providers, PROVIDERS).await;
    let second = hub.load(Set::Providers, PROVIDERS).await;
    let without = hub
        .load(
            Set::Providers,
            "npi,name,specialty\n1234567893,\"Adams, Ada\",Pediatrics\n",
        )
        .await;
    let ended = hub.all(provider::KIND).await;
    let again = hub.load(Set::Providers, PROVIDERS).await;

    assert_eq!((first.written, first.ended, first.entries), (3, 0, 2));
    assert_eq!((second.written, second.ended), (0, 0));
    assert_eq!(second.version, first.version);
    assert_eq!((without.written, without.ended), (2, 1));
    let gone = |state: &&RecordState| provider::ENDED_MS.value(state).is_some();
    assert_eq!(ended.iter().filter(gone).count(), 1);
    assert_eq!(again.ended, 0);
    assert!(!hub.all(provider::KIND).await.iter().any(|state| gone(&state)));
    assert_eq!(hub.all(provider::KIND).await.len(), 2);
}

#[tokio::test]
async fn what_the_ehr_told_of_is_not_ended_by_a_list() {
    let hub = Hub::new();
    let written: Result<(), LoadError> = hub
        .db
        .write(|txn| {
            let by = Channel::Connector.program();
            let writing = Writing::new(provider::KIND, RecordId([5; 16]), Action::Message, by, 0)
                .set(provider::NAME, &"From the EHR".to_owned())
                .set(provider::EHR_ID, &"practitioner-5".to_owned());
            txn.author(&writing.done(), None)?;
            Ok(())
        })
        .await;
    written.unwrap();

    let outcome = hub.load(Set::Providers, PROVIDERS).await;

    assert_eq!(outcome.ended, 0);
    assert_eq!(hub.all(provider::KIND).await.len(), 3);
}

fn told_by_the_ehr(record: RecordId, loaded_ms: i64) -> sync_protocol::Draft {
    Writing::new(
        reference_set::KIND,
        record,
        Action::Message,
        Channel::Connector.program(),
        1,
    )
    .set(reference_set::NAME, &"providers".to_owned())
    .set(reference_set::SOURCE, &EHR_SOURCE.to_owned())
    .set(reference_set::VERSION, &"1".to_owned())
    .set(reference_set::LOADED_MS, &loaded_ms)
    .done()
}

#[tokio::test]
async fn the_ehrs_providers_and_a_files_are_two_sets() {
    let hub = Hub::new();
    let of_ehr = RecordId([1; 16]);
    hub.author(told_by_the_ehr(of_ehr, 5)).await;

    hub.load(Set::Providers, PROVIDERS).await;

    let sets = hub.all(reference_set::KIND).await;
    let mut sources: Vec<_> = sets.iter().filter_map(|set| reference_set::SOURCE.value(set)).collect();
    sources.sort();
    assert_eq!(sources, ["EHR", "list.csv"]);
    let stands = sets.iter().find(|set| set.record == of_ehr).unwrap();
    assert_eq!(reference_set::VERSION.value(stands).as_deref(), Some("1"));
}

#[tokio::test]
async fn a_list_that_is_found_unchanged_is_known_to_be_so() {
    let hub = Hub::new();
    hub.load(Set::Providers, PROVIDERS).await;
    let set = |all: Vec<RecordState>| all.into_iter().next().unwrap();
    let before = set(hub.all(reference_set::KIND).await);
    let loaded_ms = reference_set::LOADED_MS.value(&before).unwrap();
    hub.load(Set::Providers, PROVIDERS).await;
    assert_eq!(set(hub.all(reference_set::KIND).await), before, "it was told too soon");
    let day_ago = loaded_ms - 24 * 60 * 60 * 1000;
    let aged = Writing::new(
        reference_set::KIND,
        before.record,
        Action::Administer,
        Channel::Hub.program(),
        1,
    )
    .replace(
        reference_set::LOADED_MS,
        &day_ago,
        &before.shown(reference_set::LOADED_MS.id),
    );
    hub.author(aged.done()).await;

    hub.load(Set::Providers, PROVIDERS).await;

    let after = set(hub.all(reference_set::KIND).await);
    assert_eq!(reference_set::LOADED_MS.value(&after), Some(day_ago));
    assert!(reference_checked_ms(&after).unwrap() >= loaded_ms);
}

#[tokio::test]
async fn a_broken_file_changes_nothing() {
    let hub = Hub::new();
    hub.load(Set::Payers, "payer_id,name\nP1,One\n").await;
    let before = hub.all(reference_set::KIND).await;

    let refused = hub
        .try_load(Set::Payers, "payer_id,name\nP1,Other\nP2,\n")
        .await
        .unwrap_err();

    assert_eq!(refused.broken[0].line, 3);
    assert_eq!(hub.all(reference_set::KIND).await, before);
    assert_eq!(hub.all(clinic::catalogue::payer::KIND).await.len(), 1);
}

#[tokio::test]
async fn a_code_set_is_one_content_and_a_new_version_takes_the_place_of_the_old() {
    let hub = Hub::new();
    hub.load(Set::IcdTenCm, ORDER).await;
    let content = |states: &[RecordState]| reference_set::CONTENT.value(&states[0]).unwrap();
    let old = content(&hub.all(reference_set::KIND).await);

    let unchanged = hub.load(Set::IcdTenCm, ORDER).await;
    hub.load(Set::IcdTenCm, "R509    Fever, unspecified\n").await;

    assert_eq!(unchanged.written, 0);
    let sets = hub.all(reference_set::KIND).await;
    let new = content(&sets);
    assert_eq!((sets.len(), reference_set::ENTRIES.value(&sets[0])), (1, Some(1)));
    let kept: Result<_, DbError> = hub
        .db
        .read(move |txn| {
            Ok((
                txn.blob_bytes(old.0)?,
                txn.blob_bytes(new.0)?,
                is_named(txn, old)?,
                is_named(txn, new)?,
            ))
        })
        .await;
    let (old_bytes, new_bytes, old_named, new_named) = kept.unwrap();
    assert!(old_bytes.is_none() && !old_named);
    assert!(new_named && new_bytes == reference_set::BYTES.value(&sets[0]).map(|bytes| bytes as u64));
}

#[tokio::test]
async fn a_form_is_kept_with_its_file_and_a_list_cannot_reach_for_others() {
    let hub = Hub::new();
    let list = "name,title,version,file\narrival,Arrival,1,arrival.txt\n";
    let mut forms = file(list);
    forms.named.insert("arrival.txt".to_owned(), vec![b'x'; 200_000]);

    load(&hub.db, Set::Forms, forms, None, None).await.unwrap();

    let digest = form::CONTENT.value(&hub.all(form::KIND).await[0]).unwrap();
    let part: Result<_, DbError> = hub.db.read(move |txn| txn.blob_part(digest.0, 60_000, 100_000)).await;
    assert_eq!(part.unwrap(), vec![b'x'; 100_000]);
    assert!(refused(Set::Forms, list).contains("line 2, column file: is not beside the list"));
    for reaching in ["../hub.toml", "/etc/passwd.txt", ".txt", "a\\b.txt"] {
        let said = refused(Set::Forms, &format!("name,title,version,file\na,A,1,{reaching}\n"));
        assert!(said.contains("must be the bare name"), "{reaching}: {said}");
    }
    assert!(refused(Set::Forms, "name,title,version,file\na,A,1,page.html\n").contains("must end in one of"));
}

#[tokio::test]
async fn rooms_are_added_to_their_site_once() {
    let hub = Hub::new();
    let scope = hub.site("Riverside", "America/Chicago").await;

    let added = hub
        .load(Set::Rooms, &format!("site,name\nriverside,Room 1\n{scope},Room 2\n"))
        .await;
    let again = hub.load(Set::Rooms, "site,name\nRiverside,ROOM 1\n").await;
    let nowhere = hub
        .try_load(Set::Rooms, "site,name\nRiverside,Room 3\nNowhere,Room 1\n")
        .await
        .unwrap_err();

    assert_eq!((added.entries, added.written), (2, 3));
    assert_eq!(again.entries, 1);
    assert_eq!(
        nowhere.to_string(),
        "line 3, column site: is no site's name or id: see mainstay-hub status"
    );
    assert_eq!(hub.all(clinic::catalogue::room::KIND).await.len(), 2);
}

#[tokio::test]
async fn a_booking_is_taken_for_a_known_patient_on_the_sites_clock_and_nobody_elses_word_is_undone() {
    let hub = Hub::new();
    let scope = hub.site("Riverside", "America/Chicago").await;
    let known: Result<(), LoadError> = hub
        .db
        .write(move |txn| {
            let number = Identifier {
                system: "ehr".to_owned(),
                value: "104882".to_owned(),
                kind: "MR".to_owned(),
            };
            let by = Channel::Hub.program();
            let writing = Writing::new(patient::KIND, RecordId([1; 16]), Action::Administer, by, 0)
                .assert(patient::IDENTIFIER, &Phi::new(number));
            txn.author(&writing.done(), Some(scope))?;
            Ok(())
        })
        .await;
    known.unwrap();
    let head = "site,system,number,patient_system,patient_number,starts,ends,npi,status\n";
    hub.load(Set::Providers, PROVIDERS).await;

    let row = "Riverside,ehr,B1,ehr,104882,2026-11-23T09:30,2026-11-23T10:00,1234567893,\n";
    hub.load(Set::Schedules, &format!("{head}{row}")).await;

    let booked = hub.all(appointment::KIND).await.remove(0);
    // Half past nine in Chicago, in winter.
    let starts = "2026-11-23T15:30:00Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    assert_eq!(appointment::STARTS_MS.value(&booked), Some(starts));
    assert_eq!(appointment::PATIENT.value(&booked), Some(RecordId([1; 16])));
    assert!(appointment::PROVIDER.value(&booked).is_some());

    let (record, shown) = (booked.record, appointment::STATUS.latest(&booked).unwrap().change);
    let cancelled: Result<(), LoadError> =
        hub.db
            .write(move |txn| {
                let writing = Writing::new(appointment::KIND, record, Action::Edit, Channel::Page.program(), 0)
                    .replace(appointment::STATUS, &AppointmentStatus::Cancelled, &[shown]);
                txn.author(&writing.done(), Some(scope))?;
                Ok(())
            })
            .await;
    cancelled.unwrap();
    hub.load(Set::Schedules, &format!("{head}{row}")).await;
    let after = hub.all(appointment::KIND).await.remove(0);
    assert_eq!(appointment::STATUS.value(&after), Some(AppointmentStatus::Cancelled));

    for (row, reason) in [
        (
            "Riverside,ehr,B2,ehr,999,2026-11-23T09:30,,,\n",
            "patient_number: is no patient's number",
        ),
        (
            "Riverside,ehr,B2,ehr,104882,tomorrow,,,\n",
            "column starts: is no date and time",
        ),
        (
            "Riverside,ehr,B2,ehr,104882,2026-11-23T09:30,2026-11-23T09:00,,\n",
            "column ends: is not after starts",
        ),
        (
            "Riverside,ehr,B2,ehr,104882,2026-11-23T09:30,,1245319599,gone\n",
            "column status",
        ),
        (
            "Riverside,ehr,B2,ehr,104882,2026-11-23T09:30,,1000000004,\n",
            "column npi",
        ),
    ] {
        let said = hub
            .try_load(Set::Schedules, &format!("{head}{row}"))
            .await
            .unwrap_err()
            .to_string();
        assert!(said.contains(reason), "{row}: {said}");
        assert!(!said.contains("104882") && !said.contains("999"), "{said}");
    }
}

#[tokio::test]
async fn every_sample_that_ships_is_taken() {
    let hub = Hub::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/reference");

    for (set, name, entries) in [
        (Set::IcdTenCm, "icd-10-cm.txt", 47),
        (Set::Cvx, "cvx.txt", 15),
        (Set::PlaceOfService, "place-of-service.csv", 11),
        (Set::Providers, "providers.csv", 8),
        (Set::Payers, "payers.csv", 8),
        (Set::Forms, "forms.csv", 1),
    ] {
        let file = File::open(set, &folder.join(name)).unwrap();
        let outcome = load(&hub.db, set, file, None, None).await.unwrap();
        assert_eq!(outcome.entries, entries, "{name}");
    }
}
