"""Questions asked at the same time go together, and each gets its own answer."""

from __future__ import annotations

import asyncio

import pytest

from server.db.gathered import AT_ONCE, Gathered


class Database:
    """Answers in tens, a statement at a time, when it is let."""

    def __init__(self) -> None:
        self.statements: list[list[int]] = []
        self.let = asyncio.Event()

    async def ask(self, questions: list[int]) -> list[int]:
        self.statements.append(questions)
        await self.let.wait()
        if 0 in questions:
            raise ConnectionError
        return [question * 10 for question in questions]


async def test_who_asks_alone_waits_for_nobody_and_the_next_go_together() -> None:
    database = Database()
    gathered = Gathered(database.ask)
    first = gathered.ask(1)
    await asyncio.sleep(0)
    assert database.statements == [[1]]
    others = [gathered.ask(number) for number in range(2, AT_ONCE + 4)]
    database.let.set()
    assert await first == 10
    assert await asyncio.gather(*others) == [number * 10 for number in range(2, AT_ONCE + 4)]
    assert [len(questions) for questions in database.statements] == [1, AT_ONCE, 2]


async def test_an_error_is_told_to_all_of_its_statement_and_to_no_other() -> None:
    database = Database()
    gathered = Gathered(database.ask)
    asked = [gathered.ask(number) for number in (1, 0)]
    await asyncio.sleep(0)
    later = gathered.ask(2)
    database.let.set()
    assert [type(one) for one in await asyncio.gather(*asked, return_exceptions=True)] == [ConnectionError] * 2
    assert await later == 20


async def test_who_goes_away_is_passed_over() -> None:
    database = Database()
    gathered = Gathered(database.ask)
    first, gone, kept = gathered.ask(1), gathered.ask(2), gathered.ask(3)
    gone.cancel()
    await asyncio.sleep(0)
    first.cancel()
    database.let.set()
    assert await kept == 30
    assert database.statements == [[1, 3]]
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await gathered.ask(4) == 40
