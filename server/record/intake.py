"""Intake: the documents in the messages that a patient received become documents of the record.

The transaction that delivers writes a row of `intake`; the role `jobs` takes it here, soon after.

Invariants: looking through a message twice files nothing twice; a message that cannot be understood files nothing and
stops nothing; one on which the work fails is tried again, then marked, and the next goes on meanwhile; a document is
bound to the message that brought it, so a copy with a worse signature (or another sender) never stands in for a better
one: sender and verdict are part of the unique id.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg

from crypto.pades.examiner import Examiner
from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.limits import (
    DOCUMENTS_JUDGED,
    DOCUMENTS_PER_MESSAGE,
    INTAKE_ATTEMPTS,
    INTAKE_LEASE_SECONDS,
    INTAKE_MESSAGES,
    INTAKE_RETRY_SECONDS,
)
from server.mail.addresses import normalise
from server.mail.summary import Summary
from server.mailbox.store import Mailbox, Store
from server.mailbox.trouble import connection
from server.record import queries
from server.record.model import Detail
from server.record.parts import PDF, is_pdf, looks_like_pdf, part_bytes
from server.record.signatures import Signatures, Verdicts

LABEL = "document"  # binds the encrypted details to this use


class Intake:
    """Files documents for one database, for the role jobs."""

    def __init__(self, store: Store, signatures: Signatures, log: Any) -> None:
        self._store = store
        self._signatures = signatures
        self._log = log

    async def some(self) -> int:
        """Look through some of the messages that wait, INTAKE_MESSAGES at most; returns how many were taken."""
        async with connection(self._store.pool) as acquired:
            rows = await acquired.fetch(queries.TAKE, INTAKE_MESSAGES, INTAKE_LEASE_SECONDS)
        async with Examiner() as examiner:
            for row in rows:
                await self._look_through(row, examiner)
        return len(rows)

    async def _look_through(self, row: asyncpg.Record, examiner: Examiner) -> None:
        owner_id, content_id, attempts = row["owner_id"], row["content_id"], row["attempts"]
        # More than that: the last one did not come back to say how it went.
        if attempts > INTAKE_ATTEMPTS:
            await self._give_up(owner_id, content_id, attempts)
            return
        try:
            mailbox = await self._store.open(owner_id)
            summary = (await mailbox.summaries([content_id])).get(content_id)
            if summary is None:
                raise Refused(Reason.CONTENT_DAMAGED, "This message does not open.")
            verdicts: dict[str, list[dict[str, Any]]] = {}
            found = []
            async for part, data, detail in self._documents(mailbox, content_id, summary, row["received_at"]):
                if len(verdicts) < DOCUMENTS_JUDGED:
                    verdicts[part] = await self._signatures.judge(examiner, data)
                found.append((mailbox.own_token(LABEL, _unique(data, detail)), detail))
            await self._file(mailbox, content_id, found, verdicts)
        except TryLater:  # the store's trouble and no message's fault: all wait for the end of the lease
            raise
        except Exception as error:  # whatever one message does to us, the next is filed
            self._log.warning("intake_failed", owner=owner_id, attempts=attempts, error=error)
            if attempts < INTAKE_ATTEMPTS:
                await self._execute(queries.POSTPONE, owner_id, content_id, attempts * INTAKE_RETRY_SECONDS)
            else:
                await self._give_up(owner_id, content_id, attempts)

    async def _give_up(self, owner_id: int, content_id: bytes, attempts: int) -> None:
        await self._execute(queries.SETTLE, owner_id, content_id, "failed")
        self._log.error("intake_given_up", owner=owner_id, content=content_id.hex(), attempts=attempts)

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with connection(self._store.pool) as acquired:
            await acquired.execute(statement, *arguments)

    async def _documents(
        self, mailbox: Mailbox, content_id: bytes, summary: Summary, received_at: datetime
    ) -> AsyncIterator[tuple[str, bytes, Detail]]:
        """The documents of one message, in the order of its parts: part, octets, what is known."""
        count = 0
        sender = summary.from_[0] if summary.from_ else None
        for part in summary.parts:
            if not looks_like_pdf(part) or count == DOCUMENTS_PER_MESSAGE:
                continue
            try:
                data = await part_bytes(mailbox, content_id, part)
            except Refused as refusal:
                self._log.warning("document_not_filed", reason=refusal.reason.value)
                continue
            if not is_pdf(data):
                continue
            count += 1
            yield (
                part.path,
                data,
                Detail(
                    title=part.filename or summary.subject,
                    media_type=PDF,
                    size=len(data),
                    part=part.path,
                    sender=(sender.name or sender.address) if sender else "",
                    sender_address=normalise(sender.address) if sender else "",
                    received_at=received_at,
                    verdict=summary.verdict,
                ),
            )

    async def _file(
        self, mailbox: Mailbox, content_id: bytes, found: list[tuple[bytes, Detail]], verdicts: Verdicts
    ) -> None:
        ids = [secrets.token_bytes(16) for _ in found]
        details = [
            mailbox.wrap_own(LABEL, document_id, detail.to_bytes())
            for document_id, (_, detail) in zip(ids, found, strict=True)
        ]
        async with connection(self._store.pool) as acquired, acquired.transaction():
            await acquired.execute(
                queries.FILE,
                mailbox.owner_id,
                content_id,
                clock.now(),
                ids,
                [unique for unique, _ in found],
                details,
            )
            await acquired.execute(queries.SETTLE, mailbox.owner_id, content_id, "filed")
            if found:
                await self._signatures.keep(acquired, mailbox, content_id, verdicts)
                await self._store.audit.documents_filed(acquired, mailbox.owner_id, content_id, len(found))


def _unique(data: bytes, detail: Detail) -> bytes:
    """What makes a document the same as another: its bytes, who sent it, and what its signature was found to be."""
    signer = detail.verdict.get("signer") or {}
    facts = (detail.sender_address, str(detail.verdict.get("status")), str(signer.get("fingerprint")))
    return hashlib.sha256(data).digest() + "\0".join(facts).encode()
