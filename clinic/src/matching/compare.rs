//! Comparing two people, one trait after the other, and saying how each came out. The explanation names traits and how
//! they agreed, and never a value. What either side does not say weighs nothing.

use std::collections::BTreeSet;
use std::fmt::Write;

use rphonetic::DoubleMetaphone;

use super::weights::{Agreement, Compared, Weights};
use super::{Identity, fold, phone_key};
use crate::numbering::TEMP_SYSTEM;
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
pub fn compare(a: &Identity, b: &Identity, weights: &Weights) -> Score {
    let mut found = names(a, b, weights);
    let rest = [
        (Compared::BirthDate, birth_date(a.birth_date, b.birth_date)),
        (Compared::Sex, sex(a.sex, b.sex)),
        (Compared::Phone, shared(&phones(a), &phones(b))),
        (Compared::Email, shared(&emails(a), &emails(b))),
        (Compared::PostalCode, shared(&postal_codes(a), &postal_codes(b))),
        (Compared::Street, street(a, b)),
        (Compared::MemberId, shared(&members(a), &members(b))),
        (Compared::Identifier, identifier(a, b)),
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
fn names(a: &Identity, b: &Identity, weights: &Weights) -> Vec<(Compared, Agreement)> {
    let straight: Vec<_> = [
        (Compared::Family, family(&a.name.family, &b.name.family)),
        (Compared::Given, given(&a.name.given, &b.name.given)),
    ]
    .into_iter()
    .filter_map(|(compared, agreement)| Some((compared, agreement?)))
    .collect();
    let same = |one: &str, other: &str| !fold(one).is_empty() && fold(one) == fold(other);
    let crosswise = same(&a.name.family, &b.name.given) && same(&a.name.given, &b.name.family);
    let weigh = |(compared, agreement): &(Compared, Agreement)| weights.of(*compared, *agreement);
    let crossed = (Compared::Crosswise, Agreement::Exact);
    if crosswise && weigh(&crossed) > straight.iter().map(weigh).sum() {
        return vec![crossed];
    }
    straight
}

fn family(a: &str, b: &str) -> Option<Agreement> {
    let (one, other) = (fold(a), fold(b));
    if one.is_empty() || other.is_empty() {
        return None;
    }
    Some(if one == other {
        Agreement::Exact
    } else if close(&one, &other) {
        Agreement::Close
    } else if sounds_alike(&one, &other) {
        Agreement::SoundsAlike
    } else if is_part(a, b) {
        Agreement::Part
    } else {
        Agreement::Differs
    })
}

fn given(a: &str, b: &str) -> Option<Agreement> {
    let (one, other) = (fold(a), fold(b));
    if one.is_empty() || other.is_empty() {
        return None;
    }
    let initial = |short: &str, long: &str| short.chars().count() == 1 && long.starts_with(short);
    Some(if one == other {
        Agreement::Exact
    } else if initial(&one, &other) || initial(&other, &one) {
        Agreement::Initial
    } else if close(&one, &other) {
        Agreement::Close
    } else if is_part(a, b) {
        Agreement::Part
    } else if sounds_alike(&one, &other) {
        Agreement::SoundsAlike
    } else {
        Agreement::Differs
    })
}

/// Jaro's measure is not quite the same both ways round for some texts, so the better one counts.
fn close(a: &str, b: &str) -> bool {
    strsim::jaro_winkler(a, b).max(strsim::jaro_winkler(b, a)) >= CLOSE_FROM
}

/// Whether the words of one name are among those of the other: one of two family names, one of two given names.
fn is_part(a: &str, b: &str) -> bool {
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| c.is_whitespace() || c == '-').map(fold);
        words.filter(|word| word.chars().count() > 1).collect()
    };
    let (one, other) = (words(a), words(b));
    !one.is_empty() && !other.is_empty() && (one.is_subset(&other) || other.is_subset(&one))
}

fn sounds_alike(a: &str, b: &str) -> bool {
    !phonetic_codes(a).is_disjoint(&phonetic_codes(b))
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

fn phones(one: &Identity) -> BTreeSet<String> {
    one.phones.iter().filter_map(|phone| phone_key(phone)).collect()
}

fn emails(one: &Identity) -> BTreeSet<String> {
    let emails = one.emails.iter().map(|email| email.trim().to_lowercase());
    emails.filter(|email| email.contains('@')).collect()
}

/// The first five characters: the rest of a ZIP+4 is often left out.
fn postal_codes(one: &Identity) -> BTreeSet<String> {
    let codes = one.addresses.iter().map(|address| fold(&address.postal_code));
    codes
        .map(|code| code.chars().take(5).collect::<String>())
        .filter(|code| !code.is_empty())
        .collect()
}

fn streets(one: &Identity) -> BTreeSet<String> {
    let lines = one.addresses.iter().map(|address| fold(&address.line));
    lines.filter(|line| !line.is_empty()).collect()
}

fn members(one: &Identity) -> BTreeSet<String> {
    let ids = one.member_ids.iter().map(|id| fold(id));
    ids.filter(|id| !id.is_empty()).collect()
}

fn street(a: &Identity, b: &Identity) -> Option<Agreement> {
    let (one, other) = (streets(a), streets(b));
    let agreement = shared(&one, &other)?;
    let near = || one.iter().any(|line| other.iter().any(|second| close(line, second)));
    if agreement == Agreement::Differs && near() {
        return Some(Agreement::Close);
    }
    Some(agreement)
}

/// Numbers of one authority. TEMP numbers are minted anew at every arrival, so two of them say nothing.
fn identifier(a: &Identity, b: &Identity) -> Option<Agreement> {
    let known = |one: &Identity| -> BTreeSet<(String, String)> {
        let numbers = one
            .identifiers
            .iter()
            .filter(|id| !id.system.is_empty() && !id.value.is_empty());
        numbers.map(|id| (id.system.to_lowercase(), id.value.clone())).collect()
    };
    let (one, other) = (known(a), known(b));
    if !one.is_disjoint(&other) {
        return Some(Agreement::Exact);
    }
    let lasting = |numbers: &BTreeSet<(String, String)>| -> BTreeSet<String> {
        let lasting = numbers.iter().filter(|(system, _)| system != TEMP_SYSTEM);
        lasting.map(|(system, _)| system.clone()).collect()
    };
    (!lasting(&one).is_disjoint(&lasting(&other))).then_some(Agreement::Differs)
}
