//! One simulated agent: who it is to the hub, what it holds in memory, and what it writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clinic::Writing;
use data_encoding::{BASE64, HEXLOWER};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use sync_protocol::ids::BootId;
use sync_protocol::proof::{self, ProofKey, Sum};
use sync_protocol::replica::{self, ReplicaLedger as _};
use sync_protocol::wire::Cursor;
use sync_protocol::{ChangeId, EpochId, HybridClock, KindId, Lane, RecordId, RecordState, ReplicaId, ScopeId, Stamp};
use tokio::sync::{Notify, watch};
use vault::tls::{client_config, client_config_pinned};
use vault::{ClientKey, EnrolmentToken, Identity, RequestKey};

use super::tally::Tally;
use super::{HubSocket, now_ms, random};
use crate::simulation::replica_store::ReplicaStore;

const ENROLMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// An enrolled agent with its ledger in memory.
pub struct SimAgent {
    pub site: ScopeId,
    pub(super) key: ProofKey,
    pub(super) client: reqwest::Client,
    hub_url: Mutex<String>,
    pub(super) wrote: Notify,
    /// Somebody wants to know how it stands by a question that was asked after this.
    pub(super) wanted: watch::Sender<Instant>,
    held: Mutex<Held>,
    tally: Mutex<Tally>,
}

/// What a real agent has in its file.
pub(super) struct Held {
    pub(super) ledger: ReplicaStore,
    pub(super) clock: HybridClock,
    boot: BootId,
    began: Instant,
    /// Of each lane, the last sequence that the hub named and how the roots stood when they were last compared.
    pub(super) lanes: BTreeMap<(ScopeId, Lane), SeenLane>,
    pub(super) drained: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeenLane {
    pub(super) head: u64,
    pub(super) compared: Option<Compared>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    pub(super) equal: bool,
    /// When the question was asked that the hub answered with its root.
    pub(super) asked: Instant,
}

#[derive(Deserialize)]
struct Enrolled {
    scope: String,
    epoch: String,
    proof_key: String,
    certificate: String,
    authority: String,
}

/// What an agent shows of itself.
pub(super) struct Papers {
    key: zeroize::Zeroizing<Vec<u8>>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) authority: CertificateDer<'static>,
}

impl Papers {
    pub(super) fn client_key(&self) -> Result<ClientKey> {
        Ok(ClientKey::restore(&self.key)?)
    }

    pub(super) fn identity(&self) -> Result<Identity> {
        let chain = vec![self.certificate.clone(), self.authority.clone()];
        Ok(self.client_key()?.into_identity(chain)?)
    }
}

/// The public half of a request key, and the proof that it is held by whoever makes the certificate request.
pub(super) fn holder(key: &RequestKey, csr: &[u8]) -> Value {
    let holder = key.sign(&vault::request_key::holder_bytes(csr));
    json!({ "public": BASE64.encode(&key.public()), "holder": BASE64.encode(&holder) })
}

impl SimAgent {
    /// Takes a token over the hub's local socket, and enrols with it over TLS as an agent does.
    pub async fn enrol(hub: &HubSocket, site: &str) -> Result<Arc<SimAgent>> {
        let (agent, _) = SimAgent::enrol_with(hub, site, None).await?;
        Ok(agent)
    }

