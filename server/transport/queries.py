"""The statements of transport: the one that accepts, fingerprints, the local queue."""

from __future__ import annotations

# The one transaction that takes responsibility, for a group of messages, as one statement. One row comes back for each
# (message, recipient) asked:
#   done      a row in the folder, with its uid
#   queued    in the local queue: held for later, mailbox suspended, or folder locked or gone since it was judged
#   repeated  this sender sent these bytes to this recipient before, and they were taken then
#   missing, closed   and then nothing of this message was taken, for no recipient: the caller decides
#   held      would have been taken but for another recipient of the message that is missing or closed
# Order of work, forced by what each part reads: fingerprints, content rows, folder locks by (owner, folder), counters.
# $1-$7 messages, whose `bulk` only `stored` carries; $8-$15 recipients; $16-$18 the writers' keys of the trail; $19
# fingerprints whose 250 is known to have arrived, to be forgotten; $20-$22 what each copy changes of a patient's right
# to answer (conversation.turn); $23-$25 by what its event in the trail is found; of each message $26 until when it is
# held, $27 its keywords, joined, $28 whether it may be encrypted: then it waits for the jobs where they have the key.
# Of one sender's messages in a group the last word counts.
ACCEPT = """
WITH forgotten AS (
    DELETE FROM accepted WHERE fingerprint = ANY($19::bytea[])
), messages AS (
    SELECT * FROM unnest($1::int[], $2::bytea[], $3::int[], $4::timestamptz[], $26::timestamptz[], $27::text[],
                         $28::boolean[])
           AS m(n, content_id, size, internaldate, not_before, keywords, encrypted)
), bulk AS (
    SELECT * FROM unnest($1::int[], $5::bytea[], $6::bytea[], $7::bytea[]) AS m(n, summary, body, large_id)
), judged AS MATERIALIZED (
    SELECT a.*, o.state, o.kind, s.owner_id IS NOT NULL AS present,
           EXISTS (SELECT FROM accepted x WHERE x.fingerprint = a.fingerprint
                      AND x.accepted_at > now() - interval '5 days') AS repeated
      FROM unnest($8::int[], $9::bigint[], $10::int[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bytea[],
                  $15::bytea[], $20::bytea[], $21::bytea[], $22::boolean[], $23::bytea[], $24::text[], $25::bytea[])
           WITH ORDINALITY AS a(n, owner_id, folder_id, key, fingerprint, actor, detail, key_id, contact, sender, muted,
                                message, trace, party, position)
      LEFT JOIN owner o ON o.owner_id = a.owner_id
      LEFT JOIN folder_state s ON s.owner_id = a.owner_id AND s.folder_id = a.folder_id
), whole AS (
    SELECT n FROM judged GROUP BY n
    HAVING bool_and(repeated OR (present AND coalesce(state IN ('active', 'suspended'), false)))
), fresh AS (
    INSERT INTO accepted AS x (fingerprint)
    SELECT fingerprint FROM judged JOIN whole USING (n) WHERE NOT repeated ORDER BY fingerprint
    ON CONFLICT (fingerprint) DO UPDATE SET accepted_at = now()
       WHERE x.accepted_at <= now() - interval '5 days'
    RETURNING fingerprint
), taken AS MATERIALIZED (
    SELECT j.*, m.content_id, m.size, m.internaldate, m.keywords,
           coalesce(m.not_before, CASE WHEN m.encrypted AND EXISTS (
                    SELECT FROM entrusted_key k WHERE k.owner_id = j.owner_id) THEN m.internaldate END) AS not_before
      FROM judged j JOIN fresh USING (fingerprint) JOIN messages m USING (n)
), stored AS (
    INSERT INTO content (owner_id, content_id, size, key_form, key, summary, body, large_id)
    SELECT t.owner_id, t.content_id, t.size, 'hpke', t.key, m.summary, m.body, m.large_id
      FROM taken t JOIN bulk m USING (n)
    RETURNING owner_id, content_id
), locked AS MATERIALIZED (
    SELECT s.owner_id, s.folder_id FROM folder_state s
     WHERE (s.owner_id, s.folder_id) IN (
           SELECT t.owner_id, t.folder_id FROM taken t JOIN stored USING (owner_id, content_id)
            WHERE t.state = 'active' AND t.not_before IS NULL)
     ORDER BY s.owner_id, s.folder_id FOR NO KEY UPDATE OF s {skip}
), placed AS MATERIALIZED (
    SELECT t.position, t.owner_id, t.folder_id, t.kind, t.content_id, t.size, t.internaldate, t.keywords,
           row_number() OVER (PARTITION BY t.owner_id, t.folder_id ORDER BY t.position)::int AS place
      FROM taken t JOIN locked USING (owner_id, folder_id) WHERE t.state = 'active' AND t.not_before IS NULL
), counters AS (
    UPDATE folder_state s
       SET uidnext = s.uidnext + c.n, highestmodseq = s.highestmodseq + 1, messages = s.messages + c.n,
           unseen = s.unseen + c.n, bytes = s.bytes + c.bytes
      FROM (SELECT owner_id, folder_id, count(*)::int AS n, sum(size)::bigint AS bytes
              FROM placed GROUP BY owner_id, folder_id) AS c
     WHERE s.owner_id = c.owner_id AND s.folder_id = c.folder_id
    RETURNING s.owner_id, s.folder_id, s.uidnext - c.n AS first, c.n, s.highestmodseq
), delivered AS (
    INSERT INTO message (owner_id, folder_id, uid, content_id, flags, keywords, internaldate, savedate, modseq, size)
    SELECT p.owner_id, p.folder_id, c.first + p.place - 1, p.content_id, 0, string_to_array(p.keywords, ' '),
           p.internaldate, now(), c.highestmodseq, p.size
      FROM placed p JOIN counters c USING (owner_id, folder_id)
), logged AS (
    INSERT INTO change (owner_id, folder_id, modseq, kind, uids)
    SELECT owner_id, folder_id, highestmodseq, 1, int4multirange(int4range(first, first + n)) FROM counters
), queued AS (
    INSERT INTO outgoing (owner_id, kind, content_id, folder_id, internaldate, not_before, keywords)
    SELECT t.owner_id, 'local', t.content_id, t.folder_id, coalesce(t.not_before, t.internaldate),
           coalesce(t.not_before, now()), t.keywords
      FROM taken t WHERE NOT EXISTS (SELECT FROM placed p WHERE p.position = t.position)
), writer AS (
    INSERT INTO audit_key (key_id, reader_id, sealed)
    SELECT * FROM unnest($16::bytea[], $17::int[], $18::bytea[]) ON CONFLICT (key_id) DO NOTHING
), trail AS (
    INSERT INTO audit (stream, kind, owner_id, actor, key_id, detail, message, trace, party)
    SELECT 1, 'message-accepted', owner_id, actor, key_id, detail, message, trace, party FROM taken
), opened AS (
    INSERT INTO contact (owner_id, token, sender, ended_at)
    SELECT DISTINCT t.owner_id, t.contact, t.sender, CASE WHEN t.muted THEN now() END FROM taken t
     WHERE t.contact IS NOT NULL
       AND (t.muted OR NOT EXISTS (SELECT FROM taken later WHERE later.owner_id = t.owner_id AND later.sender = t.sender
                                      AND later.contact IS NULL AND later.position > t.position))
     ORDER BY t.owner_id, t.contact, t.sender
    ON CONFLICT (owner_id, token, sender) DO NOTHING
), turned AS (
    UPDATE contact c SET ended_at = CASE WHEN t.contact IS NULL THEN now() END
      FROM (SELECT DISTINCT ON (owner_id, sender) owner_id, sender, contact FROM taken
             WHERE sender IS NOT NULL AND NOT muted ORDER BY owner_id, sender, position DESC) AS t
     WHERE c.owner_id = t.owner_id AND c.sender = t.sender
       AND CASE WHEN t.contact IS NULL THEN c.ended_at IS NULL
                ELSE c.token = t.contact AND c.ended_at IS NOT NULL END
), to_file AS (
    INSERT INTO intake (owner_id, content_id, received_at)
    SELECT owner_id, content_id, internaldate FROM placed WHERE kind = 'PATIENT'
)
SELECT j.position,
       CASE WHEN c.first IS NOT NULL THEN 'done'
            WHEN t.position IS NOT NULL THEN 'queued'
            WHEN j.repeated OR w.n IS NOT NULL THEN 'repeated'
            WHEN j.state = 'closed' THEN 'closed'
            WHEN NOT j.present OR j.state IS NULL OR j.state = 'spare' THEN 'missing'
            ELSE 'held' END AS outcome,
       c.first + p.place - 1 AS uid
  FROM judged j
  LEFT JOIN whole w USING (n)
  LEFT JOIN taken t ON t.position = j.position
  LEFT JOIN placed p ON p.position = j.position
  LEFT JOIN counters c ON c.owner_id = p.owner_id AND c.folder_id = p.folder_id
 ORDER BY j.position
"""
ACCEPT_WAITING = ACCEPT.format(skip="")
# For a folder locked longer than the lock timeout: what cannot be locked at once goes to the local queue.
ACCEPT_SKIPPING = ACCEPT.format(skip="SKIP LOCKED")

