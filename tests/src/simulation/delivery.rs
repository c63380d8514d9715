//! Tasks at a partner, in small: the design's rules of delivery against a partner that loses replies. It is a model of
//! them; the hub's own connectors are run elsewhere, against real partners.
//!
//! An attempt is committed before its first byte leaves. After that there is neither a second attempt nor a confirmed
//! withdrawal until the outcome is known by look-up at the partner, or a person says so.

use std::collections::{BTreeMap, BTreeSet};

use sync_protocol::{ChangeId, Dot};

use super::plan::Rates;
use super::rng::Rng;
use super::trace::{Checked, Invariant, hold};
use super::variant::Variant;
use super::world::{Crash, World};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// To be delivered. Nothing of it can be at the partner once it was looked up there in this life of the hub.
    Waiting {
        looked_up: bool,
    },
    /// Bytes may have left; what became of them is not known.
    Attempted,
    /// The partner cannot be asked, so a person is.
    Asked,
    Done,
    Withdrawn,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) change: ChangeId,
    pub(crate) standing: Standing,
}

impl Task {
    /// The task in a store that was put back to a copy. What the copy has as waiting may have been sent since, so it is looked
    /// up first; that a site has taken it back is the site's own word.
    pub(crate) fn put_back(self, copied: Option<&Task>, variant: Option<Variant>) -> Task {
        let looked_up = variant == Some(Variant::TasksOfAnOlderLife);
        let standing = match (self.standing, copied.map(|copied| copied.standing)) {
            (Standing::Withdrawn, _) => Standing::Withdrawn,
            (_, None | Some(Standing::Waiting { .. })) => Standing::Waiting { looked_up },
            (_, Some(known @ (Standing::Attempted | Standing::Asked | Standing::Done | Standing::Withdrawn))) => known,
        };
        Task { standing, ..self }
    }
}

pub(crate) type Tasks = BTreeMap<Key, Task>;

/// What a partner can do about a request that comes twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Skill {
    /// It does nothing for a key that it knows, and can be asked for one.
    Keys,
    /// It can be asked, and does again what it is told again.
    LookUp,
    /// It can't even be asked.
    Neither,
}

impl Skill {
    fn of(change: ChangeId) -> Skill {
        match change.0[15] % 4 {
            0 => Skill::Neither,
            1 => Skill::Keys,
            _ => Skill::LookUp,
        }
    }
}

pub(crate) type Key = Vec<u8>;

/// The partners, and what was really done there.
#[derive(Default)]
pub(crate) struct Partner {
    known: BTreeSet<Key>,
    done: BTreeMap<ChangeId, u32>,
}

impl Partner {
    fn times(&self, change: ChangeId) -> u32 {
        self.done.get(&change).copied().unwrap_or(0)
    }
}

/// What hub and partner know a task by: the id of its change, which stays the same through every rebirth.
pub(crate) fn key_of(change: ChangeId, dot: Dot, variant: Option<Variant>) -> Key {
    if variant != Some(Variant::KeyFromDot) {
        return change.0.to_vec();
    }
    let mut key = dot.replica.0.to_vec();
    key.extend(dot.counter.to_be_bytes());
    key
}

impl World {
    /// The next step with one of the tasks that are still open.
    pub(crate) fn task_step(&mut self, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        let open = self.open_tasks();
        let Some(key) = rng.pick(&open) else { return Ok(()) };
        self.further(key, rng, rates)
    }

    fn open_tasks(&self) -> Vec<Key> {
        let is_open = |task: &Task| match task.standing {
            Standing::Waiting { .. } | Standing::Attempted | Standing::Asked => true,
            Standing::Done | Standing::Withdrawn => false,
        };
        let open = self.hub.tasks.iter().filter(|(_, task)| is_open(task));
        open.map(|(key, _)| key.clone()).collect()
    }

    fn further(&mut self, key: &Key, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        let Some(task) = self.hub.tasks.get(key).copied() else {
            return Ok(());
        };
        match task.standing {
            Standing::Waiting { looked_up: true } => self.attempt(key, task, rng, rates),
            Standing::Attempted if self.variant == Some(Variant::BlindResend) => self.send_task(key, task, rng, rates),
            Standing::Waiting { looked_up: false } | Standing::Attempted => self.look_up(key, task, rng, rates),
            Standing::Asked => {
                // The person looks at the partner's own screen.
                let standing = if self.partner.times(task.change) > 0 {
                    Standing::Done
                } else {
                    Standing::Waiting { looked_up: true }
                };
                self.tally.event("tasks that a person decided");
                self.note_task(key, standing, Crash::Never).map(|_| ())
            }
            Standing::Done | Standing::Withdrawn => Ok(()),
        }
    }

