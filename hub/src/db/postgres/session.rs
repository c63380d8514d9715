//! One connection: statements prepared once, transactions, and locks on rows that stand for what they name.

use std::collections::{BTreeSet, HashMap};

use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Statement};

use super::failing::{Trouble, judge};
use super::listening::CHANNEL;
use crate::db::DbError;
use crate::db::sql::{Row, STATEMENTS_MAX, Sql, Value, row};

/// Names the lock under which one process at a time brings the tables forward.
const FORWARD_LOCK: i64 = 0x4d61_696e_7374_6179;

/// One connection, the statements prepared on it, and what went wrong in its transaction.
pub(in crate::db) struct Session {
    pub(super) client: Client,
    statements: HashMap<String, Statement>,
    trouble: Option<Trouble>,
}

impl Session {
    pub(in crate::db) fn new(client: Client) -> Session {
        Session {
            client,
            statements: HashMap::new(),
            trouble: None,
        }
    }

    pub(in crate::db) fn rows(&mut self, text: &str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        let rows = self.with(text, |client, statement| client.query(statement, &parameters(values)))?;
        rows.iter().map(row).collect()
    }

    pub(in crate::db) fn run(&mut self, text: &str, values: &[Value]) -> Result<u64, DbError> {
        self.with(text, |client, statement| client.execute(statement, &parameters(values)))
    }

    pub(in crate::db) fn plain(&mut self, text: &str) -> Result<(), DbError> {
        let done = self.client.batch_execute(text);
        done.map_err(|error| self.failed(&error))
    }

    fn with<T>(
        &mut self,
        text: &str,
        run: impl FnOnce(&mut Client, &Statement) -> Result<T, postgres::Error>,
    ) -> Result<T, DbError> {
        if let Some(trouble) = &self.trouble {
            return Err(trouble.error());
        }
        if !self.statements.contains_key(text) {
            if self.statements.len() >= STATEMENTS_MAX {
                self.statements.clear();
            }
            let prepared = self.client.prepare(&text.replace('?', "$"));
            let prepared = prepared.map_err(|error| self.failed(&error))?;
            self.statements.insert(text.to_owned(), prepared);
        }
        let Some(statement) = self.statements.get(text) else {
            return Err(DbError::Closed);
        };
        let done = run(&mut self.client, statement);
        done.map_err(|error| self.failed(&error))
    }

    /// Whatever fails ends the transaction, also where the caller goes on as if nothing had been.
    fn failed(&mut self, error: &postgres::Error) -> DbError {
        let (trouble, error) = judge(error);
        self.trouble.get_or_insert(trouble);
        error
    }

    /// Notes that another transaction was in the way, without having waited for it.
    pub(in crate::db) fn conflict(&mut self, reason: &str) -> DbError {
        let trouble = Trouble::Conflict {
            reason: reason.to_owned(),
        };
        let error = trouble.error();
        self.trouble.get_or_insert(trouble);
        error
    }

