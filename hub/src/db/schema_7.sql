-- Who may use the console.
CREATE TABLE admins (
    org BYTEA NOT NULL,
    admin BYTEA NOT NULL,
    login TEXT NOT NULL,
    name TEXT NOT NULL,
    -- 'admin' or 'viewer'.
    role TEXT NOT NULL,
    -- Argon2id, as a PHC string.
    credential TEXT NOT NULL,
    -- The secret of the second factor (RFC 6238), sealed.
    factor BYTEA NOT NULL,
    -- The last time step whose code was taken: a code is good once.
    step_taken BIGINT NOT NULL,
    added_ms BIGINT NOT NULL,
    signed_in_ms BIGINT,
    ended_ms BIGINT,
    PRIMARY KEY (org, admin)
);
CREATE UNIQUE INDEX admins_by_login ON admins (org, login);

CREATE TABLE admin_sign_ins (
    org BYTEA NOT NULL,
    -- Only the browser has the token; this is its digest.
    token_hash BYTEA NOT NULL,
    admin BYTEA NOT NULL,
    begun_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    PRIMARY KEY (org, token_hash)
);
CREATE INDEX admin_sign_ins_by_admin ON admin_sign_ins (org, admin);

-- Wrong tries in a row, by the digest of the login or of the address they came from.
CREATE TABLE admin_tries (
    org BYTEA NOT NULL,
    who BYTEA NOT NULL,
    wrong BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (org, who)
);

-- When the agent's newest certificate was made; absent means with its enrolment.
ALTER TABLE enrolments ADD COLUMN certified_ms BIGINT;
