"""The bucket of a client: what it gives, when it is empty, what it forgets."""

from __future__ import annotations

from server.base.harvest import Harvest
from server.base.limits import HARVEST_CLIENTS


def test_a_client_waits_for_as_long_as_its_bucket_fills() -> None:
    harvest = Harvest(entries=100, per_second=2.0)
    assert harvest.wait("192.0.2.1", 0.0) == 0.0
    harvest.took("192.0.2.1", 99, 0.0)
    assert harvest.wait("192.0.2.1", 0.0) == 0.0
    harvest.took("192.0.2.1", 11, 0.0)  # an answer is never cut
    assert harvest.wait("192.0.2.1", 0.0) == 5.5
    assert harvest.wait("192.0.2.1", 5.5) == 0.0
    assert harvest.wait("192.0.2.2", 0.0) == 0.0


def test_a_bucket_never_holds_more_than_it_can() -> None:
    harvest = Harvest(entries=100, per_second=2.0)
    harvest.took("a", 1, 0.0)
    harvest.took("a", 100, 1e6)
    assert harvest.wait("a", 1e6) == 0.5


def test_who_asked_longest_ago_is_forgotten_first() -> None:
    harvest = Harvest(entries=1, per_second=1.0)
    harvest.took("first", 10, 0.0)
    for number in range(HARVEST_CLIENTS - 1):
        harvest.took(f"{number}", 1, 0.0)
    assert harvest.wait("first", 0.0) > 0
    harvest.took("one more", 1, 0.0)
    assert harvest.wait("first", 0.0) == 0.0
    assert harvest.wait("0", 0.0) > 0
