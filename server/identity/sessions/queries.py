"""The SQL of sessions. Hot: FIND, by primary key, at each request."""

from __future__ import annotations

# A session past its end or idle too long is not found, whether or not it was swept.
FIND = """
SELECT owner_id, session_id, how, agent, opened_at, seen_at, expires_at
  FROM session
 WHERE token_hash = $1 AND expires_at > $2 AND seen_at > $3
"""

TOUCH = "UPDATE session SET seen_at = $2 WHERE token_hash = $1 AND seen_at < $2"

INSERT = """
INSERT INTO session (token_hash, owner_id, session_id, how, agent, opened_at, seen_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $6, $7)
"""

# A person keeps the newest sessions only; the others end.
TRIM = """
DELETE FROM session
 WHERE owner_id = $1
   AND session_id NOT IN (
       SELECT session_id FROM session WHERE owner_id = $1 ORDER BY opened_at DESC, session_id LIMIT $2)
"""

END = "DELETE FROM session WHERE token_hash = $1"

# The owner is part of the question: nobody ends another's session.
END_ONE = "DELETE FROM session WHERE owner_id = $1 AND session_id = $2"

END_OTHERS = "DELETE FROM session WHERE owner_id = $1 AND token_hash <> $2"

LIST = """
SELECT owner_id, session_id, how, agent, opened_at, seen_at, expires_at
  FROM session
 WHERE owner_id = $1 AND expires_at > $2 AND seen_at > $3
 ORDER BY seen_at DESC, session_id
"""

SWEEP = "DELETE FROM session WHERE expires_at <= $1 OR seen_at <= $2"

# Development only: mailboxes to choose from, the oldest first.
OWNERS = "SELECT owner_id FROM owner WHERE state = 'active' ORDER BY owner_id LIMIT $1"
