-- 1: the hub asks whether the record may go.
ALTER TABLE records ADD COLUMN offered INTEGER NOT NULL DEFAULT 0;

CREATE INDEX records_offered ON records (record) WHERE offered = 1;

-- The messages that wrote a record, so that their originals go with it.
CREATE INDEX messages_of_record ON messages (record) WHERE record IS NOT NULL;
