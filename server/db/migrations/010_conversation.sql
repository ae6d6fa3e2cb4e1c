-- The conversation with patients, what a mailbox takes, and the numbers that show a misrouting.

-- A patient's right to answer, now by who wrote: `sender` is the token of the From under which `token` (From or Reply-To)
-- was opened. The patient may write to a token while one of its rows is neither ended by its sender ("[FIN]") nor any
-- closed by the patient. A row whose token is of one message (X-MSS-MES: FIN) is ended from the start.
ALTER TABLE contact ADD COLUMN sender bytea CONSTRAINT contact_sender CHECK (octet_length(sender) = 32),
                    ADD COLUMN ended_at timestamptz;
UPDATE contact SET sender = token;
ALTER TABLE contact ALTER COLUMN sender SET NOT NULL, DROP CONSTRAINT contact_pkey,
                    ADD PRIMARY KEY (owner_id, token, sender);

-- What an edge must know at RCPT: room (null: the setting's), whether the holder opposes messages, and whether patients
-- may begin a conversation (a pharmacy's).
ALTER TABLE owner ADD COLUMN quota_bytes bigint CONSTRAINT owner_quota CHECK (quota_bytes >= 0),
                  ADD COLUMN refuses_mail boolean NOT NULL DEFAULT false,
                  ADD COLUMN open_to_patients boolean NOT NULL DEFAULT false;

-- Counts an hour, without content: messages a mailbox received, people a sender wrote to for the first time, unknown
-- recipients that a sender or an operator asked for. `name` is a pseudonym, or the subject of an operator's certificate;
-- `owner_id` the mailbox, where it is one of ours.
CREATE TABLE tally (
    kind     text NOT NULL CONSTRAINT tally_kind
             CHECK (kind IN ('received', 'strangers', 'unknown-by-sender', 'unknown-by-operator')),
    name     text NOT NULL,
    hour     timestamptz NOT NULL,
    owner_id bigint,
    count    integer NOT NULL,
    PRIMARY KEY (kind, name, hour)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX tally_by_hour ON tally (hour);

-- Who has written to whom before, as one keyed hash of both: it tells a stranger, and no graph of people.
CREATE TABLE acquaintance (
    pair    bytea PRIMARY KEY CONSTRAINT acquaintance_pair CHECK (octet_length(pair) = 16),
    seen_on date NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX acquaintance_by_day ON acquaintance USING brin (seen_on);

-- What was out of the usual: raised once a day for each kind and name.
CREATE TABLE alarm (
    kind      text NOT NULL,
    name      text NOT NULL,
    day       date NOT NULL,
    owner_id  bigint,
    count     integer NOT NULL,   -- in the last 24 hours
    usual     integer NOT NULL,   -- a day, before
    raised_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, kind, name)
);

GRANT UPDATE (ended_at) ON contact TO caducee_edge, caducee_jobs;
GRANT SELECT (quota_bytes, refuses_mail, open_to_patients) ON owner TO caducee_edge;
GRANT SELECT, INSERT, UPDATE (count) ON tally TO caducee_edge;
GRANT SELECT, INSERT, UPDATE (seen_on) ON acquaintance TO caducee_edge;
GRANT SELECT, DELETE ON tally, acquaintance TO caducee_jobs;
GRANT SELECT, INSERT, DELETE ON alarm TO caducee_jobs;
