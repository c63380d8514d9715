//! The names of things: 128-bit ids that are never derived from a person, dots, and the small numbers that stand for
//! kinds, fields and lanes.

use std::fmt;

macro_rules! id128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            pub const NIL: $name = $name([0; 16]);

            pub fn is_nil(&self) -> bool {
                self.0 == [0; 16]
            }

            /// Reads 32 hexadecimal digits, with or without the hyphens of a UUID.
            pub fn parse(text: &str) -> Option<$name> {
                let mut bytes = [0u8; 16];
                let mut digits = text.bytes().filter(|b| *b != b'-');
                for byte in &mut bytes {
                    let high = (digits.next()? as char).to_digit(16)?;
                    let low = (digits.next()? as char).to_digit(16)?;
                    *byte = (high * 16 + low) as u8;
                }
                digits.next().is_none().then_some($name(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}{:02x}{:02x}{:02x}{:02x})", stringify!($name), "", self.0[0], self.0[1], self.0[2], self.0[3])
            }
        }
    };
}

id128!(
    /// Names one change for ever, through every rebirth.
    ChangeId
);
id128!(
    /// Names one record; random, or derived from a rule and a change, never from a person.
    RecordId
);
id128!(
    /// One incarnation of one enrolled agent, or one epoch of the hub: whoever takes counters.
    ReplicaId
);
id128!(
    /// A set of records that is fed to its holders as a whole.
    ScopeId
);
id128!(
    /// One unbroken life of the hub's database.
    EpochId
);
id128!(
    /// One start of a program, so that monotonic times can be compared.
    BootId
);

/// A position in one replica's contiguous numbering. It names one content for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    pub replica: ReplicaId,
    pub counter: u64,
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}.{}", self.replica.0[0], self.replica.0[1], self.counter)
    }
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "#{:02x}{:02x}{:02x}{:02x}",
            self.0[0], self.0[1], self.0[2], self.0[3]
        )
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The number of a record kind in the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KindId(pub u16);

/// The number of a field within its kind in the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FieldId(pub u16);

/// A priority on the way down, with its own cursor and root; a higher lane goes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Lane {
    Safety = 0,
    Flow = 1,
    Schedule = 2,
    Reference = 3,
}

impl Lane {
    pub const ALL: [Lane; 4] = [Lane::Safety, Lane::Flow, Lane::Schedule, Lane::Reference];

    pub fn from_number(number: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| *lane as u8 == number)
    }
}
