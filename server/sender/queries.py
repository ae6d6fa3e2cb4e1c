"""The statements of the queue as the role `sender` works it off."""

from __future__ import annotations

# Keys of the day. A key goes when its day is over and its last message has left.
ADD_KEY = """
INSERT INTO queue_key (day, public_key, wrapped_private_key, proof) VALUES ($1, $2, $3, $4)
ON CONFLICT (day) DO NOTHING
"""
KEY_DAYS = "SELECT day FROM queue_key WHERE day >= $1"
PRIVATE_KEY = "SELECT day, wrapped_private_key FROM queue_key WHERE key_id = $1"
DROP_KEYS = """
DELETE FROM queue_key k WHERE day < $1 AND NOT EXISTS (SELECT FROM queue_message m WHERE m.key_id = k.key_id)
"""

# What is due, for this worker, until the lease ends: of each domain its oldest ($4 a domain, $5 in all), so that the
# thousands of one domain hide nobody else's. A row that others hold is passed over, and a row whose lease ran out is
# due again, with an attempt behind it of which nobody knows the end. $3: domains that are left alone now.
LEASE = """
WITH RECURSIVE lane (domain) AS (
    (SELECT domain FROM queue_recipient WHERE state = 'waiting' ORDER BY domain LIMIT 1)
    UNION ALL
    SELECT (SELECT r.domain FROM queue_recipient r WHERE r.state = 'waiting' AND r.domain > lane.domain
             ORDER BY r.domain LIMIT 1)
      FROM lane WHERE lane.domain IS NOT NULL
), due AS (
    SELECT d.queue_id, d.number FROM lane CROSS JOIN LATERAL (
           SELECT queue_id, number FROM queue_recipient r
            WHERE r.state = 'waiting' AND r.domain = lane.domain AND r.not_before <= now()
            ORDER BY r.not_before LIMIT $4 FOR UPDATE SKIP LOCKED) AS d
     WHERE lane.domain <> ALL($3::text[]) LIMIT $5
)
UPDATE queue_recipient r
   SET leased_by = $1, leased_until = now() + make_interval(secs => $2), not_before = now() + make_interval(secs => $2),
       attempts = r.attempts + 1, tried_since = coalesce(r.tried_since, now()),
       unsure = r.unsure OR r.leased_by IS NOT NULL
  FROM due d WHERE r.queue_id = d.queue_id AND r.number = d.number
RETURNING r.queue_id, r.number, r.domain, r.name, r.attempts, r.tried_since, r.delay_told, r.unsure, r.wish
"""
# A worker that was killed and is back: what it had leased is due now, with an attempt behind it of unsure end.
TAKE_BACK = "UPDATE queue_recipient SET not_before = now() WHERE starts_with(leased_by, $1) AND not_before > now()"
# A domain that can be spoken to again: what waits since nobody could (network and routing status, RFC 3463 §3.5).
BRING_FORWARD = """
UPDATE queue_recipient SET not_before = now()
 WHERE domain = $1 AND state = 'waiting' AND leased_by IS NULL AND not_before > now() AND last_status LIKE '4.4.%'
"""
# Leased and not tried: as it was before, due at once for whoever comes.
GIVE_UP_LEASE = """
UPDATE queue_recipient r
   SET leased_by = NULL, leased_until = NULL, not_before = now(), attempts = r.attempts - 1
  FROM unnest($2::bytea[], $3::smallint[]) AS h(queue_id, number)
 WHERE r.queue_id = h.queue_id AND r.number = h.number AND r.leased_by = $1
"""
# Still at it: the lease goes on for what this worker holds and has not settled.
HEARTBEAT = """
UPDATE queue_recipient r
   SET leased_until = now() + make_interval(secs => $2), not_before = now() + make_interval(secs => $2)
  FROM unnest($3::bytea[], $4::smallint[]) AS h(queue_id, number)
 WHERE r.queue_id = h.queue_id AND r.number = h.number AND r.leased_by = $1
"""
# $2: how much of its body; $3: who asks, since what is no longer leased to him, or held since, is not his to send.
MESSAGE = """
SELECT m.key_id, m.key, m.owner_id, m.trace_id, m.size, m.envelope,
       substr(coalesce(m.body, (SELECT p.data FROM queue_piece p WHERE p.queue_id = m.queue_id AND p.number = 0)),
              1, $2) AS part, m.body IS NULL AS in_pieces,
       ARRAY(SELECT r.number FROM queue_recipient r
              WHERE r.queue_id = m.queue_id AND r.leased_by = $3 AND r.state = 'waiting') AS leased
  FROM queue_message m WHERE m.queue_id = $1
"""
# More of a body: $4 octets behind the first $3, of its piece $2 or of all of it where it lies in its row.
PART = """
SELECT substr(coalesce(m.body, (SELECT p.data FROM queue_piece p WHERE p.queue_id = m.queue_id AND p.number = $2)),
              $3 + 1, $4)
  FROM queue_message m WHERE m.queue_id = $1
"""

