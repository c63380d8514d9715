//! The second step's rows: what stood in clear is sealed, words to search by are blinded. It reads the tables as the
//! first release wrote them, and no type that may change since.

use sync_protocol::{Change, Dot, KindId, RecordId, ReplicaId};
use vault::{RowKeys, RowRoot};

use crate::db::DbError;
use crate::db::meta::seal_proof_key;
use crate::db::sealing::{lookups, seal_change, seal_state};
use crate::db::sql::{Sql, Value, row, values};

/// Rows that are held in memory at once.
const ROWS_AT_ONCE: usize = 512;

pub(super) fn seal_everything(sql: &mut Sql<'_>, root: &RowRoot) -> Result<(), DbError> {
    for row in sql.rows("SELECT org, proof_key FROM organisations", &[])? {
        let (org, proof_key): ([u8; 16], [u8; 32]) = (row.get(0)?, row.get(1)?);
        let keys = root.keys_of(org);
        sql.run(
            "UPDATE organisations SET proof_key = ?2 WHERE org = ?1",
            values![org, seal_proof_key(&keys, &proof_key)?],
        )?;
        seal_states(sql, org, &keys)?;
        seal_changes(sql, org, &keys)?;
        blind_all_terms(sql, org, &keys)?;
        keep_the_hubs_time(sql, org, &keys)?;
    }
    Ok(())
}

fn seal_states(sql: &mut Sql<'_>, org: [u8; 16], keys: &RowKeys) -> Result<(), DbError> {
    let mut after = Vec::new();
    loop {
        let rows = sql.rows(
            "SELECT record, state FROM states WHERE org = ?1 AND record > ?2 ORDER BY record LIMIT ?3",
            values![org, after, ROWS_AT_ONCE],
        )?;
        for row in &rows {
            let record: [u8; 16] = row.get(0)?;
            let sealed = seal_state(keys, RecordId(record), &row.get::<Vec<u8>>(1)?)?;
            sql.run(
                "UPDATE states SET state = ?3 WHERE org = ?1 AND record = ?2",
                values![org, record, sealed],
            )?;
        }
        match rows.last() {
            Some(last) if rows.len() == ROWS_AT_ONCE => after = last.get(0)?,
            Some(_) | None => return Ok(()),
        }
    }
}

fn seal_changes(sql: &mut Sql<'_>, org: [u8; 16], keys: &RowKeys) -> Result<(), DbError> {
    let (mut replica, mut counter) = (Vec::new(), 0i64);
    loop {
        let rows = sql.rows(
            "SELECT replica, counter, change_id, record, header, salt, payload, hash, standing, reason, first_dot, \
             received_ms FROM changes_in_clear \
             WHERE org = ?1 AND (replica > ?2 OR (replica = ?2 AND counter > ?3)) \
             ORDER BY replica, counter LIMIT ?4",
            values![org, replica, counter, ROWS_AT_ONCE],
        )?;
        let mut sealed = Vec::with_capacity(rows.len());
        for row in &rows {
            let dot = Dot {
                replica: ReplicaId(row.get(0)?),
                counter: row.get(1)?,
            };
            let change = Change {
                header: row.get(4)?,
                salt: row.get(5)?,
                payload: row.get(6)?,
            };
            let contents = Value::from(seal_change(keys, dot, &change)?);
            let columns = [values![org], &row.0[..4], &[contents], &row.0[7..]].concat();
            let columns: [Value; 11] = columns.try_into().map_err(|_| DbError::Damaged { what: "a row" })?;
            sealed.push(columns);
        }
        sql.put_all(
            "INSERT INTO changes (org, replica, counter, change_id, record, sealed, hash, standing, reason, first_dot, \
             received_ms)",
            &sealed,
            "",
        )?;
        match rows.last() {
            Some(last) if rows.len() == ROWS_AT_ONCE => (replica, counter) = (last.get(0)?, last.get(1)?),
            Some(_) | None => return Ok(()),
        }
    }
}

fn blind_all_terms(sql: &mut Sql<'_>, org: [u8; 16], keys: &RowKeys) -> Result<(), DbError> {
    let mut after = Vec::new();
    loop {
        let records = sql.rows(
            "SELECT DISTINCT record FROM terms_in_clear WHERE org = ?1 AND record > ?2 ORDER BY record LIMIT ?3",
            values![org, after, ROWS_AT_ONCE],
        )?;
        for record in &records {
            let record: [u8; 16] = record.get(0)?;
            let rows = sql.rows(
                "SELECT term, kind FROM terms_in_clear WHERE org = ?1 AND record = ?2",
                values![org, record],
            )?;
            let mut blind = std::collections::BTreeSet::new();
            for row in &rows {
                let term: Vec<u8> = row.get(0)?;
                let term = std::str::from_utf8(&term).map_err(|_| DbError::Damaged { what: "a term" })?;
                let kind: u16 = row.get(1)?;
                let lookups = lookups(term, clinic::index::ways(KindId(kind), term));
                blind.extend(lookups.map(|lookup| row![org, lookup.blind(keys), kind, record]));
            }
            let blind: Vec<[Value; 4]> = blind.into_iter().collect();
            sql.put_all("INSERT INTO terms (org, term, kind, record)", &blind, "")?;
        }
        match records.last() {
            Some(last) if records.len() == ROWS_AT_ONCE => after = last.get(0)?,
            Some(_) | None => return Ok(()),
        }
    }
}

/// Up to here the hub's time was read from its last change.
fn keep_the_hubs_time(sql: &mut Sql<'_>, org: [u8; 16], keys: &RowKeys) -> Result<(), DbError> {
    let row = sql.row(
        "SELECT changes.replica, changes.counter, changes.sealed FROM changes \
         JOIN organisations ON organisations.org = changes.org AND organisations.hub_replica = changes.replica \
         WHERE changes.org = ?1 ORDER BY changes.counter DESC LIMIT 1",
        values![org],
    )?;
    let Some(row) = row else { return Ok(()) };
    let dot = Dot {
        replica: ReplicaId(row.get(0)?),
        counter: row.get(1)?,
    };
    let change = crate::db::sealing::unseal_change(keys, dot, &row.get::<Vec<u8>>(2)?)?;
    let header = change.parse_header().map_err(|_| DbError::Damaged {
        what: "a change of the hub's own",
    })?;
    sql.run(
        "UPDATE chains SET at_ms = ?3, at_logical = ?4 WHERE org = ?1 AND replica = ?2",
        values![org, dot.replica.0, header.at.wall_ms, header.at.logical],
    )?;
    Ok(())
}
