"""Every SQL statement of the directory, each with a line of why."""

# ruff: noqa: S608 - statements are put together from the constants of this file alone; values are always parameters

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

# A connection of our own or one that a pool lends. (As text: the classes take no parameter when the program runs.)
Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the schema `directory` and its twin `stage_<name>`, which lives as long as the loading transaction."""

    name: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    extra: tuple[str, ...] = ()  # columns of the stage alone

    @property
    def columns(self) -> tuple[str, ...]:
        return self.keys + self.values

    @property
    def stage(self) -> str:
        return f"stage_{self.name}"

    @property
    def stage_columns(self) -> tuple[str, ...]:
        return (*self.columns, *(column.split()[0] for column in self.extra), "source")

    # `source` ranks what several files say of the same thing: the smallest wins.
    def create_stage(self) -> str:
        chosen = f"SELECT {', '.join(self.columns)} FROM directory.{self.name}"
        added = ", ".join(f"ADD {column}" for column in (*self.extra, "source smallint"))
        create = f"CREATE TEMP TABLE {self.stage} ON COMMIT DROP AS {chosen} WITH NO DATA"
        return f"{create}; ALTER TABLE {self.stage} {added}"

    # Rows that did not change are not written: an import of the next day costs what changed.
    def merge(self) -> str:
        keys, columns = ", ".join(self.keys), ", ".join(self.columns)
        chosen = f"SELECT DISTINCT ON ({keys}) {columns} FROM {self.stage} ORDER BY {keys}, source, ctid"
        insert = f"INSERT INTO directory.{self.name} AS old ({columns}) {chosen} ON CONFLICT ({keys})"
        changed = ", ".join(f"{column} = excluded.{column}" for column in self.values)
        before, after = (", ".join(f"{row}.{column}" for column in self.values) for row in ("old", "excluded"))
        return f"{insert} DO UPDATE SET {changed} WHERE ({before}) IS DISTINCT FROM ({after})"

    def remove_missing(self) -> str:
        same = " AND ".join(f"s.{key} = old.{key}" for key in self.keys)
        return f"DELETE FROM directory.{self.name} old WHERE NOT EXISTS (SELECT FROM {self.stage} s WHERE {same})"

    # Loaded rows outnumber what autovacuum has seen; a plan made before it looks would read whole tables.
    def analyze(self) -> str:
        return f"ANALYZE directory.{self.name}"


LISTING = Table("listing", ("national_id", "profession_code", "organisation_id"), ("sort_name", "mailboxes", "words"))

# What can be found: each person at each place (by activity, else by mailbox), and each organisation that is more than
# one person's practice (SA07, or a place without a number, "@") or has a mailbox of its own. With the texts that the
# words of the index come from.
LISTED = """
WITH place AS (
    SELECT DISTINCT national_id, profession_code, organisation_id FROM directory.activity
    UNION
    SELECT m.national_id, m.profession_code, m.organisation_id FROM directory.mailbox_entry m
     WHERE m.national_id <> '' AND (m.organisation_id NOT IN ('', '@' || m.address) OR NOT EXISTS (
           SELECT FROM directory.activity a WHERE a.national_id = m.national_id))
    UNION ALL
    SELECT '', '', o.organisation_id FROM directory.organisation o
     WHERE (o.sector_code <> 'SA07' AND o.organisation_id NOT LIKE '@%') OR EXISTS (
           SELECT FROM directory.mailbox_entry m WHERE m.organisation_id = o.organisation_id AND m.national_id = '')
)
SELECT k.national_id, k.profession_code, k.organisation_id, p.last_name, p.first_name, p.profession,
       o.name, o.sign, o.postcode, o.town, o.sector,
       ARRAY(SELECT h.label FROM directory.know_how h
              WHERE h.national_id = k.national_id AND h.profession_code = k.profession_code
              ORDER BY h.code) AS know_how,
       ARRAY(SELECT m.service FROM directory.mailbox_entry m
              WHERE m.national_id = k.national_id AND m.national_id <> ''
             UNION ALL
             SELECT m.service FROM directory.mailbox_entry m
              WHERE m.organisation_id = k.organisation_id AND m.organisation_id <> '' AND m.national_id = ''
                AND k.national_id = '') AS services
  FROM place k
  LEFT JOIN directory.professional p ON p.national_id = k.national_id AND p.profession_code = k.profession_code
  LEFT JOIN directory.organisation o ON o.organisation_id = k.organisation_id
"""

WORDS = "SELECT field, word, word_id FROM directory.word"
CREATE_STAGE_WORD = """
CREATE TEMP TABLE stage_word (word_id integer, field text, word text, uses integer, near text[]) ON COMMIT DROP
"""
# Words known before come without their keys (near is null): only their use is counted anew.
MERGE_WORDS = (
    "INSERT INTO directory.word SELECT word_id, field, word, uses, near FROM stage_word WHERE near IS NOT NULL",
    """
    UPDATE directory.word w SET uses = s.uses FROM stage_word s
     WHERE s.near IS NULL AND w.word_id = s.word_id AND w.uses <> s.uses
    """,
    "DELETE FROM directory.word w WHERE NOT EXISTS (SELECT FROM stage_word s WHERE s.word_id = w.word_id)",
    "ANALYZE directory.word",
)

# The three ways from a word of a question to words of the index: equal, begun, mistyped.
EQUAL_WORDS = "SELECT word_id, field FROM directory.word WHERE word = $1 AND field = ANY($2)"
BEGUN_WORDS = """
SELECT word_id, field FROM directory.word
 WHERE word > $1 AND word < $2 AND field = ANY($3) ORDER BY uses DESC, word_id LIMIT $4
