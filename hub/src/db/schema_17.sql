-- Of each patient the index holds dozens of words. Their table is one tree now, in the order in which it is asked; what it
-- holds of a record, which was a tree of its own, stands with the record's state.

DROP INDEX terms_of_record;
ALTER TABLE terms RENAME TO terms_before;
CREATE TABLE terms (
    org BYTEA NOT NULL,
    term BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (org, term, kind, record)
) WITHOUT ROWID;
INSERT INTO terms (org, term, kind, record)
    SELECT org, term, kind, record FROM terms_before ORDER BY org, term, kind, record;
DROP TABLE terms_before;

DROP INDEX links_of_record;
ALTER TABLE links RENAME TO links_before;
CREATE TABLE links (
    org BYTEA NOT NULL,
    target BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    field BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (org, target, kind, field, record)
) WITHOUT ROWID;
INSERT INTO links (org, target, kind, field, record)
    SELECT org, target, kind, field, record FROM links_before ORDER BY org, target, kind, field, record;
DROP TABLE links_before;
CREATE INDEX links_of_record ON links (org, record);

ALTER TABLE facets RENAME TO facets_before;
DROP INDEX facets_in_order;
CREATE TABLE facets (
    org BYTEA NOT NULL,
    facet BIGINT NOT NULL,
    record BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    order_ms BIGINT NOT NULL,
    PRIMARY KEY (org, record, facet)
) WITHOUT ROWID;
INSERT INTO facets (org, facet, record, kind, order_ms)
    SELECT org, facet, record, kind, order_ms FROM facets_before ORDER BY org, record, facet;
DROP TABLE facets_before;
CREATE INDEX facets_in_order ON facets (org, facet, order_ms, record);
