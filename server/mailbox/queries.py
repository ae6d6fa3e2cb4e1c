"""The statements of the store, with a line of why. Lock order: content, folder_state by (owner, folder), counters."""

from __future__ import annotations

from server.audit.queries import telling

# Owners and addresses ------------------------------------------------------------------------------------------------

# What an edge may know of recipients; closed owners come too, so that it can say "closed" and not "unknown".
ROUTES = """
SELECT a.token, a.proof, a.closed_at, o.owner_id, o.kind, o.state, o.public_key
  FROM unnest($1::bytea[]) AS asked(token) JOIN address a USING (token) JOIN owner o USING (owner_id)
"""
# A mailbox as its reader opens it, with the pairs that only open.
OWNER = """
SELECT kind, state, wrapped_private_key,
       (SELECT array_agg(k.wrapped_private_key ORDER BY k.key_id DESC) FROM owner_key k
         WHERE k.owner_id = o.owner_id AND k.state <> 'destroyed') AS others
  FROM owner o WHERE owner_id = $1
"""
# Whose pairs changed since.
TURNED = "SELECT owner_id, revision FROM owner_key WHERE revision > $1 ORDER BY revision"
# Who wraps private keys holds it shared, who makes the keyring new keys holds it alone: once that has committed, nobody
# wraps with the older ones any more.
WRAPPING = "SELECT pg_advisory_xact_lock_shared(7268311026)"
IDENTITY = "SELECT identity, identity_key FROM owner WHERE owner_id = $1"
NUMBERS = "SELECT nextval('owner_number') FROM generate_series(1, $1)"
TAKEN = "SELECT token FROM address WHERE token = ANY($1::bytea[])"
ADD_OWNERS = """
INSERT INTO owner (owner_id, kind, state, public_key, wrapped_private_key, identity, last_folder)
SELECT owner_id, kind, state, public_key, wrapped, identity, $7
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[])
       AS new(owner_id, kind, state, public_key, wrapped, identity)
"""
ADD_ADDRESSES = """
INSERT INTO address (token, owner_id, proof)
SELECT token, owner_id, proof FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) AS new(token, owner_id, proof)
"""
CLOSE_OWNER = "UPDATE owner SET state = 'closed' WHERE owner_id = $1 AND state <> 'spare' RETURNING true"
CLOSE_ADDRESSES = "UPDATE address SET closed_at = now() WHERE owner_id = $1 AND closed_at IS NULL"
# On which terms a mailbox takes mail, and how full it is.
TERMS = """
SELECT kind, state, quota_bytes, refuses_mail, open_to_patients, unlisted,
       (SELECT sum(s.bytes)::bigint FROM folder_state s WHERE s.owner_id = o.owner_id) AS used,
       (SELECT count(*)::int FROM entrusted_key k WHERE k.owner_id = o.owner_id) AS entrusted
  FROM owner o WHERE owner_id = $1 AND state <> 'spare'
"""
SET_TERMS = """
UPDATE owner SET quota_bytes = $2, refuses_mail = $3, open_to_patients = $4, unlisted = $5 WHERE owner_id = $1
"""
# What a mailbox may hold and holds: messages, folders, annotations.
USAGE = """
SELECT quota_bytes, (SELECT sum(s.bytes)::bigint FROM folder_state s WHERE s.owner_id = o.owner_id) AS used,
       (SELECT count(*) FROM folder f WHERE f.owner_id = o.owner_id) AS folders,
       (SELECT sum(octet_length(a.sealed))::bigint FROM annotation a WHERE a.owner_id = o.owner_id) AS annotations
  FROM owner o WHERE owner_id = $1
"""
COUNT_SPARE = "SELECT count(*) FROM owner WHERE state = 'spare'"
TAKE_SPARE = "SELECT owner_id, public_key FROM take_spare_owner()"
NAME_SPARE = "SELECT name_spare_owner($1, $2, $3, $4)"

# Folders -------------------------------------------------------------------------------------------------------------

