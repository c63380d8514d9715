//! Which sites a patient concerns, and until when: by visits, by bookings, by what a site wrote, and, where the policy says
//! so, by the region. Pure: time and policy are handed in; the hub enters and offers accordingly.

use std::collections::BTreeMap;

use sync_protocol::RecordId;
use sync_protocol::state::RecordState;

use crate::catalogue::{appointment, visit};
use crate::flow;
use crate::policies::ScopePolicy;
use crate::value::AppointmentStatus;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// By which rule a site has a patient; where several hold, the first in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemberRule {
    /// A visit at the site has not ended.
    OpenVisit = 1,
    /// The site wrote on the patient's record of its own accord.
    Written = 2,
    /// A booking at the site is near.
    Schedule = 3,
    /// A visit at the site ended not long ago.
    RecentVisit = 4,
    /// Another site of the region has the patient: the thin index, name and numbers alone.
    Region = 5,
}

impl MemberRule {
    pub const ALL: [MemberRule; 5] = [
        MemberRule::OpenVisit,
        MemberRule::Written,
        MemberRule::Schedule,
        MemberRule::RecentVisit,
        MemberRule::Region,
    ];

    pub fn word(self) -> &'static str {
        match self {
            MemberRule::OpenVisit => "open visit",
            MemberRule::Written => "written at the site",
            MemberRule::Schedule => "schedule",
            MemberRule::RecentVisit => "recent visit",
            MemberRule::Region => "region index",
        }
    }

    pub fn from_number(number: u8) -> Option<MemberRule> {
        MemberRule::ALL.into_iter().find(|rule| *rule as u8 == number)
    }

    /// Whether the site's cap may keep the patient out: never one who is there or whom the site itself wrote.
    pub fn is_capped(self) -> bool {
        match self {
            MemberRule::OpenVisit | MemberRule::Written => false,
            MemberRule::Schedule | MemberRule::RecentVisit | MemberRule::Region => true,
        }
    }

    /// Whether only the patient's own record enters, without what belongs to it.
    pub fn is_thin(self) -> bool {
        self == MemberRule::Region
    }
}

/// That a site is to have a patient from one time until another, milliseconds since 1970, the end excluded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    pub rule: MemberRule,
    pub from_ms: i64,
    pub until_ms: i64,
}

impl Wish {
    pub fn holds_at(&self, now_ms: i64) -> bool {
        self.from_ms <= now_ms && now_ms < self.until_ms
    }

    /// Of two wishes for one site: the one that holds now, then the one that no cap touches, then the one that is whole, then
    /// the one that begins first, then the longer.
    fn before(&self, other: &Wish, now_ms: i64) -> bool {
        let rank = |wish: &Wish| {
            (
                !wish.holds_at(now_ms),
                wish.rule.is_capped(),
                wish.rule.is_thin(),
                wish.from_ms.max(now_ms),
                -wish.until_ms,
                wish.rule,
            )
        };
        rank(self) < rank(other)
    }
}

/// The wishes of every site for a patient.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes(pub BTreeMap<RecordId, Wish>);

impl Wishes {
    /// Adds a wish; the better of two stands.
    pub fn add(&mut self, site: RecordId, wish: Wish, now_ms: i64) {
        if wish.until_ms <= now_ms {
            return;
        }
        let stands = self.0.get(&site).is_some_and(|one| !wish.before(one, now_ms));
        if !stands {
            self.0.insert(site, wish);
        }
    }

    /// Adds what a visit asks for.
    pub fn add_visit(&mut self, state: &RecordState, policy: &ScopePolicy, now_ms: i64) {
        let (Some(site), Some(standing)) = (visit::SITE.value(state), flow::standing(state)) else {
            return;
        };
        let wish = if standing.state.is_end() {
            Wish {
                rule: MemberRule::RecentVisit,
                from_ms: i64::MIN,
                until_ms: standing.since_ms.saturating_add(policy.recent_days * DAY_MS),
            }
        } else {
            Wish {
                rule: MemberRule::OpenVisit,
                from_ms: i64::MIN,
                until_ms: i64::MAX,
            }
        };
        self.add(site, wish, now_ms);
    }

