//! How far the EHR was read, what of it was seen, and what waits for something that is not known here yet. Kept in the
//! transaction that writes the records.

use sync_protocol::{KindId, RecordState};

use super::sealing::TERM;
use super::sql::{Row, Value, values};
use super::*;

/// How far one feed of the EHR was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InboundFeed {
    /// When the newest that was read last changed, by the EHR's clock; milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// It was read to its end once.
    pub filled: bool,
    /// When the last reading that came to its end began.
    pub polled_ms: Option<u64>,
    /// What is wrong, in words without content.
    pub problem: Option<String>,
    /// Resources that were new or other than before, of kinds that are read here.
    pub taken: u64,
    /// Resources of kinds that are not read here.
    pub unknown: u64,
    /// Resources that were not shaped as R4 has them.
    pub broken: u64,
}

/// What was last seen of a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub digest: [u8; 32],
    pub record: Option<RecordId>,
}

/// What a resource names that is not known here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wants {
    Patient = 1,
    /// A location that a site is.
    Site = 2,
    Provider = 3,
}

/// What a resource waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waits {
    pub wants: Wants,
    /// The EHR's id of what it names; empty when it names none.
    pub named: String,
    /// By which term the index finds a record of that id.
    pub term: String,
    /// From when on it is of no use any more, milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// A resource that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    pub kind: String,
    pub id: String,
    pub named: String,
    /// Where it stands among those that wait: the longest waiting first.
    pub place: (u64, [u8; 16]),
}

