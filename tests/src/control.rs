//! The demo's control page: shows the line, cuts and restores it, says where everything is and how to sign in.
//!
//! Listens on loopback alone and takes JSON alone, which no other site's page can send here. Refuses to reach into the
//! agent or the hub: the line is all it can touch.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::line::{Condition, Line};

/// Where to look and how to sign in; the one line that `cargo demo --headless --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct WhereToLook {
    pub page: String,
    pub hub: String,
    pub mllp: String,
    pub ehr: Option<String>,
    pub control: String,
    pub site: String,
    pub sign_in: HowToSignIn,
}

#[derive(Clone, Debug, Serialize)]
pub struct HowToSignIn {
    pub login: String,
    pub passphrase: String,
}

/// The control page while it is served.
pub struct Control {
    address: SocketAddr,
    stop: CancellationToken,
    server: Option<JoinHandle<()>>,
}

struct Shared {
    line: Arc<Line>,
    site_name: String,
    places: WhereToLook,
}

impl Control {
    /// Serves on a free loopback port; `places` is told the address of its own.
    pub async fn serve(line: Arc<Line>, site_name: &str, mut places: WhereToLook) -> Result<(Self, WhereToLook)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no loopback port for the control page")?;
        let address = listener.local_addr()?;
        places.control = format!("http://{address}");
        let shared = Arc::new(Shared {
            line,
            site_name: site_name.into(),
            places: places.clone(),
        });
        let routes = Router::new()
            .route("/", get(control_page))
            .route("/state", get(state))
            .route("/line", post(set_line))
            .with_state(shared);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            // The one error is a listener that breaks, and then nobody can be told here.
            let _ = axum::serve(listener, routes).with_graceful_shutdown(stopped).await;
        });
        Ok((
            Self {
                address,
                stop,
                server: Some(server),
            },
            places,
        ))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            let _ = server.await;
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// What `POST /line` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineWanted {
    site: String,
    up: bool,
}

async fn set_line(State(shared): State<Arc<Shared>>, Json(wanted): Json<LineWanted>) -> Response {
    if wanted.site != shared.places.site {
        let error = json!({ "error": "no such site here", "site": shared.places.site });
        return (StatusCode::NOT_FOUND, Json(error)).into_response();
    }
    let condition = if wanted.up { Condition::Up } else { Condition::Cut };
    match shared.line.set(condition).await {
        Ok(()) => Json(state_of(&shared)).into_response(),
        Err(broken) => (StatusCode::INTERNAL_SERVER_ERROR, broken.to_string()).into_response(),
    }
}

async fn state(State(shared): State<Arc<Shared>>) -> Json<serde_json::Value> {
    Json(state_of(&shared))
}

fn state_of(shared: &Shared) -> serde_json::Value {
    json!({ "site": shared.places.site, "up": shared.line.condition() == Condition::Up })
}

async fn control_page(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    (
        [(header::CONTENT_SECURITY_POLICY, policy)],
        Html(render(&shared.site_name, &shared.places)),
    )
}

fn render(site_name: &str, places: &WhereToLook) -> String {
    let ehr = match &places.ehr {
        Some(ehr) => format!("<dt>EHR (FHIR)</dt><dd><a href=\"{ehr}/Patient\">{ehr}</a></dd>"),
        None => "<dt>EHR</dt><dd>a person: see the work list on the page</dd>".into(),
    };
    PAGE.replace("{site}", &places.site)
        .replace("{site_name}", site_name)
        .replace("{page}", &places.page)
        .replace("{hub}", &places.hub)
        .replace("{mllp}", &places.mllp)
        .replace("{ehr}", &ehr)
        .replace("{login}", &places.sign_in.login)
        .replace("{passphrase}", &places.sign_in.passphrase)
}

const PAGE: &str = include_str!("control.html");

#[cfg(test)]
mod tests {
    use super::*;

    async fn served() -> (Control, Arc<Line>, WhereToLook) {
        let line = Arc::new(Line::lay().await.unwrap());
        let places = WhereToLook {
            page: "http://127.0.0.1:1".into(),
            hub: "https://127.0.0.1:2".into(),
            mllp: "127.0.0.1:3".into(),
            ehr: None,
            control: String::new(),
            site: "5a".into(),
            sign_in: HowToSignIn {
                login: "dolores".into(),
                passphrase: "made-up".into(),
            },
        };
        let (control, places) = Control::serve(Arc::clone(&line), "Riverside", places).await.unwrap();
        (control, line, places)
    }

    #[tokio::test]
    async fn the_line_is_cut_and_restored_by_json() {
        let (control, line, places) = served().await;
        let http = crate::plain_http().unwrap();
        let post = |up: bool| {
            http.post(format!("{}/line", places.control))
                .json(&json!({ "site": "5a", "up": up }))
                .send()
        };

        let cut: serde_json::Value = post(false).await.unwrap().json().await.unwrap();
        let when_cut = line.condition();
        let restored: serde_json::Value = post(true).await.unwrap().json().await.unwrap();

        assert_eq!((cut["up"].as_bool(), when_cut), (Some(false), Condition::Cut));
        assert_eq!(
            (restored["up"].as_bool(), line.condition()),
            (Some(true), Condition::Up)
        );
        control.stop().await;
    }

    #[tokio::test]
    async fn another_sites_page_cannot_cut_the_line() {
        let (_control, line, places) = served().await;
        let http = crate::plain_http().unwrap();
        let form = http
            .post(format!("{}/line", places.control))
            .header("content-type", "text/plain");

        let status = form.body(r#"{"site":"5a","up":false}"#).send().await.unwrap().status();

        assert_eq!(status.as_u16(), 415);
        assert_eq!(line.condition(), Condition::Up);
    }

    #[tokio::test]
    async fn a_site_that_is_not_there_is_not_found() {
        let (_control, line, places) = served().await;
        let http = crate::plain_http().unwrap();

        let sent = http
            .post(format!("{}/line", places.control))
            .json(&json!({ "site": "zz", "up": false }));

        assert_eq!(sent.send().await.unwrap().status().as_u16(), 404);
        assert_eq!(line.condition(), Condition::Up);
    }

    #[tokio::test]
    async fn the_page_says_where_to_look_and_how_to_sign_in() {
        let (_control, _line, places) = served().await;

        let html = crate::plain_http()
            .unwrap()
            .get(&places.control)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();

        for said in [
            "http://127.0.0.1:1",
            "127.0.0.1:3",
            "dolores",
            "made-up",
            "Cut the line",
            "Restore the line",
        ] {
            assert!(html.contains(said), "{said} is missing");
        }
        assert!(!html.contains("{site}") && !html.contains("{ehr}"));
    }
}
