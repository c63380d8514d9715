-- The public half of the key that an agent signs its requests with; absent for one that was enrolled before there was any.
ALTER TABLE enrolments ADD COLUMN request_key BYTEA;
-- The certificate before the newest: whoever lost the reply to a renewal still shows it.
ALTER TABLE enrolments ADD COLUMN certificate_before BYTEA;
-- What the agent said of itself at its last handshake.
ALTER TABLE enrolments ADD COLUMN program TEXT;
ALTER TABLE enrolments ADD COLUMN protocol BIGINT;
ALTER TABLE enrolments ADD COLUMN features TEXT;
ALTER TABLE enrolments ADD COLUMN greeted_ms BIGINT;

-- The newest request of each agent that was committed, channel by channel: none comes twice.
CREATE TABLE request_numbers (
    org BYTEA NOT NULL,
    agent BYTEA NOT NULL,
    channel BIGINT NOT NULL,
    newest BIGINT NOT NULL,
    PRIMARY KEY (org, agent, channel)
);

-- Whether a proxy may inspect the site's line; absent means no.
ALTER TABLE sites ADD COLUMN inspection BIGINT;
