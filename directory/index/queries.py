"""Every SQL statement of the directory's index, each with a line of why: to make it, and to ask it."""

# ruff: noqa: S608 - statements are put together from the constants of this file alone; values are always parameters

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from directory.folding import NEAR_PREFIX, ONE_MISTAKE_FROM

# -- made ----------------------------------------------------------------------------------------------------------

# Sorts and hashes of a whole nation, within what a small machine has; back at the end of the transaction.
MEMORY = "SET LOCAL work_mem = '48MB'; SET LOCAL maintenance_work_mem = '128MB'"
IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM directory.listing)"
# A caller that fills no table of what it touched wants everything indexed.
NO_SCOPE = """
CREATE TEMP TABLE IF NOT EXISTS stage_touched (national_id text, profession_code text, organisation_id text)
ON COMMIT DROP
"""

_TOUCHED_PERSON = "IN (SELECT national_id FROM stage_touched WHERE national_id <> '')"
_TOUCHED_PLACE = "IN (SELECT organisation_id FROM stage_touched WHERE national_id = '')"
_TOUCHED = f"""
(l.national_id {_TOUCHED_PERSON}
 OR l.national_id = '' AND l.profession_code = '' AND l.organisation_id {_TOUCHED_PLACE})
"""


# What can be found: each person at each place (by activity, else by mailbox), and each organisation that is more than
# one person's practice (SA07, or a place without a number, "@") or has a mailbox of its own. Unlisted mailboxes make
# nobody found. Of the touched: all listings of a person, and an organisation's own.
def stage_place(whole: bool) -> str:
    """Statement that makes stage_place, the keys of the listings to be made."""
    activity = "SELECT national_id, profession_code, organisation_id FROM directory.activity"
    mailbox = """
        SELECT m.national_id, m.profession_code, m.organisation_id FROM directory.mailbox_entry m
         WHERE m.national_id <> '' AND NOT m.unlisted
           AND (m.organisation_id NOT IN ('', '@' || m.address) OR NOT EXISTS (
                SELECT FROM directory.activity a WHERE a.national_id = m.national_id))
    """
    organisation = """
        SELECT '', '', o.organisation_id FROM directory.organisation o
         WHERE ((o.sector_code <> 'SA07' AND o.organisation_id NOT LIKE '@%') OR EXISTS (
                SELECT FROM directory.mailbox_entry m
                 WHERE m.organisation_id = o.organisation_id AND m.national_id = '' AND NOT m.unlisted))
    """
    if whole:
        parts = [activity, mailbox, organisation]
    else:
        parts = [
            f"{activity} WHERE national_id {_TOUCHED_PERSON}",
            f"{mailbox} AND m.national_id {_TOUCHED_PERSON}",
            f"{organisation} AND o.organisation_id {_TOUCHED_PLACE}",
        ]
    chosen = " UNION ".join(parts)
    return f"CREATE TEMP TABLE stage_place ON COMMIT DROP AS {chosen}; ANALYZE stage_place"


_TEXTS = {
    "last_name": ("last_name, ''", "directory.professional", "national_id"),
    "first_name": ("first_name, ''", "directory.professional", "national_id"),
    "profession": ("profession, profession_code", "directory.professional", "national_id"),
    "know_how": ("label, ''", "directory.know_how", "national_id"),
    "organisation": ("name, sign", "directory.organisation", "organisation_id"),
    "place": ("town, postcode", "directory.organisation", "organisation_id"),
    "sector": ("sector, ''", "directory.organisation", "organisation_id"),
    "service": ("service, ''", "directory.mailbox_entry", "organisation_id"),
}


def texts(kind: str, whole: bool) -> str:
    """The distinct texts of a kind in what is indexed, each with what stands beside it."""
    columns, table, key = _TEXTS[kind]
    where = "" if whole else f"WHERE {key} IN (SELECT {key} FROM stage_place)"
    return f"SELECT DISTINCT {columns} FROM {table} {where}"


# `terms` are of the text itself, `inside` those of who practises in an organisation of this name.
CREATE_TERMS = """
CREATE TEMP TABLE stage_term (
    kind text COLLATE "C", text text COLLATE "C", beside text COLLATE "C", folded text COLLATE "C",
    terms integer[], inside integer[]
) ON COMMIT DROP
"""
ANALYZE_TERMS = "ANALYZE stage_term"


