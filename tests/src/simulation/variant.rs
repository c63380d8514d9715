//! Wrong protocols, to check the checker. Each lies from outside, in a ledger or in a writer: nothing of it is in the
//! product's crates.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Variant {
    /// The agent's ledger adopts whatever the hub says of its chain, so that it never notices a fork or a regression.
    NoRebirth,
    /// The hub also removes the values that the version vector of the writer's version covers.
    RemovalByVersionVector,
    /// The writer names what is present at the moment of commit, not what was on the form.
    PresentInsteadOfShown,
}

impl Variant {
    pub const ALL: [Variant; 3] = [
        Variant::NoRebirth,
        Variant::RemovalByVersionVector,
        Variant::PresentInsteadOfShown,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Variant::NoRebirth => "no-rebirth",
            Variant::RemovalByVersionVector => "removal-by-version-vector",
            Variant::PresentInsteadOfShown => "present-instead-of-shown",
        }
    }

    pub fn says(self) -> &'static str {
        match self {
            Variant::NoRebirth => {
                "a copied or restored agent keeps its identity and adopts the hub's view of its chain"
            }
            Variant::RemovalByVersionVector => "the hub also removes values that the writer's version vector covers",
            Variant::PresentInsteadOfShown => "a write replaces what is present when it commits, not what was shown",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Variant, String> {
        let names: Vec<_> = Variant::ALL.iter().map(|variant| variant.name()).collect();
        let known = Variant::ALL.into_iter().find(|variant| variant.name() == text);
        known.ok_or_else(|| format!("no variant {text:?}; there are {}", names.join(", ")))
    }
}
