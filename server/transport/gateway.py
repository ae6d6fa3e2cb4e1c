"""The decrypting gateway: what comes encrypted to a key that was entrusted is opened before its folder gets it.

- The role that holds keys opens it, while it waits in the local queue. Who accepts mail knows only that there is a key.
- What is for another key, or cannot be shown to be whole, stays as it came; so does what is past 1 MiB.
- The signature inside stays, and is judged as that of a message that came in clear.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import asyncpg
import structlog

from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.smime.anchors import TrustAnchors
from crypto.smime.identity import Registration
from crypto.smime.verdict import Verdict
from directory.registration import Registrations
from server.base import clock
from server.base.ids import trace_id
from server.base.settings import Settings
from server.mail import addresses, headers, trace
from server.mail.scan import scan
from server.mail.summary import summarise
from server.mailbox import content
from server.mailbox.beside import entrusted
from server.mailbox.content import Prepared
from server.mailbox.keys import Keys
from server.mailbox.layers import Layers, open_layers
from server.mailbox.understand import understand

_HERE = "opened with the key that was entrusted"

log = structlog.get_logger()


class Gateway:
    """Opens messages that wait. For the jobs role."""

    def __init__(self, edge: EdgeKeys, keys: Keys, anchors: TrustAnchors, settings: Settings) -> None:
        self._edge = edge
        self._keys = keys
        self._anchors = anchors
        self._settings = settings

    async def open(
        self, connection: asyncpg.Connection, owner_id: int, content_id: bytes, came_at: datetime
    ) -> tuple[int, Verdict] | None:
        """Write a message over with what is inside, in the caller's transaction; its size and the verdict on it.

        None: it stays as it came.
        """
        rows = await entrusted.sealed(connection, owner_id)
        if not rows:
            return None
        try:
            key = await self._keys.of(connection, owner_id)
            holders = [entrusted.opened(key, row) for row in rows]
            data = (await content.bodies(connection, key, [content_id], self._edge.salts)).get(content_id)
            if data is None:
                return None
            layers = await asyncio.to_thread(open_layers, data, holders, self._anchors, came_at)
        except CryptoError as error:
            log.warning("message_stays_encrypted", owner=owner_id, content=content_id.hex(), error=error)
            return None
        if not layers.encrypted:
            return None
        registration = await self._registered(connection, data)
        prepared, verdict = await asyncio.to_thread(self._prepared, layers, content_id, registration, came_at)
        await content.replace(connection, key, prepared)
        return prepared.size, verdict

    async def _registered(self, connection: asyncpg.Connection, data: bytes) -> Registration | None:
        """What the directory says of who wrote; of patients it knows nothing."""
        authors = addresses.parse(headers.first(data, "from") or "")
        writer = addresses.normalise(authors[0].address) if authors else ""
        if not writer or writer.rpartition("@")[2] in self._settings.patient_domains:
            return None
        return await Registrations(connection).of(writer, clock.monotonic())

    def _prepared(
        self, layers: Layers, content_id: bytes, registration: Registration | None, came_at: datetime
    ) -> tuple[Prepared, Verdict]:
        verdict = understand(layers.decrypted, self._anchors, came_at, registration).verdict
        domain, told = self._settings.domain, verdict.to_json()
        # RFC 5321 §4.4: Return-Path stays above. What was said of the message as it came stays below.
        path, line_end, rest = layers.decrypted.partition(b"\r\n")
        marks = trace.authentication_results(domain, told)
        marks += trace.received("", domain, "LOCAL", trace_id(), clock.now(), tls=_HERE)
        marked = path + line_end + marks + rest
        summary = summarise(scan(marked), marked, told)
        return content.prepare(marked, summary, self._edge.salts, content_id), verdict
