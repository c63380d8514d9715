//! The invariants: some after every commit, the rest when the network has healed and nothing moves any more.

use std::collections::BTreeSet;

use sync_protocol::cbor::Raw;
use sync_protocol::hub::Standing;
use sync_protocol::hub::reason::RECORD_FULL;
use sync_protocol::proof;
use sync_protocol::replica::{Applied, ProvenLane};
use sync_protocol::rules::{self, Ask};
use sync_protocol::vector::Comparison;
use sync_protocol::{
    Act, CHANGE_MAX_BYTES, ChangeId, FieldId, Hash, Lane, RecordId, RecordState, STATE_MAX_BYTES, ScopeId,
    VersionVector,
};

use super::hub_store::Origins;
use super::leaf;
use super::oracle::{Effect, Named};
use super::records;
use super::trace::{Checked, Invariant, hold};
use super::variant::Variant;
use super::world::World;
use super::writers::Writer;

impl World {
    /// The changes that an agent's base of a record is made of, by the hub's own account of that place in the feed.
    pub(crate) fn base_changes(&self, agent: usize, record: RecordId) -> BTreeSet<ChangeId> {
        let origins = self.base_origins(agent, record);
        origins.map(|origins| origins.all()).unwrap_or_default()
    }

    fn base_origins(&self, agent: usize, record: RecordId) -> Option<Origins> {
        let signature = self.agents[agent].disk.store.signatures.get(&record)?;
        self.hub.store.made_of(signature).cloned()
    }

    /// The value that a writer's base of a record agrees on, by the log alone.
    pub(crate) fn agreed_in_base(&self, writer: Writer, record: RecordId, field: FieldId) -> Option<Raw> {
        let (changes, base) = match writer {
            Writer::Agent(agent) => {
                let base = self.agents[agent].disk.store.bases.get(&record);
                (self.base_changes(agent, record), base.map(|(_, state)| state))
            }
            Writer::Hub => {
                let changes = self.hub.store.origins(record).all();
                (changes, self.hub.store.states.get(&record))
            }
        };
        if !self.hub.store.restored() {
            return self.log.agreed(record, field, &changes);
        }
        // What is live after a restore was checked when the base was made or taken.
        let live = base.and_then(|state| state.register(field));
        self.log
            .agreed_of(field, live.into_iter().flat_map(|register| register.values.keys()))
    }

    pub(crate) fn check_at_hub(&mut self, record: RecordId) -> Checked<()> {
        let origins = self.hub.store.origins(record);
        let changes = origins.all();
        let Some(state) = self.hub.store.states.get(&record).cloned() else {
            return Ok(());
        };
        for change in &changes {
            self.log.took_effect(change, |id| self.hub.store.is_quarantined(*id));
        }
        self.check_effect("hub", &state, &origins)?;
        self.check_allergy("hub", &state, &changes)?;

        self.tally.checked(Invariant::EffectOnce);
        let mut vector = VersionVector::default();
        let on_record = |kept: &&std::sync::Arc<sync_protocol::hub::KeptChange>| {
            kept.header.as_ref().is_some_and(|header| header.record == record)
        };
        for kept in self.hub.store.kept.values().filter(on_record) {
            let id = kept.header.as_ref().map_or(ChangeId::NIL, |header| header.change);
            let applied = origins.applied.contains(&id);
            match kept.standing {
                Standing::Applied => vector.add(kept.dot),
                Standing::Quarantined(_) => vector.add_exception(kept.dot),
                Standing::Alias => vector.add_alias(kept.dot, id, !applied),
            }
        }
        // After a restore a vector also counts what was only returned in states.
        let counts_all = |mine: &VersionVector, theirs: &VersionVector| match mine.compare(theirs) {
            Comparison::Same | Comparison::Before => true,
            Comparison::After | Comparison::Concurrent => false,
        };
        let holds = vector == state.vector || self.hub.store.restored() && counts_all(&vector, &state.vector);
        hold(Invariant::EffectOnce, holds, || {
            format!(
                "{record:?}: its vector {:?} does not count what was kept {vector:?}",
                state.vector
            )
        })
    }

