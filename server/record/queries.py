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

# A detail brought under the mailbox's current key, in the place of exactly what was read.
DETAILS = "SELECT document_id, detail FROM document WHERE owner_id = $1"
PUT_DETAIL = "UPDATE document SET detail = $4 WHERE owner_id = $1 AND document_id = $2 AND detail = $3"

ONE = "SELECT document_id, content_id, detail, filed_at FROM document WHERE owner_id = $1 AND document_id = $2"

# Where the message that brought a document stands now; INBOX is folder 1.
PLACE = """
SELECT folder_id, uid FROM message WHERE owner_id = $1 AND content_id = $2 ORDER BY folder_id, uid LIMIT 1
"""

# The verdicts on documents' signatures ($3 parts of one message, $4 as they are kept): the first ones stay.
KEEP_VERDICTS = """
INSERT INTO document_signature (owner_id, content_id, part, verdicts, judged_at)
SELECT $1, $2, v.part, v.verdicts, $5 FROM unnest($3::text[], $4::bytea[]) AS v (part, verdicts)
ON CONFLICT (owner_id, content_id, part) DO NOTHING
"""
VERDICTS = """
SELECT content_id, part, verdicts FROM document_signature WHERE owner_id = $1 AND content_id = ANY($2::bytea[])
"""
# Brought under the mailbox's current key, in the place of exactly what was read.
KEPT_VERDICTS = "SELECT content_id, part, verdicts FROM document_signature WHERE owner_id = $1"
PUT_VERDICTS = """
UPDATE document_signature SET verdicts = $5 WHERE owner_id = $1 AND content_id = $2 AND part = $3 AND verdicts = $4
"""

# Prescriptions.
ADD_PRESCRIPTION = """
INSERT INTO prescription (number, owner_id, patient_id, reference, code, document, made_at, ends_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
# By what its QR code says; one that has ended is not there any more.
PRESCRIPTION = """
SELECT number, owner_id, patient_id, code, made_at, ends_at, tries, tried_at, dispensed_at, dispenser_id, withdrawn_at
  FROM prescription WHERE reference = $1 AND ends_at > $2
"""
PRESCRIPTION_DOCUMENT = "SELECT document FROM prescription WHERE number = $1"
# Counted before the code is looked at, so that many at the same time are many; none while too many wrong ones ($3) are
# younger than $4.
TRY_CODE = """
UPDATE prescription SET tries = CASE WHEN tried_at < $4 THEN 1 ELSE tries + 1 END, tried_at = $2
 WHERE number = $1 AND (tries < $3 OR tried_at < $4) RETURNING true
"""
CODE_WAS_RIGHT = "UPDATE prescription SET tries = 0, tried_at = NULL WHERE number = $1"
# Once: two pharmacies at the same moment are one and a refusal.
DISPENSE = """
UPDATE prescription SET dispensed_at = $2, dispenser_id = $3
 WHERE number = $1 AND dispensed_at IS NULL AND withdrawn_at IS NULL AND ends_at > $2 RETURNING true
"""
WITHDRAW = """
UPDATE prescription SET withdrawn_at = $2 WHERE number = $1 AND dispensed_at IS NULL AND withdrawn_at IS NULL
RETURNING owner_id
"""
PRESCRIPTIONS = """
SELECT number, made_at, ends_at, dispensed_at, withdrawn_at FROM prescription WHERE owner_id = $1 ORDER BY made_at DESC
 LIMIT $2
"""
FORGET_PRESCRIPTIONS = """
DELETE FROM prescription WHERE number IN (SELECT number FROM prescription WHERE ends_at <= $1 LIMIT $2)
"""
