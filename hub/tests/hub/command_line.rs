//! The verbs, their answers and exit codes, and what is left on the disk.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use clinic::catalogue::staff;
use sync_protocol::Lane;

use super::program::{Home, write_file};
use super::site::Agent;

#[test]
fn any_verb_on_an_empty_home_sets_it_up_once() {
    let home = Home::new();

    let first = home.json(&["status"]);
    let second = home.json(&["status"]);

    assert_eq!(first["epoch"].as_str().unwrap().len(), 32);
    assert_eq!(first, second);
    assert_eq!(first["warnings"][0]["text"], "key not protected by hardware");
    let mode = |name: &str| std::fs::metadata(home.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("keys"), mode("keys/store.key"), mode("data")),
        (0o700, 0o600, 0o700)
    );
    assert!(!home.path().join("keys/setting-up").exists());
}

#[test]
fn verbs_answer_the_same_whether_the_hub_runs_or_not() {
    let home = Home::new();
    let site = home.add_site("  Riverside \t Clinic ");
    let stopped = home.json(&["status"]);

    let hub = home.run();
    let running = home.json(&["status"]);
    let lakeside = home.add_site("Lakeside");
    assert_eq!(hub.stop(), Some(0));

    assert_eq!(stopped, running);
    assert_eq!(stopped["sites"][0]["name"], "Riverside Clinic");
    let names = home.json(&["status"])["sites"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["site"].clone())
        .collect::<Vec<_>>();
    assert_eq!(names, [lakeside, site]);
    assert!(!home.path().join("data/hub.sock").exists());
}

#[test]
fn a_token_carries_the_address_that_the_hub_has_or_was_given() {
    let home = Home::new();
    let site = home.add_site("Riverside");

    let (code, said) = home.failure(&["token", "--site", &site]);
    assert_eq!(code, 3);
    assert!(said.contains("public_url"), "{said}");

    let hub = home.run();
    let token = vault::EnrolmentToken::parse(&home.token(&site)).unwrap();
    assert_eq!(token.hub_url(), hub.address);
    assert_eq!(hub.stop(), Some(0));

    home.configure("[server]\npublic_url = \"https://hub.example:9443\"\n");
    let answer = home.json(&["token", "--site", &site, "--valid-hours", "2"]);
    let token = vault::EnrolmentToken::parse(answer["token"].as_str().unwrap()).unwrap();
    assert_eq!(token.hub_url(), "https://hub.example:9443");
    let expires: jiff::Timestamp = answer["expires"].as_str().unwrap().parse().unwrap();
    let hours = (expires.as_second() - jiff::Timestamp::now().as_second()) as f64 / 3600.0;
    assert!((1.9..=2.0).contains(&hours), "{hours}");
}

#[tokio::test]
async fn staff_reach_their_site_with_a_hash_that_only_their_passphrase_opens() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let secret = home.path().join("passphrase");
    write_file(&secret, "correct horse battery\n");
    let file = secret.to_str().unwrap().to_owned();
    let add = [
        "staff",
        "add",
        "M.Okafor",
        "--name",
        "Okafor, Maya",
        "--role",
        "lead",
        "--site",
        &site,
    ];
    let with_file = [&add[..], &["--passphrase-file", &file]].concat();

    let added = home.json(&with_file);
    let (again, said) = home.failure(&with_file);
    std::fs::remove_file(&secret).unwrap();

    assert_eq!(again, 1);
    assert!(said.contains("taken"), "{said}");
    let hub = home.run();
    let agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let pulled = agent.pull(&hub, &agent.pull_request([0; 4], 0)).await;
    let reference = pulled.pages.iter().find(|page| page.lane == Lane::Reference).unwrap();
    let person = reference
        .rows
        .iter()
        .filter_map(|row| row.state())
        .find(|state| state.kind == staff::KIND)
        .unwrap();
    assert_eq!(person.record.to_string(), added["staff"]);
    assert_eq!(staff::LOGIN.value(person).as_deref(), Some("m.okafor"));
    let hash = staff::CREDENTIAL.value(person).unwrap();
    let hash = PasswordHash::new(&hash).unwrap();
    assert!(
        Argon2::default()
            .verify_password(b"correct horse battery", &hash)
            .is_ok()
    );
    assert_eq!(
        home.files_that_show("correct horse battery"),
        [] as [std::path::PathBuf; 0]
    );
}

