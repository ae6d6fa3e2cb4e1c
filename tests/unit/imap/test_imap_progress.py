"""INPROGRESS (RFC 9585): a client that waits hears every ten seconds how far its command is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.imap_doubles import NOW, Backend, signed_in


async def test_a_long_copy_tells_how_far_it_is() -> None:
    backend = Backend()
    for _ in range(5):
        await backend.mailbox.append(1, b"a: b\r\n\r\n")
    passed = iter(range(1_000))
    # The clock goes on by four seconds each time it is asked.
    backend.services = replace(backend.services, now=lambda: NOW + timedelta(seconds=4 * next(passed)))
    wire = await signed_in(backend)
    await wire.ask(b"s SELECT INBOX")
    told = (await wire.ask(b"tag COPY 1:5 Sent")).splitlines()
    assert told[:-1] == [b'* OK [INPROGRESS ("tag" 2 5)] Still at it']
    assert told[-1].startswith(b"tag OK [COPYUID")
    assert b"INPROGRESS (NIL 2 5)" in await wire.ask(b"a]b COPY 1:5 Sent")


async def test_a_short_one_does_not() -> None:
    backend = Backend()
    await backend.mailbox.append(1, b"a: b\r\n\r\n")
    wire = await signed_in(backend)
    await wire.ask(b"s SELECT INBOX")
    assert b"INPROGRESS" not in await wire.ask(b"a COPY 1 Sent")
