//! A hub and two agents of one site, told what the input says: honest exchanges, messages that anybody made up, runs that
//! link but hold anything, pages for the right cursor with any rows, a hub put back to an older copy. Whatever comes, nothing
//! panics, no dot is kept twice, chains add up, and the sums at either end are those of what it holds.

use std::collections::BTreeMap;
use std::convert::Infallible;

use sync_protocol::cbor::Raw;
use sync_protocol::hub::{self, HubError, HubLedger as _, Packed, Rulebook, SnapshotOf};
use sync_protocol::ids::BootId;
use sync_protocol::proof::{ProofKey, Sum, bucket_of};
use sync_protocol::replica::{self, ChunkOutcome, Comparison, PageOutcome, ReplicaError};
use sync_protocol::signed::Seal;
use sync_protocol::wire::{
    Chunk, EpochReply, EpochRequest, Page, PullReply, PullRequest, PushReply, PushRequest, ReturnReply, ReturnRequest,
    SnapshotReply, SnapshotRequest,
};
use sync_protocol::{
    Act, Actor, Change, ChangeId, Draft, ElementDraft, EpochId, FieldDraft, FieldId, Header, HybridTime, KindId, Lane,
    Payload, RecordId, ReplicaId, ScopeId, Signature, Stamp,
};

use crate::first::messages::compress;
use crate::hub_ledger::{Hub, mix};
use crate::replica_ledger::Agent;

const SITE: ScopeId = ScopeId([0x51; 16]);
/// What the test vectors are of, so that they are worth something as seeds.
const EPOCH: EpochId = EpochId([0xe0; 16]);
const AGENTS: [ReplicaId; 2] = [ReplicaId([0xa1; 16]), ReplicaId([0xb2; 16])];
const STRANGER: ReplicaId = ReplicaId([0xc3; 16]);
const STEPS_MAX: usize = 48;
const BYTES_MAX: u64 = 4_096;
/// A change whose action is odd is set aside, until it is released.
const REFUSED: u16 = 100;

struct Session {
    hub: Hub,
    older: Option<Hub>,
    agents: [Agent; 2],
    key: ProofKey,
    /// What has been given out so far, of ids that are random elsewhere.
    given: u64,
}

pub(crate) fn run(input: &[u8]) {
    let key = ProofKey::new(&[0x4b; 32]);
    let mut session = Session {
        hub: Hub::new(EPOCH, ReplicaId([0x0e; 16]), key.clone()),
        older: None,
        agents: AGENTS.map(|replica| Agent::new(replica, EPOCH, SITE)),
        key,
        given: 0,
    };
    let mut rest = input;
    for _ in 0..STEPS_MAX {
        let Some((step, after)) = next(rest) else { return };
        rest = after;
        session.take(step);
        session.check();
    }
}

struct Step<'a> {
    what: u8,
    /// Of which agent, and another choice.
    who: usize,
    choice: bool,
    bytes: &'a [u8],
}

/// One byte for what and who, two for how many bytes belong to it.
fn next(input: &[u8]) -> Option<(Step<'_>, &[u8])> {
    let [what, low, high, rest @ ..] = input else {
        return None;
    };
    let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (bytes, after) = rest.split_at(length);
    let step = Step {
        what: what & 0x1f,
        who: usize::from(what >> 5 & 1),
        choice: what >> 6 & 1 == 1,
        bytes,
    };
    Some((step, after))
}

impl Session {
    fn id(&mut self) -> [u8; 16] {
        self.given += 1;
        let mut id = [0xd0; 16];
        id[8..].copy_from_slice(&self.given.to_be_bytes());
        id
    }

