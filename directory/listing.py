"""Makes the index of the directory."""

from __future__ import annotations

from collections.abc import Callable

from directory.queries import Connection

Progress = Callable[[str, int], None]


async def refresh(connection: Connection, progress: Progress, whole: bool) -> int:
    from directory.load import _index

    return await _index(connection, progress)
