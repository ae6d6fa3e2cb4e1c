-- Local accounts of patients: how they prove who they are without a provider; and the devices of everybody.

-- A provisional code by which the holder of a mailbox that was made for them takes it: one at a time, a new one takes
-- the place of the old. `code_id` is the part of the code that finds it among tries at this mailbox; `hash` binds the
-- rest of the code, mailbox and end under an edge secret.
CREATE TABLE invitation (
    owner_id   bigint PRIMARY KEY CONSTRAINT invitation_owner REFERENCES owner,
    code_id    text NOT NULL,
    hash       bytea NOT NULL CONSTRAINT invitation_hash CHECK (octet_length(hash) = 32),
    tries      smallint NOT NULL DEFAULT 0,
    made_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Password (as argon2id) and secret of the one-time codes, sealed together under an edge secret and bound to the owner:
-- who can write to the database alone cannot make a pair that opens. `step` is the last one-time code that was taken.
CREATE TABLE local_password (
    owner_id bigint PRIMARY KEY CONSTRAINT local_password_owner REFERENCES owner,
    sealed   bytea NOT NULL,
    step     bigint NOT NULL DEFAULT 0,
    set_at   timestamptz NOT NULL,
    used_on  date
) WITH (fillfactor = 70);

-- Codes for who lost the telephone: each is used once, its row goes then. The hash is keyed and bound to the owner.
CREATE TABLE recovery_code (
    owner_id bigint NOT NULL CONSTRAINT recovery_code_owner REFERENCES owner,
    hash     bytea NOT NULL CONSTRAINT recovery_code_hash CHECK (octet_length(hash) = 32),
    PRIMARY KEY (owner_id, hash)
);

-- Passkeys: found by a keyed token of the credential's id; public key and the name that the holder gave it are sealed
-- under an edge secret and bound to owner and token. `counter` is the authenticator's last (0: it counts nothing).
CREATE TABLE passkey (
    owner_id   bigint NOT NULL CONSTRAINT passkey_owner REFERENCES owner,
    passkey_id bigint GENERATED ALWAYS AS IDENTITY,
    token      bytea NOT NULL CONSTRAINT passkey_token_length CHECK (octet_length(token) = 32),
    sealed     bytea NOT NULL,
    counter    bigint NOT NULL,
    created_at timestamptz NOT NULL,
    used_on    date,
    doubted_at timestamptz,                 -- its counter went back: there may be a copy of it, and it opens nothing
    PRIMARY KEY (owner_id, passkey_id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX passkey_token ON passkey (token);

-- Browsers that signed in to a mailbox: the keyed hash of their cookie with the owner. What kind, and from where it came
-- last, is sealed under an edge secret.
CREATE TABLE known_device (
    owner_id  bigint NOT NULL CONSTRAINT known_device_owner REFERENCES owner,
    device_id bigint GENERATED ALWAYS AS IDENTITY,
    hash      bytea NOT NULL CONSTRAINT known_device_hash_length CHECK (octet_length(hash) = 32),
    sealed    bytea NOT NULL,
    first_at  timestamptz NOT NULL,
    used_at   timestamptz NOT NULL,
    PRIMARY KEY (owner_id, device_id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX known_device_hash ON known_device (hash);

-- What the holder of a mailbox is to be told by a message into it; told ones stay for the hour in which no more is told.
CREATE TABLE holder_alert (
    owner_id bigint NOT NULL CONSTRAINT holder_alert_owner REFERENCES owner,
    alert_id bigint GENERATED ALWAYS AS IDENTITY,
    sealed   bytea NOT NULL,
    at       timestamptz NOT NULL,
    told_at  timestamptz,
    PRIMARY KEY (owner_id, alert_id)
);

-- Whether the first use of an app password is told: of those that were made in the pages, where somebody else may have sat.
ALTER TABLE credential ADD COLUMN tells boolean NOT NULL DEFAULT false;

GRANT SELECT, INSERT, UPDATE, DELETE ON invitation, local_password, passkey, recovery_code, known_device TO caducee_web;
GRANT SELECT (expires_at), DELETE ON invitation TO caducee_jobs;
GRANT INSERT ON holder_alert TO caducee_edge, caducee_reader, caducee_ldap;
GRANT SELECT, UPDATE (told_at), DELETE ON holder_alert TO caducee_jobs;
-- Holders manage from the pages what the command line manages.
GRANT INSERT, UPDATE (revoked_at) ON credential TO caducee_web;
GRANT INSERT, UPDATE (rights, until, granted_at, proof), DELETE ON delegation TO caducee_web;
-- A patient binds their account at a provider to the own mailbox.
GRANT INSERT ON holder TO caducee_web;