    /// One transaction at the hub: what fails leaves nothing behind.
    fn at_hub<T>(
        &mut self,
        lenient: bool,
        act: impl FnOnce(&mut Hub, &Rulebook<'_>) -> Result<T, HubError<Infallible>>,
    ) -> Option<T> {
        let key = self.key.clone();
        let sign = |said: &[u8]| mix(&key, said);
        let verify = |said: &[u8], signature: &Signature| mix(&key, said) == *signature;
        let admit = |header: &Header, _: &Payload| {
            if header.action.is_multiple_of(2) || lenient {
                Ok(())
            } else {
                Err(REFUSED)
            }
        };
        let rulebook = Rulebook {
            admit: &admit,
            lane: &|kind| Lane::ALL[usize::from(kind.0 % 4)],
            enters_site: &|kind| kind.0 != 9,
            key: &self.key,
            seal: Seal {
                sign: &sign,
                verify: &verify,
            },
        };
        let mut copy = self.hub.clone();
        let outcome = act(&mut copy, &rulebook);
        match outcome {
            Ok(outcome) => {
                self.hub = copy;
                Some(outcome)
            }
            Err(HubError::Damaged(error)) => panic!("the hub holds what it cannot read: {error}"),
            Err(_) => None,
        }
    }

    fn at_agent<T>(
        &mut self,
        who: usize,
        act: impl FnOnce(&mut Agent) -> Result<T, ReplicaError<Infallible>>,
    ) -> Option<T> {
        let mut copy = self.agents[who].clone();
        match act(&mut copy) {
            Ok(outcome) => {
                self.agents[who] = copy;
                Some(outcome)
            }
            Err(error @ (ReplicaError::Damaged(_) | ReplicaError::Gap { .. })) => panic!("{error}"),
            Err(_) => None,
        }
    }

    fn take(&mut self, step: Step<'_>) {
        let body = || compress(step.bytes);
        match step.what {
            0 => self.any_push(PushRequest::decode(&body()).ok()),
            1 => self.linked_run(step.bytes, step.choice),
            2 => self.any_pages(step.who, PullReply::decode(&body()).ok(), step.choice),
            3 => self.author(step.who, step.bytes),
            4 => self.push(step.who),
            5 => self.pull(step.who),
            6 => {
                if let Ok(reply) = PushReply::decode(&body()) {
                    self.take_reply(step.who, &reply);
                }
            }
            7 => self.be_reborn(step.who),
            8 => self.offer(step.choice),
            9 => self.release(),
            10 => {
                self.any_pull(PullRequest::decode(&body()).ok());
            }
            11 => self.older = Some(self.hub.clone()),
            12 => {
                if let Some(older) = self.older.clone() {
                    self.hub = older;
                }
            }
            13 => self.agents[1 - step.who] = self.agents[step.who].clone(),
            14 => self.ask_epoch(step.who),
            15 => self.give_back(step.who),
            16 => {
                self.any_epoch_request(EpochRequest::decode(&body()).ok());
            }
            17 => {
                if let Ok(reply) = EpochReply::decode(&body()) {
                    let to = ReplicaId(self.id());
                    self.at_agent(step.who, |agent| replica::handle_epoch_reply(agent, &reply, to));
                }
            }
            18 => {
                self.any_return(ReturnRequest::decode(&body()).ok());
            }
            19 => {
                if let Ok(reply) = ReturnReply::decode(&body()) {
                    self.at_agent(step.who, |agent| replica::handle_return_reply(agent, &reply));
                }
            }
            20 => self.hub_writes(step.bytes),
            21 => self.fill(step.who, step.bytes),
            22 => self.any_chunk(step.who, &body()),
            // A quiet round: what was begun comes to rest.
            _ => {
                self.push(step.who);
                self.pull(step.who);
            }
        }
    }

    fn any_push(&mut self, request: Option<PushRequest>) {
        if let Some(request) = request {
            self.at_hub(false, |hub, book| hub::handle_push(hub, book, SITE, &request));
        }
    }

    /// A stranger's run that links, of whatever headers and payloads: `[length, header, length, payload]…`.
    fn linked_run(&mut self, mut rest: &[u8], stamped: bool) {
        let head = self.hub.chains.get(&STRANGER).copied();
        let (after, previous) = head.map_or((0, sync_protocol::change::genesis(STRANGER)), |h| (h.counter, h.hash));
        let (mut changes, mut last) = (Vec::new(), previous);
        while let Some((header, after_header)) = piece(rest) {
            let Some((payload, after_payload)) = piece(after_header) else {
                break;
            };
            rest = after_payload;
            let mut header = header.to_vec();
            if stamped && let Ok(mut said) = Header::parse(&header) {
                said.dot.replica = STRANGER;
                said.dot.counter = after + changes.len() as u64 + 1;
                header = said.to_bytes();
            }
            let change = Change {
                header,
                salt: [7; 16],
                payload: payload.to_vec(),
            };
            last = change.link(last);
            changes.push(change);
        }
        let request = PushRequest {
            epoch: self.agents[0].head.epoch,
            replica: STRANGER,
            after,
            previous,
            changes,
            last,
            acks: Vec::new(),
            clock: None,
        };
        let again = PushRequest::decode(&request.encode_compact());
        assert_eq!(again.as_ref(), Ok(&request), "folded and read again");
        self.any_push(Some(request));
    }

    fn any_pages(&mut self, who: usize, reply: Option<PullReply>, filled: bool) {
        let Some(reply) = reply else { return };
        for mut page in reply.pages {
            let agent = &mut self.agents[who];
            if filled {
                let cursors = replica_cursors(agent);
                let cursor = cursors[page.lane as usize % cursors.len()];
                page.epoch = agent.head.epoch;
                page.replica = agent.head.replica;
                page.accepted = agent.head.counter;
                page.hash = agent.head.hash;
                page.scope = cursor.scope;
                page.lane = cursor.lane;
                page.generation = cursor.generation;
                page.from = cursor.sequence;
            }
            self.take_page(who, &page);
        }
    }

    fn take_page(&mut self, who: usize, page: &Page) {
        let key = self.key.clone();
        let outcome = self.at_agent(who, |agent| replica::handle_page(agent, &key, page));
        if let Some(PageOutcome::NotApplied(Comparison::Lost(_))) = outcome {
            self.be_reborn(who);
        }
    }

    fn author(&mut self, who: usize, bytes: &[u8]) {
        let [record, field, value, how, ..] = bytes else { return };
        let record = RecordId([record % 4 + 1; 16]);
        let field = FieldId(u16::from(field % 4));
        let shown = self.agents[who]
            .views
            .get(&record)
            .map(|state| state.shown(field))
            .unwrap_or_default();
        let shown: Vec<ChangeId> = shown
            .into_iter()
            .filter(|id| how & 1 == 0 || id.0[15] & 1 == 0)
            .collect();
        let draft = draft(record, field, *value, *how, shown);
        let stamp = self.stamp(*value);
        self.at_agent(who, |agent| replica::author(agent, &draft, &stamp));
    }

    fn hub_writes(&mut self, bytes: &[u8]) {
        let [record, field, value, how, ..] = bytes else { return };
        let record = RecordId([record % 4 + 1; 16]);
        let field = FieldId(u16::from(field % 4));
        let shown = self
            .hub
            .states
            .get(&record)
            .map(|(state, _)| state.shown(field))
            .unwrap_or_default();
        let draft = draft(record, field, *value, *how & !2, shown);
        let stamp = self.stamp(*value);
        self.at_hub(false, |hub, book| {
            hub::author_at_hub(hub, book, &draft, &stamp, Some(SITE))
        });
    }

    fn stamp(&mut self, value: u8) -> Stamp {
        Stamp {
            change: ChangeId(self.id()),
            salt: self.id(),
            at: HybridTime {
                wall_ms: 1_000 + u64::from(value),
                logical: 0,
            },
            boot: BootId([1; 16]),
            monotonic_ms: self.given,
        }
    }

    fn push(&mut self, who: usize) {
        let Some(Some(request)) = self.at_agent(who, |agent| replica::next_push(agent, BYTES_MAX as usize)) else {
            return;
        };
        let request = PushRequest::decode(&request.encode_compact()).expect("an honest push is read");
        if let Some(pushed) = self.at_hub(false, |hub, book| hub::handle_push(hub, book, SITE, &request)) {
            let reply = PushReply::decode(&pushed.reply.encode()).expect("an honest reply is read");
            self.take_reply(who, &reply);
        }
    }

    fn take_reply(&mut self, who: usize, reply: &PushReply) {
        let outcome = self.at_agent(who, |agent| replica::handle_push_reply(agent, reply));
        if let Some(Comparison::Lost(_)) = outcome {
            self.be_reborn(who);
        }
    }

    fn be_reborn(&mut self, who: usize) {
        let to = ReplicaId(self.id());
        self.at_agent(who, |agent| replica::rebirth(agent, to));
    }

    fn pull(&mut self, who: usize) {
        let asked = self.at_agent(who, |agent| replica::next_pull(agent, BYTES_MAX, 0, |_, _| Ok(false)));
        if let Some(request) = asked {
            let request = PullRequest::decode(&request.encode()).expect("an honest question is read");
            for page in self.any_pull(Some(request)) {
                self.take_page(who, &page);
            }
        }
    }

    fn any_pull(&mut self, request: Option<PullRequest>) -> Vec<Page> {
        let Some(request) = request else { return Vec::new() };
        self.at_hub(false, |hub, book| hub::handle_willing(hub, book, SITE, &request));
        let pages = self.at_hub(false, |hub, book| {
            hub::handle_pull(hub, &book.seal, SITE, &[], &request)
        });
        pages.unwrap_or_default()
    }

    fn offer(&mut self, back: bool) {
        let records: Vec<RecordId> = self.hub.states.keys().copied().collect();
        for record in records {
            self.at_hub(false, |hub, book| match back {
                true => hub::enter(hub, book, SITE, record),
                false => hub::offer(hub, book, SITE, record),
            });
        }
    }

    fn release(&mut self) {
        for change in self.hub.quarantined() {
            self.at_hub(true, |hub, book| hub::release(hub, book, change));
        }
    }

    fn ask_epoch(&mut self, who: usize) {
        let Some(request) = self.at_agent(who, replica::epoch_request) else {
            return;
        };
        let request = EpochRequest::decode(&request.encode()).expect("an honest question is read");
        if let Some(reply) = self.any_epoch_request(Some(request)) {
            let to = ReplicaId(self.id());
            self.at_agent(who, |agent| replica::handle_epoch_reply(agent, &reply, to));
        }
    }

    fn any_epoch_request(&mut self, request: Option<EpochRequest>) -> Option<EpochReply> {
        let next = (EpochId(self.id()), ReplicaId(self.id()));
        let request = request?;
        let found = self.at_hub(false, |hub, book| hub::handle_epoch(hub, book, SITE, &request, next))?;
        Some(EpochReply::decode(&found.reply.encode()).expect("an honest reply is read"))
    }

    fn give_back(&mut self, who: usize) {
        let next = self.at_agent(who, |agent| replica::next_return(agent, BYTES_MAX as usize));
        if let Some(Some(request)) = next {
            let request = ReturnRequest::decode(&request.encode()).expect("an honest return is read");
            if let Some(reply) = self.any_return(Some(request)) {
                self.at_agent(who, |agent| replica::handle_return_reply(agent, &reply));
            }
        }
    }

    fn any_return(&mut self, request: Option<ReturnRequest>) -> Option<ReturnReply> {
        let request = request?;
        let taken = self.at_hub(false, |hub, book| hub::handle_return(hub, book, SITE, &[], &request))?;
        Some(ReturnReply::decode(&taken.reply.encode()).expect("an honest reply is read"))
    }

    /// An agent fills a lane from a snapshot; the bytes say which, how much at once, and where it is broken off.
    fn fill(&mut self, who: usize, bytes: &[u8]) {
        let [lane, at_once, breaks_after, ..] = bytes else {
            return;
        };
        let cursors = replica_cursors(&mut self.agents[who]);
        let cursor = cursors[usize::from(*lane) % cursors.len()];
        let head = self.agents[who].head;
        let request = SnapshotRequest {
            epoch: head.epoch,
            replica: head.replica,
            cursor,
        };
        let request = SnapshotRequest::decode(&request.encode()).expect("an honest question is read");
        let mut of = SnapshotOf {
            scope: SITE,
            lane: cursor.lane,
            generation: cursor.generation,
            to: 0,
        };
        let asked = self.at_hub(false, |hub, _| {
            of.to = hub.feed_head(SITE, of.lane)?.0;
            let mut chunks = Vec::new();
            let mut after = request.cursor.sequence;
            while let Some(Packed { chunk, bytes }) = hub::next_chunk(hub, &of, after, u64::from(*at_once) * 16)? {
                after = chunk.to;
                chunks.push((chunk, bytes));
            }
            let head = hub::admit_snapshot(hub, SITE, &[], &request)?;
            Ok((chunks, hub::answer_snapshot(&request, &head, None)))
        });
        let Some((chunks, reply)) = asked else { return };
        let key = self.key.clone();
        let mut parts = 0;
        for (chunk, bytes) in chunks {
            assert_eq!(
                Chunk::decode(&bytes).expect("an honest chunk is read").encode(),
                chunk.encode()
            );
            loop {
                let rows_max = usize::from(*at_once % 4) + 1;
                let outcome = self.at_agent(who, |agent| replica::take_chunk(agent, &key, &reply, &chunk, rows_max));
                parts += 1;
                match outcome {
                    Some(ChunkOutcome::Applied { is_whole: false, .. }) if parts <= *breaks_after => self.check(),
                    Some(ChunkOutcome::Applied { is_whole: true, .. }) if parts <= *breaks_after => break,
                    Some(ChunkOutcome::NotApplied(Comparison::Lost(_))) => return self.be_reborn(who),
                    Some(_) | None => return,
                }
            }
        }
    }

    /// A chunk that anybody made up, for the cursor that the agent has.
    fn any_chunk(&mut self, who: usize, body: &[u8]) {
        let Ok(mut chunk) = Chunk::decode(body) else { return };
        let agent = &mut self.agents[who];
        let cursors = replica_cursors(agent);
        let cursor = cursors[chunk.lane as usize % cursors.len()];
        chunk.scope = cursor.scope;
        chunk.lane = cursor.lane;
        chunk.generation = cursor.generation;
        let reply = SnapshotReply {
            epoch: agent.head.epoch,
            replica: agent.head.replica,
            accepted: agent.head.counter,
            hash: agent.head.hash,
            manifest: None,
        };
        let key = self.key.clone();
        self.at_agent(who, |agent| replica::take_chunk(agent, &key, &reply, &chunk, 9));
    }

    fn check(&self) {
        for (replica, head) in &self.hub.chains {
            let mut hash = sync_protocol::change::genesis(*replica);
            let own = self.hub.kept.iter().filter(|(dot, _)| dot.replica == *replica);
            let mut counter = 0;
            for (dot, kept) in own {
                counter += 1;
                hash = kept.change.link(hash);
                assert_eq!(
                    (dot.counter, kept.hash),
                    (counter, hash),
                    "a chain at the hub has a gap or does not link"
                );
            }
            assert_eq!(
                (head.counter, head.hash),
                (counter, hash),
                "the hub's head is not its chain's end"
            );
        }
        for ((_, lane), feed) in &self.hub.feeds {
            let held = feed.places.iter().filter(|(_, (_, standing))| standing.is_in_scope());
            let states = held.map(|(record, _)| self.hub.states[record].0.as_ref());
            assert_eq!(present(&feed.sums), self.summed(states), "the hub's sums of {lane:?}");
        }
        for agent in &self.agents {
            for lane in Lane::ALL {
                let sums = agent.sums.iter().filter(|((_, l, _), _)| *l == lane);
                let sums = sums.map(|((.., bucket), sum)| (*bucket, *sum)).collect();
                let counted = agent
                    .bases
                    .values()
                    .filter(|base| base.counted && base.place.lane == lane);
                assert_eq!(
                    present(&sums),
                    self.summed(counted.map(|base| &base.state)),
                    "an agent's sums of {lane:?}"
                );
            }
        }
    }

    fn summed<'a>(&self, states: impl Iterator<Item = &'a sync_protocol::RecordState>) -> BTreeMap<u8, Sum> {
        let mut sums = BTreeMap::<u8, Sum>::new();
        for state in states {
            let sum = sums.entry(bucket_of(state.record)).or_default();
            *sum = sum.plus(self.key.leaf(state));
        }
        present(&sums)
    }
}

