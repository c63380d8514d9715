//! What only PostgreSQL has: connecting, transactions, row locks, time limits, and word of commits between processes.
//! Statements of the store itself come in through [`Sql`] and are the same as for the embedded engine.
//!
//! The `postgres` crate blocks, so nothing here runs on a thread that drives async tasks.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, NoTls, Statement};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sync_protocol::ScopeId;
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::config::Config;
use super::sql::{Row, STATEMENTS_MAX, Value, values};
use super::wakes::Commit;
use super::{DbError, random};

/// Word of commits goes over this channel.
const CHANNEL: &str = "mainstay_hub";
/// The server takes payloads of less than 8,000 bytes; a commit that touched more says "everything".
const SCOPES_TOLD_MAX: usize = 240;
/// How soon the listener sees that it is to stop.
const LISTEN_POLL: Duration = Duration::from_millis(200);
/// How often it is made sure that a silent listener is still connected.
const LISTEN_CHECK_POLLS: u32 = 25;
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Names the lock under which one process at a time brings the tables forward.
const FORWARD_LOCK: i64 = 0x4d61_696e_7374_6179;

/// Where the server is and how it is spoken to.
pub(super) struct Server {
    config: postgres::Config,
    tls: Option<MakeRustlsConnect>,
    limits: String,
    /// For the log: host, port and database, nothing else.
    pub(super) shown: String,
    away: AtomicBool,
}

/// What is wrong with an address, before anybody connects to it.
pub(super) fn refuse_unsound(address: &str, has_authority: bool) -> Result<(), String> {
    let config: postgres::Config = address
        .parse()
        .map_err(|_| "postgres must be an address such as \"postgres://user@host:5432/database\"".to_owned())?;
    if config.get_password().is_some() {
        return Err("postgres must not hold a password: put it into the file that password_file names".to_owned());
    }
    if config.get_user().is_none() || config.get_dbname().is_none() || config.get_hosts().is_empty() {
        return Err(
            "postgres must name user, host and database, such as \"postgres://user@host:5432/database\"".to_owned(),
        );
    }
    if !is_on_this_machine(&config) && !has_authority {
        return Err(
            "authority_file must be set where postgres is on another machine: the connection is encrypted and the \
             server's certificate checked"
                .to_owned(),
        );
    }
    Ok(())
}

fn is_on_this_machine(config: &postgres::Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    }) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

impl Server {
    pub(super) fn new(address: &str, settings: &Config) -> Result<Server, DbError> {
        refuse_unsound(address, settings.authority_file.is_some()).map_err(DbError::Settings)?;
        let mut config: postgres::Config = address
            .parse()
            .map_err(|_| DbError::Settings("postgres is no address".to_owned()))?;
        let timeout = Duration::from_secs(settings.connect_timeout_secs);
        let silence = Duration::from_secs(settings.idle_in_transaction_timeout_secs);
        config
            .application_name("mainstay-hub")
            .connect_timeout(timeout)
            .tcp_user_timeout(Duration::from_secs(settings.answer_timeout_secs))
            .keepalives_idle(silence)
            .keepalives_interval(silence);
        if let Some(password) = password(settings)? {
            config.password(password.as_bytes());
        }
        let tls = match &settings.authority_file {
            Some(file) => {
                config.ssl_mode(SslMode::Require);
                Some(tls(file)?)
            }
            None => {
                config.ssl_mode(SslMode::Disable);
                None
            }
        };
        let seconds = |name: &str, secs: u64| format!("SET {name} = '{secs}s';");
        let limits = [
            seconds("statement_timeout", settings.statement_timeout_secs),
            seconds("lock_timeout", settings.lock_timeout_secs),
            seconds(
                "idle_in_transaction_session_timeout",
                settings.idle_in_transaction_timeout_secs,
            ),
            "SET client_min_messages = error; SET bytea_output = 'hex';".to_owned(),
        ]
        .concat();
        let shown = shown(&config);
        Ok(Server {
            config,
            tls,
            limits,
            shown,
            away: AtomicBool::new(false),
        })
    }

    fn client(&self) -> Result<Client, postgres::Error> {
        let mut client = match &self.tls {
            Some(tls) => self.config.connect(tls.clone())?,
            None => self.config.connect(NoTls)?,
        };
        client.batch_execute(&self.limits)?;
        Ok(client)
    }

    pub(super) fn connect(&self) -> Result<Session, DbError> {
        let client = self.client().map_err(|error| {
            let reason = reason(&error);
            if !self.away.swap(true, Ordering::Relaxed) {
                tracing::warn!(server = self.shown, reason, "the store's PostgreSQL is away");
            }
            DbError::Away { reason }
        })?;
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!(server = self.shown, "the store's PostgreSQL is back");
        }
        Ok(Session {
            client,
            statements: HashMap::new(),
            trouble: None,
        })
    }
}

