//! Comparing two people, one trait after the other, and saying how each came out. The explanation names traits and how
//! they agreed, and never a value. What either side does not say weighs nothing.

use std::collections::BTreeSet;
use std::fmt::Write;

use rphonetic::DoubleMetaphone;

use super::traits::{Name, Numbers, Traits};
use super::weights::{Agreement, Compared, Weights};
use crate::value::{BirthDate, Sex};

/// From this similarity (Jaro and Winkler, 0 to 1) on two names have nearly the same letters.
const CLOSE_FROM: f64 = 0.92;

/// One trait, how it came out, and what that weighs in hundredths of a bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Comparison {
    pub compared: Compared,
    pub agreement: Agreement,
    pub weight: i64,
}

/// How alike two people are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Score {
    pub comparisons: Vec<Comparison>,
    /// What was counted off because a household shares it; zero or less.
    pub household: i64,
    /// In hundredths of a bit.
    pub total: i64,
}

impl Score {
    /// One line for every comparison, and the sum.
    pub fn explained(&self) -> String {
        let mut text = String::new();
        for one in &self.comparisons {
            let _ = writeln!(
                text,
                "{}: {}, {}",
                one.compared.word(),
                one.agreement.word(),
                bits(one.weight)
            );
        }
        if self.household < 0 {
            let _ = writeln!(text, "what a household shares counts once: {}", bits(self.household));
        }
        let _ = write!(text, "sum: {}", bits(self.total));
        text
    }

    pub fn of(&self, compared: Compared) -> Option<Agreement> {
        let mut found = self.comparisons.iter().filter(|one| one.compared == compared);
        found.next().map(|one| one.agreement)
    }
}

/// Hundredths of a bit as people read them: "+14.18".
pub fn bits(hundredths: i64) -> String {
    let sign = if hundredths < 0 { '-' } else { '+' };
    let size = hundredths.unsigned_abs();
    format!("{sign}{}.{:02}", size / 100, size % 100)
}

/// Compares two people; the same whichever is named first.
pub(super) fn compare(numbers: Numbers, a: &Traits<'_>, b: &Traits<'_>, weights: &Weights) -> Score {
    let mut found = names(a, b, weights);
    let rest = [
        (Compared::BirthDate, birth_date(a.of.birth_date, b.of.birth_date)),
        (Compared::Sex, sex(a.of.sex, b.of.sex)),
        (Compared::Phone, shared(a.phones(), b.phones())),
        (Compared::Email, shared(a.emails(), b.emails())),
        (Compared::PostalCode, shared(a.postal_codes(), b.postal_codes())),
        (Compared::Street, street(a.streets(), b.streets())),
        (Compared::MemberId, shared(a.member_ids(), b.member_ids())),
        (Compared::Identifier, identifier(numbers, a, b)),
    ];
    found.extend(
        rest.into_iter()
            .filter_map(|(compared, agreement)| Some((compared, agreement?))),
    );
    let comparisons: Vec<_> = found
        .into_iter()
        .map(|(compared, agreement)| Comparison {
            compared,
            agreement,
            weight: weights.of(compared, agreement),
        })
        .collect();
    let of_household = comparisons.iter().filter(|one| one.compared.is_of_household());
    let shared: i64 = of_household.map(|one| one.weight).sum();
    let household = (weights.thresholds.household_max - shared).min(0);
    let total = comparisons.iter().map(|one| one.weight).sum::<i64>() + household;
    Score {
        comparisons,
        household,
        total,
    }
}

/// Straight, or crosswise where that agrees better.
fn names(a: &Traits<'_>, b: &Traits<'_>, weights: &Weights) -> Vec<(Compared, Agreement)> {
    let straight: Vec<_> = [
        (Compared::Family, family(&a.family, &b.family)),
        (Compared::Given, given(&a.given, &b.given)),
    ]
    .into_iter()
    .filter_map(|(compared, agreement)| Some((compared, agreement?)))
    .collect();
    let same = |one: &Name<'_>, other: &Name<'_>| !one.folded().is_empty() && one.folded() == other.folded();
    let crosswise = same(&a.family, &b.given) && same(&a.given, &b.family);
    let weigh = |(compared, agreement): &(Compared, Agreement)| weights.of(*compared, *agreement);
    let crossed = (Compared::Crosswise, Agreement::Exact);
    if crosswise && weigh(&crossed) > straight.iter().map(weigh).sum() {
        return vec![crossed];
    }
    straight
}

