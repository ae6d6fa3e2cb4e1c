"""The role `jobs`: what has to happen again and again and nobody waits for. It listens on no port.

Each room that has such work gives one function that does a bounded piece and says how much it did. A piece that did
something is followed by the next at once, else after the task's pause; a failure is logged and tried again. Functions
must bear being run by several workers at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from server.app import Context, Running, Sockets
from server.base import clock
from server.db.pool import trouble
from server.identity.holders import Missing
from server.identity.hygiene import LOOK_SECONDS, Hygiene
from server.identity.local import standing
from server.identity.sessions.sessions import Sessions
from server.mailbox.beside import handed
from server.mailbox.blocks.ahead import Ahead
from server.mailbox.keys import FOLLOW_SECONDS, look
from server.mailbox.maintenance import Rewrapper, collect_content, fill_key_pool
from server.mailbox.store import Store
from server.record.intake import Intake
from server.record.prescriptions import forget_prescriptions
from server.record.signatures import Signatures
from server.transport.alarms import Alarms
from server.transport.local_queue import LocalQueue
from server.transport.notices import Notices
from server.transport.retention import trim
from server.trust.follow import POLL_SECONDS, Follower

FAILURE_SECONDS: Final = 5.0  # a task that failed waits this long at least: what it needs may be away


@dataclass(frozen=True, slots=True)
class Task:
    """`work` does one bounded piece and says how much; with nothing done the task rests for `pause` seconds."""

    name: str
    pause: float
    work: Callable[[], Awaitable[int | None]]


class Jobs:
    """The tasks of one worker, each in a loop of its own."""

    def __init__(self, context: Context, tasks: Sequence[Task]) -> None:
        self._log = context.log
        self._draining = asyncio.Event()
        self._loops = [asyncio.create_task(self._repeat(task), name=task.name) for task in tasks]

    async def _repeat(self, task: Task) -> None:
        while not self._draining.is_set():
            pause = task.pause
            try:
                if await task.work():
                    pause = 0.0
            except Exception as error:  # whatever one task meets, it and the others go on
                away = trouble(error)
                self._log.warning("task_waits" if away else "task_failed", task=task.name, error=error)
                pause = max(pause, FAILURE_SECONDS)
            try:
                await asyncio.wait_for(self._draining.wait(), pause)
            except TimeoutError:
                continue

    async def drain(self, deadline: float) -> None:
        """Let each task finish the piece it is at, until `deadline`."""
        self._draining.set()
        if self._loops:
            await asyncio.wait(self._loops, timeout=max(0.0, deadline - clock.monotonic()))

    async def close(self) -> None:
        """End what still runs: a piece is a transaction, so nothing is left half done."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)


def tasks(context: Context) -> list[Task]:
    """All tasks of the product. Raises ValueError without keyring, edge keys or anchors."""
    pool, edge, keyring = context.pool, context.edge, context.keyring
    anchors, stampers = context.anchors, context.timestamp_anchors
    if edge is None or keyring is None or anchors is None or stampers is None:
        raise ValueError("jobs need the keyring, the edge keys and trust anchors")
    store = Store(pool, edge, keyring)
    signatures = Signatures(pool, anchors, stampers)
    trust = Follower(pool, context.settings.trust, anchors, context.log)  # what is revoked, for the verdicts
    hygiene = Hygiene(pool, edge, trust, anchors, context.own)
    return [
        Task("trust", POLL_SECONDS, trust.look),
        Task("deliver", 1.0, LocalQueue(pool, edge, keyring, anchors, context.settings).deliver),
        Task("file", 1.0, Intake(store, signatures, context.log).some),
        Task("keys", FOLLOW_SECONDS, partial(look, pool, store.keys)),
        Task("rewrap", 1.0, partial(Rewrapper(keyring).some, pool)),
        Task("view_blocks", 15.0, Ahead(store).some),
        Task("spare_mailboxes", 5.0, partial(fill_key_pool, pool, keyring)),
        Task("tell_holders", 5.0, Notices(pool, edge, keyring, context.settings).tell),
        Task("alarms", 60.0, Alarms(pool, edge, context.settings).compare),
        Task("collect_content", 60.0, partial(collect_content, pool)),
        Task("certificates", LOOK_SECONDS, hygiene.look),
        Task("forget_handed", 300.0, partial(handed.forget, pool)),
        Task("forget", 300.0, partial(trim, pool)),
        Task("forget_prescriptions", 3600.0, partial(forget_prescriptions, pool)),
        Task("end_sessions", 600.0, Sessions(pool, edge).sweep),
        Task("missing_professionals", 3600.0, Missing(pool, edge).some),
        Task("forget_invitations", 600.0, partial(standing.sweep, pool)),
    ]


async def serve(context: Context, sockets: Sockets) -> Running:
    """Start every task."""
    return Jobs(context, tasks(context))
