"""Every statement on the operator's own mailboxes, each with a line of why."""

# ruff: noqa: S608 - statements are put together from the constants of this file alone; values are always parameters

from __future__ import annotations

# Whoever publishes waits for an import to end, and an import for it: the same lock as directory.queries.TRY_LOCK.
LOCK = "SELECT pg_advisory_xact_lock(7268311002)"

# What is said now takes the place of what was said; one that had left comes back. A JSON array of rows.
PUT = """
INSERT INTO directory.own_mailbox AS old
SELECT (jsonb_populate_record(said, jsonb_build_object('published_at', $2::timestamptz, 'changed_at', $2))).*
  FROM jsonb_populate_recordset(NULL::directory.own_mailbox, $1::jsonb) said
    ON CONFLICT (address) DO UPDATE SET
       (kind, national_id, civility, last_name, first_name, profession_code, profession, finess, siret, organisation,
        service, description, responsible, rank, unlisted, near, changed_at, published_at, withdrawn_at)
     = (excluded.kind, excluded.national_id, excluded.civility, excluded.last_name, excluded.first_name,
        excluded.profession_code, excluded.profession, excluded.finess, excluded.siret, excluded.organisation,
        excluded.service, excluded.description, excluded.responsible, excluded.rank, excluded.unlisted, excluded.near,
        excluded.changed_at,
        CASE WHEN old.withdrawn_at IS NULL THEN old.published_at ELSE excluded.published_at END, NULL)
"""
WITHDRAW = """
UPDATE directory.own_mailbox SET withdrawn_at = $2, changed_at = $2
 WHERE address = ANY($1::text[]) AND withdrawn_at IS NULL RETURNING address
"""
# Of one that was withdrawn too: it may come back as it was.
SAID = "SELECT * FROM directory.own_mailbox WHERE address = $1"
PUBLISHED = "SELECT address FROM directory.own_mailbox WHERE withdrawn_at IS NULL ORDER BY address"
# For the file: all that is published, or what differs since a moment, those that left too. A person and a structure are
# called as everybody finds them, where they are still there.
TOLD = """
SELECT o.kind, o.address, o.national_id, o.finess, o.siret, o.service, o.description, o.responsible, o.rank, o.unlisted,
       o.published_at, o.withdrawn_at,
       coalesce(p.civility, o.civility) AS civility, coalesce(p.last_name, o.last_name) AS last_name,
       coalesce(p.first_name, o.first_name) AS first_name,
       coalesce(p.profession_code, o.profession_code) AS profession_code,
       coalesce(p.profession, o.profession) AS profession,
       coalesce(g.name, o.organisation) AS organisation, g.sign, g.street, g.postcode, g.town, g.department, g.country
  FROM directory.own_mailbox o
  LEFT JOIN directory.mailbox_entry m ON m.address = o.address AND m.source = 'own'
  LEFT JOIN directory.professional p ON p.national_id = m.national_id AND p.profession_code = m.profession_code
  LEFT JOIN directory.organisation g ON g.organisation_id = m.organisation_id
 WHERE CASE WHEN $1::timestamptz IS NULL THEN o.withdrawn_at IS NULL ELSE o.changed_at >= $1 END
 ORDER BY o.address
"""

