-- Which process works on what.
CREATE TABLE leases (
    org BYTEA NOT NULL,
    name BYTEA NOT NULL,
    owner BYTEA NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (org, name)
);

-- Rows to be locked in the place of what they name; nothing is read from them.
CREATE TABLE locks (
    org BYTEA NOT NULL,
    name BYTEA NOT NULL,
    PRIMARY KEY (org, name)
);

ALTER TABLE organisations ADD COLUMN founded_ms BIGINT NOT NULL DEFAULT 0;

-- The time of the replica's last change, where the hub itself goes on from it.
ALTER TABLE chains ADD COLUMN at_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE chains ADD COLUMN at_logical BIGINT NOT NULL DEFAULT 0;

-- What was in clear up to here waits under another name until it is sealed.
ALTER TABLE changes RENAME TO changes_in_clear;
DROP INDEX changes_by_id;
DROP INDEX changes_by_record;
DROP INDEX changes_set_aside;
CREATE TABLE changes (
    org BYTEA NOT NULL,
    replica BYTEA NOT NULL,
    counter BIGINT NOT NULL,
    -- Both absent when not even the header could be read.
    change_id BYTEA,
    record BYTEA,
    -- Header, salt and payload, sealed as one.
    sealed BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    -- 0 applied, 1 set aside, 2 known already under another dot.
    standing BIGINT NOT NULL,
    reason BIGINT,
    -- 1 for the dot under which the change id was first kept, else 0.
    first_dot BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (org, replica, counter)
);
CREATE UNIQUE INDEX changes_by_id ON changes (org, change_id) WHERE first_dot = 1;
CREATE INDEX changes_by_record ON changes (org, record);
CREATE INDEX changes_set_aside ON changes (org, replica, counter) WHERE standing = 1;

ALTER TABLE terms RENAME TO terms_in_clear;
DROP INDEX terms_of_record;
-- A term is a keyed digest: of the whole word, or of a beginning of it.
CREATE TABLE terms (
    org BYTEA NOT NULL,
    term BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (org, term, kind, record)
);
CREATE INDEX terms_of_record ON terms (org, record);