    pub(in crate::db) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    pub(in crate::db) fn begin_write(&mut self) -> Result<(), DbError> {
        self.trouble = None;
        self.plain("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
    }

    pub(in crate::db) fn begin_read(&mut self) -> Result<(), DbError> {
        self.trouble = None;
        self.plain("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    /// Commits, and tells other processes of it. [`DbError::Unknown`] when nobody can say whether it was committed.
    pub(in crate::db) fn commit(&mut self, told: Option<&str>) -> Result<(), DbError> {
        if let Some(trouble) = &self.trouble {
            return Err(trouble.error());
        }
        let text = match told {
            // The payload is hexadecimal digits and an asterisk at most.
            Some(payload) => format!("NOTIFY {CHANNEL}, '{payload}'; COMMIT"),
            None => "COMMIT".to_owned(),
        };
        self.client.batch_execute(&text).map_err(|error| {
            let (trouble, failed) = judge(&error);
            let lost = matches!(trouble, Trouble::Lost { .. });
            self.trouble.get_or_insert(trouble);
            if lost { DbError::Unknown } else { failed }
        })
    }

    pub(in crate::db) fn rollback(&mut self) {
        // Where this fails the connection is gone, and the transaction with it.
        if self.client.batch_execute("ROLLBACK").is_err() {
            self.trouble = Some(Trouble::Lost {
                reason: "the connection ended".to_owned(),
            });
        }
    }

    pub(in crate::db) fn is_usable(&self) -> bool {
        !self.client.is_closed() && !matches!(self.trouble, Some(Trouble::Lost { .. }))
    }

    /// Locks rows that stand for these names, in their order, and waits for whoever has them.
    pub(in crate::db) fn lock(&mut self, org: [u8; 16], names: &BTreeSet<[u8; 16]>) -> Result<(), DbError> {
        let rows: Vec<[Value; 2]> = names.iter().map(|name| row![org, name]).collect();
        // The rows of a list are taken in its order, and locked also where the condition leaves them as they are.
        Sql::Postgres(self).put_all(
            "INSERT INTO locks (org, name)",
            &rows,
            "ON CONFLICT (org, name) DO UPDATE SET name = excluded.name WHERE FALSE",
        )?;
        Ok(())
    }

    /// Locks rows that come before those that are held already: nobody is waited for, since who holds them may be waiting
    /// for us.
    pub(in crate::db) fn lock_out_of_order(
        &mut self,
        org: [u8; 16],
        names: &BTreeSet<[u8; 16]>,
    ) -> Result<(), DbError> {
        let rows: Vec<[Value; 2]> = names.iter().map(|name| row![org, name]).collect();
        let mut sql = Sql::Postgres(self);
        let made = sql.put_all(
            "INSERT INTO locks (org, name)",
            &rows,
            "ON CONFLICT (org, name) DO NOTHING RETURNING name",
        )?;
        let mut left = names.clone();
        for row in &made {
            left.remove(&row.get::<[u8; 16]>(0)?);
        }
        let keys: Vec<Value> = left.iter().map(Value::from).collect();
        for row in sql.rows_of_then(
            "SELECT name FROM locks WHERE org = ?1 AND name IN",
            org,
            &keys,
            "FOR UPDATE SKIP LOCKED",
        )? {
            left.remove(&row.get::<[u8; 16]>(0)?);
        }
        if !left.is_empty() {
            return Err(self.conflict("another transaction holds what is needed too"));
        }
        Ok(())
    }

    /// Keeps other processes from bringing the tables forward at the same time, until this connection ends.
    pub(in crate::db) fn lock_tables(&mut self) -> Result<(), DbError> {
        self.plain("SET lock_timeout = 0; SET statement_timeout = 0")?;
        self.plain(&format!("SELECT pg_advisory_lock({FORWARD_LOCK})"))
    }
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn row(row: &postgres::Row) -> Result<Row, DbError> {
    let column = |place: usize| -> Result<Value, DbError> {
        let wrong = |_| DbError::Damaged { what: "a column" };
        let kind = row.columns()[place].type_();
        if *kind == Type::BYTEA {
            return Ok(row.try_get::<_, Option<&[u8]>>(place).map_err(wrong)?.into());
        }
        if *kind == Type::INT8 {
            return Ok(row.try_get::<_, Option<i64>>(place).map_err(wrong)?.into());
        }
        if *kind == Type::INT4 {
            return Ok(row
                .try_get::<_, Option<i32>>(place)
                .map_err(wrong)?
                .map(i64::from)
                .into());
        }
        Ok(row.try_get::<_, Option<String>>(place).map_err(wrong)?.into())
    };
    Ok(Row((0..row.len()).map(column).collect::<Result<_, _>>()?))
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql_checked(kind, out),
            Value::Int(number) => number.to_sql_checked(kind, out),
            Value::Id(id) => id.as_slice().to_sql_checked(kind, out),
            Value::Bytes(bytes) => bytes.to_sql_checked(kind, out),
            Value::Text(text) => text.to_sql_checked(kind, out),
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
