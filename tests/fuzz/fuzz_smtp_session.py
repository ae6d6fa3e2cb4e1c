"""Invariant: what a session answers and takes does not depend on how the bytes were cut on the road. One exception, by
design: content that did not wait for the reply behind a refused DATA ends the session, where it came in one piece.

The bytes come from somebody signed in over TLS, before the doubles of the dialogues in tests/conformance/smtp; the
first byte chooses how they are cut.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import structlog

from server.base import limits
from server.base.log import Pseudonyms
from server.identity.model import Principal
from server.smtp.service import Service
from server.smtp.session import Session
from server.transport.envelope import SourceKind
from tests.conformance.smtp.test_transcripts import DOCTOR, DOMAIN, Mailboxes

# The name of a message and the time of day.
_OTHER_EACH_TIME = re.compile(rb"(?<=accepted as )[a-z2-7]{16}|(?<=FUTURERELEASE )\d+ \S+")
LIMIT = 8_192  # the input is less than twice as long, past which a session is ended while it still sends
SILENT = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger("critical"))


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def dialogue(data: bytes, step: int) -> tuple[bytes, list[tuple[Any, bytes]], bool]:
    """What is said to `data` in pieces of `step`, what was taken, and whether the server ended it."""
    mailboxes: Any = Mailboxes()
    tls: Any = None  # nobody asks for STARTTLS here: it is there
    kind, names = SourceKind.SUBMISSION, Pseudonyms(b"p" * 32)
    service = Service(
        kind, DOMAIN, tls, mailboxes, mailboxes, names, SILENT, LIMIT, accounts=mailboxes, handed=mailboxes
    )
    session, wire = Session(service), Wire()
    session.connection_made(wire)
    session.tls = session.identified = True
    session._who = Principal(1, DOCTOR, "PER", "app-password")
    for start in range(0, len(data), step):
        session.data_received(data[start : start + step])
        await quiet(session)
        if wire.closed:
            break
    session.connection_lost(None)
    await quiet(session)
    assert service.budget.used == 0
    assert not service.sessions
    taken = [((envelope.reverse_path, envelope.recipients), content) for envelope, content in mailboxes.taken]
    return _OTHER_EACH_TIME.sub(b"", wire.written), taken, wire.closed


async def quiet(session: Session) -> None:
    """Until the dialogue waits for bytes, or has ended."""
    for _ in range(10):
        await asyncio.sleep(0)
    while session._waiter is None and not (session.transport is None or session.transport.is_closing()):
        await asyncio.sleep(0)


def fuzz(data: bytes) -> None:
    step, data = (data[0] if data else 0) % 61 + 1, data[1 : 1 + limits.SMTP_LINE]
    said, taken, closed = asyncio.run(dialogue(data, max(1, len(data))))
    pieces, taken_of_pieces, _ = asyncio.run(dialogue(data, step))
    assert pieces.startswith(said) if closed else pieces == said
    assert taken_of_pieces[: len(taken)] == taken
    assert closed or len(taken_of_pieces) == len(taken)
    for envelope, content in taken:
        assert envelope[1]
        assert len(content) <= LIMIT
