"""What is kept of a provider: fetched anew when it is old, asked for again when it does not do, and never lost."""

from __future__ import annotations

import asyncio

import pytest

from server.base import clock
from server.base.errors import Reason, TryLater
from server.base.https import NotFetched
from server.relying.provider import FRESH, RETRY, Kept


class Source:
    """A provider that is up or down."""

    def __init__(self) -> None:
        self.version = 0
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> int:
        await self.gate.wait()
        self.version += 1
        if self.down:
            raise NotFetched("down")
        return self.version


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's hand."""
    hand = [1_000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: hand[0])
    return hand


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_is_fetched_once_until_it_is_old(hands: list[float]) -> None:
    source = Source()
    kept = Kept(source.fetch)
    assert await asyncio.gather(*(kept.get() for _ in range(5))) == [1] * 5
    hands[0] += FRESH - 1
    assert await kept.get() == 1
    hands[0] += 1
    # Nobody waits for what is only old.
    source.gate.clear()
    assert await kept.get() == 1
    source.gate.set()
    await settled()
    assert await kept.get() == 2


async def test_it_goes_on_while_the_provider_is_down(hands: list[float]) -> None:
    source = Source()
    kept = Kept(source.fetch)
    source.down = True
    for _ in range(2):
        with pytest.raises(TryLater) as refused:
            await kept.get()
        assert refused.value.reason is Reason.PROVIDER_AWAY
    source.down = False
    assert await kept.get() == 3  # as soon as it is there
    source.down = True
    hands[0] += FRESH
    assert await kept.get() == 3
    await settled()
    assert await kept.get() == 3


async def test_forged_names_make_us_ask_rarely(hands: list[float]) -> None:
    source = Source()
    kept = Kept(source.fetch)
    assert await kept.get() == 1
    hands[0] += RETRY
    assert await kept.get(anew=True) == 2
    for _ in range(100):
        assert await kept.get(anew=True) == 2
    hands[0] += RETRY
    assert await kept.get(anew=True) == 3
