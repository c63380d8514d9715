//! What an agreement is worth: for every comparison and every way it can come out, how often it comes out so for two
//! records of one person (`m`) and for two records of two people (`u`). The weight is log2(m/u) (Fellegi and Sunter, A
//! Theory for Record Linkage, 1969), kept in hundredths of a bit. Tables that could make a better agreement count for
//! less are refused.

use std::collections::BTreeMap;

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Compared {
    Family,
    Given,
    /// Family and given name as one, where they agree crosswise.
    Crosswise,
    BirthDate,
    Sex,
    Phone,
    Email,
    PostalCode,
    Street,
    MemberId,
    Identifier,
}

/// How it came out, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Agreement {
    Exact,
    /// Nearly the same letters.
    Close,
    /// It sounds the same.
    SoundsAlike,
    /// One is a part of the other: one of two names, or a date known to the year only.
    Part,
    /// One is the initial of the other.
    Initial,
    /// Day and month changed places.
    DayMonth,
    /// One digit is another.
    OneDigit,
    SameYear,
    Differs,
}

impl Compared {
    pub const ALL: [Compared; 11] = [
        Compared::Family,
        Compared::Given,
        Compared::Crosswise,
        Compared::BirthDate,
        Compared::Sex,
        Compared::Phone,
        Compared::Email,
        Compared::PostalCode,
        Compared::Street,
        Compared::MemberId,
        Compared::Identifier,
    ];

    /// The ways it can come out, best first.
    pub fn levels(self) -> &'static [Agreement] {
        use Agreement::*;
        match self {
            Compared::Family => &[Exact, Close, SoundsAlike, Part, Differs],
            Compared::Given => &[Exact, Close, Part, Initial, SoundsAlike, Differs],
            Compared::Crosswise => &[Exact],
            Compared::BirthDate => &[Exact, DayMonth, OneDigit, Part, SameYear, Differs],
            Compared::Street => &[Exact, Close, Differs],
            Compared::Sex
            | Compared::Phone
            | Compared::Email
            | Compared::PostalCode
            | Compared::MemberId
            | Compared::Identifier => &[Exact, Differs],
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Compared::Family => "family name",
            Compared::Given => "given name",
            Compared::Crosswise => "family and given name",
            Compared::BirthDate => "birth date",
            Compared::Sex => "sex",
            Compared::Phone => "phone",
            Compared::Email => "e-mail",
            Compared::PostalCode => "postal code",
            Compared::Street => "street",
            Compared::MemberId => "member id",
            Compared::Identifier => "number of one authority",
        }
    }

    /// What people under one roof share.
    pub fn is_of_household(self) -> bool {
        match self {
            Compared::Phone | Compared::Email | Compared::PostalCode | Compared::Street | Compared::MemberId => true,
            Compared::Family
            | Compared::Given
            | Compared::Crosswise
            | Compared::BirthDate
            | Compared::Sex
            | Compared::Identifier => false,
        }
    }
}

impl Agreement {
    pub fn word(self) -> &'static str {
        match self {
            Agreement::Exact => "the same",
            Agreement::Close => "nearly the same letters",
            Agreement::SoundsAlike => "sounds alike",
            Agreement::Part => "one is part of the other",
            Agreement::Initial => "initial only",
            Agreement::DayMonth => "day and month changed places",
            Agreement::OneDigit => "one digit differs",
            Agreement::SameYear => "same year only",
            Agreement::Differs => "differs",
        }
    }
}

/// How often a comparison comes out one way: of two records of one person, and of two people.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Chances {
    pub m: f64,
    pub u: f64,
}

pub type Table = BTreeMap<(Compared, Agreement), Chances>;

/// From what sum on a pair is shown to a person, in hundredths of a bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    pub propose_at: i64,
    /// A proposal that nobody answered is taken back when corrections bring it below this.
    pub hopeless_below: i64,
    /// Phone, e-mail, postal code, street and member id together count for no more: a family shares them all.
    pub household_max: i64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            propose_at: 1_600,
            hopeless_below: 800,
            household_max: 900,
        }
    }
}

/// Why a table cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsound {
    #[error("{}, {}: {which} must be more than 0 and less than 1", compared.word(), level.word())]
    NotAChance {
        compared: Compared,
        level: Agreement,
        which: char,
    },
    #[error("{}, {}: no chances are given", compared.word(), level.word())]
    Missing { compared: Compared, level: Agreement },
    #[error("{}: \"{}\" would weigh more than \"{}\", which agrees better: raise its u or lower its m", compared.word(), worse.word(), better.word())]
    Order {
        compared: Compared,
        better: Agreement,
        worse: Agreement,
    },
    #[error("hopeless_below must be less than propose_at")]
    Thresholds,
    #[error("household_max must not be less than 0")]
    Household,
}

/// The weights, made ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weights {
    hundredths: BTreeMap<(Compared, Agreement), i64>,
    pub thresholds: Thresholds,
}