def _terms(alias: str, kind: str, text: str, beside: str = "''") -> str:
    return (
        f"LEFT JOIN stage_term {alias}"
        f" ON {alias}.kind = '{kind}' AND {alias}.text = {text} AND {alias}.beside = {beside}"
    )


# The terms of each person and of each organisation once, put together for each listing afterwards.
def stage_terms(whole: bool) -> str:
    """Statement that makes stage_person and stage_organisation."""
    some = "" if whole else "WHERE {0} IN (SELECT {0} FROM stage_place)"
    return f"""
    CREATE TEMP TABLE stage_person ON COMMIT DROP AS
    SELECT p.national_id, p.profession_code, l.folded || ' ' || f.folded AS sort_name,
           l.terms || f.terms || r.terms || COALESCE(k.terms, '{{}}') AS terms, COALESCE(m.mailboxes, 0) AS mailboxes
      FROM directory.professional p
      {_terms("l", "last_name", "p.last_name")}
      {_terms("f", "first_name", "p.first_name")}
      {_terms("r", "profession", "p.profession", "p.profession_code")}
      LEFT JOIN (SELECT h.national_id, h.profession_code, array_agg(t.terms[1]) AS terms
                   FROM directory.know_how h {_terms("t", "know_how", "h.label")}
                  {some.format("national_id")} GROUP BY 1, 2) k
        ON k.national_id = p.national_id AND k.profession_code = p.profession_code
      LEFT JOIN (SELECT national_id, count(*)::integer AS mailboxes FROM directory.mailbox_entry
                  WHERE national_id <> '' AND NOT unlisted GROUP BY 1) m ON m.national_id = p.national_id
      {some.format("p.national_id").replace("SELECT p.", "SELECT ")};
    CREATE TEMP TABLE stage_organisation_terms ON COMMIT DROP AS
    SELECT o.organisation_id, n.folded AS sort_name, n.terms || COALESCE(s.terms, '{{}}') AS terms, n.inside,
           p.terms AS place, COALESCE(m.mailboxes, 0) AS mailboxes, COALESCE(m.terms, '{{}}') AS services
      FROM directory.organisation o
      {_terms("n", "organisation", "o.name", "o.sign")}
      {_terms("p", "place", "o.town", "o.postcode")}
      {_terms("s", "sector", "o.sector")}
      LEFT JOIN (SELECT e.organisation_id, count(DISTINCT e.address)::integer AS mailboxes,
                        array_agg(DISTINCT x) FILTER (WHERE x IS NOT NULL) AS terms
                   FROM directory.mailbox_entry e {_terms("t", "service", "e.service")}
                   LEFT JOIN unnest(t.inside) x ON true
                  WHERE e.national_id = '' AND NOT e.unlisted GROUP BY 1) m ON m.organisation_id = o.organisation_id
      {some.format("o.organisation_id").replace("SELECT o.", "SELECT ")};
    ANALYZE stage_person;
    ANALYZE stage_organisation_terms;
    """


# Those with a mailbox first, so that the first matches that a search meets are theirs.
def insert_listings(target: str) -> str:
    """Statement that fills a table of the form of directory.listing."""
    return f"""
    INSERT INTO {target} (national_id, profession_code, organisation_id, sort_name, mailboxes, words)
    SELECT k.national_id, k.profession_code, k.organisation_id, COALESCE(p.sort_name, o.sort_name, '') AS sort_name,
           CASE WHEN k.national_id = '' THEN COALESCE(o.mailboxes, 0) ELSE COALESCE(p.mailboxes, 0) END AS mailboxes,
           CASE WHEN k.national_id = '' THEN o.terms || o.services
                ELSE COALESCE(p.terms, '{{}}') || COALESCE(o.inside, '{{}}') END || COALESCE(o.place, '{{}}') AS words
      FROM stage_place k
      LEFT JOIN stage_person p ON p.national_id = k.national_id AND p.profession_code = k.profession_code
      LEFT JOIN stage_organisation_terms o ON o.organisation_id = k.organisation_id
     ORDER BY (CASE WHEN k.national_id = '' THEN o.mailboxes ELSE p.mailboxes END > 0) DESC NULLS LAST
    """