    /// As [`SimAgent::enrol`], with a key that the hub is to expect signatures of; gives what proves who it is.
    pub(super) async fn enrol_with(
        hub: &HubSocket,
        site: &str,
        request_key: Option<&RequestKey>,
    ) -> Result<(Arc<SimAgent>, Papers)> {
        let text = hub.token(site).await?;
        let token = EnrolmentToken::parse(&text)?;
        let key = ClientKey::generate()?;
        let client = http(client_config_pinned(token.authority())?)?;
        let csr = key.certificate_request()?;
        let mut asked = json!({ "token": text, "csr": BASE64.encode(&csr) });
        if let Some(request_key) = request_key {
            asked["request_key"] = holder(request_key, &csr);
        }
        let request = client.post(format!("{}/enrol", token.hub_url())).json(&asked);
        let response = request.timeout(ENROLMENT_TIMEOUT).send().await?;
        ensure!(response.status().is_success(), "enrolment: {}", response.status());
        let enrolled: Enrolled = response.json().await?;

        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).context("a certificate");
        let authority = certificate(&enrolled.authority)?;
        let papers = Papers {
            key: key.key_pkcs8(),
            certificate: certificate(&enrolled.certificate)?,
            authority: authority.clone(),
        };
        let identity = papers.identity()?;
        let proof_key = HEXLOWER.decode(enrolled.proof_key.as_bytes())?;
        let scope = ScopeId::parse(&enrolled.scope).context("the scope")?;
        let epoch = EpochId::parse(&enrolled.epoch).context("the epoch")?;
        let agent = SimAgent {
            site: scope,
            key: ProofKey::new(proof_key.as_slice().try_into().context("the proof key")?),
            client: http(client_config(&authority, Some(&identity))?)?,
            hub_url: Mutex::new(token.hub_url().to_owned()),
            wrote: Notify::new(),
            wanted: watch::Sender::new(Instant::now()),
            held: Mutex::new(Held::new(scope, epoch)),
            tally: Mutex::default(),
        };
        Ok((Arc::new(agent), papers))
    }

    /// Goes to another hub process from the next request on.
    pub fn turn_to(&self, hub_url: &str) {
        hub_url.clone_into(&mut lock(&self.hub_url));
    }

    pub(super) fn hub_url(&self) -> String {
        lock(&self.hub_url).clone()
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut lock(&self.tally));
    }

    pub fn forget_tally(&self) {
        *lock(&self.tally) = Tally::default();
    }

    /// Asks for the whole feed again; what was counted so far is forgotten. Not for an agent that runs.
    pub fn forget_feed(&self) {
        let mut held = self.held();
        held.ledger.forget_feed();
        held.lanes.clear();
        drop(held);
        self.forget_tally();
    }

    /// Writes a change, as if somebody had at this site. `None`: it says nothing new.
    pub fn write(&self, writing: Writing) -> Result<Option<ChangeId>> {
        let change = self.held().write(writing)?;
        self.wrote.notify_one();
        Ok(change)
    }

    /// What this agent shows of a record.
    pub fn shown(&self, record: RecordId) -> Option<RecordState> {
        self.held().ledger.view(record).cloned()
    }

    /// What the hub has sent of a record.
    pub fn base(&self, record: RecordId) -> Option<RecordState> {
        let held = self.held();
        held.ledger.bases.get(&record).map(|(_, state)| (**state).clone())
    }

    /// The records of one kind that the hub has sent.
    pub fn bases_of(&self, kind: KindId) -> Vec<RecordState> {
        let held = self.held();
        let bases = held.ledger.bases.values().map(|(_, state)| state);
        bases
            .filter(|state| state.kind == kind)
            .map(|state| (**state).clone())
            .collect()
    }

    /// Changes that the hub has not confirmed.
    pub fn unpushed(&self) -> u64 {
        self.held().unpushed()
    }

    /// Changes written in this incarnation.
    pub fn counter(&self) -> u64 {
        self.held().ledger.head.counter
    }

    /// When the hub had confirmed everything, the last time it had.
    pub fn drained_at(&self) -> Instant {
        self.held().drained
    }

    /// Asks the hub anew, instead of waiting to be told.
    pub fn look(&self) {
        self.wanted.send_replace(Instant::now());
    }

    /// Everything written is in a base, and the roots of all lanes are equal by a question asked since then: by an older one
    /// they may have been equal to what the hub had before the others' last changes.
    pub fn agrees_since(&self, since: Instant) -> bool {
        let held = self.held();
        let compared = |cursor: &Cursor| held.lanes.get(&(cursor.scope, cursor.lane))?.compared;
        let is_equal = |compared: Compared| compared.equal && compared.asked >= since;
        let mut followed = held.ledger.cursor_list().iter();
        held.unpushed() == 0
            && held.ledger.unsettled().next().is_none()
            && followed.all(|cursor| compared(cursor).is_some_and(is_equal))
    }

    pub(super) fn standing(&self) -> String {
        let held = self.held();
        let head = held.ledger.head;
        format!(
            "site {} wrote {}, confirmed {}, in no base {}, lanes {:?}",
            self.site,
            head.counter,
            head.accepted,
            held.ledger.unsettled().count(),
            held.lanes
        )
    }

    /// Whether the sums that the roots are made of are those of the records that are really held, added up anew.
    pub fn sums_add_up(&self) -> Result<bool> {
        let mut held = self.held();
        let mut sums: BTreeMap<(ScopeId, Lane, u8), Sum> = BTreeMap::new();
        let counted = held
            .ledger
            .bases
            .iter()
            .filter(|(record, _)| !held.ledger.let_go.contains(record));
        for (place, state) in counted.map(|(_, base)| base) {
            let sum = sums
                .entry((place.scope, place.lane, proof::bucket_of(state.record)))
                .or_default();
            *sum = sum.plus(self.key.leaf(state));
        }
        for (scope, lane) in held.lanes.keys().copied().collect::<Vec<_>>() {
            let kept = held.ledger.bucket_sums(scope, lane)?;
            let anew = sums.iter().filter(|((s, l, _), _)| (*s, *l) == (scope, lane));
            let anew = anew.map(|((.., bucket), sum)| (*bucket, *sum));
            if proof::root(scope, lane, kept) != proof::root(scope, lane, anew) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Held {
    fn new(scope: ScopeId, epoch: EpochId) -> Held {
        let cursors = Lane::ALL.iter().map(|lane| Cursor {
            scope,
            lane: *lane,
            generation: 0,
            sequence: 0,
        });
        Held {
            ledger: ReplicaStore::with_cursors(ReplicaId(random()), epoch, cursors.collect()),
            clock: HybridClock::default(),
            boot: BootId(random()),
            began: Instant::now(),
            lanes: BTreeMap::new(),
            drained: Instant::now(),
        }
    }

    pub(super) fn unpushed(&self) -> u64 {
        self.ledger.head.counter - self.ledger.head.accepted
    }

    fn write(&mut self, writing: Writing) -> Result<Option<ChangeId>> {
        let stamp = Stamp {
            change: ChangeId(random()),
            salt: random(),
            at: self.clock.tick(now_ms()),
            boot: self.boot,
            monotonic_ms: u64::try_from(self.began.elapsed().as_millis())?,
        };
        let written = replica::author(&mut self.ledger, &writing.done(), &stamp)?;
        Ok(written.map(|written| written.change))
    }
}

pub(super) fn http(tls: rustls::ClientConfig) -> Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(2)
        .build();
    client.context("no HTTP client")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