    /// An agent's base, and its view: the base with all that it wrote itself and remembers.
    pub(crate) fn check_at_agent(&mut self, agent: usize, record: RecordId) -> Checked<()> {
        let who = format!("agent {agent}");
        let base = self.agents[agent].disk.store.bases.get(&record).cloned();
        let mut origins = Origins::default();
        if let Some((place, state)) = base {
            let made_of = self.base_origins(agent, record);
            hold(Invariant::BasesEqual, made_of.is_some(), || {
                format!("{who}: the base of {record:?} is of {place:?}, which the hub never signed")
            })?;
            origins = made_of.unwrap_or_default();
            self.check_effect(&who, &state, &origins)?;
        }
        let mut changes = origins.all();
        let disk = &self.agents[agent].disk;
        let Some(view) = disk.store.views.get(&record).cloned() else {
            return Ok(());
        };
        let own = self.log.on(record, &disk.written).map(|(id, _)| *id);
        let own: BTreeSet<_> = own.filter(|id| !disk.store.forgotten.contains(id)).collect();
        // A reborn replica's change whose alias is still to come may be in the base under a dot it no longer knows; where
        // it was replaced there it is shown again, as a sibling, until then. It takes nothing away.
        let renamed = |id: &ChangeId| {
            let pending = disk.store.unsettled().find(|own| own.header.change == *id);
            pending.is_some_and(|own| self.log.get(id).is_some_and(|meant| meant.dot != own.header.dot))
        };
        let mut shown = Effect::of(&view);
        let expected = self.log.effect(record, &changes, &own);
        changes.extend(&own);
        for (field, values) in &mut shown.values {
            let meant = expected.values.get(field);
            values.retain(|id, _| meant.is_some_and(|meant| meant.contains_key(id)) || !renamed(id));
        }
        shown.values.retain(|_, values| !values.is_empty());
        shown.awaited.clone_from(&expected.awaited);
        if self.hub.store.restored() {
            shown.without_returned(&expected, &self.nameless(record, &origins, &own));
        }
        self.tally.checked(Invariant::EffectEqualsOracle);
        hold(Invariant::EffectEqualsOracle, shown == expected, || {
            format!("{who}'s view of {record:?}: {}", shown.differences(&expected))
        })?;
        self.check_allergy(&who, &view, &changes)
    }

    /// What only changes name whose headers the hub does not have; `own` lie on top, with theirs.
    fn nameless(&self, record: RecordId, origins: &Origins, own: &BTreeSet<ChangeId>) -> Named {
        let named = origins
            .all()
            .difference(&origins.nameless)
            .chain(own)
            .copied()
            .collect();
        let named = self.log.named_by(record, &named);
        let mut nameless = self.log.named_by(record, &origins.nameless);
        for (field, ids) in &mut nameless {
            ids.retain(|id| !named.get(field).is_some_and(|named| named.contains(id)));
        }
        nameless
    }

    fn check_effect(&mut self, who: &str, state: &RecordState, origins: &Origins) -> Checked<()> {
        self.tally.checked(Invariant::EffectEqualsOracle);
        let changes = origins.all();
        let (mut is, expected) = (
            Effect::of(state),
            self.log.effect(state.record, &changes, &BTreeSet::new()),
        );
        if self.hub.store.restored() {
            let nameless = self.nameless(state.record, origins, &BTreeSet::new());
            let returned = is.without_returned(&expected, &nameless);
            if returned > 0 {
                self.tally
                    .event("states with a replaced value that came back as a sibling");
            }
        }
        hold(Invariant::EffectEqualsOracle, is == expected, || {
            format!("{who}'s state of {:?}: {}", state.record, is.differences(&expected))
        })
    }

    fn check_allergy(&mut self, who: &str, state: &RecordState, changes: &BTreeSet<ChangeId>) -> Checked<()> {
        if state.kind != records::ALLERGY {
            return Ok(());
        }
        self.tally.checked(Invariant::AllergyStays);
        let active = self.log.active(state.record, records::ASSERTION, changes);
        let shown = self.shows_as_active(state);
        hold(Invariant::AllergyStays, active == shown, || {
            format!(
                "{who}: {:?} is shown as active: {shown}, should be: {active}",
                state.record
            )
        })
    }

    pub(crate) fn shows_as_active(&self, state: &RecordState) -> bool {
        if self.variant == Some(Variant::LastWriterAllergies) {
            let last = state
                .elements(records::ASSERTION)
                .max_by_key(|(_, element)| element.origin.at);
            return last.is_some_and(|(_, element)| element.act == Act::Assert);
        }
        rules::assertions(state, records::ASSERTION).active
    }

