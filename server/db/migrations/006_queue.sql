-- The queue of mail for other operators. What names a person stands in ciphertext; the domain and pseudonyms are in
-- clear, so that the schedule and the operator's listings need no key.

-- A pair of keys a day. The private half is wrapped for the role `sender` alone and goes when the day's last message
-- has left; `proof` is made with an edge secret, so that who writes to the database alone plants no key.
CREATE TABLE queue_key (
    key_id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day                 date NOT NULL CONSTRAINT queue_key_day UNIQUE,
    public_key          bytea NOT NULL,
    wrapped_private_key bytea NOT NULL,
    proof               bytea NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now()
);

-- A message and its envelope, encrypted under a key of its own that is sealed to the day's key. `sender` is the
-- pseudonym of the reverse-path ("" for the null one). `body` is null where it lies in pieces.
CREATE TABLE queue_message (
    queue_id   bytea PRIMARY KEY CONSTRAINT queue_id_length CHECK (octet_length(queue_id) = 16),
    key_id     integer NOT NULL CONSTRAINT queue_message_key REFERENCES queue_key,
    key        bytea NOT NULL,
    owner_id   bigint CONSTRAINT queue_message_owner REFERENCES owner,  -- the mailbox that wrote it, where it is ours
    trace_id   text NOT NULL,
    sender     text NOT NULL,
    size       integer NOT NULL,
    envelope   bytea NOT NULL,
    body       bytea,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX queue_message_by_key ON queue_message (key_id);
ALTER TABLE queue_message ALTER COLUMN key SET STORAGE EXTERNAL, ALTER COLUMN envelope SET STORAGE EXTERNAL,
    ALTER COLUMN body SET STORAGE EXTERNAL;

-- Bodies past 1 MiB, committed before the message that refers to them; what no message took goes after a day.
CREATE TABLE queue_piece (
    queue_id   bytea NOT NULL,
    number     integer NOT NULL,
    data       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue_id, number)
);
ALTER TABLE queue_piece ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX queue_piece_by_time ON queue_piece USING brin (created_at);

-- A recipient still to be served; the row goes when its fate is final. `number` is its place in the envelope, `name`
-- its pseudonym. A row is leased while a worker tries; a lease that ran out leaves an attempt of unsure end.
CREATE TABLE queue_recipient (
    queue_id     bytea NOT NULL CONSTRAINT queue_recipient_message REFERENCES queue_message ON DELETE CASCADE,
    number       smallint NOT NULL,
    domain       text NOT NULL,
    name         text NOT NULL,
    state        text NOT NULL DEFAULT 'waiting' CONSTRAINT queue_recipient_state CHECK (state IN ('waiting', 'held')),
    attempts     integer NOT NULL DEFAULT 0,
    not_before   timestamptz NOT NULL DEFAULT now(),
    leased_by    text,
    leased_until timestamptz,
    tried_since  timestamptz,                     -- the first attempt: patience is counted from there
    unsure       boolean NOT NULL DEFAULT false,  -- the peer may have it: an attempt ended nobody knows how
    -- What the operator wants of it: an attempt now, whatever its domain's state, or its return to the sender.
    wish         text NOT NULL DEFAULT '' CONSTRAINT queue_recipient_wish CHECK (wish IN ('', 'try', 'return')),
    last_status  text NOT NULL DEFAULT '',   -- enhanced status of the last attempt
    last_reply   text NOT NULL DEFAULT '',   -- what the peer said, filtered
    delay_told   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (queue_id, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- By domain first: a worker asks each domain for its oldest, so that one domain's thousands hide nobody else's.
CREATE INDEX queue_recipient_due ON queue_recipient (domain, not_before) WHERE state = 'waiting';

-- Edges and jobs put in and never take out; the sender works it off; the command line is the database's owner.
GRANT INSERT ON queue_message, queue_piece, queue_recipient TO caducee_edge, caducee_jobs, caducee_sender;
GRANT SELECT (key_id, day, public_key, proof) ON queue_key TO caducee_edge, caducee_jobs;
GRANT SELECT, INSERT, DELETE ON queue_key TO caducee_sender;
GRANT SELECT, DELETE ON queue_message, queue_piece TO caducee_sender;
GRANT SELECT, UPDATE, DELETE ON queue_recipient TO caducee_sender;
-- FOR UPDATE, to hold a message while its recipients leave, asks for UPDATE on one column.
GRANT UPDATE (created_at) ON queue_message TO caducee_sender;
