"""One domain's share of the sender's work: its messages in hand, its connections, and whether it is left alone now.

A lane never waits for another: a peer that is dead or slow holds up its own connections and nothing else. While a
domain is left alone after a failure, what is due for it shares that failure instead of making the same attempt again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from server.base import clock
from server.sender.dialogue import Outcome, postponed, refused
from server.sender.link import Link, LinkLost
from server.sender.mx import Exchangers, NoHost
from server.sender.schedule import back_off
from server.sender.work import Work

CONNECTIONS = 8  # to one domain: each waits for what it delivered to be written, and Postfix takes 50 of a client
BACKLOG = 200  # works in hand a domain; past it the lease leaves the domain to later or to other workers
REUSED = 100  # messages over one connection; then a new one shares the peer's load anew
IDLE_SECONDS = 5.0  # an open connection waits so long for more


class Unreachable(Exception):
    """No host of the domain could be spoken to; `outcome` holds for each recipient there."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


@dataclass(eq=False)
class Lane:
    """The state of one domain. `short` is called when there is room for more work."""

    domain: str
    short: Callable[[], None]
    works: deque[Work] = field(default_factory=deque)
    links: int = 0  # connections, those being made counted
    resting: int = 0  # connections that wait for work
    proven: bool = False  # the last connection was made: more than one may be
    failures: int = 0
    failure: Outcome | None = None  # of the last attempt to connect
    closed_until: float = 0.0
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def full(self) -> bool:
        """Whether it has work in hand for a while."""
        return len(self.works) >= BACKLOG

    @property
    def closed(self) -> Outcome | None:
        """Why the domain is left alone now, None when it is not."""
        return self.failure if clock.monotonic() < self.closed_until else None

    @property
    def wants(self) -> bool:
        """Whether one more connection is of use."""
        return bool(self.works) and not self.resting and self.links < (CONNECTIONS if self.proven else 1)

    @property
    def forgotten(self) -> bool:
        """Whether nothing is left to remember of it."""
        return not self.works and not self.links and not self.failures

    def add(self, work: Work) -> None:
        self.works.append(work)
        self._more.set()

    def open(self) -> None:
        """Leave the domain alone no longer: the operator asked."""
        self.closed_until = 0.0

    def wake(self) -> None:
        """Let connections that wait look again."""
        self._more.set()

    async def next(self) -> Work | None:
        """The next work, waiting a moment while a connection is open; None when the connection should go."""
        if not self.works:
            self.resting += 1
            self._more.clear()
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._more.wait()
            except TimeoutError:
                return None
            finally:
                self.resting -= 1
        if len(self.works) <= BACKLOG // 2:
            self.short()
        return self.works.popleft() if self.works else None

    async def connect(self, exchangers: Exchangers, open_link: Callable[[str, str, str], Awaitable[Link]]) -> Link:
        """A connection to the first host that can be spoken to. Raises Unreachable."""
        lost = LinkLost("no host")
        try:
            for host in await exchangers.of(self.domain):
                for address in host.addresses:
                    try:
                        link = await open_link(self.domain, host.name, address)
                    except LinkLost as error:
                        lost = error
                    else:
                        self.failures, self.closed_until, self.proven = 0, 0.0, True
                        return link
        except NoHost as error:
            if error.permanent:
                raise Unreachable(refused("5.1.2", str(error))) from error
            lost = LinkLost(str(error), "4.4.3")
        self.proven = False
        if self.closed is None:  # else several connections fail at once, and that is one failure
            self.failures += 1
            self.failure = postponed(lost.status, lost.text)
            self.closed_until = clock.monotonic() + back_off(self.failures).total_seconds()
        raise Unreachable(self.failure or postponed(lost.status, lost.text))
