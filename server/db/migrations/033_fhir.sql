-- The directory by FHIR: each search walks an index in its order, and what belongs to a resource moves its date.

-- A name, town or word of a search without case, accents, hyphens or apostrophes: words parted by one space, as
-- directory/folding.py makes them (a test compares the two). Plain letters and those of French take short ways: this is
-- done for each name and town of an import.
CREATE FUNCTION directory.folded(said text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    plain text := said;
BEGIN
    IF plain !~ '^[A-Za-z0-9 ]*$' THEN
        plain := translate(said, 'ÀÂÄÇÉÈÊËÎÏÔÖÙÛÜàâäçéèêëîïôöùûü''’-', 'AAACEEEEIIOOUUUaaaceeeeiioouuu   ');
    END IF;
    IF plain ~ '^[A-Za-z0-9 ]*$' THEN
        IF position('  ' IN plain) > 0 THEN
            plain := regexp_replace(plain, ' +', ' ', 'g');
        END IF;
        RETURN btrim(lower(plain COLLATE "C"));
    END IF;
    RETURN btrim(regexp_replace(
        replace(replace(replace(replace(translate(lower(regexp_replace(normalize(said, NFKD),
            U&'[\0300-\036F\1AB0-\1AFF\1DC0-\1DFF\20D0-\20FF\FE20-\FE2F]', '', 'g') COLLATE "C"),
            U&'\0152\00C6\1E9E\00DE\00D8\00F8\0110\0111\0141\0142\0131\00D0\00F0',
            U&'\0153\00E6\00DF\00FEooddllidd'),
            U&'\0153', 'oe'), U&'\00E6', 'ae'), U&'\00DF', 'ss'), U&'\00FE', 'th'),
        '[^a-z0-9]+', ' ', 'g'));
END $$;

-- Kept in the rows: an index gives their order, and nobody folds them again.
ALTER TABLE directory.professional
    ADD folded_last text COLLATE "C" GENERATED ALWAYS AS (directory.folded(last_name)) STORED,
    ADD folded_first text COLLATE "C" GENERATED ALWAYS AS (directory.folded(first_name)) STORED;
ALTER TABLE directory.organisation
    ADD folded_name text COLLATE "C" GENERATED ALWAYS AS (directory.folded(name)) STORED,
    ADD folded_sign text COLLATE "C" GENERATED ALWAYS AS (directory.folded(sign)) STORED,
    ADD folded_town text COLLATE "C" GENERATED ALWAYS AS (directory.folded(town)) STORED;

CREATE INDEX professional_family ON directory.professional (folded_last, folded_first, national_id);
CREATE INDEX professional_given ON directory.professional (folded_first, folded_last, national_id);
CREATE INDEX professional_profession ON directory.professional (profession_code, national_id);
CREATE INDEX professional_changed ON directory.professional (changed_at, national_id);
CREATE INDEX know_how_code ON directory.know_how (code, national_id, profession_code);
CREATE INDEX organisation_name ON directory.organisation (folded_name, folded_town, organisation_id);
CREATE INDEX organisation_sign ON directory.organisation (folded_sign, organisation_id) WHERE sign <> '';
CREATE INDEX organisation_town ON directory.organisation (folded_town, organisation_id);
CREATE INDEX organisation_postcode ON directory.organisation ((postcode COLLATE "C"), organisation_id);
CREATE INDEX organisation_sector ON directory.organisation ((sector_code COLLATE "C"), organisation_id);
CREATE INDEX organisation_siren ON directory.organisation (siren) WHERE siren <> '';
CREATE INDEX organisation_legal ON directory.organisation (legal_finess) WHERE legal_finess <> '';
CREATE INDEX organisation_changed ON directory.organisation (changed_at, organisation_id);
CREATE INDEX activity_organisation ON directory.activity (organisation_id, activity_id);
CREATE INDEX activity_changed ON directory.activity (changed_at, activity_id);
CREATE INDEX mailbox_entry_domain ON directory.mailbox_entry
    ((split_part(address, '@', 2) COLLATE "C"), address) WHERE NOT unlisted;
-- The service that an organisation's mailbox names is a resource of its own.
CREATE INDEX mailbox_entry_service ON directory.mailbox_entry (md5(address)) WHERE national_id = '' AND service <> '';
CREATE INDEX mailbox_entry_changed ON directory.mailbox_entry (changed_at, address)
    WHERE national_id = '' AND service <> '';
CREATE INDEX gone_since ON directory.gone (kind, gone_at, key);

-- Services that are shown no more: their mailbox left, is unlisted now, or names none. The key is the resource's id.
CREATE TABLE directory.gone_service (
    key      text COLLATE "C" PRIMARY KEY,
    gone_at  timestamptz NOT NULL
);
CREATE INDEX gone_service_since ON directory.gone_service (gone_at, key);
GRANT SELECT ON directory.gone_service TO caducee_reader, caducee_edge, caducee_ldap;

CREATE FUNCTION directory.service_left() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = directory, pg_temp AS $$
BEGIN
    INSERT INTO gone_service SELECT md5(p.address), now() FROM part p
     WHERE p.national_id = '' AND p.service <> '' AND NOT p.unlisted AND NOT EXISTS (
           SELECT FROM mailbox_entry m WHERE m.address = p.address AND m.national_id = '' AND m.service <> ''
              AND NOT m.unlisted)
    ON CONFLICT (key) DO UPDATE SET gone_at = excluded.gone_at;
    RETURN NULL;
END $$;
CREATE FUNCTION directory.service_came() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = directory, pg_temp AS $$
BEGIN
    DELETE FROM gone_service g USING part p
     WHERE g.key = md5(p.address) AND p.national_id = '' AND p.service <> '' AND NOT p.unlisted;
    RETURN NULL;
END $$;
CREATE TRIGGER service_left AFTER DELETE ON directory.mailbox_entry REFERENCING OLD TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.service_left();
CREATE TRIGGER service_hidden AFTER UPDATE ON directory.mailbox_entry REFERENCING OLD TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.service_left();
CREATE TRIGGER service_came AFTER INSERT ON directory.mailbox_entry REFERENCING NEW TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.service_came();
CREATE TRIGGER service_shown AFTER UPDATE ON directory.mailbox_entry REFERENCING NEW TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.service_came();

-- A resource is made of several rows: a person with professions, know-how and mailboxes. What changes one of them moves
-- the date of the row that the resource is asked by, whoever writes. `part` is what a statement wrote or removed; rows
-- that are as new already (a first import) are not written again.
CREATE FUNCTION directory.part_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = directory, pg_temp AS $$
DECLARE
    moment timestamptz := now();
BEGIN
    IF TG_NAME IN ('part_came', 'part_changed') THEN
        SELECT max(changed_at) INTO moment FROM part;
    END IF;
    UPDATE professional p SET changed_at = moment
     WHERE p.changed_at < moment AND p.national_id IN (SELECT national_id FROM part WHERE national_id <> '');
    IF TG_TABLE_NAME <> 'professional' THEN
        UPDATE activity a SET changed_at = moment
         WHERE a.changed_at < moment AND a.national_id IN (SELECT national_id FROM part WHERE national_id <> '');
    END IF;
    IF TG_TABLE_NAME = 'mailbox_entry' THEN
        UPDATE organisation o SET changed_at = moment
         WHERE o.changed_at < moment
           AND o.organisation_id IN (SELECT organisation_id FROM part WHERE national_id = '');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER part_came AFTER INSERT ON directory.professional REFERENCING NEW TABLE AS part
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION directory.part_changed();
CREATE TRIGGER part_changed AFTER UPDATE ON directory.professional REFERENCING NEW TABLE AS part
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION directory.part_changed();
CREATE TRIGGER part_left AFTER DELETE ON directory.professional REFERENCING OLD TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.part_changed();
CREATE TRIGGER part_came AFTER INSERT ON directory.know_how REFERENCING NEW TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.part_changed();
CREATE TRIGGER part_changed AFTER UPDATE ON directory.know_how REFERENCING NEW TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.part_changed();
CREATE TRIGGER part_left AFTER DELETE ON directory.know_how REFERENCING OLD TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.part_changed();
CREATE TRIGGER part_came AFTER INSERT ON directory.mailbox_entry REFERENCING NEW TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.part_changed();
CREATE TRIGGER part_changed AFTER UPDATE ON directory.mailbox_entry REFERENCING NEW TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.part_changed();
-- A mailbox may move from one holder to another: who had it is shown without it.
CREATE TRIGGER part_moved AFTER UPDATE ON directory.mailbox_entry REFERENCING OLD TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.part_changed();
CREATE TRIGGER part_left AFTER DELETE ON directory.mailbox_entry REFERENCING OLD TABLE AS part
    FOR EACH STATEMENT EXECUTE FUNCTION directory.part_changed();
