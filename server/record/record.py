"""The record as pages read it: list and open documents, after the access decision and the trail."""

from __future__ import annotations

import re

import asyncpg

from server.mailbox.keylife.turn import again
from server.mailbox.keys import OwnerKey
from server.mailbox.store import Mailbox
from server.record import queries
from server.record.intake import LABEL
from server.record.model import Detail, Document
from server.record.parts import part_bytes

LISTED = 500  # documents on the page; what one page can hold; the newest come first
_NAME = re.compile(r"[0-9a-f]{32}")


class Record:
    """The records of one database. Callers ask `access.decide` first: this room answers what it is asked."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def documents(self, mailbox: Mailbox) -> list[Document]:
        """The documents, the newest first."""
        rows = await self._pool.fetch(queries.LIST, mailbox.owner_id, LISTED)
        return [_document(mailbox, row) for row in rows]

    async def document(self, mailbox: Mailbox, document_id: str) -> Document | None:
        """One document of this owner by its id; None when there is none."""
        if not _NAME.fullmatch(document_id):
            return None
        row = await self._pool.fetchrow(queries.ONE, mailbox.owner_id, bytes.fromhex(document_id))
        return None if row is None else _document(mailbox, row)

    async def content(self, mailbox: Mailbox, document: Document) -> bytes:
        """The document's bytes. Raises Refused as `Mailbox.body`; write the trail first."""
        summaries = await mailbox.summaries([document.content_id])
        parts = {part.path: part for part in summaries[document.content_id].parts}
        return await part_bytes(mailbox, document.content_id, parts[document.detail.part])

    async def origin(self, mailbox: Mailbox, document: Document) -> tuple[int, int] | None:
        """Folder id and uid of the message that brought it, INBOX first; None when the message was deleted since."""
        row = await self._pool.fetchrow(queries.PLACE, mailbox.owner_id, document.content_id)
        return None if row is None else (row["folder_id"], row["uid"])


async def bring_details(connection: asyncpg.Connection, key: OwnerKey) -> None:
    """When a mailbox's key was turned: the details of its documents under the current one. For the database's owner."""
    for document_id, wrapped in await connection.fetch(queries.DETAILS, key.owner_id):
        fresh = again(key, LABEL, document_id, wrapped)
        await connection.execute(queries.PUT_DETAIL, key.owner_id, document_id, wrapped, fresh)


def _document(mailbox: Mailbox, row: asyncpg.Record) -> Document:
    detail = Detail.from_bytes(mailbox.unwrap_own(LABEL, row["document_id"], row["detail"]))
    return Document(row["document_id"].hex(), row["content_id"], row["filed_at"], detail)
