//! Somebody at a desk, in this process: writes changes as an agent does, at the pace of people, and keeps what is shown. No
//! store, no line.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use clinic::catalogue::{patient, visit};
use clinic::value::{BirthDate, PersonName};
use clinic::{Action, Channel, Writing, rules};
use sync_protocol::change::genesis;
use sync_protocol::ids::BootId;
use sync_protocol::wire::PushRequest;
use sync_protocol::{
    Change, ChangeId, Dot, EpochId, Hash, HybridClock, Phi, RecordId, RecordState, ReplicaId, Stamp, author,
};

/// 2026-04-14, eight in the morning in Phoenix.
const MORNING_MS: u64 = 1_776_178_800_000;

const WORDS: [&str; 96] = [
    "pain",
    "left",
    "right",
    "lower",
    "upper",
    "back",
    "knee",
    "since",
    "yesterday",
    "fever",
    "cough",
    "dry",
    "productive",
    "night",
    "morning",
    "worse",
    "better",
    "after",
    "meal",
    "walking",
    "rest",
    "nausea",
    "no",
    "vomiting",
    "denies",
    "chest",
    "shortness",
    "of",
    "breath",
    "stairs",
    "two",
    "three",
    "days",
    "weeks",
    "ago",
    "fell",
    "at",
    "home",
    "work",
    "wrist",
    "swelling",
    "bruise",
    "redness",
    "warm",
    "to",
    "touch",
    "headache",
    "dizzy",
    "standing",
    "blurred",
    "vision",
    "rash",
    "itching",
    "both",
    "arms",
    "new",
    "medication",
    "lisinopril",
    "metformin",
    "refill",
    "needed",
    "blood",
    "pressure",
    "high",
    "reading",
    "sugar",
    "fasting",
    "checked",
    "daily",
    "sleep",
    "poor",
    "appetite",
    "less",
    "weight",
    "loss",
    "follow",
    "up",
    "from",
    "hospital",
    "stay",
    "wound",
    "check",
    "sutures",
    "out",
    "interpreter",
    "asked",
    "daughter",
    "with",
    "patient",
    "prefers",
    "afternoon",
    "calls",
    "ear",
    "throat",
    "sore",
    "child",
];

pub(crate) struct Desk {
    pub(crate) replica: ReplicaId,
    boot: BootId,
    staff: [RecordId; 3],
    site: RecordId,
    now_ms: u64,
    clock: HybridClock,
    counter: u64,
    hash: Hash,
    states: BTreeMap<RecordId, RecordState>,
    run: Vec<Change>,
    /// Where the run that is not sent begins.
    sent: (u64, Hash),
}

pub(crate) fn random() -> [u8; 16] {
    let [mut one, two] = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()];
    // A version-4 id has six bits that are always the same.
    (one[6], one[8]) = (two[0], two[1]);
    one
}

fn below(limit: u64) -> u64 {
    let [a, b, c, d, ..] = random();
    u64::from(u32::from_be_bytes([a, b, c, d])) % limit.max(1)
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let replica = ReplicaId(random());
        Desk {
            replica,
            boot: BootId(random()),
            staff: [0; 3].map(|_| RecordId(random())),
            site: RecordId(random()),
            now_ms: MORNING_MS,
            clock: HybridClock::default(),
            counter: 0,
            hash: genesis(replica),
            states: BTreeMap::new(),
            run: Vec::new(),
            sent: (0, genesis(replica)),
        }
    }

    /// One of the three who work here, most often the one at the front.
    fn actor(&self) -> sync_protocol::Actor {
        let who = [0, 0, 0, 0, 1, 1, 2][below(7) as usize];
        Channel::Page.by(self.staff[who])
    }

    /// Ten to a hundred and twenty seconds go by.
    fn time_passes(&mut self) -> i64 {
        self.now_ms += 10_000 + below(110_000);
        i64::try_from(self.now_ms).unwrap_or_default()
    }

    fn write(&mut self, writing: Writing) -> Result<ChangeId> {
        let draft = writing.done();
        let shown = self.states.get(&draft.record);
        let stamp = Stamp {
            change: ChangeId(random()),
            salt: random(),
            at: self.clock.tick(self.now_ms),
            boot: self.boot,
            monotonic_ms: self.now_ms - MORNING_MS + 421_337,
        };
        let dot = Dot {
            replica: self.replica,
            counter: self.counter + 1,
        };
        let (header, payload) = author::compose(&draft, &stamp, dot, shown, shown).context("it says nothing new")?;
        let state = self.states.entry(draft.record);
        let state = state.or_insert_with(|| RecordState::new(draft.kind, draft.record));
        state.apply(&header, &payload, |_| true);
        let change = Change::new(&header, stamp.salt, &payload);
        self.hash = change.link(self.hash);
        self.counter += 1;
        self.run.push(change);
        Ok(stamp.change)
    }

    pub(crate) fn register(&mut self, number: usize) -> Result<RecordId> {
        let (event, record) = (self.time_passes(), RecordId(random()));
        let (year, month, day) = (1930 + number % 90, 1 + number % 12, 1 + number % 28);
        let born = BirthDate::new(year as i16, Some(month as i8), Some(day as i8)).context("a birth date")?;
        let writing = Writing::new(patient::KIND, record, Action::Arrive, self.actor(), event)
            .set(patient::NAME, &Phi::new(PersonName::new(&words(1), &words(1))))
            .set(patient::BIRTH_DATE, &Phi::new(born))
            .set(patient::PHONE, &Phi::new(phone()));
        self.write(writing)?;
        Ok(record)
    }

    /// Another telephone number, on the form as it is shown.
    pub(crate) fn edit_phone(&mut self, record: RecordId) -> Result<()> {
        let event = self.time_passes();
        let shown = self
            .states
            .get(&record)
            .context("nobody by this id")?
            .shown(patient::PHONE.id);
        let writing = Writing::new(patient::KIND, record, Action::Edit, self.actor(), event);
        self.write(writing.replace(patient::PHONE, &Phi::new(phone()), &shown))?;
        Ok(())
    }

    /// A visit whose change has about so many bytes as its author wrote it.
    pub(crate) fn visit(&mut self, patient: RecordId, bytes: usize) -> Result<()> {
        let (event, record) = (self.time_passes(), RecordId(random()));
        let arrival = rules::arrive(record, patient, self.site, self.actor(), event);
        // The rest of such a change, header and salt and ids, is 204 bytes.
        let mut reason = words(2);
        while reason.len() + 204 < bytes {
            reason = format!("{reason} {}", words(1));
        }
        self.write(arrival.set(visit::REASON, &Phi::new(reason)))?;
        Ok(())
    }

    /// What is not sent yet, as a push.
    pub(crate) fn push(&mut self) -> PushRequest {
        let (after, previous) = std::mem::replace(&mut self.sent, (self.counter, self.hash));
        PushRequest {
            epoch: EpochId(random()),
            replica: self.replica,
            after,
            previous,
            changes: std::mem::take(&mut self.run),
            last: self.hash,
            acks: Vec::new(),
            clock: None,
        }
    }
}

fn phone() -> String {
    let area = ["602", "480", "623"][below(3) as usize];
    format!("({area}) {}-{:04}", 200 + below(800), below(10_000))
}

fn words(count: usize) -> String {
    let words = (0..count).map(|_| WORDS[below(WORDS.len() as u64) as usize]);
    words.collect::<Vec<_>>().join(" ")
}