fn family(a: &Name<'_>, b: &Name<'_>) -> Option<Agreement> {
    let (one, other) = (a.folded(), b.folded());
    if one.is_empty() || other.is_empty() {
        return None;
    }
    Some(if one == other {
        Agreement::Exact
    } else if close(one, other) {
        Agreement::Close
    } else if sounds_alike(a, b) {
        Agreement::SoundsAlike
    } else if is_part(a, b) {
        Agreement::Part
    } else {
        Agreement::Differs
    })
}

fn given(a: &Name<'_>, b: &Name<'_>) -> Option<Agreement> {
    let (one, other) = (a.folded(), b.folded());
    if one.is_empty() || other.is_empty() {
        return None;
    }
    let initial = |short: &str, long: &str| short.chars().count() == 1 && long.starts_with(short);
    Some(if one == other {
        Agreement::Exact
    } else if initial(one, other) || initial(other, one) {
        Agreement::Initial
    } else if close(one, other) {
        Agreement::Close
    } else if is_part(a, b) {
        Agreement::Part
    } else if sounds_alike(a, b) {
        Agreement::SoundsAlike
    } else {
        Agreement::Differs
    })
}

/// Jaro's measure is not quite the same both ways round for some texts, so the better one counts.
fn close(a: &str, b: &str) -> bool {
    strsim::jaro_winkler(a, b) >= CLOSE_FROM || strsim::jaro_winkler(b, a) >= CLOSE_FROM
}

/// Whether the words of one name are among those of the other: one of two family names, one of two given names.
fn is_part(a: &Name<'_>, b: &Name<'_>) -> bool {
    let (one, other) = (a.words(), b.words());
    !one.is_empty() && !other.is_empty() && (one.is_subset(other) || other.is_subset(one))
}

fn sounds_alike(a: &Name<'_>, b: &Name<'_>) -> bool {
    !a.sounds().is_disjoint(b.sounds())
}

/// Both codes of Philips' double metaphone; words that are not of Latin letters have none.
pub(crate) fn phonetic_codes(folded: &str) -> BTreeSet<String> {
    if folded.len() < 2 || !folded.bytes().all(|b| b.is_ascii_lowercase()) {
        return BTreeSet::new();
    }
    let codes = DoubleMetaphone::default().double_metaphone(folded);
    let codes = [codes.primary(), codes.alternate()];
    codes.into_iter().filter(|code| !code.is_empty()).collect()
}

fn birth_date(a: Option<BirthDate>, b: Option<BirthDate>) -> Option<Agreement> {
    let (a, b) = (a?, b?);
    if a == b && a.is_whole() {
        return Some(Agreement::Exact);
    }
    if !a.is_whole() || !b.is_whole() {
        let month_agrees = a.month().zip(b.month()).is_none_or(|(one, other)| one == other);
        let agrees = a.year() == b.year() && month_agrees;
        return Some(if agrees { Agreement::Part } else { Agreement::Differs });
    }
    let (one, other) = (a.iso(), b.iso());
    let digits = one.bytes().zip(other.bytes()).filter(|(x, y)| x != y).count();
    Some(
        if a.year() == b.year() && a.month() == b.day() && a.day() == b.month() {
            Agreement::DayMonth
        } else if digits == 1 {
            Agreement::OneDigit
        } else if a.year() == b.year() {
            Agreement::SameYear
        } else {
            Agreement::Differs
        },
    )
}

fn sex(a: Option<Sex>, b: Option<Sex>) -> Option<Agreement> {
    let told = |sex: Option<Sex>| sex.filter(|sex| matches!(sex, Sex::Female | Sex::Male));
    let (a, b) = (told(a)?, told(b)?);
    Some(if a == b { Agreement::Exact } else { Agreement::Differs })
}

fn shared(a: &BTreeSet<String>, b: &BTreeSet<String>) -> Option<Agreement> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    Some(match a.is_disjoint(b) {
        true => Agreement::Differs,
        false => Agreement::Exact,
    })
}

fn street(one: &BTreeSet<String>, other: &BTreeSet<String>) -> Option<Agreement> {
    let agreement = shared(one, other)?;
    let near = || one.iter().any(|line| other.iter().any(|second| close(line, second)));
    if agreement == Agreement::Differs && near() {
        return Some(Agreement::Close);
    }
    Some(agreement)
}

/// Numbers of one authority. TEMP numbers are minted anew at every arrival, so two of them say nothing.
fn identifier(numbers: Numbers, a: &Traits<'_>, b: &Traits<'_>) -> Option<Agreement> {
    if a.shares_number(b, numbers) {
        return Some(Agreement::Exact);
    }
    a.shares_authority(b).then_some(Agreement::Differs)
}
