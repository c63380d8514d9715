//! Who this agent is to the hub: kept inside the encrypted store, the private key too, so that nothing of it is in clear
//! on the disk.

use rustls_pki::CertificateDer;
use sync_protocol::proof::ProofKey;
use sync_protocol::request_signature::KeyName;
use sync_protocol::{EpochId, RecordId, ScopeId};
use vault::identity::peer_identity;
use vault::{ClientKey, Identity, RequestKey};

use crate::access::site::SITE;
use crate::hub_client::Credentials;
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
const REQUEST_KEY: &str = "request_key";
/// The hub has the public half of the request key.
const SIGNS: &str = "requests_signed";
/// Further authorities that are trusted beside the one of the enrolment, or in its place, one certificate after the other.
const AUTHORITIES: &str = "authorities";
/// How often the numbering of requests has begun anew: each start of the agent takes a range of its own.
const REQUEST_RANGE: &str = "request_range";
const KEY_ELSEWHERE: &str = "request_key_used_elsewhere_ms";

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

    /// The name of this agent's request key.
    pub fn key_name(&self) -> Option<KeyName> {
        let names = peer_identity(&self.certificate)?;
        Some(KeyName {
            organisation: names.organisation.into_bytes(),
            agent: names.agent.into_bytes(),
        })
    }

    /// Takes a new certificate from the hub that this agent is enrolled with. Records, cursors and chain stay.
    pub fn renew(&self, tx: &mut WriteTx<'_>) -> Result<(), TxError> {
        tx.set_meta(HUB, self.hub_url.as_bytes())?;
        tx.set_meta(CERTIFICATE, &self.certificate)
    }

    /// Whether a new enrolment is of the same site; that its hub is the same, the token has said.
    pub fn is_of(&self, other: &Enrolment) -> bool {
        self.site == other.site
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

/// The key that requests are signed with. As the other one, it is kept before the hub hears of it.
pub fn request_key(tx: &ReadTx<'_>) -> Result<Option<RequestKey>, TxError> {
    let Some(bytes) = tx.meta(REQUEST_KEY)? else {
        return Ok(None);
    };
    RequestKey::restore(&bytes).map(Some).map_err(|_| TxError::Damaged {
        what: "the request key",
    })
}

pub fn keep_request_key(tx: &mut WriteTx<'_>, key: &[u8]) -> Result<(), TxError> {
    tx.set_meta(REQUEST_KEY, key)
}

/// Whether the hub has this agent's request key.
pub fn signs(tx: &ReadTx<'_>) -> Result<bool, TxError> {
    Ok(tx.meta(SIGNS)?.is_some())
}

pub fn note_signs(tx: &mut WriteTx<'_>) -> Result<(), TxError> {
    tx.set_meta(SIGNS, &[1])
}

pub fn keep_certificate(tx: &mut WriteTx<'_>, certificate: &CertificateDer<'_>) -> Result<(), TxError> {
    tx.set_meta(CERTIFICATE, certificate)
}

/// The authorities that are trusted to be the hub's.
pub fn authorities(tx: &ReadTx<'_>) -> Result<Vec<CertificateDer<'static>>, TxError> {
    let damaged = || TxError::Damaged {
        what: "the hub's authorities",
    };
    let Some(kept) = tx.meta(AUTHORITIES)? else {
        let first = tx.meta(AUTHORITY)?.ok_or_else(damaged)?;
        return Ok(vec![CertificateDer::from(first)]);
    };
    let mut authorities = Vec::new();
    let mut rest = kept.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (der, after) = after.split_at_checked(length).ok_or_else(damaged)?;
        authorities.push(CertificateDer::from(der.to_vec()));
        rest = after;
    }
    if authorities.is_empty() || !rest.is_empty() {
        return Err(damaged());
    }
    Ok(authorities)
}

pub fn keep_authorities(tx: &mut WriteTx<'_>, authorities: &[CertificateDer<'_>]) -> Result<(), TxError> {
    let mut kept = Vec::new();
    for authority in authorities {
        // A certificate has some hundred bytes.
        kept.extend_from_slice(&(authority.len() as u32).to_be_bytes());
        kept.extend_from_slice(authority);
    }
    tx.set_meta(AUTHORITIES, &kept)
}

/// Whether one of the hub's authorities signed these bytes: one that is trusted now, or the one of the enrolment, whose
/// word of earlier days stands until the hub signs anew.
pub fn is_signed_by_hub(tx: &ReadTx<'_>, bytes: &[u8], signature: &[u8]) -> Result<bool, TxError> {
    let first = tx.meta(AUTHORITY)?;
    let is_signed = |der: &[u8]| vault::authority::is_signed_by(der, bytes, signature);
    Ok(first.is_some_and(|der| is_signed(&der)) || authorities(tx)?.iter().any(|der| is_signed(der)))
}

/// All that a line to the hub is made of. `None` while the agent is not enrolled.
pub fn credentials(tx: &ReadTx<'_>) -> Result<Option<Credentials>, TxError> {
    let (Some(enrolment), Some(identity)) = (Enrolment::read(tx)?, identity(tx)?) else {
        return Ok(None);
    };
    Ok(Some(Credentials {
        authorities: authorities(tx)?,
        identity,
        signer: enrolment.key_name().zip(request_key(tx)?),
    }))
}

/// Numbers of one range: far more than an agent asks between two starts.
const RANGE_BITS: u32 = 32;

/// The first number of a range that no earlier start of this agent has used.
pub fn begin_request_range(tx: &mut WriteTx<'_>) -> Result<u64, TxError> {
    let last = request_range(tx)?;
    tx.set_meta(REQUEST_RANGE, &(last + 1).to_be_bytes())?;
    Ok((last + 1) << RANGE_BITS)
}

/// The hub has taken a later number than this store ever gave: its range and all below are left behind.
pub fn note_surpassed(tx: &mut WriteTx<'_>, newest: u64, now_ms: i64) -> Result<(), TxError> {
    let range = request_range(tx)?.max(newest >> RANGE_BITS);
    tx.set_meta(REQUEST_RANGE, &range.to_be_bytes())?;
    tx.set_meta(KEY_ELSEWHERE, &now_ms.to_be_bytes())
}

fn request_range(tx: &ReadTx<'_>) -> Result<u64, TxError> {
    let kept = tx.meta(REQUEST_RANGE)?.and_then(|bytes| bytes.try_into().ok());
    Ok(kept.map_or(0, u64::from_be_bytes))
}

/// When it was last found that this agent's request key is in use elsewhere, or this store is an older copy.
pub fn key_used_elsewhere_ms(tx: &ReadTx<'_>) -> Result<Option<i64>, TxError> {
    let kept = tx.meta(KEY_ELSEWHERE)?.and_then(|bytes| bytes.try_into().ok());
    Ok(kept.map(i64::from_be_bytes))
}
