"""One domain's share of the sender's work: its messages in hand, its connections, and whether it is left alone now.

A lane never waits for another: a peer that is dead or slow holds up its own connections and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from server.base import clock
from server.sender.link import Link, LinkLost, Outcome, refused
from server.sender.mx import Exchangers, NoHost
from server.sender.schedule import back_off
from server.sender.work import Work

CONNECTIONS = 4  # to one domain: Postfix refuses more than some from one client, and four fill a line
BACKLOG = 50  # works in hand a domain; past it the lease leaves the domain to later or to other workers
REUSED = 100  # messages over one connection; then a new one shares the peer's load anew
IDLE_SECONDS = 5.0  # an open connection waits so long for more


class Unreachable(Exception):
    """No host of the domain could be spoken to; `outcome` holds for each recipient there."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


@dataclass(eq=False)
class Lane:
    """The state of one domain."""

    domain: str
    works: deque[Work] = field(default_factory=deque)
    links: int = 0
    failures: int = 0
    closed_until: float = 0.0
    more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def open(self) -> bool:
        """Whether more work may be leased for it."""
        return clock.monotonic() >= self.closed_until and len(self.works) < BACKLOG

    def add(self, work: Work) -> None:
        self.works.append(work)
        self.more.set()

    async def next(self) -> Work | None:
        """The next work, waiting a moment while a connection is open; None when the connection should go."""
        if not self.works:
            self.more.clear()
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self.more.wait()
            except TimeoutError:
                return None
        return self.works.popleft() if self.works else None

    async def connect(
        self, exchangers: Exchangers, open_link: Callable[[str, str], Awaitable[Link]]
    ) -> tuple[Link, str]:
        """A connection to the first host that can be spoken to, and that host's name. Raises Unreachable."""
        lost = LinkLost("no host")
        try:
            for host in await exchangers.of(self.domain):
                for address in host.addresses:
                    try:
                        link = await open_link(self.domain, address)
                    except LinkLost as error:
                        lost = error
                    else:
                        self.failures = 0
                        return link, host.name
        except NoHost as error:
            if error.permanent:
                raise Unreachable(refused("5.1.2", str(error))) from error
            lost = LinkLost(str(error), "4.4.3")
        self.failures += 1
        self.closed_until = clock.monotonic() + back_off(self.failures).total_seconds()
        raise Unreachable(Outcome(False, False, lost.status, lost.text))
