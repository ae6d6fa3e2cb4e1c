"""The trail: one function per event, which says what happened; callers format nothing.

Invariants:
- A row is written in the transaction of the thing it tells: both are there or neither.
- A reading of content is written, and committed, before the bytes leave.
- What could name a person stands in the encrypted detail or in a keyed token, never in clear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from crypto.edge import EdgeKeys
from crypto.keyring import Keyring
from server.audit import queries
from server.audit.sealed import TrailReader, WriterKey, actor_token, message_token, new_writer_key, reader
from server.base import clock
from server.base.log import Pseudonyms, octets_of

ACTS = 1  # access to content and acts, kept 20 years
TECHNICAL = 2  # kept one year
WRITER_KEY_SECONDS = 600  # what a seized process could read back of its own writing
_TRIED = {
    "delivered": "message-sent",
    "fetched": "message-fetched",
    "failed": "message-failed",
    "expired": "message-failed",
    "deferred": "message-deferred",
    "unsure": "message-deferred",
}
LISTED_CONTENTS = 1_000  # content ids named in one reading; a larger one says how many there were


class Marks(NamedTuple):
    """By what an event is found: a token of the Message-ID, the name of the accept in logs, and the pseudonym's octets
    of the address on the other side than the event's owner. None where there is none."""

    message: bytes | None = None
    trace: str | None = None
    party: bytes | None = None


UNMARKED = Marks()


@dataclass(frozen=True, slots=True)
class Event:
    """An event ready to be written; its detail is sealed under the writer key of that id."""

    stream: int
    kind: str
    owner_id: int | None
    actor: bytes
    writer: WriterKey = field(repr=False)
    detail: bytes = field(repr=False)
    marks: Marks = UNMARKED


