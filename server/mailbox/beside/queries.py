"""The statements of what stands beside messages."""

from __future__ import annotations

# What one reader ($2) sees: the shared entries, and the reader's own.
ANNOTATIONS = """
SELECT folder_id, reader_id, token, sealed FROM annotation
 WHERE owner_id = $1 AND (reader_id IS NULL OR reader_id = $2) ORDER BY folder_id, reader_id, token
"""
SET_ANNOTATION = """
INSERT INTO annotation (owner_id, folder_id, reader_id, token, sealed) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT ON CONSTRAINT annotation_entry DO UPDATE SET sealed = excluded.sealed
"""
REMOVE_ANNOTATION = """
DELETE FROM annotation WHERE owner_id = $1 AND folder_id IS NOT DISTINCT FROM $2
   AND reader_id IS NOT DISTINCT FROM $3 AND token = $4
"""
# How many entries there are where one was set ($2 folder, $3 reader), and the octets of all of the mailbox's.
COUNT_ANNOTATIONS = """
SELECT count(*) FILTER (WHERE folder_id IS NOT DISTINCT FROM $2 AND reader_id IS NOT DISTINCT FROM $3) AS entries,
       coalesce(sum(octet_length(sealed)), 0)::bigint AS octets
  FROM annotation WHERE owner_id = $1
"""

URL_KEY = "SELECT sealed FROM url_key WHERE owner_id = $1 AND folder_id = $2"
# Two sessions may make a key at once: the first one stands.
ADD_URL_KEY = "INSERT INTO url_key (owner_id, folder_id, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
DROP_URL_KEYS = "DELETE FROM url_key WHERE owner_id = $1 AND ($2::int IS NULL OR folder_id = $2)"

# What a URL hands over to submission. An older copy under the same URL goes, and of a mailbox all but the newest ($3).
DROP_HANDED = """
DELETE FROM handed WHERE name = $2 OR owner_id = $1 AND name NOT IN
       (SELECT name FROM handed WHERE owner_id = $1 ORDER BY expires_at DESC LIMIT $3)
"""
HAND = "INSERT INTO handed (name, owner_id, folder_id, size, expires_at) VALUES ($1, $2, $3, $4, $5)"
HAND_PIECE = "INSERT INTO handed_piece (name, number, data) VALUES ($1, $2, $3)"
HANDED = "SELECT size FROM handed WHERE name = $1 AND expires_at > $2"
HANDED_PIECE = "SELECT data FROM handed_piece WHERE name = $1 AND number = $2"
DROP_HANDED_OF = "DELETE FROM handed WHERE owner_id = $1 AND ($2::int IS NULL OR folder_id = $2)"
FORGET_HANDED = "DELETE FROM handed WHERE expires_at < $1 RETURNING 1"

# The newest key that was made before a message's Date ($2) and was good then.
SIGNING_KEY_AT = """
SELECT made_at, sealed FROM signing_key WHERE owner_id = $1 AND made_at <= $2 AND ends_at > $2
 ORDER BY made_at DESC LIMIT 1
"""
SIGNING_KEYS = "SELECT made_at, sealed FROM signing_key WHERE owner_id = $1 ORDER BY made_at"
ADD_SIGNING_KEY = "INSERT INTO signing_key (owner_id, made_at, ends_at, sealed) VALUES ($1, $2, $3, $4)"
# All, or those that ended before a moment ($2).
DROP_SIGNING_KEYS = "DELETE FROM signing_key WHERE owner_id = $1 AND ($2::timestamptz IS NULL OR ends_at < $2)"
# Who writes in our pages (practice software does not) and has no key that is good until $2; a page behind $1.
WITHOUT_SIGNING_KEY = """
SELECT owner_id FROM owner o
 WHERE owner_id > $1 AND state = 'active' AND kind <> 'APP'
   AND NOT EXISTS (SELECT FROM signing_key k WHERE k.owner_id = o.owner_id AND k.ends_at > $2)
 ORDER BY owner_id LIMIT $3
"""

ENTRUSTED = "SELECT token, sealed FROM entrusted_key WHERE owner_id = $1 ORDER BY token"
ENTRUST = "INSERT INTO entrusted_key (owner_id, token, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
WITHDRAW = "DELETE FROM entrusted_key WHERE owner_id = $1 RETURNING 1"
