"""The statements of local accounts, known browsers, and what holders are told."""

from __future__ import annotations

# The open mailbox of an address, with what its holder could sign in with. One question whatever the address is.
ACCOUNT = """
SELECT o.owner_id, o.kind, p.sealed, coalesce(p.step, 0) AS step
  FROM address a
  JOIN owner o ON o.owner_id = a.owner_id AND o.state = 'active'
  LEFT JOIN local_password p ON p.owner_id = o.owner_id
 WHERE a.token = $1 AND a.closed_at IS NULL
"""
KINDS = "SELECT owner_id, kind FROM owner WHERE owner_id = ANY($1::bigint[]) AND state = 'active'"
# What says whether a mailbox has been activated, and how.
STANDING = """
SELECT p.set_at, p.used_on, i.made_at AS invited_at, i.expires_at,
       (SELECT count(*)::int FROM recovery_code r WHERE r.owner_id = o.owner_id) AS recovery_codes
  FROM owner o
  LEFT JOIN local_password p ON p.owner_id = o.owner_id
  LEFT JOIN invitation i ON i.owner_id = o.owner_id
 WHERE o.owner_id = $1
"""

# A new code takes the place of the one before; by who may not read one, so without "excluded".
INVITE = """
INSERT INTO invitation (owner_id, code_id, hash, tries, made_at, expires_at) VALUES ($1, $2, $3, 0, $4, $5)
ON CONFLICT (owner_id) DO UPDATE
   SET code_id = $2, hash = $3, tries = 0, made_at = $4, expires_at = $5
"""
# A try at a code, counted before it is compared: by the letters that find it, so that a try at the address alone costs
# its holder nothing. Past the tries nothing is found any more.
TRY_INVITATION = """
UPDATE invitation SET tries = tries + 1
 WHERE owner_id = $1 AND code_id = $2 AND tries < $3 AND expires_at > $4
RETURNING hash, expires_at
"""
# The right code: its try was none.
RIGHT_INVITATION = "UPDATE invitation SET tries = tries - 1 WHERE owner_id = $1 AND hash = $2 AND tries > 0"
USE_INVITATION = "DELETE FROM invitation WHERE owner_id = $1 AND hash = $2 AND expires_at > $3 RETURNING true"

SET_CHOSEN = """
INSERT INTO local_password (owner_id, sealed, step, set_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (owner_id) DO UPDATE SET sealed = excluded.sealed, step = excluded.step, set_at = excluded.set_at
"""
CHOSEN = "SELECT sealed, step FROM local_password WHERE owner_id = $1 FOR UPDATE"
# The condition takes each one-time code once, whoever else shows it at the same moment.
TAKE_STEP = "UPDATE local_password SET step = $2, used_on = $3 WHERE owner_id = $1 AND step < $2 RETURNING true"
MARK_CHOSEN = "UPDATE local_password SET used_on = $2 WHERE owner_id = $1"
TAKE_RECOVERY_CODE = "DELETE FROM recovery_code WHERE owner_id = $1 AND hash = $2 RETURNING true"
ADD_RECOVERY_CODES = "INSERT INTO recovery_code (owner_id, hash) SELECT $1, unnest($2::bytea[])"
DROP_RECOVERY_CODES = "DELETE FROM recovery_code WHERE owner_id = $1"

# At most so many of one holder ($6).
ADD_PASSKEY = """
INSERT INTO passkey (owner_id, token, sealed, counter, created_at)
SELECT $1, $2, $3, $4, $5 WHERE (SELECT count(*) FROM passkey WHERE owner_id = $1) < $6
ON CONFLICT (token) DO NOTHING RETURNING passkey_id
"""
PASSKEY = """
SELECT p.owner_id, p.passkey_id, p.token, p.sealed, p.counter, p.doubted_at
  FROM passkey p JOIN owner o ON o.owner_id = p.owner_id AND o.state = 'active'
 WHERE p.token = $1
"""
PASSKEYS = """
SELECT owner_id, passkey_id, token, sealed, created_at, used_on, doubted_at
  FROM passkey WHERE owner_id = $1 ORDER BY passkey_id
"""
# WebAuthn §7.2 step 22: a counter that does not grow is that of a copy, unless it counts nothing at all.
USE_PASSKEY = """
UPDATE passkey SET counter = $3, used_on = $4
 WHERE owner_id = $1 AND passkey_id = $2 AND doubted_at IS NULL AND (counter < $3 OR counter = 0 AND $3 = 0)
RETURNING true
"""
DOUBT_PASSKEY = "UPDATE passkey SET doubted_at = $3 WHERE owner_id = $1 AND passkey_id = $2 RETURNING true"
REMOVE_PASSKEY = "DELETE FROM passkey WHERE owner_id = $1 AND passkey_id = $2 RETURNING token, sealed"

# What proves a holder, in two ways; the last one is not taken away.
PROOFS = """
SELECT (SELECT count(*)::int FROM passkey WHERE owner_id = $1 AND doubted_at IS NULL) AS passkeys,
       EXISTS (SELECT FROM local_password WHERE owner_id = $1) AS password
"""
LOCK_OWNER = "SELECT FROM owner WHERE owner_id = $1 FOR NO KEY UPDATE"

DEVICE = "SELECT true FROM known_device WHERE hash = $1 AND used_at > $2"
SEE_DEVICE = """
INSERT INTO known_device AS d (owner_id, hash, sealed, first_at, used_at) VALUES ($1, $2, $3, $4, $4)
ON CONFLICT (hash) DO UPDATE SET sealed = excluded.sealed, used_at = excluded.used_at
RETURNING xmax = 0 AS is_new
"""
TRIM_DEVICES = """
DELETE FROM known_device
 WHERE owner_id = $1 AND (used_at <= $3 OR device_id NOT IN (
       SELECT device_id FROM known_device WHERE owner_id = $1 ORDER BY used_at DESC, device_id DESC LIMIT $2))
"""
DEVICES = """
SELECT owner_id, device_id, hash, sealed, first_at, used_at FROM known_device
 WHERE owner_id = $1 AND used_at > $2 ORDER BY used_at DESC, device_id
"""
FORGET_DEVICE = "DELETE FROM known_device WHERE owner_id = $1 AND device_id = $2 RETURNING true"

# An operator begins anew with a holder who lost what proved them.
RESET = (
    "DELETE FROM local_password WHERE owner_id = $1",
    "DELETE FROM recovery_code WHERE owner_id = $1",
    "DELETE FROM passkey WHERE owner_id = $1",
    "DELETE FROM known_device WHERE owner_id = $1",
    "DELETE FROM invitation WHERE owner_id = $1",
)

ADD_ALERT = "INSERT INTO holder_alert (owner_id, sealed, at) VALUES ($1, $2, $3)"
FORGET_INVITATIONS = "DELETE FROM invitation WHERE expires_at <= $1"
