-- The store: owners and addresses, folders, messages, content, the trail, and what keeps them true.
-- Everything a person owns has owner_id first in its primary key, so that tables can be distributed by owner.
-- Constraint and index names are part of the program: errors are mapped by them, never by message text.

-- Owners -------------------------------------------------------------------------------------------------------------

-- A number of its own, so that a key can be wrapped for an owner (the id is bound in) before the row exists.
CREATE SEQUENCE owner_number AS bigint;

-- Never updated by a delivery: keys to it are checked by every insert of content.
-- A spare owner has keys and folders and waits for a person: an edge can take it and could not wrap a key itself.
CREATE TABLE owner (
    owner_id            bigint PRIMARY KEY,
    kind                text CONSTRAINT owner_kind CHECK (kind IN ('PER', 'ORG', 'APP', 'CAB', 'PATIENT')),
    state               text NOT NULL
                        CONSTRAINT owner_state CHECK (state IN ('active', 'suspended', 'closed', 'spare')),
    public_key          bytea NOT NULL,
    wrapped_private_key bytea NOT NULL,
    identity            bytea,           -- encrypted under the mailbox's symmetric key, or under identity_key
    identity_key        bytea,           -- sealed to the mailbox: the key of an identity that an edge wrote
    last_folder         integer NOT NULL DEFAULT 0,  -- gives folder_id and uidvalidity, never the same twice
    created_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT owner_named CHECK ((state = 'spare') = (kind IS NULL) AND (state = 'spare') = (identity IS NULL))
);
CREATE INDEX owner_spare ON owner (owner_id) WHERE state = 'spare';

-- Found by keyed token alone. A row stays for ever: an address is never given again. `proof` binds token, owner and
-- public key under an edge secret, so that who can write to the database alone cannot lead mail elsewhere.
-- Its key is the token: it is the look-up from which the owner becomes known (a reference table when distributed).
CREATE TABLE address (
    token      bytea PRIMARY KEY CONSTRAINT address_token CHECK (octet_length(token) = 32),
    owner_id   bigint NOT NULL CONSTRAINT address_owner REFERENCES owner,
    proof      bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz
);
CREATE INDEX address_by_owner ON address (owner_id);

-- Folders ------------------------------------------------------------------------------------------------------------

-- The name is encrypted under the mailbox's symmetric key (people name folders after their patients); its token is an
-- HMAC under a key derived from the same one, so that only the owner's readers can ask for a name.
CREATE TABLE folder (
    owner_id    bigint NOT NULL CONSTRAINT folder_owner REFERENCES owner,
    folder_id   integer NOT NULL,
    name        bytea NOT NULL,
    name_token  bytea NOT NULL,
    uidvalidity integer NOT NULL,
    special_use text,
    subscribed  boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, folder_id),
    CONSTRAINT folder_name UNIQUE (owner_id, name_token)
);
CREATE UNIQUE INDEX folder_special_use ON folder (owner_id, special_use) WHERE special_use IS NOT NULL;

-- The hot row of a folder. uid and modseq come only from UPDATE … RETURNING of this row in the transaction that writes
-- the messages; its lock, held to commit, makes commit order = uid order = modseq order.
CREATE TABLE folder_state (
    owner_id      bigint NOT NULL,
    folder_id     integer NOT NULL,
    uidnext       integer NOT NULL DEFAULT 1,
    highestmodseq bigint NOT NULL DEFAULT 1,
    changes_from  bigint NOT NULL DEFAULT 0,      -- the change log holds everything after this modseq
    messages      integer NOT NULL DEFAULT 0 CONSTRAINT folder_state_messages CHECK (messages >= 0),
    unseen        integer NOT NULL DEFAULT 0 CONSTRAINT folder_state_unseen CHECK (unseen >= 0),
    deleted       integer NOT NULL DEFAULT 0 CONSTRAINT folder_state_deleted CHECK (deleted >= 0),
    bytes         bigint NOT NULL DEFAULT 0 CONSTRAINT folder_state_bytes CHECK (bytes >= 0),
    PRIMARY KEY (owner_id, folder_id),
    CONSTRAINT folder_state_folder FOREIGN KEY (owner_id, folder_id) REFERENCES folder ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- Content ------------------------------------------------------------------------------------------------------------

-- A body past 1 MiB is committed in pieces while it comes, before the transaction that refers to it begins.
CREATE TABLE large_body (
    owner_id   bigint NOT NULL CONSTRAINT large_body_owner REFERENCES owner,
    content_id bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, content_id)
);
CREATE TABLE body_piece (
    owner_id   bigint NOT NULL,
    content_id bytea NOT NULL,
    number     integer NOT NULL,
    data       bytea NOT NULL,
    PRIMARY KEY (owner_id, content_id, number),
    CONSTRAINT body_piece_body FOREIGN KEY (owner_id, content_id) REFERENCES large_body ON DELETE CASCADE
);

