//! Who this agent is to the hub: kept inside the encrypted store, the private key too, so that nothing of it is in clear
//! on the disk.

use rustls_pki::CertificateDer;
use sync_protocol::proof::ProofKey;
use sync_protocol::{EpochId, RecordId, ScopeId};
use vault::{ClientKey, Identity};

use crate::access::site::SITE;
use crate::store::{ReadTx, TxError, WriteTx};

use rustls::pki_types as rustls_pki;

#[derive(Clone)]
pub struct Enrolment {
    pub hub_url: String,
    pub site: RecordId,
    pub scope: ScopeId,
    pub epoch: EpochId,
    pub proof_key: [u8; 32],
    pub authority: CertificateDer<'static>,
    pub certificate: CertificateDer<'static>,
}

const HUB: &str = "hub_url";
const SCOPE: &str = "scope";
const PROOF_KEY: &str = "proof_key";
const AUTHORITY: &str = "authority_certificate";
const CERTIFICATE: &str = "client_certificate";
const CLIENT_KEY: &str = "client_key";
const TOKEN: &str = "enrolment_token_id";

impl Enrolment {
    /// `None` while the agent is not enrolled.
    pub fn read(tx: &ReadTx<'_>) -> Result<Option<Enrolment>, TxError> {
        let Some(hub_url) = tx.meta(HUB)? else { return Ok(None) };
        let damaged = || TxError::Damaged { what: "the enrolment" };
        let need = |name: &str| tx.meta(name)?.ok_or_else(damaged);
        let id = |bytes: Vec<u8>| <[u8; 16]>::try_from(bytes).map_err(|_| damaged());
        Ok(Some(Enrolment {
            hub_url: String::from_utf8(hub_url).map_err(|_| damaged())?,
            site: RecordId(id(need(SITE)?)?),
            scope: ScopeId(id(need(SCOPE)?)?),
            epoch: tx.head()?.epoch,
            proof_key: need(PROOF_KEY)?.try_into().map_err(|_| damaged())?,
            authority: CertificateDer::from(need(AUTHORITY)?),
            certificate: CertificateDer::from(need(CERTIFICATE)?),
        }))
    }

    /// Keeps the enrolment and makes the first cursors, all in one transaction.
    pub fn keep(&self, tx: &mut WriteTx<'_>) -> Result<(), TxError> {
        use sync_protocol::Lane;
        use sync_protocol::replica::{ReplicaHead, ReplicaLedger};
        use sync_protocol::wire::Cursor;

        tx.set_meta(HUB, self.hub_url.as_bytes())?;
        tx.set_meta(SITE, &self.site.0)?;
        tx.set_meta(SCOPE, &self.scope.0)?;
        tx.set_meta(PROOF_KEY, &self.proof_key)?;
        tx.set_meta(AUTHORITY, &self.authority)?;
        tx.set_meta(CERTIFICATE, &self.certificate)?;
        let head = ReplicaLedger::head(tx)?;
        tx.set_head(&ReplicaHead {
            epoch: self.epoch,
            ..head
        })?;
        for lane in Lane::ALL {
            tx.set_cursor(&Cursor {
                scope: self.scope,
                lane,
                generation: 0,
                sequence: 0,
            })?;
        }
        Ok(())
    }

    /// Takes a new certificate from the hub that this agent is enrolled with. Records, cursors and chain stay.
    pub fn renew(&self, tx: &mut WriteTx<'_>) -> Result<(), TxError> {
        tx.set_meta(HUB, self.hub_url.as_bytes())?;
        tx.set_meta(CERTIFICATE, &self.certificate)
    }

    /// Whether a new enrolment is of the same site at the same hub.
    pub fn is_of(&self, other: &Enrolment) -> bool {
        self.site == other.site && self.authority == other.authority && self.epoch == other.epoch
    }

    pub fn key(&self) -> ProofKey {
        ProofKey::new(&self.proof_key)
    }
}

/// The key that this agent enrols with. It is kept before the first request, so that a lost answer can be asked for again.
pub fn client_key(tx: &ReadTx<'_>) -> Result<Option<ClientKey>, TxError> {
    let Some(bytes) = tx.meta(CLIENT_KEY)? else {
        return Ok(None);
    };
    ClientKey::restore(&bytes).map(Some).map_err(|_| TxError::Damaged {
        what: "the enrolment key",
    })
}

/// Whether this agent has been enrolled by this very token.
pub fn has_used(tx: &ReadTx<'_>, token: [u8; 16]) -> Result<bool, TxError> {
    Ok(tx.meta(TOKEN)?.is_some_and(|used| used == token))
}

pub fn note_used(tx: &mut WriteTx<'_>, token: [u8; 16]) -> Result<(), TxError> {
    tx.set_meta(TOKEN, &token)
}

pub fn keep_client_key(tx: &mut WriteTx<'_>, key: &[u8]) -> Result<(), TxError> {
    tx.set_meta(CLIENT_KEY, key)
}

/// The certificate and key that the hub knows this agent by.
pub fn identity(tx: &ReadTx<'_>) -> Result<Option<Identity>, TxError> {
    let (Some(enrolment), Some(key)) = (Enrolment::read(tx)?, client_key(tx)?) else {
        return Ok(None);
    };
    let chain = vec![enrolment.certificate, enrolment.authority];
    key.into_identity(chain).map(Some).map_err(|_| TxError::Damaged {
        what: "the enrolment certificate",
    })
}