impl Weights {
    pub fn new(table: &Table, thresholds: Thresholds) -> Result<Weights, Unsound> {
        let mut hundredths = BTreeMap::new();
        for compared in Compared::ALL {
            let mut before: Option<(Agreement, i64)> = None;
            for level in compared.levels().iter().copied() {
                let chances = table
                    .get(&(compared, level))
                    .ok_or(Unsound::Missing { compared, level })?;
                for (which, chance) in [('m', chances.m), ('u', chances.u)] {
                    if !(chance > 0.0 && chance < 1.0) {
                        return Err(Unsound::NotAChance { compared, level, which });
                    }
                }
                let weight = ((chances.m / chances.u).log2() * 100.0).round() as i64;
                if let Some((better, _)) = before.filter(|(_, better)| weight > *better) {
                    return Err(Unsound::Order {
                        compared,
                        better,
                        worse: level,
                    });
                }
                before = Some((level, weight));
                hundredths.insert((compared, level), weight);
            }
        }
        if thresholds.hopeless_below >= thresholds.propose_at {
            return Err(Unsound::Thresholds);
        }
        if thresholds.household_max < 0 {
            return Err(Unsound::Household);
        }
        Ok(Weights { hundredths, thresholds })
    }

    pub fn of(&self, compared: Compared, level: Agreement) -> i64 {
        self.hundredths.get(&(compared, level)).copied().unwrap_or_default()
    }
}

impl Default for Weights {
    fn default() -> Weights {
        let thresholds = Thresholds::default();
        // A test holds the shipped table to the same checks as any other.
        Weights::new(&shipped(), thresholds).unwrap_or(Weights {
            hundredths: BTreeMap::new(),
            thresholds,
        })
    }
}

/// What ships: of the order that studies of registries in the United States report, rounded, and to be replaced by what a
/// deployment counts in its own records.
pub fn shipped() -> Table {
    use Agreement::*;
    let rows = [
        (Compared::Family, Exact, 0.85, 0.004),
        (Compared::Family, Close, 0.06, 0.002),
        (Compared::Family, SoundsAlike, 0.04, 0.003),
        (Compared::Family, Part, 0.02, 0.002),
        (Compared::Family, Differs, 0.05, 0.989),
        (Compared::Given, Exact, 0.77, 0.008),
        (Compared::Given, Close, 0.07, 0.004),
        (Compared::Given, Part, 0.04, 0.003),
        (Compared::Given, Initial, 0.03, 0.003),
        (Compared::Given, SoundsAlike, 0.03, 0.004),
        (Compared::Given, Differs, 0.09, 0.978),
        (Compared::Crosswise, Exact, 0.01, 0.00002),
        (Compared::BirthDate, Exact, 0.93, 0.00005),
        (Compared::BirthDate, DayMonth, 0.01, 0.00004),
        (Compared::BirthDate, OneDigit, 0.02, 0.0004),
        (Compared::BirthDate, Part, 0.01, 0.005),
        (Compared::BirthDate, SameYear, 0.01, 0.013),
        (Compared::BirthDate, Differs, 0.015, 0.985),
        (Compared::Sex, Exact, 0.97, 0.5),
        (Compared::Sex, Differs, 0.03, 0.5),
        (Compared::Phone, Exact, 0.70, 0.002),
        (Compared::Phone, Differs, 0.30, 0.998),
        (Compared::Email, Exact, 0.75, 0.001),
        (Compared::Email, Differs, 0.25, 0.999),
        (Compared::PostalCode, Exact, 0.80, 0.03),
        (Compared::PostalCode, Differs, 0.20, 0.97),
        (Compared::Street, Exact, 0.70, 0.003),
        (Compared::Street, Close, 0.10, 0.002),
        (Compared::Street, Differs, 0.20, 0.995),
        (Compared::MemberId, Exact, 0.85, 0.002),
        (Compared::MemberId, Differs, 0.15, 0.998),
        (Compared::Identifier, Exact, 0.95, 0.00001),
        (Compared::Identifier, Differs, 0.05, 0.99),
    ];
    rows.into_iter()
        .map(|(compared, level, m, u)| ((compared, level), Chances { m, u }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_sound() {
        let weights = Weights::new(&shipped(), Thresholds::default()).unwrap();

        assert_eq!(weights.of(Compared::BirthDate, Agreement::Exact), 1_418);
        assert_eq!(weights, Weights::default());
    }

    #[test]
    fn what_is_no_chance_is_refused_by_name() {
        for chance in [0.0, 1.0, -0.5, f64::NAN] {
            let mut table = shipped();
            table.insert((Compared::Sex, Agreement::Exact), Chances { m: 0.9, u: chance });

            let error = Weights::new(&table, Thresholds::default()).unwrap_err();

            assert_eq!(
                error.to_string(),
                "sex, the same: u must be more than 0 and less than 1"
            );
        }
    }

    #[test]
    fn a_worse_agreement_never_weighs_more() {
        let mut table = shipped();
        table.insert((Compared::Family, Agreement::Differs), Chances { m: 0.9, u: 0.0001 });

        let error = Weights::new(&table, Thresholds::default()).unwrap_err();

        assert!(matches!(
            error,
            Unsound::Order {
                compared: Compared::Family,
                ..
            }
        ));
    }
}
