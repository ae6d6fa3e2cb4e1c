"""The statements of the life of keys, with a line of why. All go by pages of primary keys: no long snapshot."""

from __future__ import annotations

# Alone: nobody wraps private keys meanwhile, so whoever does it next sees the keyring as it is left; and revisions of
# pairs are given in commit order. (`queries.WRAPPING` is its shared form.)
RENEWING = "SELECT pg_advisory_xact_lock(7268311026)"

# Wrapped keys, a page; and those of one bucket. What was destroyed is empty.
OWNERS = """
SELECT owner_id, wrapped_private_key AS wrapped FROM owner
 WHERE owner_id > $1 AND wrapped_private_key <> '' ORDER BY owner_id LIMIT $2
"""
OWNERS_OF_BUCKET = """
SELECT owner_id, wrapped_private_key AS wrapped FROM owner
 WHERE owner_id % 4096 = $1 AND wrapped_private_key <> '' ORDER BY owner_id
"""
PAIRS = """
SELECT owner_id, key_id, wrapped_private_key AS wrapped FROM owner_key
 WHERE (owner_id, key_id) > ($1::bigint, $2::bigint) AND state <> 'destroyed' ORDER BY owner_id, key_id LIMIT $3
"""
PAIRS_OF_BUCKET = """
SELECT owner_id, key_id, wrapped_private_key AS wrapped FROM owner_key
 WHERE owner_id % 4096 = $1 AND state <> 'destroyed'
"""
# Put in the place of exactly what was read: a mailbox that was turned or destroyed meanwhile stays as it is.
PUT_OWNERS = """
UPDATE owner o SET wrapped_private_key = n.fresh
  FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS n(owner_id, old, fresh)
 WHERE o.owner_id = n.owner_id AND o.wrapped_private_key = n.old
"""
PUT_PAIRS = """
UPDATE owner_key k SET wrapped_private_key = n.fresh
  FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[]) AS n(owner_id, key_id, old, fresh)
 WHERE k.owner_id = n.owner_id AND k.key_id = n.key_id AND k.wrapped_private_key = n.old
"""
COUNT_OWNERS = "SELECT count(*) FROM owner WHERE wrapped_private_key <> ''"
# Which generations of which buckets the database needs, and for how many keys.
GENERATIONS = """
SELECT bucket, generation, count(*) AS keys FROM (
    SELECT owner_id % 4096 AS bucket, substring(wrapped_private_key FROM 1 FOR 4) AS generation FROM owner
     WHERE wrapped_private_key <> ''
    UNION ALL
    SELECT owner_id % 4096, substring(wrapped_private_key FROM 1 FOR 4) FROM owner_key WHERE state <> 'destroyed') AS k
 GROUP BY bucket, generation
"""

# The turn of a pair ---------------------------------------------------------------------------------------------------

