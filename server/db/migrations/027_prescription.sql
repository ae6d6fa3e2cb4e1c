-- What the signatures in a document were found to be when it was first met: beside the verdict on its message, which
-- stands in the summary. `verdicts` is AEAD under the mailbox's symmetric key.
CREATE TABLE document_signature (
    owner_id    bigint      NOT NULL,
    content_id  bytea       NOT NULL,
    part        text        NOT NULL,
    verdicts    bytea       NOT NULL,
    judged_at   timestamptz NOT NULL,
    PRIMARY KEY (owner_id, content_id, part),
    CONSTRAINT document_signature_content FOREIGN KEY (owner_id, content_id) REFERENCES content ON DELETE CASCADE
);

-- A prescription as its QR code finds it. `reference` is a keyed hash of the code's text; `document`, the signed PDF, is
-- AEAD under a key made of that text and an edge secret, so that the database and the keys together open it to nobody
-- who has not seen the paper. `code` is a keyed hash of the digits printed beside it; `tries` counts wrong ones in a row.
CREATE TABLE prescription (
    number       text        PRIMARY KEY,
    owner_id     bigint      NOT NULL CONSTRAINT prescription_owner REFERENCES owner,      -- who prescribed
    patient_id   bigint      CONSTRAINT prescription_patient REFERENCES owner,             -- null: no mailbox here
    reference    bytea       NOT NULL CONSTRAINT prescription_reference UNIQUE CHECK (octet_length(reference) = 32),
    code         bytea       NOT NULL CHECK (octet_length(code) = 32),
    document     bytea       NOT NULL,
    made_at      timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL,
    tries        integer     NOT NULL DEFAULT 0,
    tried_at     timestamptz,
    dispensed_at timestamptz,
    dispenser_id bigint      CONSTRAINT prescription_dispenser REFERENCES owner,
    withdrawn_at timestamptz,
    CONSTRAINT prescription_dispensed CHECK ((dispensed_at IS NULL) = (dispenser_id IS NULL))
);
ALTER TABLE prescription ALTER document SET STORAGE EXTERNAL;
CREATE INDEX prescription_owner ON prescription (owner_id, made_at);
CREATE INDEX prescription_end ON prescription (ends_at);

GRANT SELECT, INSERT ON document_signature TO caducee_web, caducee_jobs;
GRANT SELECT ON prescription TO caducee_web;
GRANT UPDATE (tries, tried_at, dispensed_at, dispenser_id) ON prescription TO caducee_web;
GRANT SELECT, DELETE ON prescription TO caducee_jobs;
-- Documents are judged by what is known of revoked certificates.
GRANT SELECT ON trust_list, trust_revocation TO caducee_jobs;
