-- The lives of the store. A new one begins when it is found to have gone back to an older copy.
CREATE TABLE epochs (
    org BYTEA NOT NULL,
    number BIGINT NOT NULL,
    epoch BYTEA NOT NULL,
    hub_replica BYTEA NOT NULL,
    -- 0 founded, 1 behind the mark that is kept outside, 2 shown by an agent.
    cause BIGINT NOT NULL,
    begun_ms BIGINT NOT NULL,
    PRIMARY KEY (org, number)
);
INSERT INTO epochs (org, number, epoch, hub_replica, cause, begun_ms)
    SELECT org, 1, epoch, hub_replica, 0, founded_ms FROM organisations;

-- Grows with every commit of clinical content; a mark of it is kept outside the store.
ALTER TABLE organisations ADD COLUMN commits BIGINT NOT NULL DEFAULT 0;
-- What was committed up to this time is in a backup that was confirmed; 0 where none ever was.
ALTER TABLE organisations ADD COLUMN backup_ms BIGINT NOT NULL DEFAULT 0;
-- When it was last worked out how far each chain is held for good.
ALTER TABLE organisations ADD COLUMN settled_ms BIGINT NOT NULL DEFAULT 0;

-- The epoch in which the incarnation was first seen; how far every later life of the store has the same chain; how far it is
-- held for good.
ALTER TABLE chains ADD COLUMN epoch BYTEA;
ALTER TABLE chains ADD COLUMN common BIGINT NOT NULL DEFAULT 0;
ALTER TABLE chains ADD COLUMN stable BIGINT NOT NULL DEFAULT 0;
UPDATE chains SET epoch = (SELECT epoch FROM organisations WHERE organisations.org = chains.org);

-- Of the state as it stands; absent where it was written by a version that did not sign.
ALTER TABLE states ADD COLUMN signature BYTEA;

-- Changes that are known from returned states alone, and the dots that they go under.
CREATE TABLE adopted (
    org BYTEA NOT NULL,
    change_id BYTEA NOT NULL,
    replica BYTEA NOT NULL,
    counter BIGINT NOT NULL,
    record BYTEA NOT NULL,
    PRIMARY KEY (org, change_id)
);
CREATE INDEX adopted_by_dot ON adopted (org, replica, counter);
