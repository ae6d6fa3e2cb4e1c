-- S/MIME keys that holders of mailboxes entrust to the operator: what comes encrypted is opened with them.

-- Certificate and key, sealed under the mailbox's key; the token tells one certificate from another.
CREATE TABLE entrusted_key (
    owner_id bigint NOT NULL CONSTRAINT entrusted_key_owner REFERENCES owner,
    token    bytea NOT NULL CONSTRAINT entrusted_key_token CHECK (octet_length(token) = 32),
    sealed   bytea NOT NULL,
    PRIMARY KEY (owner_id, token)
);

GRANT SELECT ON entrusted_key TO caducee_jobs;
-- Whoever accepts mail learns that a mailbox has such a key, and leaves what is encrypted to the jobs.
GRANT SELECT (owner_id) ON entrusted_key TO caducee_edge;
-- What is opened while it waits takes the place of what came.
GRANT UPDATE (size, summary, body) ON content TO caducee_jobs;