# A whole index is made beside the one in use and takes its place at the end: readers wait for the commit alone, and
# btree and GIN are made of sorted rows.
CREATE_NEXT = """
CREATE TABLE directory.listing_next (LIKE directory.listing INCLUDING DEFAULTS INCLUDING STORAGE);
ALTER TABLE directory.listing_next ALTER words SET STATISTICS 0
"""
INDEX_NEXT = (
    "CREATE INDEX ON directory.listing_next USING gin (words) WITH (fastupdate = off)",
    """
    CREATE INDEX ON directory.listing_next USING gin (words) WITH (fastupdate = off)
     WHERE mailboxes > 0 AND right(organisation_id, 1) = '7'
    """,
    "ALTER TABLE directory.listing_next ADD PRIMARY KEY (national_id, profession_code, organisation_id)",
    "CREATE INDEX ON directory.listing_next (sort_name) WHERE mailboxes > 0",
    "ANALYZE directory.listing_next",
)
SWAP = """
DROP TABLE directory.listing;
ALTER TABLE directory.listing_next RENAME TO listing;
GRANT SELECT ON directory.listing TO caducee_reader, caducee_edge, caducee_ldap
"""
# Part of an index, or one that hardly changes: rows that stay are not written.
CREATE_STAGE = "CREATE TEMP TABLE stage_listing (LIKE directory.listing) ON COMMIT DROP"
_SAME = """
s.national_id = l.national_id AND s.profession_code = l.profession_code AND s.organisation_id = l.organisation_id
"""


def merge(whole: bool) -> str:
    """Statements that bring the listings to what stage_listing says; only the touched ones when not `whole`."""
    part = "" if whole else f"AND {_TOUCHED}"
    return f"""
    ANALYZE stage_listing;
    DELETE FROM directory.listing l WHERE NOT EXISTS (SELECT FROM stage_listing s WHERE {_SAME}) {part};
    INSERT INTO directory.listing AS l SELECT * FROM stage_listing
        ON CONFLICT (national_id, profession_code, organisation_id) DO UPDATE
       SET sort_name = excluded.sort_name, mailboxes = excluded.mailboxes, words = excluded.words
     WHERE (l.sort_name, l.mailboxes, l.words) IS DISTINCT FROM
           (excluded.sort_name, excluded.mailboxes, excluded.words)
    """


# Words of listings that go or change, and those of them that none holds afterwards (frequent ones are not looked at).
TOUCHED_WORDS = f"""
CREATE TEMP TABLE stage_old_word ON COMMIT DROP AS
SELECT DISTINCT term >> 3 AS word_id FROM directory.listing l, unnest(l.words) AS term
 WHERE {_TOUCHED}
"""
DROP_OLD_WORDS = """
DELETE FROM directory.word w USING stage_old_word o
 WHERE w.word_id = o.word_id AND w.uses < 100 AND NOT EXISTS (SELECT FROM directory.listing l WHERE l.words && w.terms)
"""
COUNT_LISTINGS = "SELECT count(*) FROM directory.listing"


# How often a term occurs, from a part of the listings: only the order of magnitude is ever asked.
def uses(table: str, percent: float) -> str:
    """Statement: term, in how many of `percent` of the listings."""
    return f"""
    SELECT term, count(*) AS uses FROM {table} TABLESAMPLE SYSTEM ({percent:.4f}), unnest(words) AS term GROUP BY 1
    """


