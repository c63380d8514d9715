//! Snapshots of lanes: what was asked for, what is made of it, and the chunks among the contents. A chunk is given only to a
//! site that may pull the lane it is of, and goes with the last snapshot that names it.

use sync_protocol::hub::{self, ChainHead, HubError, HubLedger, Packed, SnapshotOf};
use sync_protocol::wire::{ChunkNote, Cursor, Manifest, SignedManifest, SnapshotRequest};
use sync_protocol::{Hash, Lane, Signature};

use super::sql::{Row, values};
use super::*;

/// One snapshot as it stands in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub id: [u8; 16],
    pub of: SnapshotOf,
    /// It begins after this sequence.
    pub from: u64,
    pub is_whole: bool,
    /// How far its chunks go.
    pub made_to: u64,
    pub chunks: u64,
}

/// What there is for a replica that asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stands {
    Whole(Snapshot),
    BeingMade,
    /// Nobody has asked for it, and rows wait.
    Missing,
    /// The cursor is at the head.
    NothingWaits,
}

impl Txn<'_> {
    /// Whether the asker may have the lane's snapshot, and its chain as this store has it.
    pub fn admit_snapshot(&mut self, site: ScopeId, request: &SnapshotRequest) -> Result<ChainHead, HubError<DbError>> {
        let shared = [self.organisation.scope()];
        hub::admit_snapshot(self, site, &shared, request)
    }

    /// What stands of a snapshot that follows a cursor and was asked for after a time.
    pub fn snapshot_after(&mut self, cursor: &Cursor, since_ms: u64) -> Result<Stands, DbError> {
        let (head, generation) = self.feed_head(cursor.scope, cursor.lane)?;
        if generation != cursor.generation || head <= cursor.sequence {
            return Ok(Stands::NothingWaits);
        }
        let (epoch, _) = self.present()?;
        let row = self.sql.row(
            "SELECT snapshot, scope, lane, generation, from_sequence, to_sequence, is_whole FROM snapshots \
             WHERE org = ?1 AND scope = ?2 AND lane = ?3 AND epoch = ?4 AND generation = ?5 AND from_sequence <= ?6 \
             AND to_sequence > ?6 AND asked_ms >= ?7 ORDER BY is_whole DESC, to_sequence DESC LIMIT 1",
            values![
                self.org,
                cursor.scope.0,
                cursor.lane as i64,
                epoch.0,
                cursor.generation,
                cursor.sequence,
                since_ms
            ],
        )?;
        let Some(row) = row else {
            return Ok(Stands::Missing);
        };
        let snapshot = self.snapshot_of(&row)?;
        Ok(if snapshot.is_whole {
            Stands::Whole(snapshot)
        } else {
            Stands::BeingMade
        })
    }

    fn snapshot_of(&mut self, row: &Row) -> Result<Snapshot, DbError> {
        let id: [u8; 16] = row.get(0)?;
        let from = row.get(4)?;
        let last = self.sql.row(
            "SELECT chunk, to_sequence FROM snapshot_chunks WHERE org = ?1 AND snapshot = ?2 ORDER BY chunk DESC LIMIT 1",
            values![self.org, id],
        )?;
        let (chunks, made_to) = match last {
            Some(last) => (last.get::<u64>(0)? + 1, last.get(1)?),
            None => (0, from),
        };
        Ok(Snapshot {
            id,
            of: SnapshotOf {
                scope: ScopeId(row.get(1)?),
                lane: Lane::from_number(row.get(2)?).ok_or(DbError::Damaged { what: "a lane" })?,
                generation: row.get(3)?,
                to: row.get(5)?,
            },
            from,
            is_whole: row.get::<i64>(6)? == 1,
            made_to,
            chunks,
        })
    }

    /// Asks for a snapshot of what follows a cursor, unless another process has meanwhile.
    pub fn ask_for_snapshot(&mut self, cursor: &Cursor, since_ms: u64) -> Result<(), DbError> {
        self.lock(&[cursor.scope.0])?;
        if self.snapshot_after(cursor, since_ms)? != Stands::Missing {
            return Ok(());
        }
        let (to, _) = self.feed_head(cursor.scope, cursor.lane)?;
        let (epoch, _) = self.present()?;
        self.sql.run(
            "INSERT INTO snapshots (org, snapshot, scope, lane, epoch, generation, from_sequence, to_sequence, is_whole, \
             asked_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9)",
            values![
                self.org,
                random()?,
                cursor.scope.0,
                cursor.lane as i64,
                epoch.0,
                cursor.generation,
                cursor.sequence,
                to,
                self.now_ms
            ],
        )?;
        Ok(())
    }

    /// The snapshot that was asked for first and is not whole.
    pub fn snapshot_to_make(&mut self) -> Result<Option<Snapshot>, DbError> {
        let row = self.sql.row(
            "SELECT snapshot, scope, lane, generation, from_sequence, to_sequence, is_whole FROM snapshots \
             WHERE org = ?1 AND is_whole = 0 ORDER BY asked_ms, snapshot LIMIT 1",
            values![self.org],
        )?;
        row.map(|row| self.snapshot_of(&row)).transpose()
    }

    /// Keeps the next chunk of a snapshot.
    pub fn add_snapshot_chunk(&mut self, snapshot: &Snapshot, packed: &Packed) -> Result<(), DbError> {
        let Packed { chunk, bytes } = packed;
        let digest = self.put_blob(bytes)?;
        self.sql.run(
            "INSERT INTO snapshot_chunks (org, snapshot, chunk, digest, bytes, feed_rows, to_sequence) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            values![
                self.org,
                snapshot.id,
                snapshot.chunks,
                digest,
                bytes.len(),
                chunk.rows.len(),
                chunk.to
            ],
        )?;
        Ok(())
    }

    pub fn finish_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), DbError> {
        self.sql.run(
            "UPDATE snapshots SET is_whole = 1, to_sequence = ?3 WHERE org = ?1 AND snapshot = ?2",
            values![self.org, snapshot.id, snapshot.made_to],
        )?;
        Ok(())
    }

    /// The list of a whole snapshot's chunks, signed.
    pub fn signed_manifest(&mut self, snapshot: &Snapshot) -> Result<SignedManifest, DbError> {
        let rows = self.sql.rows(
            "SELECT digest, bytes, feed_rows, to_sequence FROM snapshot_chunks WHERE org = ?1 AND snapshot = ?2 \
             ORDER BY chunk",
            values![self.org, snapshot.id],
        )?;
        let note = |row: &Row| {
            Ok(ChunkNote {
                digest: Hash(row.get(0)?),
                bytes: row.get(1)?,
                rows: row.get(2)?,
                to: row.get(3)?,
            })
        };
        let (epoch, _) = self.present()?;
        let manifest = Manifest {
            epoch,
            scope: snapshot.of.scope,
            lane: snapshot.of.lane,
            generation: snapshot.of.generation,
            from: snapshot.from,
            chunks: rows.iter().map(note).collect::<Result<_, DbError>>()?,
        };
        let mut signed = SignedManifest {
            bytes: manifest.encode(),
            signature: Signature([0; 64]),
        };
        signed.signature = Signature(self.keys.sign(&signed.said()));
        Ok(signed)
    }

    /// A chunk, if a snapshot of one of these scopes names it.
    pub fn snapshot_chunk(&mut self, digest: [u8; 32], scopes: &[ScopeId]) -> Result<Option<Vec<u8>>, DbError> {
        let rows = self.sql.rows(
            "SELECT DISTINCT snapshots.scope, snapshot_chunks.bytes FROM snapshot_chunks JOIN snapshots \
             ON snapshots.org = snapshot_chunks.org AND snapshots.snapshot = snapshot_chunks.snapshot \
             WHERE snapshot_chunks.org = ?1 AND snapshot_chunks.digest = ?2",
            values![self.org, digest],
        )?;
        for row in &rows {
            if scopes.contains(&ScopeId(row.get(0)?)) {
                return Ok(Some(self.blob_part(digest, 0, row.get(1)?)?));
            }
        }
        Ok(None)
    }

    /// A snapshot that was asked for before a time.
    pub fn snapshot_to_drop(&mut self, before_ms: u64) -> Result<Option<[u8; 16]>, DbError> {
        let row = self.sql.row(
            "SELECT snapshot FROM snapshots WHERE org = ?1 AND asked_ms < ?2 ORDER BY asked_ms LIMIT 1",
            values![self.org, before_ms],
        )?;
        row.map(|row| row.get(0)).transpose()
    }

    /// Drops some chunks of a snapshot, and the snapshot with the last of them. True when it is gone.
    pub fn drop_snapshot(&mut self, id: [u8; 16], at_once: u64) -> Result<bool, DbError> {
        let rows = self.sql.rows(
            "SELECT chunk, digest FROM snapshot_chunks WHERE org = ?1 AND snapshot = ?2 ORDER BY chunk LIMIT ?3",
            values![self.org, id, at_once],
        )?;
        for row in &rows {
            let (number, digest): (u64, [u8; 32]) = (row.get(0)?, row.get(1)?);
            self.sql.run(
                "DELETE FROM snapshot_chunks WHERE org = ?1 AND snapshot = ?2 AND chunk = ?3",
                values![self.org, id, number],
            )?;
            let named = self.sql.row(
                "SELECT 1 FROM snapshot_chunks WHERE org = ?1 AND digest = ?2",
                values![self.org, digest],
            )?;
            if named.is_none() {
                self.drop_blob(digest)?;
            }
        }
        let is_empty = (rows.len() as u64) < at_once;
        if is_empty {
            self.sql.run(
                "DELETE FROM snapshots WHERE org = ?1 AND snapshot = ?2",
                values![self.org, id],
            )?;
        }
        Ok(is_empty)
    }
}
