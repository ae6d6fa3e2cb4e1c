"""The statements of this room: app passwords and failed sign-ins."""

from __future__ import annotations

# Begins with the hash: an unknown address and a wrong password both miss in its index, at the same cost.
BY_HASH = """
SELECT c.owner_id, c.credential_id, c.proof, c.used_on, o.kind
  FROM credential c
  JOIN owner o ON o.owner_id = c.owner_id AND o.state = 'active'
  JOIN address a ON a.owner_id = c.owner_id AND a.token = $2 AND a.closed_at IS NULL
 WHERE c.hash = $1 AND c.revoked_at IS NULL
"""

# Once a day for each credential, so that an operator sees which ones are dead.
MARK_USED = """
UPDATE credential SET used_on = $3 WHERE owner_id = $1 AND credential_id = $2 AND used_on IS DISTINCT FROM $3
"""

ADD_CREDENTIALS = """
INSERT INTO credential (owner_id, hash, proof, label, created_at)
SELECT owner_id, hash, proof, $4, $5 FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS new (owner_id, hash, proof)
"""

# One more failure in each bucket; a bucket older than the window begins again. Sorted, so that two never deadlock.
ADD_FAILURES = """
INSERT INTO sign_in_failure AS f (bucket, failures, since)
SELECT bucket, 1, $2 FROM unnest($1::bytea[]) AS new (bucket) ORDER BY bucket
ON CONFLICT (bucket) DO UPDATE
   SET failures = CASE WHEN f.since < $3 THEN 1 ELSE f.failures + 1 END,
       since = CASE WHEN f.since < $3 THEN $2 ELSE f.since END
RETURNING bucket, failures
"""

# A few of the buckets whose window is over: each new network pays for the forgetting of old ones.
FORGET_FAILURES = """
DELETE FROM sign_in_failure WHERE bucket IN (
    SELECT bucket FROM sign_in_failure WHERE since < $1 ORDER BY since LIMIT 100 FOR UPDATE SKIP LOCKED)
"""
