//! Which patients which site's scope is to have: the rows. What they should say is decided in [`super::scoping`].

use clinic::membership::{MemberRule, Wish};
use clinic::policies::ScopePolicy;
use sync_protocol::KindId;

use super::sql::{Row, Value, row, values};
use super::*;

/// How a wish stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberStanding {
    /// Its time has not come.
    ToCome = 0,
    In = 1,
    /// The site has as many patients as the policy allows.
    KeptOut = 2,
}

/// A site's wish for a patient, and how it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    pub scope: ScopeId,
    pub patient: RecordId,
    pub wish: Wish,
    pub standing: MemberStanding,
}

/// The scope policy in force, and whether every patient was gone through since it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyInForce {
    /// 0 while nobody has set one.
    pub version: i64,
    pub policy: ScopePolicy,
    pub swept_after: RecordId,
    pub swept: bool,
}

const COLUMNS: &str = "scope, patient, rule, from_ms, until_ms, standing";

fn member(row: &Row) -> Result<Member, DbError> {
    let damaged = DbError::Damaged {
        what: "a patient's place in a scope",
    };
    let (rule, standing): (u16, u16) = (row.get(2)?, row.get(5)?);
    let rule = u8::try_from(rule).ok().and_then(MemberRule::from_number);
    let all = [MemberStanding::ToCome, MemberStanding::In, MemberStanding::KeptOut];
    let standing = all.into_iter().find(|one| *one as u16 == standing);
    let (Some(rule), Some(standing)) = (rule, standing) else {
        return Err(damaged);
    };
    Ok(Member {
        scope: ScopeId(row.get(0)?),
        patient: RecordId(row.get(1)?),
        wish: Wish {
            rule,
            from_ms: row.get(3)?,
            until_ms: row.get(4)?,
        },
        standing,
    })
}

