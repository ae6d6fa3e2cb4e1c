-- A subscription is to a name, and outlives the folder that had it (RFC 9051 §6.3.7). Here are the names that no folder
-- has; where there is one, `folder.subscribed` says it. Name and token are made like a folder's.
CREATE TABLE subscription (
    owner_id   bigint NOT NULL CONSTRAINT subscription_owner REFERENCES owner,
    name_token bytea NOT NULL,
    name       bytea NOT NULL,
    PRIMARY KEY (owner_id, name_token)
);
GRANT SELECT, INSERT, DELETE ON subscription TO caducee_reader;
