"""The statements of this room: what is kept of the trust space, and what became of fetching it."""

from __future__ import annotations

# One writer at a time: a list is compared with the newest one, and revisions come in commit order. The number is ours.
LOCK = "SELECT pg_advisory_xact_lock(7268311002)"

# Sources and attempts.
SOURCE = "SELECT source, kind, tried_at, good_at, failure, validator FROM trust_source WHERE source = $1"
SOURCES = "SELECT source, kind, tried_at, good_at, failure, validator FROM trust_source ORDER BY kind, source"
# An attempt that went well says when; one that failed leaves the time of the last good one, and its validator.
SUCCEEDED = """
INSERT INTO trust_source (source, kind, tried_at, good_at, validator) VALUES ($1, $2, $3, $3, $4)
ON CONFLICT (source) DO UPDATE SET kind = $2, tried_at = $3, good_at = $3, failure = '', validator = $4
"""
FAILED = """
INSERT INTO trust_source (source, kind, tried_at, failure) VALUES ($1, $2, $3, $4)
ON CONFLICT (source) DO UPDATE SET kind = $2, tried_at = $3, failure = $4
"""
# What was not asked for in a long time is no trouble to tell of.
FORGET_SOURCES = "DELETE FROM trust_source WHERE tried_at < $1"

# White lists.
NEWEST_LIST = """
SELECT list_id, source, generated_at, accepted_at, digest, entries, document FROM trust_list
ORDER BY list_id DESC LIMIT 1
"""
ADD_LIST = """
INSERT INTO trust_list (source, generated_at, accepted_at, digest, entries, document)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING list_id
"""
ADD_CHANGES = """
INSERT INTO trust_change (list_id, added, domain, name)
SELECT $1, given.added, given.domain, given.name
FROM unnest($2::boolean[], $3::text[], $4::text[]) AS given (added, domain, name)
"""
# Old lists are told by their changes; a few documents stay to be looked at.
DROP_DOCUMENTS = """
UPDATE trust_list SET document = NULL WHERE list_id <= $1::integer - $2::integer AND document IS NOT NULL
"""
CHANGES = """
SELECT list.list_id, list.generated_at, list.accepted_at, change.added, change.domain, change.name
FROM trust_change AS change JOIN trust_list AS list USING (list_id)
WHERE list.accepted_at >= $1 ORDER BY list.list_id, change.domain, change.added, change.name
"""

# Revocation.
KEEP_REVOCATION = """
INSERT INTO trust_revocation (source, kind, revision, this_update, next_update, document)
VALUES ($1, $2, nextval('trust_revision'), $3, $4, $5)
ON CONFLICT (source) DO UPDATE
SET kind = $2, revision = nextval('trust_revision'), this_update = $3, next_update = $4, document = $5
"""
REVOCATION = "SELECT this_update, document FROM trust_revocation WHERE source = $1"
REVOCATIONS = """
SELECT source, kind, revision, document FROM trust_revocation WHERE revision > $1 ORDER BY revision
"""
REVOCATION_STATES = "SELECT source, kind, this_update, next_update FROM trust_revocation ORDER BY kind, source"
# Of a source that is forgotten too.
FORGET_REVOCATIONS = """
DELETE FROM trust_revocation AS kept WHERE NOT EXISTS (SELECT FROM trust_source WHERE source = kept.source)
"""

# What every worker asks every few seconds: two looks at an index.
NEWEST = """
SELECT (SELECT max(list_id) FROM trust_list) AS list_id, (SELECT max(revision) FROM trust_revocation) AS revision
"""

# Peers: written once a day for each certificate.
NOTE_PEER = """
INSERT INTO peer_certificate (fingerprint, path, seen_on) VALUES ($1, $2, $3)
ON CONFLICT (fingerprint) DO UPDATE SET seen_on = EXCLUDED.seen_on, path = EXCLUDED.path
"""
PEERS = "SELECT path, seen_on FROM peer_certificate ORDER BY seen_on DESC LIMIT $1"
FORGET_PEERS = "DELETE FROM peer_certificate WHERE seen_on < $1"