# What leaves for other operators, in the transaction of the copies that stay: message, recipients, trail, fingerprint.
# $1-$13 messages; $14-$16 the writers' keys of the trail; $17-$21 recipients; $22, $23 by what the event in the trail
# is found, beside the trace.
ENQUEUE = """
WITH asked AS (
    SELECT *, EXISTS (SELECT FROM accepted x WHERE x.fingerprint = a.fingerprint
                         AND x.accepted_at > now() - interval '5 days') AS repeated
      FROM unnest($1::bytea[], $2::int[], $3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::int[], $8::bytea[],
                  $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[], $22::bytea[], $23::bytea[])
           AS a(queue_id, key_id, key, owner_id, trace_id, sender, size, envelope, body, fingerprint, actor, detail,
                writer_id, message, party)
), fresh AS (
    INSERT INTO accepted AS x (fingerprint)
    SELECT fingerprint FROM asked WHERE NOT repeated ORDER BY fingerprint
    ON CONFLICT (fingerprint) DO UPDATE SET accepted_at = now()
       WHERE x.accepted_at <= now() - interval '5 days'
    RETURNING fingerprint
), taken AS MATERIALIZED (
    SELECT a.* FROM asked a JOIN fresh USING (fingerprint)
), stored AS (
    INSERT INTO queue_message (queue_id, key_id, key, owner_id, trace_id, sender, size, envelope, body)
    SELECT queue_id, key_id, key, owner_id, trace_id, sender, size, envelope, body FROM taken
), recipients AS (
    INSERT INTO queue_recipient (queue_id, number, domain, name, not_before)
    SELECT r.* FROM unnest($17::bytea[], $18::smallint[], $19::text[], $20::text[], $21::timestamptz[])
           AS r(queue_id, number, domain, name, not_before) JOIN taken USING (queue_id)
), writer AS (
    INSERT INTO audit_key (key_id, reader_id, sealed)
    SELECT * FROM unnest($14::bytea[], $15::int[], $16::bytea[]) ON CONFLICT (key_id) DO NOTHING
), trail AS (
    INSERT INTO audit (stream, kind, owner_id, actor, key_id, detail, message, trace, party)
    SELECT 1, 'message-queued', owner_id, actor, writer_id, detail, message, trace_id, party FROM taken
)
SELECT a.queue_id, CASE WHEN t.queue_id IS NULL THEN 'repeated' ELSE 'queued' END AS outcome
  FROM asked a LEFT JOIN taken t USING (queue_id)
"""
# Today's key of the queue, or the newest before it.
QUEUE_KEY = "SELECT key_id, day, public_key, proof FROM queue_key WHERE day <= $1 ORDER BY day DESC LIMIT 1"
# What is held for another operator, asked for in the name of one of its recipients ($2) at $3.
HELD = "SELECT domain, size FROM held_message WHERE held_id = $1 AND $2 = ANY(recipients) AND ends_at > $3"
HELD_PART = "SELECT substr(data, $3 + 1, $4) FROM held_piece WHERE held_id = $1 AND number = $2"
ADD_QUEUE_PIECE = "INSERT INTO queue_piece (queue_id, number, data) VALUES ($1, $2, $3)"

