//! Contents too large for a change, in pieces, so that a part of one is read without the rest; and what came of the
//! files of reference data.

use ring::digest::{SHA256, digest};
use sync_protocol::{KindId, RecordState};

use super::sql::values;
use super::*;

/// One row of a content.
pub const PIECE_BYTES: usize = 64 * 1024;
/// The table whose rows are sealed.
const SEALED: &str = "blob_pieces";

/// What came of the last file of a set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReferenceFile {
    pub set: String,
    pub file: String,
    pub digest: [u8; 32],
    pub at_ms: u64,
    pub taken_ms: Option<u64>,
    /// Why it was not taken, as JSON.
    pub refused: Option<String>,
}

impl Txn<'_> {
    /// Keeps a content; one that is there is left as it is.
    pub fn put_blob(&mut self, bytes: &[u8]) -> Result<[u8; 32], DbError> {
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, bytes).as_ref());
        if self.blob_bytes(name)?.is_some() {
            return Ok(name);
        }
        self.sql.run(
            "INSERT INTO blobs (org, digest, bytes, added_ms) VALUES (?1, ?2, ?3, ?4)",
            values![self.org, name, bytes.len(), self.now_ms],
        )?;
        for (number, piece) in (0u64..).zip(bytes.chunks(PIECE_BYTES)) {
            let sealed = self.seal(SEALED, &[&name, &number.to_be_bytes()], piece)?;
            self.sql.run(
                "INSERT INTO blob_pieces (org, digest, piece, bytes) VALUES (?1, ?2, ?3, ?4)",
                values![self.org, name, number, sealed],
            )?;
        }
        Ok(name)
    }

    /// How long a content is, if it is kept.
    pub fn blob_bytes(&mut self, name: [u8; 32]) -> Result<Option<u64>, DbError> {
        let row = self.sql.row(
            "SELECT bytes FROM blobs WHERE org = ?1 AND digest = ?2",
            values![self.org, name],
        )?;
        row.map(|row| row.get(0)).transpose()
    }

    /// A part of a content, from a place on, no longer than asked and no further than its end.
    pub fn blob_part(&mut self, name: [u8; 32], from: u64, length: u64) -> Result<Vec<u8>, DbError> {
        let piece_bytes = PIECE_BYTES as u64;
        let end = from.saturating_add(length);
        let rows = self.sql.rows(
            "SELECT piece, bytes FROM blob_pieces WHERE org = ?1 AND digest = ?2 AND piece >= ?3 AND piece < ?4 \
             ORDER BY piece",
            values![self.org, name, from / piece_bytes, end.div_ceil(piece_bytes)],
        )?;
        let mut part = Vec::new();
        for row in rows {
            let number: u64 = row.get(0)?;
            let begins = number * piece_bytes;
            let bytes = self.unseal(SEALED, &[&name, &number.to_be_bytes()], &row.get::<Vec<u8>>(1)?)?;
            let place = |at: u64| usize::try_from(at.saturating_sub(begins)).unwrap_or(usize::MAX);
            part.extend_from_slice(&bytes[place(from).min(bytes.len())..place(end).min(bytes.len())]);
        }
        Ok(part)
    }

    pub fn drop_blob(&mut self, name: [u8; 32]) -> Result<(), DbError> {
        self.sql.run(
            "DELETE FROM blob_pieces WHERE org = ?1 AND digest = ?2",
            values![self.org, name],
        )?;
        self.sql.run(
            "DELETE FROM blobs WHERE org = ?1 AND digest = ?2",
            values![self.org, name],
        )?;
        Ok(())
    }

    /// Every record of a kind, by id. For kinds of which an organisation has few.
    pub fn all_of_kind(&mut self, kind: KindId) -> Result<Vec<RecordState>, DbError> {
        self.few_of_kind(kind, usize::MAX)
    }

    /// Notes what came of a file; when one of the set was last taken stays known.
    pub fn note_reference_file(&mut self, file: &ReferenceFile) -> Result<(), DbError> {
        self.sql.run(
            "INSERT INTO reference_files (org, name, file, digest, at_ms, taken_ms, refused) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (org, name) DO UPDATE SET file = excluded.file, \
             digest = excluded.digest, at_ms = excluded.at_ms, \
             taken_ms = COALESCE(excluded.taken_ms, reference_files.taken_ms), refused = excluded.refused",
            values![
                self.org,
                &file.set,
                &file.file,
                file.digest,
                file.at_ms,
                file.taken_ms,
                file.refused.clone()
            ],
        )?;
        Ok(())
    }

    pub fn reference_files(&mut self) -> Result<Vec<ReferenceFile>, DbError> {
        let rows = self.sql.rows(
            "SELECT name, file, digest, at_ms, taken_ms, refused FROM reference_files WHERE org = ?1 ORDER BY name",
            values![self.org],
        )?;
        let files = rows.iter().map(|row| {
            Ok(ReferenceFile {
                set: row.get(0)?,
                file: row.get(1)?,
                digest: row.get(2)?,
                at_ms: row.get(3)?,
                taken_ms: row.get(4)?,
                refused: row.get(5)?,
            })
        });
        files.collect()
    }
}
