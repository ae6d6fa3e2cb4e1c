"""The change feed: who watches a folder hears soon that something happened there.

NOTIFY only shortens the wait. Announcements of a tick go together, outside the transaction that made the change (since
PostgreSQL serialises commits that carry a NOTIFY), and may be lost; so every watcher's folder is also asked for its
modseq every two seconds and after each reconnect.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from server.mailbox import queries
from server.mailbox.trouble import meaning

CHANNEL = "caducee_folders"
PAYLOAD = 7_900  # PostgreSQL takes less than 8,000 bytes
POLL_SECONDS = 2.0
RECONNECT_SECONDS = 0.5
GATHER_SECONDS = 0.05  # the first change is told at once, those of the next moment together: a NOTIFY costs 0.2 ms

log = structlog.get_logger()
Watched = tuple[int, int]  # owner id, folder id


def payloads(folders: Iterable[Watched]) -> list[str]:
    """The folders as few NOTIFY payloads: "owner.folder owner.folder …"."""
    made: list[str] = []
    line = ""
    for owner_id, folder_id in folders:
        word = f"{owner_id}.{folder_id}"
        if line and len(line) + 1 + len(word) > PAYLOAD:
            made.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return [*made, line] if line else made


def read_payload(payload: str) -> list[Watched]:
    """The folders of a payload; words that are none of ours are passed over."""
    found = []
    for word in payload.split(" "):
        owner, dot, folder = word.partition(".")
        if dot and word.isascii() and owner.isdecimal() and folder.isdecimal():
            found.append((int(owner), int(folder)))
    return found


class Announcer:
    """Tells the other processes that folders changed, once a tick for all changes since the last."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._changed: set[Watched] = set()
        self._telling: asyncio.Task[None] | None = None

    def changed(self, folders: Iterable[Watched]) -> None:
        """To be called after COMMIT. Returns at once."""
        self._changed.update(folders)
        if self._changed and (self._telling is None or self._telling.done()):
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def close(self) -> None:
        """Wait until what was announced is told."""
        if self._telling is not None:
            await self._telling

    async def _tell(self) -> None:
        while self._changed:
            folders, self._changed = sorted(self._changed), set()
            try:
                for payload in payloads(folders):
                    await self._pool.execute(queries.NOTIFY, CHANNEL, payload)
            except Exception as error:
                # Watchers ask by themselves every two seconds; a database that is away is told of elsewhere.
                if meaning(error) is None:
                    raise
                log.warning("announcement_lost", error=error)
            await asyncio.sleep(GATHER_SECONDS)


class Feed:
    """What happens in watched folders, for IDLE, NOTIFY and the web page. One LISTEN connection a process."""

    def __init__(self, pool: asyncpg.Pool, poll_seconds: float = POLL_SECONDS) -> None:
        self._pool = pool
        self._poll_seconds = poll_seconds
        self._watchers: defaultdict[Watched, set[Callable[[], None]]] = defaultdict(set)
        self._seen: dict[Watched, int | None] = {}
        self._running: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to listen; reconnects by itself until `close`."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop listening."""
        self._closing = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def watch(self, owner_id: int, folder_id: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` (quick, without arguments) when the folder may have changed or is gone; returns the un-watch.

        It may be called without need: the watcher asks the mailbox what changed.
        """
        folder = (owner_id, folder_id)
        self._watchers[folder].add(callback)

        def unwatch() -> None:
            self._watchers[folder].discard(callback)
            if not self._watchers[folder]:
                del self._watchers[folder]
                self._seen.pop(folder, None)

        return unwatch

    def _tell(self, folder: Watched) -> None:
        for callback in tuple(self._watchers.get(folder, ())):
            callback()

    async def _run(self) -> None:
        while True:
            try:
                async with self._pool.acquire() as connection:
                    await connection.add_listener(CHANNEL, self._heard)
                    try:
                        while True:
                            await self._ask(connection)
                            await asyncio.sleep(self._poll_seconds)
                    finally:
                        if not connection.is_closed():
                            await connection.remove_listener(CHANNEL, self._heard)
            except Exception as error:
                # A connection that is gone fails once more while a cancelled task leaves it, and hides the cancelling.
                if self._closing:
                    return
                if meaning(error) is None:
                    raise
                log.warning("feed_interrupted", error=error)
                await asyncio.sleep(min(RECONNECT_SECONDS, self._poll_seconds))

    def _heard(self, _connection: object, _process: int, _channel: str, payload: object) -> None:
        for folder in read_payload(str(payload)):
            self._tell(folder)

    async def _ask(self, connection: PoolConnectionProxy) -> None:
        folders = list(self._watchers)
        if not folders:
            return
        owners, numbers = [f[0] for f in folders], [f[1] for f in folders]
        for owner_id, folder_id, modseq in await connection.fetch(queries.WATCHED, owners, numbers):
            folder = (owner_id, folder_id)
            # The first answer is always told: something may have happened between the watcher's view and its watch.
            if folder not in self._seen or self._seen[folder] != modseq:
                self._seen[folder] = modseq
                self._tell(folder)
