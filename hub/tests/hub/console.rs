//! The console, asked as a browser asks it.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, StatusCode};
use totp_rs::{Algorithm, TOTP};

use super::program::{Home, Running, write_file};
use super::site::Agent;

const PASSPHRASE: &str = "correct horse battery staple";

struct World {
    home: Home,
    hub: Running,
    secret: Vec<u8>,
}

/// A hub with a console and one account.
fn world(role: &str) -> World {
    let home = Home::without_config();
    home.configure("[server]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\ntries_max = 3\n");
    let secret = add_admin(&home, "okafor", role);
    let hub = home.run();
    World { home, hub, secret }
}

fn add_admin(home: &Home, login: &str, role: &str) -> Vec<u8> {
    let file = home.path().join("passphrase");
    write_file(&file, &format!("{PASSPHRASE}\n"));
    let added = home.json(&[
        "admin",
        "add",
        login,
        "--name",
        "Okafor, Maya",
        "--role",
        role,
        "--passphrase-file",
        file.to_str().unwrap(),
    ]);
    std::fs::remove_file(file).unwrap();
    let secret = added["secret"].as_str().unwrap();
    assert!(added["uri"].as_str().unwrap().contains(secret));
    data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap()
}

impl World {
    fn code(&self, steps_away: i64) -> String {
        let now = jiff::Timestamp::now().as_second() + steps_away * 30;
        let totp = TOTP::new(Algorithm::SHA1, 6, 0, 30, self.secret.clone()).unwrap();
        totp.generate(now as u64)
    }

    fn browser(&self) -> Browser {
        vault::tls::install_provider();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Browser {
            client,
            base: self.hub.console.clone().unwrap(),
            cookies: Vec::new(),
        }
    }

    async fn signed_in(&self) -> Browser {
        let mut browser = self.browser();
        let (status, to) = browser.sign_in(PASSPHRASE, &self.code(0)).await;
        assert_eq!((status, to.as_str()), (StatusCode::SEE_OTHER, "/sites"));
        browser
    }
}

struct Browser {
    client: Client,
    base: String,
    cookies: Vec<String>,
}

impl Browser {
    async fn get(&mut self, path: &str) -> (StatusCode, String) {
        let sent = self
            .client
            .get(format!("{}{path}", self.base))
            .header(COOKIE, self.cookies.join("; "));
        let response = sent.send().await.unwrap();
        self.keep(&response);
        (response.status(), response.text().await.unwrap())
    }

    fn keep(&mut self, response: &reqwest::Response) {
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            assert!(
                cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
                "{cookie}"
            );
            let pair = cookie.split(';').next().unwrap().to_owned();
            let name = pair.split('=').next().unwrap().to_owned();
            self.cookies.retain(|one| one.split('=').next() != Some(&name));
            self.cookies.push(pair);
        }
    }

    async fn csrf(&mut self, path: &str) -> String {
        let (_, html) = self.get(path).await;
        let after = html.split("name=\"csrf\" value=\"").nth(1).unwrap_or_default();
        after.split('"').next().unwrap().to_owned()
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String, String) {
        let encode = |text: &str| -> String {
            text.bytes()
                .map(|b| match b {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(b).to_string(),
                    _ => format!("%{b:02X}"),
                })
                .collect()
        };
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let sent = self
            .client
            .post(format!("{}{path}", self.base))
            .header(COOKIE, self.cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.join("&"));
        let response = sent.send().await.unwrap();
        self.keep(&response);
        let to = response
            .headers()
            .get(LOCATION)
            .map(|to| to.to_str().unwrap().to_owned());
        (
            response.status(),
            to.unwrap_or_default(),
            response.text().await.unwrap(),
        )
    }

    async fn sign_in(&mut self, passphrase: &str, code: &str) -> (StatusCode, String) {
        let csrf = self.csrf("/sign-in").await;
        let fields = [
            ("csrf", csrf.as_str()),
            ("login", "okafor"),
            ("passphrase", passphrase),
            ("code", code),
        ];
        let (status, to, _) = self.post("/sign-in", &fields).await;
        (status, to)
    }
}

#[tokio::test]
async fn an_administrator_signs_in_adds_a_site_makes_a_token_and_signs_out() {
    let world = world("admin");
    let mut browser = world.signed_in().await;

    let csrf = browser.csrf("/sites").await;
    let new = [
        ("csrf", csrf.as_str()),
        ("name", "Riverside <b>"),
        ("zone", "America/Chicago"),
        ("rooms", "1\n2\n"),
        ("ehr", ""),
    ];
    let (status, to, _) = browser.post("/sites", &new).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let site = to
        .strip_prefix("/sites/")
        .unwrap()
        .split('?')
        .next()
        .unwrap()
        .to_owned();
    let (_, page) = browser.get(&to).await;
    assert!(
        page.contains("Riverside &#60;b&#62;") && page.contains("<dd>1, 2</dd>"),
        "{page}"
    );
    let (status, _, page) = browser.post(&format!("/sites/{site}/token"), &[("csrf", &csrf)]).await;
    assert_eq!(status, StatusCode::OK);
    let token = page.split("id=\"token\">").nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(
        vault::EnrolmentToken::parse(token).unwrap().hub_url(),
        world.hub.address
    );
    for path in ["/sites", "/matches", "/conflicts", "/quarantine", "/admins"] {
        assert_eq!(browser.get(path).await.0, StatusCode::OK, "{path}");
    }

    assert_eq!(browser.post("/sign-out", &[("csrf", &csrf)]).await.1, "/sign-in");
    assert_eq!(browser.get("/sites").await.0, StatusCode::SEE_OTHER);
    let logs = world.home.logs();
    assert!(
        logs.contains("an administrator signed in") && logs.contains("a site was added"),
        "{logs}"
    );
    assert!(!logs.contains("Okafor") && !logs.contains(PASSPHRASE));
}

