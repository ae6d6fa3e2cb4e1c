"""The story of a message, or of an address, told from the trail: what happened, in the order of time.

For who holds the keyring: the command line. A message is found by its Message-ID or by the name that its accept has in
logs; what happened later to a copy (delivered late, filed, read) by its mailbox and content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from server.audit import queries
from server.audit.sealed import message_token
from server.audit.trail import Told, opened
from server.base.log import Pseudonyms

LISTED = 1_000  # events of one question; of an address that has more, the newest
READINGS = 20_000  # of a mailbox, looked through for those of one message: a second's work
_OF_MESSAGE = (
    "message-accepted",
    "message-queued",
    "message-sent",
    "message-fetched",
    "message-deferred",
    "message-failed",
    "message-refused",
    "queue-ordered",
)
_OF_COPY = ("message-delivered", "message-bounced", "documents-filed", "content-read")
_OF_MAILBOX = (
    *_OF_MESSAGE,
    *_OF_COPY,
    "alarm-raised",
    "prescription-made",
    "prescription-read",
    "prescription-refused",
    "prescription-dispensed",
    "prescription-withdrawn",
    "mailbox-created",
    "terms-changed",
    "mailbox-migrated",
    "holder-bound",
    "holder-unbound",
    "account-changed",
    "delegated",
    "delegation-revoked",
    "app-password-made",
    "app-password-revoked",
    "certificate-bound",
    "certificate-removed",
    "certificate-troubled",
    "facility-bound",
    "facility-removed",
    "facility-admitted",
    "keys-changed",
    "key-entrusted",
    "keys-withdrawn",
    "operator-looked",
    "operator-read-trail",
    "operator-asked",
    "operator-suspended",
    "operator-resumed",
    "operator-access-ended",
    "operator-certificate-removed",
    "operator-invite",
    "operator-reset",
    "operator-delegate",
)


@dataclass(frozen=True, slots=True)
class Story:
    """`events` in the order of time; `cut`: there are older ones that are not here."""

    events: list[Told]
    cut: bool


class Stories:
    """Questions to one trail about what happened after `since`. All raise IntegrityError: a row was tampered with."""

    def __init__(self, connection: asyncpg.Connection, keyring: Keyring, edge: EdgeKeys, since: datetime) -> None:
        self._connection = connection
        self._keyring = keyring
        self._edge = edge
        self._since = since

    async def of_message(self, message_id: str) -> Story:
        """By Message-ID, without brackets."""
        found = await self._read(queries.OF_MESSAGE, message_token(self._edge, message_id))
        found = [told for told in found if told.detail.get("message_id") == message_id]
        traces = {str(told.detail["trace"]) for told in found if told.detail.get("trace")}
        for trace in sorted(traces):
            found += await self._read(queries.OF_TRACE, trace)
        return await self._with_copies(found)

    async def of_trace(self, trace: str) -> Story:
        """By the name that one accept has in logs, in Received and in the reply to DATA."""
        return await self._with_copies(await self._read(queries.OF_TRACE, trace))

    async def of_address(self, address: str, owner_id: int | None) -> Story:
        """What concerns a normalised address; `owner_id` where it is a mailbox here."""
        return await self._of_party(Pseudonyms(self._edge.pseudonym).octets(address), owner_id)

    async def of_pseudonym(self, octets: bytes) -> Story:
        """The same for an address known by its pseudonym alone: what it wrote to us, and what we wrote to it."""
        return await self._of_party(octets, None)

    async def _of_party(self, octets: bytes, owner_id: int | None) -> Story:
        found = await self._read(queries.OF_PARTY, octets)
        if owner_id is not None:
            rows = await self._connection.fetch(queries.OF_OWNER_SINCE, owner_id, _OF_MAILBOX, self._since, LISTED)
            found += opened(self._keyring, rows)
        return _story(found)

    async def _with_copies(self, found: list[Told]) -> Story:
        """The events of messages, and what happened to the copies that mailboxes here got."""
        later: list[Told] = []
        cut = False
        for told in found:
            if told.kind == "message-accepted" and told.owner_id is not None:
                rows = await self._connection.fetch(
                    queries.OF_OWNER_SINCE, told.owner_id, _OF_COPY, told.recorded_at, READINGS
                )
                cut = cut or len(rows) == READINGS
                content = told.detail["content"]
                later += [one for one in opened(self._keyring, rows) if content in one.detail["contents"]]
        return _story([*found, *later], cut=cut)

    async def _read(self, statement: str, key: bytes | str) -> list[Told]:
        return opened(self._keyring, await self._connection.fetch(statement, key, self._since, LISTED))


def copies(events: Iterable[Told]) -> list[tuple[int, bytes]]:
    """The copies that mailboxes here were given: (owner id, content id)."""
    return [
        (told.owner_id, bytes.fromhex(told.detail["content"]))
        for told in events
        if told.kind == "message-accepted" and told.owner_id is not None
    ]


def _story(found: Sequence[Told], *, cut: bool = False) -> Story:
    """Each event once, in the order of time."""
    once = {told.audit_id: told for told in found}
    events = sorted(once.values(), key=lambda told: (told.recorded_at, told.audit_id))
    return Story(events[-LISTED:], cut or len(found) >= LISTED)
