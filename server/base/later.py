"""What is told beside the way of a message: put off a moment, so that one telling serves all that came meanwhile.

Invariants:
- What is asked for while the work runs is done after it, never lost.
- `close` interrupts nothing: half a telling would be told twice or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress


class Later:
    """Has `work` done once, `seconds` after it was first asked for, however often it is asked for until then."""

    def __init__(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        self._work = work
        self._seconds = seconds
        self._is_asked = False
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def soon(self) -> None:
        """Ask for it. Returns at once."""
        self._is_asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Do it now, for the last time. Raises what the work raises."""
        self._hurry.set()
        self.soon()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._is_asked:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._seconds)
            self._is_asked = False
            await self._work()
