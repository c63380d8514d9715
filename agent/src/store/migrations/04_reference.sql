CREATE TABLE contents (
    digest BLOB PRIMARY KEY,
    bytes INTEGER NOT NULL,
    standing INTEGER NOT NULL,
    tried_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE content_pieces (
    digest BLOB NOT NULL,
    place INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (digest, place)
);

CREATE TABLE code_sets (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    version TEXT NOT NULL,
    standing INTEGER NOT NULL,
    UNIQUE (name, digest)
);

CREATE TABLE codes (
    id INTEGER PRIMARY KEY,
    code_set INTEGER NOT NULL,
    standing INTEGER NOT NULL,
    key TEXT NOT NULL,
    code TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX codes_by_key ON codes (code_set, standing, key);

CREATE VIRTUAL TABLE code_words USING fts5 (
    words,
    content = '',
    contentless_delete = 1,
    detail = 'none',
    prefix = '1 2 3 4 5 6',
    tokenize = 'unicode61 remove_diacritics 2'
);

INSERT INTO code_words (code_words, rank) VALUES ('automerge', 0);
INSERT INTO code_words (code_words, rank) VALUES ('crisismerge', 1000);
