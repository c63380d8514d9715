-- The hub's clock at the beginning of a writer's monotonic time, as the writer estimated it: one for each of its starts.
CREATE TABLE boots (
    org BYTEA NOT NULL,
    boot BYTEA NOT NULL,
    zero_ms BIGINT NOT NULL,
    PRIMARY KEY (org, boot)
);
