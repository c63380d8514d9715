-- What sources outside last said of each field: the change by which they said it, and the value.
CREATE TABLE source_values (
    org BYTEA NOT NULL,
    source TEXT NOT NULL,
    record BYTEA NOT NULL,
    field BIGINT NOT NULL,
    change_id BYTEA NOT NULL,
    value BYTEA NOT NULL,
    PRIMARY KEY (org, source, record, field)
);

-- How far each feed of the EHR was read.
CREATE TABLE inbound_feeds (
    org BYTEA NOT NULL,
    feed TEXT NOT NULL,
    -- By the EHR's clock.
    since_ms BIGINT,
    -- 1 once it was read to its end.
    filled BIGINT NOT NULL,
    polled_ms BIGINT,
    problem TEXT,
    taken BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    broken BIGINT NOT NULL,
    PRIMARY KEY (org, feed)
);

-- What of the EHR was seen: a keyed hash of kind and id, the digest of the content, the record that it is here.
CREATE TABLE inbound_seen (
    org BYTEA NOT NULL,
    resource BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    record BYTEA,
    PRIMARY KEY (org, resource)
);

-- What names somebody or something that is not known here yet.
CREATE TABLE inbound_waiting (
    org BYTEA NOT NULL,
    resource BYTEA NOT NULL,
    wants BIGINT NOT NULL,
    content BYTEA NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (org, resource)
);
CREATE INDEX inbound_waiting_by_wants ON inbound_waiting (org, wants);
