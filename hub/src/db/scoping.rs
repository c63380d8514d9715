//! Who has what: after a write, the patients that it concerns enter the scopes that want them, with what belongs to them,
//! and are offered to be forgotten where nobody wants them any more. In the transaction of the write, so that no site ever
//! has a half of it.

use clinic::catalogue::{Home, home};
use clinic::membership::{Wish, Wishes};
use clinic::{allergy, appointment, coverage, link, linking, patient, site, visit};
use sync_protocol::RecordState;
use sync_protocol::hub::{HubError, HubLedger, RowStanding};

use super::members::{Member, MemberStanding};
use super::*;

type Outcome<T> = Result<T, HubError<DbError>>;

/// Patients of one person that are looked at; more are a mistake in the links, not a person.
const CLUSTER_MAX: usize = 32;

/// What the writes of one transaction ask of the scopes.
#[derive(Default)]
struct Concerned {
    /// Patients of whom it is to be found out anew who wants them.
    patients: BTreeSet<RecordId>,
    /// Patients on whose records a site wrote of its own accord.
    written: BTreeSet<RecordId>,
    /// Records that go where their patient is.
    followers: BTreeSet<(RecordId, RecordId)>,
}

impl Txn<'_> {
    /// Brings the scopes up to date with these records. `writer`: the site that wrote them.
    pub fn settle_scopes(&mut self, touched: &[RecordId], writer: Option<ScopeId>) -> Outcome<()> {
        let mut concerned = Concerned::default();
        self.fetch_states(&touched.iter().copied().collect())?;
        self.fetch_members(&touched.iter().copied().collect())?;
        for record in touched {
            if let Some(state) = self.state(*record)? {
                self.find_concerned(&state, writer, &mut concerned)?;
            }
        }
        for (patient, record) in &concerned.followers {
            self.follow_patient(*patient, *record)?;
        }
        self.fetch_members(&concerned.patients)?;
        self.fetch_links(&concerned.patients)?;
        let patients: Vec<RecordId> = concerned.patients.into_iter().collect();
        for patient in patients {
            let written = writer.filter(|_| concerned.written.contains(&patient));
            self.settle_patient(patient, written)?;
        }
        Ok(())
    }

    fn find_concerned(
        &mut self,
        state: &RecordState,
        writer: Option<ScopeId>,
        concerned: &mut Concerned,
    ) -> Outcome<()> {
        let mut of = Vec::new();
        match state.kind {
            site::KIND => self.regions = None,
            visit::KIND => concerned.patients.extend(visit::PATIENT.value(state)),
            appointment::KIND => concerned.patients.extend(appointment::PATIENT.value(state)),
            patient::KIND => of.push(state.record),
            coverage::KIND => of.extend(coverage::PATIENT.value(state)),
            allergy::KIND => of.extend(allergy::PATIENT.value(state)),
            link::KIND => {
                of.extend(link::LEFT.value(state));
                of.extend(link::RIGHT.value(state));
                // Two records of one person concern the same sites.
                concerned.patients.extend(of.iter().copied());
            }
            _ => {}
        }
        for patient in of {
            if patient != state.record {
                concerned.followers.insert((patient, state.record));
            }
            let Some(writer) = writer else { continue };
            let now = self.now_ms as i64;
            let has_it =
                |one: &Member| one.scope == writer && one.standing == MemberStanding::In && one.wish.until_ms > now;
            if !self.members_of(patient)?.iter().any(has_it) {
                concerned.written.insert(patient);
                concerned.patients.insert(patient);
            }
        }
        Ok(())
    }

    /// Enters a record that goes where its patient is into every scope that has the whole patient.
    fn follow_patient(&mut self, patient: RecordId, record: RecordId) -> Outcome<()> {
        for member in self.members_of(patient)? {
            if member.standing == MemberStanding::In && !member.wish.rule.is_thin() {
                self.enter(member.scope, record)?;
            }
        }
        Ok(())
    }

    /// Finds out anew who wants a patient, and enters and offers accordingly.
    pub fn settle_patient(&mut self, patient: RecordId, written: Option<ScopeId>) -> Outcome<()> {
        let cluster = self.one_person(patient)?;
        let mut names: BTreeSet<[u8; 16]> = cluster.iter().map(|one| one.0).collect();
        for one in &cluster {
            names.extend(self.linking_to(*one)?.iter().map(|(record, _)| record.0));
        }
        self.lock(&names.into_iter().collect::<Vec<_>>())?;
        let in_force = self.scope_policy()?;
        let now = self.now_ms as i64;
        let mut wishes = Wishes::default();
        let mut members = BTreeMap::new();
        for one in &cluster {
            for (record, kind) in self.linking_to(*one)? {
                match kind {
                    visit::KIND => {
                        let state = self.state(record)?;
                        state
                            .iter()
                            .for_each(|state| wishes.add_visit(state, &in_force.policy, now));
                    }
                    appointment::KIND => {
                        let state = self.state(record)?;
                        state
                            .iter()
                            .for_each(|state| wishes.add_appointment(state, &in_force.policy, now));
                    }
                    _ => {}
                }
            }
            for member in self.members_of(*one)? {
                if member.wish.rule == clinic::membership::MemberRule::Written {
                    wishes.add(RecordId(member.scope.0), member.wish, now);
                }
                members.insert((member.scope, *one), member);
            }
        }
        if let Some(site) = written {
            wishes.add_written(RecordId(site.0), &in_force.policy, now);
        }
        if in_force.policy.region_index {
            if self.regions.is_none() {
                self.regions = Some(self.regions()?);
            }
            let regions = self.regions.as_deref().unwrap_or_default();
            wishes.add_region(regions, now);
        }
        for one in &cluster {
            let scopes = wishes.0.keys().map(|site| ScopeId(site.0));
            let held = members
                .keys()
                .filter(|(_, patient)| patient == one)
                .map(|(scope, _)| *scope);
            let scopes: BTreeSet<ScopeId> = scopes.chain(held).collect();
            for scope in scopes {
                let wish = wishes.0.get(&RecordId(scope.0)).copied();
                self.settle_member(
                    scope,
                    *one,
                    wish,
                    members.get(&(scope, *one)),
                    in_force.policy.patients_max,
                )?;
            }
        }
        Ok(())
    }

    /// The records that are one person's with this one.
    fn one_person(&mut self, patient: RecordId) -> Outcome<BTreeSet<RecordId>> {
        let mut cluster = BTreeSet::from([patient]);
        let mut todo = vec![patient];
        while let Some(one) = todo.pop() {
            for state in self.linked_to(one, link::KIND)? {
                let joined = linking::joined(&state);
                let other = joined.map(|(left, right)| if left == one { right } else { left });
                if let Some(other) = other.filter(|_| cluster.len() < CLUSTER_MAX)
                    && cluster.insert(other)
                {
                    todo.push(other);
                }
            }
        }
        Ok(cluster)
    }

    fn regions(&mut self) -> Outcome<Vec<(RecordId, Option<String>)>> {
        let mut regions = Vec::new();
        let sites: Vec<RecordId> = self.sites()?.iter().map(|one| RecordId(one.scope.0)).collect();
        self.fetch_states(&sites.iter().copied().collect())?;
        for record in sites {
            let region = self.state(record)?.and_then(|state| site::REGION.value(&state));
            regions.push((record, region));
        }
        Ok(regions)
    }

    fn settle_member(
        &mut self,
        scope: ScopeId,
        patient: RecordId,
        wish: Option<Wish>,
        before: Option<&Member>,
        patients_max: i64,
    ) -> Outcome<()> {
        let was_in = before.is_some_and(|member| member.standing == MemberStanding::In);
        let Some(wish) = wish else {
            // Whom the cap kept out, a change of the site's own may have entered all the same.
            if was_in || self.is_live(scope, patient)? {
                self.offer_patient(scope, patient)?;
            }
            return Ok(self.drop_member(scope, patient)?);
        };
        let standing = if !wish.holds_at(self.now_ms as i64) {
            MemberStanding::ToCome
        } else if was_in || !wish.rule.is_capped() || self.has_room(scope, patients_max)? {
            MemberStanding::In
        } else {
            MemberStanding::KeptOut
        };
        let member = Member {
            scope,
            patient,
            wish,
            standing,
        };
        match standing {
            MemberStanding::In => {
                let whole_before = before.is_some_and(|before| was_in && !before.wish.rule.is_thin());
                if was_in && whole_before && wish.rule.is_thin() {
                    self.offer_followers(scope, patient)?;
                }
                self.enter_patient(scope, patient, wish.rule.is_thin())?;
                if !was_in {
                    *self.entered.entry(scope).or_default() += 1;
                }
            }
            MemberStanding::ToCome | MemberStanding::KeptOut if was_in => self.offer_patient(scope, patient)?,
            MemberStanding::ToCome | MemberStanding::KeptOut => {}
        }
        if before != Some(&member) {
            self.put_member(&member)?;
        }
        Ok(())
    }

    /// Whether the policy allows the site one more patient. Counted once in a transaction.
    fn has_room(&mut self, scope: ScopeId, patients_max: i64) -> Outcome<bool> {
        let held = match self.held.get(&scope) {
            Some(held) => *held,
            None => {
                let counted = self.members_in(scope)?;
                // What this transaction entered so far is in the count.
                let held = counted.saturating_sub(self.entered.get(&scope).copied().unwrap_or(0));
                self.held.insert(scope, held);
                held
            }
        };
        let entered = self.entered.get(&scope).copied().unwrap_or(0);
        Ok(held + entered < u64::try_from(patients_max).unwrap_or(0))
    }

    /// Enters a patient with all that goes where the patient is, and with the site's own records that had left with the patient.
    fn enter_patient(&mut self, scope: ScopeId, patient: RecordId, thin: bool) -> Outcome<()> {
        self.enter(scope, patient)?;
        if thin {
            return Ok(());
        }
        for (record, kind) in self.linking_to(patient)? {
            let belongs = match home(kind) {
                Home::Patient => true,
                Home::Site => self.rows_of(record)?.iter().any(|(held, _)| *held == scope),
                Home::Organisation => false,
            };
            if belongs {
                self.enter(scope, record)?;
            }
        }
        Ok(())
    }

    fn offer_patient(&mut self, scope: ScopeId, patient: RecordId) -> Outcome<()> {
        self.offer(scope, patient)?;
        self.offer_followers(scope, patient)
    }

    /// Offers what belongs to a patient, but for what belongs to another patient of the scope as well.
    fn offer_followers(&mut self, scope: ScopeId, patient: RecordId) -> Outcome<()> {
        for (record, kind) in self.linking_to(patient)? {
            if self.is_live(scope, record)? && (kind != link::KIND || !self.has_other_end(scope, record, patient)?) {
                self.offer(scope, record)?;
            }
        }
        Ok(())
    }

    fn is_live(&mut self, scope: ScopeId, record: RecordId) -> Outcome<bool> {
        let rows = self.rows_of(record)?;
        Ok(rows.contains(&(scope, RowStanding::Live)))
    }

    fn has_other_end(&mut self, scope: ScopeId, record: RecordId, patient: RecordId) -> Outcome<bool> {
        let Some(other) = self
            .state(record)?
            .and_then(|state| linking::other_end(&state, patient))
        else {
            return Ok(false);
        };
        let has_it = |one: &Member| one.scope == scope && one.standing == MemberStanding::In;
        Ok(self.members_of(other)?.iter().any(has_it))
    }
}
