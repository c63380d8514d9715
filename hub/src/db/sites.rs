//! Sites as the hub keeps them beside their records: what enrolment needs, when each was last heard of, and its figures.

use rusqlite::{OptionalExtension, Row, params};
use sync_protocol::hub::HubLedger;
use sync_protocol::{Hash, Lane, proof};

use super::*;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Also the id of the site's record.
    pub scope: ScopeId,
    pub name: String,
    pub zone: String,
    pub ehr: clinic::value::Target,
    /// When an agent of the site was last heard of, milliseconds since 1970.
    pub seen_ms: Option<u64>,
}

/// How far the hub holds a site's changes, and what proves what it feeds the site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SiteFigures {
    pub accepted: u64,
    pub quarantined: u64,
    pub roots: [(Lane, Hash); 4],
}

fn site_from(row: &Row<'_>) -> rusqlite::Result<(Site, String)> {
    let site = Site {
        scope: ScopeId(row.get(0)?),
        name: row.get(1)?,
        zone: row.get(2)?,
        ehr: clinic::value::Target::Person,
        seen_ms: row.get::<_, Option<i64>>(4)?.map(unstored),
    };
    Ok((site, row.get(3)?))
}

fn with_target((site, word): (Site, String)) -> Result<Site, DbError> {
    let ehr = clinic::value::Target::parse(&word).ok_or(DbError::Damaged {
        what: "a site's EHR target",
    })?;
    Ok(Site { ehr, ..site })
}

const COLUMNS: &str = "SELECT scope, name, zone, ehr, seen_ms FROM sites WHERE org = ?1";

impl Txn<'_> {
    pub fn add_site(&mut self, site: &Site) -> Result<(), DbError> {
        self.connection
            .prepare_cached(
                "INSERT INTO sites (org, scope, name, zone, ehr, added_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                self.org,
                site.scope.0,
                site.name,
                site.zone,
                site.ehr.word(),
                stored(self.now_ms)
            ])?;
        Ok(())
    }

    pub fn site(&mut self, scope: ScopeId) -> Result<Option<Site>, DbError> {
        let mut query = self.connection.prepare_cached(&format!("{COLUMNS} AND scope = ?2"))?;
        query
            .query_row(params![self.org, scope.0], site_from)
            .optional()?
            .map(with_target)
            .transpose()
    }

    pub fn sites(&mut self) -> Result<Vec<Site>, DbError> {
        let mut query = self
            .connection
            .prepare_cached(&format!("{COLUMNS} ORDER BY name, scope"))?;
        let rows = query
            .query_map(params![self.org], site_from)?
            .collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().map(with_target).collect()
    }

    /// Notes that an agent of the site was heard of now.
    pub fn note_seen(&mut self, scope: ScopeId) -> Result<(), DbError> {
        self.connection
            .prepare_cached("UPDATE sites SET seen_ms = ?3 WHERE org = ?1 AND scope = ?2")?
            .execute(params![self.org, scope.0, stored(self.now_ms)])?;
        Ok(())
    }

    pub fn site_figures(&mut self, scope: ScopeId) -> Result<SiteFigures, DbError> {
        let mut accepted = self
            .connection
            .prepare_cached("SELECT COALESCE(SUM(counter), 0) FROM chains WHERE org = ?1 AND scope = ?2")?;
        let mut quarantined = self.connection.prepare_cached(
            "SELECT count(*) FROM changes WHERE org = ?1 AND standing = 1 \
             AND replica IN (SELECT replica FROM chains WHERE org = ?1 AND scope = ?2)",
        )?;
        let key = params![self.org, scope.0];
        let accepted: i64 = accepted.query_row(key, |row| row.get(0))?;
        let quarantined: i64 = quarantined.query_row(key, |row| row.get(0))?;
        let mut roots = Lane::ALL.map(|lane| (lane, Hash([0; 32])));
        for (lane, root) in &mut roots {
            *root = proof::root(scope, *lane, self.bucket_sums(scope, *lane)?);
        }
        Ok(SiteFigures {
            accepted: unstored(accepted),
            quarantined: unstored(quarantined),
            roots,
        })
    }

    /// The short series of an incarnation's TEMP numbers, if it has one.
    pub fn series(&mut self, replica: ReplicaId) -> Result<Option<u32>, DbError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT series FROM series WHERE org = ?1 AND replica = ?2")?;
        Ok(query
            .query_row(params![self.org, replica.0], |row| row.get(0))
            .optional()?)
    }

    /// Gives an incarnation its series, once; a number that was given is never given to another.
    pub fn allot_series(&mut self, replica: ReplicaId, scope: ScopeId) -> Result<u32, DbError> {
        if let Some(series) = self.series(replica)? {
            return Ok(series);
        }
        let mut last = self
            .connection
            .prepare_cached("SELECT COALESCE(MAX(series), 0) FROM series WHERE org = ?1")?;
        let series: u32 = last.query_row(params![self.org], |row| row.get(0))?;
        self.connection
            .prepare_cached("INSERT INTO series (org, series, replica, scope) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![self.org, series + 1, replica.0, scope.0])?;
        Ok(series + 1)
    }
}
