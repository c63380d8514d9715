//! A form that somebody who is signed in has sent. It is taken only with the token of that sign-in.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::response::Response;
use sync_protocol::{ChangeId, RecordId};

use super::Web;
use super::desk::Desk;
use super::refusal::Refusal;
use super::sign_in::Token;

pub(super) struct Sent {
    pub(super) desk: Desk,
    pub(super) fields: Fields,
    /// The same when the same form is sent twice.
    pub(super) request: [u8; 16],
}

impl FromRequest<Arc<Web>> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Arc<Web>) -> Result<Sent, Response> {
        let (mut parts, body) = request.into_parts();
        let mut desk = Desk::from_request_parts(&mut parts, web).await?;
        let fields = match Fields::read(Request::from_parts(parts, body)).await {
            Ok(fields) => fields,
            Err(refusal) => return Err(desk.refuse(refusal).await),
        };
        if let Some(back) = fields.back() {
            desk.back = back.to_owned();
        }
        if !fields.carries_token_of(&desk.token) {
            let back = desk.back.clone();
            return Err(desk.refuse(Refusal::FormTooOld(back)).await);
        }
        match fields.request() {
            Some(request) => Ok(Sent { desk, fields, request }),
            None => Err(desk.refuse(Refusal::NotOurForm).await),
        }
    }
}

/// Longest text that a person types, in bytes: half of what a field can hold, since names are stored in parts.
const TYPED_MAX_BYTES: usize = 1_000;
/// Longest list of ids: a field with that many live values is far beyond any clinic.
const IDS_MAX: usize = 200;

pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) async fn read(request: Request) -> Result<Fields, Refusal> {
        let form = Form::<Vec<(String, String)>>::from_request(request, &()).await;
        let Form(fields) = form.map_err(|rejection: FormRejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
            _ => Refusal::NotOurForm,
        })?;
        let holds_ids = |name: &str| name.starts_with("shown") || name == "offered";
        let fits = |name: &str, value: &str| holds_ids(name) || value.len() <= TYPED_MAX_BYTES;
        if fields.iter().all(|(name, value)| fits(name, value)) {
            Ok(Fields(fields))
        } else {
            Err(Refusal::TooLarge)
        }
    }

    /// A field as it was sent.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        let mut named = self.0.iter().filter(|(given, _)| given == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// What was typed, without blanks around it; empty when it is not there. Nobody types control characters.
    pub(super) fn text(&self, name: &str) -> String {
        let typed = self.raw(name).unwrap_or_default();
        let plain: String = typed.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        plain.trim().to_owned()
    }

    pub(super) fn changes(&self, name: &str) -> Vec<ChangeId> {
        let ids = self.raw(name).unwrap_or_default().split_whitespace().take(IDS_MAX);
        ids.filter_map(ChangeId::parse).collect()
    }

    pub(super) fn records(&self, name: &str) -> Vec<RecordId> {
        let ids = self.raw(name).unwrap_or_default().split_whitespace().take(IDS_MAX);
        ids.filter_map(RecordId::parse).collect()
    }

    /// A path of this page, never another site.
    pub(super) fn back(&self) -> Option<&str> {
        self.raw("back").filter(|back| is_own_path(back))
    }

    pub(super) fn request(&self) -> Option<[u8; 16]> {
        let request = uuid::Uuid::parse_str(self.raw("request")?).ok()?;
        Some(request.into_bytes())
    }

    pub(super) fn carries_token_of(&self, token: &Token) -> bool {
        self.raw("csrf").is_some_and(|given| token.has_csrf(given))
    }
}

const PATH_MAX_BYTES: usize = 500;

fn is_own_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.len() <= PATH_MAX_BYTES
        && path.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_this_page_and_nowhere_else() {
        assert!(is_own_path("/board?show=waiting"));
        for other in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "",
            "board",
            "/a\nb",
        ] {
            assert!(!is_own_path(other), "{other:?}");
        }
    }

    #[test]
    fn ids_that_are_none_are_left_out_and_control_characters_are_blanks() {
        let fields = Fields(vec![
            ("shown".to_owned(), format!("{} rubbish", "07".repeat(16))),
            ("name".to_owned(), " Ada\u{0}\r\nLovelace ".to_owned()),
        ]);

        assert_eq!(fields.changes("shown"), [ChangeId([7; 16])]);
        assert_eq!(fields.text("name"), "Ada   Lovelace");
        assert_eq!(fields.text("none"), "");
    }
}
