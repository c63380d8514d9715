//! Who is at the other end: the agent that the certificate names, if the store knows it with this very certificate.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use sync_protocol::ScopeId;
use vault::PeerId;

use super::refusal::Refusal;
use crate::db::Txn;

/// What the certificate of a connection says; the connection puts it into every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Certificate {
    pub(crate) names: PeerId,
    pub(crate) fingerprint: [u8; 32],
}

impl Certificate {
    pub(crate) fn read(der: &[u8]) -> Option<Certificate> {
        let names = vault::identity::peer_identity(der)?;
        Some(Certificate {
            names,
            fingerprint: *vault::fingerprint::fingerprint(der).as_bytes(),
        })
    }

    /// The scope of the agent's site.
    pub(crate) fn site(&self, txn: &mut Txn<'_>) -> Result<ScopeId, Refusal> {
        if txn.organisation().org != self.names.organisation.into_bytes() {
            return Err(Refusal::UnknownAgent);
        }
        let enrolment = txn
            .enrolment(self.names.agent.into_bytes())?
            .ok_or(Refusal::UnknownAgent)?;
        if enrolment.revoked {
            return Err(Refusal::Revoked);
        }
        if enrolment.certificate != self.fingerprint || enrolment.scope.0 != self.names.site.into_bytes() {
            return Err(Refusal::UnknownAgent);
        }
        Ok(enrolment.scope)
    }
}

impl<S: Sync> FromRequestParts<S> for Certificate {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Certificate, Refusal> {
        std::future::ready(
            parts
                .extensions
                .get::<Certificate>()
                .copied()
                .ok_or(Refusal::NoCertificate),
        )
        .await
    }
}
