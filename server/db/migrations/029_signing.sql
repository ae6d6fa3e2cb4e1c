-- Keys by which what a mailbox writes in our pages is signed, each with its certificate: sealed under the mailbox's key,
-- since the certificate names its holder. A message is signed by the newest one that was made before its Date, so that a
-- form sent twice stays one message when the key was renewed between.
CREATE TABLE signing_key (
    owner_id bigint      NOT NULL CONSTRAINT signing_key_owner REFERENCES owner,
    made_at  timestamptz NOT NULL,
    ends_at  timestamptz NOT NULL,
    sealed   bytea       NOT NULL,
    PRIMARY KEY (owner_id, made_at)
);

GRANT SELECT ON signing_key TO caducee_web;
