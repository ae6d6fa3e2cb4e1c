from __future__ import annotations

import asyncio

from server.base.later import Later

LONG = 600.0


class Work:
    """Counts how often it was done; waits where it is told to."""

    def __init__(self) -> None:
        self.begun = self.done = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> None:
        self.begun += 1
        await self.go.wait()
        self.done += 1


async def until(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_asked_often_it_is_done_once() -> None:
    work = Work()
    later = Later(work, 0.0)
    for _ in range(5):
        later.soon()
    await until(lambda: work.done == 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert work.done == 1


async def test_what_is_asked_for_while_it_runs_is_done_after_it() -> None:
    work = Work()
    later = Later(work, 0.0)
    work.go.clear()
    later.soon()
    await until(lambda: work.begun == 1)
    later.soon()
    work.go.set()
    await until(lambda: work.done == 2)


async def test_closing_waits_for_nothing_but_the_work() -> None:
    work = Work()
    later = Later(work, LONG)
    later.soon()
    async with asyncio.timeout(10):
        await later.close()
    assert work.done == 1


async def test_closing_interrupts_nothing() -> None:
    work = Work()
    later = Later(work, 0.0)
    work.go.clear()
    later.soon()
    await until(lambda: work.begun == 1)
    closing = asyncio.create_task(later.close())
    await asyncio.sleep(0)
    work.go.set()
    async with asyncio.timeout(10):
        await closing
    assert work.begun == work.done == 2
