-- The directory: professionals, structures and mailboxes of the national files, and what is needed to find them.
-- All of it is public. It is replaced by each import as a difference, so that rows that did not change are not written.
-- Text is compared by bytes (COLLATE "C"): the same order on every server, and prefixes by a plain btree.
CREATE SCHEMA directory;

CREATE TABLE directory.professional (
    national_id      text COLLATE "C" NOT NULL,  -- "8" + RPPS, "0" + ADELI
    profession_code  text COLLATE "C" NOT NULL,
    identifier       text NOT NULL,
    civility         text NOT NULL,
    last_name        text NOT NULL,
    first_name       text NOT NULL,
    profession       text NOT NULL,
    category_code    text NOT NULL,
    PRIMARY KEY (national_id, profession_code)
);

CREATE TABLE directory.know_how (
    national_id      text COLLATE "C" NOT NULL,
    profession_code  text COLLATE "C" NOT NULL,
    code             text COLLATE "C" NOT NULL,
    kind_code        text NOT NULL,
    label            text NOT NULL,
    PRIMARY KEY (national_id, profession_code, code)
);

CREATE TABLE directory.organisation (
    organisation_id  text COLLATE "C" PRIMARY KEY,
    finess           text COLLATE "C" NOT NULL,
    legal_finess     text NOT NULL,
    siret            text COLLATE "C" NOT NULL,
    siren            text NOT NULL,
    name             text NOT NULL,
    sign             text NOT NULL,
    street           text NOT NULL,
    postcode         text NOT NULL,
    town             text NOT NULL,
    commune_code     text NOT NULL,
    department       text NOT NULL,
    country          text NOT NULL,
    sector_code      text NOT NULL,
    sector           text NOT NULL,
    phone            text NOT NULL
);
CREATE INDEX organisation_finess ON directory.organisation (finess) WHERE finess <> '';
CREATE INDEX organisation_siret ON directory.organisation (siret) WHERE siret <> '';

CREATE TABLE directory.activity (
    national_id      text COLLATE "C" NOT NULL,
    profession_code  text COLLATE "C" NOT NULL,
    organisation_id  text COLLATE "C" NOT NULL,
    mode_code        text COLLATE "C" NOT NULL,
    role_code        text COLLATE "C" NOT NULL,
    mode             text NOT NULL,
    role             text NOT NULL,
    PRIMARY KEY (national_id, profession_code, organisation_id, mode_code, role_code)
);

CREATE TABLE directory.mailbox_entry (
    address          text COLLATE "C" PRIMARY KEY,
    kind             text NOT NULL,
    national_id      text COLLATE "C" NOT NULL,  -- empty for a mailbox of an organisation
    profession_code  text COLLATE "C" NOT NULL,
    organisation_id  text COLLATE "C" NOT NULL,  -- empty when the person's mailbox names no structure
    service          text NOT NULL,
    paperless        boolean NOT NULL
);
CREATE INDEX mailbox_entry_person ON directory.mailbox_entry (national_id) WHERE national_id <> '';
CREATE INDEX mailbox_entry_organisation ON directory.mailbox_entry (organisation_id) WHERE organisation_id <> '';

-- Folded words, each once, with the field it was seen in (n name, w workplace, p profession, t town, z postcode),
-- and the keys under which it is found despite a typing mistake. Numbers stay the same over imports.
CREATE TABLE directory.word (
    word_id  integer PRIMARY KEY,
    field    text COLLATE "C" NOT NULL CHECK (field IN ('n', 'w', 'p', 't', 'z')),
    word     text COLLATE "C" NOT NULL,
    uses     integer NOT NULL,
    near     text[] COLLATE "C" NOT NULL,
    UNIQUE (word, field)
);
CREATE INDEX word_near ON directory.word USING gin (near);

-- What a search finds: a person at a place, or an organisation (empty person). One look-up a word of the question.
CREATE TABLE directory.listing (
    national_id      text COLLATE "C" NOT NULL,
    profession_code  text COLLATE "C" NOT NULL,
    organisation_id  text COLLATE "C" NOT NULL,
    sort_name        text COLLATE "C" NOT NULL,
    mailboxes        integer NOT NULL,
    words            integer[] NOT NULL,
    PRIMARY KEY (national_id, profession_code, organisation_id)
);
CREATE INDEX listing_words ON directory.listing USING gin (words);

-- Which files were loaded, and what they held.
CREATE TABLE directory.load (
    load_id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    loaded_at  timestamptz NOT NULL,
    files      text[] NOT NULL,
    counts     jsonb NOT NULL
);

GRANT USAGE ON SCHEMA directory TO caducee_reader, caducee_edge, caducee_ldap;
GRANT SELECT ON ALL TABLES IN SCHEMA directory TO caducee_reader, caducee_edge, caducee_ldap;
