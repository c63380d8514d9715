-- HL7 messages that came in at the hub, with what was answered. A message is named by the SHA-256 of its sender, its
-- control id and its content.
CREATE TABLE messages (
    org BYTEA NOT NULL,
    message BYTEA NOT NULL,
    received_ms BIGINT NOT NULL,
    peer TEXT NOT NULL,
    kind TEXT NOT NULL,
    event TEXT NOT NULL,
    -- 0 taken, 1 of a type that is not taken, 2 not readable, 3 somebody has to look.
    outcome BIGINT NOT NULL,
    note TEXT,
    record BYTEA,
    -- Both sealed.
    ack BYTEA NOT NULL,
    original BYTEA NOT NULL,
    PRIMARY KEY (org, message)
);
CREATE INDEX messages_in_order ON messages (org, received_ms, message);
CREATE INDEX messages_by_outcome ON messages (org, outcome, received_ms, message);
