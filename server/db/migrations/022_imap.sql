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

-- The keywords that a message gets when it is delivered (server/mailbox/marks.py), joined: they hold no space.
ALTER TABLE outgoing ADD COLUMN keywords text NOT NULL DEFAULT '';

GRANT SELECT, INSERT, UPDATE (sealed), DELETE ON annotation TO caducee_imap;
GRANT SELECT, INSERT, DELETE ON url_key TO caducee_imap;
GRANT SELECT ON annotation, url_key TO caducee_jobs;
GRANT INSERT, UPDATE (rights, until, granted_at, proof), DELETE ON delegation TO caducee_imap;
