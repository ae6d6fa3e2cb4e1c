"""The statements of the check: each gives the rows that break an invariant. Read-only, meant for one snapshot."""

from __future__ import annotations

BEGIN = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
# A whole database takes longer than a command may.
NO_TIMEOUT = "SET LOCAL statement_timeout = 0"

# Counters equal rows, uids lie below uidnext, modseqs not above highestmodseq.
COUNTERS = """
SELECT s.owner_id, s.folder_id,
       s.messages = coalesce(m.messages, 0) AS messages, s.unseen = coalesce(m.unseen, 0) AS unseen,
       s.deleted = coalesce(m.deleted, 0) AS deleted, s.bytes = coalesce(m.bytes, 0) AS bytes,
       coalesce(m.highest_uid, 0) < s.uidnext AS uidnext,
       coalesce(m.highest_modseq, 0) <= s.highestmodseq AS highestmodseq
  FROM folder_state s LEFT JOIN (
       SELECT owner_id, folder_id, count(*) AS messages, count(*) FILTER (WHERE flags & 1 = 0) AS unseen,
              count(*) FILTER (WHERE flags & 8 = 8) AS deleted, sum(size) AS bytes, max(uid) AS highest_uid,
              max(modseq) AS highest_modseq
         FROM message GROUP BY owner_id, folder_id) AS m USING (owner_id, folder_id)
 WHERE (s.messages, s.unseen, s.deleted, s.bytes)
       IS DISTINCT FROM (coalesce(m.messages, 0), coalesce(m.unseen, 0), coalesce(m.deleted, 0), coalesce(m.bytes, 0))
    OR coalesce(m.highest_uid, 0) >= s.uidnext OR coalesce(m.highest_modseq, 0) > s.highestmodseq
"""
# References that resolve: foreign keys hold them, unless somebody worked around the constraints.
DANGLING_MESSAGES = """
SELECT m.owner_id, m.folder_id, m.uid FROM message m LEFT JOIN content c USING (owner_id, content_id)
 WHERE c.content_id IS NULL
"""
SIZES = """
SELECT m.owner_id, m.folder_id, m.uid FROM message m JOIN content c USING (owner_id, content_id) WHERE m.size <> c.size
"""
FOLDERLESS_STATES = """
SELECT owner_id, folder_id FROM folder f FULL JOIN folder_state s USING (owner_id, folder_id)
 WHERE f.folder_id IS NULL OR s.folder_id IS NULL
"""
UNNAMED_OWNERS = """
SELECT o.owner_id FROM owner o
 WHERE o.state <> 'spare' AND NOT EXISTS (SELECT FROM address a WHERE a.owner_id = o.owner_id)
    OR NOT EXISTS (SELECT FROM folder f WHERE f.owner_id = o.owner_id AND f.folder_id = 1)
    OR EXISTS (SELECT FROM folder f WHERE f.owner_id = o.owner_id
                  AND (f.folder_id > o.last_folder OR f.uidvalidity > o.last_folder))
"""
# Content that nothing refers to and that the collector does not know of, or should have taken two days ago.
ORPHANS = """
SELECT c.owner_id, c.content_id FROM content c LEFT JOIN released r USING (owner_id, content_id)
 WHERE (r.content_id IS NULL OR r.released_at < now() - interval '2 days')
   AND NOT EXISTS (SELECT FROM message m WHERE m.owner_id = c.owner_id AND m.content_id = c.content_id)
   AND NOT EXISTS (SELECT FROM outgoing o WHERE o.owner_id = c.owner_id AND o.content_id = c.content_id)
"""
LARGE_ORPHANS = """
SELECT l.owner_id, l.content_id FROM large_body l
 WHERE l.created_at < now() - interval '2 days'
   AND NOT EXISTS (SELECT FROM content c WHERE c.owner_id = l.owner_id AND c.large_id = l.content_id)
"""
# The log: nothing past the folder's modseq; each change after changes_from is in it; no message is told vanished.
CHANGES_AHEAD = """
SELECT c.owner_id, c.folder_id, c.modseq FROM change c JOIN folder_state s USING (owner_id, folder_id)
 WHERE c.modseq > s.highestmodseq
"""
CHANGES_MISSING = """
SELECT m.owner_id, m.folder_id, m.uid FROM message m JOIN folder_state s USING (owner_id, folder_id)
 WHERE m.modseq > s.changes_from
   AND NOT EXISTS (SELECT FROM change c WHERE c.owner_id = m.owner_id AND c.folder_id = m.folder_id
                      AND c.modseq = m.modseq AND c.kind IN (1, 2) AND c.uids @> m.uid)
"""
VANISHED_PRESENT = """
SELECT m.owner_id, m.folder_id, m.uid
  FROM (SELECT owner_id, folder_id, range_agg(uids) AS uids FROM change WHERE kind = 3
         GROUP BY owner_id, folder_id) AS v
  JOIN message m USING (owner_id, folder_id) WHERE v.uids @> m.uid
"""
# View blocks: one with messages that were expunged goes in time, and none has lost the list of its members.
BLOCKS_LEFT = """
SELECT b.owner_id, b.folder_id, b.number FROM view_block b
 WHERE b.part = 'members' AND b.stale_at < now() - interval '2 days'
"""
BLOCKS_HEADLESS = """
SELECT DISTINCT b.owner_id, b.folder_id, b.number FROM view_block b
 WHERE NOT EXISTS (SELECT FROM view_block m WHERE m.owner_id = b.owner_id AND m.folder_id = b.folder_id
                      AND m.number = b.number AND m.part = 'members')
"""
PROOFS = """
SELECT a.token, a.proof, o.owner_id, o.public_key FROM address a JOIN owner o USING (owner_id)
 WHERE a.owner_id > $1 ORDER BY a.owner_id, a.token LIMIT $2
"""
OWNERS = """
SELECT owner_id, kind, state, wrapped_private_key, public_key, identity, identity_key,
       (SELECT array_agg(k.wrapped_private_key) FROM owner_key k
         WHERE k.owner_id = o.owner_id AND k.state <> 'destroyed') AS others
  FROM owner o
 WHERE state <> 'spare' AND owner_id > $1 ORDER BY owner_id LIMIT $2
"""
FOLDER_NAMES = "SELECT folder_id, name, name_token FROM folder WHERE owner_id = $1"
SUBSCRIPTIONS = "SELECT name_token, name FROM subscription WHERE owner_id = $1"
ANNOTATIONS = "SELECT folder_id, reader_id, token, sealed FROM annotation WHERE owner_id = $1"
URL_KEYS = "SELECT folder_id, sealed FROM url_key WHERE owner_id = $1"
SIGNING_KEYS = "SELECT made_at, ends_at, sealed FROM signing_key WHERE owner_id = $1"
ENTRUSTED = "SELECT token, sealed FROM entrusted_key WHERE owner_id = $1"
CONTENTS = """
SELECT content_id, size, key, key_form, summary, body, large_id IS NOT NULL AS large FROM content
 WHERE owner_id = $1 AND ($2::int IS NULL OR random() < $2::int / 100.0) ORDER BY content_id
"""
BLOCK_NUMBERS = """
SELECT folder_id, number, stale_at IS NOT NULL AS stale FROM view_block
 WHERE owner_id = $1 AND part = 'members' AND ($2::int IS NULL OR random() < $2::int / 100.0) ORDER BY folder_id, number
"""
BLOCK_ROWS = """
SELECT m.uid, m.content_id, c.key, c.key_form, c.summary FROM message m JOIN content c USING (owner_id, content_id)
 WHERE m.owner_id = $1 AND m.folder_id = $2 AND m.uid = ANY($3::int[]) ORDER BY m.uid
"""
BODY_PIECES = "SELECT data FROM body_piece WHERE owner_id = $1 AND content_id = $2 ORDER BY number"
# The outbound queue. A recipient without a message there cannot be (foreign key).
QUEUE_UNADDRESSED = """
SELECT m.owner_id, m.queue_id FROM queue_message m
 WHERE NOT EXISTS (SELECT FROM queue_recipient r WHERE r.queue_id = m.queue_id)
"""
# A blob has a header of 19 octets, and 16 more for each 65,536 begun (crypto/blob.py).
QUEUE_CUT = """
SELECT m.owner_id, m.queue_id FROM queue_message m
 WHERE 19 + m.size + 16 * greatest(1, (m.size + 65535) / 65536) <> coalesce(octet_length(m.body),
       (SELECT sum(octet_length(p.data)) FROM queue_piece p WHERE p.queue_id = m.queue_id), 0)
"""
