"""Every SQL statement of the FHIR API, each with a line of why.

A search walks one index (or a few rows found by key) in the index's own order, and goes on after the last row it saw:
each page costs the same, the first as the thousandth. What the walk does not decide is looked at row by row (`fits`).
"""

# ruff: noqa: S608 - statements are put together from the constants of this file alone; values are always parameters

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

# Of a person in several professions one row stands for the person.
ONE_A_PERSON = """NOT EXISTS (SELECT FROM directory.professional o
    WHERE o.national_id = p.national_id AND o.profession_code < p.profession_code)"""
# Places that are known only from a mailbox's line are no structures of their own.
A_STRUCTURE = "o.organisation_id NOT LIKE '@%'"
# A service of an organisation that a mailbox names; unlisted mailboxes are shown to nobody.
A_SERVICE = "m.national_id = '' AND m.service <> '' AND NOT m.unlisted"
# A personal mailbox tied to a place where its holder practises is the activity's, any other the person's.
AT_AN_ACTIVITY = """EXISTS (SELECT FROM directory.activity x
    WHERE x.national_id = m.national_id AND x.organisation_id || '' = m.organisation_id)"""
THE_PERSONS = f"m.national_id <> '' AND NOT m.unlisted AND (m.kind = 'CAB' OR NOT {AT_AN_ACTIVITY})"
THE_ACTIVITYS = "m.national_id <> '' AND NOT m.unlisted AND m.kind <> 'CAB'"
THE_ORGANISATIONS = "m.national_id = '' AND NOT m.unlisted"

