-- One identity for a person everywhere: which mailboxes they hold, and for which one they act in a session.

-- Whom an identity provider names, and the mailboxes they hold. The token is keyed, of a national identifier ("8" + RPPS)
-- or of a provider's own name for somebody; `sealed` is what it was made of, encrypted under an edge secret and bound to
-- token and mailbox: who can write to the database alone hangs nobody's identity on a mailbox.
CREATE TABLE holder (
    token         bytea NOT NULL CONSTRAINT holder_token CHECK (octet_length(token) = 32),
    owner_id      bigint NOT NULL CONSTRAINT holder_owner REFERENCES owner,
    sealed        bytea NOT NULL,
    bound_at      timestamptz NOT NULL,
    listed        boolean NOT NULL DEFAULT false,  -- whether the directory has ever listed this professional
    missing_since timestamptz,                     -- since when it does so no more
    PRIMARY KEY (token, owner_id)
);
CREATE INDEX holder_by_owner ON holder (owner_id);

-- What counts once: the state of a sign-in at a provider, the id of a logout token. Keyed hashes, until they would have
-- ended anyway.
CREATE TABLE spent (
    token bytea PRIMARY KEY CONSTRAINT spent_token CHECK (octet_length(token) = 32),
    until timestamptz NOT NULL
);

-- Sessions as they were do not say who acts: people sign in again. `owner_id` is the mailbox that is open, `person_id` the
-- person's own by which they signed in, `delegate_id` their own one to which `owner_id` is shared (null: it is theirs).
-- `proof` binds the row under an edge secret, so that who can write to the database alone opens nothing with their own.
DELETE FROM session;
ALTER TABLE session
    DROP CONSTRAINT session_owner_id_session_id_key,
    ADD COLUMN person_id   bigint NOT NULL REFERENCES owner,
    ADD COLUMN delegate_id bigint REFERENCES owner,
    ADD COLUMN holder      bytea,                  -- as in holder: leads to the person's other mailboxes
    ADD COLUMN provider    text NOT NULL,          -- the identity provider's name in the settings; empty without one
    ADD COLUMN acr         text NOT NULL,          -- how sure it was
    ADD COLUMN proved_at   timestamptz NOT NULL,   -- when the person last proved who they are
    ADD COLUMN sid         bytea,                  -- keyed tokens of the provider's session and subject, by which it
    ADD COLUMN subject     bytea,                  -- ends them
    ADD COLUMN hint        bytea,                  -- its ID token, for the sign-out there, under a key of the cookie
    ADD COLUMN proof       bytea NOT NULL,
    ADD CONSTRAINT session_name UNIQUE (person_id, session_id);
CREATE INDEX session_by_owner ON session (owner_id);
CREATE INDEX session_by_sid ON session (sid) WHERE sid IS NOT NULL;
CREATE INDEX session_by_subject ON session (subject) WHERE subject IS NOT NULL;

GRANT SELECT ON holder TO caducee_edge, caducee_reader;
GRANT UPDATE (listed, missing_since) ON holder TO caducee_jobs;
GRANT SELECT, INSERT ON spent TO caducee_web;
GRANT SELECT, DELETE ON spent TO caducee_jobs;