ADD_FOLDERS = """
WITH wanted AS (
    SELECT * FROM unnest($1::bigint[], $2::int[], $3::bytea[], $4::bytea[], $5::text[])
           AS f(owner_id, folder_id, name, name_token, special_use)
), kept AS (
    DELETE FROM subscription s USING wanted w WHERE s.owner_id = w.owner_id AND s.name_token = w.name_token
    RETURNING s.owner_id, s.name_token
), new AS (
    INSERT INTO folder (owner_id, folder_id, uidvalidity, name, name_token, special_use, subscribed)
    SELECT owner_id, folder_id, folder_id, name, name_token, special_use,
           $6 OR EXISTS (SELECT FROM kept k WHERE k.owner_id = w.owner_id AND k.name_token = w.name_token)
      FROM wanted w
    RETURNING owner_id, folder_id, subscribed
), states AS (
    INSERT INTO folder_state (owner_id, folder_id) SELECT owner_id, folder_id FROM new
)
SELECT subscribed FROM new
"""
FOLDERS = "SELECT folder_id, name, uidvalidity, special_use, subscribed FROM folder WHERE owner_id = $1"
FOLDER_NAMED = """
SELECT folder_id, name, uidvalidity, special_use, subscribed FROM folder WHERE owner_id = $1 AND name_token = $2
"""
# Those that several sessions open at the same time, with their counters, under the number of the question.
FOLDERS_OPENED = """
SELECT a.question::int, f.folder_id, f.name, f.uidvalidity, f.special_use, f.subscribed,
       s.uidnext, s.highestmodseq, s.messages, s.unseen, s.deleted, s.bytes, s.recent_from
  FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS a(owner_id, name_token, question)
  JOIN folder f USING (owner_id, name_token) JOIN folder_state s USING (owner_id, folder_id)
"""
# Folder commands of one owner run one after the other, and no number is ever given twice.
NEXT_FOLDER = "UPDATE owner SET last_folder = last_folder + 1 WHERE owner_id = $1 RETURNING last_folder"
LOCK_OWNER = "SELECT 1 FROM owner WHERE owner_id = $1 FOR NO KEY UPDATE"
RENAME = """
WITH kept AS (DELETE FROM subscription WHERE owner_id = $1 AND name_token = $4 RETURNING true)
UPDATE folder SET name = $3, name_token = $4, subscribed = subscribed OR EXISTS (SELECT FROM kept)
 WHERE owner_id = $1 AND folder_id = $2
"""
SUBSCRIBE = "UPDATE folder SET subscribed = $3 WHERE owner_id = $1 AND name_token = $2 RETURNING true"
# A subscription outlives its folder ($4: as many as there may be folders).
KEEP_SUBSCRIPTION = """
INSERT INTO subscription (owner_id, name_token, name)
SELECT $1, $2, $3 WHERE (SELECT count(*) FROM subscription WHERE owner_id = $1) < $4
"""
KEPT_SUBSCRIPTIONS = "SELECT name_token, name FROM subscription WHERE owner_id = $1"
IS_SUBSCRIBED = "SELECT true FROM subscription WHERE owner_id = $1 AND name_token = $2"
END_SUBSCRIPTION = "DELETE FROM subscription WHERE owner_id = $1 AND name_token = $2 RETURNING true"
# What the folder's messages refer to may now be unreferenced; the rows themselves go by cascade.
RELEASE_FOLDER = """
INSERT INTO released (owner_id, content_id)
SELECT DISTINCT owner_id, content_id FROM message WHERE owner_id = $1 AND folder_id = $2
ON CONFLICT (owner_id, content_id) DO UPDATE SET released_at = now()
"""
DELETE_FOLDER = "DELETE FROM folder WHERE owner_id = $1 AND folder_id = $2"
STATES = """
SELECT folder_id, uidnext, highestmodseq, messages, unseen, deleted, bytes, recent_from
  FROM folder_state WHERE owner_id = $1
"""
# What an EXPUNGE would free, in the folders that have something to expunge.
DELETED_BYTES = """
SELECT folder_id, sum(size)::bigint AS octets FROM message JOIN folder_state USING (owner_id, folder_id)
 WHERE owner_id = $1 AND deleted > 0 AND flags & 8 = 8 GROUP BY folder_id
"""
SOME_STATES = STATES.rstrip() + " AND folder_id = ANY($2::int[])\n"

