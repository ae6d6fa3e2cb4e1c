"""The statements of the migration: how far each folder of another server is copied."""

from __future__ import annotations

STATE = """
SELECT folder_id, uidvalidity, next_uid, left_out FROM migrated_folder WHERE owner_id = $1 AND source = $2
"""
BEGIN = "INSERT INTO migrated_folder (owner_id, source, folder_id, uidvalidity) VALUES ($1, $2, $3, $4)"
# Nothing to do but where the other server numbered its messages anew, and the operator wants them all once more.
BEGIN_AGAIN = """
UPDATE migrated_folder SET uidvalidity = $3, next_uid = 1, left_out = '{}'
 WHERE owner_id = $1 AND source = $2 AND uidvalidity <> $3
"""
# In the transaction of the messages. Only from the state that was read: of two migrations at once one gives way.
ADVANCE = """
UPDATE migrated_folder SET next_uid = $5, left_out = $6
 WHERE owner_id = $1 AND source = $2 AND next_uid = $3 AND left_out = $4 RETURNING true
"""
