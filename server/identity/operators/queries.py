"""The statements of operators, each with a line of why."""

from __future__ import annotations

OPERATOR = "SELECT name, sealed, step, made_at, revoked_at FROM operator WHERE name = $1"
OPERATORS = "SELECT name, sealed, step, made_at, revoked_at FROM operator ORDER BY revoked_at IS NOT NULL, name"
ANY = "SELECT EXISTS (SELECT FROM operator WHERE revoked_at IS NULL)"
# Nobody is revoked or demoted while an approval looks at them; in one order.
LOCKED = """
SELECT name, sealed, step, made_at, revoked_at FROM operator WHERE name = ANY($1::text[]) ORDER BY name
   FOR NO KEY UPDATE
"""
# A new one, or one who begins anew; who was revoked does not come back.
INVITE = """
INSERT INTO operator AS o (name, sealed, code_id, made_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, code_id = excluded.code_id, tries = 0, step = 0
 WHERE o.revoked_at IS NULL RETURNING true
"""
# A try at an invitation, counted before it is compared, by the letters that find it: who knows a name uses nothing up.
TRY_INVITATION = """
UPDATE operator SET tries = tries + 1
 WHERE name = $1 AND code_id = $2 AND code_id <> '' AND tries < $3 AND revoked_at IS NULL RETURNING sealed
"""
RIGHT_INVITATION = "UPDATE operator SET tries = tries - 1 WHERE name = $1 AND code_id = $2 AND tries > 0"
# The condition uses an invitation once, whoever else shows it at the same moment.
ENROL = """
UPDATE operator SET sealed = $2, step = $3, code_id = '' WHERE name = $1 AND sealed = $4 AND revoked_at IS NULL
RETURNING true
"""
TAKE_STEP = "UPDATE operator SET step = $2 WHERE name = $1 AND step < $2 AND revoked_at IS NULL RETURNING true"
SET_SEALED = "UPDATE operator SET sealed = $2 WHERE name = $1 AND revoked_at IS NULL RETURNING true"
REVOKE = """
UPDATE operator SET sealed = '', code_id = '', revoked_at = $2 WHERE name = $1 AND revoked_at IS NULL RETURNING true
"""

OPEN_SESSION = """
INSERT INTO operator_session (token_hash, name, seen_at, expires_at, proof) VALUES ($1, $2, $3, $4, $5)
"""
SESSION = """
SELECT s.token_hash, s.expires_at, s.proof, o.name, o.sealed, o.step, o.made_at, o.revoked_at
  FROM operator_session s JOIN operator o USING (name)
 WHERE s.token_hash = $1 AND s.expires_at > $2 AND s.seen_at > $3 AND o.revoked_at IS NULL
"""
SEE_SESSION = "UPDATE operator_session SET seen_at = $2 WHERE token_hash = $1"
END_SESSION = "DELETE FROM operator_session WHERE token_hash = $1"
# All of an operator who changed; and what has ended by itself goes with it.
END_SESSIONS = "DELETE FROM operator_session WHERE name = $1 OR expires_at <= $2"

ASK = "INSERT INTO operator_request (request_id, sealed, made_at, expires_at) VALUES ($1, $2, $3, $4)"
# Two who decide at the same moment: the second waits, and sees what the first did.
LOCK_REQUEST = """
SELECT request_id, sealed, made_at, expires_at, approved, ended_at FROM operator_request
 WHERE request_id = $1 FOR UPDATE
"""
REQUESTS = """
SELECT request_id, sealed, made_at, expires_at, approved, ended_at FROM operator_request
 ORDER BY made_at DESC, request_id LIMIT $1
"""
DECIDE = "UPDATE operator_request SET approved = $2, ended_at = $3 WHERE request_id = $1"
END_REQUEST = "UPDATE operator_request SET ended_at = $2 WHERE request_id = $1"

# When each passkey of a mailbox was used last.
PASSKEYS_USED = "SELECT used_on FROM passkey WHERE owner_id = $1 ORDER BY passkey_id"

# The columns of the trail that are not sealed: of a mailbox, or of who acted (keyed token).
TRAIL_OF_OWNER = """
SELECT recorded_at, kind, owner_id, actor FROM audit WHERE owner_id = $1 ORDER BY audit_id DESC LIMIT $2
"""
TRAIL_OF_OPERATOR = """
SELECT recorded_at, kind, owner_id, actor FROM audit WHERE actor = $1 AND kind LIKE 'operator-%'
 ORDER BY audit_id DESC LIMIT $2
"""
