-- Which process works on what.
CREATE TABLE leases (
    org BYTEA NOT NULL,
    name BYTEA NOT NULL,
    owner BYTEA NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (org, name)
);