    /// After a page: its records, and that nothing at or below the cursor is missing.
    pub(crate) fn check_page(&mut self, agent: usize, applied: &Applied) -> Checked<()> {
        for record in &applied.records {
            self.check_at_agent(agent, *record)?;
        }
        // In a new life of the hub's store a lane holds what other sites have not returned yet, but no root is wrong.
        if let Some(verified) = applied.verified {
            self.tally.checked(Invariant::RootsEqual);
            hold(Invariant::RootsEqual, verified, || {
                format!("agent {agent} is at the head with another root")
            })?;
        }
        self.check_delivered(agent)
    }

    /// After a digest that is the agent's own: the roots are the hub's of now, where nothing was committed since.
    pub(crate) fn check_proven(&mut self, agent: usize, lanes: &[ProvenLane]) -> Checked<()> {
        for (scope, lane, root) in lanes {
            let store = &self.agents[agent].disk.store;
            let is_of_now = store.head.epoch == self.hub.store.epoch_now()
                && store.cursor_list().iter().any(|cursor| {
                    let feed = self.hub.store.feeds.get(&(cursor.scope, cursor.lane));
                    let head = feed.map_or(0, |feed| feed.head);
                    (cursor.scope, cursor.lane, cursor.sequence) == (*scope, *lane, head)
                });
            if !is_of_now {
                continue;
            }
            self.tally.checked(Invariant::RootsEqual);
            let theirs = self.hub_root(*scope, *lane);
            hold(Invariant::RootsEqual, theirs == Some(*root), || {
                format!("agent {agent} takes {lane:?} for proven, and the hub has another root")
            })?;
        }
        self.check_delivered(agent)
    }

