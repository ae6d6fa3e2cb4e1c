"""FETCH and UID FETCH (RFC 9051 §6.4.5): what is asked is planned once, then told message by message.

A FETCH of flags, dates and sizes reads the view alone; one of the structure opens only summaries; a body leaves in
pieces, each decrypted when the last one has left. Reading content is written to the trail, one row a command, before
the first octet leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.base.errors import Reason, Refused
from server.base.limits import IMAP_FETCH_BYTES, IMAP_FETCH_STEP
from server.imap import bulk
from server.imap.commands.select import tell_vanished
from server.imap.grammar import dates, flags, write
from server.imap.grammar.cursor import Cursor
from server.imap.grammar.fetch import Attribute, FetchItems, Section, fetch_items
from server.imap.grammar.sequence import SequenceSet, sequence_set
from server.imap.object_ids import THREAD_ID, email_id
from server.imap.responses import Declined, Desynchronised, Done, Illegal
from server.imap.section import Content, label
from server.imap.session import Session
from server.imap.view import Selected
from server.mailbox.model import Row

if TYPE_CHECKING:
    from server.mail.summary import Summary
    from server.mailbox.reading import Reading

_WHOLE = Section()
_WORDS = frozenset({"ENVELOPE", "PREVIEW"})
_SUMMARISED = frozenset({"ENVELOPE", "BODYSTRUCTURE", "BODY", "PREVIEW"})


@dataclass(frozen=True, slots=True)
class Fetch:
    numbers: SequenceSet
    items: FetchItems


def parse_fetch(cursor: Cursor) -> Fetch:
    """fetch = "FETCH" SP sequence-set SP fetch-items"""
    cursor.sp()
    numbers = sequence_set(cursor)
    cursor.sp()
    return Fetch(numbers, fetch_items(cursor))


async def fetch(session: Session, command: Fetch) -> Done:
    return await _Fetching(session, command, by_uid=False).run()


async def uid_fetch(session: Session, command: Fetch) -> Done:
    return await _Fetching(session, command, by_uid=True).run()


async def fetch_arrived(session: Session) -> None:
    """What NOTIFY asked to be told of messages that just came; reading them so does not mark them (RFC 5465 §5.2)."""
    uids, session.arrived = session.arrived, []
    if session.selected is None or session.notifications is None or session.notifications.selected is None:
        return
    asked = tuple(replace(attribute, peek=True) for attribute in session.notifications.selected.fetch)
    numbers = SequenceSet(tuple((uid, uid) for uid in uids))
    with suppress(Declined):  # no answer could say that one of them does not open
        await uid_fetch(session, Fetch(numbers, FetchItems(asked)))


class _Fetching:
    """One FETCH on its way."""

    def __init__(self, session: Session, command: Fetch, by_uid: bool) -> None:
        self.session = session
        self.selected: Selected = session.sight
        self.numbers = command.numbers
        self.since = command.items.changed_since
        self.vanished = command.items.vanished
        self.range = command.items.range
        if self.range is not None and not by_uid:
            # RFC 9394 §3.2
            raise Illegal("PARTIAL is for UID FETCH")
        if self.vanished and not (by_uid and session.qresync):
            # RFC 7162 §3.2.6
            raise Illegal("VANISHED is for UID FETCH, after ENABLE QRESYNC")
        self.by_uid = by_uid
        asked = command.items.attributes
        # RFC 7162 §3.1.4.1: CHANGEDSINCE implies MODSEQ, and either enables CONDSTORE.
        if self.since is not None and Attribute("MODSEQ") not in asked:
            asked += (Attribute("MODSEQ"),)
        if Attribute("MODSEQ") in asked:
            session.use_condstore()
        # RFC 9051 §6.4.9: a UID FETCH always tells the UID.
        if by_uid and not session.uidonly and Attribute("UID") not in asked:
            asked = (Attribute("UID"), *asked)
        self.asked = asked
        sections = [attribute for attribute in asked if attribute.section is not None]
        # The whole message needs no summary: it goes from its first octet to its last.
        self.opens = any(
            attribute.section != _WHOLE if attribute.section else attribute.name in _SUMMARISED for attribute in asked
        )
        # What is a person's words, not the shape of a message, counts as reading it.
        self.reads = any(
            (attribute.section and attribute.name != "BINARY.SIZE") or attribute.name in _WORDS for attribute in asked
        )
        self.sets_seen = not self.selected.read_only and any(not attribute.peek for attribute in sections)
        self.reading: Reading | None = None
        self.damaged = False

    async def run(self) -> Done:
        uids = self.selected.resolve(self.numbers, self.by_uid)
        items = [attribute.name for attribute in self.asked]
        plain = self.since is None and self.range is None and not self.session.uidonly and bulk.ITEMS.issuperset(items)
        if plain and await bulk.tell(self.session, uids, items):
            return Done("FETCH completed")
        rows = [row for uid in uids if (row := self.selected.row(uid)) is not None]
        gone = len(rows) < len(uids)
        if self.since is not None:
            if self.vanished:
                # "*" is the last message there was: the last ones may be what vanished.
                known = self.numbers.resolve(self.selected.state.uidnext - 1)
                await tell_vanished(self.session, self.selected, self.since, known)
            rows = [row for row in rows if row.modseq > self.since]
        if self.range is not None:
            # RFC 9394 §3.2: a part of what the other modifiers leave.
            rows = list(self.range.cut(rows))
        if self.reads and rows and self.session.principal is not None:
            ids = [row.content_id for row in rows]
            self.reading = self.session.mailbox.reading(self.session.principal.actor, ids, "IMAP FETCH")
        for start in range(0, len(rows), IMAP_FETCH_STEP):
            await self._step(rows[start : start + IMAP_FETCH_STEP])
        if self.damaged:
            raise Declined(b"CORRUPTION", "Some of the messages cannot be opened")
        if gone and not self.by_uid:
            raise Declined(b"EXPUNGEISSUED", "Some of the messages no longer exist")
        return Done("FETCH completed")

    async def _step(self, rows: list[Row]) -> None:
        seen = await self._mark_seen(rows) if self.sets_seen else {}
        ids = [row.content_id for row in rows]
        summaries = await self.session.mailbox.summaries(ids, self.reading) if self.opens else {}
        for row in rows:
            summary = summaries.get(row.content_id)
            if summary is None and self.opens:
                self.damaged = True
                continue
            try:
                await self._message(seen.get(row.uid, row), summary, row.uid in seen)
            except Refused as refusal:
                # One message that does not open keeps nobody from the others; the tagged answer says it.
                if refusal.reason is not Reason.CONTENT_DAMAGED:
                    raise
                self.damaged = True
            await self.session.drain()

    async def _mark_seen(self, rows: list[Row]) -> dict[int, Row]:
        """RFC 9051 §6.4.5: reading a body sets \\Seen, and the change is told with it."""
        fresh = [row.uid for row in rows if not row.flags & flags.SEEN]
        if not fresh:
            return {}
        shared = self.selected.shared
        result = await self.session.mailbox.store(self.selected.folder.folder_id, fresh, "add", flags.SEEN)
        shared.written(result)
        for row in result.rows:
            self.selected.told(row)
        return {row.uid: row for row in result.rows}

    async def _message(self, row: Row, summary: Summary | None, flags_changed: bool) -> None:
        """One FETCH response. An error before anything was sent is the command's; after that only closing tells it."""
        waiting, sent = bytearray(), False
        try:
            async for piece in self._pieces(row, summary, flags_changed):
                waiting += piece
                if len(waiting) >= IMAP_FETCH_BYTES:
                    self.session.write(bytes(waiting))
                    waiting.clear()
                    sent = True
                    await self.session.drain()
        except Exception as error:
            if not sent:
                raise
            self.session.services.log.error("imap_answer_broken", error=error)
            raise Desynchronised from error
        self.session.write(bytes(waiting))

    async def _pieces(self, row: Row, summary: Summary | None, flags_changed: bool) -> AsyncIterator[bytes]:
        asked = self.asked
        if flags_changed:
            asked += tuple(extra for extra in self._news() if extra not in asked)
        content = Content(self.session.mailbox, row, summary, self.reading)
        separator = b"* %s (" % self.session.head(row.uid)
        for attribute in asked:
            yield separator
            separator = b" "
            if attribute.section is None:
                yield _plain(self.selected, row, summary, attribute.name)
            else:
                async for piece in self._section(content, attribute, attribute.section):
                    yield piece
        yield b")\r\n"

    def _news(self) -> tuple[Attribute, ...]:
        # RFC 7162 §3.1.4, §3.2.4
        session = self.session
        names = ("FLAGS", "MODSEQ"[: 6 * session.condstore], "UID"[: 3 * (session.qresync and not session.uidonly)])
        return tuple(Attribute(name) for name in names if name)

    async def _section(self, content: Content, attribute: Attribute, section: Section) -> AsyncIterator[bytes]:
        is_binary = attribute.name.startswith("BINARY")
        found = await (content.decoded if is_binary else content.section)(section, attribute.partial)
        yield label(attribute) + b" "
        if attribute.name == "BINARY.SIZE":
            yield b"%d" % (found.size if found else 0)
        elif found is None:
            yield b"NIL"
        elif is_binary:
            # RFC 3516 §4.2: literal8, in which NUL may stand.
            yield b"~{%d}\r\n" % found.size
            async for piece in found.pieces:
                yield piece
        else:
            yield b"{%d}\r\n" % found.size
            async for piece in found.pieces:
                yield write.without_nul(piece)


def _plain(selected: Selected, row: Row, summary: Summary | None, name: str) -> bytes:
    match name:
        case "UID":
            return b"UID %d" % row.uid
        case "FLAGS":
            return b"FLAGS (%s)" % flags.render(selected.shown(row.uid, row.flags), row.keywords)
        case "RFC822.SIZE":
            return b"RFC822.SIZE %d" % row.size
        case "INTERNALDATE":
            return b"INTERNALDATE " + dates.render(row.internaldate)
        case "SAVEDATE":
            return b"SAVEDATE " + dates.render(row.savedate)
        case "MODSEQ":
            return b"MODSEQ (%d)" % row.modseq
        case "EMAILID":
            return email_id(row.content_id)
        case "THREADID":
            return THREAD_ID
    assert summary is not None  # noqa: S101 -- `opens` is set for all the others
    match name:
        case "ENVELOPE":
            return b"ENVELOPE " + summary.envelope
        case "BODYSTRUCTURE":
            return b"BODYSTRUCTURE " + summary.bodystructure
        case "PREVIEW":
            # RFC 8970 §3.1: empty where there is no text to show.
            return b"PREVIEW " + write.string(summary.preview.encode())
        case _:
            return b"BODY " + summary.body