# All that RCPT asks of the addresses with these tokens ($1): where each leads, how full the mailbox is, whether the
# patient $2 may write there (some row of that correspondent is open and the patient closed none), and how often those
# counted as $3 (kinds) and $4 (names) have asked for unknown ones in the hour $5.
RECIPIENTS = """
SELECT t.token, a.proof, a.closed_at, o.owner_id, o.kind, o.state, o.public_key, o.refuses_mail, o.open_to_patients,
       o.quota_bytes,
       (SELECT sum(s.bytes)::bigint FROM folder_state s WHERE s.owner_id = a.owner_id) AS used,
       (SELECT bool_or(c.ended_at IS NULL) AND bool_and(c.closed_at IS NULL) FROM contact c
         WHERE c.owner_id = $2 AND c.token = t.token) AS answerable,
       ARRAY(SELECT coalesce(y.count, 0) FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS n(kind, name, place)
               LEFT JOIN tally y ON y.kind = n.kind AND y.name = n.name AND y.hour = $5 ORDER BY n.place) AS unknown
  FROM unnest($1::bytea[]) AS t(token) LEFT JOIN address a USING (token) LEFT JOIN owner o USING (owner_id)
"""
# Where these addresses lead, and how they are shared with this person ($2) at $3.
AUTHORS = """
SELECT a.token, a.proof, a.closed_at, o.owner_id, o.kind, o.state, o.public_key,
       d.delegate_id, d.rights, d.until, d.proof AS delegation_proof
  FROM unnest($1::bytea[]) AS asked(token) JOIN address a USING (token) JOIN owner o USING (owner_id)
  LEFT JOIN delegation d ON d.owner_id = o.owner_id AND d.delegate_id = $2 AND (d.until IS NULL OR d.until > $3)
"""
# What mailboxes sent in an hour ($1), in order so that two never deadlock; back comes what all workers counted.
ADD_SENT = """
INSERT INTO tally AS t (kind, name, hour, owner_id, count)
SELECT kind, owner_id::text, $1, owner_id, count
  FROM unnest($2::text[], $3::bigint[], $4::int[]) AS n(kind, owner_id, count)
 ORDER BY kind, owner_id::text
ON CONFLICT (kind, name, hour) DO UPDATE SET count = t.count + excluded.count
RETURNING kind, owner_id, count
"""
# Counts of an hour ($1), in order so that two never deadlock: $2-$5 as they are, and from pairs of sender and recipient
# ($6 pairs, $7 names and $8 owners of the senders) those that were never seen before.
ADD_TALLIES = """
WITH fresh AS (
    INSERT INTO acquaintance (pair, seen_on) SELECT pair, $1::timestamptz::date FROM unnest($6::bytea[]) AS p(pair)
     ORDER BY pair
    ON CONFLICT (pair) DO NOTHING RETURNING pair
)
INSERT INTO tally AS t (kind, name, hour, owner_id, count)
SELECT kind, name, $1, owner_id, count
  FROM (SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::int[]) AS n(kind, name, owner_id, count)
         UNION ALL
        SELECT 'strangers', p.name, max(p.owner_id), count(*)::int
          FROM unnest($6::bytea[], $7::text[], $8::bigint[]) AS p(pair, name, owner_id) JOIN fresh USING (pair)
         GROUP BY p.name) AS counted
 ORDER BY kind, name
ON CONFLICT (kind, name, hour) DO UPDATE SET count = t.count + excluded.count
"""
# A pair that is still in use stays an acquaintance; once a month is often enough.
SEEN_AGAIN = """
UPDATE acquaintance SET seen_on = $2::date WHERE pair = ANY($1::bytea[]) AND seen_on < $2::date - 30
"""
# Whose volume since $1 is out of the usual by the thresholds of its kind ($3 kinds, $4 floors, $5 factors): `usual` is
# what a day brought between $2 and $1, over the days since the name was first seen there. Told once a day.
RAISE_ALARMS = """
INSERT INTO alarm (kind, name, day, owner_id, count, usual)
SELECT r.kind, r.name, $6::timestamptz::date, r.owner_id, r.count, b.usual
  FROM (SELECT kind, name, max(owner_id) AS owner_id, sum(count)::int AS count FROM tally
         WHERE hour > $1 GROUP BY kind, name) AS r
  JOIN unnest($3::text[], $4::int[], $5::int[]) AS limits(kind, floor, factor)
    ON limits.kind = r.kind AND r.count >= limits.floor
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(t.count) / greatest(1, round(extract(epoch FROM $1 - min(t.hour)) / 86400)), 0)::int AS usual
         FROM tally t WHERE t.kind = r.kind AND t.name = r.name AND t.hour > $2 AND t.hour <= $1) AS b
 WHERE r.count >= limits.factor * b.usual
ON CONFLICT (day, kind, name) DO NOTHING
RETURNING kind, name, owner_id, count, usual
"""
ALARMS_SINCE = """
SELECT kind, name, owner_id, count, usual, raised_at FROM alarm WHERE raised_at > $1 ORDER BY raised_at DESC LIMIT $2
"""
FORGET_TALLIES = """
DELETE FROM tally WHERE (kind, name, hour) IN (SELECT kind, name, hour FROM tally WHERE hour < $1 LIMIT $2)
"""
FORGET_ACQUAINTANCES = """
DELETE FROM acquaintance WHERE pair IN (SELECT pair FROM acquaintance WHERE seen_on < $1 LIMIT $2)
"""
FORGET_ALARMS = "DELETE FROM alarm WHERE day < $1"

