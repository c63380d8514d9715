-- A new life of the hub's store has begun, and the bases of records above this one are still to be returned.
ALTER TABLE identity ADD COLUMN returning_after BLOB;

-- The hub's signature of the base, which is shown to it again after it was put back to an older copy.
ALTER TABLE records ADD COLUMN signature BLOB;

-- The hub's word for this replica's incarnations, and how much of each the hub of the present epoch holds.
CREATE TABLE acks (
    id INTEGER PRIMARY KEY,
    replica BLOB NOT NULL UNIQUE,
    epoch BLOB NOT NULL,
    counter INTEGER NOT NULL,
    hash BLOB NOT NULL,
    stable INTEGER NOT NULL,
    signature BLOB NOT NULL,
    at_hub INTEGER NOT NULL
);
