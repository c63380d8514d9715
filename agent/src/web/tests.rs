//! The page through its own door: a real store in a folder, requests as a browser sends them, what a reader then sees.

mod arriving;
mod board;
mod bookings;
mod door;
mod line;
mod live;
mod patient;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use axum::http::{Request, Response, StatusCode};
use clinic::catalogue::{Field, room, site, staff};
use clinic::value::{Role, Target, Value};
use clinic::write::{Action, Channel, Writing};
use rustls::pki_types::CertificateDer;
use sync_protocol::{EpochId, KindId, RecordId, ScopeId};
use tokio::sync::watch;
use tower::ServiceExt;
use vault::{Custody, DataKey};

use crate::access::site::SITE;
use crate::app::App;
use crate::config::Config;
use crate::enrolment::Enrolment;
use crate::line::LineWatch;
use crate::pages::PagesOpen;
use crate::store::{Priority, ReadTx, Store, Tuning, TxError};

const SITE_ID: RecordId = RecordId([1; 16]);
const PASSPHRASE: &str = "correct horse battery";
const OWN_HOST: &str = "127.0.0.1:7780";

/// A clinic with two rooms and a person of every role, whose login is the name of the role.
struct Clinic {
    _folder: tempfile::TempDir,
    app: App,
    page: Router,
}

impl Clinic {
    async fn open() -> Clinic {
        Clinic::with_ehr(Target::Machine).await
    }

    async fn with_ehr(ehr: Target) -> Clinic {
        Clinic::with(ehr, Config::default()).await
    }

    async fn with(ehr: Target, config: Config) -> Clinic {
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(DataKey::generate().unwrap());
        let store = Store::create(folder.path(), key, Tuning::default()).unwrap();
        let enrolment = Enrolment {
            hub_url: "https://hub.example".to_owned(),
            site: SITE_ID,
            scope: ScopeId(SITE_ID.0),
            epoch: EpochId([3; 16]),
            proof_key: [4; 32],
            authority: CertificateDer::from(Vec::new()),
            certificate: CertificateDer::from(Vec::new()),
        };
        let app = App {
            store,
            enrolment: Arc::new(enrolment),
            custody: Arc::new(Custody::File),
            line: LineWatch::new(0),
            pages: PagesOpen::default(),
            config: watch::channel(Arc::new(config)).1,
        };
        let clinic = Clinic {
            page: super::router(app.clone()),
            app,
            _folder: folder,
        };
        clinic.furnish(ehr).await;
        clinic
    }

    async fn furnish(&self, ehr: Target) {
        let meta = self.app.store.write(Priority::Desk, |tx| tx.set_meta(SITE, &SITE_ID.0));
        meta.await.unwrap();
        let by = Channel::Hub.program();
        let draft = |kind: KindId, id| Writing::new(kind, id, Action::Administer, by, 0);
        let site = draft(site::KIND, SITE_ID)
            .set(site::NAME, &"Riverside Urgent Care".to_owned())
            .set(site::ZONE, &"America/Chicago".to_owned())
            .set(site::EHR, &ehr);
        self.hub_writes(site).await;
        for number in [1, 2] {
            let room = draft(room::KIND, RecordId([0x10 + number; 16]))
                .set(room::SITE, &SITE_ID)
                .set(room::NAME, &format!("Room {number}"));
            self.hub_writes(room).await;
        }
        for (number, role) in (0u8..).zip(Role::ALL) {
            let staff = draft(staff::KIND, RecordId([0x20 + number; 16]))
                .set(staff::LOGIN, &role.word().to_owned())
                .set(staff::NAME, &format!("Person, {}", role.word()))
                .set(staff::ROLE, role)
                .set(staff::CREDENTIAL, &credential())
                .set(staff::SITE, &SITE_ID);
            self.hub_writes(staff).await;
        }
    }

    /// What comes from outside the page, beside whatever the page has shown meanwhile.
    async fn hub_writes(&self, writing: Writing) {
        let draft = writing.done();
        let written = self.app.store.write(Priority::Sync, move |tx| tx.author(&draft));
        written.await.unwrap();
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTx<'_>) -> Result<T, TxError> + Send + 'static,
    ) -> T {
        self.app.store.read(read).await.unwrap()
    }

    async fn value<T: Value + Send + 'static>(&self, id: RecordId, field: Field<T>) -> Option<T> {
        self.read(move |tx| Ok(tx.state(id)?.and_then(|state| field.value(&state))))
            .await
    }

    async fn count(&self, kind: KindId) -> usize {
        self.read(move |tx| Ok(tx.records_of_kind(kind, 1_000)?.len())).await
    }

    fn browser(&self) -> Browser {
        Browser {
            page: self.page.clone(),
            cookies: Vec::new(),
        }
    }

    async fn desk(&self, role: Role) -> Browser {
        let mut browser = self.browser();
        let view = browser.sign_in(role.word(), PASSPHRASE).await;
        assert_eq!(view.location.as_deref(), Some("/board"), "{}", view.html);
        browser
    }
}

