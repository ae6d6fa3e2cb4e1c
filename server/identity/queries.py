"""The statements of this room: app passwords, client certificates, holders, delegations, failed sign-ins."""

from __future__ import annotations

# Begins with the hash: an unknown address and a wrong password both miss in its index, at the same cost. For all that
# sign in at the same time, under the number of the question. Not where all who hold the mailbox left before $3.
BY_HASH = """
SELECT asked.question::int, c.owner_id, c.credential_id, c.proof, c.label, c.tells, c.used_on, o.kind
  FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS asked(hash, token, question)
  JOIN credential c ON c.hash = asked.hash AND c.revoked_at IS NULL
  JOIN owner o ON o.owner_id = c.owner_id AND o.state = 'active'
  JOIN address a ON a.owner_id = c.owner_id AND a.token = asked.token AND a.closed_at IS NULL
 WHERE coalesce((SELECT bool_or(h.missing_since IS NULL OR h.missing_since > $3)
                   FROM holder h WHERE h.owner_id = c.owner_id), true)
"""

# Once a day for each credential, so that an operator sees which ones are dead.
MARK_USED = """
UPDATE credential SET used_on = $3 WHERE owner_id = $1 AND credential_id = $2 AND used_on IS DISTINCT FROM $3
"""

ADD_CREDENTIALS = """
INSERT INTO credential (owner_id, hash, proof, label, created_at, tells)
SELECT owner_id, hash, proof, $4, $5, $6
  FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS new (owner_id, hash, proof)
"""

CREDENTIALS = """
SELECT credential_id, label, created_at, used_on FROM credential
 WHERE owner_id = $1 AND revoked_at IS NULL ORDER BY credential_id
"""
REVOKE_CREDENTIAL = """
UPDATE credential SET revoked_at = $3
 WHERE owner_id = $1 AND credential_id = $2 AND revoked_at IS NULL RETURNING label
"""

# Two rows where a key opens two mailboxes: then the client must name one.
BY_CERTIFICATE = """
SELECT c.owner_id, c.sealed
  FROM client_certificate c JOIN owner o ON o.owner_id = c.owner_id AND o.state = 'active' AND o.kind = ANY($2::text[])
 WHERE c.key_hash = $1
"""
ADD_CERTIFICATE = """
INSERT INTO client_certificate (owner_id, key_hash, sealed, subject, not_after, created_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (key_hash, owner_id) DO NOTHING RETURNING certificate_id
"""
CERTIFICATES = """
SELECT certificate_id, subject, not_after FROM client_certificate WHERE owner_id = $1 ORDER BY certificate_id
"""
REMOVE_CERTIFICATE = """
DELETE FROM client_certificate WHERE owner_id = $1 AND certificate_id = $2 RETURNING subject
"""

# Certificates that are looked after: those of operators, the latest seen; those that open mailboxes.
PEERS = "SELECT path FROM peer_certificate ORDER BY seen_on DESC LIMIT $1"
HELD_CERTIFICATES = """
SELECT c.owner_id, c.key_hash, c.subject, c.not_after
  FROM (SELECT owner_id, key_hash, subject, not_after FROM client_certificate
         UNION SELECT owner_id, key_hash, subject, not_after FROM facility) AS c
  JOIN owner o ON o.owner_id = c.owner_id AND o.state = 'active'
"""
# What was found ($1-$4) at $5; gives what is new, or was told last before $6, as told now. A certificate of two
# mailboxes is told once.
KEEP_TROUBLES = """
WITH found AS (
    SELECT kind, name, min(owner_id) AS owner_id, min(until) AS until
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[]) AS f(kind, name, owner_id, until)
     GROUP BY kind, name ORDER BY kind, name
), kept AS (
    INSERT INTO certificate_trouble AS t (kind, name, owner_id, until, found_at, told_at)
    SELECT kind, name, owner_id, until, $5, $5 FROM found
    ON CONFLICT (kind, name) DO UPDATE
       SET found_at = $5, until = excluded.until, told_at = CASE WHEN t.told_at < $6 THEN $5 ELSE t.told_at END
    RETURNING kind, name, owner_id, until, told_at
)
SELECT kind, name, owner_id, until FROM kept WHERE told_at = $5
"""
FORGET_TROUBLES = "DELETE FROM certificate_trouble WHERE found_at < $1"

