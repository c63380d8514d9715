//! Sites as the hub keeps them beside their records: what enrolment needs, when each was last heard of, and its figures.

use clinic::numbering::SERIES_MAX;
use sync_protocol::hub::HubLedger;
use sync_protocol::{Hash, Lane, proof};

use super::sql::{Row, values};
use super::*;

/// Whoever gives out the next series holds this.
const SERIES_LOCK: [u8; 16] = *b"series of number";
/// What another process may have given since this one last looked.
const SERIES_SKIPPED: u32 = 100;
/// More than the incarnations that sites take between a backup and the day it is put back, where no mark tells.
const SERIES_SKIPPED_UNKNOWN: u32 = 1_000;

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

fn site_from(row: &Row) -> Result<Site, DbError> {
    let ehr: String = row.get(3)?;
    Ok(Site {
        scope: ScopeId(row.get(0)?),
        name: row.get(1)?,
        zone: row.get(2)?,
        ehr: clinic::value::Target::parse(&ehr).ok_or(DbError::Damaged {
            what: "a site's EHR target",
        })?,
        seen_ms: row.get(4)?,
    })
}

impl Txn<'_> {
    pub fn add_site(&mut self, site: &Site) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO sites (org, scope, name, zone, ehr, added_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            values![
                self.org,
                site.scope.0,
                &site.name,
                &site.zone,
                site.ehr.word(),
                self.now_ms
            ],
        )?;
        Ok(())
    }

    pub fn site(&mut self, scope: ScopeId) -> Result<Option<Site>, DbError> {
        let row = self.sql.row(
            "SELECT scope, name, zone, ehr, seen_ms FROM sites WHERE org = ?1 AND scope = ?2",
            values![self.org, scope.0],
        )?;
        row.as_ref().map(site_from).transpose()
    }

    pub fn sites(&mut self) -> Result<Vec<Site>, DbError> {
        let rows = self.sql.rows(
            "SELECT scope, name, zone, ehr, seen_ms FROM sites WHERE org = ?1 ORDER BY name, scope",
            values![self.org],
        )?;
        rows.iter().map(site_from).collect()
    }

    /// Says again what a site is called and who enters its tasks.
    pub fn change_site(&mut self, scope: ScopeId, name: &str, ehr: clinic::value::Target) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE sites SET name = ?3, ehr = ?4 WHERE org = ?1 AND scope = ?2",
            values![self.org, scope.0, name, ehr.word()],
        )?;
        Ok(())
    }

    /// How many records of a site's scope carry the facet.
    pub fn count_in_site(&mut self, scope: ScopeId, facet: clinic::index::Facet) -> Result<u64, DbError> {
        let count = self.sql.one(
            "SELECT count(DISTINCT facets.record) FROM facets \
             JOIN feed ON feed.org = facets.org AND feed.record = facets.record \
             WHERE facets.org = ?1 AND facets.facet = ?2 AND feed.scope = ?3",
            values![self.org, facet.0, scope.0],
        )?;
        count.get(0)
    }

    /// Notes that an agent of the site was heard of now.
    pub fn note_seen(&mut self, scope: ScopeId) -> Result<(), DbError> {
        self.pending.seen.insert(scope);
        Ok(())
    }

    pub fn site_figures(&mut self, scope: ScopeId) -> Result<SiteFigures, DbError> {
        self.flush()?;
        let accepted = self.sql.one(
            "SELECT CAST(COALESCE(SUM(counter), 0) AS BIGINT) FROM chains WHERE org = ?1 AND scope = ?2",
            values![self.org, scope.0],
        )?;
        let quarantined = self.sql.one(
            "SELECT count(*) FROM changes WHERE org = ?1 AND standing = 1 \
             AND replica IN (SELECT replica FROM chains WHERE org = ?1 AND scope = ?2)",
            values![self.org, scope.0],
        )?;
        let mut roots = Lane::ALL.map(|lane| (lane, Hash([0; 32])));
        for (lane, root) in &mut roots {
            *root = proof::root(scope, *lane, self.bucket_sums(scope, *lane)?);
        }
        Ok(SiteFigures {
            accepted: accepted.get(0)?,
            quarantined: quarantined.get(0)?,
            roots,
        })
    }

    /// The short series of an incarnation's TEMP numbers, if it has one.
    pub fn series(&mut self, replica: ReplicaId) -> Result<Option<u32>, DbError> {
        let row = self.sql.row(
            "SELECT series FROM series WHERE org = ?1 AND replica = ?2",
            values![self.org, replica.0],
        )?;
        row.map(|row| row.get(0)).transpose()
    }

    /// Passes over the series that were given since the copy that the store was put back to, of which `known` is the last
    /// that is known of; the hub's own replica stands for them.
    pub(super) fn skip_series(&mut self, hub_replica: ReplicaId, known: Option<u32>) -> Result<(), DbError> {
        self.lock_series()?;
        let more = if known.is_some() {
            SERIES_SKIPPED
        } else {
            SERIES_SKIPPED_UNKNOWN
        };
        let last = self.last_series()?.max(known.unwrap_or_default()).saturating_add(more);
        self.sql.run(
            "INSERT INTO series (org, series, replica, scope) VALUES (?1, ?2, ?3, ?3)",
            values![self.org, last, hub_replica.0],
        )?;
        Ok(())
    }

    pub(super) fn lock_series(&mut self) -> Result<(), DbError> {
        self.lock(&[SERIES_LOCK])
    }

    /// The last series that was given; 0 before the first.
    pub(super) fn last_series(&mut self) -> Result<u32, DbError> {
        let last = self.sql.one(
            "SELECT COALESCE(MAX(series), 0) FROM series WHERE org = ?1",
            values![self.org],
        )?;
        last.get(0)
    }

    /// Gives an incarnation its series, once; a number that was given is never given to another. `None` when all are given:
    /// whoever has none adds some of its own name to its numbers.
    pub fn allot_series(&mut self, replica: ReplicaId, scope: ScopeId) -> Result<Option<u32>, DbError> {
        self.lock(&[SERIES_LOCK])?;
        if let Some(series) = self.series(replica)? {
            return Ok(Some(series));
        }
        let series = self.last_series()?.saturating_add(1);
        if series > SERIES_MAX {
            return Ok(None);
        }
        self.sql.run(
            "INSERT INTO series (org, series, replica, scope) VALUES (?1, ?2, ?3, ?4)",
            values![self.org, series, replica.0, scope.0],
        )?;
        self.series_given = series;
        // Counted, so that the mark outside the store tells of it.
        self.wrote = true;
        Ok(Some(series))
    }
}
