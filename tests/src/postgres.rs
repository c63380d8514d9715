//! A PostgreSQL server of a test's own: a throw-away cluster in a folder of its own, on a Unix socket and on a port of
//! this machine. PostgreSQL refuses to run as root, so as root it runs as the user `postgres`; otherwise as whoever tests.
//!
//! It ends with the test, however the test ends. What is written is synced to disk unless a test asks otherwise.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::process;

const READY_PATIENCE: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(20);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
const PORT_TRIES: u32 = 3;
const SERVER_USER: &str = "postgres";
/// The user and the database of the hub, which are no superuser's.
const HUB: &str = "hub";
const CERTIFICATE: &str = "server.crt";
const CERTIFICATE_KEY: &str = "server.key";

/// A running server with an empty database `hub` that belongs to the user `hub`.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    /// Whom the server runs as, where that is not the tester.
    user: Option<User>,
    port: u16,
    fsync: bool,
    /// The authority of the server's certificate, where it lets nobody in who does not encrypt and know the password.
    authority: Option<String>,
    server: Option<Child>,
}

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// The hub's user's, where the server asks for one.
    pub const PASSWORD: &str = "four quiet herons";

    /// Whether `tests/prerequisites` has installed it.
    pub fn is_installed() -> bool {
        programs().is_ok()
    }

    pub fn start() -> Result<Cluster> {
        Cluster::start_with(true, false)
    }

    /// For tests in which nothing loses power: commits do not wait for the disk.
    pub fn start_without_fsync() -> Result<Cluster> {
        Cluster::start_with(false, false)
    }

    /// As on another machine: only encrypted connections with the password [`Cluster::PASSWORD`], and a certificate of an
    /// authority of the server's own.
    pub fn start_encrypted() -> Result<Cluster> {
        Cluster::start_with(false, true)
    }

    fn start_with(fsync: bool, encrypted: bool) -> Result<Cluster> {
        let folder = tempfile::Builder::new().prefix("mainstay-pg-").tempdir()?;
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700))?;
        let mut cluster = Cluster {
            programs: programs()?,
            user: server_user()?,
            port: 0,
            fsync,
            authority: None,
            server: None,
            folder,
        };
        if let Some(user) = cluster.user {
            chown(cluster.folder.path(), Some(user.uid), Some(user.gid))?;
        }
        cluster.make()?;
        if encrypted {
            cluster.demand_encryption()?;
        }
        let mut tries = 1;
        loop {
            cluster.port = crate::free_port()?;
            match cluster.launch() {
                // Between choosing a free port and taking it, somebody else may have taken it.
                Err(_) if tries < PORT_TRIES => tries += 1,
                done => break done?,
            }
        }
        let password = Cluster::PASSWORD;
        cluster.sql("postgres", &format!("CREATE ROLE {HUB} LOGIN PASSWORD '{password}'"))?;
        cluster.create_database(HUB)?;
        Ok(cluster)
    }

    fn make(&self) -> Result<()> {
        let mut initdb = self.as_server("initdb");
        initdb.args([
            "-U",
            SERVER_USER,
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-D",
        ]);
        initdb.arg(self.data());
        run(initdb, "initdb").map(drop)
    }

    /// A certificate for this machine, and the rule that the hub's user comes in with TLS and password alone.
    fn demand_encryption(&mut self) -> Result<()> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key)?;
        let key = KeyPair::generate()?;
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])?
            .signed_by(&key, &Issuer::new(authority, authority_key))?;
        self.give_server(CERTIFICATE, &server.pem())?;
        self.give_server(CERTIFICATE_KEY, &key.serialize_pem())?;
        self.give_server(
            "data/pg_hba.conf",
            &format!(
                "local all all trust\nhost all {SERVER_USER} 127.0.0.1/32 trust\n\
                 hostssl all all 127.0.0.1/32 scram-sha-256\n"
            ),
        )?;
        self.authority = Some(certificate.pem());
        Ok(())
    }

    /// A file that the server alone may read.
    fn give_server(&self, name: &str, text: &str) -> Result<()> {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text)?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        if let Some(user) = self.user {
            chown(&file, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .context("the server's log cannot be written")?;
        let mut server = self.as_server("postgres");
        server
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=100"])
            .args(["-c", "unix_socket_permissions=0777"])
            // In the cluster's own folder; what a killed server leaves in /dev/shm, nobody takes away.
            .args(["-c", "dynamic_shared_memory_type=mmap"])
            .args(["-c", if self.fsync { "fsync=on" } else { "fsync=off" }])
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if self.authority.is_some() {
            let file = |name| self.folder.path().join(name).display().to_string();
            server.args(["-c", "ssl=on", "-c", &format!("ssl_cert_file={}", file(CERTIFICATE))]);
            server.args(["-c", &format!("ssl_key_file={}", file(CERTIFICATE_KEY))]);
        }
        self.server = Some(server.spawn().context("the PostgreSQL server did not start")?);
        let deadline = Instant::now() + READY_PATIENCE;
        while Instant::now() < deadline {
            let mut ready = self.program("pg_isready");
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            if ready.status().is_ok_and(|status| status.success()) {
                return Ok(());
            }
            if let Some(status) = self.server.as_mut().map(Child::try_wait).transpose()?.flatten() {
                self.server = None;
                bail!("the PostgreSQL server ended with {status}; it said: {}", self.log());
            }
            std::thread::sleep(READY_POLL);
        }
        bail!(
            "the PostgreSQL server was not ready within {READY_PATIENCE:?}; it said: {}",
            self.log()
        )
    }

    /// The authority of the server's certificate (PEM), where connections to it are encrypted.
    pub fn authority_pem(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// What `[store] postgres` is set to.
    pub fn url(&self) -> String {
        self.url_of(HUB)
    }

    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{HUB}@127.0.0.1:{}/{database}", self.port)
    }

    /// The same over the Unix socket.
    pub fn socket_url(&self) -> String {
        format!(
            "host={} port={} user={HUB} dbname={HUB}",
            self.folder.path().display(),
            self.port
        )
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Another empty database of the hub's user.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {HUB}"))
            .map(drop)
    }

    /// Runs a statement as the superuser; gives the rows without decoration, columns parted by `|`.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String> {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
        psql.args([
            "-p",
            &self.port.to_string(),
            "-U",
            SERVER_USER,
            "-d",
            database,
            "-c",
            statement,
        ]);
        Ok(String::from_utf8_lossy(&run(psql, "psql")?).trim_end().to_owned())
    }

    /// Everything that is in the hub's database, as text.
    pub fn dump(&self) -> Result<String> {
        let mut dump = self.program("pg_dump");
        dump.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", SERVER_USER, HUB]);
        Ok(String::from_utf8_lossy(&run(dump, "pg_dump")?).into_owned())
    }

    /// Puts what [`Cluster::dump`] gave in the place of the hub's database; whoever is connected is cut off, and never meets
    /// a database that is half there.
    pub fn put_back(&self, dump: &str) -> Result<()> {
        const NEXT: &str = "hub_put_back";
        self.create_database(NEXT)?;
        let file = self.folder.path().join("dump.sql");
        std::fs::write(&file, dump)?;
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
        psql.args(["-p", &self.port.to_string(), "-U", SERVER_USER, "-d", NEXT, "-f"]);
        psql.arg(&file);
        run(psql, "psql")?;
        self.sql("postgres", &format!("DROP DATABASE {HUB} WITH (FORCE)"))?;
        self.sql("postgres", &format!("ALTER DATABASE {NEXT} RENAME TO {HUB}"))
            .map(drop)
    }

    /// Stops the server as its administrator would; clients are cut off. The data stays.
    pub fn stop(&mut self) -> Result<()> {
        if self.server.is_none() {
            return Ok(());
        }
        let mut stop = self.as_server("pg_ctl");
        stop.args(["-w", "-s", "-m", "fast", "stop", "-D"]).arg(self.data());
        run(stop, "pg_ctl stop")?;
        self.reap()
    }

    /// Ends the server as a crash would.
    pub fn crash(&mut self) -> Result<()> {
        let mut stop = self.as_server("pg_ctl");
        stop.args(["-w", "-s", "-m", "immediate", "stop", "-D"])
            .arg(self.data());
        run(stop, "pg_ctl stop")?;
        self.reap()
    }

    /// Starts the stopped server again, at the same port.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "the server is running");
        self.launch()
    }

    fn reap(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        let deadline = Instant::now() + STOP_PATIENCE;
        while server.try_wait()?.is_none() {
            if Instant::now() > deadline {
                server.kill()?;
                server.wait()?;
                bail!("the PostgreSQL server did not end within {STOP_PATIENCE:?}");
            }
            std::thread::sleep(READY_POLL);
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        // Whatever the tester's own environment says of servers is not meant for this one.
        for variable in [
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGDATABASE",
            "PGPASSWORD",
            "PGOPTIONS",
            "PGSERVICE",
        ] {
            command.env_remove(variable);
        }
        command.current_dir("/");
        command
    }

    /// A program run as whom the server runs as; it ends when the thread that started it does.
    fn as_server(&self, name: &str) -> Command {
        let plain = self.program(name);
        let Some(setpriv) = process::which("setpriv") else {
            return plain;
        };
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = self.user {
            command.args([
                format!("--reuid={}", user.uid),
                format!("--regid={}", user.gid),
                "--clear-groups".to_owned(),
            ]);
        }
        command.arg("--").arg(plain.get_program()).current_dir("/");
        for (variable, _) in plain.get_envs() {
            command.env_remove(variable);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // Its children see that it is gone, and end.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Where the newest installed version keeps its programs; Debian has them on no path.
fn programs() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            path.join("bin/initdb").is_file().then(|| (version, path.join("bin")))
        })
        .collect();
    found.sort();
    if let Some((_, programs)) = found.pop() {
        return Ok(programs);
    }
    let initdb = process::which("initdb").map(|path| path.canonicalize().unwrap_or(path));
    let beside = initdb.as_deref().and_then(Path::parent).map(Path::to_owned);
    beside
        .filter(|folder| folder.join("postgres").is_file())
        .context("PostgreSQL is not installed; install it with tests/prerequisites (apt-get install postgresql)")
}