LAST, FIRST = "p.folded_last", "p.folded_first"
NAME, SIGN, TOWN = "o.folded_name", "o.folded_sign", "o.folded_town"
POSTCODE = '(o.postcode COLLATE "C")'
SECTOR = '(o.sector_code COLLATE "C")'
DOMAIN = "(split_part(m.address, '@', 2) COLLATE \"C\")"


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL with a "?" for each of its values."""

    sql: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Walk:
    """A way through an index: FROM what, in which order, what holds, and which resource a row is of.

    `twin`: where one resource may stand in the walk twice (a person with two mailboxes), what makes the rows `m` and
    `n` of `directory.mailbox_entry` the same resource; the first of them counts.
    """

    source: str
    order: tuple[str, ...]
    key: str
    holds: str = "TRUE"
    twin: str = ""
    lead: int = 0  # how many columns of the order are of the table that is walked; 0: all


def page(
    walk: Walk, where: Sequence[Condition], fits: Condition, after: Sequence[Any], limit: int, *, backward: bool = False
) -> tuple[str, list[Any]]:
    """The next rows of a walk: what orders them, the key, and whether each `fits`. With the statement's values.

    `where` bounds the walk; `after` is the order of the row to go on from, empty for the beginning (or the end).
    """
    values: list[Any] = []

    def put(condition: Condition) -> str:
        text, *rest = condition.sql.split("?")
        for piece, value in zip(rest, condition.values, strict=True):
            values.append(value)
            text += f"${len(values)}{piece}"
        return text

    chosen = put(fits)
    bounds = [walk.holds, *map(put, where)]
    if after:
        # Where a table is joined to the one that is walked, its index begins at the columns of that one alone.
        for leading, further in ((walk.order[: walk.lead], "="), (walk.order, "")):
            if leading:
                marks = ", ".join("?" for _ in leading)
                beyond = f"({', '.join(leading)}) {'<' if backward else '>'}{further} ({marks})"
                bounds.append(put(Condition(beyond, tuple(after[: len(leading)]))))
    if walk.twin:
        twins = " AND ".join(re.sub(r"\bm\.", "n.", bound) for bound in (walk.holds, *map(put, where)))
        bounds.append(
            "NOT EXISTS (SELECT FROM directory.mailbox_entry n "
            f"WHERE {walk.twin} AND n.address < m.address AND {twins})"
        )
    direction = " DESC" if backward else ""
    columns = ", ".join(f"{column} AS o{number}" for number, column in enumerate(walk.order))
    by = ", ".join(column + direction for column in walk.order)
    values.append(limit)
    return (
        f"SELECT {columns}, {walk.key} AS key, ({chosen}) AS fits FROM {walk.source} "
        f"WHERE {' AND '.join(bounds)} ORDER BY {by} LIMIT ${len(values)}",
        values,
    )


def count(walk: Walk, where: Sequence[Condition], limit: int) -> tuple[str, list[Any]]:
    """How many rows a walk has, counted up to a limit: the exact total of a search that the walk alone decides."""
    rows, values = page(walk, where, Condition("TRUE"), (), limit)
    return f"SELECT count(*) FROM ({rows}) AS found", values


_PERSON_AT_WORK = "directory.professional p JOIN directory.activity a USING (national_id, profession_code)"
_PLACE_OF_WORK = "directory.organisation o JOIN directory.activity a USING (organisation_id)"
# By the person: a hospital has thousands of activities, of which the planner knows only the average.
_MAILBOX_AT_WORK = """directory.mailbox_entry m JOIN directory.activity a
    ON a.national_id = m.national_id AND a.organisation_id || '' = m.organisation_id"""
_MAILBOX_OF_PERSON = Walk(
    "directory.mailbox_entry m JOIN directory.professional p USING (national_id)",
    ("m.address",),
    "p.national_id",
    f"{THE_PERSONS} AND {ONE_A_PERSON}",
    "n.national_id = m.national_id",
)
_MAILBOX_OF_ROLE = Walk(
    _MAILBOX_AT_WORK,
    ("m.address", "a.activity_id"),
    "a.activity_id",
    THE_ACTIVITYS,
    "n.national_id = m.national_id AND n.organisation_id = m.organisation_id",
    lead=1,
)
_MAILBOX_OF_PLACE = Walk(
    "directory.mailbox_entry m JOIN directory.organisation o USING (organisation_id)",
    ("m.address",),
    "o.organisation_id",
    f"{THE_ORGANISATIONS} AND {A_STRUCTURE}",
    "n.organisation_id = m.organisation_id",
)


def _by_domain(walk: Walk) -> Walk:
    return replace(walk, order=(DOMAIN, *walk.order), lead=walk.lead and walk.lead + 1)


def _persons(*order: str) -> Walk:
    return Walk("directory.professional p", (*order, "p.national_id"), "p.national_id", ONE_A_PERSON)


def _roles(source: str, *order: str, holds: str = "TRUE") -> Walk:
    return Walk(source, (*order, "a.activity_id"), "a.activity_id", holds, lead=len(order) if "JOIN" in source else 0)


def _places(*order: str, holds: str = A_STRUCTURE) -> Walk:
    return Walk("directory.organisation o", (*order, "o.organisation_id"), "o.organisation_id", holds)


def _services(*order: str) -> Walk:
    return Walk("directory.mailbox_entry m", (*order, "m.address"), "m.address", A_SERVICE)


def _gone(kind: str, holds: str) -> Walk:
    return Walk("directory.gone g", ("g.gone_at", "g.key"), "g.key", f"g.kind = '{kind}' AND {holds}")


PERSONS = _persons()
PERSONS_CHANGED = _persons("p.changed_at")
PERSONS_BY_FAMILY = _persons(LAST, FIRST)
PERSONS_BY_GIVEN = _persons(FIRST, LAST)
PERSONS_BY_PROFESSION = replace(_persons("p.profession_code"), holds="TRUE")
PERSONS_BY_KNOW_HOW = Walk(
    "directory.know_how k JOIN directory.professional p USING (national_id, profession_code)",
    ("k.code", "k.national_id", "k.profession_code"),
    "p.national_id",
    """NOT EXISTS (SELECT FROM directory.know_how n
    WHERE n.national_id = k.national_id AND n.code = k.code AND n.profession_code < k.profession_code)""",
)
PERSONS_BY_MAILBOX = _MAILBOX_OF_PERSON
PERSONS_BY_DOMAIN = _by_domain(_MAILBOX_OF_PERSON)
PERSONS_GONE = _gone("professional", "NOT EXISTS (SELECT FROM directory.professional p WHERE p.national_id = g.key)")
ROLES = _roles("directory.activity a")
ROLES_CHANGED = _roles("directory.activity a", "a.changed_at")
ROLES_OF_PERSON = _roles("directory.activity a", "a.national_id")
ROLES_OF_PLACE = _roles("directory.activity a", "a.organisation_id")
ROLES_BY_KNOW_HOW = _roles(
    "directory.know_how k JOIN directory.activity a USING (national_id, profession_code)", "k.code", "k.national_id"
)
ROLES_BY_FAMILY = _roles(_PERSON_AT_WORK, LAST, FIRST, "p.national_id")
ROLES_BY_GIVEN = _roles(_PERSON_AT_WORK, FIRST, LAST, "p.national_id")
ROLES_OF_PLACES = _roles(_PLACE_OF_WORK, "o.organisation_id")
ROLES_BY_NAME = _roles(_PLACE_OF_WORK, NAME, TOWN, "o.organisation_id")
ROLES_BY_SIGN = _roles(_PLACE_OF_WORK, SIGN, "o.organisation_id", holds="o.sign <> ''")
ROLES_BY_TOWN = _roles(_PLACE_OF_WORK, TOWN, "o.organisation_id")
ROLES_BY_POSTCODE = _roles(_PLACE_OF_WORK, POSTCODE, "o.organisation_id")
ROLES_BY_MAILBOX = _MAILBOX_OF_ROLE
ROLES_BY_DOMAIN = _by_domain(_MAILBOX_OF_ROLE)
ROLES_GONE = _gone("activity", "TRUE")  # a number is never given again
PLACES = _places()
PLACES_CHANGED = _places("o.changed_at")
PLACES_BY_NAME = _places(NAME, TOWN)
PLACES_BY_SIGN = _places(SIGN, holds=f"o.sign <> '' AND {A_STRUCTURE}")
PLACES_BY_TOWN = _places(TOWN)
PLACES_BY_POSTCODE = _places(POSTCODE)
PLACES_BY_SECTOR = _places(SECTOR)
PLACES_BY_MAILBOX = _MAILBOX_OF_PLACE
PLACES_BY_DOMAIN = _by_domain(_MAILBOX_OF_PLACE)
PLACES_GONE = _gone(
    "organisation",
    """g.key NOT LIKE '@%' AND NOT EXISTS (
    SELECT FROM directory.organisation o WHERE o.organisation_id = g.key)""",
)
SERVICES = _services()
SERVICES_CHANGED = _services("m.changed_at")
SERVICES_OF_PLACE = _services("m.organisation_id")
SERVICES_BY_DOMAIN = _services(DOMAIN)
SERVICES_GONE = Walk("directory.gone_service g", ("g.gone_at", "g.key"), "g.key")

# What a single resource must fit; "{0}" is a condition on the rows that belong to it. OFFSET 0: asked of each row
# looked at; the planner would make a hash of all in the nation who have that profession.
PERSON_HAS_PROFESSION = """EXISTS (SELECT FROM directory.professional q
    WHERE q.national_id = p.national_id AND q.profession_code = ? OFFSET 0)"""
PERSON_HAS_KNOW_HOW = """EXISTS (SELECT FROM directory.know_how k
    WHERE k.national_id = p.national_id AND k.code = ? OFFSET 0)"""
ROLE_HAS_KNOW_HOW = """EXISTS (SELECT FROM directory.know_how k
    WHERE k.national_id = a.national_id AND k.profession_code = a.profession_code AND k.code = ? OFFSET 0)"""
PERSON_HAS_MAILBOX = f"""EXISTS (SELECT FROM directory.mailbox_entry m
    WHERE m.national_id = p.national_id AND {THE_PERSONS} AND {{0}})"""
ROLE_HAS_MAILBOX = f"""EXISTS (SELECT FROM directory.mailbox_entry m
    WHERE m.national_id = a.national_id AND m.organisation_id || '' = a.organisation_id
      AND {THE_ACTIVITYS} AND {{0}})"""
PLACE_HAS_MAILBOX = f"""EXISTS (SELECT FROM directory.mailbox_entry m
    WHERE m.organisation_id = o.organisation_id AND {THE_ORGANISATIONS} AND {{0}})"""
SERVICE_HAS_MAILBOX = "{0}"
PERSON_OF_ROLE = """EXISTS (SELECT FROM directory.professional p
    WHERE p.national_id = a.national_id AND p.profession_code = a.profession_code AND ({0}))"""
PLACE_OF_ROLE = """EXISTS (SELECT FROM directory.organisation o
    WHERE o.organisation_id = a.organisation_id AND ({0}))"""
PART_OF = """o.legal_finess = (SELECT e.finess FROM directory.organisation e
    WHERE e.organisation_id = ? AND e.finess <> '') AND o.legal_finess <> '' AND o.organisation_id <> ?"""

# All that a resource shows, for the keys of a page. In one order, so that the same resource is told in the same words.
SHOW_PERSONS = """
SELECT national_id, profession_code, civility, last_name, first_name, profession, category_code, changed_at
  FROM directory.professional WHERE national_id = ANY($1) ORDER BY national_id, profession_code