# Views ---------------------------------------------------------------------------------------------------------------


# Rows as columns, each one string of octets in the form in which PostgreSQL sends values: a mailbox of 100,000 is there
# in a quarter of the time that a driver needs for its values one by one (`table.py`). Keywords come joined, of the few
# rows that have any: they are atoms and hold no space.
def _packed(messages: str) -> str:
    return """
SELECT string_agg(int4send(uid), NULL) AS uids, string_agg(content_id, NULL) AS contents,
       string_agg(int2send(flags), NULL) AS flags, string_agg(timestamptz_send(internaldate), NULL) AS internaldates,
       string_agg(timestamptz_send(savedate), NULL) AS savedates, string_agg(int8send(modseq), NULL) AS modseqs,
       string_agg(int4send(size), NULL) AS sizes, array_agg(uid) FILTER (WHERE keywords <> '{}') AS named,
       array_agg(array_to_string(keywords, ' ')) FILTER (WHERE keywords <> '{}') AS keywords
  FROM (MESSAGES ORDER BY uid) AS m""".replace("MESSAGES", messages)


_ALL = "SELECT * FROM message m WHERE m.owner_id = $1 AND m.folder_id = $2"
# Folder, counters and rows in one statement, so in one snapshot.
VIEW = """
SELECT f.name, f.uidvalidity, f.special_use, f.subscribed, s.uidnext, s.highestmodseq, s.messages, s.unseen,
       s.deleted, s.bytes, s.recent_from, r.*
  FROM folder f JOIN folder_state s USING (owner_id, folder_id) CROSS JOIN LATERAL (
COLUMNS) AS r
 WHERE f.owner_id = $1 AND f.folder_id = $2
""".replace("COLUMNS", _packed(_ALL))
_CHANGED = """
SELECT m.* FROM unnest((SELECT range_agg(uids) FROM change
                         WHERE owner_id = $1 AND folder_id = $2 AND modseq > $3 AND kind IN (1, 2))) AS span
  JOIN message m ON m.owner_id = $1 AND m.folder_id = $2
       AND m.uid >= lower(span) AND m.uid < upper(span) AND m.modseq > $3"""
# The rows named by the log after a modseq, and what vanished, with the counters of the same snapshot.
CHANGES = """
SELECT s.uidnext, s.highestmodseq, s.messages, s.unseen, s.deleted, s.bytes, s.recent_from, s.changes_from,
       gone.uids AS vanished, r.*
  FROM folder_state s CROSS JOIN LATERAL (
       SELECT range_agg(uids) AS uids FROM change
        WHERE owner_id = $1 AND folder_id = $2 AND modseq > $3 AND kind = 3) AS gone CROSS JOIN LATERAL (
COLUMNS) AS r
 WHERE s.owner_id = $1 AND s.folder_id = $2
""".replace("COLUMNS", _packed(_CHANGED))
# What vanished after a modseq, alone: a client that comes back is told of rows from the view (QRESYNC).
VANISHED = """
SELECT changes_from, (SELECT range_agg(uids) FROM change
                       WHERE owner_id = $1 AND folder_id = $2 AND modseq > $3 AND kind = 3) AS vanished
  FROM folder_state WHERE owner_id = $1 AND folder_id = $2
"""

# Messages below uid $3 that no session was told of are this one's to call \\Recent. Nobody waits for the disk for it:
# after a crash they are told so once more.
CLAIM_RECENT = """
UPDATE folder_state s SET recent_from = $3
  FROM (SELECT owner_id, folder_id, recent_from, set_config('synchronous_commit', 'off', true)
          FROM folder_state WHERE owner_id = $1 AND folder_id = $2 FOR NO KEY UPDATE) AS was
 WHERE s.owner_id = was.owner_id AND s.folder_id = was.folder_id AND was.recent_from < $3
RETURNING was.recent_from
"""

# Commands ------------------------------------------------------------------------------------------------------------