fn shown(config: &postgres::Config) -> String {
    let host = config.get_hosts().first().map_or_else(String::new, |host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    });
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{host}:{port}/{}", config.get_dbname().unwrap_or_default())
}

fn password(settings: &Config) -> Result<Option<Zeroizing<String>>, DbError> {
    let Some(file) = &settings.password_file else {
        return Ok(std::env::var("PGPASSWORD").ok().map(Zeroizing::new));
    };
    let bytes = vault::private_file::read_private(file)
        .map_err(|error| DbError::Settings(format!("the database user's password: {error}")))?;
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(DbError::Settings(format!(
            "{}: its first line must be the database user's password",
            file.display()
        )));
    }
    Ok(Some(Zeroizing::new(line.to_owned())))
}

fn tls(file: &std::path::Path) -> Result<MakeRustlsConnect, DbError> {
    let wrong =
        |reason: &dyn std::fmt::Display| DbError::Settings(format!("authority_file {}: {reason}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"it holds no certificate"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// What kept a transaction from going on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// Another transaction was in the way: this one can be run again.
    Conflict { reason: String },
    /// The connection ended before the commit: nothing was written.
    Lost { reason: String },
    /// What running it again would not help.
    Refused,
}

/// One connection, the statements prepared on it, and what went wrong in its transaction.
pub(super) struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
    trouble: Option<Trouble>,
}

impl Session {
    pub(super) fn rows(&mut self, text: &str, values: &[Value]) -> Result<Vec<Row>, DbError> {
        let rows = self.with(text, |client, statement| client.query(statement, &parameters(values)))?;
        rows.iter().map(row).collect()
    }

    pub(super) fn run(&mut self, text: &str, values: &[Value]) -> Result<u64, DbError> {
        self.with(text, |client, statement| client.execute(statement, &parameters(values)))
    }

    pub(super) fn plain(&mut self, text: &str) -> Result<(), DbError> {
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
    pub(super) fn conflict(&mut self, reason: &str) -> DbError {
        let trouble = Trouble::Conflict {
            reason: reason.to_owned(),
        };
        let error = trouble.error();
        self.trouble.get_or_insert(trouble);
        error
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    pub(super) fn begin_write(&mut self) -> Result<(), DbError> {
        self.trouble = None;
        self.plain("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
    }

    pub(super) fn begin_read(&mut self) -> Result<(), DbError> {
        self.trouble = None;
        self.plain("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    /// Commits, and tells other processes of it. [`DbError::Unknown`] when nobody can say whether it was committed.
    pub(super) fn commit(&mut self, told: Option<&str>) -> Result<(), DbError> {
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

    pub(super) fn rollback(&mut self) {
        // Where this fails the connection is gone, and the transaction with it.
        if self.client.batch_execute("ROLLBACK").is_err() {
            self.trouble = Some(Trouble::Lost {
                reason: "the connection ended".to_owned(),
            });
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.client.is_closed() && !matches!(self.trouble, Some(Trouble::Lost { .. }))
    }

    /// Locks rows that stand for these names, in their order, and waits for whoever has them.
    pub(super) fn lock(&mut self, org: [u8; 16], names: &BTreeSet<[u8; 16]>) -> Result<(), DbError> {
        let rows: Vec<Vec<Value>> = names.iter().map(|name| values![org, name].to_vec()).collect();
        // The rows of a list are taken in its order, and locked also where the condition leaves them as they are.
        super::sql::Sql::Postgres(self).put_all(
            "INSERT INTO locks (org, name)",
            &rows,
            "ON CONFLICT (org, name) DO UPDATE SET name = excluded.name WHERE FALSE",
        )?;
        Ok(())
    }

    /// Locks rows that come before those that are held already: nobody is waited for, since who holds them may be waiting
    /// for us.
    pub(super) fn lock_out_of_order(&mut self, org: [u8; 16], names: &BTreeSet<[u8; 16]>) -> Result<(), DbError> {
        let rows: Vec<Vec<Value>> = names.iter().map(|name| values![org, name].to_vec()).collect();
        let mut sql = super::sql::Sql::Postgres(self);
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
    pub(super) fn lock_tables(&mut self) -> Result<(), DbError> {
        self.plain("SET lock_timeout = 0; SET statement_timeout = 0")?;
        self.plain(&format!("SELECT pg_advisory_lock({FORWARD_LOCK})"))
    }
}

impl Trouble {
    pub(super) fn error(&self) -> DbError {
        match self {
            Trouble::Conflict { reason } => DbError::Conflict { reason: reason.clone() },
            Trouble::Lost { reason } => DbError::Away { reason: reason.clone() },
            Trouble::Refused => DbError::Refused {
                reason: "a statement of this transaction failed before".to_owned(),
            },
        }
    }
}

/// What an error means for the transaction, and what the caller is told. Of the server's own words only those without
/// values are kept.
fn judge(error: &postgres::Error) -> (Trouble, DbError) {
    let reason = reason(error);
    let Some(code) = error.code() else {
        let trouble = if error.is_closed() || has_io_source(error) {
            Trouble::Lost { reason }
        } else {
            return (Trouble::Refused, DbError::Refused { reason });
        };
        let told = trouble.error();
        return (trouble, told);
    };
    let conflicts = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::UNIQUE_VIOLATION,
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    let gone = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    if *code == SqlState::DISK_FULL {
        return (Trouble::Refused, DbError::NoSpace);
    }
    let trouble = if conflicts.contains(code) {
        Trouble::Conflict { reason }
    } else if gone.contains(code) || code.code().starts_with("08") {
        Trouble::Lost { reason }
    } else {
        return (Trouble::Refused, DbError::Refused { reason });
    };
    let told = trouble.error();
    (trouble, told)
}

fn has_io_source(error: &postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

/// Code and kind of an error. The server's message may quote a value, its code never does.
fn reason(error: &postgres::Error) -> String {
    if let Some(failed) = error.as_db_error() {
        let about = [failed.table(), failed.constraint()];
        let about: Vec<&str> = about.into_iter().flatten().collect();
        let about = if about.is_empty() {
            String::new()
        } else {
            format!(" ({})", about.join(", "))
        };
        let said = match *failed.code() {
            SqlState::INVALID_CATALOG_NAME => "there is no such database",
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                "the server does not let this user in"
            }
            SqlState::TOO_MANY_CONNECTIONS => "the server has no connection left",
            SqlState::INSUFFICIENT_PRIVILEGE => "this user may not do that",
            SqlState::CANNOT_CONNECT_NOW => "the server is starting or stopping",
            _ => "the server refused",
        };
        return format!("{said}, SQLSTATE {}{about}", failed.code().code());
    }
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.unwrap_or_else(|| error.to_string())
}

fn parameters(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

fn row(row: &postgres::Row) -> Result<Row, DbError> {
    let column = |place: usize| -> Result<Value, DbError> {
        let wrong = |_| DbError::Damaged { what: "a column" };
        let kind = row.columns()[place].type_();
        if *kind == Type::BYTEA {
            return Ok(row.try_get::<_, Option<Vec<u8>>>(place).map_err(wrong)?.into());
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
            Value::Bytes(bytes) => bytes.to_sql_checked(kind, out),
            Value::Text(text) => text.to_sql_checked(kind, out),
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// What a commit says to other processes: who speaks, of which organisation, and the scopes it touched.
pub(super) fn told(speaker: [u8; 16], org: [u8; 16], scopes: &BTreeSet<ScopeId>) -> Option<String> {
    if scopes.is_empty() {
        return None;
    }
    let hex = |id: &[u8; 16]| data_encoding::HEXLOWER.encode(id);
    let mut payload = hex(&speaker) + &hex(&org);
    if scopes.len() > SCOPES_TOLD_MAX {
        payload.push('*');
    } else {
        scopes.iter().for_each(|scope| payload.push_str(&hex(&scope.0)));
    }
    Some(payload)
}

/// A heard payload: who spoke, of which organisation, and what. What cannot be read may be anything.
fn heard(payload: &str) -> Option<([u8; 16], [u8; 16], Commit)> {
    let id = |text: &str| -> Option<[u8; 16]> { data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok() };
    let (speaker, org, scopes) = (payload.get(..32)?, payload.get(32..64)?, payload.get(64..)?);
    let commit = if scopes == "*" {
        Commit::Everything
    } else {
        let ids = scopes
            .as_bytes()
            .chunks(32)
            .map(|chunk| std::str::from_utf8(chunk).ok().and_then(id).map(ScopeId));
        Commit::Scopes(Arc::new(ids.collect::<Option<_>>()?))
    };
    Some((id(speaker)?, id(org)?, commit))
}

/// Hears of other processes' commits until told to stop; whoever missed some is told that everything may have changed.
pub(super) fn listen(server: &Server, me: [u8; 16], stop: &AtomicBool, wake: &dyn Fn(Option<[u8; 16]>, Commit)) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut session) = server.connect()
            && session.plain(&format!("LISTEN {CHANNEL}")).is_ok()
        {
            wake(None, Commit::Everything);
            hear(&mut session.client, me, stop, wake);
        }
        if !stop.load(Ordering::Relaxed) {
            std::thread::sleep(RECONNECT_PAUSE);
        }
    }
}

fn hear(client: &mut Client, me: [u8; 16], stop: &AtomicBool, wake: &dyn Fn(Option<[u8; 16]>, Commit)) {
    let mut silent = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = client.notifications().timeout_iter(LISTEN_POLL).next();
        match next {
            Ok(Some(said)) => match heard(said.payload()) {
                Some((speaker, ..)) if speaker == me => {}
                Some((_, org, commit)) => wake(Some(org), commit),
                None => wake(None, Commit::Everything),
            },
            Ok(None) => {
                silent += 1;
                if client.is_closed() || (silent % LISTEN_CHECK_POLLS == 0 && client.is_valid(RECONNECT_PAUSE).is_err())
                {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Connections that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Session>>);

impl Pool {
    /// A connection in a transaction that `begin` begins: one that is there, or a new one where those are dead.
    pub(super) fn begin(
        &self,
        server: &Server,
        begin: impl Fn(&mut Session) -> Result<(), DbError>,
    ) -> Result<Session, DbError> {
        while let Some(mut session) = self.take() {
            if session.is_usable() && begin(&mut session).is_ok() {
                return Ok(session);
            }
        }
        let mut session = server.connect()?;
        begin(&mut session)?;
        Ok(session)
    }

    fn take(&self) -> Option<Session> {
        self.sessions().pop()
    }

    pub(super) fn put_back(&self, session: Session) {
        if session.is_usable() {
            self.sessions().push(session);
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connections, on a thread that may wait for them.
    pub(super) fn close(&self) {
        let sessions = std::mem::take(&mut *self.sessions());
        if !sessions.is_empty() {
            let _ = std::thread::spawn(move || drop(sessions)).join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

/// A pause before a transaction is run again: longer each time, and never the same for two.
pub(super) fn pause_before(attempt: u32) -> Result<Duration, DbError> {
    const FIRST_MS: u64 = 5;
    const LAST_MS: u64 = 500;
    let most = (FIRST_MS << attempt.min(10)).min(LAST_MS);
    let dice = u64::from_be_bytes(random()?[..8].try_into().unwrap_or_default());
    Ok(Duration::from_millis(1 + dice % most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard() {
        let scopes = BTreeSet::from([ScopeId([3; 16]), ScopeId([4; 16])]);
        let many: BTreeSet<ScopeId> = (0..=240u8).map(|n| ScopeId([n; 16])).collect();

        let payload = told([1; 16], [2; 16], &scopes).unwrap();
        let everything = told([1; 16], [2; 16], &many).unwrap();

        assert_eq!(
            heard(&payload),
            Some(([1; 16], [2; 16], Commit::Scopes(Arc::new(scopes))))
        );
        assert_eq!(heard(&everything), Some(([1; 16], [2; 16], Commit::Everything)));
        assert!(
            told([1; 16], [2; 16], &(0..240u8).map(|n| ScopeId([n; 16])).collect())
                .unwrap()
                .len()
                < 8_000
        );
        assert_eq!(told([1; 16], [2; 16], &BTreeSet::new()), None);
        for wrong in [
            "",
            "rubbish",
            &payload[1..],
            &payload[..payload.len() - 1],
            "é".repeat(40).as_str(),
        ] {
            assert_eq!(heard(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_address_is_refused_by_what_is_wrong_with_it() {
        for (address, authority, named) in [
            ("nothing", false, "must be an address"),
            ("postgres://hub:secret@localhost/hub", false, "must not hold a password"),
            ("postgres://localhost/hub", false, "must name user, host and database"),
            ("postgres://hub@db.example/hub", false, "authority_file"),
            ("postgres://hub@localhost,db.example/hub", false, "authority_file"),
        ] {
            let error = refuse_unsound(address, authority).unwrap_err();
            assert!(error.contains(named), "{address}: {error}");
            assert!(!error.contains("secret"));
        }
        for (address, authority) in [
            ("postgres://hub@127.0.0.1:5433/hub", false),
            ("postgres://hub@localhost/hub", false),
            ("postgres://hub@db.example/hub", true),
            ("host=/run/postgresql user=hub dbname=hub", false),
        ] {
            assert_eq!(refuse_unsound(address, authority), Ok(()), "{address}");
        }
    }
}
