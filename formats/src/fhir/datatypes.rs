//! The R4 data types our resources are made of.

use serde::{Deserialize, Serialize};

use super::json::{known, texts};

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// What an `If-Match` names, as `W/"…"`.
    pub version_id: Option<String>,
    /// instant
    pub last_updated: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentifierUse {
    Usual,
    Official,
    Temp,
    Secondary,
    Old,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identifier {
    #[serde(rename = "use", deserialize_with = "known")]
    pub used_as: Option<IdentifierUse>,
    #[serde(rename = "type")]
    pub kind: Option<CodeableConcept>,
    /// An absolute URI: `urn:oid:…`, `http://…`.
    pub system: Option<String>,
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameUse {
    Usual,
    Official,
    Temp,
    Nickname,
    Anonymous,
    Old,
    Maiden,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HumanName {
    #[serde(rename = "use", deserialize_with = "known")]
    pub used_as: Option<NameUse>,
    pub text: Option<String>,
    pub family: Option<String>,
    /// First and middle names.
    #[serde(deserialize_with = "texts")]
    pub given: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub prefix: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub suffix: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactPointSystem {
    Phone,
    Fax,
    Email,
    Pager,
    Url,
    Sms,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactPointUse {
    Home,
    Work,
    Temp,
    Old,
    Mobile,
}

/// A value needs a system with it (R4 invariant cpt-2).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContactPoint {
    #[serde(deserialize_with = "known")]
    pub system: Option<ContactPointSystem>,
    pub value: Option<String>,
    #[serde(rename = "use", deserialize_with = "known")]
    pub used_for: Option<ContactPointUse>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressUse {
    Home,
    Work,
    Temp,
    Old,
    Billing,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    #[serde(rename = "use", deserialize_with = "known")]
    pub used_for: Option<AddressUse>,
    pub text: Option<String>,
    #[serde(deserialize_with = "texts")]
    pub line: Vec<String>,
    pub city: Option<String>,
    pub state: Option<String>,
    pub postal_code: Option<String>,
    pub country: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Coding {
    pub system: Option<String>,
    pub code: Option<String>,
    pub display: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CodeableConcept {
    pub coding: Vec<Coding>,
    pub text: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reference {
    /// `Patient/123`, `urn:uuid:…` or an absolute address.
    pub reference: Option<String>,
    /// The kind of resource referred to.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub identifier: Option<Box<Identifier>>,
    pub display: Option<String>,
}

/// Both ends are dateTime: a date, or a date and time with seconds and zone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Period {
    pub start: Option<String>,
    pub end: Option<String>,
}

/// An extension with one value. R4 takes exactly one of them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Extension {
    pub url: String,
    pub value_code: Option<String>,
    pub value_string: Option<String>,
    pub value_date_time: Option<String>,
}

conceal_debug!(
    Meta,
    Identifier,
    HumanName,
    ContactPoint,
    Address,
    Coding,
    CodeableConcept,
    Reference,
    Period,
    Extension
);

impl Coding {
    pub fn new(system: &str, code: &str) -> Self {
        Self {
            system: Some(system.to_owned()),
            code: Some(code.to_owned()),
            display: None,
        }
    }
}

impl Reference {
    /// `to("Patient", "123")` is `Patient/123`.
    pub fn to(kind: &str, id: &str) -> Self {
        Self {
            reference: Some(format!("{kind}/{id}")),
            ..Self::default()
        }
    }

    /// The id in a reference to that kind of resource, relative or absolute, of whatever version.
    pub fn id_of(&self, kind: &str) -> Option<&str> {
        let reference = self.reference.as_deref()?;
        let current = reference
            .split_once("/_history/")
            .map_or(reference, |(current, _)| current);
        let (before, id) = current.rsplit_once('/')?;
        (before.rsplit('/').next() == Some(kind) && !id.is_empty()).then_some(id)
    }
}
