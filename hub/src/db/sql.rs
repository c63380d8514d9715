//! The one door through which statements reach the store. A statement is one text for every engine: placeholders `?1`,
//! types BYTEA, BIGINT and TEXT, nothing that only one of them understands. What comes out is typed at the door: a
//! column of another type or length is damage, never a default.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, params_from_iter};

use super::DbError;
use super::postgres::Session;

/// Statements that each connection keeps prepared.
pub(super) const STATEMENTS_MAX: usize = 256;
/// Rows that one statement writes or asks for at once, largest first: a few fixed sizes, so that few texts are prepared.
const ROWS_AT_ONCE: [usize; 5] = [512, 64, 16, 4, 1];
/// Parameters of one statement; SQLite takes 32,766 and PostgreSQL 65,535.
const PARAMETERS_MAX: usize = 16_384;

/// What goes into a statement and comes out of a column.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Value {
    Null,
    Int(i64),
    /// 16 bytes, as ids and blind terms have: a row has many of them, so they take no allocation.
    Id([u8; 16]),
    /// Any other number of bytes.
    Bytes(Vec<u8>),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Value {
        Value::Int(i64::from(number))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Value {
        Value::Int(i64::from(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Int(i64::from(number))
    }
}

/// Beyond the largest that a column holds it stands for the largest.
impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::from(number as u64)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Value {
        Value::Int(i64::from(is))
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Value {
        Value::from(bytes.as_slice())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Value {
        Value::from(bytes.as_slice())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        match bytes.try_into() {
            Ok(id) => Value::Id(id),
            Err(_) => Value::Bytes(bytes.to_vec()),
        }
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        match bytes.as_slice().try_into() {
            Ok(id) => Value::Id(id),
            Err(_) => Value::Bytes(bytes),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Value {
        Value::Text(text.clone())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl Value {
    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Id(id) => Some(id),
            Value::Bytes(bytes) => Some(bytes),
            Value::Null | Value::Int(_) | Value::Text(_) => None,
        }
    }
}

/// The parameters of a statement, in the order of their numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &$crate::db::sql::row![$($value),*][..] };
}
pub(super) use values;

/// One of the rows that a statement writes.
macro_rules! row {
    ($($value:expr),* $(,)?) => { [$($crate::db::sql::Value::from($value)),*] };
}
pub(super) use row;

/// What a column can be read as.
pub(super) trait Column: Sized {
    fn read(value: &Value) -> Option<Self>;
}

impl Column for i64 {
    fn read(value: &Value) -> Option<i64> {
        if let Value::Int(number) = value {
            Some(*number)
        } else {
            None
        }
    }
}

impl Column for u64 {
    fn read(value: &Value) -> Option<u64> {
        i64::read(value)?.try_into().ok()
    }
}

impl Column for usize {
    fn read(value: &Value) -> Option<usize> {
        i64::read(value)?.try_into().ok()
    }
}

impl Column for u32 {
    fn read(value: &Value) -> Option<u32> {
        i64::read(value)?.try_into().ok()
    }
}

impl Column for u16 {
    fn read(value: &Value) -> Option<u16> {
        i64::read(value)?.try_into().ok()
    }
}

impl Column for u8 {
    fn read(value: &Value) -> Option<u8> {
        i64::read(value)?.try_into().ok()
    }
}

impl Column for Vec<u8> {
    fn read(value: &Value) -> Option<Vec<u8>> {
        value.as_bytes().map(<[u8]>::to_vec)
    }
}

impl<const N: usize> Column for [u8; N] {
    fn read(value: &Value) -> Option<[u8; N]> {
        value.as_bytes()?.try_into().ok()
    }
}

impl Column for String {
    fn read(value: &Value) -> Option<String> {
        if let Value::Text(text) = value {
            Some(text.clone())
        } else {
            None
        }
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: &Value) -> Option<Option<T>> {
        match value {
            Value::Null => Some(None),
            Value::Int(_) | Value::Id(_) | Value::Bytes(_) | Value::Text(_) => T::read(value).map(Some),
        }
    }
}

/// One row of an answer.
pub(super) struct Row(pub(super) Vec<Value>);

impl Row {
    /// A column by its place in the statement, counted from 0.
    pub(super) fn get<T: Column>(&self, column: usize) -> Result<T, DbError> {
        self.0
            .get(column)
            .and_then(T::read)
            .ok_or(DbError::Damaged { what: "a column" })
    }
}

/// A store in a transaction.
pub(super) enum Sql<'c> {
    Embedded(&'c Connection),
    Postgres(&'c mut Session),
}

#[cfg(test)]
thread_local! {
    static STATEMENTS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many statements this thread has asked of stores; one that is run for row after row is one.
#[cfg(test)]
pub(crate) fn statements() -> usize {
    STATEMENTS.get()
}

impl Sql<'_> {
    /// All rows of an answer. A statement that may find many has a limit.
    pub(super) fn rows(&mut self, text: &str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        #[cfg(test)]
        STATEMENTS.set(STATEMENTS.get() + 1);
        match self {
            Sql::Embedded(connection) => {
                let mut rows = Vec::new();
                collect_rows(&mut *connection.prepare_cached(text)?, values, &mut rows)?;
                Ok(rows)
            }
            Sql::Postgres(session) => session.rows(text, values),
        }
    }

    /// The first row of an answer, if there is one.
    pub(super) fn row(&mut self, text: &str, values: &[Value]) -> Result<Option<Row>, DbError> {
        Ok(self.rows(text, values)?.into_iter().next())
    }

    /// The row of a statement that always answers one.
    pub(super) fn one(&mut self, text: &str, values: &[Value]) -> Result<Row, DbError> {
        self.row(text, values)?.ok_or(DbError::Damaged {
            what: "no row where one always is",
        })
    }

    /// Runs a statement; answers how many rows it changed.
    pub(super) fn run(&mut self, text: &str, values: &[Value]) -> Result<u64, DbError> {
        #[cfg(test)]
        STATEMENTS.set(STATEMENTS.get() + 1);
        match self {
            Sql::Embedded(connection) => Ok(connection.prepare_cached(text)?.execute(params_from_iter(values))? as u64),
            Sql::Postgres(session) => session.run(text, values),
        }
    }

    /// Runs several statements that have no parameters.
    pub(super) fn plain(&mut self, text: &str) -> Result<(), DbError> {
        match self {
            Sql::Embedded(connection) => Ok(connection.execute_batch(text)?),
            Sql::Postgres(session) => session.plain(text),
        }
    }

    /// Writes many rows by as few statements as can be: `before`, lists of values, `after`. Answers what the statements
    /// return. A store in this process is given one after another: there is no way to save, and of every page that a statement
    /// of several rows touches SQLite keeps a copy, to undo it alone.
    pub(super) fn put_all<const WIDTH: usize>(
        &mut self,
        before: &str,
        rows: &[[Value; WIDTH]],
        after: &str,
    ) -> Result<Vec<Row>, DbError> {
        let mut returned = Vec::new();
        if rows.is_empty() {
            return Ok(returned);
        }
        match self {
            Sql::Embedded(connection) => {
                #[cfg(test)]
                STATEMENTS.set(STATEMENTS.get() + 1);
                let text = format!("{before} VALUES {} {after}", lists(1, WIDTH));
                let mut statement = connection.prepare_cached(&text)?;
                for row in rows {
                    collect_rows(&mut statement, row, &mut returned)?;
                }
            }
            Sql::Postgres(_) => {
                let (mut text, mut size) = (String::new(), 0);
                for part in parts(rows, PARAMETERS_MAX / WIDTH.max(1)) {
                    if part.len() != size {
                        size = part.len();
                        text = format!("{before} VALUES {} {after}", lists(size, WIDTH));
                    }
                    returned.extend(self.rows(&text, part.as_flattened())?);
                }
            }
        }
        Ok(returned)
    }

    /// Asks for many keys by as few statements as can be: `before`, the keys in parentheses. The organisation is `?1` in
    /// every one.
    pub(super) fn rows_of(&mut self, before: &str, org: [u8; 16], keys: &[Value]) -> Result<Vec<Row>, DbError> {
        self.rows_of_then(before, org, keys, "")
    }

    /// As [`Sql::rows_of`], with what comes behind the keys.
    pub(super) fn rows_of_then(
        &mut self,
        before: &str,
        org: [u8; 16],
        keys: &[Value],
        after: &str,
    ) -> Result<Vec<Row>, DbError> {
        let mut rows = Vec::new();
        for part in filled_parts(keys) {
            let places: Vec<String> = (2..part.len() + 2).map(|number| format!("?{number}")).collect();
            let text = format!("{before} ({}) {after}", places.join(", "));
            rows.extend(self.rows(&text, &[values![org], &part].concat())?);
        }
        Ok(rows)
    }

    /// As [`Sql::rows_of`] for keys of several columns: `before`, then alternatives that compare all of them. What a
    /// deletion removed is not answered.
    pub(super) fn rows_of_keys(
        &mut self,
        before: &str,
        org: [u8; 16],
        columns: &[&str],
        keys: &[Vec<Value>],
    ) -> Result<Vec<Row>, DbError> {
        let mut rows = Vec::new();
        for part in filled_parts(keys) {
            let mut number = 1;
            let mut alternative = || {
                let compared = columns.iter().map(|column| {
                    number += 1;
                    format!("{column} = ?{number}")
                });
                format!("({})", compared.collect::<Vec<_>>().join(" AND "))
            };
            let alternatives: Vec<String> = part.iter().map(|_| alternative()).collect();
            let text = format!("{before} ({})", alternatives.join(" OR "));
            rows.extend(self.rows(&text, &[values![org].to_vec(), part.concat()].concat())?);
        }
        Ok(rows)
    }
}

fn collect_rows(statement: &mut Statement<'_>, values: &[Value], rows: &mut Vec<Row>) -> Result<(), DbError> {
    let columns = statement.column_count();
    let mut found = statement.query(params_from_iter(values))?;
    while let Some(row) = found.next()? {
        let values = (0..columns).map(|column| Ok(Value::from(row.get_ref(column)?)));
        rows.push(Row(values.collect::<rusqlite::Result<_>>()?));
    }
    Ok(())
}

/// Cuts a list into the fixed sizes, none above so many.
fn parts<T>(mut all: &[T], at_once: usize) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let fits = |size: &usize| *size <= all.len() && *size <= at_once.max(1);
        let size = ROWS_AT_ONCE.into_iter().find(fits)?;
        let (part, rest) = all.split_at(size);
        all = rest;
        Some(part)
    })
}

/// Cuts a list of keys to be asked for into the fixed sizes; the last part is filled up with its own last key. Beyond 64
/// at once the planning costs more than the way.
fn filled_parts<T: Clone>(all: &[T]) -> impl Iterator<Item = Vec<T>> {
    const AT_ONCE: usize = 64;
    all.chunks(AT_ONCE).map(|chunk| {
        let sizes = ROWS_AT_ONCE.into_iter().rev();
        let size = sizes.into_iter().find(|size| *size >= chunk.len()).unwrap_or(AT_ONCE);
        let mut part = chunk.to_vec();
        part.extend(std::iter::repeat_n(chunk.last().cloned(), size - chunk.len()).flatten());
        part
    })
}

/// `(?1, ?2), (?3, ?4)` for two rows of two values.
fn lists(rows: usize, width: usize) -> String {
    let list = |row: usize| {
        let places: Vec<String> = (1..=width).map(|column| format!("?{}", row * width + column)).collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(list).collect::<Vec<_>>().join(", ")
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Id(id) => ValueRef::Blob(id),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Value {
        match value {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Int(number),
            ValueRef::Blob(bytes) => Value::from(bytes),
            // No statement asks for a number with a fraction, and a text that is no UTF-8 reads as nothing.
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_or(Value::Null, Value::from),
            ValueRef::Real(_) => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_into_few_fixed_sizes() {
        let sizes = |count: usize, most: usize| parts(&vec![0; count], most).map(<[i32]>::len).collect::<Vec<_>>();
        let filled = |count: usize| filled_parts(&vec![7; count]).map(|part| part.len()).collect::<Vec<_>>();

        assert_eq!(sizes(0, 600), [] as [usize; 0]);
        assert_eq!(sizes(7, 600), [4, 1, 1, 1]);
        assert_eq!(sizes(150, 600), [64, 64, 16, 4, 1, 1]);
        assert_eq!(sizes(600, 512)[0], 512);
        assert_eq!(sizes(600, 511)[0], 64);
        assert_eq!(sizes(2, 0), [1, 1]);
        assert_eq!((filled(0), filled(3), filled(70)), (vec![], vec![4], vec![64, 16]));
        assert_eq!(lists(2, 2), "(?1, ?2), (?3, ?4)");
    }

    #[test]
    fn a_column_of_another_type_or_length_is_damage() {
        let row = Row(vec![Value::Int(-1), Value::Bytes(vec![1, 2]), Value::Null]);

        assert_eq!(row.get::<i64>(0).unwrap(), -1);
        assert_eq!(row.get::<[u8; 2]>(1).unwrap(), [1, 2]);
        assert_eq!(row.get::<Option<String>>(2).unwrap(), None);
        let id = Row(vec![Value::from(vec![7; 16])]);
        assert_eq!(id.get::<[u8; 16]>(0).unwrap(), [7; 16]);
        assert_eq!(id.get::<Vec<u8>>(0).unwrap(), [7; 16]);
        assert!(matches!(row.get::<u64>(0), Err(DbError::Damaged { .. })));
        assert!(matches!(row.get::<[u8; 3]>(1), Err(DbError::Damaged { .. })));
        assert!(matches!(row.get::<String>(2), Err(DbError::Damaged { .. })));
        assert!(matches!(row.get::<i64>(3), Err(DbError::Damaged { .. })));
    }
}
