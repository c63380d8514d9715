//! What only PostgreSQL has: connecting, transactions, row locks, time limits, and word of commits between processes.
//! Statements of the store itself come in through [`Sql`] and are the same as for the embedded engine.
//!
//! The `postgres` crate blocks, so nothing here runs on a thread that drives async tasks.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::{Client, NoTls};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::config::Config;
use super::{DbError, random};

mod failing;
mod listening;
mod session;
mod statistics;

pub(super) use failing::Trouble;
pub(super) use listening::{listen, told};
pub(super) use session::Session;
pub(super) use statistics::keep as keep_statistics;

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
            let reason = failing::reason(&error);
            if !self.away.swap(true, Ordering::Relaxed) {
                tracing::warn!(server = self.shown, reason, "the store's PostgreSQL is away");
            }
            DbError::Away { reason }
        })?;
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!(server = self.shown, "the store's PostgreSQL is back");
        }
        Ok(Session::new(client))
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