    /// Nothing at or below a cursor is missing.
    fn check_delivered(&mut self, agent: usize) -> Checked<()> {
        self.tally.checked(Invariant::CursorDelivered);
        let store = &self.agents[agent].disk.store;
        if store.head.epoch != self.hub.store.epoch_now() {
            // Its cursors are of another life of the hub's store.
            return Ok(());
        }
        for cursor in store.cursor_list() {
            let Some(feed) = self.hub.store.feeds.get(&(cursor.scope, cursor.lane)) else {
                continue;
            };
            for (sequence, record) in feed.rows.range(..=cursor.sequence) {
                let counted = store.bases.get(record).filter(|_| !store.let_go.contains(record));
                let state = self.hub.store.states.get(record);
                let in_scope = feed
                    .place
                    .get(record)
                    .is_some_and(|(_, standing)| standing.is_in_scope());
                let same = if in_scope {
                    counted.is_some_and(|(_, base)| state.is_some_and(|state| base == state))
                } else {
                    counted.is_none()
                };
                hold(Invariant::CursorDelivered, same, || {
                    format!(
                        "agent {agent} is at {} in {:?} and lacks {record:?} of {sequence}",
                        cursor.sequence, cursor.lane
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Everything that must hold when nothing moves any more.
    pub(crate) fn check_at_rest(&mut self, released: bool) -> Checked<()> {
        // The stores themselves refuse a dot twice and a counter out of turn.
        self.tally
            .checked_times(Invariant::DotNamesOneContent, self.hub.store.kept.len());
        let written = self.agents.iter().map(|agent| agent.disk.written.len()).sum();
        self.tally.checked_times(Invariant::CountersNeverReused, written);
        // So is a purge with an own change pending.
        let forgotten = self.agents.iter().map(|agent| agent.disk.store.forgotten.len()).sum();
        self.tally.checked_times(Invariant::NothingUnpushedPurged, forgotten);
        self.tally.checked(Invariant::ComesToRest);
        self.check_nothing_lost()?;
        self.check_quarantine(released)?;
        for agent in 0..self.agents.len() {
            self.check_pending(agent, released)?;
            self.check_bases(agent)?;
            self.check_roots(agent)?;
            self.recheck(agent)?;
        }
        let records: Vec<RecordId> = self.hub.store.states.keys().copied().collect();
        for record in records {
            self.check_at_hub(record)?;
            self.check_ask(record)?;
            for agent in 0..self.agents.len() {
                self.check_at_agent(agent, record)?;
            }
        }
        self.check_join_laws()
    }

    /// What must hold at any moment, while faults go on: a write that was confirmed is at the hub or where it was written, and
    /// what either shows is what the writers meant.
    pub(crate) fn check_meanwhile(&mut self) -> Checked<()> {
        self.tally.checked(Invariant::NothingLost);
        for (at, agent) in self.agents.iter().enumerate() {
            for change in &agent.disk.written {
                let there = self.hub.store.first_of(*change).is_some() || agent.disk.store.has_own(*change);
                hold(Invariant::NothingLost, there, || {
                    format!("{change:?}, written at agent {at}, is neither there nor at the hub")
                })?;
            }
        }
        let records: Vec<RecordId> = self.hub.store.states.keys().copied().collect();
        for record in records {
            self.check_at_hub(record)?;
            self.check_ask(record)?;
            for agent in 0..self.agents.len() {
                self.check_at_agent(agent, record)?;
            }
        }
        Ok(())
    }

    fn check_nothing_lost(&mut self) -> Checked<()> {
        self.tally.checked(Invariant::NothingLost);
        let survivors = self
            .agents
            .iter()
            .map(|agent| &agent.disk.written)
            .chain([&self.hub.written]);
        for (who, written) in survivors.enumerate() {
            for change in written {
                let kept = self.hub.store.first_of(*change);
                let adopted = self.hub.store.adopted.contains_key(change);
                hold(Invariant::NothingLost, kept.is_some() || adopted, || {
                    format!("{change:?}, written at {who}, is not at the hub")
                })?;
                let waits = self
                    .log
                    .get(change)
                    .is_some_and(|meant| meant.form_level > self.hub.schema);
                let record = self.log.get(change).map(|meant| meant.record);
                let applied = record.is_some_and(|record| self.hub.store.applied_to(record).contains(change));
                let standing = kept.map(|kept| kept.standing);
                let is_too_much = standing == Some(Standing::Quarantined(RECORD_FULL)) && self.has_no_room_for(*change);
                hold(Invariant::NothingLost, applied || waits || is_too_much, || {
                    format!("{change:?}, written at {who}, has no effect: {standing:?}")
                })?;
            }
        }
        Ok(())
    }

    fn check_quarantine(&mut self, released: bool) -> Checked<()> {
        self.tally.checked(Invariant::QuarantineIsAdmission);
        for (change, reason) in self.hub.store.quarantined() {
            let waits = self
                .log
                .get(&change)
                .is_some_and(|meant| meant.form_level > self.hub.schema);
            let is_newer = waits && reason == records::NEWER_FORM && !released;
            let is_too_much = reason == RECORD_FULL && self.has_no_room_for(change);
            hold(Invariant::QuarantineIsAdmission, is_newer || is_too_much, || {
                format!("{change:?} is quarantined for reason {reason}")
            })?;
        }
        Ok(())
    }

    /// Whether the record of a change is so full that not every change has room in it.
    fn has_no_room_for(&self, change: ChangeId) -> bool {
        let record = self.log.get(&change).map(|meant| meant.record);
        let state = record.and_then(|record| self.hub.store.states.get(&record));
        state.is_some_and(|state| state.to_bytes().len() + CHANGE_MAX_BYTES > STATE_MAX_BYTES)
    }

    fn check_pending(&mut self, agent: usize, released: bool) -> Checked<()> {
        self.tally.checked(Invariant::PendingEnds);
        let store = &self.agents[agent].disk.store;
        hold(
            Invariant::PendingEnds,
            store.head.accepted == store.head.counter,
            || {
                format!(
                    "agent {agent} has written {} and pushed {}",
                    store.head.counter, store.head.accepted
                )
            },
        )?;
        for own in store.unsettled() {
            let header = &own.header;
            let base = store.bases.get(&header.record).map(|(_, state)| state);
            let excepted = base.is_some_and(|state| state.vector.is_exception(header.dot));
            hold(Invariant::PendingEnds, excepted && !released, || {
                format!("agent {agent}: {:?} {:?} is still pending", header.change, header.dot)
            })?;
        }
        Ok(())
    }

    fn check_bases(&mut self, agent: usize) -> Checked<()> {
        self.tally.checked(Invariant::BasesEqual);
        let (store, site) = (&self.agents[agent].disk.store, self.agents[agent].site);
        let fed = self.hub.store.feeds.iter().filter(|((scope, _), _)| *scope == site);
        let scope: BTreeSet<_> = fed.flat_map(|(_, feed)| feed.held()).collect();
        let held: BTreeSet<_> = store.bases.keys().copied().collect();
        hold(Invariant::BasesEqual, scope == held, || {
            format!(
                "agent {agent} holds {} records of a scope of {}",
                held.len(),
                scope.len()
            )
        })?;
        for (record, (_, base)) in &store.bases {
            let same = self
                .hub
                .store
                .states
                .get(record)
                .is_some_and(|state| state.to_bytes() == base.to_bytes());
            hold(Invariant::BasesEqual, same, || {
                format!("agent {agent}: the base of {record:?} is not the hub's state")
            })?;
            if base.register(records::NEWER_FIELD).is_some() {
                self.tally.checked(Invariant::UnknownSurvives);
            }
            let pending = store.unsettled().any(|own| own.header.record == *record);
            let view = store.view(*record).map(RecordState::to_bytes);
            hold(Invariant::BasesEqual, pending || view == Some(base.to_bytes()), || {
                format!("agent {agent}: with nothing pending, {record:?} is not shown as its base")
            })?;
        }
        Ok(())
    }

    /// Both ends' roots, and the root over the facts themselves: sums that were kept step by step must come to the same.
    fn check_roots(&mut self, agent: usize) -> Checked<()> {
        self.tally.checked(Invariant::RootsEqual);
        let site = self.agents[agent].site;
        for lane in [Lane::Safety, Lane::Flow, Lane::Schedule] {
            let bases = self.agents[agent].disk.store.bases.values();
            let facts = bases
                .filter(|(place, _)| place.lane == lane)
                .map(|(_, state)| state.as_ref());
            let recomputed = proof::root(site, lane, leaf::sums_of(self.variant, &self.key, facts));
            let at_hub = self.hub_root(site, lane);
            hold(Invariant::RootsEqual, at_hub == Some(recomputed), || {
                format!("agent {agent}: the hub's root of {lane:?} is not that of the facts")
            })?;
        }
        Ok(())
    }

    pub(crate) fn hub_root(&mut self, site: ScopeId, lane: Lane) -> Option<Hash> {
        use sync_protocol::hub::HubLedger as _;
        let sums = self.hub.store.bucket_sums(site, lane).ok()?;
        Some(proof::root(site, lane, sums))
    }

    fn check_ask(&mut self, record: RecordId) -> Checked<()> {
        let changes = self.hub.store.origins(record).all();
        let Some(state) = self
            .hub
            .store
            .states
            .get(&record)
            .filter(|state| state.kind == records::PATIENT)
        else {
            return Ok(());
        };
        let Some(register) = state.register(records::BIRTH_DATE) else {
            return Ok(());
        };
        self.tally.checked(Invariant::AskRetrievable);
        let mut expected = self
            .log
            .effect(record, &changes, &BTreeSet::new())
            .values
            .remove(&records::BIRTH_DATE)
            .unwrap_or_default();
        if self.hub.store.restored() {
            // What may have come back, and what must be gone, was judged with the effect.
            let live = |id: &ChangeId| Some((*id, self.log.get(id)?.fields.get(&records::BIRTH_DATE)?.clone()));
            expected = register.values.keys().filter_map(live).collect();
        }
        let agreed = self.agreed_in_base(Writer::Hub, record, records::BIRTH_DATE);
        let distinct: BTreeSet<_> = expected.values().map(|(value, _)| value).collect();
        let holds = match rules::ask(register) {
            Ask::Nothing => expected.is_empty(),
            Ask::Agreed((_, live)) => distinct.len() == 1 && distinct.contains(&live.value),
            Ask::Open { standing, values } => {
                let listed: BTreeSet<_> = values.iter().map(|(id, _)| **id).collect();
                distinct.len() > 1 && listed.iter().eq(expected.keys()) && standing == agreed.as_ref()
            }
        };
        hold(Invariant::AskRetrievable, holds, || {
            format!(
                "{record:?}: {} concurrent birth dates are not all listed",
                expected.len()
            )
        })
    }
}
