//! The organisation that a store belongs to: its ids and the key of its proofs.

use super::sql::values;
use super::*;

/// Whose store this is. Drawn once, when the store is made.
#[derive(Clone)]
pub struct Organisation {
    pub org: [u8; 16],
    pub epoch: EpochId,
    /// The replica that the hub writes as in this epoch.
    pub hub_replica: ReplicaId,
    pub proof_key_bytes: [u8; 32],
    pub proof_key: ProofKey,
}

impl Organisation {
    /// The scope that every site of the organisation has; also the id of the organisation's record.
    pub fn scope(&self) -> ScopeId {
        ScopeId(self.org)
    }

    pub(super) fn found(sql: &mut Sql<'_>) -> Result<(), DbError> {
        let mut proof_key = [0; 32];
        proof_key[..16].copy_from_slice(&random()?);
        proof_key[16..].copy_from_slice(&random()?);
        sql.run(
            "INSERT INTO organisations (org, epoch, hub_replica, proof_key, catalogue) VALUES (?1, ?2, ?3, ?4, ?5)",
            values![random()?, random()?, random()?, proof_key, clinic::catalogue::VERSION],
        )?;
        Ok(())
    }

    /// The one organisation of an embedded store.
    pub(super) fn load(sql: &mut Sql<'_>) -> Result<Option<Organisation>, DbError> {
        let row = sql.row("SELECT org, epoch, hub_replica, proof_key FROM organisations", &[])?;
        let Some(row) = row else { return Ok(None) };
        let proof_key_bytes: [u8; 32] = row.get(3)?;
        Ok(Some(Organisation {
            org: row.get(0)?,
            epoch: EpochId(row.get(1)?),
            hub_replica: ReplicaId(row.get(2)?),
            proof_key_bytes,
            proof_key: ProofKey::new(&proof_key_bytes),
        }))
    }
}

/// The time of the last change that the hub wrote itself, after which it goes on.
pub(super) fn last_time(sql: &mut Sql<'_>, organisation: &Organisation) -> Result<sync_protocol::HybridTime, DbError> {
    let row = sql.row(
        "SELECT header FROM changes WHERE org = ?1 AND replica = ?2 ORDER BY counter DESC LIMIT 1",
        values![organisation.org, organisation.hub_replica.0],
    )?;
    let Some(row) = row else {
        return Ok(sync_protocol::HybridTime::default());
    };
    let header = sync_protocol::Header::parse(&row.get::<Vec<u8>>(0)?).map_err(|_| DbError::Damaged {
        what: "a change of the hub's own",
    })?;
    Ok(header.at)
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
