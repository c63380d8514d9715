-- How a record stands in a scope: 0 live, 1 offered to be forgotten, 2 gone.
ALTER TABLE feed ADD COLUMN standing BIGINT NOT NULL DEFAULT 0;

-- Which patients which site's scope is to have, by which rule, and from when until when.
CREATE TABLE members (
    org BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    patient BYTEA NOT NULL,
    rule BIGINT NOT NULL,
    from_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    -- 0 to come, 1 in the scope, 2 kept out by the site's cap.
    standing BIGINT NOT NULL,
    PRIMARY KEY (org, scope, patient)
);
CREATE INDEX members_of_patient ON members (org, patient);
CREATE INDEX members_to_come ON members (org, from_ms) WHERE standing = 0;
CREATE INDEX members_to_leave ON members (org, until_ms);
CREATE INDEX members_by_standing ON members (org, scope, standing, rule);

-- The scope policy in force, and how far the patients were gone through since it is.
CREATE TABLE scope_policies (
    org BYTEA NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    schedule_days BIGINT NOT NULL,
    recent_days BIGINT NOT NULL,
    region_index BIGINT NOT NULL,
    patients_max BIGINT NOT NULL,
    swept_after BYTEA NOT NULL,
    swept BIGINT NOT NULL
);