LAST_WORD = "SELECT COALESCE(max(word_id), 0) FROM directory.word"
ALL_WORDS = "SELECT word, word_id, '{}'::integer[] AS terms FROM directory.word"
SOME_WORDS = "SELECT word, word_id, terms FROM directory.word WHERE word = ANY($1)"
CREATE_WORDS = "CREATE TEMP TABLE stage_word (LIKE directory.word) ON COMMIT DROP"
# Words that stay keep their row when its terms stay; `uses` follows only where its order of magnitude changed.
MERGE_WORDS = (
    "ANALYZE stage_word",
    """
    CREATE TEMP TABLE stage_new_word ON COMMIT DROP AS
    SELECT word, word_id FROM stage_word s WHERE NOT EXISTS (SELECT FROM directory.word w WHERE w.word = s.word)
    """,
    """
    INSERT INTO directory.word AS w SELECT * FROM stage_word ON CONFLICT (word) DO UPDATE
       SET terms = excluded.terms, sound = excluded.sound, uses = greatest(excluded.uses, 1)
     WHERE w.terms <> excluded.terms OR excluded.uses > 2 * w.uses OR (excluded.uses > 0 AND w.uses > 2 * excluded.uses)
    """,
)
DROP_UNUSED_WORDS = """
DELETE FROM directory.word w WHERE NOT EXISTS (SELECT FROM stage_word s WHERE s.word = w.word);
DELETE FROM directory.near_word n WHERE NOT EXISTS (SELECT FROM directory.word w WHERE w.word_id = n.word_id)
"""
# The same keys as `folding.near` makes of a word of a question.
MAKE_NEAR = f"""
INSERT INTO directory.near_word
SELECT CASE WHEN place = 0 THEN start ELSE left(start, place - 1) || substr(start, place + 1) END, word_id
  FROM (SELECT left(word, {NEAR_PREFIX}) AS start, word_id FROM stage_new_word
         WHERE length(word) >= {ONE_MISTAKE_FROM} AND word !~ '[0-9=]') w, generate_series(0, length(start)) AS place
"""
# Towns that left the files stay: where they are is still true.
PLACES = """
INSERT INTO directory.place SELECT * FROM unnest($1::text[], $2::text[], $3::real[], $4::real[]) ON CONFLICT DO NOTHING
"""
# One transaction may index twice.
FORGET_STAGES = """
DROP TABLE IF EXISTS stage_touched, stage_place, stage_term, stage_person, stage_organisation_terms, stage_listing,
    stage_word, stage_new_word, stage_old_word
"""
ANALYZE_WORDS = "ANALYZE directory.word; ANALYZE directory.near_word"

# -- asked ---------------------------------------------------------------------------------------------------------

BEGUN_WORDS = 20  # a beginning of more words than these is "dense": the most used stand for it, and names are read
FREQUENT_WORDS = 20
NEAR_WORDS = 300  # words that share a key with a mistyped one, before their distance is counted

# Words of a question in the index: as they are ($1), and begun ($2, "" for those that are not to be).
WORDS = f"""
SELECT a.place, 'equal' AS how, a.word, w.terms, w.uses, true AS complete
  FROM unnest($1::text[]) WITH ORDINALITY AS a (word, place) JOIN directory.word w ON w.word = a.word
UNION ALL
SELECT a.place, 'begun', a.word, b.terms, b.uses, b.words < {BEGUN_WORDS}
  FROM unnest($2::text[]) WITH ORDINALITY AS a (word, place) CROSS JOIN LATERAL (
       SELECT array_agg(t.term) AS terms, sum(c.uses) FILTER (WHERE t.number = 1) AS uses,
              count(*) FILTER (WHERE t.number = 1 AND NOT c.frequent) AS words
         FROM (SELECT * FROM (SELECT w.*, false AS frequent FROM directory.word w
                WHERE w.word > a.word AND w.word < a.word || '~' ORDER BY w.word LIMIT {BEGUN_WORDS}) first
               UNION ALL
               SELECT * FROM (SELECT w.*, true FROM directory.word w
                WHERE w.word > a.word AND w.word < a.word || '~' AND w.uses >= 500
                ORDER BY w.uses DESC LIMIT {FREQUENT_WORDS}) most) c,
              unnest(c.terms) WITH ORDINALITY AS t (term, number)) b
 WHERE a.word <> '' AND b.terms IS NOT NULL
"""
# Words near a mistyped one and those heard alike, the distance is counted by who asks.
NEAR = f"""
SELECT a.place, w.word, w.terms, w.uses, w.sound <> '' AND w.sound = a.sound AS alike
  FROM unnest($1::integer[], $2::text[], $3::text[]) AS a (place, keys, sound) CROSS JOIN LATERAL (
       SELECT n.word_id FROM directory.near_word n WHERE n.key = ANY(string_to_array(a.keys, ' '))
       UNION
       SELECT h.word_id FROM directory.word h WHERE h.sound = a.sound AND h.sound <> ''
       LIMIT {NEAR_WORDS}) n
  JOIN directory.word w ON w.word_id = n.word_id
"""
NEAR_POSTCODES = 300
# Terms of the postcodes within $2 km of a postcode or town ($1), the nearest first, with how far: a degree is 111.2 km,
# of longitude less. Towns of the same name are all meant.
NEAR_PLACES = f"""
SELECT w.word_id * 8 + 6 AS term, w.uses, min(p.kilometres) AS kilometres FROM (
    SELECT p.postcode, 111.2 * sqrt((p.latitude - c.latitude) ^ 2
                              + ((p.longitude - c.longitude) * cos(radians(c.latitude))) ^ 2) AS kilometres
      FROM (SELECT DISTINCT latitude, longitude FROM directory.place WHERE postcode = $1 OR town = $1) c
      JOIN directory.place p ON p.latitude BETWEEN c.latitude - $2 / 111.2 AND c.latitude + $2 / 111.2) p
  JOIN directory.word w ON w.word = p.postcode
 WHERE p.kilometres <= $2 GROUP BY 1, 2 ORDER BY 3, 1 LIMIT {NEAR_POSTCODES}
"""
NAMES_OF_WORDS = "SELECT word_id, word FROM directory.word WHERE word_id = ANY($1)"

