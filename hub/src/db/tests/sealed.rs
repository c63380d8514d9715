//! What the store itself can read, and what belongs to whom.

use super::*;

/// Names that stand nowhere else.
const FAMILY: &str = "Quillfeather";
const PHONE: &str = "+16025550187";

fn patient_of(record: RecordId) -> Draft {
    Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 1)
        .set(patient::NAME, &Phi::new(PersonName::new(FAMILY, "Ondine")))
        .set(patient::PHONE, &Phi::new(PHONE.to_owned()))
        .done()
}

pub(super) async fn what_one_organisation_has_another_cannot_reach(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let other = store.db.found_organisation().await.unwrap();
    let mut one = Author::new(&store, 1);
    let record = RecordId([40; 16]);
    let change = one.write(11, &name(record, "Vance", &[]), None);
    store.push(SITE, one.push_after(0)).await;
    let (token, agent, replica) = ([5; 16], [6; 16], one.replica);
    store
        .write(move |txn| {
            txn.add_site(&Site {
                scope: SITE,
                name: "Riverside".to_owned(),
                zone: "America/Chicago".to_owned(),
                ehr: clinic::value::Target::Person,
                seen_ms: None,
            })?;
            txn.add_token(&TokenRow {
                token,
                secret_hash: [7; 32],
                scope: SITE,
                expires_ms: u64::MAX / 4,
                used_by: None,
            })?;
            txn.put_enrolment(agent, SITE, [8; 32])?;
            let until = txn.now_ms() + 60_000;
            assert!(txn.take_lease(b"work", agent, until)?);
            Ok(txn.allot_series(replica, SITE)?)
        })
        .await;

    other
        .write(move |txn| {
            assert_eq!(txn.state(record)?, None);
            assert!(txn.find(change)?.is_none());
            assert_eq!(txn.chain(replica)?, None);
            assert_eq!(txn.hash_at(replica, 1)?, None);
            assert_eq!(txn.feed_head(SITE, Lane::Flow)?, (0, 0));
            assert!(txn.rows_after(SITE, Lane::Flow, 0, u64::MAX)?.is_empty());
            assert!(txn.bucket_sums(SITE, Lane::Flow)?.is_empty());
            assert!(txn.scopes_of(record)?.is_empty());
            assert!(txn.search(patient::KIND, &clinic::index::search("vance"))?.is_empty());
            assert!(txn.linked_to(record, visit::KIND)?.is_empty());
            assert_eq!((txn.site(SITE)?, txn.sites()?), (None, Vec::new()));
            assert_eq!((txn.token(token)?, txn.enrolment(agent)?), (None, None));
            assert!(txn.agents_of(SITE)?.is_empty());
            assert_eq!(txn.series(replica)?, None);
            assert!(!txn.holds_lease(b"work", agent)?);
            assert!(!txn.revoke(agent)?);
            let until = txn.now_ms() + 60_000;
            assert!(txn.take_lease(b"work", [9; 16], until)?);
            // The same ids are its own to use.
            txn.author(&name(record, "Reyes", &[]), Some(SITE))
        })
        .await
        .unwrap();

    let state = store.state(record).await.unwrap();
    assert_eq!(state.register(patient::NAME.id).unwrap().values.len(), 1);
    assert_eq!(store.write(|txn| Ok(txn.feed_head(SITE, Lane::Flow)?.0)).await, 1);
    assert!(store.write(move |txn| Ok(txn.holds_lease(b"work", agent)?)).await);
    assert!(!store.write(move |txn| Ok(txn.enrolment(agent)?)).await.unwrap().revoked);
    assert_ne!(
        other.organisation().proof_key_bytes,
        store.db.organisation().proof_key_bytes
    );
    let organisations = store.db.organisations().await.unwrap();
    assert_eq!(organisations.len(), 2);
    let again = store.db.of(other.organisation().org).unwrap();
    assert_eq!(again.organisation().org, other.organisation().org);
    assert!(store.db.of([0; 16]).is_none());
}

pub(super) async fn a_row_in_anothers_place_is_damage(on: On) {
    let store = Store::new(on, Policy::CATALOGUE);
    let (one, two) = (RecordId([40; 16]), RecordId([41; 16]));
    for record in [one, two] {
        let draft = name(record, "Vance", &[]);
        store.write(move |txn| txn.author(&draft, Some(SITE))).await;
    }

    store
        .write(move |txn| {
            let from = txn.sql.one(
                "SELECT state FROM states WHERE org = ?1 AND record = ?2",
                crate::db::sql::values![txn.org, one.0],
            )?;
            let state: Vec<u8> = from.get(0)?;
            txn.sql.run(
                "UPDATE states SET state = ?3 WHERE org = ?1 AND record = ?2",
                crate::db::sql::values![txn.org, two.0, state],
            )?;
            Ok(())
        })
        .await;
    let moved = store.db.read(move |txn| txn.state(two)).await;

    assert!(matches!(moved, Err(DbError::Damaged { .. })));
    assert!(store.state(one).await.is_some());
}