# Large messages that stay here until the recipient's operator fetches them.
HOLD_MESSAGE = "INSERT INTO held_message (held_id, domain, recipients, size, ends_at) VALUES ($1, $2, $3, $4, $5)"
HOLD_PIECE = "INSERT INTO held_piece (held_id, number, data) VALUES ($1, $2, $3)"
HELD_TAKEN = "UPDATE held_message SET taken = true WHERE held_id = $1"
DROP_HELD = "DELETE FROM held_message WHERE held_id = $1"
# Ended ($1), or of a process that died before the pointer left ($2).
COLLECT_HELD = """
DELETE FROM held_message WHERE held_id IN (
       SELECT held_id FROM held_message WHERE ends_at <= $1 OR (NOT taken AND created_at < $2) LIMIT $3)
"""

# Settling, in one transaction: the messages first, in order, so that two workers that end the last recipients of one
# message at the same time see each other.
LOCK_MESSAGES = "SELECT queue_id FROM queue_message WHERE queue_id = ANY($1::bytea[]) ORDER BY queue_id FOR UPDATE"
DONE = """
DELETE FROM queue_recipient r USING unnest($2::bytea[], $3::smallint[]) AS d(queue_id, number)
 WHERE r.queue_id = d.queue_id AND r.number = d.number AND r.leased_by = $1
RETURNING r.queue_id, r.number
"""
DEFER = """
UPDATE queue_recipient r
   SET leased_by = NULL, leased_until = NULL, last_status = d.status, last_reply = d.reply,
       delay_told = r.delay_told OR d.told, unsure = r.unsure OR d.unsure,
       not_before = CASE r.wish WHEN 'return' THEN now() ELSE d.not_before END,
       wish = CASE r.wish WHEN 'return' THEN r.wish ELSE '' END
  FROM unnest($2::bytea[], $3::smallint[], $4::timestamptz[], $5::text[], $6::text[], $7::boolean[], $8::boolean[])
       AS d(queue_id, number, not_before, status, reply, told, unsure)
 WHERE r.queue_id = d.queue_id AND r.number = d.number AND r.leased_by = $1
RETURNING r.queue_id, r.number
"""
DROP_EMPTY = """
WITH gone AS (
    DELETE FROM queue_message m WHERE queue_id = ANY($1::bytea[])
       AND NOT EXISTS (SELECT FROM queue_recipient r WHERE r.queue_id = m.queue_id)
    RETURNING queue_id
)
DELETE FROM queue_piece p USING gone WHERE p.queue_id = gone.queue_id
"""
# Pieces that no message ever took: their accept failed or its process died.
DROP_STRAY_PIECES = """
DELETE FROM queue_piece p WHERE created_at < now() - interval '1 day'
   AND NOT EXISTS (SELECT FROM queue_message m WHERE m.queue_id = p.queue_id)
"""
# What does not open is put aside for a person, and never stops the next one.
SET_ASIDE = """
UPDATE queue_recipient SET state = 'held', leased_by = NULL, leased_until = NULL, last_status = '4.3.5',
       last_reply = 'this message does not open'
 WHERE queue_id = $1 AND leased_by = $2
"""

