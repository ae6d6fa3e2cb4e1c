-- What people and programs write of a mailbox and its folders (IMAP METADATA), who may share a mailbox by IMAP (ACL), and
-- the marks of a message that waits.

-- Name and value are a person's words: sealed under the mailbox's symmetric key; the token finds an entry again. Without a
-- folder it is of the mailbox as a whole, without a reader it is shared with all who may read the mailbox.
CREATE TABLE annotation (
    owner_id  bigint NOT NULL CONSTRAINT annotation_owner REFERENCES owner,
    folder_id integer,
    reader_id bigint CONSTRAINT annotation_reader REFERENCES owner,
    token     bytea NOT NULL CONSTRAINT annotation_token CHECK (octet_length(token) = 32),
    sealed    bytea NOT NULL,
    CONSTRAINT annotation_entry UNIQUE NULLS NOT DISTINCT (owner_id, folder_id, reader_id, token),
    CONSTRAINT annotation_folder FOREIGN KEY (owner_id, folder_id) REFERENCES folder ON DELETE CASCADE
);

-- What the tokens of a folder's URLs are made with (RFC 4467); sealed under the mailbox's key.
CREATE TABLE url_key (
    owner_id  bigint NOT NULL,
    folder_id integer NOT NULL,
    sealed    bytea NOT NULL,
    PRIMARY KEY (owner_id, folder_id),
    CONSTRAINT url_key_folder FOREIGN KEY (owner_id, folder_id) REFERENCES folder ON DELETE CASCADE
);

-- A message that a URL hands over to submission (BURL, RFC 4468), under a key that only the URL holds: submission opens
-- what it is given the URL of, and nothing else. `name` is a hash of the URL.
CREATE TABLE handed (
    name       bytea PRIMARY KEY CONSTRAINT handed_name CHECK (octet_length(name) = 32),
    owner_id   bigint NOT NULL,
    folder_id  integer NOT NULL,
    size       integer NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT handed_folder FOREIGN KEY (owner_id, folder_id) REFERENCES folder ON DELETE CASCADE
);
CREATE INDEX handed_by_owner ON handed (owner_id, expires_at);
CREATE TABLE handed_piece (
    name   bytea NOT NULL CONSTRAINT handed_piece_of REFERENCES handed ON DELETE CASCADE,
    number integer NOT NULL,
    data   bytea NOT NULL,
    PRIMARY KEY (name, number)
);
ALTER TABLE handed_piece ALTER COLUMN data SET STORAGE EXTERNAL;

-- The keywords that a message gets when it is delivered (server/mailbox/marks.py), joined: they hold no space.
ALTER TABLE outgoing ADD COLUMN keywords text NOT NULL DEFAULT '';

GRANT SELECT, INSERT, UPDATE (sealed), DELETE ON annotation TO caducee_imap;
GRANT SELECT, INSERT, DELETE ON url_key, handed, handed_piece TO caducee_imap;
GRANT SELECT ON handed, handed_piece TO caducee_submission;
GRANT SELECT, DELETE ON handed, handed_piece TO caducee_jobs;
GRANT SELECT ON annotation, url_key TO caducee_jobs;
GRANT SELECT (owner_id, sealed) ON annotation TO caducee_web;
GRANT INSERT, UPDATE (rights, until, granted_at, proof), DELETE ON delegation TO caducee_imap;
