//! What a request that is not served is told: a status, a code for programs, a sentence for people.

use std::any::Any;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sync_protocol::EpochId;
use sync_protocol::hub::HubError;
use sync_protocol::wire::WireError;

use super::caller::CameTwice;
use crate::db::DbError;

/// After how many seconds to come again: to a hub that stops, has too much to do, or waits for its store; and to one whose disk
/// is full, which takes somebody's hands.
const RETRY_AFTER_SECS: &str = "5";
const RETRY_AFTER_NO_SPACE_SECS: &str = "30";

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    BadRequest(&'static str),
    OtherProtocol(String),
    NoCommonProtocol(String),
    NoCertificate,
    CertificateExpired,
    Unsigned,
    BadSignature,
    /// An older number, which may have been overtaken on its way.
    Replayed {
        newest: u64,
    },
    /// A number that is known to have been used.
    Reused {
        newest: u64,
    },
    InspectionNotAllowed,
    UnknownAgent,
    Revoked,
    TokenWrong,
    TokenExpired,
    TokenUsed,
    CsrRefused,
    ForeignReplica,
    ForeignScope,
    OtherEpoch(EpochId),
    TooSlow,
    TooLarge {
        max_bytes: usize,
    },
    NoSuchRoute,
    NoSuchBlob,
    Stopping,
    Crowded,
    StoreAway,
    NoSpace,
    Failed,
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<u64>,
}