# What a word of a question counts, by how it fits: equal, equal to a first name, equal in the name of the place where a
# person practises, begun, one mistake, more or heard alike.
WEIGHTS = (10, 9, 8, 6, 4, 2)
CANDIDATES = 100  # of a branch, in the order they are stored: those are ranked; all pages are made of them

_SHOWN = """
p.identifier, p.civility, p.last_name, p.first_name, p.profession,
o.finess, o.name, o.sign, o.street, o.postcode, o.town, o.sector, o.phone,
ARRAY(SELECT h.label FROM directory.know_how h
       WHERE h.national_id = k.national_id AND h.profession_code = k.profession_code
       ORDER BY h.code) AS know_how,
ARRAY(SELECT m.kind || ' ' || m.address FROM directory.mailbox_entry m
       WHERE m.national_id = k.national_id AND m.national_id <> '' AND NOT m.unlisted
       ORDER BY (m.organisation_id = k.organisation_id) DESC, m.address LIMIT 20) AS own_mailboxes,
ARRAY(SELECT m.kind || ' ' || m.address FROM directory.mailbox_entry m
       WHERE m.organisation_id = k.organisation_id AND m.organisation_id <> '' AND m.national_id = ''
         AND NOT m.unlisted
       ORDER BY m.address LIMIT 20) AS place_mailboxes
"""
_SHOWN_OF = """
LEFT JOIN directory.professional p ON p.national_id = k.national_id AND p.profession_code = k.profession_code
LEFT JOIN directory.organisation o ON o.organisation_id = k.organisation_id
WHERE (p.national_id IS NOT NULL OR o.organisation_id IS NOT NULL)
"""
_KEYS = "national_id, profession_code, organisation_id"


@dataclass(frozen=True, slots=True)
class Branch:
    """A way to find: by some words of the question (their places), each by some of its levels.

    Branches of one tier are asked together; those of the next only while too few were found, and a `fallback` only
    while nobody was.
    """

    words: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]  # of each of the words
    tier: int = 0
    fallback: bool = False
    read: tuple[int, ...] = ()  # those of the words that are looked for in what the others find, not in the index
    named: bool = False  # the last of the words is read in names
    sample: bool = False  # in the index of one in ten