    fn attempt(&mut self, key: &Key, task: Task, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        let crash = self.crash(rng, rates);
        let committed = self.note_task(key, Standing::Attempted, crash)?;
        if !committed || crash == Crash::After {
            return Ok(());
        }
        self.send_task(key, task, rng, rates)
    }

    fn send_task(&mut self, key: &Key, task: Task, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        if rng.per_mille(rates.partner) {
            self.tally.fault("request to the partner lost");
            return Ok(());
        }
        self.partner_takes(key, task.change)?;
        if rng.per_mille(rates.partner) {
            self.tally.fault("reply of the partner lost");
            return Ok(());
        }
        let crash = self.crash(rng, rates);
        self.note_task(key, Standing::Done, crash).map(|_| ())
    }

    fn partner_takes(&mut self, key: &Key, change: ChangeId) -> Checked<()> {
        let is_new = self.partner.known.insert(key.clone());
        if is_new || Skill::of(change) != Skill::Keys {
            *self.partner.done.entry(change).or_default() += 1;
        }
        self.trace.line(format!("the partner takes {change:?}"));
        self.tally.checked(Invariant::TaskOnce);
        let times = self.partner.times(change);
        hold(Invariant::TaskOnce, times <= 1, || {
            format!("the partner was made to do {change:?} {times} times")
        })
    }

    /// The attempt is committed, the partner does it, and the hub crashes before it hears.
    pub(crate) fn attempt_and_lose_the_reply(&mut self, key: &Key) -> Checked<()> {
        let Some(task) = self.hub.tasks.get(key).copied() else {
            return Ok(());
        };
        self.note_task(key, Standing::Attempted, Crash::Never)?;
        self.partner_takes(key, task.change)
    }

    fn look_up(&mut self, key: &Key, task: Task, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        let crash = self.crash(rng, rates);
        let standing = match Skill::of(task.change) {
            Skill::Neither => Standing::Asked,
            Skill::Keys | Skill::LookUp if self.partner.known.contains(key) => Standing::Done,
            Skill::Keys | Skill::LookUp => Standing::Waiting { looked_up: true },
        };
        self.tally.event("tasks looked up at the partner");
        self.note_task(key, standing, crash).map(|_| ())
    }

    fn note_task(&mut self, key: &Key, standing: Standing, crash: Crash) -> Checked<bool> {
        let noted = self.hub_commits(crash, |disk, _| {
            disk.store.fuse.burn()?;
            if let Some(task) = disk.tasks.get_mut(key) {
                task.standing = standing;
            }
            Ok(())
        })?;
        let change = self.hub.tasks.get(key).map(|task| task.change);
        self.trace
            .line(format!("{change:?} is {standing:?} at the hub: {}", noted.is_some()));
        Ok(noted.is_some())
    }

    /// A site takes a task back. What may be at the partner is looked up first, and stands when it is there.
    pub(crate) fn withdraw_task(&mut self, rng: &mut Rng, rates: &Rates) -> Checked<()> {
        let open = self.open_tasks();
        let Some((key, task)) = rng.pick(&open).and_then(|key| Some((key, *self.hub.tasks.get(key)?))) else {
            return Ok(());
        };
        if task.standing != (Standing::Waiting { looked_up: true }) {
            return self.further(key, rng, rates);
        }
        self.tally.event("tasks withdrawn");
        self.note_task(key, Standing::Withdrawn, Crash::Never)?;
        self.check_withdrawn(task.change)
    }

    fn check_withdrawn(&mut self, change: ChangeId) -> Checked<()> {
        self.tally.checked(Invariant::TaskOnce);
        hold(Invariant::TaskOnce, self.partner.times(change) == 0, || {
            format!("{change:?} is confirmed as withdrawn and was done at the partner")
        })
    }

    /// With nothing in the way every task ends, and what ended is so at the partner.
    pub(crate) fn finish_tasks(&mut self) -> Checked<()> {
        const STEPS_MAX: usize = 4;
        let calm = Rates::default();
        let mut rng = Rng::seeded(0);
        for key in self.open_tasks() {
            for _ in 0..STEPS_MAX {
                self.further(&key, &mut rng, &calm)?;
            }
        }
        for task in self.hub.tasks.clone().into_values() {
            self.tally.checked(Invariant::TaskOnce);
            let (change, times) = (task.change, self.partner.times(task.change));
            let holds = match task.standing {
                Standing::Done => times == 1,
                Standing::Withdrawn => times == 0,
                Standing::Waiting { .. } | Standing::Attempted | Standing::Asked => false,
            };
            hold(Invariant::TaskOnce, holds, || {
                format!(
                    "{change:?} is {:?} at the hub, and was done {times} times",
                    task.standing
                )
            })?;
        }
        Ok(())
    }
}
