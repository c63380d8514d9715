//! What of a person is compared: each trait folded when it is first asked for, once for all whom they are compared with.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::compare::phonetic_codes;
use super::{Identity, fold, phone_key};
use crate::numbering::TEMP_SYSTEM;

/// Which of somebody's numbers count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Numbers {
    All,
    /// Without those that were given for a visit.
    Lasting,
}

/// A person, made ready to be compared.
pub struct Traits<'a> {
    pub(super) of: &'a Identity,
    pub(super) family: Name<'a>,
    pub(super) given: Name<'a>,
    phones: OnceCell<BTreeSet<String>>,
    emails: OnceCell<BTreeSet<String>>,
    postal_codes: OnceCell<BTreeSet<String>>,
    streets: OnceCell<BTreeSet<String>>,
    member_ids: OnceCell<BTreeSet<String>>,
    numbers: OnceCell<Vec<Number<'a>>>,
}

/// A number, and the authority that gave it: a URI or a code of ASCII letters, which are compared in small ones.
struct Number<'a> {
    system: String,
    value: &'a str,
    lasts: bool,
}

/// A family name, or a given one.
pub(super) struct Name<'a> {
    text: &'a str,
    folded: OnceCell<String>,
    words: OnceCell<BTreeSet<String>>,
    sounds: OnceCell<BTreeSet<String>>,
}

impl std::fmt::Debug for Traits<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Traits")
    }
}

impl<'a> Traits<'a> {
    pub fn of(one: &'a Identity) -> Traits<'a> {
        Traits {
            of: one,
            family: Name::of(&one.name.family),
            given: Name::of(&one.name.given),
            phones: OnceCell::new(),
            emails: OnceCell::new(),
            postal_codes: OnceCell::new(),
            streets: OnceCell::new(),
            member_ids: OnceCell::new(),
            numbers: OnceCell::new(),
        }
    }

    pub(super) fn phones(&self) -> &BTreeSet<String> {
        let phones = || self.of.phones.iter().filter_map(|phone| phone_key(phone));
        self.phones.get_or_init(|| phones().collect())
    }

    pub(super) fn emails(&self) -> &BTreeSet<String> {
        let emails = || self.of.emails.iter().map(|email| email.trim().to_lowercase());
        self.emails
            .get_or_init(|| emails().filter(|email| email.contains('@')).collect())
    }

    /// The first five characters: the rest of a ZIP+4 is often left out.
    pub(super) fn postal_codes(&self) -> &BTreeSet<String> {
        self.postal_codes.get_or_init(|| {
            let codes = self.of.addresses.iter().map(|address| fold(&address.postal_code));
            let codes = codes.map(|code| code.chars().take(5).collect::<String>());
            codes.filter(|code| !code.is_empty()).collect()
        })
    }

    pub(super) fn streets(&self) -> &BTreeSet<String> {
        self.streets.get_or_init(|| {
            let lines = self.of.addresses.iter().map(|address| fold(&address.line));
            lines.filter(|line| !line.is_empty()).collect()
        })
    }

    pub(super) fn member_ids(&self) -> &BTreeSet<String> {
        self.member_ids.get_or_init(|| {
            let ids = self.of.member_ids.iter().map(|id| fold(id));
            ids.filter(|id| !id.is_empty()).collect()
        })
    }

    fn numbers(&self, which: Numbers) -> impl Iterator<Item = &Number<'a>> {
        let numbers = self.numbers.get_or_init(|| {
            let known = self.of.identifiers.iter();
            let known = known.filter(|id| !id.system.is_empty() && !id.value.is_empty());
            let numbers = known.map(|id| Number {
                system: id.system.to_ascii_lowercase(),
                value: &id.value,
                lasts: !id.system.eq_ignore_ascii_case(TEMP_SYSTEM),
            });
            numbers.collect()
        });
        numbers
            .iter()
            .filter(move |number| number.lasts || which == Numbers::All)
    }

    pub(super) fn has_same_name(&self, other: &Traits<'_>) -> bool {
        let family = self.family.folded();
        !family.is_empty() && family == other.family.folded() && self.given.folded() == other.given.folded()
    }

    pub(super) fn has_same_birth_date(&self, other: &Traits<'_>) -> bool {
        self.of.birth_date.is_some_and(|date| date.is_whole()) && self.of.birth_date == other.of.birth_date
    }

    pub(super) fn shares_phone(&self, other: &Traits<'_>) -> bool {
        !self.phones().is_disjoint(other.phones())
    }

    /// Whether both carry the same number of the same authority.
    pub(super) fn shares_number(&self, other: &Traits<'_>, which: Numbers) -> bool {
        self.numbers(which).any(|one| {
            other
                .numbers(which)
                .any(|other| (&one.system, one.value) == (&other.system, other.value))
        })
    }

    /// Whether one authority has given lasting numbers to both.
    pub(super) fn shares_authority(&self, other: &Traits<'_>) -> bool {
        self.numbers(Numbers::Lasting)
            .any(|one| other.numbers(Numbers::Lasting).any(|other| one.system == other.system))
    }

    /// Of name, birth date and phone, how many agree.
    pub(super) fn agreement(&self, other: &Traits<'_>) -> usize {
        [
            self.has_same_name(other),
            self.has_same_birth_date(other),
            self.shares_phone(other),
        ]
        .into_iter()
        .filter(|agrees| *agrees)
        .count()
    }
}

impl<'a> Name<'a> {
    fn of(text: &'a str) -> Name<'a> {
        Name {
            text,
            folded: OnceCell::new(),
            words: OnceCell::new(),
            sounds: OnceCell::new(),
        }
    }

    pub(super) fn folded(&self) -> &str {
        self.folded.get_or_init(|| fold(self.text))
    }

    /// Its words, without initials.
    pub(super) fn words(&self) -> &BTreeSet<String> {
        self.words.get_or_init(|| {
            let words = self.text.split(|c: char| c.is_whitespace() || c == '-').map(fold);
            words.filter(|word| word.chars().count() > 1).collect()
        })
    }

    pub(super) fn sounds(&self) -> &BTreeSet<String> {
        self.sounds.get_or_init(|| phonetic_codes(self.folded()))
    }
}
