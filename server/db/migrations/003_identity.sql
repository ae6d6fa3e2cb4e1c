-- Who may sign in, who has failed to, and whom a patient may write to.

-- App passwords, made by us with 160 random bits. `hash` is an HMAC under an edge secret, and the look-up begins with it:
-- an unknown address and a wrong password then miss in the same place. `proof` binds the hash to its owner under the
-- same secret, so that who can write to the database alone cannot hang a known password on another mailbox.
CREATE TABLE credential (
    owner_id      bigint NOT NULL CONSTRAINT credential_owner REFERENCES owner,
    credential_id bigint GENERATED ALWAYS AS IDENTITY,
    hash          bytea NOT NULL CONSTRAINT credential_hash_length CHECK (octet_length(hash) = 32),
    proof         bytea NOT NULL,
    label         text NOT NULL,            -- what its owner calls it: "logiciel du cabinet"
    created_at    timestamptz NOT NULL,
    used_on       date,                     -- the day of its last use: one write a day, not one a sign-in
    revoked_at    timestamptz,
    PRIMARY KEY (owner_id, credential_id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX credential_hash ON credential (hash);

-- Failed sign-ins of a while, by keyed hash of network, and of network with account. There is no row for an account
-- alone: whoever knows a doctor's address could lock the doctor out with it. Lost in a crash, which only forgives.
CREATE UNLOGGED TABLE sign_in_failure (
    bucket   bytea PRIMARY KEY,
    failures integer NOT NULL,
    since    timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX sign_in_failure_since ON sign_in_failure (since);

-- A patient's correspondents: opened when a professional writes to the patient, who may write only to an open one
-- (référentiel MSSanté: the patient never writes first). `token` is the correspondent's, as in address; it may be an
-- address of another operator.
CREATE TABLE contact (
    owner_id  bigint NOT NULL CONSTRAINT contact_owner REFERENCES owner,
    token     bytea NOT NULL CONSTRAINT contact_token CHECK (octet_length(token) = 32),
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    PRIMARY KEY (owner_id, token)
);

GRANT SELECT ON credential TO caducee_edge, caducee_reader;
GRANT UPDATE (used_on) ON credential TO caducee_edge, caducee_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_failure TO caducee_edge, caducee_reader;
GRANT SELECT, INSERT ON contact TO caducee_edge, caducee_jobs;
GRANT SELECT ON contact TO caducee_reader;
GRANT UPDATE (closed_at) ON contact TO caducee_web;
