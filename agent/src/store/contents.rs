//! Contents that the hub's records name and this site fetches, piece by piece, so that a transfer that broke off goes on
//! where it was. A content is used only once its digest was proven.

use rusqlite::{OptionalExtension, params};
use sync_protocol::Hash;

use super::fault::TxError;
use super::tx::{ReadTx, WriteTx};

#[cfg(test)]
pub(super) const TABLES: &str = "
CREATE TABLE contents (
    digest BLOB PRIMARY KEY,
    bytes INTEGER NOT NULL,
    standing INTEGER NOT NULL,
    tried_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE content_pieces (
    digest BLOB NOT NULL,
    place INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (digest, place)
);";

/// How far a content is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContentStanding {
    Fetching,
    /// All of it was here, and it is what its digest says.
    Proven,
    /// What came was not what the digest says, or could not be used.
    Refused,
}

impl ContentStanding {
    const ALL: [ContentStanding; 3] = [
        ContentStanding::Fetching,
        ContentStanding::Proven,
        ContentStanding::Refused,
    ];
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    pub digest: Hash,
    pub bytes: u64,
    pub standing: ContentStanding,
    /// When it last took another standing.
    pub tried_ms: i64,
    /// How much of it is here; a code set that is searched needs its pieces no more.
    pub here: u64,
}

impl ReadTx<'_> {
    /// Every content that was ever asked for and is not forgotten.
    pub fn contents(&self) -> Result<Vec<Content>, TxError> {
        let sql = "SELECT c.digest, c.bytes, c.standing, c.tried_ms,
                   (SELECT COALESCE(SUM(length(p.bytes)), 0) FROM content_pieces p WHERE p.digest = c.digest)
                   FROM contents c ORDER BY c.digest";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok((
                Hash(row.get(0)?),
                row.get::<_, i64>(1)?,
                usize::from(row.get::<_, u8>(2)?),
                row.get(3)?,
                row.get::<_, i64>(4)?,
            ))
        })?;
        let contents = rows.map(|row| {
            let (digest, bytes, standing, tried_ms, here) = row?;
            let standing = ContentStanding::ALL.get(standing).copied();
            Ok(Content {
                digest,
                bytes: bytes.cast_unsigned(),
                standing: standing.ok_or(TxError::Damaged { what: "a content" })?,
                tried_ms,
                here: here.cast_unsigned(),
            })
        });
        contents.collect()
    }

    /// The piece that begins at a place.
    pub fn content_piece(&self, digest: Hash, place: u64) -> Result<Option<Vec<u8>>, TxError> {
        let sql = "SELECT bytes FROM content_pieces WHERE digest = ?1 AND place = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let piece = statement.query_row(params![digest.0, place.cast_signed()], |row| row.get(0));
        Ok(piece.optional()?)
    }
}

impl WriteTx<'_> {
    pub fn set_content(
        &mut self,
        digest: Hash,
        bytes: u64,
        standing: ContentStanding,
        now_ms: i64,
    ) -> Result<(), TxError> {
        let sql = "INSERT INTO contents VALUES (?1, ?2, ?3, ?4) ON CONFLICT (digest)
                   DO UPDATE SET bytes = excluded.bytes, standing = excluded.standing, tried_ms = excluded.tried_ms";
        self.connection
            .prepare_cached(sql)?
            .execute(params![digest.0, bytes.cast_signed(), standing as u8, now_ms])?;
        Ok(())
    }

    pub fn add_content_piece(&mut self, digest: Hash, place: u64, bytes: &[u8]) -> Result<(), TxError> {
        let sql = "INSERT INTO content_pieces VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.connection
            .prepare_cached(sql)?
            .execute(params![digest.0, place.cast_signed(), bytes])?;
        Ok(())
    }

    /// Drops some pieces of a content. False when none were left.
    pub fn drop_content_pieces(&mut self, digest: Hash, at_most: u32) -> Result<bool, TxError> {
        let sql = "DELETE FROM content_pieces WHERE rowid IN
                   (SELECT rowid FROM content_pieces WHERE digest = ?1 LIMIT ?2)";
        let dropped = self
            .connection
            .prepare_cached(sql)?
            .execute(params![digest.0, at_most])?;
        Ok(dropped > 0)
    }

    pub fn forget_content(&mut self, digest: Hash) -> Result<(), TxError> {
        self.connection
            .prepare_cached("DELETE FROM contents WHERE digest = ?1")?
            .execute([digest.0])?;
        Ok(())
    }
}
