-- The life of keys: mailboxes' pairs turned, wrapped again, destroyed; certificates in trouble.

-- Beside the pair in `owner`: one that is 'coming' (running processes learn of it before anything is sealed to it),
-- 'former' ones, which still open what was sealed to them; and the mark of a mailbox whose keys were destroyed, with
-- empty keys. `revision` grows in commit order, so that a process that asks for newer rows misses none.
CREATE SEQUENCE owner_key_revision AS bigint;
CREATE TABLE owner_key (
    owner_id            bigint NOT NULL CONSTRAINT owner_key_owner REFERENCES owner,
    key_id              bigint GENERATED ALWAYS AS IDENTITY,
    revision            bigint NOT NULL DEFAULT nextval('owner_key_revision'),
    state               text NOT NULL
                        CONSTRAINT owner_key_state CHECK (state IN ('coming', 'former', 'destroyed')),
    public_key          bytea NOT NULL,
    wrapped_private_key bytea NOT NULL,
    changed_at          timestamptz NOT NULL,
    -- Of a former pair: since when nothing but late deliveries was left under it, and up to where the pass that is under
    -- way has come.
    left_at             timestamptz,
    pass_began_at       timestamptz,
    pass_upto           bytea,
    PRIMARY KEY (owner_id, key_id)
);
CREATE UNIQUE INDEX owner_key_coming ON owner_key (owner_id) WHERE state = 'coming';
CREATE INDEX owner_key_by_revision ON owner_key (revision);

-- Erasing one person wraps the keys of those who share the bucket again.
CREATE INDEX owner_bucket ON owner ((owner_id % 4096));

-- What the daily look at certificates found, until it is found no more. `told_at`: when it was last said in log and trail.
CREATE TABLE certificate_trouble (
    kind     text NOT NULL,
    name     text NOT NULL,
    owner_id bigint CONSTRAINT certificate_trouble_owner REFERENCES owner,
    until    timestamptz,
    found_at timestamptz NOT NULL,
    told_at  timestamptz NOT NULL,
    PRIMARY KEY (kind, name)
);

GRANT SELECT ON owner_key TO caducee_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON certificate_trouble TO caducee_jobs;
-- Whose certificates are looked at, and what is known of their revocation.
GRANT SELECT ON trust_list, trust_revocation, peer_certificate TO caducee_jobs;
