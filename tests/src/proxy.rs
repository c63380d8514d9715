//! Proxies as clinics have them: one that connects through to where it is asked to (HTTP CONNECT, RFC 9110 section 9.3.6),
//! with or without a password, and one that breaks TLS open to read along, with certificates of an authority of its own.
//!
//! The second one writes down all that it reads, and may alter what it passes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use vault::Authority;
use vault::tls::{client_config_untrusting, server_config};

const HEAD_MAX_BYTES: usize = 8 * 1024;

/// What the proxy does with a connection once it stands.
enum Way {
    Through,
    /// Reads along as this authority.
    Inspecting(TlsAcceptor),
}

#[derive(Default)]
struct Seen {
    connected: AtomicU64,
    refused: AtomicU64,
    read: Mutex<Vec<u8>>,
    /// The next so many pieces on their way up are altered.
    altering: AtomicBool,
}

pub struct HttpProxy {
    address: SocketAddr,
    seen: Arc<Seen>,
    keeper: JoinHandle<()>,
}

impl HttpProxy {
    /// One that lets through whoever knows `user:password`, or everybody.
    pub async fn connecting(credentials: Option<&str>) -> Result<HttpProxy> {
        HttpProxy::start(Way::Through, credentials).await
    }

    /// One that breaks TLS open, as the authority of that name.
    pub async fn inspecting(name: &str) -> Result<HttpProxy> {
        let now = jiff::Timestamp::now().as_second();
        let authority = Authority::create(name, now)?;
        let identity = authority.issue_server(&["127.0.0.1", "localhost"], now)?;
        let tls = server_config(std::slice::from_ref(authority.certificate()), &identity)?;
        HttpProxy::start(Way::Inspecting(TlsAcceptor::from(Arc::new(tls))), None).await
    }

    async fn start(way: Way, credentials: Option<&str>) -> Result<HttpProxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let expected = credentials.map(|text| format!("basic {}", data_encoding::BASE64.encode(text.as_bytes())));
        let (way, shared, expected) = (Arc::new(way), Arc::clone(&seen), Arc::new(expected));
        let keeper = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (way, seen, expected) = (Arc::clone(&way), Arc::clone(&shared), Arc::clone(&expected));
                // An error is one end hanging up; both sides are dropped, which passes it on.
                tokio::spawn(async move { serve(stream, &way, expected.as_deref(), &seen).await });
            }
        });
        Ok(HttpProxy { address, seen, keeper })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections that were made for somebody.
    pub fn connected(&self) -> u64 {
        self.seen.connected.load(Ordering::Relaxed)
    }

    /// Those who lacked the password.
    pub fn refused(&self) -> u64 {
        self.seen.refused.load(Ordering::Relaxed)
    }

    /// Whether these bytes were ever read, in either direction.
    pub fn has_read(&self, bytes: &[u8]) -> bool {
        let read = self.seen.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.windows(bytes.len()).any(|window| window == bytes)
    }

    /// How much was read.
    pub fn read_bytes(&self) -> usize {
        self.seen.read.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// From now on the last byte of whatever goes up with a body is turned over, or no longer.
    pub fn alter(&self, alters: bool) {
        self.seen.altering.store(alters, Ordering::Relaxed);
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn serve(mut near: TcpStream, way: &Way, expected: Option<&str>, seen: &Arc<Seen>) -> Result<()> {
    let head = head(&mut near).await?;
    let mut lines = head.lines();
    let asked = lines.next().unwrap_or_default().to_owned();
    let target = asked.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let target = target.context("not a CONNECT")?.to_owned();
    let told = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then(|| value.trim().to_owned())
    });
    let basic = |text: &str| text.to_owned().replacen("Basic ", "basic ", 1);
    if expected.is_some_and(|expected| told.as_deref().map(basic).as_deref() != Some(expected)) {
        seen.refused.fetch_add(1, Ordering::Relaxed);
        let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"clinic\"\r\ncontent-length: 0\r\n\r\n";
        near.write_all(refused.as_bytes()).await?;
        return Ok(());
    }
    let mut far = TcpStream::connect(&target).await?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    seen.connected.fetch_add(1, Ordering::Relaxed);
    match way {
        Way::Through => {
            copy_bidirectional(&mut near, &mut far).await?;
            Ok(())
        }
        Way::Inspecting(acceptor) => {
            let near = acceptor.accept(near).await?;
            let tls = client_config_untrusting(Arc::default())?;
            let name = rustls::pki_types::ServerName::try_from("localhost")?;
            let far = TlsConnector::from(Arc::new(tls)).connect(name, far).await?;
            read_along(near, far, seen).await
        }
    }
}

async fn head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_MAX_BYTES, "the head is too long");
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

async fn read_along<N, F>(near: N, far: F, seen: &Arc<Seen>) -> Result<()>
where
    N: AsyncRead + AsyncWrite + Unpin,
    F: AsyncRead + AsyncWrite + Unpin,
{
    let (mut near_out, mut near_in) = tokio::io::split(near);
    let (mut far_out, mut far_in) = tokio::io::split(far);
    let up = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = near_out.read(&mut bytes).await?;
            if length == 0 {
                break far_in.shutdown().await;
            }
            note(seen, &bytes[..length]);
            let has_body = !bytes[..length].ends_with(b"\r\n\r\n");
            if has_body && seen.altering.load(Ordering::Relaxed) {
                bytes[length - 1] ^= 1;
            }
            far_in.write_all(&bytes[..length]).await?;
        }
    };
    let down = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = far_out.read(&mut bytes).await?;
            if length == 0 {
                break near_in.shutdown().await;
            }
            note(seen, &bytes[..length]);
            near_in.write_all(&bytes[..length]).await?;
        }
    };
    tokio::try_join!(up, down)?;
    Ok(())
}

fn note(seen: &Seen, bytes: &[u8]) {
    seen.read
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend_from_slice(bytes);
}