#[tokio::test]
async fn a_code_is_good_once_and_one_step_away_and_no_further() {
    let world = world("admin");
    let mut browser = world.browser();

    assert_eq!(
        browser.sign_in(PASSPHRASE, &world.code(-3)).await.0,
        StatusCode::UNAUTHORIZED
    );
    let code = world.code(0);
    assert_eq!(browser.sign_in(PASSPHRASE, &code).await.0, StatusCode::SEE_OTHER);
    assert_eq!(
        world.browser().sign_in(PASSPHRASE, &code).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        world.browser().sign_in(PASSPHRASE, &world.code(1)).await.0,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn wrong_tries_close_an_account_until_somebody_at_the_machine_opens_it() {
    let world = world("admin");

    for _ in 0..3 {
        let wrong = world.browser().sign_in("wrong wrong wrong", &world.code(0)).await;
        assert_eq!(wrong.0, StatusCode::UNAUTHORIZED);
    }
    let closed = world.browser().sign_in(PASSPHRASE, &world.code(0)).await;
    assert_eq!(closed.0, StatusCode::TOO_MANY_REQUESTS);
    world.home.json(&["admin", "unlock", "okafor"]);

    world.signed_in().await;
}

#[tokio::test]
async fn a_viewer_sees_and_changes_nothing_and_a_closed_account_sees_nothing() {
    let world = world("viewer");
    let mut browser = world.signed_in().await;

    let (status, page) = browser.get("/sites").await;
    assert_eq!(status, StatusCode::OK);
    assert!(!page.contains("Add a site"));
    let csrf = browser.csrf("/sites").await;
    let new = [
        ("csrf", csrf.as_str()),
        ("name", "X"),
        ("zone", "America/Chicago"),
        ("rooms", ""),
        ("ehr", ""),
    ];
    let (status, _, page) = browser.post("/sites", &new).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{page}");
    assert!(
        world.home.json(&["site", "list"])["sites"]
            .as_array()
            .unwrap()
            .is_empty()
    );

    world.home.json(&["admin", "remove", "okafor"]);
    assert_eq!(browser.get("/sites").await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_form_without_its_token_and_a_request_from_elsewhere_change_nothing() {
    let world = world("admin");
    let mut browser = world.signed_in().await;
    let csrf = browser.csrf("/sites").await;
    let new = |csrf| {
        [
            ("csrf", csrf),
            ("name", "X"),
            ("zone", "America/Chicago"),
            ("rooms", ""),
            ("ehr", ""),
        ]
    };

    assert_eq!(browser.post("/sites", &new("0")).await.0, StatusCode::FORBIDDEN);
    let url = format!("{}/sites", browser.base);
    let foreign = browser
        .client
        .post(&url)
        .header(COOKIE, browser.cookies.join("; "))
        .header("origin", "https://evil.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("csrf={csrf}&name=X&zone=America%2FChicago&rooms=&ehr="));
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let misnamed = browser.client.get(&url).header("host", "evil.example");
    let misnamed = misnamed.send().await.unwrap();
    assert_eq!(misnamed.status(), StatusCode::MISDIRECTED_REQUEST);
    let headers = misnamed.headers();
    assert!(
        headers["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-frame-options"], "DENY");

    assert!(
        world.home.json(&["site", "list"])["sites"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn two_records_are_linked_taken_apart_and_told_apart_at_the_console() {
    let world = world("admin");
    let site = world.home.add_site("Riverside");
    let mut agent = Agent::enrolled(&world.hub, &world.home.token(&site)).await;
    let (a, first) = agent.register("Whitehorse");
    let (b, second) = agent.register("Whitehouse");
    for request in [first, second] {
        agent.push(&world.hub, &request).await;
    }
    let mut browser = world.signed_in().await;
    let path = format!("/matches/{a}/{b}");

    let (status, page) = browser.get(&path).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Whitehorse, Ana") && page.contains("Whitehouse, Ana") && page.contains("nobody has asked"));
    let csrf = browser.csrf(&path).await;
    for (is, then) in [
        ("one-person", "linked as one person"),
        ("open", "waits for somebody to say"),
        ("two-people", "said to be two people"),
    ] {
        let (status, to, _) = browser.post(&path, &[("csrf", &csrf), ("is", is)]).await;
        assert_eq!((status, to), (StatusCode::SEE_OTHER, format!("{path}?done=decided")));
        let page = browser.get(&path).await.1;
        assert!(page.contains(then), "{is}: {page}");
        let waits = browser.get("/matches").await.1.contains("Whitehorse");
        assert_eq!(waits, is == "open");
    }
    assert!(!world.home.logs().contains("Whitehorse"));
}