impl Refusal {
    fn said(&self) -> (StatusCode, &'static str, String) {
        let fixed = |status, code, message: &str| (status, code, message.to_owned());
        match self {
            Refusal::BadRequest(what) => (StatusCode::BAD_REQUEST, "bad_request", format!("{what} cannot be read")),
            Refusal::OtherProtocol(message) => (StatusCode::BAD_REQUEST, "other_protocol", message.clone()),
            Refusal::NoCertificate => fixed(
                StatusCode::UNAUTHORIZED,
                "no_certificate",
                "this address answers only to a client certificate of this hub: enrol first",
            ),
            Refusal::NoCommonProtocol(message) => (StatusCode::UPGRADE_REQUIRED, "no_common_protocol", message.clone()),
            Refusal::CertificateExpired => fixed(
                StatusCode::UNAUTHORIZED,
                "certificate_expired",
                "this agent's certificate has expired: it is renewed at /renew with a signed request",
            ),
            Refusal::Unsigned => fixed(
                StatusCode::UNAUTHORIZED,
                "unsigned",
                "this agent has a key to sign its requests with, and this one is not signed",
            ),
            Refusal::BadSignature => fixed(
                StatusCode::UNAUTHORIZED,
                "bad_signature",
                "the signature is not this agent's, or the request was altered on its way",
            ),
            Refusal::Replayed { newest } | Refusal::Reused { newest } => (
                StatusCode::CONFLICT,
                "replayed",
                format!(
                    "a request with this number or a later one ({newest}) was taken already: nothing was done again"
                ),
            ),
            Refusal::InspectionNotAllowed => fixed(
                StatusCode::FORBIDDEN,
                "inspection_not_allowed",
                "a proxy reads this site's line, and the hub does not allow that: have the hub's address exempted from \
                 inspection, or ask who runs the hub (mainstay-hub site set SITE --inspection allowed)",
            ),
            Refusal::UnknownAgent => fixed(
                StatusCode::UNAUTHORIZED,
                "unknown_agent",
                "no agent is enrolled with this certificate: enrol again",
            ),
            Refusal::Revoked => fixed(
                StatusCode::FORBIDDEN,
                "revoked",
                "this agent's enrolment was revoked: ask who runs the hub, and enrol again",
            ),
            Refusal::TokenWrong => fixed(
                StatusCode::FORBIDDEN,
                "token_wrong",
                "this is not a token of this hub: ask for a new one (mainstay-hub token)",
            ),
            Refusal::TokenExpired => fixed(
                StatusCode::FORBIDDEN,
                "token_expired",
                "this token has expired: ask for a new one",
            ),
            Refusal::TokenUsed => fixed(
                StatusCode::FORBIDDEN,
                "token_used",
                "this token was used already: ask for a new one",
            ),
            Refusal::CsrRefused => fixed(
                StatusCode::BAD_REQUEST,
                "csr_refused",
                "the certificate request is not signed by its own key, or not for ECDSA P-256",
            ),
            Refusal::ForeignReplica => fixed(
                StatusCode::FORBIDDEN,
                "foreign_replica",
                "the replica belongs to another site",
            ),
            Refusal::ForeignScope => fixed(StatusCode::FORBIDDEN, "foreign_scope", "the scope is another site's"),
            Refusal::OtherEpoch(_) => fixed(
                StatusCode::CONFLICT,
                "other_epoch",
                "the hub's store began a new life since, or should: ask for its epoch",
            ),
            Refusal::TooSlow => fixed(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not come in time"),
            Refusal::TooLarge { max_bytes } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the body is larger than {max_bytes} bytes: send less at a time"),
            ),
            Refusal::NoSuchBlob => fixed(
                StatusCode::NOT_FOUND,
                "no_such_blob",
                "no record names this content any more",
            ),
            Refusal::NoSuchRoute => fixed(
                StatusCode::NOT_FOUND,
                "no_such_route",
                "there is nothing at this address",
            ),
            Refusal::Stopping => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "the hub is stopping: try again",
            ),
            Refusal::Crowded => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "crowded",
                "the hub is taking in as much as it can; nothing was taken: try again",
            ),
            Refusal::StoreAway => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_away",
                "the hub's store does not answer in time: try again",
            ),
            Refusal::NoSpace => fixed(
                StatusCode::INSUFFICIENT_STORAGE,
                "no_space",
                "the hub's disk is full: nothing was taken; try again when it has space",
            ),
            Refusal::Failed => fixed(
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "a fault of the hub's own: its log says more; nothing was taken",
            ),
        }
    }

    /// Puts in the epoch that is the hub's now.
    pub(super) fn of_epoch(self, epoch: EpochId) -> Refusal {
        if let Refusal::OtherEpoch(_) = self {
            Refusal::OtherEpoch(epoch)
        } else {
            self
        }
    }

    fn retry_after(&self) -> Option<&'static str> {
        match self {
            Refusal::Stopping | Refusal::Crowded | Refusal::StoreAway => Some(RETRY_AFTER_SECS),
            Refusal::NoSpace => Some(RETRY_AFTER_NO_SPACE_SECS),
            Refusal::BadRequest(_)
            | Refusal::OtherProtocol(_)
            | Refusal::NoCommonProtocol(_)
            | Refusal::NoCertificate
            | Refusal::CertificateExpired
            | Refusal::Unsigned
            | Refusal::BadSignature
            | Refusal::Replayed { .. }
            | Refusal::Reused { .. }
            | Refusal::InspectionNotAllowed
            | Refusal::UnknownAgent
            | Refusal::Revoked
            | Refusal::TokenWrong
            | Refusal::TokenExpired
            | Refusal::TokenUsed
            | Refusal::CsrRefused
            | Refusal::ForeignReplica
            | Refusal::ForeignScope
            | Refusal::OtherEpoch(_)
            | Refusal::TooSlow
            | Refusal::TooLarge { .. }
            | Refusal::NoSuchRoute
            | Refusal::NoSuchBlob
            | Refusal::Failed => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, error, message) = self.said();
        let epoch = if let Refusal::OtherEpoch(epoch) = &self {
            Some(epoch.to_string())
        } else {
            None
        };
        let newest = if let Refusal::Replayed { newest } | Refusal::Reused { newest } = self {
            Some(newest)
        } else {
            None
        };
        let body = Body {
            error,
            message,
            epoch,
            newest,
        };
        let mut response = (status, Json(body)).into_response();
        if let Some(secs) = self.retry_after() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static(secs));
        }
        if let Refusal::Reused { .. } = self {
            response.extensions_mut().insert(CameTwice);
        }
        response
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Refusal {
        match error {
            DbError::Closed => Refusal::Stopping,
            DbError::Away { .. } | DbError::Conflict { .. } | DbError::Unknown => {
                tracing::warn!(%error, "a request was sent away for a while");
                Refusal::StoreAway
            }
            DbError::NoSpace => {
                tracing::warn!("the disk is full: a request was refused");
                Refusal::NoSpace
            }
            DbError::Open(_)
            | DbError::Settings(_)
            | DbError::OtherKey
            | DbError::GoneBack
            | DbError::Mark(_)
            | DbError::Empty
            | DbError::Refused { .. }
            | DbError::Newer { .. }
            | DbError::Migration(_)
            | DbError::Damaged { .. }
            | DbError::Sqlite(_)
            | DbError::Panicked
            | DbError::Random => {
                tracing::error!(%error, "a request failed");
                Refusal::Failed
            }
        }
    }
}

impl From<HubError<DbError>> for Refusal {
    fn from(error: HubError<DbError>) -> Refusal {
        match error {
            HubError::Ledger(error) => error.into(),
            HubError::ForeignReplica => Refusal::ForeignReplica,
            HubError::ForeignScope => Refusal::ForeignScope,
            // The caller knows the epoch and puts it in.
            HubError::OtherEpoch | HubError::GoneBack => Refusal::OtherEpoch(EpochId::NIL),
            HubError::Refused(_) | HubError::TooLarge { .. } | HubError::Damaged(_) => {
                tracing::error!(%error, "a request failed");
                Refusal::Failed
            }
        }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Refusal {
        match error {
            WireError::Protocol { .. } => Refusal::OtherProtocol(error.to_string()),
            WireError::Frame | WireError::Body(_) => Refusal::BadRequest("the body"),
        }
    }
}

pub(super) async fn no_such_route() -> Refusal {
    std::future::ready(Refusal::NoSuchRoute).await
}

pub(super) fn of_panic(_panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request ended in a fault of this program");
    Refusal::Failed.into_response()
}
