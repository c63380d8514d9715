CREATE TABLE lane_watches (
    scope BLOB NOT NULL,
    lane INTEGER NOT NULL,
    epoch BLOB NOT NULL,
    filled INTEGER NOT NULL,
    passed INTEGER NOT NULL,
    scanned INTEGER,
    altered INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    held INTEGER NOT NULL,
    frozen INTEGER NOT NULL,
    PRIMARY KEY (scope, lane)
) WITHOUT ROWID;
-- What was followed before was filled before.
INSERT INTO lane_watches SELECT c.scope, c.lane, i.epoch, c.sequence > 0, 0, NULL, 0, 0, 0, 0 FROM cursors c, identity i;
CREATE INDEX records_of_lane ON records (scope, lane) WHERE scope IS NOT NULL;
