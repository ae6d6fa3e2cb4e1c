"""Every SQL statement of an import, each with a line of why.

Files → `stage_…` (all that is said) → `chosen_…` (one row a key) → the tables. Temporary tables live as long as the
importing transaction. An import of the difference has a scope, whose rows alone are compared: `scope_person`,
`scope_organisation`, `scope_address`; what it changes stands in `stage_change`.
"""

# ruff: noqa: S608 - statements are put together from the constants of this file alone; values are always parameters

from __future__ import annotations

from dataclasses import dataclass

from directory.own.queries import TOLD_BY_US


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the schema `directory` that the national files fill."""

    name: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    scope: str  # where the values of the first key that are in scope stand
    ruled: str = "true"  # which rows `d` the files may change or remove
    stays: str = "false"  # which of them stay though no file tells them
    counted: str = "true"  # which rows `d` count as theirs
    said: tuple[str, ...] = ()  # columns of the stage alone
    gone: str = "NULL"  # key of a row in directory.gone

    @property
    def columns(self) -> tuple[str, ...]:
        return self.keys + self.values

    @property
    def stage(self) -> str:
        return f"stage_{self.name}"

    @property
    def stage_columns(self) -> tuple[str, ...]:
        told = tuple(column for column in self.columns if column != "told_by")
        return (*told, *self.said, "told_by")

    # `told_by` ranks what several files say of the same thing.
    def create_stage(self) -> str:
        columns = ", ".join(column for column in self.columns if column != "told_by")
        create = f"CREATE TEMP TABLE {self.stage} ON COMMIT DROP AS SELECT {columns} FROM directory.{self.name}"
        added = ", ".join(f"ADD {column}" for column in (*(f"{one} text" for one in self.said), "told_by smallint"))
        return f"{create} WITH NO DATA; ALTER TABLE {self.stage} {added}"

    # One row a key: of the smallest rank, and of those the one that says most; in no case the first, so that the order
    # of lines changes nothing.
    def choose(self) -> str:
        keys, columns = (", ".join(f"s.{column}" for column in some) for some in (self.keys, self.columns))
        values = ", ".join(f"s.{column} DESC" for column in self.values if column != "told_by")
        return f"SELECT DISTINCT ON ({keys}) {columns} FROM {self.stage} s ORDER BY {keys}, s.told_by, {values}"

    # The first import has nothing to compare with.
    def fill(self, chosen: str) -> str:
        columns = ", ".join(self.columns)
        return f"INSERT INTO directory.{self.name} ({columns}, changed_at) SELECT {columns}, $1 FROM ({chosen}) c"

    def create_chosen(self, chosen: str) -> str:
        return f"CREATE TEMP TABLE chosen_{self.name} ON COMMIT DROP AS {chosen}"

    def _same(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.{key} = {other}.{key}" for key in self.keys)

    def _recorded(self, what: str, statement: str, row: str) -> str:
        keys = ", ".join(f"{row}.{key}" for key in self.keys)
        gone = self.gone.format(row=row) if what == "removed" else "NULL::text"
        return (
            f"WITH done AS ({statement} RETURNING concat_ws(' ', {keys}) AS key, {row}.{self.keys[0]} AS first, "
            f"{gone} AS gone) INSERT INTO stage_change SELECT '{self.name}', '{what}', key, first, gone FROM done"
        )

    # Rows that did not change are not written: an import of the next day costs what changed.
    def remove(self, scoped: bool) -> str:
        key = self.keys[0]
        limit = f"d.{key} IN (SELECT {key} FROM {self.scope}) AND " if scoped else ""
        missing = f"NOT EXISTS (SELECT FROM chosen_{self.name} c WHERE {self._same('c', 'd')})"
        theirs = f"{self.ruled} AND NOT ({self.stays})"
        return self._recorded(
            "removed", f"DELETE FROM directory.{self.name} d WHERE {limit}{missing} AND {theirs}", "d"
        )

    def change(self) -> str:
        values = ", ".join(f"{column} = c.{column}" for column in self.values)
        before, after = (", ".join(f"{row}.{column}" for column in self.values) for row in ("d", "c"))
        return self._recorded(
            "changed",
            f"UPDATE directory.{self.name} d SET {values}, changed_at = $1 FROM chosen_{self.name} c "
            f"WHERE {self._same('c', 'd')} AND ({before}) IS DISTINCT FROM ({after}) AND {self.ruled}",
            "d",
        )

    def add(self) -> str:
        columns = ", ".join(self.columns)
        return self._recorded(
            "added",
            f"INSERT INTO directory.{self.name} AS d ({columns}, changed_at) SELECT {columns}, $1 "
            f"FROM chosen_{self.name} c WHERE NOT EXISTS (SELECT FROM directory.{self.name} e "
            f"WHERE {self._same('c', 'e')})",
            "d",
        )

    def count(self) -> str:
        return f"SELECT count(*) FROM directory.{self.name} d WHERE {self.counted}"

    def analyze_chosen(self) -> str:
        return f"ANALYZE chosen_{self.name}"

    # Loaded rows outnumber what autovacuum has seen; a plan made before it looks would read whole tables.
    def analyze(self) -> str:
        return f"ANALYZE directory.{self.name}"


# Whom this operator alone tells: persons and structures of its own mailboxes that no file names (directory/own).
_OURS = f"d.told_by = {TOLD_BY_US}"


PROFESSIONAL = Table(
    "professional",
    ("national_id", "profession_code"),
    ("identifier", "civility", "last_name", "first_name", "profession", "category_code", "told_by"),
    scope="scope_person",
    stays=_OURS,
    gone="{row}.national_id",
)
KNOW_HOW = Table("know_how", ("national_id", "profession_code", "code"), ("kind_code", "label"), scope="scope_person")
ORGANISATION = Table(
    "organisation",
    ("organisation_id",),
    (
        *("finess", "legal_finess", "siret", "siren", "name", "sign", "street", "postcode", "town"),
        *("commune_code", "department", "country", "sector_code", "sector", "phone", "told_by"),
    ),
    scope="scope_organisation",
    stays=_OURS,
    gone="{row}.organisation_id",
)
ACTIVITY = Table(
    "activity",
    ("national_id", "profession_code", "organisation_id", "mode_code", "role_code"),
    ("mode", "role"),
    scope="scope_person",
    gone="{row}.activity_id::text",
)
MAILBOX_ENTRY = Table(
    "mailbox_entry",
    ("address",),
    ("kind", "national_id", "profession_code", "organisation_id", "service", "paperless", "unlisted"),
    scope="scope_address",
    ruled="d.source = 'national'",
    counted="d.source = 'national'",
    said=("finess", "siret"),
    gone="{row}.address",
)
TABLES = {table.name: table for table in (PROFESSIONAL, KNOW_HOW, ORGANISATION, ACTIVITY, MAILBOX_ENTRY)}

# Two imports at once would wait for each other row by row; the second is told at once. The number is arbitrary.
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(7268311002)"
# An import may take minutes; sorting two million rows wants more than a query's memory.
SETTINGS = """
SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '10s';
SET LOCAL work_mem = '96MB'; SET LOCAL maintenance_work_mem = '128MB'
"""

LAST_COUNTS = "SELECT counts FROM directory.load ORDER BY load_id DESC LIMIT 1"
RECORD_LOAD = "INSERT INTO directory.load (loaded_at, files, counts) VALUES ($1, $2, $3)"
# Addresses that are this operator's own.
OWN_ADDRESSES = "SELECT address FROM directory.mailbox_entry WHERE source = 'own'"

# The lines of the last load, and which files they were of.
KNOWN_HEADERS = "SELECT DISTINCT file, header FROM directory.loaded_line"
KNOWN_PARTS = "SELECT digests, persons, places FROM directory.loaded_line WHERE file = $1 ORDER BY part"
FORGET_ALL_LINES = "DELETE FROM directory.loaded_line"
FORGET_LINES = "DELETE FROM directory.loaded_line WHERE file = $1"
KEEP_LINES = (
    "INSERT INTO directory.loaded_line (file, part, header, digests, persons, places) VALUES ($1,$2,$3,$4,$5,$6)"
)

# The texts behind numbers of persons that are no RPPS and of mailboxes of organisations: few.
OTHER_SUBJECTS = """
SELECT national_id FROM directory.professional WHERE national_id NOT LIKE '8%'
UNION SELECT national_id FROM directory.know_how WHERE national_id NOT LIKE '8%'
UNION SELECT address FROM directory.mailbox_entry WHERE national_id = ''
"""
# Which structures rows of these persons and addresses name.
ORGANISATIONS_OF = """
SELECT organisation_id FROM directory.activity WHERE national_id = ANY($1)
UNION SELECT organisation_id FROM directory.mailbox_entry WHERE national_id = ANY($1) OR address = ANY($2)
"""
ADDRESSES_OF = "SELECT address FROM directory.mailbox_entry WHERE national_id = ANY($1) OR address = ANY($2)"
NUMBERS_OF = """
SELECT finess AS number FROM directory.organisation WHERE organisation_id = ANY($1) AND finess <> ''
UNION SELECT siret FROM directory.organisation WHERE organisation_id = ANY($1) AND siret <> ''
"""
# Structures that a line which went may have been alone to tell: no row need name them.
TOLD_BY_OTHERS = "SELECT organisation_id FROM directory.organisation WHERE told_by > 0"
# Structures that the FINESS file may speak of.
WITH_FINESS = "SELECT organisation_id, finess FROM directory.organisation WHERE finess <> ''"

CREATE_SCOPE = tuple(
    f'CREATE TEMP TABLE scope_{name} ON COMMIT DROP AS SELECT DISTINCT unnest($1::text[]) COLLATE "C" AS {key}'
    for name, key in (("person", "national_id"), ("organisation", "organisation_id"), ("address", "address"))
)
ANALYZE_SCOPE = "ANALYZE scope_person; ANALYZE scope_organisation; ANALYZE scope_address"
# What this import does to each row; `first` is the first part of the key, `gone` the key of directory.gone.
CREATE_CHANGES = """
CREATE TEMP TABLE stage_change (name text, what text, key text, first text COLLATE "C", gone text COLLATE "C")
ON COMMIT DROP
"""

# The FINESS file tells the legal entity of structures that others tell of without one.
TELL_LEGAL_ENTITY = """
UPDATE chosen_organisation c SET legal_finess = f.legal_finess
  FROM (SELECT finess, max(legal_finess) AS legal_finess FROM stage_organisation WHERE told_by = 2 GROUP BY finess) f
 WHERE f.finess = c.finess AND c.finess <> '' AND c.legal_finess = ''
