-- Contents too large for a change, named by their SHA-256, and what came of the files of reference data.

CREATE TABLE blobs (
    org BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    bytes BIGINT NOT NULL,
    added_ms BIGINT NOT NULL,
    PRIMARY KEY (org, digest)
);

CREATE TABLE blob_pieces (
    org BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    piece BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (org, digest, piece)
);

-- What came of the last file of each set.
CREATE TABLE reference_files (
    org BYTEA NOT NULL,
    name TEXT NOT NULL,
    file TEXT NOT NULL,
    digest BYTEA NOT NULL,
    at_ms BIGINT NOT NULL,
    -- When a file of the set was last taken; absent if none ever was.
    taken_ms BIGINT,
    -- Why this one was not taken, as JSON; absent when it was.
    refused TEXT,
    PRIMARY KEY (org, name)
);
