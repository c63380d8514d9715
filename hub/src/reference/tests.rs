//! Files, good and broken, against a real store.

use clinic::catalogue::{EHR_SOURCE, appointment, form, patient, provider, reference_checked_ms, reference_set};
use clinic::value::{AppointmentStatus, Identifier};
use clinic::{Action, Channel, Writing};
use sync_protocol::{KindId, Phi, RecordId, RecordState, ScopeId};
use vault::DataKey;

use super::*;
use crate::db::{self, Db, DbError, Place, Policy, Site};

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

#[test]
fn a_broken_row_is_named_by_line_column_and_reason_and_never_quoted() {
    let said = refused(
        Set::Providers,
        "npi,name,specialty\n1234567890,\"Adams, Ada\",\n1234567893,,x\n1245319599,Brown,a,b\n,Cole,\n",
    );

    assert_eq!(
        said,
        "line 2, column npi: is not ten digits with a right check digit; line 3, column name: is empty; \
         line 4: has 4 cells where the first line names 3; \
         line 5, column npi: is empty, and so is ehr_id: one of them names the provider"
    );
    assert!(!said.contains("Adams"));
}

#[test]
fn the_same_key_twice_is_told_with_both_lines() {
    let said = refused(Set::Payers, "payer_id,name\nP1,One\nP2,Two\nP1,Three\n");

    assert_eq!(
        said,
        "line 4, column payer_id: is the same as on line 2: keep one of them"
    );
}

#[test]
fn columns_may_stand_in_any_order_behind_a_byte_order_mark_and_none_is_guessed_at() {
    let read = |text: &str| file(text).read(Set::Payers).is_ok();

    assert!(read("\u{feff}Name,PAYER_ID\r\nOne,P1\r\n\r\n"));
    assert_eq!(
        refused(Set::Payers, "payer_id,title\nP1,One\n"),
        "line 1: column 2 has no known name: the columns are payer_id, name, phone; \
         line 1, column name: is not among the columns that the first line names; line 2, column name: is empty"
    );
    assert_eq!(
        refused(Set::Payers, "payer_id,name,name\nP1,One,One\n"),
        "line 1, column name: is named twice"
    );
}

#[test]
fn a_list_without_rows_is_refused_before_it_ends_everything() {
    assert_eq!(refused(Set::Providers, "npi,name\n"), "line 1: the file has no row");
    assert_eq!(refused(Set::Payers, "payer_id,name\n\n"), "line 1: the file has no row");
}

#[test]
fn text_that_is_no_utf_8_and_cells_with_line_breaks_are_refused() {
    let latin = bytes(b"payer_id,name\nP1,Ren\xe9\n".to_vec());
    let said = latin.read(Set::Payers).map(|_| ()).unwrap_err();

    assert!(said.to_string().starts_with("line 2: is not UTF-8"), "{said}");
    assert!(refused(Set::Payers, "payer_id,name\nP1,\"One\ntwo\"\n").contains("line break"));
    assert!(refused(Set::Payers, &format!("payer_id,name\nP1,{}\n", "x".repeat(501))).contains("longer than 500"));
}

#[test]
fn only_so_many_broken_rows_are_told_and_the_rest_counted() {
    let rows = "1,Nobody\n".repeat(BROKEN_TOLD_MAX + 7);

    let said = refused(Set::Providers, &format!("npi,name\n{rows}"));

    // Each row but the first is broken twice: by its number, and for being there twice.
    assert!(
        said.ends_with(&format!("; and {} more", BROKEN_TOLD_MAX + 13)),
        "{said}"
    );
}

#[test]
fn a_check_digit_is_luhns_behind_the_prefix_of_health_applications() {
    assert!(rows::is_npi("1234567893") && rows::is_npi("1245319599"));
    for wrong in ["1234567890", "123456789", "12345678931", "3234567893", "12345678g3", ""] {
        assert!(!rows::is_npi(wrong), "{wrong}");
    }
}