"""


# What the other files say of a structure that the professionals' file already told, under a technical number, is
# dropped; $1 says whether rows out of scope stay to be asked.
def drop_told_twice(number: str, scoped: bool) -> str:
    outside = f"""
       OR EXISTS (SELECT FROM directory.organisation o
                   WHERE o.told_by = 0 AND o.{number} <> '' AND o.{number} = s.{number}
                     AND o.organisation_id NOT IN (SELECT organisation_id FROM scope_organisation))"""
    return f"""
    DELETE FROM chosen_organisation s WHERE s.told_by > 0 AND s.{number} <> '' AND (
       EXISTS (SELECT FROM chosen_organisation o WHERE o.told_by = 0 AND o.{number} = s.{number})
       {outside if scoped else ""})
    """


# Mailboxes name structures by FINESS or SIRET; the professionals' file by a technical identifier too, which is kept.
def choose_mailboxes(scoped: bool) -> str:
    joins = "".join(
        f"""
        LEFT JOIN (SELECT {number}, min(organisation_id) AS organisation_id FROM directory.organisation
                    WHERE told_by = 0 AND {number} <> ''
                          {f"AND {number} IN (SELECT {number} FROM stage_mailbox_entry)" if scoped else ""}
                    GROUP BY {number}) {number}_of ON {number}_of.{number} = m.{number}"""
        for number in ("siret", "finess")
    )
    return f"""
    SELECT DISTINCT ON (s.address) * FROM (
        SELECT m.address, m.kind, m.national_id, m.profession_code,
               coalesce(finess_of.organisation_id, siret_of.organisation_id, m.organisation_id) AS organisation_id,
               m.service, m.paperless, m.unlisted
          FROM stage_mailbox_entry m {joins}) s
     ORDER BY s.address, s.kind DESC, s.national_id DESC, s.profession_code DESC, s.organisation_id DESC,
              s.service DESC, s.paperless DESC, s.unlisted DESC
    """


ANALYZE_STAGE = "; ".join(f"ANALYZE {table.stage}" for table in TABLES.values())
CHOSEN_ORGANISATIONS = "SELECT * FROM chosen_organisation ORDER BY organisation_id"
CHANGES = "SELECT name, what, count(*) AS rows FROM stage_change GROUP BY name, what"
SOME_CHANGES = """
SELECT name, what, key FROM (
    SELECT *, row_number() OVER (PARTITION BY name, what ORDER BY key) AS place FROM stage_change) numbered
 WHERE place <= $1 ORDER BY name, what, key
