//! A line that a test or the demo owns: a TCP proxy between an agent and its hub, or between the hub and the EHR.
//!
//! TLS passes through untouched. Nothing of it is in the product. It refuses to invent traffic: it can only withhold,
//! delay or drop what the two ends say.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the line does to traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Everything passes.
    Up,
    /// The cable is pulled: connections are dropped, new ones refused by the kernel.
    Cut,
    /// Packets vanish: connections stay open, nothing passes, new ones are never answered.
    Silent,
    /// Requests pass, replies do not. A TLS handshake still completes, so that a fresh connection can carry a request.
    RepliesLost,
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub connections: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// Replies that the far end gave and the near end never saw.
    pub replies_lost: u64,
}

/// The proxy. Listens on a port of its own for as long as it lives; dropping it ends every connection.
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
    wanted: watch::Sender<Condition>,
    applied: watch::Receiver<Condition>,
    keeper: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    far_end: Mutex<Option<SocketAddr>>,
    /// The next request that begins with these bytes gets no reply.
    swallow: Mutex<Option<Vec<u8>>>,
    delay_millis: AtomicU64,
    connections: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    replies_lost: AtomicU64,
}

impl Line {
    /// A line that is up, on a free loopback port, with no far end yet: connections are dropped until
    /// [`Line::lead_to`] names one.
    pub async fn lay() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no loopback port for the line")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let (wanted, wanted_seen) = watch::channel(Condition::Up);
        let (applied_tell, applied) = watch::channel(Condition::Up);
        let keeper = tokio::spawn(keep(address, listener, Arc::clone(&shared), wanted_seen, applied_tell));
        Ok(Self {
            address,
            shared,
            wanted,
            applied,
            keeper,
        })
    }

    /// Where the near end connects.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names the far end; a restarted hub may listen elsewhere. Running connections keep theirs.
    pub fn lead_to(&self, far_end: SocketAddr) {
        *self.shared.far_end.lock().unwrap_or_else(PoisonError::into_inner) = Some(far_end);
    }

    pub fn condition(&self) -> Condition {
        *self.applied.borrow()
    }

    /// Changes the condition and returns when it holds: after `Cut` no byte passes any more.
    pub async fn set(&self, condition: Condition) -> Result<()> {
        self.wanted
            .send(condition)
            .map_err(|_| anyhow!("the line at {} has ended", self.address))?;
        let mut applied = self.applied.clone();
        applied
            .wait_for(|now| *now == condition)
            .await
            .context("the line ended while changing")?;
        Ok(())
    }

    pub async fn cut(&self) -> Result<()> {
        self.set(Condition::Cut).await
    }

    pub async fn restore(&self) -> Result<()> {
        self.set(Condition::Up).await
    }

    /// Lets the next request that begins with `request_start` through, and drops its connection when the reply comes.
    /// For plain HTTP, where the start of a request can be read; under TLS use [`Condition::RepliesLost`].
    pub fn swallow_next_reply_to(&self, request_start: &str) {
        *self.shared.swallow.lock().unwrap_or_else(PoisonError::into_inner) = Some(request_start.as_bytes().to_vec());
    }

    /// Holds every piece of traffic back for `delay`, in both directions.
    pub fn set_delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_millis.store(millis, Ordering::Relaxed);
    }

    pub fn passed(&self) -> Passed {
        Passed {
            connections: self.shared.connections.load(Ordering::Relaxed),
            bytes_up: self.shared.bytes_up.load(Ordering::Relaxed),
            bytes_down: self.shared.bytes_down.load(Ordering::Relaxed),
            replies_lost: self.shared.replies_lost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// While the line is cut, its port is held by a socket that is bound but does not listen: the kernel refuses, and
/// hands the port to nobody who asks for a free one.
enum Port {
    Open(TcpListener),
    Held(TcpSocket),
}

impl Port {
    fn hold(address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address).context("the line lost its port")?;
        Ok(Port::Held(socket))
    }
}

async fn keep(
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    mut wanted: watch::Receiver<Condition>,
    applied: watch::Sender<Condition>,
) {
    let mut connections = JoinSet::new();
    let mut port = Port::Open(listener);
    loop {
        tokio::select! {
            accepted = accept(&port) => {
                let Ok(near) = accepted else { continue };
                shared.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(carry(near, Arc::clone(&shared), wanted.clone()));
            }
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let condition = *wanted.borrow_and_update();
                let Ok(now) = turn(port, condition, address, &mut connections).await else { return };
                port = now;
                applied.send_replace(condition);
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(port: &Port) -> std::io::Result<TcpStream> {
    match port {
        Port::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
        Port::Held(_) => std::future::pending().await,
    }
}

async fn turn(port: Port, condition: Condition, address: SocketAddr, open: &mut JoinSet<()>) -> Result<Port> {
    match (condition, port) {
        (Condition::Cut, Port::Open(listener)) => {
            open.shutdown().await;
            drop(listener);
            Port::hold(address)
        }
        (Condition::Up | Condition::Silent | Condition::RepliesLost, Port::Held(socket)) => {
            Ok(Port::Open(socket.listen(128)?))
        }
        (Condition::Cut, held @ Port::Held(_)) => Ok(held),
        (Condition::Up | Condition::Silent | Condition::RepliesLost, open @ Port::Open(_)) => Ok(open),
    }
}

/// What one connection has to know about itself.
#[derive(Default)]
struct Talk {
    tls: bool,
    /// How often the near end took the word: the first turn of a TLS connection is its ClientHello.
    turns: u32,
    near_spoke_last: bool,
    /// Its request was chosen by [`Line::swallow_next_reply_to`].
    chosen: bool,
    /// A reply was withheld: what follows would be garbage, so the connection ends when the line is up again.
    tainted: bool,
}

async fn carry(near: TcpStream, shared: Arc<Shared>, mut condition: watch::Receiver<Condition>) {
    if condition.wait_for(|now| *now != Condition::Silent).await.is_err() {
        return;
    }
    let far_end = *shared.far_end.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(far_end) = far_end else { return reset(&near) };
    let Ok(far) = TcpStream::connect(far_end).await else {
        return reset(&near);
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    // An error is one end hanging up the hard way; leaving drops both, which passes it on.
    let _ = exchange(near, far, &shared, &mut condition).await;
}

async fn exchange(
    mut near: TcpStream,
    mut far: TcpStream,
    shared: &Shared,
    condition: &mut watch::Receiver<Condition>,
) -> std::io::Result<()> {
    let mut talk = Talk::default();
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut near_open = true;
    loop {
        if condition.wait_for(|now| *now != Condition::Silent).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            read = near.read(&mut up), if near_open => {
                let read = read?;
                if read == 0 {
                    near_open = false;
                    far.shutdown().await?;
                    continue;
                }
                if !may_pass(condition).await {
                    return Ok(());
                }
                heard_near(&mut talk, &up[..read], shared);
                hold_back(shared).await;
                far.write_all(&up[..read]).await?;
                shared.bytes_up.fetch_add(read as u64, Ordering::Relaxed);
            }
            read = far.read(&mut down) => {
                let read = read?;
                if read == 0 {
                    return near.shutdown().await;
                }
                if !may_pass(condition).await {
                    return Ok(());
                }
                let handshake = talk.tls && talk.turns == 1;
                let lost = talk.tainted || (*condition.borrow() == Condition::RepliesLost && !handshake);
                if talk.near_spoke_last && (talk.chosen || lost) {
                    shared.replies_lost.fetch_add(1, Ordering::Relaxed);
                }
                talk.near_spoke_last = false;
                if talk.chosen {
                    reset(&near);
                    return Ok(());
                }
                if lost {
                    talk.tainted = true;
                    continue;
                }
                hold_back(shared).await;
                near.write_all(&down[..read]).await?;
                shared.bytes_down.fetch_add(read as u64, Ordering::Relaxed);
            }
            changed = condition.changed() => {
                if changed.is_err() || (talk.tainted && *condition.borrow() == Condition::Up) {
                    reset(&near);
                    return Ok(());
                }
            }
        }
    }
}

/// Bytes read just as the line went silent wait like the rest.
async fn may_pass(condition: &mut watch::Receiver<Condition>) -> bool {
    condition
        .wait_for(|now| *now != Condition::Silent)
        .await
        .is_ok_and(|now| *now != Condition::Cut)
}

fn heard_near(talk: &mut Talk, bytes: &[u8], shared: &Shared) {
    const TLS_HANDSHAKE_RECORD: u8 = 0x16;
    if talk.turns == 0 {
        talk.tls = bytes[0] == TLS_HANDSHAKE_RECORD;
    }
    if !talk.near_spoke_last {
        talk.turns += 1;
    }
    talk.near_spoke_last = true;
    let mut swallow = shared.swallow.lock().unwrap_or_else(PoisonError::into_inner);
    if swallow.as_ref().is_some_and(|start| bytes.starts_with(start)) {
        *swallow = None;
        talk.chosen = true;
    }
}

async fn hold_back(shared: &Shared) {
    let millis = shared.delay_millis.load(Ordering::Relaxed);
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// Ends a connection the hard way, as a pulled cable behind a firewall does.
fn reset(near: &TcpStream) {
    let _ = near.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A far end that answers every line with the same line, upper case, and counts them.
    async fn echo() -> (SocketAddr, Arc<AtomicU64>, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                open.spawn(async move {
                    let mut bytes = [0; 256];
                    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                        count.fetch_add(1, Ordering::SeqCst);
                        if stream.write_all(&bytes[..read].to_ascii_uppercase()).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        (address, heard, task)
    }

    async fn laid() -> (Line, Arc<AtomicU64>, JoinHandle<()>) {
        let (far_end, heard, task) = echo().await;
        let line = Line::lay().await.unwrap();
        line.lead_to(far_end);
        (line, heard, task)
    }

    async fn ask(stream: &mut TcpStream, words: &str) -> std::io::Result<String> {
        stream.write_all(words.as_bytes()).await?;
        let mut bytes = [0; 256];
        let read = stream.read(&mut bytes).await?;
        Ok(String::from_utf8_lossy(&bytes[..read]).into_owned())
    }

    async fn until(what: impl Fn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(5), async {
            while !what() {
                tokio::task::yield_now().await;
            }
        });
        waited.await.expect("it did not happen within 5 s");
    }

    #[tokio::test]
    async fn what_is_said_passes_both_ways_and_is_counted() {
        let (line, _, _far) = laid().await;

        let mut near = TcpStream::connect(line.address()).await.unwrap();
        let answer = ask(&mut near, "hello").await.unwrap();

        assert_eq!(answer, "HELLO");
        assert_eq!(
            line.passed(),
            Passed {
                connections: 1,
                bytes_up: 5,
                bytes_down: 5,
                replies_lost: 0
            }
        );
    }

    #[tokio::test]
    async fn a_cut_drops_connections_and_refuses_new_ones_until_restored() {
        let (line, _, _far) = laid().await;
        let mut near = TcpStream::connect(line.address()).await.unwrap();
        ask(&mut near, "hello").await.unwrap();

        line.cut().await.unwrap();

        assert!(ask(&mut near, "still there?").await.is_ok_and(|said| said.is_empty()) || near.peer_addr().is_err());
        let refused = TcpStream::connect(line.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        line.restore().await.unwrap();
        let mut again = TcpStream::connect(line.address()).await.unwrap();
        assert_eq!(ask(&mut again, "back").await.unwrap(), "BACK");
    }

    #[tokio::test]
    async fn a_silent_line_neither_passes_nor_hangs_up_and_goes_on_where_it_was() {
        let (line, heard, _far) = laid().await;
        let mut near = TcpStream::connect(line.address()).await.unwrap();
        ask(&mut near, "one").await.unwrap();

        line.set(Condition::Silent).await.unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(200), ask(&mut near, "two")).await;

        assert!(quiet.is_err(), "something came back: {quiet:?}");
        assert_eq!(heard.load(Ordering::SeqCst), 1);
        line.restore().await.unwrap();
        let mut bytes = [0; 16];
        let read = near.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..read], b"TWO");
    }

    #[tokio::test]
    async fn the_chosen_request_reaches_the_far_end_and_its_reply_never_comes() {
        let (line, heard, _far) = laid().await;
        line.swallow_next_reply_to("POST");
        let mut near = TcpStream::connect(line.address()).await.unwrap();

        let looked_up = ask(&mut near, "get").await.unwrap();
        let posted = ask(&mut near, "POST").await;

        assert_eq!(looked_up, "GET");
        assert!(
            posted.as_ref().is_ok_and(String::is_empty) || posted.is_err(),
            "a reply came: {posted:?}"
        );
        assert_eq!((heard.load(Ordering::SeqCst), line.passed().replies_lost), (2, 1));
        let mut again = TcpStream::connect(line.address()).await.unwrap();
        assert_eq!(ask(&mut again, "POST again").await.unwrap(), "POST AGAIN");
    }

    #[tokio::test]
    async fn with_replies_lost_requests_go_on_and_the_connection_ends_with_the_restore() {
        let (line, heard, _far) = laid().await;
        let mut near = TcpStream::connect(line.address()).await.unwrap();
        ask(&mut near, "one").await.unwrap();

        line.set(Condition::RepliesLost).await.unwrap();
        near.write_all(b"two").await.unwrap();
        until(|| line.passed().replies_lost == 1).await;
        line.restore().await.unwrap();

        assert_eq!(heard.load(Ordering::SeqCst), 2);
        assert!(
            !matches!(near.read(&mut [0; 16]).await, Ok(1..)),
            "the lost reply came after all"
        );
    }

    #[tokio::test]
    async fn with_replies_lost_a_fresh_handshake_still_completes() {
        let (line, _, _far) = laid().await;
        line.set(Condition::RepliesLost).await.unwrap();
        let mut near = TcpStream::connect(line.address()).await.unwrap();

        let hello = ask(&mut near, "\u{16}hello").await.unwrap();
        near.write_all(b"request").await.unwrap();
        until(|| line.passed().replies_lost == 1).await;

        assert_eq!(hello, "\u{16}HELLO");
    }

    #[tokio::test]
    async fn a_delay_holds_traffic_back_both_ways() {
        let (line, _, _far) = laid().await;
        line.set_delay(Duration::from_millis(40));
        let mut near = TcpStream::connect(line.address()).await.unwrap();

        let began = std::time::Instant::now();
        ask(&mut near, "slow").await.unwrap();

        assert!(began.elapsed() >= Duration::from_millis(80), "{:?}", began.elapsed());
    }
}
