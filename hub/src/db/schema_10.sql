-- When the rows of each lane were last compared with the sums kept of them, and what was found.
CREATE TABLE proof_checks (
    org BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    lane BIGINT NOT NULL,
    checked_ms BIGINT NOT NULL,
    -- When something was last found wrong; absent if never.
    found_ms BIGINT,
    -- Sums that were not those of their rows, at that time.
    miscounted BIGINT NOT NULL,
    -- Records whose state cannot be read, at the last look.
    unreadable BIGINT NOT NULL,
    PRIMARY KEY (org, scope, lane)
);
