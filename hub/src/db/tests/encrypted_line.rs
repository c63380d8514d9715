//! PostgreSQL as on another machine: the line is encrypted, the server's certificate checked, the user's password asked for.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

/// A server that demands encryption, and what a hub's settings name of it.
struct Far {
    cluster: Cluster,
    folder: tempfile::TempDir,
    key: Arc<DataKey>,
}

impl Far {
    fn new() -> Far {
        Far {
            cluster: Cluster::start_encrypted().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            key: Arc::new(DataKey::generate().unwrap()),
        }
    }

    fn private_file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        file
    }

    fn place(&self, authority_pem: Option<&str>, password: &str) -> Place {
        Place {
            file: self.folder.path().join("hub.db"),
            config: Config {
                postgres: Some(self.cluster.url()),
                password_file: Some(self.private_file("password", &format!("{password}\n"))),
                authority_file: authority_pem.map(|pem| self.private_file("authority.pem", pem)),
                ..Config::default()
            },
        }
    }

    fn refusal(&self, place: &Place) -> String {
        match Db::create(place, &self.key, Policy::CATALOGUE) {
            Ok(_) => panic!("the store was opened"),
            Err(error) => error.to_string(),
        }
    }
}

#[tokio::test]
async fn every_connection_to_a_server_with_a_certificate_is_encrypted() {
    let far = Far::new();
    let place = far.place(far.cluster.authority_pem(), Cluster::PASSWORD);
    let db = Db::create(&place, &far.key, Policy::CATALOGUE).unwrap();
    let draft = name(RecordId([101; 16]), "Vance", &[]);

    let dot = db.write(move |txn| txn.author(&draft, Some(SITE))).await.unwrap();

    assert!(dot.is_some());
    let lines = "SELECT ssl, count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = 'mainstay-hub' GROUP BY ssl";
    assert_eq!(far.cluster.sql("hub", lines).unwrap(), "t|t");
}

#[test]
fn a_server_that_another_authority_certified_is_not_spoken_to() {
    let far = Far::new();
    let other = Cluster::start_encrypted().unwrap();

    let refusal = far.refusal(&far.place(other.authority_pem(), Cluster::PASSWORD));

    assert!(refusal.contains("certificate"), "{refusal}");
}

#[test]
fn a_wrong_password_is_named_and_not_shown() {
    let far = Far::new();

    let refusal = far.refusal(&far.place(far.cluster.authority_pem(), "five loud herons"));

    assert!(refusal.contains("does not let this user in"), "{refusal}");
    assert!(!refusal.contains("herons"), "{refusal}");
}

#[test]
fn a_server_that_demands_encryption_refuses_a_hub_that_names_no_authority() {
    let far = Far::new();

    let refusal = far.refusal(&far.place(None, Cluster::PASSWORD));

    assert!(refusal.contains("does not let this user in"), "{refusal}");
}
