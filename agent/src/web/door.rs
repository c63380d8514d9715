//! What every request passes: the machine's own name, no other site's form, the headers that keep a browser from doing
//! more than the page needs; and the three files the page fetches.

use std::any::Any;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::views;

const HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
];

pub(super) fn guarded(routes: Router, port: u16) -> Router {
    routes
        .layer(CatchPanicLayer::custom(broke_off))
        .layer(from_fn(move |request: Request, next: Next| guard(port, request, next)))
}

async fn guard(port: u16, request: Request, next: Next) -> Response {
    let mut response = if !is_this_machine(request.headers(), port) {
        let why = "This page answers only under this machine’s own name. Open http://127.0.0.1 with its port.";
        plain(StatusCode::MISDIRECTED_REQUEST, "Not this page’s address", why)
    } else if is_from_another_site(request.headers(), port) {
        let why = "This form was sent from another site. Nothing was changed.";
        plain(StatusCode::FORBIDDEN, "Not taken", why)
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A name that leads here by somebody else's name server is refused, so that no other site can read the page.
fn is_this_machine(headers: &HeaderMap, port: u16) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) => is_own_name(host, port),
        (_, _) => false,
    }
}

fn is_own_name(host: &str, port: u16) -> bool {
    let (name, given) = match host.rsplit_once(':') {
        Some((name, given)) if given.bytes().all(|b| b.is_ascii_digit()) => (name, given.parse().ok()),
        Some(_) | None => (host, Some(80)),
    };
    given == Some(port) && (name.eq_ignore_ascii_case("localhost") || matches!(name, "127.0.0.1" | "[::1]"))
}

/// Browsers say where a form comes from; nothing else needs to.
fn is_from_another_site(headers: &HeaderMap, port: u16) -> bool {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let cross_site = said("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let other_origin = headers.get(ORIGIN).is_some_and(|origin| match origin.to_str() {
        // Said where the referrer policy hides the origin; the form's token still has to fit.
        Ok("null") => false,
        Ok(origin) => !origin
            .strip_prefix("http://")
            .is_some_and(|host| is_own_name(host, port)),
        Err(_) => true,
    });
    // A link from elsewhere may lead to the page; what it may not do is act.
    other_origin || (cross_site && said("sec-fetch-mode") != Some("navigate"))
}

fn broke_off(_: Box<dyn Any + Send>) -> Response {
    let why = "This page broke off by a fault in the program. Nothing of what you just sent was kept; everything saved \
               before is safe. Go back and try once more, then call IT.";
    plain(StatusCode::INTERNAL_SERVER_ERROR, "Not done", why)
}

/// A page without anything around it, for when nothing else can be said.
pub(super) fn plain(status: StatusCode, title: &'static str, why: &'static str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · Mainstay</title></head>\
         <body><h1>{title}</h1><p>{why}</p><p><a href=\"/board\">Board</a></p></body></html>"
    );
    (status, Html(html)).into_response()
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match views::asset(&name) {
        Some(asset) => {
            let headers = [
                (CONTENT_TYPE, asset.content_type),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, asset.bytes).into_response()
        }
        None => plain(
            StatusCode::NOT_FOUND,
            "Nothing is here",
            "This file is not part of the page.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_with_our_port_are_ours() {
        for own in ["127.0.0.1:7780", "localhost:7780", "LOCALHOST:7780", "[::1]:7780"] {
            assert!(is_own_name(own, 7780), "{own}");
        }
        for other in [
            "clinic.example:7780",
            "127.0.0.1:7781",
            "127.0.0.1",
            "127.0.0.1.example:7780",
            "",
        ] {
            assert!(!is_own_name(other, 7780), "{other}");
        }
    }
}
