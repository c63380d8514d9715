CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    replica BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    counter INTEGER NOT NULL,
    hash BLOB NOT NULL,
    accepted INTEGER NOT NULL,
    clock_wall_ms INTEGER NOT NULL,
    clock_logical INTEGER NOT NULL
);

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE own_changes (
    id INTEGER PRIMARY KEY,
    change BLOB NOT NULL UNIQUE,
    replica BLOB NOT NULL,
    counter INTEGER NOT NULL,
    record BLOB NOT NULL,
    header BLOB NOT NULL,
    salt BLOB NOT NULL,
    payload BLOB NOT NULL,
    hash BLOB NOT NULL,
    pending INTEGER NOT NULL,
    quarantine INTEGER,
    UNIQUE (replica, counter)
);

CREATE INDEX own_changes_pending ON own_changes (record, id) WHERE pending = 1;

CREATE INDEX own_changes_quarantined ON own_changes (id) WHERE quarantine IS NOT NULL;

CREATE TABLE records (
    record BLOB PRIMARY KEY,
    kind INTEGER NOT NULL,
    order_ms INTEGER NOT NULL,
    scope BLOB,
    lane INTEGER,
    sequence INTEGER,
    base BLOB,
    shown BLOB NOT NULL
);

CREATE INDEX records_of_kind ON records (kind, order_ms, record);

CREATE TABLE links (
    target BLOB NOT NULL,
    kind INTEGER NOT NULL,
    field INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (target, kind, field, record)
) WITHOUT ROWID;

CREATE INDEX links_of_record ON links (record);

CREATE TABLE terms (
    kind INTEGER NOT NULL,
    term TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (kind, term, record)
) WITHOUT ROWID;

CREATE INDEX terms_of_record ON terms (record);

CREATE TABLE facets (
    facet INTEGER NOT NULL,
    order_ms INTEGER NOT NULL,
    record BLOB NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (facet, order_ms, record)
) WITHOUT ROWID;

CREATE INDEX facets_of_record ON facets (record);

CREATE TABLE cursors (
    scope BLOB NOT NULL,
    lane INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (scope, lane)
) WITHOUT ROWID;

CREATE TABLE buckets (
    scope BLOB NOT NULL,
    lane INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    sum BLOB NOT NULL,
    PRIMARY KEY (scope, lane, bucket)
) WITHOUT ROWID;

CREATE TABLE blobs (
    digest BLOB PRIMARY KEY,
    media TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    bytes BLOB NOT NULL
);

CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    peer TEXT NOT NULL,
    application TEXT NOT NULL,
    facility TEXT NOT NULL,
    control TEXT NOT NULL,
    digest BLOB NOT NULL,
    type TEXT NOT NULL,
    trigger TEXT NOT NULL,
    outcome INTEGER NOT NULL,
    ack BLOB NOT NULL,
    error TEXT,
    record BLOB,
    UNIQUE (application, facility, control, digest)
);

CREATE INDEX messages_by_outcome ON messages (outcome, id);

CREATE TABLE source_values (
    source TEXT NOT NULL,
    record BLOB NOT NULL,
    field INTEGER NOT NULL,
    change BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (source, record, field)
) WITHOUT ROWID;

CREATE TABLE requests (
    request BLOB PRIMARY KEY,
    answered_ms INTEGER NOT NULL,
    outcome BLOB NOT NULL
);

CREATE INDEX requests_by_age ON requests (answered_ms);

CREATE TABLE sign_ins (
    token_hash BLOB PRIMARY KEY,
    staff BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
);

CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_ms);
