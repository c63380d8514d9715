//! Finding work that waits: which records others with a facet belong to, and which records changed since a position of
//! the feed. It knows no clinic: kinds, fields and facets are handed in.

use clinic::index::Facet;
use sync_protocol::{FieldId, KindId, Lane};

use super::sql::values;
use super::*;

/// Feed rows that one look takes in; a longer way is gone in several.
const ROWS_MAX: i64 = 1_000;

/// Records that changed in a scope's lane: as many as one look takes in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touched {
    /// The last sequence that was looked at.
    pub sequence: u64,
    /// The records that changed, each as the record it belongs to where it belongs to one.
    pub owners: BTreeSet<RecordId>,
    /// There is more behind `sequence`.
    pub more: bool,
}

impl Txn<'_> {
    /// What records of a kind that carry the facet link to by the field.
    pub fn owners_with_facet(
        &mut self,
        facet: Facet,
        kind: KindId,
        field: FieldId,
    ) -> Result<BTreeSet<RecordId>, DbError> {
        self.flush_records()?;
        let rows = self.sql.rows(
            "SELECT DISTINCT links.target FROM facets \
             JOIN links ON links.org = facets.org AND links.record = facets.record \
             WHERE facets.org = ?1 AND facets.facet = ?2 AND links.kind = ?3 AND links.field = ?4",
            values![self.org, facet.0, kind.0, field.0],
        )?;
        rows.iter().map(|row| row.get(0).map(RecordId)).collect()
    }

    /// What changed in a lane of a scope after a sequence. A record of the kind stands for what its field links to.
    pub fn touched_since(
        &mut self,
        scope: ScopeId,
        lane: Lane,
        sequence: u64,
        kind: KindId,
        field: FieldId,
    ) -> Result<Touched, DbError> {
        self.flush()?;
        let rows = self.sql.rows(
            "SELECT feed.sequence, COALESCE(links.target, feed.record) FROM feed \
             LEFT JOIN links ON links.org = feed.org AND links.record = feed.record \
               AND links.kind = ?5 AND links.field = ?6 \
             WHERE feed.org = ?1 AND feed.scope = ?2 AND feed.lane = ?3 AND feed.sequence > ?4 \
             ORDER BY feed.sequence LIMIT ?7",
            values![self.org, scope.0, lane as i64, sequence, kind.0, field.0, ROWS_MAX],
        )?;
        let rows = rows
            .iter()
            .map(|row| Ok((row.get(0)?, row.get(1).map(RecordId)?)))
            .collect::<Result<Vec<(u64, RecordId)>, DbError>>()?;
        Ok(Touched {
            sequence: rows.last().map_or(sequence, |(last, _)| *last),
            more: rows.len() as i64 == ROWS_MAX,
            owners: rows.into_iter().map(|(_, record)| record).collect(),
        })
    }
}