"""
NEAR_WORDS = """
SELECT word_id, word FROM directory.word WHERE near && $1 AND field = ANY($2) ORDER BY uses DESC, word_id LIMIT $3
"""


# What a word of a question counts, by how it fits: equal, equal in the name of the place where a person practises,
# begun, one mistake, two.
WEIGHTS = (10, 8, 6, 4, 2)


def find(required: int, optional: int) -> str:
    """The keys of the listings that hold every required word, best first.

    Parameters, each an array of word numbers: for each required word all that it may stand for, then those of each
    level of WEIGHTS but the last; then one for each optional word (counts 1); at last the limit. Equal scores keep one
    order: those with a mailbox first, then by name, then by key.
    """
    where: list[str] = []
    score: list[str] = []
    number = 1
    for _ in range(required):
        where.append(f"l.words && ${number}::int[]")
        levels = enumerate(WEIGHTS[:-1], number + 1)
        cases = " ".join(f"WHEN l.words && ${place}::int[] THEN {weight}" for place, weight in levels)
        score.append(f"CASE {cases} ELSE {WEIGHTS[-1]} END")
        number += len(WEIGHTS)
    for _ in range(optional):
        score.append(f"CASE WHEN l.words && ${number}::int[] THEN 1 ELSE 0 END")
        number += 1
    return (
        f"SELECT l.national_id, l.profession_code, l.organisation_id, {' + '.join(score)} AS score "
        f"FROM directory.listing l WHERE {' AND '.join(where)} "
        "ORDER BY score DESC, (l.mailboxes > 0) DESC, l.sort_name, l.national_id, l.profession_code, l.organisation_id "
        f"LIMIT ${number}"
    )


# What identifies by itself needs no words.
BY_NATIONAL_ID = """
SELECT national_id, profession_code, organisation_id FROM directory.listing
 WHERE national_id = ANY($1) ORDER BY 1, 2, 3 LIMIT $2
"""
BY_STRUCTURE = """
SELECT l.national_id, l.profession_code, l.organisation_id
  FROM directory.organisation o JOIN directory.listing l ON l.organisation_id = o.organisation_id AND l.national_id = ''
 WHERE o.finess = $1 OR o.siret = $1 OR o.organisation_id = $1 ORDER BY 1, 2, 3 LIMIT $2
"""
BY_ADDRESS = """
SELECT l.national_id, l.profession_code, l.organisation_id
  FROM directory.mailbox_entry m
  JOIN directory.listing l ON l.national_id = m.national_id
       AND (l.organisation_id = m.organisation_id OR m.organisation_id IN ('', '@' || m.address))
 WHERE m.address = $1 ORDER BY 1, 2, 3 LIMIT $2
"""

# All that a screen shows of the listings found, in the order given. A person's mailbox at this place comes first.
DETAILS = """
SELECT k.national_id, k.profession_code, k.organisation_id,
       p.identifier, p.civility, p.last_name, p.first_name, p.profession,
       o.finess, o.name, o.sign, o.street, o.postcode, o.town, o.sector, o.phone,
       ARRAY(SELECT h.label FROM directory.know_how h
              WHERE h.national_id = k.national_id AND h.profession_code = k.profession_code
              ORDER BY h.code) AS know_how,
       ARRAY(SELECT m.kind || ' ' || m.address FROM directory.mailbox_entry m
              WHERE m.national_id = k.national_id AND m.national_id <> ''
              ORDER BY (m.organisation_id = k.organisation_id) DESC, m.address LIMIT 20) AS own_mailboxes,
       ARRAY(SELECT m.kind || ' ' || m.address FROM directory.mailbox_entry m
              WHERE m.organisation_id = k.organisation_id AND m.organisation_id <> '' AND m.national_id = ''
              ORDER BY m.address LIMIT 20) AS place_mailboxes
  FROM unnest($1::text[], $2::text[], $3::text[])
       WITH ORDINALITY AS k (national_id, profession_code, organisation_id, rank)
  LEFT JOIN directory.professional p ON p.national_id = k.national_id AND p.profession_code = k.profession_code
  LEFT JOIN directory.organisation o ON o.organisation_id = k.organisation_id
 WHERE p.national_id IS NOT NULL OR o.organisation_id IS NOT NULL
 ORDER BY k.rank
"""

# Who a mailbox belongs to: by two keys. No row where no directory was ever loaded, an empty one for an unknown address.
REGISTRATION = """
SELECT m.kind, m.national_id, o.finess, o.legal_finess, o.siret
  FROM (SELECT FROM directory.load LIMIT 1) AS loaded
  LEFT JOIN directory.mailbox_entry m ON m.address = $1
  LEFT JOIN directory.organisation o ON o.organisation_id = m.organisation_id
"""