/// The user of the server where root tests.
fn server_user() -> Result<Option<User>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let line = passwd.lines().find(|line| line.starts_with(&format!("{SERVER_USER}:")));
    let ids = line.map(|line| {
        line.split(':')
            .skip(2)
            .take(2)
            .map(str::parse)
            .collect::<Result<Vec<u32>, _>>()
    });
    match ids.transpose()?.as_deref() {
        Some([uid, gid]) => Ok(Some(User { uid: *uid, gid: *gid })),
        Some(_) | None => bail!("there is no user {SERVER_USER}; install PostgreSQL with tests/prerequisites"),
    }
}

fn run(mut command: Command, what: &str) -> Result<Vec<u8>> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{what} did not start"))?;
    ensure!(
        done.status.success(),
        "{what} ended with {}: {}",
        done.status,
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(done.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_answers_is_stopped_and_comes_back_with_its_data() {
        let mut cluster = Cluster::start_without_fsync().unwrap();
        cluster.sql("hub", "CREATE TABLE kept (n BIGINT)").unwrap();
        cluster.sql("hub", "INSERT INTO kept VALUES (7)").unwrap();

        cluster.crash().unwrap();
        assert!(cluster.sql("hub", "SELECT n FROM kept").is_err());
        cluster.start_again().unwrap();

        assert_eq!(cluster.sql("hub", "SELECT n FROM kept").unwrap(), "7");
        assert!(cluster.dump().unwrap().contains("CREATE TABLE public.kept"));
    }

    #[test]
    fn a_cluster_leaves_nothing_behind() {
        let cluster = Cluster::start_without_fsync().unwrap();
        let (folder, pid) = (cluster.folder.path().to_owned(), cluster.server.as_ref().unwrap().id());
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();

        drop(cluster);

        assert_eq!(mode & 0o077, 0);
        assert!(!folder.exists());
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