"""

# Who left is remembered until he comes back; a person leaves with the last profession.
REMEMBER_GONE = """
INSERT INTO directory.gone (kind, key, gone_at)
SELECT DISTINCT CASE name WHEN 'mailbox_entry' THEN 'mailbox' ELSE name END, gone, $1::timestamptz
  FROM stage_change c
 WHERE what = 'removed' AND gone IS NOT NULL AND (name <> 'professional' OR NOT EXISTS (
       SELECT FROM directory.professional p WHERE p.national_id = c.gone))
ON CONFLICT (kind, key) DO UPDATE SET gone_at = excluded.gone_at
"""
# What the trigger on new mailboxes does; others have nothing to do where all rows are as new as each other.
FORGET_GONE_SERVICES = """
DELETE FROM directory.gone_service g USING directory.mailbox_entry m
 WHERE g.key = md5(m.address) AND m.national_id = '' AND m.service <> '' AND NOT m.unlisted
"""
FORGET_GONE = """
DELETE FROM directory.gone g
 WHERE (kind = 'professional' AND EXISTS (SELECT FROM directory.professional WHERE national_id = g.key))
    OR (kind = 'organisation' AND EXISTS (SELECT FROM directory.organisation WHERE organisation_id = g.key))
    OR (kind = 'mailbox' AND EXISTS (SELECT FROM directory.mailbox_entry WHERE address = g.key))