/// Cheap on purpose: what it costs is the hub's choice, and no test is about it.
fn credential() -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon
        .hash_password_with_salt(PASSPHRASE.as_bytes(), b"a salt for tests")
        .unwrap()
        .to_string()
}

struct Browser {
    page: Router,
    cookies: Vec<(String, String)>,
}

struct View {
    status: StatusCode,
    location: Option<String>,
    html: String,
}

impl View {
    /// The fields that a browser sends of a form by itself.
    fn form(&self, action: &str) -> Vec<(String, String)> {
        let start = self.html.find(&format!("action=\"{action}\""));
        let start = start.unwrap_or_else(|| panic!("no form to {action}: {}", self.html));
        let form = &self.html[start..];
        let form = &form[..form.find("</form>").unwrap()];
        let inputs = form.split("<input").skip(1);
        let inputs = inputs.map(|rest| &rest[..rest.find('>').unwrap()]);
        inputs
            .filter(|input| !input.contains("type=\"radio\"") && !input.contains("type=\"checkbox\""))
            .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default())))
            .collect()
    }

    /// The first address that begins so.
    fn address(&self, start: &str) -> String {
        let at = self.html.find(&format!("=\"{start}"));
        let at = at.unwrap_or_else(|| panic!("no address {start}: {}", self.html)) + 2;
        self.html[at..].split('"').next().unwrap().to_owned()
    }

    fn shows(&self, words: &str) -> bool {
        self.html.contains(words)
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?;
    let plain = value.replace("&#38;", "&").replace("&#60;", "<").replace("&#62;", ">");
    Some(plain.replace("&#34;", "\"").replace("&#39;", "'"))
}

impl Browser {
    async fn send(&mut self, mut request: Request<Body>) -> Response<Body> {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let headers = request.headers_mut();
        if !headers.contains_key(HOST) {
            headers.insert(HOST, OWN_HOST.parse().unwrap());
        }
        headers.insert(COOKIE, cookies.join("; ").parse().unwrap());
        let response = self.page.clone().oneshot(request).await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let (name, value) = cookie
                .to_str()
                .unwrap()
                .split(';')
                .next()
                .unwrap()
                .split_once('=')
                .unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        response
    }

    async fn view(&mut self, request: Request<Body>) -> View {
        let response = self.send(request).await;
        let location = response
            .headers()
            .get(LOCATION)
            .map(|to| to.to_str().unwrap().to_owned());
        let status = response.status();
        let body = to_bytes(response.into_body(), 10_000_000).await.unwrap();
        View {
            status,
            location,
            html: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn get(&mut self, path: &str) -> View {
        self.view(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&mut self, path: &str, fields: &[(String, String)]) -> View {
        let form = uri_form(fields);
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        self.view(request).await
    }

    /// Sends a form of a page with some of its fields filled.
    async fn submit(&mut self, shown: &View, action: &str, filled: &[(&str, &str)]) -> View {
        let mut fields = shown.form(action);
        for (name, value) in filled {
            fields.retain(|(given, _)| given != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.post(action, &fields).await
    }

    async fn sign_in(&mut self, login: &str, passphrase: &str) -> View {
        let door = self.get("/sign-in").await;
        let filled = [("login", login), ("passphrase", passphrase)];
        self.submit(&door, "/sign-in", &filled).await
    }

    /// Arrives somebody whom nobody looks like; gives the addresses of the visit and of the patient.
    async fn arrive(&mut self, name: &str, birth_date: &str) -> (RecordId, RecordId) {
        let form = self.get("/arrivals").await;
        let filled = [("name", name), ("birth_date", birth_date), ("reason", "Cough")];
        let sent = self.submit(&form, "/arrivals", &filled).await;
        let location = sent.location.unwrap_or_else(|| panic!("not arrived: {}", sent.html));
        let arrived = self.get(&location).await;
        let visit = RecordId::parse(location.strip_prefix("/arrivals/").unwrap()).unwrap();
        let patient = arrived.address("/patients/");
        (
            visit,
            RecordId::parse(patient.strip_prefix("/patients/").unwrap()).unwrap(),
        )
    }
}

fn uri_form(fields: &[(String, String)]) -> String {
    let encoded = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let one = |byte: u8| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        };
        text.bytes().map(one).collect()
    };
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.join("&")
}

/// A real server on a port of its own, for what one request alone does not show.
async fn served(
    clinic: &Clinic,
) -> (
    SocketAddr,
    tokio_util::sync::CancellationToken,
    tokio::task::JoinHandle<()>,
) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, app) = (tokio_util::sync::CancellationToken::new(), clinic.app.clone());
    let token = stop.clone();
    let serving = tokio::spawn(async move { super::serve(listener, app, token).await.unwrap() });
    (address, stop, serving)
}