class Audit:
    """The trail as one process writes it. `ready` once before the functions that are not coroutines."""

    def __init__(self, edge: EdgeKeys) -> None:
        self._edge = edge
        self._pseudonyms = Pseudonyms(edge.pseudonym)
        self._reader: tuple[int, bytes] | None = None
        self._writer: WriterKey | None = None
        self._kept = b""  # the id of a writer's key that is in the database for good

    async def ready(self, connection: asyncpg.Connection) -> None:
        """Learn whom to seal to. Raises IntegrityError when the database names nobody we can prove."""
        if self._reader is None:
            self._reader = await reader(connection, self._edge)

    def message_accepted(
        self, owner_id: int, actor: str, reverse_path: str, recipient: str, *, trace: str, message_id: str, **facts: Any
    ) -> Event:
        """A message was taken for a mailbox; written by the accept statement itself. `message_id` without brackets."""
        detail = {"actor": actor, "from": reverse_path, "to": recipient, "message_id": message_id, **facts}
        marks = self._marks(message_id, trace, reverse_path)
        return self._event(ACTS, "message-accepted", owner_id, actor, detail | {"trace": trace}, marks)

    def message_queued(
        self,
        owner_id: int | None,
        actor: str,
        reverse_path: str,
        recipients: Sequence[str],
        *,
        trace: str,
        message_id: str,
        **facts: Any,
    ) -> Event:
        """A message was taken for other operators; `owner_id` the mailbox that wrote it, where it is ours."""
        detail = {"actor": actor, "from": reverse_path, "to": list(recipients), "message_id": message_id, **facts}
        # Of several recipients each is found by what became of it, and by its pseudonym in the queue until then.
        marks = self._marks(message_id, trace, recipients[0] if len(recipients) == 1 else "")
        return self._event(ACTS, "message-queued", owner_id, actor, detail | {"trace": trace}, marks)

    def message_tried(
        self, owner_id: int | None, reverse_path: str, recipient: str, outcome: str, *, trace: str, **facts: Any
    ) -> Event:
        """What an attempt at another operator came to; `outcome` as in _TRIED."""
        detail = {"actor": "sender", "from": reverse_path, "to": recipient, "outcome": outcome, "trace": trace, **facts}
        stream = TECHNICAL if outcome == "deferred" else ACTS
        return self._event(stream, _TRIED[outcome], owner_id, "sender", detail, self._marks("", trace, recipient))

    def message_refused(
        self,
        owner_id: int | None,
        actor: str,
        reverse_path: str,
        recipient: str,
        reason: str,
        *,
        trace: str = "",
        message_id: str = "",
    ) -> Event:
        """A message was not taken, or not for this recipient ("": for none); `owner_id` the mailbox that wrote it."""
        detail = {"actor": actor, "from": reverse_path, "to": recipient, "reason": reason, "message_id": message_id}
        marks = self._marks(message_id, trace, recipient or reverse_path)
        return self._event(TECHNICAL, "message-refused", owner_id, actor, detail | {"trace": trace}, marks)

    async def message_delivered(
        self, connection: asyncpg.Connection, owner_id: int, content_id: bytes, opened: bool
    ) -> None:
        """A message that had waited in the local queue is in its folder; `opened` with a key that was entrusted."""
        detail = {"contents": [content_id.hex()]} | ({"opened": True} if opened else {})
        await self._write(connection, ACTS, "message-delivered", owner_id, "jobs", detail)

    async def message_bounced(
        self, connection: asyncpg.Connection, owner_id: int, content_id: bytes, told: str
    ) -> None:
        """A message that had waited was given back to its sender, for the mailbox is gone."""
        detail = {"contents": [content_id.hex()], "to": told}
        await self._write(connection, ACTS, "message-bounced", owner_id, "jobs", detail)

    async def documents_filed(
        self, connection: asyncpg.Connection, owner_id: int, content_id: bytes, count: int
    ) -> None:
        """Documents of a message are in the patient's record."""
        detail = {"contents": [content_id.hex()], "count": count}
        await self._write(connection, ACTS, "documents-filed", owner_id, "jobs", detail)

    async def prescription_made(self, connection: asyncpg.Connection, actor: str, owner_id: int, number: str) -> None:
        """A prescription was signed and kept; `owner_id` prescribed it."""
        await self._write(connection, ACTS, "prescription-made", owner_id, actor, {"actor": actor, "number": number})

    async def prescription_read(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, number: str, *, by_code: bool
    ) -> None:
        """Somebody who holds its paper is about to see it; `by_code`: not signed in, `actor` is where they ask from."""
        detail = {"actor": actor, "number": number, "by_code": by_code}
        await self._write(connection, ACTS, "prescription-read", owner_id, actor, detail)

    async def prescription_refused(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, number: str
    ) -> None:
        """Somebody gave a wrong code for it; `actor` is where they asked from."""
        await self._write(connection, ACTS, "prescription-refused", owner_id, actor, {"actor": actor, "number": number})

    async def prescription_dispensed(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, number: str
    ) -> None:
        """A professional said that it was dispensed: from now on its code opens nothing."""
        detail = {"actor": actor, "number": number}
        await self._write(connection, ACTS, "prescription-dispensed", owner_id, actor, detail)

    async def prescription_withdrawn(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, number: str
    ) -> None:
        """A prescription was withdrawn: whoever opens it is told."""
        detail = {"actor": actor, "number": number}
        await self._write(connection, ACTS, "prescription-withdrawn", owner_id, actor, detail)

    async def trail_searched(self, connection: asyncpg.Connection, actor: str, wanted: str, shown: str) -> None:
        """An operator looked into the trail; `shown`: pseudonyms or addresses."""
        detail = {"actor": actor, "wanted": wanted, "shown": shown}
        await self._write(connection, ACTS, "trail-searched", None, actor, detail)

    async def queue_ordered(
        self,
        connection: asyncpg.Connection,
        actor: str,
        owner_id: int | None,
        order: str,
        recipients: Sequence[str],
        *,
        trace: str,
        **facts: Any,
    ) -> None:
        """An operator ordered something about a message in the queue, for these recipients (pseudonyms)."""
        detail = {"actor": actor, "order": order, "to": list(recipients), "trace": trace, **facts}
        await self._write(connection, ACTS, "queue-ordered", owner_id, actor, detail, Marks(trace=trace))

    def content_read(self, actor: str, owner_id: int, content_ids: Sequence[bytes], purpose: str) -> Event:
        """Somebody is about to see content; one row a command, written by `tell`."""
        listed = [content_id.hex() for content_id in content_ids[:LISTED_CONTENTS]]
        detail = {"actor": actor, "contents": listed, "count": len(content_ids), "purpose": purpose}
        return self._event(ACTS, "content-read", owner_id, actor, detail)

    async def tell(
        self, connection: asyncpg.Connection, events: Sequence[Event], question: str, *values: Any
    ) -> list[asyncpg.Record]:
        """Ask a question made by `queries.telling`, `values` its own, which writes the events in its transaction."""
        keys = [key for key in writers(events) if key.key_id != self._kept]
        rows = await connection.fetch(question, *values, *_columns(keys, events))
        if keys and not connection.is_in_transaction():
            self._kept = keys[-1].key_id  # committed with the rows
        return list(rows)

    async def mailbox_created(
        self, connection: asyncpg.Connection, actor: str, created: Sequence[tuple[int, str]]
    ) -> None:
        """Mailboxes were created: (owner id, address) each."""
        await self.ready(connection)
        events = [
            self._event(ACTS, "mailbox-created", owner_id, actor, {"actor": actor, "address": address})
            for owner_id, address in created
        ]
        await write(connection, events)

    async def terms_changed(
        self,
        connection: asyncpg.Connection,
        actor: str,
        owner_id: int,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> None:
        """On which terms a mailbox takes mail was changed (quota, opposition, open to patients)."""
        detail = {"actor": actor, "before": dict(before), "after": dict(after)}
        await self._write(connection, ACTS, "terms-changed", owner_id, actor, detail)

    async def mailbox_migrated(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, server: str, account: str
    ) -> None:
        """Messages of an account on another server are being copied into this mailbox."""
        detail = {"actor": actor, "server": server, "account": account}
        await self._write(connection, ACTS, "mailbox-migrated", owner_id, actor, detail)

    async def holders_bound(self, connection: asyncpg.Connection, actor: str, owner_ids: Sequence[int]) -> None:
        """Each of these mailboxes is opened from now on by the person that an identity provider names."""
        await self.ready(connection)
        detail = {"actor": actor}
        await write(connection, [self._event(ACTS, "holder-bound", one, actor, detail) for one in owner_ids])

    async def holder_unbound(self, connection: asyncpg.Connection, actor: str, owner_id: int) -> None:
        """Nobody opens this mailbox any more by an identity provider, but who is bound anew."""
        await self._write(connection, ACTS, "holder-unbound", owner_id, actor, {"actor": actor})

    async def delegated(
        self,
        connection: asyncpg.Connection,
        actor: str,
        owner_id: int,
        delegate: str,
        rights: Sequence[str | None],
        until: datetime | None,
    ) -> None:
        """A shared mailbox was opened to a person, or the person's rights there changed."""
        detail = {"actor": actor, "delegate": delegate, "rights": list(rights), "until": str(until or "revoked")}
        await self._write(connection, ACTS, "delegated", owner_id, actor, detail)

    async def delegation_revoked(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, delegate: str
    ) -> None:
        """A person may act for a shared mailbox no more."""
        detail = {"actor": actor, "delegate": delegate}
        await self._write(connection, ACTS, "delegation-revoked", owner_id, actor, detail)

    async def app_passwords_made(
        self, connection: asyncpg.Connection, actor: str, owner_ids: Sequence[int], label: str
    ) -> None:
        """Each of these mailboxes has one more app password; `label` is what it is for."""
        await self.ready(connection)
        detail = {"actor": actor, "label": label}
        await write(connection, [self._event(ACTS, "app-password-made", one, actor, detail) for one in owner_ids])

    async def app_password_revoked(self, connection: asyncpg.Connection, actor: str, owner_id: int, label: str) -> None:
        """An app password signs nobody in any more; `label` is what its holder called it."""
        detail = {"actor": actor, "label": label}
        await self._write(connection, ACTS, "app-password-revoked", owner_id, actor, detail)

    async def certificate_bound(self, connection: asyncpg.Connection, actor: str, owner_id: int, subject: str) -> None:
        """A client certificate opens this mailbox from now on."""
        await self._write(connection, ACTS, "certificate-bound", owner_id, actor, {"actor": actor, "subject": subject})

    async def certificate_removed(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, subject: str
    ) -> None:
        """A client certificate opens this mailbox no more."""
        detail = {"actor": actor, "subject": subject}
        await self._write(connection, ACTS, "certificate-removed", owner_id, actor, detail)

    async def facility(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, what: str, **facts: Any
    ) -> None:
        """A facility was bound to this mailbox, removed, or admitted: given a token for somebody; `what` says which."""
        await self._write(connection, ACTS, f"facility-{what}", owner_id, actor, {"actor": actor, **facts})

    async def key_entrusted(self, connection: asyncpg.Connection, actor: str, owner_id: int, subject: str) -> None:
        """What comes encrypted to this certificate is opened from now on."""
        await self._write(connection, ACTS, "key-entrusted", owner_id, actor, {"actor": actor, "subject": subject})

    async def keys_withdrawn(self, connection: asyncpg.Connection, actor: str, owner_id: int, count: int) -> None:
        """What comes encrypted is opened no more."""
        await self._write(connection, ACTS, "keys-withdrawn", owner_id, actor, {"actor": actor, "count": count})

    async def alarm_raised(
        self, connection: asyncpg.Connection, owner_id: int | None, kind: str, name: str, count: int, usual: int
    ) -> None:
        """A volume was out of the usual; `owner_id` the mailbox where it is ours, `name` a pseudonym or an operator."""
        detail = {"alarm": kind, "name": name, "count": count, "usual": usual}
        await self._write(connection, TECHNICAL, "alarm-raised", owner_id, "jobs", detail, Marks(party=octets_of(name)))

    async def certificate_troubled(
        self, connection: asyncpg.Connection, owner_id: int | None, trouble: str, name: str
    ) -> None:
        """A certificate will hurt, or does (crypto.pki.hygiene); `owner_id` the mailbox it belongs to."""
        detail = {"trouble": trouble, "name": name}
        await self._write(connection, TECHNICAL, "certificate-troubled", owner_id, "jobs", detail)

    async def keys_changed(
        self, connection: asyncpg.Connection, actor: str, what: str, owner_id: int | None = None, **facts: Any
    ) -> None:
        """Keys were made, wrapped anew, put aside, taken out or destroyed; `what` as the command is called."""
        detail = {"actor": actor, "what": what, **facts}
        await self._write(connection, ACTS, "keys-changed", owner_id, actor, detail)

    async def account_changed(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, what: str, **facts: Any
    ) -> None:
        """What proves a holder, or is known of their browsers, was made, used up or taken away; `what` names it."""
        detail = {"actor": actor, "what": what, **facts}
        await self._write(connection, ACTS, "account-changed", owner_id, actor, detail)

    async def operator_did(
        self, connection: asyncpg.Connection, actor: str, what: str, owner_id: int | None = None, /, **facts: Any
    ) -> None:
        """One of the operator's people looked, asked or acted; `what` stands in the kind, which is not sealed."""
        await self._write(connection, ACTS, f"operator-{what}", owner_id, actor, {"actor": actor, **facts})

    async def signed_in(
        self, connection: asyncpg.Connection, actor: str, owner_id: int, edge: str, how: str, network: str
    ) -> None:
        """Somebody opened a session. `how`: app-password, development, …; `network` where from."""
        detail = {"actor": actor, "edge": edge, "how": how, "network": network}
        await self._write(connection, TECHNICAL, "signed-in", owner_id, actor, detail)

    async def sign_in_refused(
        self, connection: asyncpg.Connection, actor: str, edge: str, reason: str, network: str
    ) -> None:
        """Somebody could not open a session."""
        detail = {"actor": actor, "edge": edge, "reason": reason, "network": network}
        await self._write(connection, TECHNICAL, "sign-in-refused", None, actor, detail)

    async def _write(
        self,
        connection: asyncpg.Connection,
        stream: int,
        kind: str,
        owner_id: int | None,
        actor: str,
        detail: dict[str, Any],
        marks: Marks = UNMARKED,
    ) -> None:
        await self.ready(connection)
        await write(connection, [self._event(stream, kind, owner_id, actor, detail, marks)])

    def _writer_key(self) -> WriterKey:
        now = clock.monotonic()
        if self._writer is None or now - self._writer.made_at > WRITER_KEY_SECONDS:
            if self._reader is None:
                raise RuntimeError("Audit.ready comes first")
            self._writer = new_writer_key(*self._reader, now)
        return self._writer

    def _marks(self, message_id: str, trace: str, address: str) -> Marks:
        return Marks(
            message_token(self._edge, message_id) if message_id else None,
            trace or None,
            self._pseudonyms.octets(address) if address else None,
        )

    def _event(
        self, stream: int, kind: str, owner_id: int | None, actor: str, detail: dict[str, Any], marks: Marks = UNMARKED
    ) -> Event:
        writer = self._writer_key()
        token = actor_token(self._edge, actor)
        return Event(stream, kind, owner_id, token, writer, writer.seal(kind, owner_id, detail), marks)


def writers(events: Sequence[Event]) -> list[WriterKey]:
    """The keys under which events are sealed, each once; they go into the database with the events."""
    return list({event.writer.key_id: event.writer for event in events}.values())


async def write(connection: asyncpg.Connection, events: Sequence[Event]) -> None:
    """Write events in the connection's transaction."""
    await connection.execute(queries.ADD, *_columns(writers(events), events))


def _columns(keys: Sequence[WriterKey], events: Sequence[Event]) -> tuple[list[Any], ...]:
    """The parameters by which a statement of `queries.telling` writes events."""
    return (
        [key.key_id for key in keys],
        [key.reader_id for key in keys],
        [key.sealed for key in keys],
        [event.stream for event in events],
        [event.kind for event in events],
        [event.owner_id for event in events],
        [event.actor for event in events],
        [event.writer.key_id for event in events],
        [event.detail for event in events],
        [event.marks.message for event in events],
        [event.marks.trace for event in events],
        [event.marks.party for event in events],
    )


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it is read back."""

    audit_id: int
    recorded_at: datetime
    kind: str
    owner_id: int | None
    detail: dict[str, Any]


async def of_owner(connection: asyncpg.Connection, keyring: Keyring, owner_id: int, limit: int = 1_000) -> list[Told]:
    """What happened to a mailbox, newest first. Raises IntegrityError when a row was tampered with."""
    return opened(keyring, await connection.fetch(queries.OF_OWNER, owner_id, limit))


def opened(keyring: Keyring, rows: Sequence[asyncpg.Record]) -> list[Told]:
    """The events of these rows, in their order. Raises IntegrityError when one was tampered with."""
    reader = TrailReader(keyring)
    return [Told(row["audit_id"], row["recorded_at"], row["kind"], row["owner_id"], reader.detail(row)) for row in rows]
