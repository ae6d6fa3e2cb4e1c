"""The role's process: a round every few seconds takes what is due, so that a new peer is asked about soon."""

from __future__ import annotations

import asyncio
from typing import Final

from server.app import Context, Running, Sockets
from server.db.pool import trouble
from server.fetcher.refresh import Refresher

ROUND_SECONDS: Final = 5.0
FORGET_ROUNDS: Final = 720  # once an hour


class Fetcher:
    """The rounds of one process."""

    def __init__(self, context: Context, refresher: Refresher) -> None:
        self._log = context.log
        self._refresher = refresher
        self._draining = asyncio.Event()
        self._loop = asyncio.create_task(self._rounds(), name="fetch")

    async def _rounds(self) -> None:
        count = 0
        while not self._draining.is_set():
            try:
                await self._refresher.round()
                if count % FORGET_ROUNDS == 0:
                    await self._refresher.forget()
            except Exception as error:  # whatever one round meets, the next one is tried
                self._log.warning("fetcher_waits" if trouble(error) is not None else "fetcher_failed", error=error)
            count += 1
            try:
                await asyncio.wait_for(self._draining.wait(), ROUND_SECONDS)
            except TimeoutError:
                continue

    async def drain(self, deadline: float) -> None:
        """Begin no round more; what is being fetched is left: nothing is half kept."""
        self._draining.set()

    async def close(self) -> None:
        """End the round, now."""
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)


async def serve(context: Context, sockets: Sockets) -> Running:
    """Start the rounds."""
    if context.anchors is None:
        raise ValueError("the fetcher needs the anchors")
    return Fetcher(context, Refresher(context.pool, context.settings, context.anchors, context.log))
