//! Changes that are set aside, as a list: whose they are and why, nothing of what they say.

use sync_protocol::hub::HubLedger;
use sync_protocol::{Dot, KindId};

use super::sql::values;
use super::*;

/// A change that was counted and could not be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetAside {
    pub dot: Dot,
    /// The site of the replica.
    pub scope: ScopeId,
    /// Absent when not even the header can be read.
    pub change: Option<ChangeId>,
    pub kind: Option<KindId>,
    pub reason: u16,
    pub received_ms: u64,
}

impl Txn<'_> {
    /// What is set aside, the newest first, and how much there is in all.
    pub fn list_set_aside(&mut self, at_most: usize) -> Result<(Vec<SetAside>, u64), DbError> {
        let rows = self.sql.rows(
            "SELECT changes.replica, changes.counter, chains.scope, changes.change_id, changes.reason, \
             changes.received_ms FROM changes \
             JOIN chains ON chains.org = changes.org AND chains.replica = changes.replica \
             WHERE changes.org = ?1 AND changes.standing = 1 \
             ORDER BY changes.received_ms DESC, changes.replica, changes.counter LIMIT ?2",
            values![self.org, at_most],
        )?;
        let mut found = Vec::new();
        for row in rows {
            let change = row.get::<Option<[u8; 16]>>(3)?.map(ChangeId);
            let header = match change {
                Some(change) => self.find(change)?.and_then(|kept| kept.header),
                None => None,
            };
            found.push(SetAside {
                dot: Dot {
                    replica: ReplicaId(row.get(0)?),
                    counter: row.get(1)?,
                },
                scope: ScopeId(row.get(2)?),
                change,
                kind: header.map(|header| header.kind),
                reason: row.get(4)?,
                received_ms: row.get(5)?,
            });
        }
        let all = self.sql.one(
            "SELECT count(*) FROM changes WHERE org = ?1 AND standing = 1",
            values![self.org],
        )?;
        Ok((found, all.get(0)?))
    }
}
