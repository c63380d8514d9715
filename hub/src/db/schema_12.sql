-- Snapshots of lanes for sites that are new or far behind. Their chunks lie among the contents (blobs).
CREATE TABLE snapshots (
    org BYTEA NOT NULL,
    snapshot BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    lane BIGINT NOT NULL,
    epoch BYTEA NOT NULL,
    generation BIGINT NOT NULL,
    from_sequence BIGINT NOT NULL,
    -- The lane's head when it was asked for; once it is whole, the last sequence of its last chunk.
    to_sequence BIGINT NOT NULL,
    is_whole BIGINT NOT NULL,
    asked_ms BIGINT NOT NULL,
    PRIMARY KEY (org, snapshot)
);
CREATE INDEX snapshots_of_lane ON snapshots (org, scope, lane, is_whole);
CREATE INDEX snapshots_to_make ON snapshots (org, is_whole, asked_ms);

CREATE TABLE snapshot_chunks (
    org BYTEA NOT NULL,
    snapshot BYTEA NOT NULL,
    chunk BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    bytes BIGINT NOT NULL,
    feed_rows BIGINT NOT NULL,
    to_sequence BIGINT NOT NULL,
    PRIMARY KEY (org, snapshot, chunk)
);
CREATE INDEX snapshot_chunks_by_digest ON snapshot_chunks (org, digest);
