//! What the engine makes of the input of a test vector. The runner compares it with what the file says; the command that
//! adds vectors writes it down. Inputs and outputs are in the words of `first::model`, so that another implementation
//! needs to read nothing but the files.

mod encoding;
mod merge;
mod snapshot;
mod sums;
mod times;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A file of test vectors.
#[derive(Debug, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// What the file is about, for whoever runs it against another implementation.
    pub(crate) about: String,
    pub(crate) kind: String,
    pub(crate) cases: Vec<Case>,
}

#[derive(Debug, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(rename = "in")]
    pub(crate) given: Value,
    #[serde(rename = "out", default)]
    pub(crate) expected: Value,
}

/// What comes out of one input of a kind. An error is an input that makes no sense, or two ways to the same output that
/// differ.
pub(crate) fn outcome(kind: &str, given: &Value) -> Result<Value> {
    match kind {
        "header" => encoding::header(given),
        "payload" => encoding::payload(given),
        "state" => encoding::state(given),
        "push-request" => encoding::push_request(given),
        "push-reply" => encoding::push_reply(given),
        "pull-request" => encoding::pull_request(given),
        "pull-reply" => encoding::pull_reply(given),
        "chain" => sums::chain(given),
        "proof" => sums::proof(given),
        "manifest" => snapshot::manifest(given),
        "chunk" => snapshot::chunk(given),
        "merge" => merge::merge(given),
        "join" => merge::join(given),
        "compose" => merge::compose(given),
        "comparison" => times::comparison(given),
        "counting" => times::counting(given),
        "clock" => times::clock(given),
        other => bail!("there is no kind of test vector called {other}"),
    }
}

fn take<T: DeserializeOwned>(given: &Value) -> Result<T> {
    serde_json::from_value(given.clone()).context("the input is not of this kind")
}

fn give(output: impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(output)?)
}
