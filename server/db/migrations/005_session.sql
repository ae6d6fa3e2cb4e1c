-- Sessions of people in a browser. The token is never here: only its keyed hash, so that neither reading nor writing
-- this table gives anyone a session.
CREATE TABLE session (
    token_hash  bytea       PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    owner_id    bigint      NOT NULL REFERENCES owner,
    session_id  bytea       NOT NULL CHECK (octet_length(session_id) = 16),  -- its name in the person's own list
    how         text        NOT NULL,                                        -- which sign-in proved who this is
    agent       text        NOT NULL CHECK (length(agent) <= 60),            -- "Firefox, Linux": never the whole header
    opened_at   timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    UNIQUE (owner_id, session_id)
);
CREATE INDEX session_expires ON session (expires_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON session TO caducee_web;
GRANT SELECT, DELETE ON session TO caducee_jobs;