# Always first, by (owner, folder), and in a statement of its own: what follows then sees what the lock waited for.
LOCK_FOLDERS = """
SELECT folder_id FROM folder_state WHERE owner_id = $1 AND folder_id = ANY($2::int[])
 ORDER BY owner_id, folder_id FOR NO KEY UPDATE
"""
ALL_UIDS = "SELECT array_agg(uid) FROM message WHERE owner_id = $1 AND folder_id = $2"
ROWS = """
SELECT uid, content_id, flags, keywords, internaldate, savedate, modseq, size FROM message
 WHERE owner_id = $1 AND folder_id = $2 AND uid = ANY($3::int[]) ORDER BY uid
"""
# Flags of a step: only rows that differ get the new modseq ($7 UNCHANGEDSINCE or NULL).
# Keywords are found in any case (RFC 9051 §2.3.2).
# ($4 add, remove or replace; $5 flags; $6 keywords; $8 keywords in lower case that replacing leaves.) All rows of the
# step come back as they stand then, and with them the folder's modseq.
# Nothing is joined row by row: a plan that was made when the mailbox was small compares each with each (2 s a step).
# It is right without a lock before it: rows change only in transactions that move the folder's modseq, so if that is
# still what the snapshot saw once its row is locked, the snapshot is the present. If not, nothing is done: `lost`.
_STORED = """
SELECT j.uid, j.content_id, j.new AS flags, CASE WHEN j.differs THEN j.new_words ELSE j.keywords END AS keywords,
       j.internaldate, j.savedate, CASE WHEN j.differs THEN c.highestmodseq ELSE j.modseq END AS modseq, j.size
  FROM judged j LEFT JOIN counters c ON true"""