fn codes(set: Set, text: &str) -> String {
    let Content::Codes(list) = file(text).read(set).unwrap().content else {
        panic!("no codes")
    };
    let packed = list.packed().unwrap();
    String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap()
}

const ORDER: &str = "\
00001 J02     0 Acute pharyngitis                                            Acute pharyngitis
00002 J020    1 Streptococcal pharyngitis                                    Streptococcal pharyngitis
00003 S0990XA 1 Unspecified injury of head, initial encounter                Unspecified injury of head, initial encounter, at length
";

#[test]
fn the_order_file_and_the_file_of_codes_say_the_same_codes() {
    assert_eq!(
        codes(Set::IcdTenCm, ORDER),
        "J02.0\tu\tStreptococcal pharyngitis\n\
         S09.90XA\tu\tUnspecified injury of head, initial encounter, at length\nJ02\th\tAcute pharyngitis\n"
    );
    assert_eq!(
        codes(
            Set::IcdTenCm,
            "J020    Streptococcal pharyngitis\r\nR509    Fever, unspecified\r\n"
        ),
        "J02.0\tu\tStreptococcal pharyngitis\nR50.9\tu\tFever, unspecified\n"
    );
}

const TABULAR: &str = "<?xml version=\"1.0\"?>\n<ICD10CM.tabular><version>2026</version><chapter><name>1</name>\n\
    <desc>Chapter</desc><section id=\"S00-S09\"><desc>Head</desc><diag><name>S09</name><desc>Other injuries</desc>\n\
    <sevenChrDef><extension char=\"A\">initial encounter</extension><extension char=\"D\">later</extension></sevenChrDef>\n\
    <diag><name>S09.9</name><desc>Injury &amp; more</desc>\n<inclusionTerm><note>Not this</note></inclusionTerm></diag>\
    <diag><name>S09.8</name><desc>Other <b>x</b></desc></diag>\n</diag></section></chapter></ICD10CM.tabular>";

#[test]
fn the_tabular_list_is_written_out_with_its_seventh_characters() {
    let mut version = None;
    let mut findings = Findings::default();
    icd_ten::read(TABULAR.as_bytes(), &mut version, &mut findings);

    assert_eq!(version.as_deref(), Some("2026"));
    assert_eq!(
        codes(Set::IcdTenCm, TABULAR),
        "S09.8XXD\tu\tOther, later\nS09.8XXA\tu\tOther, initial encounter\nS09.9XXD\tu\tInjury & more, later\n\
         S09.9XXA\tu\tInjury & more, initial encounter\nS09.8\th\tOther\nS09\th\tOther injuries\nS09.9\th\tInjury & more\n"
    );
}

#[test]
fn a_packed_list_is_unpacked_and_a_damaged_one_refused() {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(ORDER.as_bytes()).unwrap();
    let packed = gz.finish().unwrap();

    assert!(bytes(packed.clone()).read(Set::IcdTenCm).is_ok());
    let cut = bytes(packed[..packed.len() / 2].to_vec()).read(Set::IcdTenCm);
    assert!(cut.map(|_| ()).unwrap_err().to_string().contains("damaged or cut off"));
}

