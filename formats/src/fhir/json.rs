//! JSON out and in: the one place that writes `resourceType`, and the one that reads it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A type that stands for one kind of resource.
pub trait Resource {
    /// Its `resourceType`.
    const TYPE: &'static str;
}

/// Why JSON is no such resource. Serde's own messages quote content, so they stay behind; line and column say where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FhirError {
    #[error("not JSON at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("not a {expected} resource; check the address it was read from")]
    OtherResource { expected: &'static str },
    #[error("an element of this {expected} is not shaped as R4 has it")]
    Shape { expected: &'static str },
}

/// A resource as R4 JSON. What is empty is left out, since R4 has no empty elements.
pub fn encode<R: Resource + Serialize>(resource: &R) -> Result<Vec<u8>, FhirError> {
    let shape = |_| FhirError::Shape { expected: R::TYPE };
    let mut fields = Map::new();
    fields.insert("resourceType".to_owned(), Value::from(R::TYPE));
    if let Some(Value::Object(rest)) = prune(serde_json::to_value(resource).map_err(shape)?) {
        fields.extend(rest);
    }
    serde_json::to_vec(&fields).map_err(shape)
}

/// A resource of this kind from JSON.
pub fn decode<R: Resource + DeserializeOwned>(bytes: &[u8]) -> Result<R, FhirError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| FhirError::NotJson {
        line: error.line(),
        column: error.column(),
    })?;
    from_value(value)
}

pub(super) fn from_value<R: Resource + DeserializeOwned>(value: Value) -> Result<R, FhirError> {
    if resource_type(&value) != Some(R::TYPE) {
        return Err(FhirError::OtherResource { expected: R::TYPE });
    }
    serde_json::from_value(value).map_err(|_| FhirError::Shape { expected: R::TYPE })
}

pub(super) fn resource_type(value: &Value) -> Option<&str> {
    value.get("resourceType").and_then(Value::as_str)
}

/// The value without anything empty in it; nothing when nothing is left. R4 strings hold no control characters but tab and
/// line ends, and no blanks around them.
fn prune(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Bool(_) | Value::Number(_) => Some(value),
        Value::String(text) => {
            let allowed = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
            let text: String = text.chars().filter(allowed).collect();
            let text = text.trim();
            (!text.is_empty()).then(|| Value::from(text))
        }
        Value::Array(values) => {
            let values: Vec<Value> = values.into_iter().filter_map(prune).collect();
            (!values.is_empty()).then_some(Value::Array(values))
        }
        Value::Object(fields) => {
            let fields: Map<String, Value> = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, prune(value)?)))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
    }
}

/// For `deserialize_with`: a code, or a date, or none when it is not one that we know.
pub(super) fn known<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// For `deserialize_with`: texts, without the nulls that stand for extensions on them.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Option<String>>::deserialize(deserializer)?
        .into_iter()
        .flatten()
        .collect())
}
