"""The SQL of sessions. Hot: FIND, by primary key, at each request."""

from __future__ import annotations

# A session past its end or idle too long is not found, whether or not it was swept.
FIND = """
SELECT person_id, owner_id, delegate_id, holder, session_id, how, provider, acr, agent, opened_at, seen_at,
       expires_at, proved_at, proof, token_hash
  FROM session
 WHERE token_hash = $1 AND expires_at > $2 AND seen_at > $3
"""

TOUCH = "UPDATE session SET seen_at = $2 WHERE token_hash = $1 AND seen_at < $2"

INSERT = """
INSERT INTO session (token_hash, person_id, owner_id, delegate_id, holder, session_id, how, provider, acr, agent,
                     opened_at, seen_at, expires_at, proved_at, proof, sid, subject, hint)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $14, $15, $16, $17)
"""

# The same session, another mailbox of those that its person may open.
SWITCH = "UPDATE session SET owner_id = $2, delegate_id = $3, proof = $4 WHERE token_hash = $1"

# A person keeps the newest sessions only; the others end.
TRIM = """
DELETE FROM session
 WHERE person_id = $1
   AND session_id NOT IN (
       SELECT session_id FROM session WHERE person_id = $1 ORDER BY opened_at DESC, session_id LIMIT $2)
"""

# What signs out at the provider too.
END = "DELETE FROM session WHERE token_hash = $1 RETURNING provider, hint"

# The person is part of the question: nobody ends another's session.
END_ONE = "DELETE FROM session WHERE person_id = $1 AND session_id = $2"

END_OTHERS = "DELETE FROM session WHERE person_id = $1 AND token_hash <> $2"

# A provider ends its session ($1), or all of somebody ($2).
END_OF_PROVIDER = "DELETE FROM session WHERE sid = $1 OR subject = $2 RETURNING person_id"

# Of a person, and those of others in their mailbox.
END_ALL = "DELETE FROM session WHERE person_id = $1 OR owner_id = $1"

LIST = """
SELECT person_id, owner_id, delegate_id, holder, session_id, how, provider, acr, agent, opened_at, seen_at,
       expires_at, proved_at, proof, token_hash
  FROM session
 WHERE person_id = $1 AND expires_at > $2 AND seen_at > $3
 ORDER BY seen_at DESC, session_id
"""

SWEEP = "DELETE FROM session WHERE expires_at <= $1 OR seen_at <= $2"

# What may be used once is noted as used: one row the first time, none after that.
SPEND = "INSERT INTO spent (token, until) VALUES ($1, $2) ON CONFLICT (token) DO NOTHING RETURNING true"
FORGET_SPENT = "DELETE FROM spent WHERE until <= $1"

# Development only: mailboxes to choose from, the oldest first.
OWNERS = "SELECT owner_id FROM owner WHERE state = 'active' ORDER BY owner_id LIMIT $1"