impl Txn<'_> {
    pub fn members_of(&mut self, patient: RecordId) -> Result<Vec<Member>, DbError> {
        self.fetch_members(&BTreeSet::from([patient]))?;
        Ok(self.pending.members.get(&patient).cloned().unwrap_or_default())
    }

    /// Fetches the places of patients that were not asked for yet.
    pub(super) fn fetch_members(&mut self, patients: &BTreeSet<RecordId>) -> Result<(), DbError> {
        let missing: Vec<RecordId> = patients
            .iter()
            .filter(|patient| !self.pending.members.contains_key(*patient))
            .copied()
            .collect();
        let keys: Vec<Value> = missing.iter().map(|patient| Value::from(patient.0)).collect();
        let before = format!("SELECT {COLUMNS} FROM members WHERE org = ?1 AND patient IN");
        let found = self.sql.rows_of_then(&before, self.org, &keys, "ORDER BY scope")?;
        for patient in missing {
            self.pending.members.insert(patient, Vec::new());
        }
        for row in &found {
            let member = member(row)?;
            self.pending.members.entry(member.patient).or_default().push(member);
        }
        Ok(())
    }

    pub(super) fn put_member(&mut self, member: &Member) -> Result<(), DbError> {
        let mut members = self.members_of(member.patient)?;
        members.retain(|one| one.scope != member.scope);
        members.push(*member);
        members.sort_by_key(|one| one.scope);
        self.pending.members.insert(member.patient, members);
        let key = (member.scope, member.patient);
        self.pending.member_writes.insert(key, Some(*member));
        Ok(())
    }

    pub(super) fn drop_member(&mut self, scope: ScopeId, patient: RecordId) -> Result<(), DbError> {
        let mut members = self.members_of(patient)?;
        members.retain(|one| one.scope != scope);
        self.pending.members.insert(patient, members);
        self.pending.member_writes.insert((scope, patient), None);
        Ok(())
    }

    /// Writes the places that patients were given or lost.
    pub(super) fn flush_members(&mut self) -> Result<(), DbError> {
        let (mut put, mut dropped) = (Vec::new(), Vec::new());
        for ((scope, patient), member) in std::mem::take(&mut self.pending.member_writes) {
            match member {
                Some(Member { wish, standing, .. }) => put.push(row![
                    self.org,
                    scope.0,
                    patient.0,
                    wish.rule as u8,
                    wish.from_ms,
                    wish.until_ms,
                    standing as u8,
                ]),
                None => dropped.push(values![scope.0, patient.0].to_vec()),
            }
        }
        self.sql.put_all(
            "INSERT INTO members (org, scope, patient, rule, from_ms, until_ms, standing)",
            &put,
            "ON CONFLICT (org, scope, patient) DO UPDATE SET rule = excluded.rule, from_ms = excluded.from_ms, \
             until_ms = excluded.until_ms, standing = excluded.standing",
        )?;
        self.sql.rows_of_keys(
            "DELETE FROM members WHERE org = ?1 AND",
            self.org,
            &["scope", "patient"],
            &dropped,
        )?;
        Ok(())
    }

    /// Patients for whom something is due at a time: a wish begins or ends.
    pub fn members_due(&mut self, now_ms: i64, at_most: usize) -> Result<BTreeSet<RecordId>, DbError> {
        self.flush_members()?;
        let ends = self.sql.rows(
            "SELECT patient FROM members WHERE org = ?1 AND until_ms <= ?2 ORDER BY until_ms LIMIT ?3",
            values![self.org, now_ms, at_most],
        )?;
        let begins = self.sql.rows(
            "SELECT patient FROM members WHERE org = ?1 AND standing = 0 AND from_ms <= ?2 ORDER BY from_ms LIMIT ?3",
            values![self.org, now_ms, at_most],
        )?;
        let due = ends.iter().chain(&begins);
        due.map(|row| row.get(0).map(RecordId)).take(at_most).collect()
    }

    /// Patients whom the cap keeps out of a site, those of the first rules first.
    pub fn members_kept_out(&mut self, scope: ScopeId, at_most: usize) -> Result<Vec<RecordId>, DbError> {
        self.flush_members()?;
        let rows = self.sql.rows(
            "SELECT patient FROM members WHERE org = ?1 AND scope = ?2 AND standing = 2 ORDER BY rule, patient LIMIT ?3",
            values![self.org, scope.0, at_most],
        )?;
        rows.iter().map(|row| row.get(0).map(RecordId)).collect()
    }

    /// The first site after this one out of which the cap keeps somebody.
    pub fn next_that_keeps_out(&mut self, after: ScopeId) -> Result<Option<ScopeId>, DbError> {
        self.flush_members()?;
        let row = self.sql.row(
            "SELECT scope FROM members WHERE org = ?1 AND standing = 2 AND scope > ?2 ORDER BY scope LIMIT 1",
            values![self.org, after.0],
        )?;
        row.map(|row| row.get(0).map(ScopeId)).transpose()
    }

    /// The rules by which the cap keeps somebody out, of each site where it does.
    pub fn kept_out_by(&mut self) -> Result<BTreeMap<ScopeId, Vec<MemberRule>>, DbError> {
        self.flush_members()?;
        let rows = self.sql.rows(
            "SELECT scope, rule FROM members WHERE org = ?1 AND standing = 2 GROUP BY scope, rule ORDER BY scope, rule",
            values![self.org],
        )?;
        let mut kept_out = BTreeMap::<ScopeId, Vec<MemberRule>>::new();
        for row in &rows {
            let rule = u8::try_from(row.get::<u16>(1)?).ok().and_then(MemberRule::from_number);
            kept_out.entry(ScopeId(row.get(0)?)).or_default().extend(rule);
        }
        Ok(kept_out)
    }

    /// How many patients a site has.
    pub fn members_in(&mut self, scope: ScopeId) -> Result<u64, DbError> {
        self.flush_members()?;
        let row = self.sql.one(
            "SELECT count(*) FROM members WHERE org = ?1 AND scope = ?2 AND standing = 1",
            values![self.org, scope.0],
        )?;
        row.get(0)
    }

    /// Every record that links to this one, with its kind.
    pub fn linking_to(&mut self, target: RecordId) -> Result<Vec<(RecordId, KindId)>, DbError> {
        self.fetch_links(&BTreeSet::from([target]))?;
        let links = self.pending.links.get(&target).into_iter().flatten();
        Ok(links.map(|(record, kind)| (*record, *kind)).collect())
    }

    /// Fetches what links to records that were not asked for yet.
    pub(super) fn fetch_links(&mut self, targets: &BTreeSet<RecordId>) -> Result<(), DbError> {
        self.flush_records()?;
        let missing: Vec<RecordId> = targets
            .iter()
            .filter(|target| !self.pending.links.contains_key(*target))
            .copied()
            .collect();
        let keys: Vec<Value> = missing.iter().map(|target| Value::from(target.0)).collect();
        let found = self.sql.rows_of(
            "SELECT target, record, kind FROM links WHERE org = ?1 AND target IN",
            self.org,
            &keys,
        )?;
        for target in missing {
            self.pending.links.insert(target, BTreeSet::new());
        }
        for row in &found {
            let links = self.pending.links.entry(RecordId(row.get(0)?)).or_default();
            links.insert((RecordId(row.get(1)?), KindId(row.get(2)?)));
        }
        Ok(())
    }

    /// Records of a kind after an id, in the order of their ids.
    pub fn records_after(&mut self, kind: KindId, after: RecordId, at_most: usize) -> Result<Vec<RecordId>, DbError> {
        self.flush_records()?;
        let rows = self.sql.rows(
            "SELECT record FROM states WHERE org = ?1 AND kind = ?2 AND record > ?3 ORDER BY record LIMIT ?4",
            values![self.org, kind.0, after.0, at_most],
        )?;
        rows.iter().map(|row| row.get(0).map(RecordId)).collect()
    }

    pub fn scope_policy(&mut self) -> Result<PolicyInForce, DbError> {
        if let Some(in_force) = &self.pending.scope_policy {
            return Ok(in_force.clone());
        }
        let in_force = self.stored_scope_policy()?;
        self.pending.scope_policy = Some(in_force.clone());
        Ok(in_force)
    }

    fn stored_scope_policy(&mut self) -> Result<PolicyInForce, DbError> {
        let row = self.sql.row(
            "SELECT version, schedule_days, recent_days, region_index, patients_max, swept_after, swept \
             FROM scope_policies WHERE org = ?1",
            values![self.org],
        )?;
        let Some(row) = row else {
            return Ok(PolicyInForce {
                version: 0,
                policy: ScopePolicy::default(),
                swept_after: RecordId::NIL,
                swept: true,
            });
        };
        Ok(PolicyInForce {
            version: row.get(0)?,
            policy: ScopePolicy {
                schedule_days: row.get(1)?,
                recent_days: row.get(2)?,
                region_index: row.get::<i64>(3)? != 0,
                patients_max: row.get(4)?,
            },
            swept_after: RecordId(row.get(5)?),
            swept: row.get::<i64>(6)? != 0,
        })
    }

    pub fn set_scope_policy(&mut self, in_force: &PolicyInForce) -> Result<(), DbError> {
        self.pending.scope_policy = None;
        let policy = &in_force.policy;
        self.sql.run(
            "INSERT INTO scope_policies (org, version, schedule_days, recent_days, region_index, patients_max, \
             swept_after, swept) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (org) DO UPDATE SET \
             version = excluded.version, schedule_days = excluded.schedule_days, recent_days = excluded.recent_days, \
             region_index = excluded.region_index, patients_max = excluded.patients_max, \
             swept_after = excluded.swept_after, swept = excluded.swept",
            values![
                self.org,
                in_force.version,
                policy.schedule_days,
                policy.recent_days,
                policy.region_index,
                policy.patients_max,
                in_force.swept_after.0,
                in_force.swept,
            ],
        )?;
        Ok(())
    }
}
