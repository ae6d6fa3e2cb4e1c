"""Which hosts take mail for a domain (RFC 5321 §5.1): MX by preference, the domain itself without, none for a null MX.

What DNS cannot say now is temporary; only its clear no is permanent. Answers are kept as long as they say, bounded.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from server.base import clock

SHORTEST_SECONDS = 30.0  # a peer's DNS is not asked for each message, whatever it says
LONGEST_SECONDS = 3600.0  # a peer that moves is found again within an hour
LOOKUP_SECONDS = 10.0
CACHED = 10_000  # domains; the trust space has fewer
HOSTS = 10  # tried for one domain
ADDRESSES = 4  # of one host
DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Host:
    """One mail exchanger: its name without final dot, and its addresses (IPv4 first)."""

    name: str
    addresses: tuple[str, ...]


class NoHost(Exception):
    """There is no host to try; the text is for the message's sender."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class Exchangers:
    """The look-ups of one process."""

    def __init__(self, resolvers: Sequence[str] = (), own_name: str = "") -> None:
        """`resolvers`: "host" or "host:port" each, none for the system's. `own_name`: this server's, in an MX list."""
        self._resolver = dns.asyncresolver.Resolver(configure=not resolvers)
        if resolvers:
            pairs = [one.rpartition(":") if one.count(":") == 1 else (one, "", "") for one in resolvers]
            self._resolver.nameservers = [host or port for host, _, port in pairs]
            self._resolver.nameserver_ports = {host: int(port) for host, _, port in pairs if host and port.isdigit()}
            self._resolver.port = DNS_PORT
        self._resolver.lifetime = LOOKUP_SECONDS
        self._own = own_name
        self._known: dict[str, tuple[float, tuple[Host, ...]]] = {}

    async def of(self, domain: str) -> tuple[Host, ...]:
        """The hosts to try, in order; never empty.

        Raises NoHost: for good when there is no such domain, it takes no mail, or leads back to this server; for now
        when DNS does not answer.
        """
        now = clock.monotonic()
        known = self._known.get(domain)
        if known is not None and known[0] > now:
            return known[1]
        seconds, names = await self._names(domain)
        hosts = []
        for name in names[:HOSTS]:
            addresses = await self._addresses(name)
            if addresses:
                hosts.append(Host(name, addresses))
        if not hosts:
            raise NoHost("no host that takes mail for this domain has an address")
        if len(self._known) >= CACHED:
            self._known.clear()
        found = tuple(hosts)
        self._known[domain] = now + min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS), found
        return found

    async def _names(self, domain: str) -> tuple[float, list[str]]:
        try:
            answer = await self._resolver.resolve(domain, dns.rdatatype.MX, search=False)
        except dns.resolver.NXDOMAIN:
            raise NoHost("this domain does not exist", permanent=True) from None
        except dns.resolver.NoAnswer:
            return SHORTEST_SECONDS, [domain]  # RFC 5321 §5.1: the domain itself is its only exchanger
        except (dns.exception.DNSException, OSError) as error:
            raise NoHost("DNS does not answer for this domain") from error
        records = [(record.preference, random.random(), record.exchange) for record in answer]  # noqa: S311 -- to spread load
        # RFC 7505 §3: a single MX of "." says that the domain takes no mail.
        if len(records) == 1 and records[0][2] == dns.name.root:
            raise NoHost("this domain takes no mail", permanent=True)
        named = [(preference, name.to_text(omit_final_dot=True).lower()) for preference, _, name in sorted(records)]
        # RFC 5321 §5.1: from a host that finds itself in the list, only those before it are tried.
        own = min((preference for preference, name in named if name == self._own), default=None)
        names = [name for preference, name in named if own is None or preference < own]
        if not names:
            raise NoHost("mail for this domain leads back to this server", permanent=True)
        ttl = answer.rrset.ttl if answer.rrset is not None else SHORTEST_SECONDS
        return float(ttl), names

    async def _addresses(self, name: str) -> tuple[str, ...]:
        found: list[str] = []
        failure: Exception | None = None
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                answer = await self._resolver.resolve(name, kind, search=False)
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                continue
            except (dns.exception.DNSException, OSError) as error:
                failure = error
                continue
            found += [record.address for record in answer]
        if not found and failure is not None:
            raise NoHost("DNS does not answer for this domain") from failure
        return tuple(found[:ADDRESSES])