#[test]
fn lists_of_codes_that_are_not_what_they_should_be_are_refused() {
    for (text, reason) in [
        ("A00-A09\r\n", "line 1, column code: is no code of ICD-10-CM"),
        (
            "A00\r\nA000\r\n",
            "line 1, column text: is not there: this is the bare list",
        ),
        (
            "J020    One\nJ020    Two\n",
            "line 2, column code: is the same as on line 1",
        ),
        ("00001 J02     7 Acute pharyngitis\n", "column flag: is neither 0 nor 1"),
        ("<a><b></a>", "is no well-formed XML"),
        ("<ICD10CM.tabular><chapter>", "it was cut off"),
        ("<ICD10CM.tabular/>", "has no code"),
        ("", "has no code"),
    ] {
        let said = refused(Set::IcdTenCm, text);
        assert!(said.contains(reason), "{text:?}: {said}");
    }
    for (text, reason) in [
        ("{\"resourceType\":\"Patient\"}", "resourceType: is not CodeSystem"),
        (
            "{\"resourceType\":\"CodeSystem\",\"url\":\"http://x/colours\"}",
            "url: is not of a code system for cvx",
        ),
        (
            "{\"resourceType\":\"CodeSystem\",\"url\":\"http://x/cvx\",\"content\":\"fragment\"}",
            "is not complete",
        ),
        ("{\n\"resourceType\":", "line 2: is no FHIR CodeSystem"),
        ("03|MMR\n", "line 1: has fewer than five columns"),
        ("03|MMR|measles||Sometimes\n", "column status"),
        ("code,text\n03,\n", "line 2, column text: is empty"),
    ] {
        let said = refused(Set::Cvx, text);
        assert!(said.contains(reason), "{text:?}: {said}");
    }
}

#[test]
fn vaccines_come_as_a_code_system_or_as_cdcs_text() {
    let system = "{\"resourceType\":\"CodeSystem\",\"url\":\"http://hl7.org/fhir/sid/cvx\",\"content\":\"complete\",\
        \"version\":\"9\",\"concept\":[{\"code\":\"01\",\"display\":\"DTP\",\"property\":[{\"code\":\"status\",\
        \"valueCode\":\"deprecated\"}]},{\"code\":\"03\",\"display\":\"MMR\"}]}";

    assert_eq!(codes(Set::Cvx, system), "03\tu\tMMR\n01\tr\tDTP\n");
    assert_eq!(
        codes(Set::Cvx, "3 |MMR |measles vaccine ||Active |1\n01|DTP|||Inactive\n"),
        "03\tu\tmeasles vaccine\n01\tr\tDTP\n"
    );
}

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

/// The full official lists, which do not ship: `MAINSTAY_CORPUS_DIR` names a folder with `codes/` in it.
#[test]
fn the_full_official_lists_are_read_whole() {
    let Some(folder) = std::env::var_os("MAINSTAY_CORPUS_DIR") else {
        println!("MAINSTAY_CORPUS_DIR is not set: the official lists were not read");
        return;
    };
    let folder = Path::new(&folder).join("codes");
    let begun = std::time::Instant::now();
    let tabular = File::open(Set::IcdTenCm, &folder.join("icd10cm-tabular-2026-04.xml.gz")).unwrap();
    let read = tabular.read(Set::IcdTenCm).unwrap();
    let Content::Codes(list) = read.content else {
        panic!("no codes")
    };
    let packed = list.packed().unwrap();
    println!(
        "{} codes, {} bytes packed, in {:?}",
        list.len(),
        packed.len(),
        begun.elapsed()
    );

    let bare = std::fs::read_to_string(folder.join("icd10cm-code-list-2026-04.txt")).unwrap();
    let official = bare
        .lines()
        .map(str::trim)
        .filter(|line| (3..=7).contains(&line.len()) && !line.contains('-'));
    let missing: Vec<&str> = official.filter(|code| !list.has_bare(code)).collect();
    assert!(
        missing.is_empty(),
        "{} codes of the official list are missing: {:?}",
        missing.len(),
        &missing[..20.min(missing.len())]
    );

    for (set, name) in [
        (Set::Cvx, "CodeSystem-v2-0292.json"),
        (Set::PlaceOfService, "CodeSystem-service-place.json"),
    ] {
        File::open(set, &folder.join(name)).unwrap().read(set).unwrap();
    }
    let bare = File::open(Set::IcdTenCm, &folder.join("icd10cm-code-list-2026-04.txt")).unwrap();
    assert!(bare.read(Set::IcdTenCm).is_err());
}