"""
SHOW_KNOW_HOW = """
SELECT national_id, profession_code, kind_code, code, label
  FROM directory.know_how WHERE national_id = ANY($1) ORDER BY national_id, profession_code, code
"""
_MAILBOX = """
m.address, m.kind, m.national_id, m.organisation_id, m.service, m.description, m.rank, m.paperless, m.changed_at"""
SHOW_MAILBOXES_OF_PERSONS = f"""
SELECT {_MAILBOX} FROM directory.mailbox_entry m
 WHERE m.national_id = ANY($1) AND {THE_PERSONS} ORDER BY m.address
"""
SHOW_MAILBOXES_OF_ROLES = f"""
SELECT {_MAILBOX} FROM directory.mailbox_entry m
 WHERE m.national_id = ANY($1) AND {THE_ACTIVITYS} ORDER BY m.address
"""
SHOW_MAILBOXES_OF_PLACES = f"""
SELECT {_MAILBOX} FROM directory.mailbox_entry m
 WHERE m.organisation_id = ANY($1) AND {THE_ORGANISATIONS} ORDER BY m.address
"""
SHOW_ROLES = """
SELECT activity_id, national_id, profession_code, organisation_id, mode_code, mode, role_code, role, changed_at
  FROM directory.activity WHERE activity_id = ANY($1)