# What still waits, for the operator: of accepts with these names ($1) or to that pseudonym ($2) at other operators, and
# of these contents ($1, $2) here.
WAITING_ELSEWHERE = """
SELECT m.trace_id AS trace, r.domain, r.name AS to, r.state, r.attempts, r.not_before, r.last_status AS status,
       r.last_reply AS reply
  FROM queue_recipient r JOIN queue_message m USING (queue_id)
 WHERE m.trace_id = ANY($1::text[]) OR r.name = $2 ORDER BY m.created_at, r.number LIMIT 1000
"""
WAITING_HERE = """
SELECT 'local' AS state, q.attempts, q.not_before FROM outgoing q
  JOIN unnest($1::bigint[], $2::bytea[]) AS c(owner_id, content_id) USING (owner_id, content_id)
 ORDER BY q.created_at
"""

# A flusher's connection: a lock is waited for 250 ms, and the statement is planned once.
PREPARE_CONNECTION = "SELECT set_config('lock_timeout', $1, false), set_config('plan_cache_mode', $2, false)"
FORGET = "DELETE FROM accepted WHERE fingerprint = ANY($1::bytea[])"
# Those whose 250 nobody was seen to read, when nobody will send the same again: a piece of them.
FORGET_OLD = """
DELETE FROM accepted WHERE fingerprint IN (
       SELECT fingerprint FROM accepted WHERE accepted_at < now() - interval '5 days' LIMIT $1)
"""