#[tokio::test]
async fn patients_are_found_and_edited_and_their_allergies_follow_them() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let mut agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let (record, push) = agent.register("Vance");
    agent.push(&hub, &push).await;
    let id = record.to_string();

    let found = home.json(&["patient", "find", "vanse"]);
    assert_eq!(found["patients"][0]["patient"], id);
    assert_eq!(found["patients"][0]["name"], "Vance, Ana");
    let edit = [
        "--phone",
        "(555) 010-0199",
        "--birth-date",
        "1988-06-16",
        "--add-allergy",
        "penicillin",
    ];
    let edited = home.json(&[&["patient", "edit", &id][..], &edit].concat());
    assert_eq!(edited["changes"].as_array().unwrap().len(), 2);
    let by_phone = home.json(&["patient", "find", "555-010-0199"]);
    assert_eq!(by_phone["patients"][0]["birth_date"], "1988-06-16");
    let nothing_new = home.json(&["patient", "edit", &id, "--birth-date", "06/16/1988"]);
    assert_eq!(nothing_new["changes"].as_array().unwrap().len(), 0);

    let pulled = agent.pull(&hub, &agent.pull_request([0; 4], 0)).await;
    let safety = pulled.pages.iter().find(|page| page.lane == Lane::Safety).unwrap();
    assert_eq!(safety.rows.len(), 1);
}

#[tokio::test]
async fn who_is_alike_by_an_edit_at_the_hub_is_found() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let mut agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let pairs = || home.json(&["match", "list"])["pairs"].as_array().unwrap().len();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (record, push) = agent.register("Vance");
        agent.push(&hub, &push).await;
        ids.push(record.to_string());
    }
    assert_eq!(pairs(), 0);

    for id in &ids {
        let edit = ["--phone", "(555) 010-0199", "--birth-date", "1988-06-16"];
        home.json(&[&["patient", "edit", id][..], &edit].concat());
    }

    let link = home.json(&["match", "show", &ids[0], &ids[1]]);
    assert_eq!(link["standing"], "linked", "{link}");
}

#[tokio::test]
async fn no_file_and_no_log_shows_a_patients_name() {
    let home = Home::new();
    let site = home.add_site("Riverside");
    let hub = home.run();
    let mut agent = Agent::enrolled(&hub, &home.token(&site)).await;
    let (record, push) = agent.register("Zzyzxquist");
    agent.push(&hub, &push).await;
    home.json(&["patient", "find", "Zzyzxquist"]);
    home.json(&[
        "patient",
        "edit",
        &record.to_string(),
        "--email",
        "zzyzxquist@example.org",
    ]);
    let while_running = home.files_that_show("Zzyzx");
    assert_eq!(hub.stop(), Some(0));

    assert_eq!(while_running, [] as [std::path::PathBuf; 0]);
    for text in ["Zzyzx", "zzyzx", "ZZYZX"] {
        assert_eq!(home.files_that_show(text), [] as [std::path::PathBuf; 0]);
    }
    let logs = home.logs();
    assert!(
        logs.contains("the hub is ready") && logs.contains("an agent was enrolled"),
        "{logs}"
    );
    assert!(!logs.contains("\"ERROR\""), "{logs}");
}

