"""The statements of the trail. There is no UPDATE and no DELETE, and no user has the right to one."""

from __future__ import annotations

# Whom to seal to: the newest reader.
READER = "SELECT reader_id, public_key, proof FROM audit_reader ORDER BY reader_id DESC LIMIT 1"
ADD_READER = """
INSERT INTO audit_reader (public_key, wrapped_private_key, proof)
SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM audit_reader)
"""

# One row an event, with the writers' keys beside them (the first three): a key may be new, and the transaction that
# told of it first may have rolled back, so each statement brings it and it is written once.
_TOLD = """
WITH writer AS (
    INSERT INTO audit_key (key_id, reader_id, sealed)
    SELECT * FROM unnest({0}::bytea[], {1}::int[], {2}::bytea[]) ON CONFLICT (key_id) DO NOTHING
), told AS (
    INSERT INTO audit (stream, kind, owner_id, actor, key_id, detail, message, trace, party)
    SELECT * FROM unnest({3}::smallint[], {4}::text[], {5}::bigint[], {6}::bytea[], {7}::bytea[], {8}::bytea[],
                         {9}::bytea[], {10}::text[], {11}::bytea[])
)
"""


def telling(question: str, parameters: int) -> str:
    """A question of so many parameters that tells events in the same transaction; theirs are the twelve that follow."""
    return _TOLD.format(*(f"${parameters + number}" for number in range(1, 13))) + question.lstrip()


ADD = telling("SELECT", 0)

# Reading, for the jobs role and the command line: what opens a row, and the row.
_READ = """
SELECT a.audit_id, a.recorded_at, a.stream, a.kind, a.owner_id, a.detail, k.sealed, k.key_id, r.reader_id,
       r.wrapped_private_key
  FROM audit a JOIN audit_key k USING (key_id) JOIN audit_reader r USING (reader_id)
"""
# An owner's events, newest first.
OF_OWNER = _READ + " WHERE a.owner_id = $1 ORDER BY a.audit_id DESC LIMIT $2"
# Those of some kinds ($2) after a moment, newest first.
OF_OWNER_SINCE = (
    _READ + " WHERE a.owner_id = $1 AND a.kind = ANY($2) AND a.recorded_at >= $3 ORDER BY a.audit_id DESC LIMIT $4"
)
# By what an event is found after a moment ($2), newest first.
OF_MESSAGE = _READ + " WHERE a.message = $1 AND a.recorded_at >= $2 ORDER BY a.audit_id DESC LIMIT $3"
OF_TRACE = _READ + " WHERE a.trace = $1 AND a.recorded_at >= $2 ORDER BY a.audit_id DESC LIMIT $3"
OF_PARTY = _READ + " WHERE a.party = $1 AND a.recorded_at >= $2 ORDER BY a.audit_id DESC LIMIT $3"

# Indicators: what is new since a process last told, added to the day ($1) in one order; the sums of some days; and the
# mailboxes there were before a day.
ADD_INDICATORS = """
INSERT INTO indicator AS i (day, name, kind, count)
SELECT $1, name, kind, count FROM unnest($2::text[], $3::text[], $4::bigint[]) AS n(name, kind, count)
 ORDER BY name, kind
ON CONFLICT (day, name, kind) DO UPDATE SET count = i.count + excluded.count
"""
INDICATORS = """
SELECT name, kind, sum(count)::bigint AS count FROM indicator WHERE day >= $1 AND day < $2 GROUP BY name, kind
"""
MAILBOXES = """
SELECT o.kind, count(*)::int AS mailboxes, (count(*) FILTER (WHERE o.unlisted))::int AS unlisted FROM owner o
 WHERE o.state <> 'spare'
   AND EXISTS (SELECT FROM address a WHERE a.owner_id = o.owner_id AND a.created_at < $1::date
                  AND (a.closed_at IS NULL OR a.closed_at >= $1::date))
 GROUP BY o.kind
"""
