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
from datetime import datetime
from typing import Any

import asyncpg

from server.base import clock
from server.base.errors import Reason, Refused, TryLater
from server.base.limits import (
    DOCUMENT_BYTES,
    DOCUMENTS_PER_MESSAGE,
    INTAKE_ATTEMPTS,
    INTAKE_LEASE_SECONDS,
    INTAKE_MESSAGES,
    INTAKE_RETRY_SECONDS,
)
from server.mail.addresses import normalise
from server.mail.content import octets
from server.mail.sections import PartRow
from server.mail.summary import Summary
from server.mailbox.store import Mailbox, Store
from server.mailbox.trouble import connection
from server.record import queries
from server.record.model import Detail

LABEL = "document"  # binds the encrypted details to this use
PDF = "application/pdf"
_PDF_MARK = b"%PDF-"
_PDF_MARK_WITHIN = 1024  # ISO 32000-1, Annex H, note 13: readers accept the header within the first 1,024 bytes
_BASE64_GROWTH = 3  # an encoded body is never longer than three times its octets (quoted-printable)


class Intake:
    """Files documents for one database, for the role jobs."""

    def __init__(self, store: Store, log: Any) -> None:
        self._store = store
        self._log = log

    async def some(self) -> int:
        """Look through some of the messages that wait, INTAKE_MESSAGES at most; returns how many were taken."""
        async with connection(self._store.pool) as acquired:
            rows = await acquired.fetch(queries.TAKE, INTAKE_MESSAGES, INTAKE_LEASE_SECONDS)
        for row in rows:
            await self._look_through(row)
        return len(rows)

    async def _look_through(self, row: asyncpg.Record) -> None:
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
            found = await self._documents(mailbox, content_id, summary, row["received_at"])
            await self._file(mailbox, content_id, found)
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
    ) -> list[tuple[bytes, Detail]]:
        """The documents of one message with their unique ids, in the order of its parts."""
        found: list[tuple[bytes, Detail]] = []
        sender = summary.from_[0] if summary.from_ else None
        for part in summary.parts:
            if not looks_like_pdf(part) or len(found) == DOCUMENTS_PER_MESSAGE:
                continue
            try:
                data = await part_bytes(mailbox, content_id, part)
            except Refused as refusal:
                self._log.warning("document_not_filed", reason=refusal.reason.value)
                continue
            if not is_pdf(data):
                continue
            detail = Detail(
                title=part.filename or summary.subject,
                media_type=PDF,
                size=len(data),
                part=part.path,
                sender=(sender.name or sender.address) if sender else "",
                sender_address=normalise(sender.address) if sender else "",
                received_at=received_at,
                verdict=summary.verdict,
            )
            found.append((mailbox.own_token(LABEL, _unique(data, detail)), detail))
        return found

    async def _file(self, mailbox: Mailbox, content_id: bytes, found: list[tuple[bytes, Detail]]) -> None:
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
                await self._store.audit.documents_filed(acquired, mailbox.owner_id, content_id, len(found))


def looks_like_pdf(part: PartRow) -> bool:
    """Whether a part says it is a PDF, by type or by name (practice software often says octet-stream)."""
    if part.content_type == PDF:
        return True
    return part.content_type == "application/octet-stream" and (part.filename or "").lower().endswith(".pdf")


def is_pdf(data: bytes) -> bool:
    """Whether the bytes are a PDF, whatever their label says."""
    return data.find(_PDF_MARK, 0, _PDF_MARK_WITHIN) >= 0


async def part_bytes(mailbox: Mailbox, content_id: bytes, part: PartRow) -> bytes:
    """A part as its sender saw it, transfer encoding undone. Raises Refused(TOO_LARGE) and as `Mailbox.body`."""
    if part.size > _BASE64_GROWTH * DOCUMENT_BYTES:
        raise Refused(Reason.TOO_LARGE, "The attachment is too large to be opened here.")
    return octets(await mailbox.body(content_id, part.body_start, part.body_end), part.encoding)


def _unique(data: bytes, detail: Detail) -> bytes:
    """What makes a document the same as another: its bytes, who sent it, and what its signature was found to be."""
    signer = detail.verdict.get("signer") or {}
    facts = (detail.sender_address, str(detail.verdict.get("status")), str(signer.get("fingerprint")))
    return hashlib.sha256(data).digest() + "\0".join(facts).encode()
