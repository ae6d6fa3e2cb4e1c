"""The statement on patients' contacts. A contact is opened by the transaction that delivers (transport.queries.ACCEPT),
and whoever writes again after the patient closed it does not open it: closing is the patient's word."""

from __future__ import annotations

# Which of these correspondents wrote to the patient and may be answered.
OPEN_AMONG = "SELECT token FROM contact WHERE owner_id = $1 AND token = ANY($2::bytea[]) AND closed_at IS NULL"
