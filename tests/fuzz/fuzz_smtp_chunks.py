"""Invariant: however the bytes are cut, chunks of BDAT and the commands between them are the same; a chunk is as many
octets behind its line as that says, whatever they are; a content of lines holds no bare CR or LF wherever it was cut,
and a binary one none in its header.

The first byte chooses how the bytes are cut, and whether the content is binary.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from server.base.errors import CaduceeError
from server.smtp import commands
from server.smtp.content import Content
from server.smtp.reader import Reader

LINE = 64

Seen = list[tuple[str, bytes]]


def dialogue(data: bytes, step: int) -> Seen:
    """What is read, up to a BDAT that nobody understands: the session ends there."""
    reader, left, seen, piece = Reader(LINE), 0, Seen(), b""
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        while True:
            if left:
                taken = reader.take(left)
                left -= len(taken)
                piece += taken
                if left:
                    break
                seen.append(("chunk", piece))
                piece = b""
                continue
            try:
                line = reader.line()
            except CaduceeError as error:
                seen.append(("error", error.reason.encode()))
                continue
            if line is None:
                break
            seen.append(("line", line))
            if line.upper().startswith(b"BDAT "):
                try:
                    left = commands.chunk(line[5:].decode("latin-1")).octets
                except CaduceeError:
                    return seen
    return seen


class Doors:
    """Policy and acceptor that take whatever comes."""

    async def content(self, *_: object) -> None:
        return None

    def leads_to(self, *_: object) -> None:
        return None

    async def accept(self, _: object, data: bytes) -> bytes:
        return data


async def taken(chunks: list[bytes], binary: bool) -> bytes:
    """What reaches accept. Raises CaduceeError."""
    doors: Any = SimpleNamespace(policy=Doors(), acceptor=Doors(), follows=False)
    nobody: Any = None
    content = Content(doors, "", nobody, "", (), lambda _: nobody, lambda _: True, chunked=True, binary=binary)
    for chunk in chunks:
        await content.add(chunk)
    accepted: Any = await content.end()
    assert content.octets == len(accepted)
    return bytes(accepted)


def fuzz(data: bytes) -> None:
    first, data = (data[0] if data else 0), data[1:]
    whole = dialogue(data, max(1, len(data)))
    assert dialogue(data, first % 17 + 1) == whole
    assert dialogue(data, 1) == whole
    chunks = []
    for number, (kind, value) in enumerate(whole):
        if kind == "chunk":
            assert commands.chunk(whole[number - 1][1][5:].decode("latin-1")).octets == len(value)
            chunks.append(value)
    binary, expected = bool(first & 0x80), b"".join(chunks)
    lines = expected.partition(b"\r\n\r\n")[0] if binary else expected
    clean = not {b"\r", b"\n"} & {bytes([octet]) for octet in lines.replace(b"\r\n", b"")}
    try:
        assert asyncio.run(taken(chunks, binary)) == expected
    except CaduceeError:
        assert not clean
    else:
        assert clean
