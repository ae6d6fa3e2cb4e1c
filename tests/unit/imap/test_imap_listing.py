"""A LIST with the worst of patterns over the most of folders costs its own session only."""

from __future__ import annotations

import asyncio

from server.base.limits import FOLDERS_PER_OWNER, IMAP_PATTERNS
from tests.imap_doubles import Backend, signed_in


async def test_others_have_a_turn_while_patterns_are_judged() -> None:
    backend = Backend()
    for number in range(FOLDERS_PER_OWNER - 5):
        backend.mailbox._make(f"{number:04d}/" + "a" * 200)
    wire = await signed_in(backend)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    patterns = " ".join('"' + "%*a" * number + 'b"' for number in range(40, 40 + IMAP_PATTERNS))
    assert await wire.ask(f'a LIST "" ({patterns})'.encode()) == b"a OK LIST completed\r\n"
    assert turns > FOLDERS_PER_OWNER / 10
    task.cancel()