# What the operator sees and orders. $1: messages (null for all), $2: a domain, $4 or $3: a pseudonym (null for any).
LISTED = """
SELECT r.queue_id, r.number, r.domain, r.name, m.sender, m.owner_id, m.trace_id, m.size, m.created_at, r.attempts,
       r.not_before, r.last_status, r.last_reply, r.unsure, r.wish,
       CASE WHEN r.leased_until > now() THEN 'trying' WHEN r.state = 'held' THEN 'held'
            WHEN r.attempts = 0 AND r.not_before > now() THEN 'scheduled' ELSE 'waiting' END AS state
  FROM queue_recipient r JOIN queue_message m USING (queue_id)
 WHERE ($1::bytea[] IS NULL OR r.queue_id = ANY($1)) AND ($2::text IS NULL OR r.domain = $2)
   AND ($4::text IS NULL OR r.name = $4)
 ORDER BY m.created_at, r.queue_id, r.number LIMIT $3
"""
# How many recipients are in each state: for the line below a list that was cut.
COUNTED = """
SELECT count(*)::int AS count,
       CASE WHEN r.leased_until > now() THEN 'trying' WHEN r.state = 'held' THEN 'held'
            WHEN r.attempts = 0 AND r.not_before > now() THEN 'scheduled' ELSE 'waiting' END AS state
  FROM queue_recipient r
 WHERE ($1::bytea[] IS NULL OR queue_id = ANY($1)) AND ($2::text IS NULL OR domain = $2)
   AND ($3::text IS NULL OR name = $3)
 GROUP BY 2
"""
# The messages whose ids lie between two: what a shortened id stands for.
MESSAGES_BETWEEN = "SELECT queue_id FROM queue_message WHERE queue_id BETWEEN $1 AND $2 LIMIT 2"
# Rows that orders are for, locked after their messages, so that a worker that settles and an order meet in one order.
LOCK_ORDERED = """
SELECT m.queue_id FROM queue_message m
 WHERE ($1::bytea[] IS NULL OR m.queue_id = ANY($1))
   AND EXISTS (SELECT FROM queue_recipient r WHERE r.queue_id = m.queue_id AND ($2::text IS NULL OR r.domain = $2))
 ORDER BY m.queue_id FOR UPDATE
"""
# Each order leaves what is being tried alone, and says which rows it changed. A row that its sender wants to leave
# later (RFC 4865) is not hurried.
RETRY = """
UPDATE queue_recipient SET not_before = now(), wish = 'try'
 WHERE queue_id = ANY($1) AND ($2::text IS NULL OR domain = $2) AND state = 'waiting' AND wish = ''
   AND (attempts > 0 OR not_before <= now()) AND (leased_until IS NULL OR leased_until <= now())
RETURNING queue_id, name
"""
HOLD = """
UPDATE queue_recipient SET state = 'held'
 WHERE queue_id = ANY($1) AND ($2::text IS NULL OR domain = $2) AND state = 'waiting'
   AND (leased_until IS NULL OR leased_until <= now())
RETURNING queue_id, name
"""
RELEASE = """
UPDATE queue_recipient
   SET state = 'waiting', wish = 'try', tried_since = NULL,
       not_before = CASE WHEN attempts = 0 THEN not_before ELSE now() END
 WHERE queue_id = ANY($1) AND ($2::text IS NULL OR domain = $2) AND state = 'held'
   AND (leased_until IS NULL OR leased_until <= now())
RETURNING queue_id, name
"""
CANCEL = """
DELETE FROM queue_recipient
 WHERE queue_id = ANY($1) AND ($2::text IS NULL OR domain = $2) AND (leased_until IS NULL OR leased_until <= now())
RETURNING queue_id, name
"""
BOUNCE = """
UPDATE queue_recipient SET state = 'waiting', wish = 'return', not_before = now()
 WHERE queue_id = ANY($1) AND ($2::text IS NULL OR domain = $2) AND (leased_until IS NULL OR leased_until <= now())
RETURNING queue_id, name
"""
# Whose they are, for the trail.
OWNERS = "SELECT queue_id, owner_id, trace_id FROM queue_message WHERE queue_id = ANY($1)"
