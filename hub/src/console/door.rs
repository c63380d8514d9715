//! What every request passes: a name that is the console's own, no form from another site, and the headers that keep a
//! browser from doing more than the page needs.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;

use super::Config;
use super::refusal::plain;

const HEADERS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

#[derive(Clone)]
pub(super) struct Guard {
    names: Arc<Vec<String>>,
    tls: bool,
}

impl Guard {
    pub(super) fn new(config: &Config) -> Guard {
        let mut names: Vec<String> = config.names.iter().map(|name| name.to_lowercase()).collect();
        names.push(config.listen.ip().to_string());
        Guard {
            names: Arc::new(names),
            tls: config.tls(),
        }
    }

    /// A name that leads here by somebody else's name server is refused, so that no other site can read the page.
    fn is_own_name(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
            Some(_) | None => host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']').to_lowercase();
        self.names.contains(&name)
    }

    /// The host that the request is for, if it is said once and is ours.
    fn own_host<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let mut hosts = headers.get_all(HOST).iter();
        match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
            (Some(host), None) if self.is_own_name(host) => Some(host),
            (_, _) => None,
        }
    }
}

pub(super) fn guarded(routes: Router, guard: Guard) -> Router {
    routes
        .layer(CatchPanicLayer::custom(broke_off))
        .layer(from_fn(move |request: Request, next: Next| {
            pass(guard.clone(), request, next)
        }))
}

async fn pass(guard: Guard, request: Request, next: Next) -> Response {
    let mut response = match guard.own_host(request.headers()) {
        None => plain(
            StatusCode::MISDIRECTED_REQUEST,
            "Not this page’s address",
            "The console answers only under its own names: see [console] names in hub.toml.",
        ),
        Some(host) if is_from_another_site(request.headers(), host) => plain(
            StatusCode::FORBIDDEN,
            "Not taken",
            "This was sent from another site. Nothing was changed.",
        ),
        Some(_) => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if guard.tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Browsers say where a form comes from; nothing else needs to.
fn is_from_another_site(headers: &HeaderMap, host: &str) -> bool {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let cross_site = said("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let other_origin = headers.get(ORIGIN).is_some_and(|origin| match origin.to_str() {
        // Said where the referrer policy hides the origin; the form's token still has to fit.
        Ok("null") => false,
        Ok(origin) => origin
            .split_once("://")
            .is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host)),
        Err(_) => true,
    });
    // A link from elsewhere may lead to the page; what it may not do is act.
    other_origin || (cross_site && said("sec-fetch-mode") != Some("navigate"))
}

fn broke_off(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a page of the console ended in a fault of this program");
    plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Not done",
        "This page broke off by a fault in the program: its log says more.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_that_were_set_are_the_consoles() {
        let guard = Guard::new(&Config {
            names: vec!["hub.example".to_owned()],
            ..Config::default()
        });

        for own in ["hub.example", "HUB.example:8444", "127.0.0.1:9"] {
            assert!(guard.is_own_name(own), "{own}");
        }
        for other in [
            "evil.example",
            "hub.example.evil.example:8444",
            "",
            "localhost",
            "[::1]:8444",
        ] {
            assert!(!guard.is_own_name(other), "{other}");
        }
    }
}
