-- The health record: documents found in the messages of a patient, and which messages are to be looked through.
-- A document's bytes stay in the message that brought it: the reference keeps that content from the collector.
CREATE TABLE document (
    owner_id     bigint      NOT NULL,
    document_id  bytea       NOT NULL CHECK (octet_length(document_id) = 16),
    unique_id    bytea       NOT NULL CHECK (octet_length(unique_id) = 32),  -- keyed hash: a repeat is not filed twice
    content_id   bytea       NOT NULL,
    detail       bytea       NOT NULL,                                       -- AEAD under the mailbox's symmetric key
    filed_at     timestamptz NOT NULL,
    PRIMARY KEY (owner_id, document_id),
    UNIQUE (owner_id, unique_id),
    FOREIGN KEY (owner_id, content_id) REFERENCES content
);
CREATE INDEX document_content ON document (owner_id, content_id);

-- One row for each content in a patient's mailbox, written by the transaction that delivers it, so that none is ever
-- overlooked; `filed` rows stay, so that a copy is not looked through again. `attempts` is counted before the work: a
-- message that ends the worker each time is marked `failed`, and what came after it goes on.
CREATE TABLE intake (
    owner_id    bigint      NOT NULL,
    content_id  bytea       NOT NULL,
    received_at timestamptz NOT NULL,
    state       text        NOT NULL DEFAULT 'waiting'
                CONSTRAINT intake_state CHECK (state IN ('waiting', 'filed', 'failed')),
    attempts    integer     NOT NULL DEFAULT 0,
    not_before  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, content_id),
    CONSTRAINT intake_content FOREIGN KEY (owner_id, content_id) REFERENCES content ON DELETE CASCADE
) WITH (fillfactor = 80);
CREATE INDEX intake_due ON intake (not_before) WHERE state = 'waiting';

-- Who delivers asks for the intake; only the jobs file; pages read.
GRANT INSERT ON intake TO caducee_edge, caducee_reader;
GRANT SELECT ON document TO caducee_web;
GRANT SELECT, UPDATE, DELETE ON intake TO caducee_jobs;
GRANT SELECT, INSERT, DELETE ON document TO caducee_jobs;
