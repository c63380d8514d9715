//! The stream of events, and stopping while it is open.

use std::time::Duration;

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

/// A browser's open stream, read until it says something.
struct Listening {
    stream: TcpStream,
    heard: String,
}

impl Listening {
    async fn open(address: SocketAddr, desk: &Browser) -> Listening {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let cookies: Vec<String> = desk
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = format!(
            "GET /events HTTP/1.1\r\nhost: {address}\r\ncookie: {}\r\n\r\n",
            cookies.join("; ")
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Listening {
            stream,
            heard: String::new(),
        }
    }

    async fn hear(&mut self, words: &str) {
        let heard = timeout(SOON, async {
            while !self.heard.contains(words) {
                let mut bytes = [0; 4096];
                let read = self.stream.read(&mut bytes).await.unwrap();
                assert!(read > 0, "the stream ended before {words}: {}", self.heard);
                self.heard.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        heard.await.unwrap_or_else(|_| panic!("{words} was not heard"));
    }

    async fn hear_the_end(&mut self) {
        let mut rest = Vec::new();
        timeout(SOON, self.stream.read_to_end(&mut rest)).await.unwrap().ok();
    }
}

#[tokio::test]
async fn an_open_page_hears_a_beat_and_what_to_fetch_again() {
    let clinic = Clinic::open().await;
    let (address, stop, serving) = served(&clinic).await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let mut listening = Listening::open(address, &desk).await;
    listening.hear("event: beat").await;

    let (_, patient) = desk.arrive("Ames, Ada", "1990-01-02").await;
    listening
        .hear(&format!("{{\"fragment\":\"patient\",\"record\":\"{patient}\"}}"))
        .await;
    listening.hear("{\"fragment\":\"patient-head\",").await;
    listening.hear("{\"fragment\":\"board\"}").await;
    let open = clinic.app.pages.count();

    assert_eq!(open, 1);
    assert!(!listening.heard.contains("Ames"), "a stream names nobody");
    stop.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn stopping_ends_the_streams_that_are_open() {
    let clinic = Clinic::open().await;
    let (address, stop, serving) = served(&clinic).await;
    let desk = clinic.desk(Role::FrontDesk).await;
    let mut listening = Listening::open(address, &desk).await;
    listening.hear("event: beat").await;

    stop.cancel();

    timeout(SOON, serving).await.unwrap().unwrap();
    listening.hear_the_end().await;
    assert!(!clinic.app.pages.any());
}

#[tokio::test]
async fn more_streams_than_the_settings_allow_are_refused() {
    let mut config = Config::default();
    config.page.streams_max = 1;
    let clinic = Clinic::with(Target::Machine, config).await;
    let mut desk = clinic.desk(Role::FrontDesk).await;
    let request = || Request::get("/events").body(Body::empty()).unwrap();

    let first = desk.send(request()).await;
    let second = desk.send(request()).await;
    drop(first);
    let third = desk.send(request()).await;

    assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(third.status(), StatusCode::OK);
}
