-- Agents of which a request came whose number they had used before: it was sent again, or their key is in use elsewhere.
CREATE TABLE reused_numbers (
    org BYTEA NOT NULL,
    agent BYTEA NOT NULL,
    times BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (org, agent)
);

-- When the agent last went on as a new incarnation.
ALTER TABLE enrolments ADD COLUMN incarnated_ms BIGINT;
