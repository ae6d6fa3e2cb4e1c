"""The local queue: deliveries not made at once, because a folder was locked, a mailbox suspended, or the sender wants
them later (RFC 4865); and those that are to be opened first (gateway.py).

Each is one transaction: the message enters the folder and leaves the queue, or a DSN takes its place, or it waits.
"""

from __future__ import annotations

import asyncpg
import structlog

from crypto.edge import EdgeKeys
from crypto.errors import CryptoError
from crypto.keyring import Keyring
from crypto.smime.anchors import TrustAnchors
from server.audit.trail import Audit
from server.base import clock
from server.base.errors import Reason, Refused
from server.base.limits import LOCK_TIMEOUT_MS
from server.base.settings import Settings
from server.db.pool import AWAY, FULL
from server.mail.headers import first
from server.mailbox import commands, content, marks
from server.mailbox import queries as mailbox_queries
from server.mailbox.commands import Addition
from server.mailbox.feed import Announcer
from server.mailbox.keys import Keys
from server.mailbox.model import INBOX_ID, OwnerState, Route
from server.mailbox.trouble import CONTENDED, connection
from server.transport import queries
from server.transport.commit import place
from server.transport.envelope import Recipient
from server.transport.gateway import Gateway
from server.transport.sealer import Sealer, gone, way_back

PIECE = 100  # deliveries in one call
LOCKED_SECONDS = 2.0  # a long command on a folder takes about this
SUSPENDED_SECONDS = 3600.0
POISONED_SECONDS = 60.0  # times the attempts, an hour at most: what fails for a reason of its own stands back
# A sender elsewhere is told by the outbound queue; until one runs, the message is kept and asked again daily.
NO_WAY_BACK_SECONDS = 24 * 3600.0

log = structlog.get_logger()


class LocalQueue:
    """Works off the local queue. For the jobs role: a DSN needs the message's return path, so a keyring."""

    def __init__(
        self, pool: asyncpg.Pool, edge: EdgeKeys, keyring: Keyring, anchors: TrustAnchors, settings: Settings
    ) -> None:
        self._pool = pool
        self._edge = edge
        self._local_domains = settings.local_domains
        self._keys = Keys(keyring)
        self._gateway = Gateway(edge, self._keys, anchors, settings)
        self._audit = Audit(edge)
        self._sealer = Sealer(edge, self._audit, None, settings)
        self._announcer = Announcer(pool)

    async def deliver(self) -> int:
        """One piece; returns how many left the queue."""
        done = 0
        async with connection(self._pool) as acquired:
            await self._audit.ready(acquired)
            await self._keys.look(acquired)
            await acquired.execute(queries.PREPARE_CONNECTION, f"{LOCK_TIMEOUT_MS}ms", "auto")
            for _ in range(PIECE):
                step = await self._next(acquired)
                if step is None:
                    break
                done += step
        return done

    async def _next(self, acquired: asyncpg.Connection) -> bool | None:
        """The next delivery: True when it is settled, False when postponed, None when there is none due."""
        async with acquired.transaction():
            row = await acquired.fetchrow(queries.NEXT_LOCAL)
            if row is None:
                return None
            wait = 0.0
            try:
                async with acquired.transaction():  # a savepoint: a lock not given must not lose the row
                    wait = await self._settle(acquired, row)
            except CONTENDED:
                wait = LOCKED_SECONDS
            except Exception as error:  # whatever one delivery meets, the others go on
                if not _is_its_own(error):
                    raise
                wait = min(POISONED_SECONDS * (row["attempts"] + 1), SUSPENDED_SECONDS)
                log.error("delivery_failed", owner=row["owner_id"], error=error)
            if wait:
                await acquired.execute(queries.POSTPONE_LOCAL, row["owner_id"], row["outgoing_id"], wait)
            else:
                await acquired.execute(queries.DONE_LOCAL, row["owner_id"], row["outgoing_id"])
        if not wait:
            self._announcer.changed([(row["owner_id"], row["folder_id"]), (row["owner_id"], INBOX_ID)])
        return not wait

    async def _settle(self, acquired: asyncpg.Connection, row: asyncpg.Record) -> float:
        """Deliver or bounce; returns 0, or for how many seconds it has to wait."""
        if row["state"] == OwnerState.SUSPENDED:
            return SUSPENDED_SECONDS
        if row["state"] == OwnerState.ACTIVE:
            size, keywords = row["size"], row["keywords"].split()
            opened = await self._gateway.open(acquired, row["owner_id"], row["content_id"], row["created_at"])
            if opened is not None:
                size, verdict = opened
                keywords = marks.judged(keywords, verdict.to_json())
            addition = Addition(row["content_id"], 0, keywords, row["internaldate"], size)
            # A folder that went away meanwhile: INBOX is where its mail is looked for then.
            for folder_id in dict.fromkeys((row["folder_id"], INBOX_ID)):
                try:
                    async with acquired.transaction():
                        await commands.append(acquired, row["owner_id"], folder_id, [addition])
                        await self._audit.message_delivered(
                            acquired, row["owner_id"], row["content_id"], opened is not None
                        )
                        return 0.0
                except Refused:
                    continue
        return await self._bounce(acquired, row)

    async def _bounce(self, acquired: asyncpg.Connection, row: asyncpg.Record) -> float:
        """The mailbox is gone for good: tell a local sender, in this transaction."""
        owner_id, content_id = row["owner_id"], row["content_id"]
        try:
            key = await self._keys.of(acquired, owner_id, closed=True)
            wrapped, sealed_key = await acquired.fetchrow(mailbox_queries.IDENTITY, owner_id) or (b"", None)
            identity = key.open_identity(wrapped, sealed_key)
        except CryptoError as error:
            log.error("bounce_impossible", owner=owner_id, error=error)
            return NO_WAY_BACK_SECONDS
        summary = (await content.summaries(acquired, key, [content_id], self._edge.salts)).get(content_id)
        # Accept wrote the return path on top of the message (RFC 5321 §4.4).
        path = (first(summary.header, "return-path") or "").strip("<>") if summary else ""
        sender = await way_back(acquired, self._edge, self._local_domains, path)
        if sender is None:
            log.warning("bounce_waits", owner=owner_id)
            return NO_WAY_BACK_SECONDS
        header = summary.header if summary else b""
        await self._sealer.ready(acquired, [sender])
        statuses = gone({identity.address: (Reason.RECIPIENT_CLOSED, "")})
        notice = self._sealer.notice(sender, statuses, header, row["created_at"], clock.now())
        await place(acquired, [notice])
        await self._audit.message_bounced(acquired, owner_id, content_id, sender.address)
        await acquired.execute(queries.RELEASE, owner_id, content_id)
        self._tell(sender)
        return 0.0

    def _tell(self, sender: Recipient) -> None:
        if isinstance(sender.route, Route):
            self._announcer.changed([(sender.route.owner_id, sender.folder_id)])


def _is_its_own(error: Exception) -> bool:
    """Whether an error is of one delivery, as a statement that takes too long is; a database away concerns all."""
    return isinstance(error, asyncpg.QueryCanceledError) or not isinstance(error, (*AWAY, *FULL))
