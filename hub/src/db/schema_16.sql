-- Ids are random, so every tree that is kept by one costs a page of its own for nearly every row. Those that say the same in
-- another order, or what nobody asks for, go.

-- A record is only ever looked up for what of it is set aside.
DROP INDEX changes_by_record;
CREATE INDEX changes_set_aside_of ON changes (org, record) WHERE standing = 1;

ALTER TABLE facets RENAME TO facets_before;
DROP INDEX facets_in_order;
CREATE TABLE facets (
    org BYTEA NOT NULL,
    facet BIGINT NOT NULL,
    record BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    order_ms BIGINT NOT NULL,
    PRIMARY KEY (org, record, facet)
);
INSERT INTO facets (org, facet, record, kind, order_ms)
    SELECT org, facet, record, kind, order_ms FROM facets_before ORDER BY org, record, facet;
DROP TABLE facets_before;
CREATE INDEX facets_in_order ON facets (org, facet, order_ms, record);

ALTER TABLE members RENAME TO members_before;
DROP INDEX members_to_come;
DROP INDEX members_to_leave;
DROP INDEX members_by_standing;
DROP INDEX members_kept_out;
CREATE TABLE members (
    org BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    patient BYTEA NOT NULL,
    rule BIGINT NOT NULL,
    from_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    -- 0 to come, 1 in the scope, 2 kept out by the site's cap.
    standing BIGINT NOT NULL,
    PRIMARY KEY (org, patient, scope)
);
INSERT INTO members (org, scope, patient, rule, from_ms, until_ms, standing)
    SELECT org, scope, patient, rule, from_ms, until_ms, standing FROM members_before
    ORDER BY org, patient, scope;
DROP TABLE members_before;
CREATE INDEX members_to_come ON members (org, from_ms) WHERE standing = 0;
CREATE INDEX members_to_leave ON members (org, until_ms);
CREATE INDEX members_by_standing ON members (org, scope, standing, rule);
CREATE INDEX members_kept_out ON members (org, scope, rule) WHERE standing = 2;
