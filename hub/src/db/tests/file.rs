//! The embedded store's own file.

use vault::sqlite::Tuning;

use super::*;

#[test]
fn another_key_and_a_newer_store_are_refused_and_left_as_they_are() {
    let store = Store::new(On::Embedded, Policy::CATALOGUE);
    store.db.close();
    let before = std::fs::read(&store.place.file).unwrap();

    let other = Db::open(&store.place, &DataKey::generate().unwrap(), Policy::CATALOGUE);
    assert!(matches!(other, Err(DbError::Open(OpenError::WrongKeyOrDamaged { .. }))));
    assert!(
        std::fs::read(&store.place.file).unwrap() == before,
        "the file has changed"
    );

    let connection = vault::sqlite::open(&store.place.file, &store.key, Mode::Existing, &Tuning::default()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let newer = Db::open(&store.place, &store.key, Policy::CATALOGUE);
    assert!(matches!(newer, Err(DbError::Newer { stored: 99, .. })));
}
