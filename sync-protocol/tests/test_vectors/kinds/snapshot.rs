//! Snapshots: a manifest and what is signed of it, and whether bytes are the chunk that a manifest notes.

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sync_protocol as engine;
use sync_protocol::signed::snapshot_said;
use sync_protocol::wire;

use super::encoding::{Given, refused};
use super::{give, take};
use crate::first::model::{Hash, Hex, Id};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    epoch: Id,
    scope: Id,
    lane: u8,
    generation: u64,
    from: u64,
    chunks: Vec<Note>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    digest: Hash,
    bytes: u64,
    rows: u64,
    to: u64,
}

impl Manifest {
    fn engine(self) -> Result<wire::Manifest> {
        let chunks = self.chunks.into_iter().map(|note| wire::ChunkNote {
            digest: engine::Hash(note.digest.0),
            bytes: note.bytes,
            rows: note.rows,
            to: note.to,
        });
        Ok(wire::Manifest {
            epoch: engine::EpochId(self.epoch.0),
            scope: engine::ScopeId(self.scope.0),
            lane: engine::Lane::from_number(self.lane).context("there is no such lane")?,
            generation: self.generation,
            from: self.from,
            chunks: chunks.collect(),
        })
    }

    fn of(manifest: &wire::Manifest) -> Manifest {
        let chunks = manifest.chunks.iter().map(|note| Note {
            digest: Hash(note.digest.0),
            bytes: note.bytes,
            rows: note.rows,
            to: note.to,
        });
        Manifest {
            epoch: Id(manifest.epoch.0),
            scope: Id(manifest.scope.0),
            lane: manifest.lane as u8,
            generation: manifest.generation,
            from: manifest.from,
            chunks: chunks.collect(),
        }
    }
}

pub(super) fn manifest(given: &Value) -> Result<Value> {
    match take::<Given<Manifest>>(given)? {
        Given::Says(said) => {
            let manifest = said.engine()?;
            let bytes = manifest.encode();
            ensure!(
                wire::Manifest::decode(&bytes)? == manifest,
                "the engine reads something else"
            );
            give(json!({"signed": Hex(snapshot_said(&bytes)), "bytes": Hex(bytes)}))
        }
        Given::Bytes(Hex(bytes)) => match wire::Manifest::decode(&bytes) {
            Err(error) => Ok(refused(&error)),
            Ok(manifest) => give(json!({"says": Manifest::of(&manifest)})),
        },
        Given::Cbor(_) | Given::Body(_) | Given::BodyOf { .. } => anyhow::bail!("a manifest has no body"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    manifest: Hex,
    /// Its place in the manifest, from 0.
    chunk: usize,
    /// As it came.
    body: Hex,
}

/// The rows of a chunk, each with its sequence and record, or that it is not what the manifest notes.
pub(super) fn chunk(given: &Value) -> Result<Value> {
    let given: Taken = take(given)?;
    let manifest = wire::Manifest::decode(&given.manifest.0)?;
    let note = manifest.chunks.get(given.chunk).context("there is no such chunk")?;
    let before = given.chunk.checked_sub(1).map(|before| manifest.chunks[before].to);
    match manifest.read(before.unwrap_or(manifest.from), note, &given.body.0) {
        None => Ok(json!({"refused": "not what was signed"})),
        Some(chunk) => {
            let rows = chunk.rows.iter();
            let rows: Vec<Value> = rows.map(|row| json!([row.sequence, Id(row.record().0)])).collect();
            give(json!({"rows": rows}))
        }
    }
}
