-- Who else may sign in to a mailbox: software by its organisation's certificate, and the people of a shared mailbox.

-- A client certificate of an APP mailbox, known by its public key (SHA-256 of SubjectPublicKeyInfo). `sealed` is the
-- mailbox's address, encrypted under an edge secret and bound to owner and key: it names the mailbox where the client
-- does not, and who can write to the database alone cannot make one that opens.
CREATE TABLE client_certificate (
    owner_id       bigint NOT NULL CONSTRAINT client_certificate_owner REFERENCES owner,
    certificate_id bigint GENERATED ALWAYS AS IDENTITY,
    key_hash       bytea NOT NULL CONSTRAINT client_certificate_hash CHECK (octet_length(key_hash) = 32),
    sealed         bytea NOT NULL,
    subject        text NOT NULL,           -- for the operator's list; what counts is the key
    not_after      timestamptz NOT NULL,    -- the same
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (owner_id, certificate_id),
    CONSTRAINT client_certificate_once UNIQUE (key_hash, owner_id)
);

-- Who may act for a shared mailbox (ORG, CAB), until when (null: until revoked), with which rights (1 read, 2 send,
-- 4 manage). `proof` binds all of it under an edge secret. A row that is revoked goes; the trail keeps what was.
CREATE TABLE delegation (
    owner_id    bigint NOT NULL CONSTRAINT delegation_owner REFERENCES owner,
    delegate_id bigint NOT NULL CONSTRAINT delegation_delegate REFERENCES owner,
    rights      smallint NOT NULL CONSTRAINT delegation_rights CHECK (rights BETWEEN 1 AND 7),
    until       timestamptz,
    granted_at  timestamptz NOT NULL,
    proof       bytea NOT NULL,
    PRIMARY KEY (owner_id, delegate_id),
    CONSTRAINT delegation_to_another CHECK (owner_id <> delegate_id)
);

-- What a mailbox sends an hour is counted like what it receives; its name there is its number.
ALTER TABLE tally DROP CONSTRAINT tally_kind, ADD CONSTRAINT tally_kind
    CHECK (kind IN ('received', 'strangers', 'unknown-by-sender', 'unknown-by-operator', 'sent', 'sent-to'));

GRANT SELECT ON client_certificate, delegation TO caducee_edge, caducee_reader;
-- Whether a certificate shown at sign-in is revoked.
GRANT SELECT ON trust_list, trust_revocation TO caducee_imap;
