//! What drives Mainstay from outside: the real programs, the peers nobody here wrote, and the lines between them.

pub mod cache;
pub mod clinic_day;
pub mod control;
pub mod ehr;
pub mod fleet;
pub mod hl7_peer;
pub mod house;
pub mod line;
pub mod page;
pub mod people;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod raw_pages;
pub mod region;
pub mod simulation;
pub mod small_disk;

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

const POLL: Duration = Duration::from_millis(25);

/// An HTTP client for plain pages on this machine: no proxy, redirects shown rather than followed.
pub fn plain_http() -> Result<reqwest::Client> {
    // Another test of this process may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    client.build().context("no HTTP client")
}

/// A port that nobody listens on, outside the range from which the kernel hands out ports to those who ask for any. It is this
/// process's until that ends: no other test draws it while whoever has it here is stopped for a while.
pub fn free_port() -> Result<u16> {
    static OURS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    const TRIES: usize = 50;
    for _ in 0..TRIES {
        let drawn = uuid::Uuid::new_v4().into_bytes();
        let port = FIRST + u16::from_be_bytes([drawn[0], drawn[1]]) % COUNT;
        // A name that the kernel gives to one process at a time, and takes back with the process.
        let name = SocketAddr::from_abstract_name(format!("mainstay-tests-port-{port}"))?;
        let Ok(claim) = UnixListener::bind_addr(&name) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            OURS.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
            return Ok(port);
        }
    }
    bail!("no free port was found in {TRIES} tries")
}

/// A copy with the same permissions, of folders and plain files.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, from.metadata()?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Asks until there is an answer; an error ends it at once.
pub async fn until<T>(patience: Duration, what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if tokio::time::Instant::now() >= deadline {
            bail!("waited {patience:?} in vain for {what}");
        }
        tokio::time::sleep(POLL).await;
    }
}
