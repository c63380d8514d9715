//! HL7 peers: PyPI `hl7`'s `mllp_send`, which nobody here wrote, and a raw MLLP client that shows every byte and its time.
//!
//! Refuses to share a parser with the product: an acknowledgement is taken apart here in a few lines of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::cache;

const START_BLOCK: u8 = 0x0b;
const END_BLOCK: [u8; 2] = [0x1c, 0x0d];

/// An acknowledgement as the sender sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    segments: Vec<Vec<String>>,
}

impl Acknowledgement {
    /// Reads what came between the frame bytes.
    pub fn read(message: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(message).context("the acknowledgement is not UTF-8")?;
        let lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
        let segments: Vec<Vec<String>> = lines.map(|line| line.split('|').map(str::to_owned).collect()).collect();
        ensure!(
            segments.first().is_some_and(|first| first[0] == "MSH"),
            "the acknowledgement begins with no MSH"
        );
        Ok(Self { segments })
    }

    /// MSA-1, such as `AA`; empty when there is none.
    pub fn code(&self) -> &str {
        self.field("MSA", 1)
    }

    /// MSA-2, the control id it answers.
    pub fn answers(&self) -> &str {
        self.field("MSA", 2)
    }

    /// A field of the first segment of that name, by HL7's number; empty when absent.
    pub fn field(&self, segment: &str, number: usize) -> &str {
        // In MSH the separator itself is field 1.
        let index = if segment == "MSH" { number - 1 } else { number };
        let found = self.segments.iter().find(|fields| fields[0] == segment);
        found.and_then(|fields| fields.get(index)).map_or("", String::as_str)
    }
}

/// Sends a file with `mllp_send --loose`, which turns line feeds into HL7's segment ends; gives one acknowledgement per
/// message. The file must begin with `MSH|^~\&|`, with no byte-order mark.
pub async fn send_with_mllp_send(to: SocketAddr, file: &Path) -> Result<Vec<Acknowledgement>> {
    let mut command = Command::new(cache::mllp_send()?);
    command
        .args(["--loose", "--file"])
        .arg(file)
        .args(["--port", &to.port().to_string(), &to.ip().to_string()]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(30), command.output())
        .await
        .context("mllp_send hangs")??;
    ensure!(
        output.status.success(),
        "mllp_send failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut acknowledgements = Vec::new();
    for frame in output.stdout.split(|byte| *byte == START_BLOCK).skip(1) {
        let Some(end) = frame.iter().position(|byte| *byte == END_BLOCK[0]) else {
            bail!("an acknowledgement has no end")
        };
        acknowledgements.push(Acknowledgement::read(&frame[..end])?);
    }
    Ok(acknowledgements)
}

/// One MLLP connection.
pub struct RawMllp {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl RawMllp {
    pub async fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to)
            .await
            .with_context(|| format!("nothing listens for MLLP at {to}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            rest: Vec::new(),
        })
    }

    /// Frames the message, sends it, and waits at most `patience`; gives the acknowledgement and how long it took.
    pub async fn send(&mut self, message: &[u8], patience: Duration) -> Result<(Acknowledgement, Duration)> {
        let began = Instant::now();
        self.send_bytes(&[&[START_BLOCK], message, &END_BLOCK].concat()).await?;
        let answer = self.next_frame(patience).await?;
        Ok((Acknowledgement::read(&answer)?, began.elapsed()))
    }

    /// Sends bytes as they are, framed or not.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .write_all(bytes)
            .await
            .context("the MLLP connection broke while sending")
    }

    /// What came between the next pair of frame bytes.
    pub async fn next_frame(&mut self, patience: Duration) -> Result<Vec<u8>> {
        let found = tokio::time::timeout(patience, self.read_frame()).await;
        found.with_context(|| format!("no acknowledgement within {patience:?}"))?
    }

    async fn read_frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|pair| pair == END_BLOCK) {
                let frame: Vec<u8> = self.rest.drain(..end + 2).collect();
                let start = frame
                    .iter()
                    .position(|byte| *byte == START_BLOCK)
                    .context("a frame without a start")?;
                return Ok(frame[start + 1..end].to_vec());
            }
            let read = self.stream.read_buf(&mut self.rest).await?;
            ensure!(read > 0, "the connection was closed without an acknowledgement");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    /// Accepts everything: answers AA with the control id it read.
    async fn acceptor() -> (SocketAddr, JoinHandle<Result<Vec<Vec<u8>>>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut peer = RawMllp {
                stream,
                rest: Vec::new(),
            };
            let mut heard = Vec::new();
            while let Ok(message) = peer.next_frame(Duration::from_secs(5)).await {
                let control_id = Acknowledgement::read(&message)?.field("MSH", 10).to_owned();
                let answer = format!("\u{b}MSH|^~\\&|R|R|S|S|20260101||ACK|1|P|2.5\rMSA|AA|{control_id}\r\u{1c}\r");
                peer.send_bytes(answer.as_bytes()).await?;
                heard.push(message);
            }
            Ok(heard)
        });
        (address, task)
    }

    const TWO_MESSAGES: &str = "MSH|^~\\&|S|S|R|R|20260101||ADT^A04|one|P|2.5\nPID|1||104882\n\
                                MSH|^~\\&|S|S|R|R|20260101||ADT^A08|two|P|2.5\nPID|1||104882\n";

    #[tokio::test]
    async fn mllp_send_delivers_every_message_of_a_file_and_shows_each_answer() {
        let (address, heard) = acceptor().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("two.hl7");
        std::fs::write(&file, TWO_MESSAGES).unwrap();

        let answers = send_with_mllp_send(address, &file).await.unwrap();

        let codes: Vec<_> = answers.iter().map(|answer| (answer.code(), answer.answers())).collect();
        assert_eq!(codes, [("AA", "one"), ("AA", "two")]);
        let heard = heard.await.unwrap().unwrap();
        assert_eq!(heard.len(), 2);
        assert!(heard[0].ends_with(b"\rPID|1||104882"));
    }

    #[tokio::test]
    async fn the_raw_client_sends_one_after_another_on_one_connection() {
        let (address, _heard) = acceptor().await;
        let mut peer = RawMllp::connect(address).await.unwrap();

        let mut answered = Vec::new();
        for message in TWO_MESSAGES.split_inclusive("104882\n") {
            let (answer, took) = peer
                .send(message.replace('\n', "\r").as_bytes(), Duration::from_secs(5))
                .await
                .unwrap();
            assert!(took < Duration::from_secs(5));
            answered.push(answer.answers().to_owned());
        }

        assert_eq!(answered, ["one", "two"]);
    }
}
