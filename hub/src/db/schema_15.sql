-- What waits is found by what it names, so it is read of the EHR once more: what stood here says that only sealed.
DELETE FROM inbound_seen WHERE EXISTS (
    SELECT 1 FROM inbound_waiting WHERE inbound_waiting.org = inbound_seen.org
    AND inbound_waiting.resource = inbound_seen.resource
);
UPDATE inbound_feeds SET since_ms = NULL WHERE feed NOT LIKE '%/_history' AND EXISTS (
    SELECT 1 FROM inbound_waiting WHERE inbound_waiting.org = inbound_feeds.org
);
DROP TABLE inbound_waiting;

CREATE TABLE inbound_waiting (
    org BYTEA NOT NULL,
    resource BYTEA NOT NULL,
    wants BIGINT NOT NULL,
    -- What it names, blinded as in the index of terms.
    named BYTEA NOT NULL,
    content BYTEA NOT NULL,
    since_ms BIGINT NOT NULL,
    -- From when on it is of no use any more.
    until_ms BIGINT,
    PRIMARY KEY (org, resource)
);
CREATE INDEX inbound_waiting_for ON inbound_waiting (org, wants, named);
CREATE INDEX inbound_waiting_until ON inbound_waiting (org, until_ms);