# A closed mailbox has nothing to turn: nobody writes to it, and its keys wait to be destroyed.
OWNER = """
SELECT kind, state, public_key, wrapped_private_key FROM owner
 WHERE owner_id = $1 AND state IN ('active', 'suspended') FOR NO KEY UPDATE
"""
COMING = "SELECT key_id, public_key, wrapped_private_key FROM owner_key WHERE owner_id = $1 AND state = 'coming'"
ADD_PAIR = """
INSERT INTO owner_key (owner_id, state, public_key, wrapped_private_key, changed_at) VALUES ($1, $2, $3, $4, $5)
"""
DROP_PAIR = "DELETE FROM owner_key WHERE owner_id = $1 AND key_id = $2"
DROP_PAIRS = "DELETE FROM owner_key WHERE owner_id = $1"
SET_PAIR = "UPDATE owner SET public_key = $2, wrapped_private_key = $3 WHERE owner_id = $1"
ADDRESSES = "SELECT token FROM address WHERE owner_id = $1"
SET_PROOFS = """
UPDATE address a SET proof = n.proof FROM unnest($1::bytea[], $2::bytea[]) AS n(token, proof) WHERE a.token = n.token
"""
# Turns that were announced and not made, and former pairs of which something may be left.
ANNOUNCED = "SELECT owner_id FROM owner_key WHERE state = 'coming' ORDER BY owner_id"
FORMER = """
SELECT owner_id, key_id, changed_at, left_at FROM owner_key WHERE state = 'former' ORDER BY owner_id, key_id
"""
BEGIN_ROUND = """
UPDATE owner_key SET pass_began_at = $2 WHERE owner_id = $1 AND state = 'former' AND pass_began_at IS NULL
"""
# Of several former pairs one pass serves all, and goes on where the least advanced one is.
ROUND_UPTO = """
SELECT min(coalesce(pass_upto, '')) FROM owner_key WHERE owner_id = $1 AND state = 'former'
"""
ADVANCE_ROUND = "UPDATE owner_key SET pass_upto = $2 WHERE owner_id = $1 AND state = 'former'"
END_ROUND = """
UPDATE owner_key SET left_at = pass_began_at, pass_began_at = NULL, pass_upto = NULL
 WHERE owner_id = $1 AND state = 'former'
"""
CONTENTS = """
SELECT content_id, key, key_form FROM content WHERE owner_id = $1 AND content_id > $2 ORDER BY content_id LIMIT $3
"""
COUNT_CONTENTS = "SELECT count(*) FROM content WHERE owner_id = ANY($1::bigint[])"
PUT_CONTENTS = """
UPDATE content c SET key = n.fresh, key_form = 'mailbox'
  FROM unnest($2::bytea[], $3::bytea[], $4::bytea[]) AS n(content_id, old, fresh)
 WHERE c.owner_id = $1 AND c.content_id = n.content_id AND c.key = n.old
"""
FOLDER_NAMES = "SELECT folder_id, name FROM folder WHERE owner_id = $1"
PUT_FOLDER_NAME = "UPDATE folder SET name = $4 WHERE owner_id = $1 AND folder_id = $2 AND name = $3"
SUBSCRIPTIONS = "SELECT name_token, name FROM subscription WHERE owner_id = $1"
PUT_SUBSCRIPTION = "UPDATE subscription SET name = $4 WHERE owner_id = $1 AND name_token = $2 AND name = $3"
ANNOTATIONS = "SELECT folder_id, reader_id, token, sealed FROM annotation WHERE owner_id = $1"
PUT_ANNOTATION = "UPDATE annotation SET sealed = $4 WHERE owner_id = $1 AND token = $2 AND sealed = $3"
URL_KEYS = "SELECT folder_id, sealed FROM url_key WHERE owner_id = $1"
PUT_URL_KEY = "UPDATE url_key SET sealed = $4 WHERE owner_id = $1 AND folder_id = $2 AND sealed = $3"
PUT_SIGNING_KEY = "UPDATE signing_key SET sealed = $4 WHERE owner_id = $1 AND made_at = $2 AND sealed = $3"
PUT_ENTRUSTED = "UPDATE entrusted_key SET sealed = $4 WHERE owner_id = $1 AND token = $2 AND sealed = $3"
# What derives from messages is made again.
DROP_BLOCKS = "DELETE FROM view_block WHERE owner_id = $1"
PUT_IDENTITY = """
UPDATE owner SET identity = $3, identity_key = NULL WHERE owner_id = $1 AND identity = $2
"""

# The end of a mailbox -------------------------------------------------------------------------------------------------

DESTROY_KEYS = "UPDATE owner SET wrapped_private_key = '' WHERE owner_id = $1 AND state = 'closed'"
DESTROYED = "SELECT owner_id FROM owner_key WHERE state = 'destroyed' ORDER BY owner_id"

# Out and back ---------------------------------------------------------------------------------------------------------

# Every pair with its public key, by which it is known again; NULL key_id: the one in `owner`.
EXPORTED = """
SELECT owner_id, public_key, wrapped_private_key AS wrapped FROM owner
 WHERE owner_id > $1 AND owner_id <= $2 AND wrapped_private_key <> ''
UNION ALL
SELECT owner_id, public_key, wrapped_private_key FROM owner_key
 WHERE owner_id > $1 AND owner_id <= $2 AND state <> 'destroyed'
 ORDER BY owner_id
"""
LAST_OWNER = "SELECT coalesce(max(owner_id), 0) FROM owner"
OWNERS_TO_OPEN = """
SELECT owner_id, public_key, wrapped_private_key AS wrapped FROM owner
 WHERE owner_id > $1 AND wrapped_private_key <> '' ORDER BY owner_id LIMIT $2
"""
PAIRS_TO_OPEN = """
SELECT owner_id, key_id, public_key, wrapped_private_key AS wrapped FROM owner_key WHERE state <> 'destroyed'
"""
