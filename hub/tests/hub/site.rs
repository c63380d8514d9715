//! An agent as the hub sees one: it enrols, keeps its certificate, and sends what the wire says.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use clinic::catalogue::patient;
use clinic::value::PersonName;
use clinic::{Action, Channel, Writing};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use sync_protocol::change::genesis;
use sync_protocol::ids::BootId;
use sync_protocol::wire::{Cursor, PullReply, PullRequest, PushReply, PushRequest};
use sync_protocol::{
    Change, ChangeId, Dot, EpochId, Hash, HybridTime, Lane, Phi, RecordId, ReplicaId, ScopeId, Stamp, author,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use vault::authority::certificate_from_pem;
use vault::{ClientKey, EnrolmentToken, tls};

use super::program::Running;

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status and the code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["error"].as_str().unwrap().to_owned())
    }
}

pub(crate) async fn connect(
    hub: &Running,
    config: ClientConfig,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", hub.port())).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

pub(crate) async fn ask(hub: &Running, config: ClientConfig, method: &str, path: &str, body: Vec<u8>) -> Answer {
    let stream = connect(hub, config).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "127.0.0.1")
        .body(Body::from(body));
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(Body::new(body), usize::MAX)
        .await
        .unwrap()
        .to_vec();
    drop(sender);
    let _ = connection.await.unwrap();
    let retry_after = parts
        .headers
        .get(header::RETRY_AFTER)
        .map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: parts.status,
        retry_after,
        body,
    }
}

/// Asks to be enrolled with this token and key, trusting only the authority that the token names.
pub(crate) async fn enrol(hub: &Running, token: &str, key: &ClientKey) -> Answer {
    let authority = EnrolmentToken::parse(token).unwrap().authority();
    let csr = data_encoding::BASE64.encode(&key.certificate_request().unwrap());
    let body = serde_json::json!({ "token": token, "csr": csr }).to_string();
    ask(
        hub,
        tls::client_config_pinned(authority).unwrap(),
        "POST",
        "/enrol",
        body.into_bytes(),
    )
    .await
}

/// An enrolled agent and the chain of its one incarnation.
pub(crate) struct Agent {
    pub(crate) authority: rustls::pki_types::CertificateDer<'static>,
    pub(crate) config: ClientConfig,
    pub(crate) scope: ScopeId,
    pub(crate) epoch: EpochId,
    pub(crate) replica: ReplicaId,
    counter: u64,
    hash: Hash,
}

impl Agent {
    pub(crate) async fn enrolled(hub: &Running, token: &str) -> Agent {
        let key = ClientKey::generate().unwrap();
        let answer = enrol(hub, token, &key).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        Agent::of(&answer.json(), key)
    }

    pub(crate) fn of(enrolment: &Value, key: ClientKey) -> Agent {
        let text = |name: &str| enrolment[name].as_str().unwrap();
        let certificate = certificate_from_pem(text("certificate")).unwrap();
        let authority = certificate_from_pem(text("authority")).unwrap();
        let identity = key.into_identity(vec![certificate]).unwrap();
        let replica = ReplicaId(uuid::Uuid::new_v4().into_bytes());
        Agent {
            config: tls::client_config(&authority, Some(&identity)).unwrap(),
            authority,
            scope: ScopeId::parse(text("scope")).unwrap(),
            epoch: EpochId::parse(text("epoch")).unwrap(),
            replica,
            counter: 0,
            hash: genesis(replica),
        }
    }

    /// The next change of this chain: a new patient.
    pub(crate) fn register(&mut self, family: &str) -> (RecordId, PushRequest) {
        let record = RecordId(uuid::Uuid::new_v4().into_bytes());
        let draft = Writing::new(patient::KIND, record, Action::Arrive, Channel::Page.program(), 1)
            .set(patient::NAME, &Phi::new(PersonName::new(family, "Ana")))
            .done();
        let stamp = Stamp {
            change: ChangeId(uuid::Uuid::new_v4().into_bytes()),
            salt: uuid::Uuid::new_v4().into_bytes(),
            at: HybridTime { wall_ms: 1, logical: 0 },
            boot: BootId([1; 16]),
            monotonic_ms: 0,
        };
        let dot = Dot {
            replica: self.replica,
            counter: self.counter + 1,
        };
        let (header, payload) = author::compose(&draft, &stamp, dot, None, None).unwrap();
        let change = Change::new(&header, stamp.salt, &payload);
        let (after, previous, last) = (self.counter, self.hash, change.link(self.hash));
        (self.counter, self.hash) = (dot.counter, last);
        let request = PushRequest {
            epoch: self.epoch,
            replica: self.replica,
            after,
            previous,
            changes: vec![change],
            last,
            acks: Vec::new(),
            clock: None,
        };
        (record, request)
    }

    pub(crate) fn pull_request(&self, from: [u64; 4], wait_ms: u64) -> PullRequest {
        let cursors = Lane::ALL
            .iter()
            .zip(from)
            .map(|(lane, sequence)| Cursor {
                scope: self.scope,
                lane: *lane,
                generation: 0,
                sequence,
            })
            .collect();
        PullRequest {
            takes_digest: false,
            willing: Vec::new(),
            epoch: self.epoch,
            replica: self.replica,
            cursors,
            bytes_max: 1 << 20,
            wait_ms,
            budgets: std::collections::BTreeMap::new(),
        }
    }

    pub(crate) async fn post(&self, hub: &Running, path: &str, body: Vec<u8>) -> Answer {
        ask(hub, self.config.clone(), "POST", path, body).await
    }

    pub(crate) async fn push(&self, hub: &Running, request: &PushRequest) -> PushReply {
        let answer = self.post(hub, "/v1/push", request.encode()).await;
        PushReply::decode(&answer.body).unwrap()
    }

    pub(crate) async fn pull(&self, hub: &Running, request: &PullRequest) -> PullReply {
        let answer = self.post(hub, "/v1/pull", request.encode()).await;
        PullReply::decode(&answer.body).unwrap()
    }

    pub(crate) async fn probe(&self, hub: &Running) -> Answer {
        ask(hub, self.config.clone(), "GET", "/v1/probe", Vec::new()).await
    }
}
