//! Content too large for a change: photos, scans, original messages. Named by its SHA-256, so the same content is kept
//! once.

use ring::digest;
use rusqlite::{OptionalExtension, params};
use sync_protocol::Hash;

use super::fault::TxError;
use super::identity::wall_ms;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE blobs (
    digest BLOB PRIMARY KEY,
    media TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL
);";

/// A scan of a few pages at print quality; anything larger would hold up the writes behind it.
pub const BLOB_MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    pub media: String,
    pub created_ms: u64,
    pub bytes: Vec<u8>,
}

/// The name of a content.
pub fn digest_of(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Hash(hash)
}

impl ReadTx<'_> {
    pub fn blob(&self, digest: Hash) -> Result<Option<Blob>, TxError> {
        let sql = "SELECT media, created_ms, bytes FROM blobs WHERE digest = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let blob = statement.query_row([digest.0], |row| {
            Ok(Blob {
                media: row.get(0)?,
                created_ms: row.get::<_, i64>(1)?.cast_unsigned(),
                bytes: row.get(2)?,
            })
        });
        Ok(blob.optional()?)
    }
}

impl WriteTx<'_> {
    pub fn put_blob(&mut self, media: &str, bytes: &[u8]) -> Result<Hash, TxError> {
        if bytes.len() > BLOB_MAX_BYTES {
            return Err(TxError::TooLarge {
                what: "the blob",
                bytes: bytes.len(),
                max: BLOB_MAX_BYTES,
            });
        }
        let digest = digest_of(bytes);
        let sql = "INSERT INTO blobs VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        self.connection
            .prepare_cached(sql)?
            .execute(params![digest.0, media, wall_ms().cast_signed(), bytes])?;
        Ok(digest)
    }
}