_NEW_FLAGS = """
       CASE $4 WHEN 'add' THEN m.flags | $5::smallint WHEN 'remove' THEN m.flags & ~$5::smallint ELSE $5::smallint END
"""
_NEW_WORDS = """
       CASE WHEN $6::text[] = '{}' AND ($4 <> 'replace' OR m.keywords = '{}') THEN m.keywords
            WHEN $4 = 'add' THEN m.keywords || ARRAY(SELECT w FROM unnest($6::text[]) AS w WHERE lower(w) NOT IN
                                                     (SELECT lower(k) FROM unnest(m.keywords) AS k))
            WHEN $4 = 'remove' THEN ARRAY(SELECT k FROM unnest(m.keywords) AS k WHERE lower(k) NOT IN
                                          (SELECT lower(w) FROM unnest($6::text[]) AS w))
            ELSE $6::text[] || ARRAY(SELECT k FROM unnest(m.keywords) AS k
                                      WHERE lower(k) = ANY($8::text[]) AND lower(k) NOT IN
                                            (SELECT lower(w) FROM unnest($6::text[]) AS w)) END
"""
STORE_FLAGS = (
    """
WITH seen AS MATERIALIZED (
    SELECT highestmodseq FROM folder_state WHERE owner_id = $1 AND folder_id = $2
), wanted AS MATERIALIZED (
    SELECT m.*, NEW_FLAGS AS new, NEW_WORDS AS new_words
      FROM message m
     WHERE m.owner_id = $1 AND m.folder_id = $2 AND m.uid = ANY($3::int[]) AND ($7::bigint IS NULL OR m.modseq <= $7)
), judged AS MATERIALIZED (
    SELECT *, flags <> new OR NOT (keywords @> new_words AND new_words @> keywords) AS differs FROM wanted
), differing AS MATERIALIZED (
    SELECT uid, flags AS old, new FROM judged WHERE differs
), counters AS (
    UPDATE folder_state s
       SET highestmodseq = s.highestmodseq + 1,
           unseen = s.unseen + d.unseen, deleted = s.deleted + d.deleted
      FROM (SELECT sum((old & 1) - (new & 1))::int AS unseen, sum(((new & 8) - (old & 8)) / 8)::int AS deleted,
                   count(*) AS n FROM differing) AS d, seen
     WHERE s.owner_id = $1 AND s.folder_id = $2 AND d.n > 0 AND s.highestmodseq = seen.highestmodseq
    RETURNING s.highestmodseq
), logged AS (
    INSERT INTO change (owner_id, folder_id, modseq, kind, uids)
    SELECT $1, $2, c.highestmodseq, 2, (SELECT range_agg(int4range(uid, uid + 1)) FROM differing) FROM counters c
), changed AS (
    UPDATE message m SET flags = NEW_FLAGS, keywords = NEW_WORDS, modseq = c.highestmodseq
      FROM counters c
     WHERE m.owner_id = $1 AND m.folder_id = $2 AND m.uid = ANY(ARRAY(SELECT uid FROM differing))
)
SELECT coalesce(n.highestmodseq, s.highestmodseq) AS highest, n.highestmodseq IS NOT NULL AS moved,
       n.highestmodseq IS NULL AND EXISTS (SELECT FROM differing) AS lost, r.*
  FROM seen s LEFT JOIN counters n ON true CROSS JOIN LATERAL (
COLUMNS) AS r
""".replace("COLUMNS", _packed(_STORED))
    .replace("NEW_FLAGS", _NEW_FLAGS.strip())
    .replace("NEW_WORDS", _NEW_WORDS.strip())
)
# Which messages an EXPUNGE would take; steps of them are removed in transactions of their own.
DELETED = """
SELECT uid FROM message WHERE owner_id = $1 AND folder_id = $2 AND flags & 8 = 8
   AND ($3::int[] IS NULL OR uid = ANY($3::int[])) ORDER BY uid
"""
# Removes a step ($4: only those with \\Deleted), logs it, lists the content for the collector, and dates the view
# blocks that still hold something of it (1,000 uids each).
REMOVE = """
WITH gone AS (
    DELETE FROM message WHERE owner_id = $1 AND folder_id = $2 AND uid = ANY($3::int[]) AND (NOT $4 OR flags & 8 = 8)
    RETURNING uid, content_id, flags, size
), counters AS (
    UPDATE folder_state s
       SET highestmodseq = s.highestmodseq + 1, messages = s.messages - g.n, unseen = s.unseen - g.unseen,
           deleted = s.deleted - g.deleted, bytes = s.bytes - g.bytes
      FROM (SELECT count(*)::int AS n, count(*) FILTER (WHERE flags & 1 = 0)::int AS unseen,
                   count(*) FILTER (WHERE flags & 8 = 8)::int AS deleted, sum(size)::bigint AS bytes FROM gone) AS g
     WHERE s.owner_id = $1 AND s.folder_id = $2 AND g.n > 0
    RETURNING s.highestmodseq
), logged AS (
    INSERT INTO change (owner_id, folder_id, modseq, kind, uids)
    SELECT $1, $2, c.highestmodseq, 3, (SELECT range_agg(int4range(uid, uid + 1)) FROM gone) FROM counters c
), freed AS (
    INSERT INTO released (owner_id, content_id) SELECT DISTINCT $1::bigint, content_id FROM gone
    ON CONFLICT (owner_id, content_id) DO UPDATE SET released_at = now()
), dated AS (
    UPDATE view_block SET stale_at = now()
     WHERE owner_id = $1 AND folder_id = $2 AND part = 'members' AND stale_at IS NULL
       AND number IN (SELECT DISTINCT uid / 1000 FROM gone)
)
SELECT uid FROM gone ORDER BY uid
"""
# Puts a step of rows ($3 content ids … in order) into a folder; uids follow the order asked. What a patient is given,
# not what they write, goes to the intake of the record, once however often it is copied.
ADD_MESSAGES = """
WITH new AS (
    SELECT * FROM unnest($3::bytea[], $4::smallint[], $5::text[], $6::timestamptz[], $7::int[])
           WITH ORDINALITY AS n(content_id, flags, keywords, internaldate, size, position)
), counters AS (
    UPDATE folder_state s
       SET uidnext = s.uidnext + n.n, highestmodseq = s.highestmodseq + 1, messages = s.messages + n.n,
           unseen = s.unseen + n.unseen, deleted = s.deleted + n.deleted, bytes = s.bytes + n.bytes
      FROM (SELECT count(*)::int AS n, count(*) FILTER (WHERE flags & 1 = 0)::int AS unseen,
                   count(*) FILTER (WHERE flags & 8 = 8)::int AS deleted, sum(size)::bigint AS bytes FROM new) AS n
     WHERE s.owner_id = $1 AND s.folder_id = $2
    RETURNING s.uidnext - n.n AS first, n.n AS count, s.highestmodseq
), logged AS (
    INSERT INTO change (owner_id, folder_id, modseq, kind, uids)
    SELECT $1, $2, highestmodseq, 1, int4multirange(int4range(first, first + count)) FROM counters
), to_file AS (
    INSERT INTO intake (owner_id, content_id, received_at)
    SELECT $1, n.content_id, min(n.internaldate) FROM new n, counters c
     WHERE EXISTS (SELECT FROM owner o JOIN folder f USING (owner_id)
                    WHERE o.owner_id = $1 AND o.kind = 'PATIENT' AND f.folder_id = $2
                      AND coalesce(f.special_use, '') NOT IN ('\\Sent', '\\Drafts'))
     GROUP BY n.content_id
    ON CONFLICT DO NOTHING
)
INSERT INTO message (owner_id, folder_id, uid, content_id, flags, keywords, internaldate, savedate, modseq, size)
SELECT $1, $2, c.first + n.position - 1, n.content_id, n.flags, string_to_array(n.keywords, ' '), n.internaldate, now(),
       c.highestmodseq, n.size
  FROM new n, counters c
RETURNING uid
"""