impl Txn<'_> {
    pub fn inbound_feed(&mut self, feed: &str) -> Result<InboundFeed, DbError> {
        let row = self.sql.row(
            "SELECT feed, since_ms, filled, polled_ms, problem, taken, unknown, broken FROM inbound_feeds \
             WHERE org = ?1 AND feed = ?2",
            values![self.org, feed],
        )?;
        Ok(row.as_ref().map(feed_from).transpose()?.unwrap_or_default())
    }

    pub fn inbound_feeds(&mut self) -> Result<Vec<(String, InboundFeed)>, DbError> {
        let rows = self.sql.rows(
            "SELECT feed, since_ms, filled, polled_ms, problem, taken, unknown, broken FROM inbound_feeds \
             WHERE org = ?1 ORDER BY feed",
            values![self.org],
        )?;
        rows.iter().map(|row| Ok((row.get(0)?, feed_from(row)?))).collect()
    }

    /// As of when the schedule is the EHR's, milliseconds since 1970; `None` while it was never read.
    pub fn ehr_polled_ms(&mut self) -> Result<Option<u64>, DbError> {
        Ok(self.inbound_feed("Appointment")?.polled_ms)
    }

    pub fn set_inbound_feed(&mut self, feed: &str, to: &InboundFeed) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO inbound_feeds (org, feed, since_ms, filled, polled_ms, problem, taken, unknown, broken) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (org, feed) DO UPDATE SET \
             since_ms = excluded.since_ms, filled = excluded.filled, polled_ms = excluded.polled_ms, \
             problem = excluded.problem, taken = excluded.taken, unknown = excluded.unknown, broken = excluded.broken",
            values![
                self.org,
                feed,
                to.since_ms,
                to.filled,
                to.polled_ms,
                to.problem.as_deref(),
                to.taken,
                to.unknown,
                to.broken
            ],
        )?;
        Ok(())
    }

    pub fn seen(&mut self, kind: &str, id: &str) -> Result<Option<Seen>, DbError> {
        let resource = self.resource_key(kind, id);
        let row = self.sql.row(
            "SELECT digest, record FROM inbound_seen WHERE org = ?1 AND resource = ?2",
            values![self.org, resource],
        )?;
        row.map(|row| {
            Ok(Seen {
                digest: row.get(0)?,
                record: row.get::<Option<[u8; 16]>>(1)?.map(RecordId),
            })
        })
        .transpose()
    }

    pub fn set_seen(&mut self, kind: &str, id: &str, seen: &Seen) -> Result<(), DbError> {
        let resource = self.resource_key(kind, id);
        self.sql.run(
            "INSERT INTO inbound_seen (org, resource, digest, record) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (org, resource) DO UPDATE SET digest = excluded.digest, record = excluded.record",
            values![self.org, resource, seen.digest, seen.record.map(|record| record.0)],
        )?;
        Ok(())
    }

    /// Notes that a resource waits, or with `None` that it waits no more.
    pub fn set_waiting(&mut self, kind: &str, id: &str, waits: Option<&Waits>) -> Result<(), DbError> {
        let resource = self.resource_key(kind, id);
        let Some(waits) = waits else {
            self.sql.run(
                "DELETE FROM inbound_waiting WHERE org = ?1 AND resource = ?2",
                values![self.org, resource],
            )?;
            return Ok(());
        };
        let content = [kind, id, &waits.named].join("\n");
        let content = self.seal("inbound_waiting", &[&resource], content.as_bytes())?;
        let named = self.keys.blind(TERM, waits.term.as_bytes());
        self.sql.run(
            "INSERT INTO inbound_waiting (org, resource, wants, named, content, since_ms, until_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (org, resource) DO UPDATE SET \
             wants = excluded.wants, named = excluded.named, content = excluded.content, until_ms = excluded.until_ms",
            values![
                self.org,
                resource,
                waits.wants as u8,
                named,
                content,
                self.now_ms,
                waits.until_ms
            ],
        )?;
        Ok(())
    }

    /// Puts a resource that could not be read again behind the others that wait.
    pub fn wait_on(&mut self, kind: &str, id: &str) -> Result<(), DbError> {
        let resource = self.resource_key(kind, id);
        self.sql.run(
            "UPDATE inbound_waiting SET since_ms = ?3 WHERE org = ?1 AND resource = ?2",
            values![self.org, resource, self.now_ms],
        )?;
        Ok(())
    }

    /// Whether something waits that is of no use any more.
    pub fn any_waited_out(&mut self) -> Result<bool, DbError> {
        let row = self.sql.row(
            "SELECT resource FROM inbound_waiting WHERE org = ?1 AND until_ms < ?2 LIMIT 1",
            values![self.org, self.now_ms],
        )?;
        Ok(row.is_some())
    }

    pub fn drop_waited_out(&mut self) -> Result<(), DbError> {
        self.sql.run(
            "DELETE FROM inbound_waiting WHERE org = ?1 AND until_ms < ?2",
            values![self.org, self.now_ms],
        )?;
        Ok(())
    }

    /// What waits for one of these very ids, the longest waiting first.
    pub fn waiting_for(&mut self, wants: Wants, terms: &[String], at_most: usize) -> Result<Vec<Waiting>, DbError> {
        let blind = |term: &String| Value::from(self.keys.blind(TERM, term.as_bytes()));
        let named: Vec<Value> = terms.iter().map(blind).collect();
        let before = format!(
            "SELECT content, resource, since_ms FROM inbound_waiting WHERE org = ?1 AND wants = {} AND named IN",
            wants as u8
        );
        let after = format!("ORDER BY since_ms, resource LIMIT {at_most}");
        let rows = self.sql.rows_of_then(&before, self.org, &named, &after)?;
        let waiting = rows.iter().map(|row| self.waiting_from(row));
        let mut waiting = waiting.collect::<Result<Vec<_>, _>>()?;
        waiting.sort_by_key(|one| one.place);
        waiting.truncate(at_most);
        Ok(waiting)
    }

    /// What waits for a record of this kind that the index knows by now, the longest waiting first, behind this place. As
    /// with every search, what is found is to be compared in clear.
    pub fn waiting_for_known(
        &mut self,
        wants: Wants,
        kind: KindId,
        after: (u64, [u8; 16]),
        at_most: usize,
    ) -> Result<Vec<Waiting>, DbError> {
        self.flush_records()?;
        let rows = self.sql.rows(
            "SELECT content, resource, since_ms FROM inbound_waiting WHERE org = ?1 AND wants = ?2 \
             AND (since_ms > ?4 OR (since_ms = ?4 AND resource > ?5)) \
             AND EXISTS (SELECT 1 FROM terms WHERE terms.org = ?1 AND terms.term = inbound_waiting.named \
             AND terms.kind = ?3) ORDER BY since_ms, resource LIMIT ?6",
            values![self.org, wants as u8, kind.0, after.0, after.1, at_most],
        )?;
        rows.iter().map(|row| self.waiting_from(row)).collect()
    }

    fn waiting_from(&self, row: &Row) -> Result<Waiting, DbError> {
        let damaged = || DbError::Damaged {
            what: "a resource that waits",
        };
        let resource: [u8; 16] = row.get(1)?;
        let content = self.unseal("inbound_waiting", &[&resource], &row.get::<Vec<u8>>(0)?)?;
        let content = String::from_utf8(content).map_err(|_| damaged())?;
        let mut parts = content.splitn(3, '\n').map(str::to_owned);
        let mut part = || parts.next().ok_or_else(damaged);
        Ok(Waiting {
            kind: part()?,
            id: part()?,
            named: part()?,
            place: (row.get(2)?, resource),
        })
    }

    pub fn count_waiting(&mut self, wants: Wants) -> Result<u64, DbError> {
        let row = self.sql.one(
            "SELECT count(*) FROM inbound_waiting WHERE org = ?1 AND wants = ?2",
            values![self.org, wants as u8],
        )?;
        row.get(0)
    }

    /// Records of a kind of which the organisation has few, by id.
    pub fn few_of_kind(&mut self, kind: KindId, at_most: usize) -> Result<Vec<RecordState>, DbError> {
        // Asked for in the order of ids, they would be looked for among all records there are.
        let rows = self.sql.rows(
            "SELECT record FROM states WHERE org = ?1 AND kind = ?2",
            values![self.org, kind.0],
        )?;
        let mut records = rows
            .iter()
            .map(|row| row.get(0).map(RecordId))
            .collect::<Result<Vec<_>, _>>()?;
        records.sort_unstable();
        records.truncate(at_most);
        self.states_of(records)
    }

    /// By what a resource of the EHR is known here: its id there is written nowhere in clear.
    fn resource_key(&self, kind: &str, id: &str) -> [u8; 16] {
        self.blind("inbound", format!("{kind}\n{id}").as_bytes())
    }
}

fn feed_from(row: &Row) -> Result<InboundFeed, DbError> {
    Ok(InboundFeed {
        since_ms: row.get(1)?,
        filled: row.get::<u8>(2)? == 1,
        polled_ms: row.get(3)?,
        problem: row.get(4)?,
        taken: row.get(5)?,
        unknown: row.get(6)?,
        broken: row.get(7)?,
    })
}
