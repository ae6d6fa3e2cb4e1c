"""Invariant: whatever comes as a stream under COMPRESS, nothing is raised or logged as a fault of ours, every answer is
well formed, and octets one by one give the same answers as all at once; what is inflated and waits is bounded.
"""

from __future__ import annotations

import asyncio

from server.base.limits import IMAP_INFLATE, IMAP_LINE
from tests.fuzz.fuzz_imap import check
from tests.imap_doubles import Backend, signed_in

_LARGEST = 20_000


async def play(data: bytes, pieces: int) -> bytes:
    backend = Backend(message_bytes=_LARGEST)
    wire = await signed_in(backend)
    await wire.ask(b"z COMPRESS DEFLATE")
    for start in range(0, len(data), pieces or max(len(data), 1)):
        wire.dialogue.feed(data[start : start + (pieces or len(data))])
        while await wire.dialogue.step():
            inflated = wire.dialogue.buffered - len(data)
            assert inflated <= max(IMAP_LINE, _LARGEST) + 2 * IMAP_INFLATE
    await wire.settle()
    faults = [facts for event, facts in backend.log.lines if event.endswith("_failed")]
    assert not faults, faults
    wire.dialogue.close()
    return wire.take()


def fuzz(data: bytes) -> None:
    whole = asyncio.run(play(data, 0))
    check(whole)
    assert asyncio.run(play(data, 1)) == whole
