"""Questions that many sessions ask at the same time go to the database in one statement.

A statement costs its round trip, two switches of process and often an fsync, whatever it asks: under load that is the
most of what a sign-in or a reading costs.

Rules:
1. One statement of a kind is on its way at a time, and what is asked meanwhile goes together in the next. Who asks
   alone waits for nobody.
2. Each gets its own answer, or all the error of the statement: a question fails by the way to the database, never by
   what another one asks.
3. Who is cancelled while waiting is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

AT_ONCE = 50  # questions in one statement: with more the first one waits for longer than a statement saves


class Gathered(Generic[Question, Answer]):
    """One kind of question of a process. `ask_all` answers several, in their order."""

    def __init__(self, ask_all: Callable[[list[Question]], Awaitable[Sequence[Answer]]]) -> None:
        self._ask_all = ask_all
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    def ask(self, question: Question) -> asyncio.Future[Answer]:
        """The answer, to be awaited."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = loop.create_task(self._run())
        return answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                asked = [one for one in asked if not one[1].done()]
                try:
                    found = await self._ask_all([question for question, _ in asked]) if asked else ()
                except Exception as error:
                    for _, answer in asked:
                        if not answer.done():
                            answer.set_exception(error)
                    continue
                for (_, answer), one in zip(asked, found, strict=True):
                    if not answer.done():
                        answer.set_result(one)
        finally:
            self._asking = None
