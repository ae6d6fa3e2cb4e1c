"""The signatures in documents: judged once, when a document is first met, and kept beside its message.

The jobs judge what a patient is given when they file it; what a professional was given is judged when its page is
first opened. Later a page shows that verdict, of that day: a certificate that has expired since spoils nothing.
Accepting mail waits for none of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from crypto.pades.examiner import Examiner
from crypto.pades.judge import judge
from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.base.errors import Refused
from server.base.limits import DOCUMENTS_JUDGED
from server.mail.summary import Summary
from server.mailbox.keylife.turn import again
from server.mailbox.keys import OwnerKey
from server.mailbox.store import Mailbox
from server.mailbox.trouble import connection
from server.record import queries
from server.record.parts import is_pdf, looks_like_pdf, part_bytes

AT_ONCE = 2  # processes that examine documents for the pages of one worker, 60 MB each and a core
LABEL = "document signature"  # binds the encrypted verdicts to this use

# Part of the message → the plain form of the verdicts on its signatures, in their order; none: it is not signed.
Verdicts = Mapping[str, list[dict[str, Any]]]


class Signatures:
    """Judges documents by these anchors, of signers and of time-stamp authorities."""

    def __init__(self, pool: asyncpg.Pool, anchors: TrustAnchors, stampers: TrustAnchors) -> None:
        self._pool = pool
        self._anchors = anchors
        self._stampers = stampers
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def judge_alone(self, pdf: bytes) -> list[dict[str, Any]]:
        """The verdicts on a document for a page that shows it now."""
        async with self._turns, Examiner() as examiner:
            return await self.judge(examiner, pdf)

    async def judge(self, examiner: Examiner, pdf: bytes) -> list[dict[str, Any]]:
        """The verdicts on a document."""
        examined = await examiner.examine(pdf)
        return [one.to_json() for one in judge(examined, self._anchors, self._stampers, clock.now())]

    async def of_message(self, mailbox: Mailbox, content_id: bytes, summary: Summary) -> Verdicts:
        """The verdicts on the documents of a message, judged now where that was not done yet. Write the trail first."""
        kept = (await self.kept(mailbox, [content_id])).get(content_id)
        if kept is not None:
            return kept
        found: dict[str, list[dict[str, Any]]] = {}
        async with self._turns, Examiner() as examiner:
            for part in summary.parts:
                if not looks_like_pdf(part) or len(found) == DOCUMENTS_JUDGED:
                    continue
                try:
                    data = await part_bytes(mailbox, content_id, part)
                except Refused:  # too large, or damaged: opening it says so
                    continue
                if is_pdf(data):
                    found[part.path] = await self.judge(examiner, data)
        if found:
            async with connection(self._pool) as acquired:
                await self.keep(acquired, mailbox, content_id, found)
        return found

    async def keep(self, acquired: asyncpg.Connection, mailbox: Mailbox, content_id: bytes, verdicts: Verdicts) -> None:
        """Keep them, in the transaction of whoever judged; those that are there already stay."""
        parts = list(verdicts)
        texts = [json.dumps(verdicts[part], separators=(",", ":")).encode() for part in parts]
        wrapped = [
            mailbox.wrap_own(LABEL, _name(content_id, part), text) for part, text in zip(parts, texts, strict=True)
        ]
        await acquired.execute(queries.KEEP_VERDICTS, mailbox.owner_id, content_id, parts, wrapped, clock.now())

    async def kept(self, mailbox: Mailbox, content_ids: Sequence[bytes]) -> dict[bytes, Verdicts]:
        """What was judged before, by content; a content of which nothing was is not there."""
        async with connection(self._pool) as acquired:
            rows = await acquired.fetch(queries.VERDICTS, mailbox.owner_id, content_ids)
        found: dict[bytes, dict[str, list[dict[str, Any]]]] = {}
        for row in rows:
            text = mailbox.unwrap_own(LABEL, _name(row["content_id"], row["part"]), row["verdicts"])
            found.setdefault(row["content_id"], {})[row["part"]] = json.loads(text)
        return dict(found)


async def bring_verdicts(connection: asyncpg.Connection, key: OwnerKey) -> None:
    """When a mailbox's key was turned: its verdicts under the current one. For the database's owner."""
    for content_id, part, wrapped in await connection.fetch(queries.KEPT_VERDICTS, key.owner_id):
        fresh = again(key, LABEL, _name(content_id, part), wrapped)
        await connection.execute(queries.PUT_VERDICTS, key.owner_id, content_id, part, wrapped, fresh)


def _name(content_id: bytes, part: str) -> bytes:
    return content_id + part.encode()
