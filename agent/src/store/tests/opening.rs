//! What opening a store refuses, and what a store shows to whoever has its files and not its key.

use std::fs;

use super::*;

#[test]
fn a_store_keeps_what_was_saved_when_it_is_opened_again() {
    let site = Site::new();
    let store = site.create();
    let written = save(&store, new_patient(record(1), "Lovelace"));
    drop(store);

    let store = site.open().unwrap();

    let (stored, head) = store
        .read_blocking(|tx| Ok((tx.record(record(1))?, tx.head()?)))
        .unwrap();
    let stored = stored.unwrap();
    assert_eq!(patient::NAME.value(&stored.state).unwrap().expose().family, "Lovelace");
    assert_eq!(
        (stored.base, stored.pending, head.counter),
        (false, 1, written.dot.counter)
    );
}

#[test]
fn the_files_hold_no_readable_name_while_the_store_is_open_or_closed() {
    let site = Site::new();
    let store = site.create();
    save(&store, new_patient(record(1), "Quennebecourt"));
    store
        .write_blocking(Priority::Desk, |tx| tx.put_blob("text/plain", b"seen: Quennebecourt"))
        .unwrap();

    let open = files_with(site.path(), b"uennebecour");
    drop(store);

    assert_eq!(
        (open, files_with(site.path(), b"uennebecour")),
        (Vec::new(), Vec::new())
    );
}

fn files_with(folder: &Path, text: &[u8]) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.iter().any(|file| file.ends_with(FILE)));
    let text = text.to_ascii_lowercase();
    let has = |file: &PathBuf| {
        fs::read(file)
            .unwrap()
            .to_ascii_lowercase()
            .windows(text.len())
            .any(|w| w == text)
    };
    files.into_iter().filter(has).collect()
}

#[test]
fn another_key_opens_nothing_and_changes_nothing() {
    let site = Site::new();
    save(&site.create(), new_patient(record(1), "Lovelace"));
    let before = fs::read(site.file()).unwrap();
    let other = Arc::new(DataKey::generate().unwrap());

    let refused = Store::open(site.path(), other, Tuning::default()).err().unwrap();

    assert!(
        matches!(refused, StoreError::Open(OpenError::WrongKeyOrDamaged { .. })),
        "{refused}"
    );
    assert_eq!(fs::read(site.file()).unwrap(), before);
    assert!(site.open().is_ok());
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let site = Site::new();
    drop(site.create());
    let raise = sqlite::open(&site.file(), &site.key, Mode::Existing, &sqlite::Tuning::default()).unwrap();
    raise.pragma_update(None, "user_version", 900).unwrap();
    drop(raise);
    let before = fs::read(site.file()).unwrap();

    let refused = site.open().err().unwrap();

    assert!(
        matches!(
            refused,
            StoreError::Newer {
                found: 900,
                known: schema::VERSION
            }
        ),
        "{refused}"
    );
    assert_eq!(fs::read(site.file()).unwrap(), before);
}

#[test]
fn a_second_opener_of_the_same_folder_is_told_who_has_it() {
    let site = Site::new();
    let store = site.create();

    let refused = site.open().err().unwrap();

    assert!(matches!(refused, StoreError::AlreadyRunning { pid: Some(pid), .. } if pid == std::process::id()));
    drop(store);
    assert!(site.open().is_ok());
}

#[test]
fn a_missing_store_is_not_made_anew() {
    let site = Site::new();

    let refused = site.open().err().unwrap();

    assert!(
        matches!(refused, StoreError::Open(OpenError::Missing { .. })),
        "{refused}"
    );
    assert_eq!(fs::read_dir(site.path()).unwrap().count(), 0);
}

#[test]
fn a_store_that_is_there_is_not_made_over() {
    let site = Site::new();
    save(&site.create(), new_patient(record(1), "Lovelace"));

    let refused = Store::create(site.path(), site.key.clone(), Tuning::default())
        .err()
        .unwrap();

    assert!(
        matches!(refused, StoreError::Open(OpenError::Exists { .. })),
        "{refused}"
    );
    assert_eq!(chain(&site.open().unwrap()), ChainCheck::Sound { changes: 1 });
}

#[test]
fn a_store_whose_making_was_cut_off_is_finished_when_it_is_opened() {
    let site = Site::new();
    drop(sqlite::open(&site.file(), &site.key, Mode::Create, &sqlite::Tuning::default()).unwrap());

    let store = site.open().unwrap();

    save(&store, new_patient(record(1), "Lovelace"));
    assert_eq!(chain(&store), ChainCheck::Sound { changes: 1 });
}

#[test]
fn a_store_that_lost_its_identity_is_not_given_another() {
    let site = Site::new();
    save(&site.create(), new_patient(record(1), "Lovelace"));
    let harm = sqlite::open(&site.file(), &site.key, Mode::Existing, &sqlite::Tuning::default()).unwrap();
    harm.execute("DELETE FROM identity", []).unwrap();
    drop(harm);

    assert!(matches!(site.open().err().unwrap(), StoreError::NoIdentity));
}

#[test]
fn a_change_lost_from_the_file_breaks_the_chain() {
    let site = Site::new();
    let store = site.create();
    for number in 1..=3 {
        save(&store, new_patient(record(number), "Lovelace"));
    }
    let replica = store.read_blocking(|tx| tx.head()).unwrap().replica;
    drop(store);
    let harm = sqlite::open(&site.file(), &site.key, Mode::Existing, &sqlite::Tuning::default()).unwrap();
    harm.execute("DELETE FROM own_changes WHERE counter = 3", []).unwrap();
    drop(harm);

    assert_eq!(chain(&site.open().unwrap()), ChainCheck::Broken { replica, counter: 3 });
}
