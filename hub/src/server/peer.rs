//! What the certificate of a connection says. TLS has checked whose it is; whether the store knows it, and whether its
//! dates matter, is for those who are asked.

use vault::PeerId;

/// The connection puts it into every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Certificate {
    pub(crate) names: PeerId,
    pub(crate) fingerprint: [u8; 32],
    not_after_secs: i64,
}

impl Certificate {
    pub(crate) fn read(der: &[u8]) -> Option<Certificate> {
        Some(Certificate {
            names: vault::identity::peer_identity(der)?,
            fingerprint: *vault::fingerprint::fingerprint(der).as_bytes(),
            not_after_secs: vault::identity::validity(der)?.not_after,
        })
    }

    pub(crate) fn has_expired(&self) -> bool {
        jiff::Timestamp::now().as_second() > self.not_after_secs
    }
}
