"""Makes the index of the directory."""

from __future__ import annotations

from directory.national.reading import Progress
from directory.queries import Connection


async def refresh(connection: Connection, progress: Progress, whole: bool) -> int:
    from directory.load import _index

    return await _index(connection, progress)
