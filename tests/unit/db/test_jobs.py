"""The loop of periodic tasks: work follows work, rest follows none, a failure stops nothing, draining ends a piece."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from server import jobs
from server.base import clock
from server.jobs import Jobs, Task


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def warning(self, event: str, task: str, error: Exception) -> None:
        self.events.append((event, task))


def start(*tasks: Task) -> tuple[Jobs, Log]:
    log = Log()
    context: Any = SimpleNamespace(log=log)
    return Jobs(context, tasks), log


async def test_a_piece_that_did_something_is_followed_by_the_next_at_once() -> None:
    left, rested = [3, 2, 1], asyncio.Event()

    async def work() -> int:
        if not left:
            rested.set()
            return 0
        return left.pop()

    running, log = start(Task("work", 3600, work))
    await asyncio.wait_for(rested.wait(), 5)
    await running.drain(clock.monotonic() + 5)
    await running.close()
    assert (left, log.events) == ([], [])


async def test_a_failure_is_told_and_stops_neither_the_task_nor_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FAILURE_SECONDS", 0.0)
    troubles = [ValueError("a secret"), asyncpg.ConnectionDoesNotExistError("away")]
    again, other = asyncio.Event(), asyncio.Event()

    async def fails_twice() -> int:
        if troubles:
            raise troubles.pop(0)
        again.set()
        return 0

    async def goes_on() -> None:
        other.set()

    running, log = start(Task("fails", 0, fails_twice), Task("other", 3600, goes_on))
    await asyncio.wait_for(asyncio.gather(again.wait(), other.wait()), 5)
    await running.drain(clock.monotonic() + 5)
    assert log.events == [("task_failed", "fails"), ("task_waits", "fails")]


async def test_draining_lets_a_piece_finish_and_closing_ends_one_that_does_not() -> None:
    begun, go, finished = asyncio.Event(), asyncio.Event(), []

    async def piece() -> int:
        begun.set()
        await go.wait()
        finished.append(1)
        return 1

    async def endless() -> int:
        await asyncio.Event().wait()
        return 0

    running, _ = start(Task("piece", 0, piece), Task("endless", 0, endless))
    await begun.wait()
    draining = asyncio.create_task(running.drain(clock.monotonic() + 0.2))
    await asyncio.sleep(0)
    go.set()
    await draining
    assert finished == [1]
    await running.close()
