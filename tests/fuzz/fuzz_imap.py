"""Invariant: whatever bytes come, every line answered is well formed (tagged OK, NO or BAD; "* "; "+ "), nothing is
raised or logged as a fault of ours, and bytes one by one give the same answers as all at once. Memory: what waits is
never more than a line and one admitted literal; the budget of the worker is given back, nothing is watched.

The first octet picks where the session starts: before TLS, before sign-in, signed in, or with a mailbox selected.
"""

from __future__ import annotations

import asyncio
import re
from unittest.mock import patch

from server.base.limits import IMAP_LINE
from server.imap import dialogue
from tests.imap_doubles import Backend, MemoryMailbox, Wire, signed_in

_MESSAGE = (
    b"From: a@exemple.fr\r\nSubject: un\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\nbonjour\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: deux\r\n\r\nx\r\n--b--\r\n"
)
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_START = re.compile(rb"\* |\+ |[^\x00-\x20(){%*\"\\+\x7f-\xff]+ (?:OK|NO|BAD) ")
_LARGEST = 20_000


async def play(data: bytes, pieces: int) -> bytes:
    start, data = (data[0] % 4, data[1:]) if data else (0, data)
    mailbox = MemoryMailbox()
    for _ in range(3):
        await mailbox.append(1, _MESSAGE)
    backend = Backend(mailbox, message_bytes=_LARGEST)
    before = backend.services.budget.free
    if start < 2:
        wire = Wire(backend, secure=start == 1, pieces=pieces)
    else:
        wire = await signed_in(backend, pieces=pieces)
        if start == 3:
            await wire.ask(b"s SELECT INBOX")
    wire.take()
    await wire.send(data)
    await wire.settle()
    assert wire.dialogue.buffered <= max(IMAP_LINE, _LARGEST) + len(data)
    faults = [facts for event, facts in backend.log.lines if event.endswith("_failed")]
    assert not faults, faults
    wire.dialogue.close()
    assert backend.services.budget.free == before
    assert not any(backend.mailbox.watchers.values())
    return wire.take()


def check(told: bytes) -> None:
    """Each answer begins as one; the octets of literals are passed over."""
    at = 0
    while at < len(told):
        assert _START.match(told, at), told[at : at + 80]
        while True:
            end = told.index(b"\r\n", at) + 2
            literal = _LITERAL.search(told, at, end)
            if literal is None:
                break
            at = end + int(literal[1])
        at = end


def fuzz(data: bytes) -> None:
    with patch.object(dialogue, "IMAP_MESSAGE_IN_MEMORY", 4):  # so that some messages are handed on while they come
        whole = asyncio.run(play(data, 0))
        check(whole)
        assert asyncio.run(play(data, 1)) == whole