# Content -------------------------------------------------------------------------------------------------------------

ADD_CONTENTS = """
INSERT INTO content (owner_id, content_id, size, key_form, key, summary, body, large_id)
SELECT $1, content_id, size, 'mailbox', key, summary, body, large_id
  FROM unnest($2::bytea[], $3::int[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])
       AS n(content_id, size, key, summary, body, large_id)
"""
# Over a content that waits and no folder has yet.
REPLACE_CONTENT = """
UPDATE content SET size = $3, key_form = 'mailbox', key = $4, summary = $5, body = $6
 WHERE owner_id = $1 AND content_id = $2
"""
# A large body's pieces are committed while it comes, before the transaction that refers to them; the collector clears
# what is left.
ADD_LARGE = "INSERT INTO large_body (owner_id, content_id) SELECT unnest($1::bigint[]), $2"
ADD_PIECE = "INSERT INTO body_piece (owner_id, content_id, number, data) SELECT unnest($1::bigint[]), $2, $3, $4"
# Contents that several sessions want at the same time, the rows under the number of the question: the summary, or where
# $5 is set the blob's header ($6 octets) and the octets [$4, $5) of it (from 0); where the body is large, all of the
# blob that stands before the pieces.
CONTENTS = """
SELECT a.question, a.content_id, c.size, c.key, c.key_form, c.large_id IS NOT NULL AS large,
       CASE WHEN a.stop IS NULL THEN c.summary END AS summary,
       CASE WHEN a.stop IS NOT NULL THEN substring(c.body FROM 1 FOR a.header) END AS header,
       CASE WHEN a.stop IS NULL THEN NULL WHEN c.large_id IS NOT NULL THEN c.body
            ELSE substring(c.body FROM a.start + 1 FOR a.stop - a.start) END AS part
  FROM unnest($1::int[], $2::bigint[], $3::bytea[], $4::int[], $5::int[], $6::int[])
       AS a(question, owner_id, content_id, start, stop, header) JOIN content c USING (owner_id, content_id)
"""
CONTENTS_TOLD = telling(CONTENTS, 6)
# Small messages whole, many in one reading.
BODIES = """
SELECT content_id, key, key_form, body FROM content
 WHERE owner_id = $1 AND content_id = ANY($2::bytea[]) AND large_id IS NULL
"""
PIECES = """
SELECT data FROM body_piece WHERE owner_id = $1 AND content_id = $2 AND number BETWEEN $3 AND $4 ORDER BY number
"""
PIECE_HEADER = """
SELECT substring(data FROM 1 FOR $3) FROM body_piece WHERE owner_id = $1 AND content_id = $2 AND number = 0
"""
# Two readers may re-wrap the same key at once: the first wins, the other's is as good and is dropped.
REWRAP = """
UPDATE content c SET key = n.key, key_form = 'mailbox'
  FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS n(owner_id, content_id, key)
 WHERE c.owner_id = n.owner_id AND c.content_id = n.content_id AND c.key_form = 'hpke'
"""
# Keys still sealed, a mailbox's together, but for those of some owners.
SEALED_KEYS = """
SELECT owner_id, content_id, key FROM content
 WHERE key_form = 'hpke' AND owner_id <> ALL($2::bigint[]) ORDER BY owner_id, content_id LIMIT $1
"""