-- `body` is the whole message; of a large one its top header alone, in a blob of its own, and the rest lies in pieces.
-- `key` is the message key, sealed to the mailbox (HPKE) or re-wrapped with its symmetric key. Stored EXTERNAL below: what
-- is encrypted does not compress, and substring() then reads only the pages that it needs.
CREATE TABLE content (
    owner_id   bigint NOT NULL CONSTRAINT content_owner REFERENCES owner,
    content_id bytea NOT NULL CONSTRAINT content_id_length CHECK (octet_length(content_id) = 16),
    size       integer NOT NULL,
    key_form   text NOT NULL CONSTRAINT content_key_form CHECK (key_form IN ('hpke', 'mailbox')),
    key        bytea NOT NULL,
    summary    bytea NOT NULL,
    body       bytea NOT NULL,
    large_id   bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, content_id),
    CONSTRAINT content_large_body FOREIGN KEY (owner_id, large_id) REFERENCES large_body
) WITH (fillfactor = 80);
CREATE INDEX content_sealed ON content (owner_id, content_id) WHERE key_form = 'hpke';
CREATE INDEX content_large ON content (owner_id, large_id) WHERE large_id IS NOT NULL;

ALTER TABLE content ALTER COLUMN key SET STORAGE EXTERNAL, ALTER COLUMN summary SET STORAGE EXTERNAL,
    ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE body_piece ALTER COLUMN data SET STORAGE EXTERNAL;

-- What an EXPUNGE may have left unreferenced: the collector's list. EXPUNGE itself never deletes content, since a COPY
-- may be racing.
CREATE TABLE released (
    owner_id    bigint NOT NULL,
    content_id  bytea NOT NULL,
    released_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, content_id),
    CONSTRAINT released_content FOREIGN KEY (owner_id, content_id) REFERENCES content ON DELETE CASCADE
);
CREATE INDEX released_by_time ON released (released_at);

-- Messages -----------------------------------------------------------------------------------------------------------

-- Narrow, half-filled pages and no index on modseq, so that changes of flags stay HOT.
CREATE TABLE message (
    owner_id     bigint NOT NULL,
    folder_id    integer NOT NULL,
    uid          integer NOT NULL,
    content_id   bytea NOT NULL,
    flags        smallint NOT NULL,
    keywords     text[] NOT NULL,
    internaldate timestamptz NOT NULL,
    savedate     timestamptz NOT NULL,
    modseq       bigint NOT NULL,
    size         integer NOT NULL,
    PRIMARY KEY (owner_id, folder_id, uid),
    CONSTRAINT message_folder FOREIGN KEY (owner_id, folder_id) REFERENCES folder_state ON DELETE CASCADE,
    CONSTRAINT message_content FOREIGN KEY (owner_id, content_id) REFERENCES content
) WITH (fillfactor = 50);
CREATE INDEX message_by_content ON message (owner_id, content_id);

-- One row a command. kind: 1 added, 2 flags changed, 3 vanished.
CREATE TABLE change (
    owner_id   bigint NOT NULL,
    folder_id  integer NOT NULL,
    modseq     bigint NOT NULL,
    kind       smallint NOT NULL CONSTRAINT change_kind CHECK (kind BETWEEN 1 AND 3),
    uids       int4multirange NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, folder_id, modseq, kind),
    CONSTRAINT change_folder FOREIGN KEY (owner_id, folder_id) REFERENCES folder_state ON DELETE CASCADE
);
CREATE INDEX change_by_time ON change USING brin (changed_at);

-- Transport ----------------------------------------------------------------------------------------------------------