#[tokio::test]
async fn a_dump_of_the_database_shows_nothing_of_a_patient() {
    let store = Store::new(On::Postgres, Policy::CATALOGUE);
    let mut one = Author::new(&store, 1);
    let record = RecordId([40; 16]);
    one.write(11, &patient_of(record), None);
    store.push(SITE, one.push_after(0)).await;
    let found = store
        .write(|txn| Ok(txn.search(patient::KIND, &clinic::index::search("quillf"))?.len()))
        .await;
    assert_eq!(found, 1);
    let key = store.db.organisation().proof_key_bytes;

    let dump = store.cluster.as_ref().unwrap().dump().unwrap().to_lowercase();

    assert!(dump.contains(&data_encoding::HEXLOWER.encode(&record.0)));
    let secrets: [&[u8]; 6] = [
        FAMILY.as_bytes(),
        b"quillfeather",
        b"ondine",
        PHONE.as_bytes(),
        b"6025550187",
        &key,
    ];
    for secret in secrets {
        let hex = data_encoding::HEXLOWER.encode(secret);
        assert!(!dump.contains(&hex), "{hex} is in the dump");
        if let Ok(text) = std::str::from_utf8(secret) {
            assert!(!dump.contains(&text.to_lowercase()), "{text} is in the dump");
        }
    }
}

/// A store as the first release wrote it: everything in clear.
#[tokio::test]
async fn a_store_of_the_first_release_is_sealed_and_goes_on() {
    let made = Store::new(On::Embedded, Policy::CATALOGUE);
    let mut one = Author::new(&made, 1);
    let record = RecordId([40; 16]);
    let change = one.write(11, &patient_of(record), None);
    made.push(SITE, one.push_after(0)).await;
    let draft = name(RecordId([41; 16]), "Reyes", &[]);
    let own = made.write(move |txn| txn.author(&draft, Some(SITE))).await.unwrap();
    let (states, changes) = made
        .write(move |txn| {
            let states = [txn.state(record)?.unwrap(), txn.state(RecordId([41; 16]))?.unwrap()];
            Ok((states, [txn.find(change)?.unwrap(), txn.find(own.change)?.unwrap()]))
        })
        .await;
    let organisation = made.db.organisation().clone();

    let old = Place {
        file: made._folder.path().join("old.db"),
        config: Config::default(),
    };
    write_first_release(&old, &made.key, &organisation, &states, &changes);
    let opened = Db::open(&old, &made.key, Policy::CATALOGUE).unwrap();

    assert_eq!(opened.organisation().org, organisation.org);
    assert_eq!(opened.organisation().proof_key_bytes, organisation.proof_key_bytes);
    let (state, found, by_word, clear) = opened
        .write(move |txn| {
            let clear = txn
                .sql
                .rows("SELECT sealed FROM changes UNION ALL SELECT state FROM states", &[])?;
            let clear: Result<Vec<Vec<u8>>, DbError> = clear.iter().map(|row| row.get(0)).collect();
            Ok::<_, DbError>((
                txn.state(record)?,
                txn.find(change)?,
                txn.search(patient::KIND, &clinic::index::search("quillfea"))?.len(),
                clear?.concat(),
            ))
        })
        .await
        .unwrap();
    assert_eq!(state.as_ref(), Some(&states[0]));
    assert_eq!(found.unwrap().change.header, changes[0].change.header);
    assert_eq!(by_word, 1);
    let family = FAMILY.as_bytes();
    assert!(!clear.windows(family.len()).any(|part| part == family));
    let draft = name(RecordId([41; 16]), "Reyes-Ortiz", &[]);
    let next = opened
        .write(move |txn| txn.author(&draft, Some(SITE)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(next.dot.counter, own.dot.counter + 1);
}

fn write_first_release(
    place: &Place,
    key: &DataKey,
    organisation: &Organisation,
    states: &[Arc<RecordState>],
    changes: &[sync_protocol::hub::KeptChange],
) {
    let connection = vault::sqlite::open(&place.file, key, Mode::Create, &place.config.tuning()).unwrap();
    connection.execute_batch(include_str!("../schema_1.sql")).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let org = organisation.org;
    connection
        .execute(
            "INSERT INTO organisations (org, epoch, hub_replica, proof_key, catalogue) VALUES (?1, ?2, ?3, ?4, ?5)",
            rusqlite::params![
                org,
                organisation.epoch.0,
                organisation.hub_replica.0,
                organisation.proof_key_bytes,
                1
            ],
        )
        .unwrap();
    for state in states {
        connection
            .execute(
                "INSERT INTO states (org, record, kind, state) VALUES (?1, ?2, ?3, ?4)",
                rusqlite::params![org, state.record.0, state.kind.0, state.to_bytes()],
            )
            .unwrap();
        for term in clinic::index::index_of(state).terms {
            connection
                .execute(
                    "INSERT INTO terms (org, term, kind, record) VALUES (?1, ?2, ?3, ?4)",
                    rusqlite::params![org, term.into_bytes(), state.kind.0, state.record.0],
                )
                .unwrap();
        }
    }
    for kept in changes {
        let is_hubs = kept.dot.replica == organisation.hub_replica;
        let scope = if is_hubs { ScopeId::NIL } else { SITE };
        let header = kept.header.as_ref().unwrap();
        connection
            .execute(
                "INSERT INTO changes (org, replica, counter, change_id, record, header, salt, payload, hash, standing, \
                 first_dot, received_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 1, 5)",
                rusqlite::params![
                    org,
                    kept.dot.replica.0,
                    kept.dot.counter as i64,
                    header.change.0,
                    header.record.0,
                    kept.change.header,
                    kept.change.salt,
                    kept.change.payload,
                    kept.hash.0
                ],
            )
            .unwrap();
        connection
            .execute(
                "INSERT INTO chains (org, replica, counter, hash, scope) VALUES (?1, ?2, ?3, ?4, ?5)",
                rusqlite::params![org, kept.dot.replica.0, kept.dot.counter as i64, kept.hash.0, scope.0],
            )
            .unwrap();
    }
}
