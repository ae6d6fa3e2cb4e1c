"""The statements about facilities."""

from __future__ import annotations

BIND = """
INSERT INTO facility (owner_id, key_hash, subject, not_after, rights, until, granted_at, proof)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (key_hash, owner_id) DO UPDATE
   SET subject = excluded.subject, not_after = excluded.not_after, rights = excluded.rights, until = excluded.until,
       granted_at = excluded.granted_at, proof = excluded.proof
"""
OF_MAILBOX = """
SELECT owner_id, facility_id, key_hash, subject, not_after, rights, until, proof
  FROM facility WHERE owner_id = $1 ORDER BY facility_id
"""
REMOVE = "DELETE FROM facility WHERE owner_id = $1 AND facility_id = $2 RETURNING subject"

# The mailbox named ($1), as the key $2 may open it at $3. Not where all who hold it left before $4.
OPENS = """
SELECT o.kind, f.owner_id, f.key_hash, f.subject, f.rights, f.until, f.proof, f.shown, f.shown_proof
  FROM address a
  JOIN owner o ON o.owner_id = a.owner_id AND o.state = 'active'
  JOIN facility f ON f.owner_id = o.owner_id AND f.key_hash = $2 AND (f.until IS NULL OR f.until > $3)
 WHERE a.token = $1 AND a.closed_at IS NULL
   AND coalesce((SELECT bool_or(h.missing_since IS NULL OR h.missing_since > $4)
                   FROM holder h WHERE h.owner_id = o.owner_id), true)
"""
# The same of a mailbox that is open already.
RIGHTS_NOW = """
SELECT owner_id, key_hash, subject, rights, until, proof
  FROM facility WHERE owner_id = $1 AND key_hash = $2 AND (until IS NULL OR until > $3)
"""
# Written when the facility shows another certificate of the same key, or another path.
KEEP_SHOWN = """
UPDATE facility SET shown = $3, shown_proof = $4
 WHERE owner_id = $1 AND key_hash = $2 AND shown IS DISTINCT FROM $3
"""
