"""Messages too large to wait in memory, and messages that hold NUL."""

from __future__ import annotations

import hashlib

import pytest

from server.base.errors import Reason, TryLater
from server.imap import dialogue
from tests.imap_doubles import Backend, MemoryIncoming, Wire, signed_in

READER = b"dXNlcj1lcXVpcGVAbXNnLmV4ZW1wbGUuZnIBYXV0aD1CZWFyZXIgZ29vZAEB"  # who may read a shared mailbox and no more
TEXT = b"Subject: un\r\n\r\n" + b"bonjour\r\n" * 20


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts as large here."""
    monkeypatch.setattr(dialogue, "IMAP_MESSAGE_IN_MEMORY", 100)
    monkeypatch.setattr(dialogue, "LARGE_MESSAGE_BYTES", 50)


def literal(data: bytes) -> bytes:
    return b"{%d+}\r\n%s" % (len(data), data)


async def append(wire: Wire, *messages: bytes) -> bytes:
    return await wire.ask(b"a APPEND INBOX " + b" ".join(map(literal, messages)))


@pytest.mark.parametrize("pieces", [0, 1, 7])
async def test_a_large_message_passes(pieces: int) -> None:
    backend = Backend(budget=300)
    wire = await signed_in(backend, pieces=pieces)
    told = await append(wire, TEXT, b"Subject: deux\r\n\r\n", TEXT + b"z")
    assert told == b"a OK [APPENDUID 1001 1:3] APPEND completed\r\n"
    assert list(backend.mailbox.contents.values()) == [TEXT, b"Subject: deux\r\n\r\n", TEXT + b"z"]
    assert backend.services.budget.free == 300


async def test_a_large_message_passes_under_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    add = MemoryIncoming.add

    async def counted(self: MemoryIncoming, data: bytes) -> None:
        pieces.append(len(data))
        await add(self, data)

    monkeypatch.setattr(MemoryIncoming, "add", counted)
    backend = Backend()
    wire = await signed_in(backend)
    assert b"c OK" in await wire.ask(b"c COMPRESS DEFLATE")
    data = b"\r\n".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(50))
    assert b"a OK" in await append(wire, data)
    assert list(backend.mailbox.contents.values()) == [data]
    # A literal is inflated in pieces, not line by line.
    assert max(pieces) > 1_000


async def test_what_goes_wrong_on_the_way_is_told_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: MemoryIncoming, data: bytes) -> None:
        raise TryLater(Reason.STORE_AWAY, "The store is away")

    backend = Backend()
    wire = await signed_in(backend, pieces=50)
    with monkeypatch.context() as broken:
        broken.setattr(MemoryIncoming, "add", fail)
        assert await append(wire, TEXT) == b"a NO [UNAVAILABLE] The store is away\r\n"
    assert not backend.mailbox.contents
    assert b"a OK" in await append(wire, TEXT)
    assert backend.services.budget.free == 500_000


async def test_nothing_is_stored_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: MemoryIncoming, data: bytes) -> None:
        raise AssertionError

    backend = Backend()
    wire = await signed_in(backend)
    monkeypatch.setattr(MemoryIncoming, "add", never)
    backend.mailbox.room = -1
    assert (await append(wire, TEXT)).startswith(b"a NO [OVERQUOTA] ")
    backend.mailbox.room = 1
    delegate = Wire(backend)
    assert b"a OK" in await delegate.ask(b"a AUTHENTICATE XOAUTH2 " + READER)
    assert (await append(delegate, TEXT)).startswith(b"a NO [NOPERM] ")


async def test_a_large_text_is_joined_to_what_stands_before_it() -> None:
    backend = Backend()
    wire = await signed_in(backend)
    told = await wire.ask(b"a APPEND INBOX CATENATE (TEXT " + literal(TEXT) + b" TEXT " + literal(TEXT) + b")")
    assert b"a OK" in told
    assert list(backend.mailbox.contents.values()) == [TEXT + TEXT]
    # Only a message is large: no other argument is.
    assert b"a BAD" in await wire.ask(b"a APPEND INBOX CATENATE (URL " + literal(b"x" * 200) + b")")


async def test_catenate_may_not_grow_past_the_limit() -> None:
    wire = await signed_in(Backend(message_bytes=300))
    assert b"a OK" in await append(wire, TEXT)
    told = await wire.ask(b"a APPEND INBOX CATENATE (URL /INBOX/;UID=1 URL /INBOX/;UID=1)")
    assert told.startswith(b"a NO [TOOBIG] ")


async def test_nul_goes_in_and_comes_back_as_literal8() -> None:
    wire = await signed_in(Backend())
    data = b"Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b"
    assert b"a OK" in await wire.ask(b"a APPEND INBOX ~{%d+}\r\n%s" % (len(data), data))
    await wire.ask(b"s SELECT INBOX")
    assert b"BINARY[1] ~{3}\r\na\0b)" in await wire.ask(b"b FETCH 1 BINARY.PEEK[1]")
    # RFC 9051 §4.3.1: NUL stands in no other literal.
    assert b"BODY[1] {3}\r\na\x80b)" in await wire.ask(b"c FETCH 1 BODY.PEEK[1]")
