//! Headers, payloads and states of the first format, in the plain words that the files of test vectors use for them. Frozen: it
//! must not follow the engine, and shares nothing with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cbor::Unknown;

macro_rules! hex_bytes {
    ($name:ident, $size:expr) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) [u8; $size]);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&to_hex(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                let bytes = Hex::deserialize(d)?.0;
                let sized = bytes.try_into();
                sized
                    .map($name)
                    .map_err(|_| D::Error::custom(concat!(stringify!($size), " bytes are expected")))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }
    };
}

hex_bytes!(Id, 16);
hex_bytes!(Hash, 32);

/// Bytes, in files two hexadecimal digits each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Hex, D::Error> {
        let text = String::deserialize(d)?;
        from_hex(&text)
            .map(Hex)
            .ok_or_else(|| D::Error::custom("hexadecimal digits are expected"))
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dot {
    pub(crate) replica: Id,
    pub(crate) counter: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Time {
    pub(crate) wall_ms: u64,
    pub(crate) logical: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Actor {
    pub(crate) who: Id,
    pub(crate) channel: u8,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) entries: BTreeMap<Id, Entry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases: Vec<Alias>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) upto: u64,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) except: BTreeSet<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alias {
    pub(crate) dot: Dot,
    pub(crate) change: Id,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) change: Id,
    pub(crate) dot: Dot,
    pub(crate) at: Time,
    pub(crate) boot: Id,
    pub(crate) monotonic_ms: u64,
    pub(crate) event_ms: i64,
    pub(crate) actor: Actor,
    pub(crate) action: u16,
    pub(crate) kind: u16,
    pub(crate) record: Id,
    #[serde(default)]
    pub(crate) saw: Vector,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<Names>,
    /// Absent: the change's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) correlation: Option<Id>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unknown: Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Names {
    pub(crate) field: u16,
    pub(crate) ids: Vec<Id>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<FieldWrite>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) elements: Vec<ElementWrite>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unknown: Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldWrite {
    pub(crate) field: u16,
    pub(crate) value: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Hex>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ElementWrite {
    pub(crate) field: u16,
    pub(crate) act: Act,
    pub(crate) value: Hex,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Act {
    Assert,
    Withdraw,
    Refute,
    Retract,
}

impl Act {
    pub(crate) const ALL: [Act; 4] = [Act::Assert, Act::Withdraw, Act::Refute, Act::Retract];
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) kind: u16,
    pub(crate) record: Id,
    pub(crate) vector: Vector,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) registers: BTreeMap<u16, Register>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) elements: BTreeMap<u16, BTreeMap<Id, Element>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) unknown: Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Register {
    #[serde(default)]
    pub(crate) values: BTreeMap<Id, LiveValue>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) unseen: BTreeSet<Id>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    pub(crate) dot: Dot,
    pub(crate) at: Time,
    pub(crate) event_ms: i64,
    pub(crate) actor: Actor,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveValue {
    pub(crate) origin: Origin,
    pub(crate) value: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Hex>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Element {
    pub(crate) origin: Origin,
    pub(crate) act: Act,
    pub(crate) value: Hex,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) names: BTreeSet<Id>,
}
