-- What is asked for at every exchange and at every record that leaves, found without walking through all there is.
CREATE INDEX own_changes_settled ON own_changes (record) WHERE pending = 0;
CREATE INDEX own_changes_waiting ON own_changes (replica, counter) WHERE pending = 3;
