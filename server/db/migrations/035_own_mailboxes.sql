-- What this operator says of its own mailboxes: for its directory, which holds it beside the national files (as rows of
-- `mailbox_entry` whose source is 'own', and of what they name), and for the file that the national directory takes.
-- A row whose mailbox left stays, so that the file can say so.
CREATE TABLE directory.own_mailbox (
    address          text COLLATE "C" PRIMARY KEY,
    kind             text NOT NULL CONSTRAINT own_mailbox_kind CHECK (kind IN ('PER', 'ORG', 'APP', 'CAB')),
    national_id      text COLLATE "C" NOT NULL,  -- "8" + RPPS, or empty
    civility         text NOT NULL,
    last_name        text NOT NULL,
    first_name       text NOT NULL,
    profession_code  text COLLATE "C" NOT NULL,
    profession       text NOT NULL,
    finess           text COLLATE "C" NOT NULL,
    siret            text COLLATE "C" NOT NULL,
    organisation     text NOT NULL,
    service          text NOT NULL,
    description      text NOT NULL,
    responsible      text NOT NULL,
    rank             smallint NOT NULL,
    unlisted         boolean NOT NULL,
    near             text[] COLLATE "C" NOT NULL,  -- keys under which the name before "@" is found despite a mistake
    published_at     timestamptz NOT NULL,
    changed_at       timestamptz NOT NULL,
    withdrawn_at     timestamptz,
    CONSTRAINT own_mailbox_holder CHECK (national_id <> '' OR finess <> '' OR siret <> '')
);
-- What nobody is shown is not in it: whoever asks takes as long whether there is an unlisted mailbox or none.
CREATE INDEX own_mailbox_near ON directory.own_mailbox USING gin (near) WHERE withdrawn_at IS NULL AND NOT unlisted;

-- Said by who publishes a mailbox; the national files do not tell it. Rank 1 is preferred, 0 is none. (Who answers for a
-- mailbox is told to the national directory alone, whose public profile has no place for it.)
ALTER TABLE directory.mailbox_entry ADD description text NOT NULL DEFAULT '', ADD rank smallint NOT NULL DEFAULT 0;
-- Who told a row, as for organisations: 0 and 1 the national files, 3 this operator alone.
ALTER TABLE directory.professional ADD told_by smallint NOT NULL DEFAULT 0;
CREATE INDEX professional_ours ON directory.professional (national_id) WHERE told_by = 3;
CREATE INDEX organisation_ours ON directory.organisation (organisation_id) WHERE told_by = 3;

-- Whoever refuses an address may look for the nearest one.
GRANT SELECT (address, unlisted, near, withdrawn_at) ON directory.own_mailbox TO caducee_edge;
