-- The directory tells what changed and when: for who follows it (FHIR), for who signs people in, and for the import of
-- the next day, which reads only what differs.

-- When a row came or differed last. Whoever writes one without saying so means now.
ALTER TABLE directory.professional ADD changed_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE directory.know_how ADD changed_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE directory.activity ADD changed_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE directory.mailbox_entry ADD changed_at timestamptz NOT NULL DEFAULT now();
-- `told_by` ranks who told the row: 0 the professionals' file, 1 the mailbox file, 2 the FINESS file.
ALTER TABLE directory.organisation ADD told_by smallint NOT NULL DEFAULT 0,
    ADD changed_at timestamptz NOT NULL DEFAULT now();

-- A number for each activity that stays while the activity does (the national files give it none).
ALTER TABLE directory.activity ADD activity_id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT activity_id UNIQUE;

-- `unlisted`: liste rouge, usable by who knows it, shown to nobody. What this operator publishes itself ('own') is not
-- the national files' to change.
ALTER TABLE directory.mailbox_entry ADD unlisted boolean NOT NULL DEFAULT false,
    ADD source text NOT NULL DEFAULT 'national'
        CONSTRAINT mailbox_entry_source CHECK (source IN ('national', 'own'));

-- What left, until it comes back. The key is national_id, organisation_id, activity_id or address.
CREATE TABLE directory.gone (
    kind     text COLLATE "C" NOT NULL
             CONSTRAINT gone_kind CHECK (kind IN ('professional', 'organisation', 'activity', 'mailbox')),
    key      text COLLATE "C" NOT NULL,
    gone_at  timestamptz NOT NULL,
    PRIMARY KEY (kind, key)
);

-- Certificates that mail to an address may be encrypted to (DER).
CREATE TABLE directory.mailbox_certificate (
    address      text COLLATE "C" NOT NULL,
    fingerprint  bytea GENERATED ALWAYS AS (sha256(certificate)) STORED,
    certificate  bytea NOT NULL,
    not_after    timestamptz NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (address, fingerprint)
);

-- The lines of the files of the last load, so that the next one finds what differs without reading the rest. Numbers of
-- 8 bytes, in one order: a line's digest, whose it is; and of 4 bytes, where. Parts keep a row's size moderate.
CREATE TABLE directory.loaded_line (
    file     text COLLATE "C" NOT NULL,
    part     integer NOT NULL,
    header   bytea NOT NULL,
    digests  bytea NOT NULL,
    persons  bytea NOT NULL,
    places   bytea NOT NULL,
    PRIMARY KEY (file, part)
);
-- Digests do not compress.
ALTER TABLE directory.loaded_line ALTER digests SET STORAGE EXTERNAL, ALTER persons SET STORAGE EXTERNAL,
    ALTER places SET STORAGE EXTERNAL;

GRANT SELECT ON directory.gone, directory.mailbox_certificate TO caducee_reader, caducee_edge, caducee_ldap;
