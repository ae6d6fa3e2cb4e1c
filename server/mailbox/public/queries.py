"""Statements on which mailboxes belong in the directory, each with a line of why."""

from __future__ import annotations

# Mailboxes of professionals and teams that take mail; a patient's is nobody's to know of.
PUBLIC_OWNERS = """
SELECT owner_id, kind, unlisted FROM owner
 WHERE state = 'active' AND kind <> 'PATIENT' AND owner_id > $1 ORDER BY owner_id LIMIT $2
"""
# Whose addresses these tokens are: who is not among them has no entry.
OWNERS_OF = """
SELECT a.token, a.owner_id FROM address a JOIN owner o USING (owner_id)
 WHERE a.token = ANY($1::bytea[]) AND a.closed_at IS NULL AND o.state = 'active' AND o.kind <> 'PATIENT'
"""
# Only between active and suspended: a closed mailbox stays closed.
SET_STATE = "UPDATE owner SET state = $2 WHERE owner_id = $1 AND state = $3 RETURNING true"
