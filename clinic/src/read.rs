//! Reading typed fields out of a record's facts, by the rule of each field.

use std::collections::BTreeMap;

use sync_protocol::change::{Act, Actor};
use sync_protocol::rules::{self, Ask};
use sync_protocol::state::{Element, LiveValue, Origin, RecordState};
use sync_protocol::{ChangeId, ClockFact};

use crate::catalogue::Field;
use crate::value::Value;

/// A value and who said it when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said<T> {
    pub value: T,
    pub change: ChangeId,
    /// When it was entered, milliseconds since 1970.
    pub entered_ms: i64,
    /// When it happened.
    pub event_ms: i64,
    pub actor: Actor,
    /// What is known of the clock that the times were read from, where it was wrong; they are corrected as far as that goes.
    pub clock: Option<ClockFact>,
}

/// What an `ask` field shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown<T> {
    Nothing,
    One(Said<T>),
    /// Two or more values that did not see each other; a person decides. `standing` goes on being shown meanwhile.
    Open {
        standing: Option<T>,
        values: Vec<Said<T>>,
    },
}

impl<T> Shown<T> {
    /// What is to be used for now: the agreed value, or the one that stands while the question is open.
    pub fn standing(&self) -> Option<&T> {
        match self {
            Shown::Nothing => None,
            Shown::One(said) => Some(&said.value),
            Shown::Open { standing, .. } => standing.as_ref(),
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self, Shown::Open { .. })
    }
}

impl<T> Said<T> {
    fn new(value: T, change: ChangeId, origin: &Origin) -> Said<T> {
        let entered_ms = i64::try_from(origin.written().wall_ms).unwrap_or(i64::MAX);
        Said {
            value,
            change,
            entered_ms,
            event_ms: origin.happened_ms(),
            actor: origin.actor,
            clock: origin.clock,
        }
    }
}

impl<T: Value> Field<T> {
    fn said(&self, (id, live): (&ChangeId, &LiveValue)) -> Option<Said<T>> {
        Some(Said::new(T::from_raw(&live.value)?, *id, &live.origin))
    }

    fn element(&self, (id, element): (&ChangeId, &Element)) -> Option<Said<T>> {
        Some(Said::new(T::from_raw(&element.value)?, *id, &element.origin))
    }

    /// The value of a `latest` field.
    pub fn latest(&self, state: &RecordState) -> Option<Said<T>> {
        self.said(rules::latest(state.register(self.id)?)?)
    }

    /// The bare value of a `latest` field.
    pub fn value(&self, state: &RecordState) -> Option<T> {
        self.latest(state).map(|said| said.value)
    }

    pub fn ask(&self, state: &RecordState) -> Shown<T> {
        let Some(register) = state.register(self.id) else {
            return Shown::Nothing;
        };
        match rules::ask(register) {
            Ask::Nothing => Shown::Nothing,
            Ask::Agreed(one) => self.said(one).map_or(Shown::Nothing, Shown::One),
            Ask::Open { standing, values } => Shown::Open {
                standing: standing.and_then(T::from_raw),
                values: values.into_iter().filter_map(|one| self.said(one)).collect(),
            },
        }
    }

    /// Elements that stand: asserted, and neither withdrawn nor refuted by name.
    pub fn standing(&self, state: &RecordState) -> Vec<Said<T>> {
        let refuted: Vec<_> = rules::unnamed(state, self.id, Act::Refute)
            .into_iter()
            .map(|(id, _)| *id)
            .collect();
        let standing = rules::unnamed(state, self.id, Act::Withdraw)
            .into_iter()
            .filter(|(id, _)| refuted.contains(id));
        let mut standing: Vec<_> = standing.filter_map(|one| self.element(one)).collect();
        standing.sort_by_key(|said| (said.event_ms, said.entered_ms, said.change));
        standing
    }

    /// Every element ever asserted, whether or not it still stands.
    pub fn asserted(&self, state: &RecordState) -> BTreeMap<ChangeId, Said<T>> {
        let asserted = state
            .elements(self.id)
            .filter(|(_, element)| element.act == Act::Assert);
        asserted.filter_map(|one| Some((*one.0, self.element(one)?))).collect()
    }
}
