-- One text for SQLite and for PostgreSQL: BYTEA and BIGINT are types of the one and are taken as they stand by the
-- other. Every key and every unique index starts with the organisation, so that a store can be split by it.

CREATE TABLE organisations (
    org BYTEA NOT NULL PRIMARY KEY,
    epoch BYTEA NOT NULL,
    hub_replica BYTEA NOT NULL,
    proof_key BYTEA NOT NULL,
    -- The catalogue's version when what is set aside was last tried again.
    catalogue BIGINT NOT NULL
);

CREATE TABLE chains (
    org BYTEA NOT NULL,
    replica BYTEA NOT NULL,
    counter BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    PRIMARY KEY (org, replica)
);
CREATE INDEX chains_by_scope ON chains (org, scope);

-- Every change that was ever counted, as its author sent it.
CREATE TABLE changes (
    org BYTEA NOT NULL,
    replica BYTEA NOT NULL,
    counter BIGINT NOT NULL,
    -- Both absent when not even the header could be read.
    change_id BYTEA,
    record BYTEA,
    header BYTEA NOT NULL,
    salt BYTEA NOT NULL,
    payload BYTEA NOT NULL,
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

CREATE TABLE states (
    org BYTEA NOT NULL,
    record BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    state BYTEA NOT NULL,
    PRIMARY KEY (org, record)
);
CREATE INDEX states_by_kind ON states (org, kind);

CREATE TABLE feed (
    org BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    lane BIGINT NOT NULL,
    record BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (org, scope, lane, record)
);
CREATE UNIQUE INDEX feed_in_order ON feed (org, scope, lane, sequence);
CREATE INDEX feed_by_record ON feed (org, record);

CREATE TABLE feed_heads (
    org BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    lane BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (org, scope, lane)
);

CREATE TABLE buckets (
    org BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    lane BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    leaves BYTEA NOT NULL,
    PRIMARY KEY (org, scope, lane, bucket)
);

-- What the clinic's index says of each record's state.
CREATE TABLE links (
    org BYTEA NOT NULL,
    target BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    field BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (org, target, kind, field, record)
);
CREATE INDEX links_of_record ON links (org, record);

-- A term is UTF-8, compared byte by byte on either engine.
CREATE TABLE terms (
    org BYTEA NOT NULL,
    term BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (org, term, kind, record)
);
CREATE INDEX terms_of_record ON terms (org, record);

CREATE TABLE facets (
    org BYTEA NOT NULL,
    facet BIGINT NOT NULL,
    record BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    order_ms BIGINT NOT NULL,
    PRIMARY KEY (org, facet, record)
);
CREATE INDEX facets_in_order ON facets (org, facet, order_ms, record);
CREATE INDEX facets_of_record ON facets (org, record);

CREATE TABLE sites (
    org BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    name TEXT NOT NULL,
    zone TEXT NOT NULL,
    -- 'machine' or 'person': who enters into the EHR what the site sends there.
    ehr TEXT NOT NULL,
    added_ms BIGINT NOT NULL,
    seen_ms BIGINT,
    PRIMARY KEY (org, scope)
);

CREATE TABLE tokens (
    org BYTEA NOT NULL,
    token BYTEA NOT NULL,
    secret_hash BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    expires_ms BIGINT NOT NULL,
    -- The agent enrolled with it, and the digest of that agent's public key.
    agent BYTEA,
    agent_key BYTEA,
    used_ms BIGINT,
    PRIMARY KEY (org, token)
);

CREATE TABLE enrolments (
    org BYTEA NOT NULL,
    agent BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    certificate BYTEA NOT NULL,
    enrolled_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    PRIMARY KEY (org, agent)
);
CREATE INDEX enrolments_by_scope ON enrolments (org, scope);

-- The short series of TEMP numbers of an incarnation; never given to another one.
CREATE TABLE series (
    org BYTEA NOT NULL,
    series BIGINT NOT NULL,
    replica BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    PRIMARY KEY (org, series)
);
CREATE UNIQUE INDEX series_of_replica ON series (org, replica);