# Gives what is new.
BIND = """
INSERT INTO holder (token, owner_id, sealed, bound_at)
SELECT token, owner_id, sealed, $4
  FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) AS new (token, owner_id, sealed)
ON CONFLICT (token, owner_id) DO NOTHING RETURNING owner_id
"""
UNBIND = "DELETE FROM holder WHERE owner_id = $1 RETURNING token"
# The person's own one first: it is by that one that others share theirs.
HELD = """
SELECT h.token, h.owner_id, h.sealed, h.missing_since
  FROM holder h JOIN owner o ON o.owner_id = h.owner_id AND o.state = 'active'
 WHERE h.token = $1 ORDER BY o.kind <> 'PER', h.owner_id
"""
MISSING = """
SELECT h.token, h.owner_id, h.sealed, h.missing_since
  FROM holder h JOIN owner o ON o.owner_id = h.owner_id AND o.state = 'active'
 WHERE h.missing_since IS NOT NULL ORDER BY h.missing_since, h.owner_id
"""
COUNT_HOLDERS = "SELECT count(DISTINCT token) FROM holder"
HAS_DIRECTORY = "SELECT EXISTS (SELECT FROM directory.professional)"
# A round over all holders, in steps by token.
HOLDERS_AFTER = """
SELECT DISTINCT ON (token) token, owner_id, sealed FROM holder WHERE token > $1 ORDER BY token, owner_id LIMIT $2
"""
# Of these ($1 by token, $2 the national identifier) who was in the directory and is missing since $3, and who is back;
# rows that stay as they are are not written.
NOTE_MISSING = """
UPDATE holder h SET listed = true, missing_since = CASE WHEN seen.here THEN NULL ELSE $3::timestamptz END
  FROM (SELECT token, EXISTS (SELECT FROM directory.professional p WHERE p.national_id = one.identifier) AS here
          FROM unnest($1::bytea[], $2::text[]) AS one (token, identifier)) AS seen
 WHERE h.token = seen.token
   AND CASE WHEN seen.here THEN NOT h.listed OR h.missing_since IS NOT NULL
            ELSE h.listed AND h.missing_since IS NULL END
"""

IS_ACTIVE = "SELECT state = 'active' FROM owner WHERE owner_id = $1"
KIND = "SELECT kind FROM owner WHERE owner_id = $1"
# The mailbox that a person is known by where none is named; a patient's last.
FIRST_OF = """
SELECT owner_id, kind FROM owner WHERE owner_id = ANY($1) AND state = 'active'
 ORDER BY kind = 'PATIENT', owner_id LIMIT 1
"""
# The mailbox named ($1) for the holder of these ones ($2): theirs, or shared with one of them at $3. Theirs first.
OPENED_BY = """
SELECT o.owner_id, o.kind, d.delegate_id, d.rights, d.until, d.proof AS delegation_proof
  FROM address a
  JOIN owner o ON o.owner_id = a.owner_id AND o.state = 'active'
  JOIN owner p ON p.owner_id = ANY($2::bigint[]) AND p.state = 'active'
  LEFT JOIN delegation d ON d.owner_id = o.owner_id AND d.delegate_id = p.owner_id
 WHERE a.token = $1 AND a.closed_at IS NULL
   AND (p.owner_id = o.owner_id OR d.delegate_id IS NOT NULL AND (d.until IS NULL OR d.until > $3))
 ORDER BY d.delegate_id NULLS FIRST
"""
# What these people ($1) may open at $2 beside their own.
SHARED_WITH = """
SELECT o.owner_id, o.kind, d.delegate_id, d.rights, d.until, d.proof AS delegation_proof
  FROM delegation d
  JOIN owner o ON o.owner_id = d.owner_id AND o.state = 'active'
  JOIN owner p ON p.owner_id = d.delegate_id AND p.state = 'active'
 WHERE d.delegate_id = ANY($1::bigint[]) AND (d.until IS NULL OR d.until > $2)
 ORDER BY o.owner_id, d.delegate_id
"""
# One of them.
SHARED_ONE = """
SELECT d.owner_id, d.delegate_id, d.rights, d.until, d.proof AS delegation_proof
  FROM delegation d
  JOIN owner o ON o.owner_id = d.owner_id AND o.state = 'active'
  JOIN owner p ON p.owner_id = d.delegate_id AND p.state = 'active'
 WHERE d.owner_id = $1 AND d.delegate_id = $2 AND (d.until IS NULL OR d.until > $3)
"""
GRANT = """
INSERT INTO delegation (owner_id, delegate_id, rights, until, granted_at, proof) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (owner_id, delegate_id) DO UPDATE
   SET rights = excluded.rights, until = excluded.until, granted_at = excluded.granted_at, proof = excluded.proof
"""
REVOKE = "DELETE FROM delegation WHERE owner_id = $1 AND delegate_id = $2 RETURNING true"
DELEGATIONS = """
SELECT owner_id, delegate_id, rights, until, proof AS delegation_proof
  FROM delegation WHERE owner_id = $1 ORDER BY delegate_id
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
# It was none: what was counted before it was known is given back.
TAKE_BACK_FAILURES = """
UPDATE sign_in_failure f SET failures = f.failures - 1
  FROM (SELECT bucket FROM sign_in_failure WHERE bucket = ANY($1::bytea[]) ORDER BY bucket FOR UPDATE) AS own
 WHERE f.bucket = own.bucket AND f.failures > 0
"""

# A few of the buckets whose window is over: each new network pays for the forgetting of old ones.
FORGET_FAILURES = """
DELETE FROM sign_in_failure WHERE bucket IN (
    SELECT bucket FROM sign_in_failure WHERE since < $1 ORDER BY since LIMIT 100 FOR UPDATE SKIP LOCKED)
"""