/// A bucket without records may be absent or zero.
fn present(sums: &BTreeMap<u8, Sum>) -> BTreeMap<u8, Sum> {
    let present = sums.iter().filter(|(_, sum)| **sum != Sum::default());
    present.map(|(bucket, sum)| (*bucket, *sum)).collect()
}

fn replica_cursors(agent: &mut Agent) -> Vec<sync_protocol::wire::Cursor> {
    use sync_protocol::replica::ReplicaLedger as _;
    let Ok(cursors) = agent.cursors();
    cursors
}

/// A length and so many bytes.
fn piece(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let [low, high, rest @ ..] = input else { return None };
    Some(rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len())))
}

/// Bit 1 of `how`: one that is set aside. Bit 2: an element instead of a field. Bits 3 and 4: its act.
fn draft(record: RecordId, field: FieldId, value: u8, how: u8, shown: Vec<ChangeId>) -> Draft {
    let is_element = how & 4 != 0;
    let acts = [Act::Assert, Act::Withdraw, Act::Refute, Act::Retract];
    let value = Raw::int(i64::from(value % 8));
    Draft {
        kind: KindId(u16::from(record.0[0] % 4)),
        record,
        action: u16::from(how >> 1 & 1),
        actor: Actor {
            who: RecordId::NIL,
            channel: 0,
        },
        event_ms: 0,
        correlation: None,
        fields: Vec::from_iter((!is_element).then(|| FieldDraft {
            field,
            value: value.clone(),
            shown: shown.clone(),
            was: None,
            ask: how & 0x20 != 0,
        })),
        elements: Vec::from_iter(is_element.then(|| ElementDraft {
            field,
            act: acts[usize::from(how >> 3 & 3)],
            value,
            names: shown,
        })),
    }
}
