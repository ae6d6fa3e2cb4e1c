"""The SQL of the record. Every statement is of one owner, by primary key or its prefix."""

from __future__ import annotations

# Take what is due: for the length of the lease nobody else takes it. No lock is held while it is looked through.
TAKE = """
UPDATE intake i SET attempts = i.attempts + 1, not_before = now() + make_interval(secs => $2)
  FROM (SELECT owner_id, content_id FROM intake WHERE state = 'waiting' AND not_before <= now()
         ORDER BY not_before LIMIT $1 FOR UPDATE SKIP LOCKED) AS due
 WHERE i.owner_id = due.owner_id AND i.content_id = due.content_id
RETURNING i.owner_id, i.content_id, i.received_at, i.attempts
"""

# A document that is there already under its unique id stays as it was filed first.
FILE = """
INSERT INTO document (owner_id, document_id, unique_id, content_id, detail, filed_at)
SELECT $1, d.document_id, d.unique_id, $2, d.detail, $3
  FROM unnest($4::bytea[], $5::bytea[], $6::bytea[]) AS d (document_id, unique_id, detail)
ON CONFLICT (owner_id, unique_id) DO NOTHING
"""

# 'filed' or 'failed'; a content that the collector took meanwhile has no row any more.
SETTLE = "UPDATE intake SET state = $3 WHERE owner_id = $1 AND content_id = $2"
POSTPONE = """
UPDATE intake SET not_before = now() + make_interval(secs => $3) WHERE owner_id = $1 AND content_id = $2
"""

LIST = """
SELECT document_id, content_id, detail, filed_at FROM document
 WHERE owner_id = $1 ORDER BY filed_at DESC, document_id LIMIT $2
"""

ONE = "SELECT document_id, content_id, detail, filed_at FROM document WHERE owner_id = $1 AND document_id = $2"

# Where the message that brought a document stands now; INBOX is folder 1.
PLACE = """
SELECT folder_id, uid FROM message WHERE owner_id = $1 AND content_id = $2 ORDER BY folder_id, uid LIMIT 1
"""
