"""The statements of LDAP searches, each with a line of why. What the index of words holds: directory.indexing."""

# ruff: noqa: S608 - statements are put together from the constants of this file alone; values are always parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

# A condition whose words and addresses are resolved: ("words", numbers), ("people", national ids),
# ("structures", numbers), ("mailbox",), ("and", …), ("or", …).
Where: TypeAlias = tuple[Any, ...]

# The terms of the index that each word asked stands for in its fields ($2, parted by spaces); $3 says which are only
# begun. The most used words first, one more than are taken ($4), to know that there are more. "~" sorts after every
# letter and digit of a folded word.
WORDS = """
SELECT asked.number::int - 1 AS number,
       ARRAY(SELECT term FROM unnest(w.terms) AS term
              WHERE term & 7 = ANY(string_to_array(asked.fields, ' ')::int[])) AS terms
  FROM unnest($1::text[], $2::text[], $3::boolean[]) WITH ORDINALITY AS asked (word, fields, begun, number)
 CROSS JOIN LATERAL (
    SELECT terms FROM directory.word
     WHERE word >= asked.word AND word <= CASE WHEN asked.begun THEN asked.word || '~' ELSE asked.word END
       AND EXISTS (SELECT FROM unnest(terms) AS term WHERE term & 7 = ANY(string_to_array(asked.fields, ' ')::int[]))
     ORDER BY uses DESC, word_id LIMIT $4) w
"""
# Whose mailboxes an address asked is: as it is, as it begins, or by the words before the @. One more than are taken.
# "\U0010ffff" sorts after every character.
_OF_ADDRESS = "SELECT national_id, organisation_id FROM directory.mailbox_entry WHERE NOT unlisted AND"
ADDRESS_WHOLE = f"{_OF_ADDRESS} address = $1 LIMIT $2"
ADDRESS_BEGUN = f"{_OF_ADDRESS} address >= $1 AND address < $1 || U&'\\+10FFFF' LIMIT $2"
ADDRESS_WORDS = f"{_OF_ADDRESS} directory.address_words(address) @@ $1::tsquery LIMIT $2"
# Structures by any of their numbers.
STRUCTURES = """
SELECT organisation_id FROM directory.organisation WHERE organisation_id = ANY($1::text[])
UNION SELECT organisation_id FROM directory.organisation WHERE finess = ANY($1::text[]) AND finess <> ''
UNION SELECT organisation_id FROM directory.organisation WHERE siret = ANY($1::text[]) AND siret <> ''
"""

# All that an entry shows of the keys that there are, in the order given. Mailboxes of this place first, never one that
# is unlisted.
ENTRIES = """
SELECT k.national_id, k.profession_code, k.organisation_id,
       p.identifier, p.last_name, p.first_name, p.profession,
       o.finess, o.siret, o.name, o.sign, o.street, o.postcode, o.town, o.department, o.sector, o.phone,
       ARRAY(SELECT h.label FROM directory.know_how h
              WHERE h.national_id = k.national_id AND h.profession_code = k.profession_code
              ORDER BY h.code) AS know_how,
       own.mailboxes, own.services
  FROM unnest($1::text[], $2::text[], $3::text[])
       WITH ORDINALITY AS k (national_id, profession_code, organisation_id, rank)
  JOIN directory.listing USING (national_id, profession_code, organisation_id)
  LEFT JOIN directory.professional p ON p.national_id = k.national_id AND p.profession_code = k.profession_code
  LEFT JOIN directory.organisation o ON o.organisation_id = k.organisation_id
  LEFT JOIN LATERAL (
    SELECT array_agg(m.address ORDER BY (m.organisation_id = k.organisation_id) DESC, m.address) AS mailboxes,
           array_agg(m.service) AS services
      FROM (SELECT address, service, organisation_id FROM directory.mailbox_entry
             WHERE national_id = k.national_id AND national_id <> '' AND NOT unlisted
            UNION ALL
            SELECT address, service, organisation_id FROM directory.mailbox_entry
             WHERE k.national_id = '' AND organisation_id = k.organisation_id AND organisation_id <> ''
               AND national_id = '' AND NOT unlisted) m
  ) own ON true
 ORDER BY k.rank
"""
# Of addresses, to encrypt to, while they hold.
CERTIFICATES = """
SELECT address, certificate FROM directory.mailbox_certificate
 WHERE address = ANY($1::text[]) AND not_after > $2 ORDER BY address, not_after DESC
"""


def keys(wheres: Sequence[tuple[bool, Where]]) -> tuple[str, list[Any]]:
    """The keys of the listings that a condition on people (True) or structures may mean, those of the first before the
    others, and its parameters; the limit is one more."""
    values: list[Any] = []
    parts = [
        f"(SELECT national_id, profession_code, organisation_id FROM directory.listing l"
        f" WHERE {'l.national_id <> ' if person else 'l.national_id = '}'' AND {_condition(where, values)} LIMIT $N)"
        for person, where in wheres
    ]
    statement = f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS found LIMIT $N"
    return statement.replace("$N", f"${len(values) + 1}::int"), values


def _condition(where: Where, values: list[Any]) -> str:
    kind, *parts = where
    if kind in ("and", "or"):
        return "(" + f" {kind.upper()} ".join(_condition(part, values) for part in parts) + ")"
    if kind == "mailbox":
        return "l.mailboxes > 0"
    given: Sequence[Any] = parts[0]
    values.append(given)
    number = len(values)
    if kind == "words":
        return f"l.words && ${number}::int[]"
    if kind == "people":
        return f"l.national_id = ANY(${number}::text[])"
    return f"(l.national_id = '' AND l.profession_code = '' AND l.organisation_id = ANY(${number}::text[]))"