"""
# A structure is part of the legal entity whose FINESS it names, where that is known itself.
SHOW_PLACES = """
SELECT o.*, (ARRAY(SELECT e.organisation_id FROM directory.organisation e
                    WHERE e.finess = o.legal_finess AND e.finess <> '' AND e.organisation_id <> o.organisation_id
                    ORDER BY e.organisation_id))[1] AS legal
  FROM directory.organisation o WHERE o.organisation_id = ANY($1)
"""
SHOW_SERVICES = f"SELECT {_MAILBOX} FROM directory.mailbox_entry m WHERE m.address = ANY($1) AND {A_SERVICE}"

# What is read by its id, or by that of a resource that left.
SERVICE_ADDRESS = f"SELECT m.address FROM directory.mailbox_entry m WHERE md5(m.address) = ANY($1) AND {A_SERVICE}"
GONE = "SELECT key, gone_at FROM directory.gone WHERE kind = $1 AND key = ANY($2)"
GONE_SERVICE = "SELECT key, gone_at FROM directory.gone_service WHERE key = ANY($1)"

# What refers to the resources of a page, a bounded number.
ROLES_REFERRING_TO_PERSONS = """
SELECT activity_id FROM directory.activity WHERE national_id = ANY($1) ORDER BY national_id, activity_id LIMIT $2
"""
ROLES_REFERRING_TO_PLACES = """
SELECT activity_id FROM directory.activity WHERE organisation_id = ANY($1)
 ORDER BY organisation_id, activity_id LIMIT $2
"""
SERVICES_REFERRING_TO_PLACES = f"""
SELECT m.address FROM directory.mailbox_entry m
 WHERE m.organisation_id = ANY($1) AND {A_SERVICE} ORDER BY m.organisation_id, m.address LIMIT $2
"""
PLACES_REFERRING_TO_PLACES = f"""
SELECT o.organisation_id FROM directory.organisation o JOIN directory.organisation e ON o.legal_finess = e.finess
 WHERE e.organisation_id = ANY($1) AND e.finess <> '' AND o.organisation_id <> e.organisation_id AND {A_STRUCTURE}
 ORDER BY o.organisation_id LIMIT $2
"""
# Until when the answer holds everything: who asks for what changed since then misses nothing.
LAST_LOAD = "SELECT max(loaded_at) FROM directory.load"