# One statement from terms to what a screen shows. Best tier first, then best score; equal scores keep one order: those
# with a mailbox first, then by name, then by key.
#
# Parameters: for each word an array of terms for each level of WEIGHTS, then for each a text that names are read for;
# the terms that count one more each; how many are needed in all; limit; offset. How many matches of a branch are ranked
# stands in the text, since a plan must know it.
#
# `given` is never asked: it tells the types of what no branch uses. Arrays are wrapped in SELECT so that every plan is
# made without looking at them: by index.
@lru_cache(maxsize=512)
def find(words: int, branches: tuple[Branch, ...], ranked: int) -> str:
    """Statement: keys, score and terms of the best listings, with all that a screen shows of them."""
    width = len(WEIGHTS)
    extra, need, limit, offset = (words * (width + 1) + place for place in range(1, 5))

    def array(word: int, level: int) -> str:
        return f"${word * width + level + 1}::int[]"

    def condition(branch: Branch) -> str:
        parts = []
        for word, levels in zip(branch.words, branch.levels, strict=True):
            text = f"(SELECT ${words * width + word + 1}::text)"
            if not branch.named or word != branch.words[-1]:
                # An expression is what no index serves.
                where = "(l.words || '{}'::int[])" if word in branch.read else "l.words"
                parts.append(f"{where} && (SELECT {' || '.join(array(word, level) for level in levels)})")
            elif len(branch.words) > 1:
                parts.append(f"strpos(' ' || l.sort_name, ' ' || {text}) > 0")
            else:
                parts.append(f"l.mailboxes > 0 AND l.sort_name >= {text} AND l.sort_name < ({text} || '~')")
        if branch.sample:
            parts.append("l.mailboxes > 0 AND right(l.organisation_id, 1) = '7'")
        return " AND ".join(parts)

    parts = []
    for number, branch in enumerate(branches):
        score = [f"(l.words && ${extra}::int[])::int"]
        for word, levels in zip(branch.words, branch.levels, strict=True):
            if branch.named and word == branch.words[-1]:
                score.append(str(WEIGHTS[3]))  # begun
                continue
            cases = " ".join(f"WHEN l.words && {array(word, level)} THEN {WEIGHTS[level]}" for level in levels)
            score.append(f"CASE {cases} ELSE {WEIGHTS[-1]} END")
        where = condition(branch)
        if branch.named and len(branch.words) == 1:
            where += " ORDER BY l.sort_name"
        if before := [
            f"(SELECT count(*) FROM b{one})" for one, other in enumerate(branches) if other.tier < branch.tier
        ]:
            where = f"{' + '.join(before)} < {1 if branch.fallback else f'${need}'} AND {where}"
        # A limit in sight of the plan would make it read the table from its start: matches are found apart.
        source = f"c{number}"
        if branch.named and len(branch.words) == 1:
            source = f"(SELECT * FROM directory.listing l WHERE {where} LIMIT {ranked})"
        else:
            parts.append(f"c{number} AS MATERIALIZED (SELECT * FROM directory.listing l WHERE {where})")
        parts.append(
            f"b{number} AS MATERIALIZED (SELECT l.*, {branch.tier} AS tier, {' + '.join(score)} AS score"
            f" FROM {source} l LIMIT {ranked})"
        )
    together = " UNION ALL ".join(f"SELECT * FROM b{number}" for number in range(len(branches)))
    order = f"tier, score DESC, (mailboxes > 0) DESC, sort_name, {_KEYS}"
    types = ["int[]"] * (words * width) + ["text"] * words + ["int[]", "int", "int", "int"]
    given = ", ".join(f"${place}::{kind}" for place, kind in enumerate(types, 1))
    return f"""
    WITH given AS (SELECT {given}), {", ".join(parts)},
    once AS (SELECT DISTINCT ON ({_KEYS}) * FROM ({together}) b ORDER BY {_KEYS}, tier, score DESC),
    k AS (SELECT * FROM once ORDER BY {order} LIMIT ${limit} OFFSET ${offset})
    SELECT k.national_id, k.profession_code, k.organisation_id, k.score, k.words, {_SHOWN}
      FROM k {_SHOWN_OF}
     ORDER BY k.tier, k.score DESC, (k.mailboxes > 0) DESC, k.sort_name, 1, 2, 3
    """


# All that a screen shows of listings whose keys are known, in the order given. A person's mailbox at this place first.
DETAILS = f"""
SELECT k.national_id, k.profession_code, k.organisation_id, 0 AS score, '{{}}'::int[] AS words, {_SHOWN}
  FROM unnest($1::text[], $2::text[], $3::text[])
       WITH ORDINALITY AS k (national_id, profession_code, organisation_id, rank)
  {_SHOWN_OF}
 ORDER BY k.rank
"""

# What identifies by itself needs no words.
BY_NATIONAL_ID = """
SELECT national_id, profession_code, organisation_id FROM directory.listing
 WHERE national_id = ANY($1) ORDER BY 1, 2, 3 LIMIT $2
"""
BY_STRUCTURE = """
SELECT l.national_id, l.profession_code, l.organisation_id
  FROM directory.organisation o
  JOIN directory.listing l ON l.organisation_id = o.organisation_id AND l.national_id = '' AND l.profession_code = ''
 WHERE o.finess = $1 OR o.siret = $1 OR o.organisation_id = $1 ORDER BY 1, 2, 3 LIMIT $2
"""
BY_ADDRESS = """
SELECT l.national_id, l.profession_code, l.organisation_id
  FROM directory.mailbox_entry m
  JOIN directory.listing l ON l.national_id = m.national_id
       AND (l.organisation_id = m.organisation_id OR m.organisation_id IN ('', '@' || m.address))
 WHERE m.address = $1 AND NOT m.unlisted ORDER BY 1, 2, 3 LIMIT $2
"""