# Collection ----------------------------------------------------------------------------------------------------------

# Held before it is judged: a COPY that comes now waits for the foreign key and then fails, one that came shows below.
HOLD_RELEASED = """
SELECT r.owner_id, r.content_id FROM released r JOIN content c USING (owner_id, content_id)
 WHERE r.released_at < now() - make_interval(secs => $1) ORDER BY r.owner_id, r.content_id LIMIT $2
   FOR UPDATE OF c SKIP LOCKED
"""
COLLECT = """
WITH held AS (SELECT * FROM unnest($1::bigint[], $2::bytea[]) AS h(owner_id, content_id)),
     referenced AS (
    SELECT h.* FROM held h
     WHERE EXISTS (SELECT FROM message m WHERE m.owner_id = h.owner_id AND m.content_id = h.content_id)
        OR EXISTS (SELECT FROM outgoing o WHERE o.owner_id = h.owner_id AND o.content_id = h.content_id)
        OR EXISTS (SELECT FROM document d WHERE d.owner_id = h.owner_id AND d.content_id = h.content_id)
), kept AS (
    DELETE FROM released r USING referenced f WHERE r.owner_id = f.owner_id AND r.content_id = f.content_id
)
DELETE FROM content c USING held h
 WHERE c.owner_id = h.owner_id AND c.content_id = h.content_id
   AND NOT EXISTS (SELECT FROM referenced f WHERE f.owner_id = h.owner_id AND f.content_id = h.content_id)
RETURNING c.content_id
"""
# Large bodies whose message was never accepted or is collected.
COLLECT_LARGE = """
DELETE FROM large_body b
 WHERE (owner_id, content_id) IN (
       SELECT owner_id, content_id FROM large_body l
        WHERE created_at < now() - make_interval(secs => $1)
          AND NOT EXISTS (SELECT FROM content c WHERE c.owner_id = l.owner_id AND c.large_id = l.content_id)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING content_id
"""
# The change log past its horizon. The folder's mark moves first and its lock keeps readers' snapshots true.
OLD_CHANGES = """
SELECT owner_id, folder_id, max(modseq) AS upto FROM change WHERE changed_at < now() - make_interval(secs => $1)
 GROUP BY owner_id, folder_id ORDER BY owner_id, folder_id LIMIT $2
"""
MARK_TRIMMED = """
UPDATE folder_state SET changes_from = greatest(changes_from, $3) WHERE owner_id = $1 AND folder_id = $2
"""
TRIM_CHANGES = "DELETE FROM change WHERE owner_id = $1 AND folder_id = $2 AND modseq <= $3"

# The feed ------------------------------------------------------------------------------------------------------------

NOTIFY = "SELECT pg_notify($1, $2)"
# Of the list of folders itself (folder 0) it is not a modseq but a sum over its rows, and over what is written of them,
# that any change of one changes.
WATCHED = """
SELECT w.owner_id, w.folder_id,
       CASE WHEN w.folder_id = 0 THEN (SELECT sum(number + xmin::text::bigint * 1000)::bigint FROM (
                                       SELECT folder_id AS number, xmin FROM folder WHERE owner_id = w.owner_id
                                       UNION ALL SELECT 1, xmin FROM annotation WHERE owner_id = w.owner_id) AS row)
            ELSE s.highestmodseq END
  FROM unnest($1::bigint[], $2::int[]) AS w(owner_id, folder_id) LEFT JOIN folder_state s USING (owner_id, folder_id)
"""
