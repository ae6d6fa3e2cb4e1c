"""Invariant: whatever a client shows as its certificate, it is one to sign in with or ClientCertificateError, never
anything else; one that is has a key's hash of 32 octets and a subject that fits on a line of a list.
"""

from __future__ import annotations

from datetime import UTC, datetime

from crypto.pki import client

NOW = datetime(2026, 6, 1, tzinfo=UTC)  # the seeds are valid then


def fuzz(data: bytes) -> None:
    try:
        shown = client.read(data, NOW)
    except client.ClientCertificateError:
        return
    assert len(shown.key_hash) == 32
    assert "\n" not in shown.subject
    assert shown.not_after >= NOW
