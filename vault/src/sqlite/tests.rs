//! What the store's file shows and refuses, on real SQLCipher files.

use super::*;

struct Store {
    folder: tempfile::TempDir,
    key: DataKey,
}

impl Store {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: DataKey::generate().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("agent.db")
    }

    fn open(&self, mode: Mode) -> Result<Connection, OpenError> {
        open(&self.path(), &self.key, mode, &quick())
    }

    /// A store with a few pages of rows, closed.
    fn filled() -> Self {
        let store = Self::new();
        let connection = store.open(Mode::Create).unwrap();
        fill(&connection);
        connection.close().unwrap();
        store
    }

    fn damage(&self, offset: usize) {
        let mut bytes = fs::read(self.path()).unwrap();
        bytes[offset] ^= 0x40;
        fs::write(self.path(), bytes).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn quick() -> Tuning {
    Tuning {
        busy_timeout: Duration::from_millis(50),
        ..Tuning::default()
    }
}

fn fill(connection: &Connection) {
    connection
        .execute_batch("CREATE TABLE arrivals (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        .unwrap();
    for _ in 0..400 {
        connection
            .execute(
                "INSERT INTO arrivals (name) VALUES ('Quintessa Marrowbone of Lane Four')",
                [],
            )
            .unwrap();
    }
}

fn fill_more(connection: &Connection) {
    connection
        .execute("INSERT INTO arrivals (name) VALUES ('later')", [])
        .unwrap();
}

fn rows(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM arrivals", [], |row| row.get(0))
        .unwrap()
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> T {
    connection
        .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
        .unwrap()
}

#[test]
fn no_file_of_the_store_holds_readable_text() {
    let store = Store::new();
    let connection = store.open(Mode::Create).unwrap();
    fill(&connection);

    let names = store.names();
    assert!(names.contains(&"agent.db-wal".to_owned()), "{names:?}");
    for name in names {
        let bytes = fs::read(store.folder.path().join(&name)).unwrap();
        for text in ["Marrowbone", "arrivals", "SQLite format"] {
            assert!(
                !bytes.windows(text.len()).any(|window| window == text.as_bytes()),
                "{name} shows {text}"
            );
        }
    }
    connection.close().unwrap();
    let closed = fs::read(store.path()).unwrap();
    assert!(closed.len() > 3 * PAGE_BYTES as usize);
    assert!(!closed.windows(10).any(|window| window == b"Marrowbone"));
}

#[test]
fn a_store_opens_again_with_its_key_and_durable_settings() {
    let store = Store::filled();

    let connection = store.open(Mode::Existing).unwrap();

    assert_eq!(rows(&connection), 400);
    assert_eq!(pragma::<String>(&connection, "journal_mode"), "wal");
    assert_eq!(pragma::<i64>(&connection, "synchronous"), 2);
    assert_eq!(pragma::<i64>(&connection, "foreign_keys"), 1);
    assert_eq!(pragma::<i64>(&connection, "temp_store"), 2);
    assert_eq!(pragma::<i64>(&connection, "cache_size"), -8192);
    assert_eq!(store.names(), ["agent.db", "agent.db-shm", "agent.db-wal"]);
}

#[cfg(unix)]
#[test]
fn every_file_of_the_store_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let store = Store::new();
    let connection = store.open(Mode::Create).unwrap();
    fill(&connection);

    for name in store.names() {
        let metadata = fs::metadata(store.folder.path().join(&name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn another_key_does_not_open_it_and_changes_nothing() {
    let store = Store::filled();
    let before = fs::read(store.path()).unwrap();

    let refused = open(&store.path(), &DataKey::generate().unwrap(), Mode::Existing, &quick());

    let error = refused.unwrap_err();
    assert!(matches!(error, OpenError::WrongKeyOrDamaged { .. }));
    assert!(error.to_string().contains("check the key file"));
    assert_eq!(fs::read(store.path()).unwrap(), before);
    assert_eq!(rows(&store.open(Mode::Existing).unwrap()), 400);
}

#[test]
fn another_key_leaves_the_log_of_a_crash_as_it_is() {
    let store = Store::filled();
    let crashed = tempfile::tempdir().unwrap();
    let connection = store.open(Mode::Existing).unwrap();
    fill_more(&connection);
    for name in store.names() {
        fs::copy(store.folder.path().join(&name), crashed.path().join(&name)).unwrap();
    }
    let of = |ending: &str| fs::read(crashed.path().join(format!("agent.db{ending}"))).unwrap();
    let before = (of(""), of("-wal"));

    let refused = open(
        &crashed.path().join("agent.db"),
        &DataKey::generate().unwrap(),
        Mode::Existing,
        &quick(),
    );

    assert!(matches!(refused, Err(OpenError::WrongKeyOrDamaged { .. })));
    assert!(before.1.len() > 1_000 && before == (of(""), of("-wal")));
}

#[test]
fn a_damaged_first_page_is_refused_and_left_as_it_is() {
    let store = Store::filled();
    store.damage(100);
    let before = fs::read(store.path()).unwrap();

    for mode in [Mode::Existing, Mode::Create] {
        assert!(store.open(mode).is_err());
    }

    assert!(matches!(
        store.open(Mode::Existing),
        Err(OpenError::WrongKeyOrDamaged { .. })
    ));
    assert_eq!(fs::read(store.path()).unwrap(), before);
}

#[test]
fn an_empty_or_cut_file_is_never_filled_anew() {
    let store = Store::filled();
    let whole = fs::read(store.path()).unwrap();

    for length in [0, 15, 4095] {
        fs::write(store.path(), &whole[..length]).unwrap();
        assert!(matches!(
            store.open(Mode::Existing),
            Err(OpenError::WrongKeyOrDamaged { .. })
        ));
        assert_eq!(fs::metadata(store.path()).unwrap().len(), length as u64);
    }
}

#[test]
fn a_missing_store_is_not_made_by_opening_it() {
    let store = Store::new();

    let writer = store.open(Mode::Existing);
    let reader = open_reader(&store.path(), &store.key, &quick());

    assert!(matches!(writer, Err(OpenError::Missing { .. })));
    assert!(matches!(reader, Err(OpenError::Missing { .. })));
    assert!(store.names().is_empty());
}

#[test]
fn a_store_that_is_there_is_never_overwritten() {
    let store = Store::filled();
    let before = fs::read(store.path()).unwrap();

    let again = store.open(Mode::Create);

    assert!(matches!(again, Err(OpenError::Exists { .. })));
    assert_eq!(fs::read(store.path()).unwrap(), before);
    assert_eq!(store.names(), ["agent.db"]);
}

#[test]
fn a_new_store_is_not_made_beside_a_stale_log() {
    let store = Store::new();
    fs::write(beside(&store.path(), "-wal"), b"stale").unwrap();

    let refused = store.open(Mode::Create);

    assert!(matches!(refused, Err(OpenError::Exists { .. })));
    assert_eq!(store.names(), ["agent.db-wal"]);
}

#[test]
fn a_new_store_in_a_missing_folder_says_so_and_makes_none() {
    let store = Store::new();
    let path = store.folder.path().join("absent").join("agent.db");

    let refused = open(&path, &store.key, Mode::Create, &quick());

    assert!(matches!(refused, Err(OpenError::Missing { .. })));
    assert!(store.names().is_empty());
}

#[test]
fn a_plain_sqlite_file_is_called_not_encrypted() {
    let store = Store::new();
    let plain = Connection::open(store.path()).unwrap();
    fill(&plain);
    plain.close().unwrap();
    let before = fs::read(store.path()).unwrap();

    assert!(matches!(
        store.open(Mode::Existing),
        Err(OpenError::NotEncrypted { .. })
    ));
    assert_eq!(fs::read(store.path()).unwrap(), before);
}

#[test]
fn a_folder_in_the_stores_place_is_no_store() {
    let store = Store::new();
    fs::create_dir(store.path()).unwrap();

    assert!(store.open(Mode::Existing).is_err());
    assert!(matches!(store.open(Mode::Create), Err(OpenError::Exists { .. })));
}

#[test]
fn a_store_held_by_another_program_is_called_busy() {
    let store = Store::filled();
    let holder = store.open(Mode::Existing).unwrap();
    holder
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;")
        .unwrap();
    // The exclusive mode takes hold of the file with the next journal mode it uses.
    holder.execute_batch("COMMIT").unwrap();
    let held: String = holder
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .unwrap();
    assert_eq!(held, "delete");
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();

    let refused = store.open(Mode::Existing);

    assert!(matches!(refused, Err(OpenError::Busy { .. })), "{refused:?}");
}

#[test]
fn a_reader_sees_what_was_committed_and_cannot_write() {
    let store = Store::new();
    let writer = store.open(Mode::Create).unwrap();
    fill(&writer);

    let reader = open_reader(&store.path(), &store.key, &quick()).unwrap();

    assert_eq!(rows(&reader), 400);
    assert!(reader.execute("DELETE FROM arrivals", []).is_err());
    writer.execute("DELETE FROM arrivals", []).unwrap();
    assert_eq!(rows(&reader), 0);
}

#[test]
fn the_page_check_passes_a_sound_store_and_names_a_damaged_page() {
    let store = Store::filled();
    let sound = store.open(Mode::Existing).unwrap();
    sound.execute("DELETE FROM arrivals WHERE id = 1", []).unwrap();
    assert_eq!(cipher_integrity_check(&sound).unwrap(), Vec::<String>::new());
    sound.close().unwrap();

    store.damage(2 * PAGE_BYTES as usize + 700);

    let damaged = store.open(Mode::Existing).unwrap();
    let found = cipher_integrity_check(&damaged).unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("page 3"), "{found:?}");
}

#[test]
fn the_page_check_waits_for_no_reader() {
    let store = Store::new();
    let writer = store.open(Mode::Create).unwrap();
    fill(&writer);
    let reader = open_reader(&store.path(), &store.key, &quick()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(rows(&reader), 400);
    writer.execute("DELETE FROM arrivals", []).unwrap();

    assert!(matches!(cipher_integrity_check(&writer), Err(CheckError::Busy)));

    reader.execute_batch("COMMIT").unwrap();
    assert!(cipher_integrity_check(&writer).unwrap().is_empty());
}

#[test]
fn no_error_quotes_the_key() {
    let store = Store::filled();
    let other = DataKey::generate().unwrap();
    let pragma = key_pragma(&other);
    let digits = &pragma[16..80];
    assert_eq!(pragma.len(), 83);

    let error = open(&store.path(), &other, Mode::Existing, &quick()).unwrap_err();

    assert!(!format!("{error} {error:?}").contains(&digits[..8]));
}
