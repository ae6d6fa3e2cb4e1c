-- What was fetched of the trust space: white lists, revocation lists, OCSP answers. All of it is signed by others, so who
-- writes to the database alone changes nothing that a role believes: each checks the signatures again when it reads.

-- Where it comes from, and how the last attempts went. `validator` is what the server gave to ask "is it still this one?".
CREATE TABLE trust_source (
    source    text PRIMARY KEY,   -- a URL or a file's path
    kind      text NOT NULL CONSTRAINT trust_source_kind CHECK (kind IN ('white-list', 'crl', 'ocsp')),
    tried_at  timestamptz NOT NULL,
    good_at   timestamptz,
    failure   text NOT NULL DEFAULT '',   -- why the last attempt was refused; empty when it was not
    validator text NOT NULL DEFAULT ''
);

-- Each white list that was accepted. Only the newest ones keep their document; what changed stays in `trust_change`.
CREATE TABLE trust_list (
    list_id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       text NOT NULL,
    generated_at timestamptz NOT NULL,
    accepted_at  timestamptz NOT NULL,
    digest       bytea NOT NULL CONSTRAINT trust_list_digest CHECK (octet_length(digest) = 32),
    entries      integer NOT NULL,
    document     bytea
);
ALTER TABLE trust_list ALTER COLUMN document SET STORAGE EXTERNAL;

CREATE TABLE trust_change (
    list_id integer NOT NULL CONSTRAINT trust_change_list REFERENCES trust_list,
    added   boolean NOT NULL,     -- else removed
    domain  text NOT NULL,
    name    text NOT NULL,
    PRIMARY KEY (list_id, domain, name, added)
);

-- The last good revocation list or answer of each source. `revision` grows with every change, in commit order (writers
-- take turns), so that a reader asks for what is newer than what it has.
CREATE SEQUENCE trust_revision;
CREATE TABLE trust_revocation (
    source      text PRIMARY KEY,
    kind        text NOT NULL CONSTRAINT trust_revocation_kind CHECK (kind IN ('crl', 'ocsp')),
    revision    bigint NOT NULL CONSTRAINT trust_revocation_revision UNIQUE,
    this_update timestamptz NOT NULL,
    next_update timestamptz NOT NULL,
    document    bytea NOT NULL
);
ALTER TABLE trust_revocation ALTER COLUMN document SET STORAGE EXTERNAL;

-- Certificates that listed operators showed, with their path to an anchor: whose revocation is to be known.
CREATE TABLE peer_certificate (
    fingerprint bytea PRIMARY KEY CONSTRAINT peer_certificate_fingerprint CHECK (octet_length(fingerprint) = 32),
    path        bytea[] NOT NULL,
    seen_on     date NOT NULL
);

GRANT SELECT ON trust_list, trust_revocation TO caducee_edge, caducee_fetcher;
GRANT SELECT, INSERT, UPDATE (seen_on, path) ON peer_certificate TO caducee_edge;
GRANT INSERT, UPDATE (document) ON trust_list TO caducee_fetcher;
GRANT SELECT, INSERT ON trust_change TO caducee_fetcher;
GRANT SELECT, INSERT, UPDATE, DELETE ON trust_source TO caducee_fetcher;
GRANT INSERT, UPDATE, DELETE ON trust_revocation TO caducee_fetcher;
GRANT SELECT, DELETE ON peer_certificate TO caducee_fetcher;
GRANT USAGE ON SEQUENCE trust_revision TO caducee_fetcher;