#[test]
fn a_second_hub_on_the_same_home_is_refused() {
    let home = Home::new();
    let hub = home.run();

    let (code, said) = home.failure(&["run"]);

    assert_eq!(code, 4);
    assert!(said.contains("stop that one first"), "{said}");
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn a_hub_that_was_killed_leaves_nothing_in_the_way() {
    let home = Home::new();
    home.run().kill();
    assert!(home.path().join("data/hub.sock").exists());

    home.json(&["status"]);
    let hub = home.run();

    home.json(&["status"]);
    assert_eq!(hub.stop(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let home = Home::without_config();
    home.configure(&format!("[server]\nlisten = \"{address}\"\n"));

    let (code, said) = home.failure(&["run"]);

    assert_eq!(code, 5);
    assert!(
        said.contains(&address.to_string()) && said.contains("[server] listen"),
        "{said}"
    );
}

#[test]
fn a_configuration_that_cannot_be_read_names_file_line_and_remedy() {
    let home = Home::without_config();
    home.configure("[server]\nlissen = \"127.0.0.1:0\"\n");

    for verb in ["run", "status"] {
        let (code, said) = home.failure(&[verb]);
        assert_eq!(code, 3);
        assert!(
            said.contains("hub.toml, line 2: unknown field `lissen`, expected one of `listen`"),
            "{said}"
        );
    }
    assert!(!home.path().join("data").exists());
}

#[test]
fn a_store_that_does_not_open_is_left_as_it_is() {
    let (home, other) = (Home::new(), Home::new());
    home.add_site("Riverside");
    other.add_site("Lakeside");
    let (key, store) = (home.path().join("keys/store.key"), home.path().join("data/hub.db"));
    let (own_key, before) = (std::fs::read(&key).unwrap(), std::fs::read(&store).unwrap());
    let unchanged = || std::fs::read(&store).unwrap() == before;

    std::fs::copy(other.path().join("keys/store.key"), &key).unwrap();
    assert_eq!(home.failure(&["run"]).0, 6);
    // The authority is sealed with the same key, so a key that fits it alone must not help either.
    for name in ["authority.key", "authority.pem"] {
        std::fs::copy(
            home.path().join("keys").join(name),
            home.path().join(format!("{name}.own")),
        )
        .unwrap();
        std::fs::copy(
            other.path().join("keys").join(name),
            home.path().join("keys").join(name),
        )
        .unwrap();
    }
    let (code, said) = home.failure(&["status"]);
    assert_eq!(code, 6);
    assert!(said.contains("does not open") && said.contains("backup"), "{said}");
    for name in ["authority.key", "authority.pem"] {
        std::fs::copy(
            home.path().join(format!("{name}.own")),
            home.path().join("keys").join(name),
        )
        .unwrap();
    }
    assert!(unchanged());

    std::fs::remove_file(&key).unwrap();
    let (code, said) = home.failure(&["run"]);
    assert_eq!(code, 6);
    assert!(said.contains("store.key is missing"), "{said}");
    assert!(!key.exists() && unchanged());

    std::fs::write(&key, &own_key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = home.failure(&["run"]);
    assert_eq!(code, 6);
    assert!(said.contains("chmod 600"), "{said}");

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(home.json(&["status"])["sites"][0]["name"], "Riverside");

    std::fs::rename(&store, home.path().join("elsewhere")).unwrap();
    let (code, said) = home.failure(&["run"]);
    assert_eq!(code, 6);
    assert!(said.contains("is missing") && !store.exists(), "{said}");
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let home = Home::new();
    home.json(&["status"]);
    let key = vault::key_file::load(&home.path().join("keys/store.key")).unwrap();
    let store = home.path().join("data/hub.db");
    let tuning = vault::sqlite::Tuning::default();
    let connection = vault::sqlite::open(&store, &key, vault::sqlite::Mode::Existing, &tuning).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);

    let (code, said) = home.failure(&["run"]);

    assert_eq!(code, 6);
    assert!(said.contains("newer version"), "{said}");
}

#[test]
fn wrong_usage_is_told_from_other_failures() {
    let home = Home::new();
    let nowhere = "00000000000000000000000000000000";

    assert_eq!(home.failure(&["nonsense"]).0, 2);
    assert_eq!(home.failure(&["site", "add", "X", "--zone", "Mars/Olympus"]).0, 2);
    assert_eq!(home.failure(&["site", "add", " ", "--zone", "America/Chicago"]).0, 2);
    assert_eq!(home.failure(&["token", "--site", nowhere]).0, 3);
    assert_eq!(home.failure(&["patient", "edit", nowhere, "--phone", "1"]).0, 1);
    assert_eq!(home.failure(&["patient", "edit", nowhere]).0, 2);
    assert_eq!(
        home.failure(&["patient", "edit", nowhere, "--birth-date", "1988-13-40"])
            .0,
        2
    );
    let staff = [
        "staff", "add", "a", "--name", "A, B", "--role", "lead", "--site", nowhere,
    ];
    assert_eq!(home.failure(&staff).0, 2);
    let (_, said) = home.failure(&["status", "--json", "--home", "/dev/null/x"]);
    assert!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["error"].is_string());
}

#[test]
fn help_and_completions_teach() {
    let home = Home::new();

    let help = String::from_utf8(home.output(&["--help"]).stdout).unwrap();
    let completions = String::from_utf8(home.output(&["completions", "bash"]).stdout).unwrap();

    assert!(help.contains("First steps") && help.contains("Exit codes"), "{help}");
    assert!(completions.contains("valid-hours"));
    assert!(!home.path().join("data").exists());
}
