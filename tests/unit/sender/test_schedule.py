"""When attempts follow each other."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from server.sender.schedule import DELAY_TOLD, JITTER, LONGEST_BACK_OFF, STEPS, Fate, back_off, fate, next_attempt
from tests.store_world import NOON

PATIENCE = timedelta(hours=48)


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_attempts_grow_apart_and_what_failed_together_does_not_come_back_together(chance: float) -> None:
    waits = [(next_attempt(attempt, NOON, chance) - NOON).total_seconds() / 60 for attempt in range(1, 20)]
    for attempt, wait in enumerate(waits):
        step = STEPS[min(attempt, len(STEPS) - 1)]
        assert step * (1 - JITTER) <= wait <= step * (1 + JITTER)
    assert all(second >= first for first, second in pairwise(waits))


def test_delay_is_told_once_and_patience_ends() -> None:
    def after(hours: float, told: bool) -> Fate:
        return fate(NOON, NOON + timedelta(hours=hours), told, PATIENCE)

    assert after(0, False) is Fate.WAITS
    assert after(DELAY_TOLD / timedelta(hours=1), False) is Fate.DELAYED
    assert after(5, True) is Fate.WAITS
    assert after(48, True) is after(48, False) is Fate.EXPIRED


def test_a_domain_is_left_alone_for_longer_and_never_for_long() -> None:
    waits = [back_off(failures) for failures in range(1, 40)]
    assert all(second >= first for first, second in pairwise(waits))
    assert waits[0] < timedelta(minutes=1)
    assert waits[-1] == LONGEST_BACK_OFF
