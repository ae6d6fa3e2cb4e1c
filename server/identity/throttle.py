"""How many failed sign-ins are answered before the answer is "try again later".

Invariants:
- Nothing is counted for an account alone: who knows an address cannot lock its owner out from elsewhere.
- A right app password passes, however many wrong ones came before it from the same office: its 160 bits cannot be
  tried, and the forgotten telephone that polls with an old password must not stop the practice.
- An unknown account is counted exactly like a known one.
So the throttle bounds what guessing costs us and warns the operator; it never decides about a right password.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from datetime import timedelta

import asyncpg

from server.base import clock
from server.identity import queries

WINDOW = timedelta(minutes=15)
ACCOUNT_FAILURES = 10  # of one account from one network: a person who types, a device with an old password
NETWORK_FAILURES = 100  # of one network: a hospital behind one address has many such devices
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
        now = clock.now()
        rows = await self._pool.fetch(queries.ADD_FAILURES, [of_network, of_account], now, now - WINDOW)
        failures: dict[bytes, int] = {row["bucket"]: row["failures"] for row in rows}
        if failures[of_network] == 1:
            await self._pool.execute(queries.FORGET_FAILURES, now - WINDOW)
        return failures[of_network] > NETWORK_FAILURES or failures[of_account] > ACCOUNT_FAILURES

    def _bucket(self, *words: str) -> bytes:
        text = "\0".join(("failure 1", *words))
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
