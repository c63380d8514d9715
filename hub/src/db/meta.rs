//! The organisations of a store: their ids, the replica that the hub writes as, and the key of their proofs. The proof key
//! lies sealed in the row, so that a home with another store's key is refused before it reads or writes anything.

use sync_protocol::proof::ProofKey;
use sync_protocol::{EpochId, ReplicaId, ScopeId};
use vault::{RowKeys, RowRoot};

use super::sealing::{seal, unseal};
use super::sql::{Sql, values};
use super::{DbError, Txn, now_ms, random};

/// Whose records these are. Drawn once, when the organisation is founded.
#[derive(Clone)]
pub struct Organisation {
    pub org: [u8; 16],
    /// The epoch when the store was opened; [`Db::epoch`](super::Db::epoch) tells the present one.
    pub epoch: EpochId,
    /// The replica that the hub wrote as then.
    pub hub_replica: ReplicaId,
    pub proof_key_bytes: [u8; 32],
    pub proof_key: ProofKey,
}

impl Organisation {
    /// The scope that every site of the organisation has; also the id of the organisation's record.
    pub fn scope(&self) -> ScopeId {
        ScopeId(self.org)
    }

    pub(super) fn found(sql: &mut Sql<'_>, root: &RowRoot) -> Result<Organisation, DbError> {
        let org = random()?;
        let mut proof_key_bytes = [0; 32];
        proof_key_bytes[..16].copy_from_slice(&random()?);
        proof_key_bytes[16..].copy_from_slice(&random()?);
        let organisation = Organisation {
            org,
            epoch: EpochId(random()?),
            hub_replica: ReplicaId(random()?),
            proof_key_bytes,
            proof_key: ProofKey::new(&proof_key_bytes),
        };
        sql.run(
            "INSERT INTO organisations (org, epoch, hub_replica, proof_key, catalogue, founded_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            values![
                org,
                organisation.epoch.0,
                organisation.hub_replica.0,
                seal_proof_key(&root.keys_of(org), &proof_key_bytes)?,
                clinic::catalogue::VERSION,
                now_ms()
            ],
        )?;
        organisation.begin_first_epoch(sql)?;
        Ok(organisation)
    }

    /// All organisations of the store, the oldest first.
    pub(super) fn all(sql: &mut Sql<'_>, root: &RowRoot) -> Result<Vec<Organisation>, DbError> {
        let rows = sql.rows(
            "SELECT org, epoch, hub_replica, proof_key FROM organisations ORDER BY founded_ms, org",
            &[],
        )?;
        let organisation = |row: &super::sql::Row| {
            let org = row.get(0)?;
            let sealed: Vec<u8> = row.get(3)?;
            let opened = unseal(&root.keys_of(org), "organisations", &[b"proof_key"], &sealed);
            let proof_key_bytes = opened.map_err(|_| DbError::OtherKey)?.try_into();
            let proof_key_bytes: [u8; 32] = proof_key_bytes.map_err(|_| DbError::Damaged { what: "a proof key" })?;
            Ok(Organisation {
                org,
                epoch: EpochId(row.get(1)?),
                hub_replica: ReplicaId(row.get(2)?),
                proof_key_bytes,
                proof_key: ProofKey::new(&proof_key_bytes),
            })
        };
        rows.iter().map(organisation).collect()
    }
}

pub(super) fn seal_proof_key(keys: &RowKeys, proof_key: &[u8; 32]) -> Result<Vec<u8>, DbError> {
    seal(keys, "organisations", &[b"proof_key"], proof_key)
}

impl Txn<'_> {
    /// The catalogue's version when what is set aside was last tried.
    pub fn catalogue_tried(&mut self) -> Result<u32, DbError> {
        self.sql
            .one("SELECT catalogue FROM organisations WHERE org = ?1", values![self.org])?
            .get(0)
    }

    pub fn set_catalogue_tried(&mut self, version: u32) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE organisations SET catalogue = ?2 WHERE org = ?1",
            values![self.org, version],
        )?;
        Ok(())
    }
}