"""

# The listings that what changed may concern, for the index: as they were, and as they are.
CREATE_TOUCHED = """
CREATE TEMP TABLE IF NOT EXISTS stage_touched (
    national_id text COLLATE "C", profession_code text COLLATE "C", organisation_id text COLLATE "C") ON COMMIT DROP
"""
TOUCH_SCOPE = """
INSERT INTO stage_touched
SELECT national_id, profession_code, organisation_id FROM directory.activity
 WHERE national_id IN (SELECT national_id FROM scope_person)
UNION
SELECT national_id, profession_code, organisation_id FROM directory.mailbox_entry
 WHERE national_id IN (SELECT national_id FROM scope_person) OR address IN (SELECT address FROM scope_address)
"""
TOUCH_ORGANISATIONS = """
WITH changed AS (SELECT first AS organisation_id FROM stage_change WHERE name = 'organisation')
INSERT INTO stage_touched
SELECT '', '', organisation_id FROM changed
UNION SELECT a.national_id, a.profession_code, organisation_id
        FROM directory.activity a JOIN changed USING (organisation_id)
UNION SELECT m.national_id, m.profession_code, organisation_id
        FROM directory.mailbox_entry m JOIN changed USING (organisation_id)
"""
TOUCH_ONCE = """
DELETE FROM stage_touched t USING stage_touched o
 WHERE t.ctid > o.ctid AND (t.national_id, t.profession_code, t.organisation_id)
       = (o.national_id, o.profession_code, o.organisation_id)
"""

LAST_LOAD = """
SELECT loaded_at, files, counts,
       (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
         WHERE relnamespace = 'directory'::regnamespace AND relkind = 'r') AS size,
       pg_total_relation_size('directory.listing') + pg_total_relation_size('directory.word') AS index_size
  FROM directory.load ORDER BY load_id DESC LIMIT 1
"""
# Every row about a key ($1), which may be a person's ($2): its own, and those that name it.
_PLACES = "SELECT organisation_id FROM directory.organisation WHERE organisation_id = $1 OR finess = $1 OR siret = $1"
_BOX = "SELECT {} FROM directory.mailbox_entry WHERE address = $1"
SHOW = {
    "professional": f"""
    SELECT to_jsonb(p)::text FROM directory.professional p
     WHERE national_id IN ($2, ({_BOX.format("national_id")})) ORDER BY profession_code
    """,
    "know_how": f"""
    SELECT to_jsonb(h)::text FROM directory.know_how h
     WHERE national_id IN ($2, ({_BOX.format("national_id")})) ORDER BY profession_code, code
    """,
    "activity": f"""
    SELECT to_jsonb(a)::text FROM directory.activity a
     WHERE national_id IN ($2, ({_BOX.format("national_id")})) ORDER BY activity_id
    """,
    "organisation": f"""
    SELECT to_jsonb(o)::text FROM directory.organisation o
     WHERE organisation_id IN ({_PLACES}) OR organisation_id = ({_BOX.format("organisation_id")})
        OR organisation_id IN (SELECT organisation_id FROM directory.activity WHERE national_id = $2)
     ORDER BY organisation_id
    """,
    "mailbox_entry": f"""
    SELECT to_jsonb(m)::text FROM directory.mailbox_entry m
     WHERE address = $1 OR (national_id = $2 AND national_id <> '') OR organisation_id IN ({_PLACES}) ORDER BY address
    """,
    "mailbox_certificate": """
    SELECT (to_jsonb(c) - 'certificate')::text FROM directory.mailbox_certificate c WHERE address IN ($1, $2)
     ORDER BY not_after
    """,
    "gone": "SELECT to_jsonb(g)::text FROM directory.gone g WHERE key IN ($1, $2) ORDER BY kind",
}