-- Fingerprints of what was accepted, until the client is seen to have read its 250, five days at most. One table: nearly
-- every row goes again after some milliseconds, and looking into a partition for each day cost more than all other reads.
CREATE TABLE accepted (
    fingerprint bytea PRIMARY KEY,
    accepted_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX accepted_by_time ON accepted USING brin (accepted_at);

-- Deliveries still to be made. kind 'local': into a folder of owner_id that was locked or suspended at the time.
CREATE TABLE outgoing (
    owner_id     bigint NOT NULL CONSTRAINT outgoing_owner REFERENCES owner,
    outgoing_id  bigint GENERATED ALWAYS AS IDENTITY,
    kind         text NOT NULL CONSTRAINT outgoing_kind CHECK (kind IN ('local')),
    content_id   bytea NOT NULL,
    folder_id    integer NOT NULL,
    internaldate timestamptz NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    not_before   timestamptz NOT NULL DEFAULT now(),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, outgoing_id),
    CONSTRAINT outgoing_content FOREIGN KEY (owner_id, content_id) REFERENCES content
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
CREATE INDEX outgoing_due ON outgoing (not_before);

-- The trail ----------------------------------------------------------------------------------------------------------

-- Whom the trail is sealed to; the private half is wrapped in the keyring. `proof` is made with an edge secret.
CREATE TABLE audit_reader (
    reader_id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_key          bytea NOT NULL,
    wrapped_private_key bytea NOT NULL,
    proof               bytea NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now()
);
-- A writer's key of some minutes, sealed to that reader: a detail then costs one AES-GCM and not one HPKE.
CREATE TABLE audit_key (
    key_id     bytea PRIMARY KEY,
    reader_id  integer NOT NULL CONSTRAINT audit_key_reader REFERENCES audit_reader,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- Append-only. `xid` cuts batches: a batch is all rows below pg_snapshot_xmin and above the batch before it.
-- stream: 1 access and acts (kept 20 years), 2 technical (1 year). key_id refers to audit_key without a foreign key:
-- nobody can delete there, and a lock on one shared row for each event would be paid for nothing.
CREATE TABLE audit (
    audit_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    stream      smallint NOT NULL,
    kind        text NOT NULL,
    owner_id    bigint,
    actor       bytea,
    key_id      bytea NOT NULL,
    detail      bytea NOT NULL
);
CREATE INDEX audit_by_owner ON audit (owner_id, audit_id) WHERE owner_id IS NOT NULL;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the trail is append-only' USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'audit_append_only';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_key_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_key
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

-- Spare owners, for edges: take one (its row stays locked for the transaction), then name it.
CREATE FUNCTION take_spare_owner(OUT owner_id bigint, OUT public_key bytea)
    LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    SELECT o.owner_id, o.public_key FROM owner o WHERE o.state = 'spare' LIMIT 1 FOR UPDATE SKIP LOCKED
$$;
CREATE FUNCTION name_spare_owner(which bigint, new_kind text, new_identity bytea, new_identity_key bytea) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    UPDATE owner SET state = 'active', kind = new_kind, identity = new_identity, identity_key = new_identity_key
     WHERE owner_id = which AND state = 'spare' RETURNING true
$$;
REVOKE ALL ON FUNCTION take_spare_owner(), name_spare_owner(bigint, text, bytea, bytea) FROM PUBLIC;

-- Grants -------------------------------------------------------------------------------------------------------------

-- An edge writes and cannot read: no wrapped private key, no sealed key, no ciphertext.
GRANT SELECT (owner_id, kind, state, public_key, created_at) ON owner TO caducee_edge;
GRANT SELECT ON address TO caducee_edge;
GRANT INSERT ON address TO caducee_edge;
GRANT EXECUTE ON FUNCTION take_spare_owner(), name_spare_owner(bigint, text, bytea, bytea) TO caducee_edge;
GRANT SELECT ON folder_state TO caducee_edge;
GRANT UPDATE (uidnext, highestmodseq, messages, unseen, bytes) ON folder_state TO caducee_edge;
GRANT INSERT ON content, large_body, body_piece, message, change, accepted, outgoing, audit, audit_key TO caducee_edge;
GRANT SELECT (owner_id, content_id) ON content, large_body TO caducee_edge;
GRANT SELECT, UPDATE, DELETE ON accepted TO caducee_edge;
GRANT SELECT (key_id) ON audit_key TO caducee_edge;
GRANT SELECT (reader_id, public_key, proof) ON audit_reader TO caducee_edge;

-- A reader works on mailboxes; only the jobs delete content.
GRANT SELECT ON owner, address TO caducee_reader;
GRANT UPDATE (last_folder) ON owner TO caducee_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON folder, folder_state, message, change, released TO caducee_reader;
GRANT SELECT, INSERT ON content, large_body, body_piece TO caducee_reader;
GRANT UPDATE (key, key_form) ON content TO caducee_reader;
GRANT INSERT ON audit, audit_key TO caducee_reader;
GRANT SELECT (key_id) ON audit_key TO caducee_reader;
GRANT SELECT (reader_id, public_key, proof) ON audit_reader TO caducee_reader;

GRANT USAGE ON SEQUENCE owner_number TO caducee_jobs;
GRANT INSERT, UPDATE ON owner, address TO caducee_jobs;
GRANT DELETE ON content, large_body, body_piece TO caducee_jobs;
-- FOR UPDATE, to hold what is about to be collected, asks for UPDATE on one column.
GRANT UPDATE (created_at) ON large_body TO caducee_jobs;
GRANT SELECT, INSERT, UPDATE, DELETE ON outgoing, accepted TO caducee_jobs;
GRANT SELECT ON audit, audit_key, audit_reader TO caducee_jobs;
