"""What our pool takes from asyncpg under names that are not promised. A version that moves one must fail here."""

from __future__ import annotations

import inspect

import asyncpg
from asyncpg.connection import Connection
from asyncpg.pool import Pool, PoolConnectionHolder, PoolConnectionProxy

READ = "0.32.0"


def test_the_release_is_the_one_that_was_read() -> None:
    assert asyncpg.__version__ == READ, "read asyncpg/pool.py again, then change this"


def test_a_release_does_no_more_than_ours_for_a_connection_with_nothing_to_end() -> None:
    released = inspect.getsource(PoolConnectionHolder.release)
    assert released.rstrip().endswith("self._setup_inactive_callback()")
    for step in (
        "self._con.is_closed()",
        "self._con._protocol.queries_count >= self._max_queries",
        "self._generation != self._pool._generation",
        "self._con._protocol._is_cancelling()",
        "await self._con._reset()",
        "self._release()",
    ):
        assert step in released, step
    reset = inspect.getsource(Connection._reset)
    assert "self._listeners.clear()" in reset
    assert "self._protocol.is_in_transaction() or self._top_xact is not None" in reset
    assert "connection._con._on_release()" in inspect.getsource(Pool.release)
    assert "_holder" in PoolConnectionProxy.__slots__
    assert "_max_queries" in Pool.__slots__
