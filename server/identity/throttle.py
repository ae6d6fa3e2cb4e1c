"""How many failed sign-ins are answered before the answer is "try again later".

Software (`failed`):
- Nothing is counted for an account alone: who knows an address cannot lock its owner out from elsewhere.
- A right app password passes, however many wrong ones came before it from the same office: its 160 bits cannot be
  tried, and the forgotten telephone that polls with an old password must not stop the practice.
- An unknown account is counted exactly like a known one.
So it bounds what guessing costs us and warns the operator; it never decides about a right password.

People (`attempt`), whose passwords can be guessed (docs/decisions, chosen passwords):
- A try is counted before anything is compared, and given back when it was right: however many come at once, no more are
  compared than may be.
- A browser that signed in to the account before has a count of its own: what others do elsewhere, or from the same
  network, never keeps it out.
- From other browsers, after so many failures of a day, six digits no longer do; a code of 74 bits or a passkey does.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from server.base import clock
from server.identity import queries

WINDOW = timedelta(minutes=15)
DAY = timedelta(days=1)
ACCOUNT_FAILURES = 10  # of one account from one network: a person who types, a device with an old password
NETWORK_FAILURES = 100  # of one network: a hospital behind one address has many such devices
# Of an account from all unknown browsers in a day. Who has the password guesses six digits three times in a million.
GUESSES = 30
_IPV6_SITE = 64  # bits of an IPv6 address that one customer holds (RFC 6177)


def network_of(host: str) -> str:
    """The network that an attacker cannot leave for free: an IPv4 address, the /64 of an IPv6 one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_SITE), strict=False))
    return str(address)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A person's try. `closed`: nothing is compared; `guessed`: six digits do not do, `first_guessed` from now on."""

    closed: bool
    guesses: int
    buckets: tuple[bytes, ...]

    @property
    def guessed(self) -> bool:
        return self.guesses > GUESSES

    @property
    def first_guessed(self) -> bool:
        return self.guesses == GUESSES + 1


class Throttle:
    """Failed sign-ins, counted in the database for all workers."""

    def __init__(self, pool: asyncpg.Pool, key: bytes) -> None:
        self._pool = pool
        self._key = key

    async def failed(self, account: str, host: str) -> bool:
        """Count a failure of `account` (a normalised address, known or not) from `host`; True: it is one too many."""
        network = network_of(host)
        of_network = self._bucket("network", network)
        of_account = self._bucket("account", network, account)
        failures = await self._count([of_network, of_account], WINDOW)
        if failures[of_network] == 1:
            await self._pool.execute(queries.FORGET_FAILURES, clock.now() - DAY)
        return failures[of_network] > NETWORK_FAILURES or failures[of_account] > ACCOUNT_FAILURES

    async def attempt(self, account: str, host: str, device: bytes | None) -> Attempt:
        """Count a person's try at `account`; `device` is a browser known to it. `right` gives it back."""
        if device is not None:
            own = self._bucket("device", device.hex(), account)
            failures = await self._count([own], WINDOW)
            return Attempt(failures[own] > ACCOUNT_FAILURES, 0, (own,))
        network = network_of(host)
        of_network = self._bucket("people of network", network)
        of_account = self._bucket("person", network, account)
        guesses = self._bucket("person", account)
        failures = await self._count([of_network, of_account], WINDOW)
        if failures[of_network] > NETWORK_FAILURES or failures[of_account] > ACCOUNT_FAILURES:
            return Attempt(True, 0, (of_network, of_account))
        # Only what is compared is a guess: who is kept out already adds nothing to what others meet.
        failures |= await self._count([guesses], DAY)
        if failures[of_network] == 1:
            await self._pool.execute(queries.FORGET_FAILURES, clock.now() - DAY)
        return Attempt(False, failures[guesses], (of_network, of_account, guesses))

    async def right(self, attempt: Attempt) -> None:
        """It was no failure."""
        await self._pool.execute(queries.TAKE_BACK_FAILURES, list(attempt.buckets))

    async def _count(self, buckets: list[bytes], window: timedelta) -> dict[bytes, int]:
        now = clock.now()
        rows = await self._pool.fetch(queries.ADD_FAILURES, buckets, now, now - window)
        return {row["bucket"]: row["failures"] for row in rows}

    def _bucket(self, *words: str) -> bytes:
        text = "\0".join(("failure 1", *words))
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
