//! What travels: push up, pages of states down. One zstd frame of deterministic CBOR per body; every message keeps keys
//! that it does not know.

mod at_rest;
mod compact;
mod epoch;
mod page;
mod pull;
mod push;
mod repair;
mod snapshot;

use std::io::Write as _;

use crate::cbor::{self, CborError, MapWriter, Reader, Unknown};
use crate::change::put_u64;
use crate::ids::Lane;

pub(crate) use at_rest::{LaneAtRest, digest_at_rest};
pub use epoch::{EpochReply, EpochRequest, Held, RETURNS_MAX, ReturnReply, ReturnRequest, Returned};
pub use page::{Page, Row, Told};
pub use pull::{Cursor, PullReply, PullRequest, WILLING_MAX, Willing};
pub use push::{CHANGES_MAX, PushReply, PushRequest};
pub use repair::{Listed, RepairAsk, RepairReply, RepairRequest};
pub use snapshot::{
    CHUNKS_MAX, Chunk, ChunkNote, Manifest, SignedManifest, SnapshotReply, SnapshotRequest, digest_of_chunk,
};

/// The newest protocol that this version reads, and the oldest. A message says the oldest that suffices to read it.
pub const PROTOCOL: u64 = 2;
pub const PROTOCOL_OLDEST: u64 = 1;
/// The protocol that brought the compact batch.
pub const COMPACT_SINCE: u64 = 2;

/// The largest body, compressed and unpacked, that either end takes.
pub const BODY_MAX_BYTES: usize = 256 * 1024;
pub const UNPACKED_MAX_BYTES: usize = 4 * 1024 * 1024;

const ZSTD_LEVEL: i32 = 3;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    #[error("the body is not a zstd frame of at most {UNPACKED_MAX_BYTES} bytes")]
    Frame,
    #[error("the body cannot be read: {0}")]
    Body(#[from] CborError),
    #[error("the other end speaks protocol {theirs}; this one speaks {PROTOCOL_OLDEST} to {PROTOCOL}")]
    Protocol { theirs: u64 },
}

fn frame(steps: impl FnOnce(&mut MapWriter)) -> Vec<u8> {
    frame_apart(PROTOCOL_OLDEST, &[], steps)
}

/// A message of which parts are compressed apart, so that the code for what repeats is not made for ids and hashes.
/// `parts` are the lengths of what follows each cut, to the end.
fn frame_apart(protocol: u64, parts: &[usize], steps: impl FnOnce(&mut MapWriter)) -> Vec<u8> {
    let body = cbor::encode(|w| {
        let mut map = MapWriter::new(&Unknown::default());
        map.put(0, |w| put_u64(w, protocol));
        steps(&mut map);
        map.finish(w);
    });
    // Compressing into memory fails only when memory does.
    compress(&body, parts).unwrap_or_default()
}

/// The frame carries a checksum, so that a body that was altered on its way is refused before it is read.
fn compress(body: &[u8], parts: &[usize]) -> std::io::Result<Vec<u8>> {
    if parts.is_empty() {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        compressor.include_checksum(true)?;
        return compressor.compress(body);
    }
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(body.len() as u64))?;
    let mut rest = body;
    for part in parts {
        let (before, after) = rest.split_at(rest.len().saturating_sub(*part));
        encoder.write_all(before)?;
        encoder.flush()?;
        rest = after;
    }
    encoder.write_all(rest)?;
    encoder.finish()
}

/// Unpacks a body and reads its map; key 0 is the protocol.
fn open(
    body: &[u8],
    mut known: impl for<'b> FnMut(u64, &mut Reader<'b>) -> Result<bool, CborError>,
) -> Result<(), WireError> {
    let plain = zstd::bulk::decompress(body, UNPACKED_MAX_BYTES).map_err(|_| WireError::Frame)?;
    let mut protocol = None;
    cbor::parse(&plain, |r| {
        r.map(|key, r| {
            if key == 0 {
                protocol = Some(r.u64()?);
                return Ok(true);
            }
            known(key, r)
        })
    })?;
    match protocol {
        Some(theirs) if (PROTOCOL_OLDEST..=PROTOCOL).contains(&theirs) => Ok(()),
        Some(theirs) => Err(WireError::Protocol { theirs }),
        None => Err(WireError::Body(CborError::Missing { what: "protocol" })),
    }
}

fn missing(what: &'static str) -> CborError {
    CborError::Missing { what }
}

fn read_lane(r: &mut Reader<'_>) -> Result<Lane, CborError> {
    Lane::from_number(r.u8()?).ok_or(CborError::Form { what: "lane" })
}