    /// Adds what a booking asks for: from some days before it until a day after.
    pub fn add_appointment(&mut self, state: &RecordState, policy: &ScopePolicy, now_ms: i64) {
        let (Some(site), Some(starts_ms)) = (appointment::SITE.value(state), appointment::STARTS_MS.value(state))
        else {
            return;
        };
        let stands = match appointment::STATUS.value(state) {
            Some(AppointmentStatus::Cancelled | AppointmentStatus::EnteredInError) => false,
            Some(
                AppointmentStatus::Booked
                | AppointmentStatus::Arrived
                | AppointmentStatus::CheckedIn
                | AppointmentStatus::Fulfilled
                | AppointmentStatus::NoShow,
            )
            | None => true,
        };
        if stands {
            let wish = Wish {
                rule: MemberRule::Schedule,
                from_ms: starts_ms.saturating_sub(policy.schedule_days.saturating_add(1) * DAY_MS),
                until_ms: starts_ms.saturating_add(DAY_MS),
            };
            self.add(site, wish, now_ms);
        }
    }

    /// Adds that a site wrote of its own accord.
    pub fn add_written(&mut self, site: RecordId, policy: &ScopePolicy, now_ms: i64) {
        let wish = Wish {
            rule: MemberRule::Written,
            from_ms: i64::MIN,
            until_ms: now_ms.saturating_add(policy.recent_days * DAY_MS),
        };
        self.add(site, wish, now_ms);
    }

    /// Adds the thin index: the other sites of the regions of the sites that have the patient now.
    pub fn add_region(&mut self, sites: &[(RecordId, Option<String>)], now_ms: i64) {
        let region_of = |site: &RecordId| {
            sites
                .iter()
                .find(|(id, _)| id == site)
                .and_then(|(_, region)| region.clone())
        };
        let mut until_of: BTreeMap<String, i64> = BTreeMap::new();
        for (site, wish) in self.0.iter().filter(|(_, wish)| wish.holds_at(now_ms)) {
            if let Some(region) = region_of(site) {
                let until = until_of.entry(region).or_insert(i64::MIN);
                *until = wish.until_ms.max(*until);
            }
        }
        for (site, region) in sites {
            if let Some(until_ms) = region.as_ref().and_then(|region| until_of.get(region)) {
                let wish = Wish {
                    rule: MemberRule::Region,
                    from_ms: i64::MIN,
                    until_ms: *until_ms,
                };
                self.add(*site, wish, now_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const SITE: RecordId = RecordId([1; 16]);
    const OTHER: RecordId = RecordId([2; 16]);
    const FAR: RecordId = RecordId([3; 16]);

    fn wish(rule: MemberRule, from_ms: i64, until_ms: i64) -> Wish {
        Wish {
            rule,
            from_ms,
            until_ms,
        }
    }

    #[test]
    fn what_holds_now_goes_before_what_is_to_come_and_what_is_over_counts_for_nothing() {
        let mut wishes = Wishes::default();

        wishes.add(SITE, wish(MemberRule::Schedule, NOW + 5, NOW + 50), NOW);
        wishes.add(SITE, wish(MemberRule::RecentVisit, i64::MIN, NOW + 10), NOW);
        wishes.add(SITE, wish(MemberRule::RecentVisit, i64::MIN, NOW), NOW);
        wishes.add(OTHER, wish(MemberRule::Schedule, NOW + 5, NOW + 50), NOW);

        assert_eq!(wishes.0[&SITE].until_ms, NOW + 10);
        assert_eq!(wishes.0[&OTHER].rule, MemberRule::Schedule);
    }

    #[test]
    fn what_no_cap_touches_goes_before_what_lasts_longer() {
        let mut wishes = Wishes::default();

        wishes.add(SITE, wish(MemberRule::Schedule, NOW - 5, NOW + 50), NOW);
        wishes.add(SITE, wish(MemberRule::Written, i64::MIN, NOW + 10), NOW);

        assert_eq!(wishes.0[&SITE].rule, MemberRule::Written);
    }

    #[test]
    fn the_whole_patient_goes_before_the_thin_index() {
        let sites = [
            (SITE, Some("north".to_owned())),
            (OTHER, Some("north".to_owned())),
            (FAR, Some("south".to_owned())),
        ];
        let mut wishes = Wishes::default();
        wishes.add(SITE, wish(MemberRule::OpenVisit, i64::MIN, i64::MAX), NOW);

        wishes.add_region(&sites, NOW);

        assert_eq!(wishes.0[&SITE].rule, MemberRule::OpenVisit);
        assert_eq!(wishes.0[&OTHER].rule, MemberRule::Region);
        assert!(!wishes.0.contains_key(&FAR));
    }
}