# The local queue, one row a transaction; others' rows are passed over.
NEXT_LOCAL = """
SELECT q.owner_id, q.outgoing_id, q.content_id, q.folder_id, q.internaldate, q.keywords, q.attempts, q.created_at,
       o.state, c.size
  FROM outgoing q JOIN owner o USING (owner_id) JOIN content c USING (owner_id, content_id)
 WHERE q.kind = 'local' AND q.not_before <= now() ORDER BY q.not_before LIMIT 1 FOR UPDATE OF q SKIP LOCKED
"""
DONE_LOCAL = "DELETE FROM outgoing WHERE owner_id = $1 AND outgoing_id = $2"
POSTPONE_LOCAL = """
UPDATE outgoing SET attempts = attempts + 1, not_before = now() + make_interval(secs => $3)
 WHERE owner_id = $1 AND outgoing_id = $2
"""
RELEASE = """
INSERT INTO released (owner_id, content_id) VALUES ($1, $2)
ON CONFLICT (owner_id, content_id) DO UPDATE SET released_at = now()
"""

# Mailboxes whose holder is to be told something and was told nothing since $1, the longest waiting first.
TO_BE_TOLD = """
SELECT owner_id FROM holder_alert a
 WHERE told_at IS NULL
   AND NOT EXISTS (SELECT FROM holder_alert t WHERE t.owner_id = a.owner_id AND t.told_at > $1)
 GROUP BY owner_id ORDER BY min(alert_id) LIMIT $2
"""
# Another worker that is telling the same holder has these rows.
TELL = """
UPDATE holder_alert h SET told_at = $2
  FROM (SELECT owner_id, alert_id FROM holder_alert
         WHERE owner_id = $1 AND told_at IS NULL ORDER BY alert_id FOR UPDATE SKIP LOCKED) AS due
 WHERE h.owner_id = due.owner_id AND h.alert_id = due.alert_id
RETURNING h.sealed, h.at
"""
FORGET_TOLD = "DELETE FROM holder_alert WHERE told_at <= $1"
