-- What clients and operators of other servers bring: subscriptions, \Recent, mailboxes copied from elsewhere.

-- A subscription is to a name, and outlives the folder that had it (RFC 9051 §6.3.7). Here are the names that no folder
-- has; where there is one, `folder.subscribed` says it. Name and token are made like a folder's.
CREATE TABLE subscription (
    owner_id   bigint NOT NULL CONSTRAINT subscription_owner REFERENCES owner,
    name_token bytea NOT NULL,
    name       bytea NOT NULL,
    PRIMARY KEY (owner_id, name_token)
);
GRANT SELECT, INSERT, DELETE ON subscription TO caducee_reader;

-- Messages from this uid on are \Recent to the session that is told of them next (RFC 3501 §2.3.2).
ALTER TABLE folder_state ADD COLUMN recent_from integer NOT NULL DEFAULT 1;
UPDATE folder_state SET recent_from = uidnext;

-- How far `caducee mailbox migrate` has copied a folder of another server, written with the messages themselves. `source`
-- is a keyed token of server, account and folder there. All uids before `next_uid` are here or were, but `left_out`.
CREATE TABLE migrated_folder (
    owner_id    bigint NOT NULL,
    source      bytea NOT NULL CONSTRAINT migrated_folder_source CHECK (octet_length(source) = 32),
    folder_id   integer NOT NULL,
    uidvalidity bigint NOT NULL,
    next_uid    bigint NOT NULL DEFAULT 1,
    left_out    bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (owner_id, source),
    CONSTRAINT migrated_folder_folder FOREIGN KEY (owner_id, folder_id) REFERENCES folder ON DELETE CASCADE
);