# From what is said to the tables that everybody searches, in this order. $1: addresses, or null for all.
_SAID = "directory.own_mailbox o WHERE o.withdrawn_at IS NULL AND ($1::text[] IS NULL OR o.address = ANY($1))"
TOLD_BY_US = 3  # after the professionals' file (0), the mailbox file (1) and the FINESS file (2)
# Whom the national files name is called as they say there.
_KNOWN_PERSON = f"""
SELECT p.profession_code FROM directory.professional p
 WHERE p.national_id = o.national_id AND p.told_by < {TOLD_BY_US}
 ORDER BY p.profession_code <> o.profession_code, p.profession_code LIMIT 1
"""
# The professionals' file knows a structure by a technical identifier; ours is its FINESS or SIRET.
_PLACE = """
SELECT g.organisation_id FROM directory.organisation g
 WHERE g.told_by <= {told_by} AND CASE WHEN o.finess <> '' THEN g.finess = o.finess
                                       ELSE o.siret <> '' AND g.siret = o.siret END
 ORDER BY g.told_by, g.organisation_id LIMIT 1
"""
SETTLE = (
    f"""
    INSERT INTO directory.professional
           (national_id, profession_code, identifier, civility, last_name, first_name, profession, category_code,
            told_by)
    SELECT DISTINCT ON (o.national_id, o.profession_code) o.national_id, o.profession_code, substr(o.national_id, 2),
           o.civility, o.last_name, o.first_name, o.profession, '', {TOLD_BY_US}
      FROM {_SAID} AND o.national_id <> '' AND NOT EXISTS ({_KNOWN_PERSON})
     ORDER BY o.national_id, o.profession_code, o.changed_at DESC
        ON CONFLICT (national_id, profession_code) DO UPDATE
       SET (civility, last_name, first_name, profession, changed_at)
         = (excluded.civility, excluded.last_name, excluded.first_name, excluded.profession, now())
     WHERE (professional.civility, professional.last_name, professional.first_name, professional.profession)
           IS DISTINCT FROM (excluded.civility, excluded.last_name, excluded.first_name, excluded.profession)
    RETURNING national_id, profession_code, '' AS organisation_id, 'professional' AS kind, national_id AS key
    """,
    f"""
    INSERT INTO directory.organisation
           (organisation_id, finess, legal_finess, siret, siren, name, sign, street, postcode, town, commune_code,
            department, country, sector_code, sector, phone, told_by)
    SELECT DISTINCT ON (1) coalesce(nullif(o.finess, ''), o.siret), o.finess, '', o.siret, left(o.siret, 9),
           o.organisation, '', '', '', '', '', '', '', '', '', '', {TOLD_BY_US}
      FROM {_SAID} AND (o.finess <> '' OR o.siret <> '')
       AND NOT EXISTS ({_PLACE.format(told_by=TOLD_BY_US - 1)})
     ORDER BY 1, o.changed_at DESC
        ON CONFLICT (organisation_id) DO UPDATE SET name = excluded.name, changed_at = now()
     WHERE organisation.name <> excluded.name
    RETURNING '' AS national_id, '' AS profession_code, organisation_id, 'organisation' AS kind, organisation_id AS key
    """,
    f"""
    INSERT INTO directory.mailbox_entry AS old
           (address, kind, national_id, profession_code, organisation_id, service, paperless, unlisted, source,
            description, rank)
    SELECT o.address, o.kind, o.national_id,
           CASE WHEN o.national_id = '' THEN '' ELSE coalesce(({_KNOWN_PERSON}), o.profession_code) END,
           coalesce(({_PLACE.format(told_by=TOLD_BY_US)}), ''), o.service, false, o.unlisted, 'own',
           o.description, o.rank
      FROM {_SAID}
        ON CONFLICT (address) DO UPDATE SET
           (kind, national_id, profession_code, organisation_id, service, unlisted, source, description, rank,
            changed_at)
         = (excluded.kind, excluded.national_id, excluded.profession_code, excluded.organisation_id, excluded.service,
            excluded.unlisted, 'own', excluded.description, excluded.rank, now())
     WHERE (old.kind, old.national_id, old.profession_code, old.organisation_id, old.service, old.unlisted, old.source,
            old.description, old.rank)
           IS DISTINCT FROM
           (excluded.kind, excluded.national_id, excluded.profession_code, excluded.organisation_id, excluded.service,
            excluded.unlisted, 'own', excluded.description, excluded.rank)
    RETURNING national_id, profession_code, organisation_id, 'mailbox' AS kind, address AS key
    """,
)
# What nothing of ours says any more: entries that were withdrawn; whom we alone told, and who has no mailbox of ours or
# is told by the national files now.
_ENTRIES = """
DELETE FROM directory.mailbox_entry m USING directory.own_mailbox o
 WHERE m.address = o.address AND m.source = 'own' AND o.withdrawn_at IS NOT NULL
   AND ($1::text[] IS NULL OR o.address = ANY($1))
RETURNING m.national_id, m.profession_code, m.organisation_id, 'mailbox' AS kind, m.address AS key
"""
DROP_CERTIFICATES = "DELETE FROM directory.mailbox_certificate WHERE address = ANY($1::text[])"
_PERSONS = f"""
DELETE FROM directory.professional p WHERE p.told_by = {TOLD_BY_US}
   AND ($1::text[] IS NULL OR p.national_id IN (
        SELECT national_id FROM directory.own_mailbox WHERE address = ANY($1)))
   AND NOT EXISTS (SELECT FROM directory.mailbox_entry m
                    WHERE m.national_id = p.national_id AND m.profession_code = p.profession_code)
RETURNING p.national_id, p.profession_code, '' AS organisation_id, 'professional' AS kind, p.national_id AS key
"""
_PLACES = f"""
DELETE FROM directory.organisation g WHERE g.told_by = {TOLD_BY_US}
   AND ($1::text[] IS NULL OR g.organisation_id IN (
        SELECT coalesce(nullif(finess, ''), siret) FROM directory.own_mailbox WHERE address = ANY($1)))
   AND NOT EXISTS (SELECT FROM directory.mailbox_entry m WHERE m.organisation_id = g.organisation_id)
RETURNING '' AS national_id, '' AS profession_code, g.organisation_id, 'organisation' AS kind, g.organisation_id AS key
"""
REMOVE = (_ENTRIES, _PERSONS, _PLACES)  # in this order
# Whose listings change: the person's, and the structure's own. $1 to $3: keys of rows that were written or removed.
CREATE_TOUCHED = """
CREATE TEMP TABLE IF NOT EXISTS stage_touched (
    national_id text COLLATE "C", profession_code text COLLATE "C", organisation_id text COLLATE "C") ON COMMIT DROP
"""
TOUCH = """
INSERT INTO stage_touched
SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS row(national_id, profession_code, organisation_id)
 WHERE national_id <> ''
UNION
SELECT '', '', organisation_id FROM unnest($3::text[]) AS organisation_id WHERE organisation_id <> ''
"""
# Followers of the directory hear of what left, and that it came back; a person leaves with the last profession.
GONE = """
INSERT INTO directory.gone (kind, key, gone_at)
SELECT DISTINCT kind, key, now() FROM unnest($1::text[], $2::text[]) AS row(kind, key)
 WHERE kind <> 'professional' OR NOT EXISTS (SELECT FROM directory.professional WHERE national_id = key)
    ON CONFLICT (kind, key) DO UPDATE SET gone_at = excluded.gone_at
"""
BACK = """
DELETE FROM directory.gone g USING unnest($1::text[], $2::text[]) AS row(kind, key)
 WHERE g.kind = row.kind AND g.key = row.key
"""

# The certificates of a mailbox are what is given, no others. $2: DER, $3: when each ends.
DROP_OTHER_CERTIFICATES = """
DELETE FROM directory.mailbox_certificate WHERE address = $1 AND certificate <> ALL($2::bytea[])
"""
ADD_CERTIFICATES = """
INSERT INTO directory.mailbox_certificate (address, certificate, not_after)
SELECT $1, certificate, not_after FROM unnest($2::bytea[], $3::timestamptz[]) AS new(certificate, not_after)
 WHERE EXISTS (SELECT FROM directory.own_mailbox WHERE address = $1 AND withdrawn_at IS NULL)
    ON CONFLICT (address, fingerprint) DO NOTHING
"""

# Names that share a key with a mistyped one, those of the nearest length first.
NEAR = """
SELECT address FROM directory.own_mailbox
 WHERE near && $1::text[] AND split_part(address, '@', 2) = $2 AND withdrawn_at IS NULL AND NOT unlisted
 ORDER BY abs(length(address) - $3), address LIMIT $4
"""
