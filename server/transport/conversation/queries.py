"""The statements on a patient's right to answer. It is given and ended by the transaction that delivers
(transport.queries.ACCEPT) and asked for at RCPT (transport.queries.RECIPIENTS)."""

from __future__ import annotations

# Whether this one message takes no answer: such a row is ended from the start, and no address has its token.
IS_MUTED = "SELECT EXISTS (SELECT FROM contact WHERE owner_id = $1 AND token = $2 AND ended_at IS NOT NULL)"
