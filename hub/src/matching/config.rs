//! Table `[matching]` of `hub.toml`: what agreements are worth and from when on a person is asked.

use clinic::matching::weights::{Table, shipped};
use clinic::matching::{Agreement, Chances, Compared, Thresholds, Weights};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Matcher, Settings};

/// Of the records of one person, and of two people, the part for which the comparison comes out so.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chance {
    pub m: f64,
    pub u: f64,
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $table:ident: $name:ident = $compared:ident { $($level:ident = $agreement:ident),+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, PartialEq, Debug, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields, default)]
            pub struct $name { $(pub $level: Chance),+ }

            impl Default for $name {
                fn default() -> $name {
                    let shipped = shipped();
                    let of = |level: Agreement| shipped
                        .get(&(Compared::$compared, level))
                        .map_or(Chance { m: 0.0, u: 0.0 }, |one| Chance { m: one.m, u: one.u });
                    $name { $($level: of(Agreement::$agreement)),+ }
                }
            }
        )+

        /// Table `[matching]`.
        #[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Config {
            /// From this sum of weights on, in bits, a person is asked whether two records are one person's.
            pub propose_at: f64,
            /// A question that nobody answered is taken back when corrections bring the sum below this.
            pub hopeless_below: f64,
            /// Phone, e-mail, postal code, street and member id together count for no more: a family shares them.
            pub household_max: f64,
            /// With so many records at most a patient is compared.
            pub candidates_max: usize,
            $($(#[$doc])* pub $table: $name),+
        }

        impl Default for Config {
            fn default() -> Config {
                let Thresholds { propose_at, hopeless_below, household_max } = Thresholds::default();
                let bits = |hundredths: i64| hundredths as f64 / 100.0;
                Config {
                    propose_at: bits(propose_at),
                    hopeless_below: bits(hopeless_below),
                    household_max: bits(household_max),
                    candidates_max: 200,
                    $($table: $name::default()),+
                }
            }
        }

        impl Config {
            fn table(&self) -> Table {
                let mut table = Table::new();
                $($(table.insert(
                    (Compared::$compared, Agreement::$agreement),
                    Chances { m: self.$table.$level.m, u: self.$table.$level.u },
                );)+)+
                table
            }
        }
    };
}

comparisons! {
    /// Family name.
    family: Family = Family { same = Exact, close = Close, sounds_alike = SoundsAlike, part = Part, differs = Differs }
    /// Given name.
    given: Given = Given { same = Exact, close = Close, part = Part, initial = Initial, sounds_alike = SoundsAlike, differs = Differs }
    /// Family name and given name agree crosswise.
    crosswise: Crosswise = Crosswise { same = Exact }
    /// Birth date.
    birth_date: Birth = BirthDate {
        same = Exact, day_month = DayMonth, one_digit = OneDigit, part = Part, same_year = SameYear, differs = Differs
    }
    /// Sex.
    sex: Sex = Sex { same = Exact, differs = Differs }
    /// Phone.
    phone: Phone = Phone { same = Exact, differs = Differs }
    /// E-mail.
    email: Email = Email { same = Exact, differs = Differs }
    /// Postal code.
    postal_code: PostalCode = PostalCode { same = Exact, differs = Differs }
    /// Street.
    street: Street = Street { same = Exact, close = Close, differs = Differs }
    /// The number by which a payer knows somebody.
    member_id: MemberId = MemberId { same = Exact, differs = Differs }
    /// A number of one assigning authority.
    identifier: Numbered = Identifier { same = Exact, differs = Differs }
}

impl Config {
    /// The weights of the table, if it is sound.
    pub fn matcher(&self) -> Result<Matcher, String> {
        if self.candidates_max == 0 {
            return Err("candidates_max must be at least 1".to_owned());
        }
        let hundredths = |name: &str, bits: f64| {
            let sound = bits.is_finite() && bits.abs() <= 1_000.0;
            sound
                .then(|| (bits * 100.0).round() as i64)
                .ok_or_else(|| format!("{name} must be a number of bits between -1000 and 1000"))
        };
        let thresholds = Thresholds {
            propose_at: hundredths("propose_at", self.propose_at)?,
            hopeless_below: hundredths("hopeless_below", self.hopeless_below)?,
            household_max: hundredths("household_max", self.household_max)?,
        };
        let weights = Weights::new(&self.table(), thresholds).map_err(|error| error.to_string())?;
        Ok(Matcher(std::sync::Arc::new(Settings {
            weights,
            candidates_max: self.candidates_max,
        })))
    }
}

impl Default for Matcher {
    fn default() -> Matcher {
        Matcher(std::sync::Arc::new(Settings {
            weights: Weights::default(),
            candidates_max: Config::default().candidates_max,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_what_the_comparison_has_by_itself() {
        assert_eq!(Config::default().matcher().unwrap().weights(), &Weights::default());
    }

    #[test]
    fn what_cannot_be_weighed_is_refused_by_name() {
        let of = |text: &str| toml::from_str::<Config>(text).unwrap().matcher().unwrap_err();

        assert!(of("phone.same = { m = 0.7, u = 0.0 }").contains("phone, the same: u must be more than 0"));
        assert!(of("propose_at = 3\nhopeless_below = 4").contains("hopeless_below"));
        assert!(of("candidates_max = 0").contains("candidates_max"));
        assert!(of("sex.differs = { m = 0.9, u = 0.1 }").contains("sex"));
    }
}
