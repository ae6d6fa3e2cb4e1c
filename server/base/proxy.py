"""PROXY protocol version 2: a load balancer says before the first octet of a connection whose connection it passes on.

    signature "\r\n\r\n\0\r\nQUIT\n" · version 2 and command · family and protocol · length (2) · addresses · TLVs

Rules (HAProxy's PROXY protocol, 2020-03-05, §2.2 and §5):
1. The header is wanted from the addresses that the operator named, and from them always; from nobody else is it read.
   Who could choose would choose his address.
2. Version 1 is text and refused. What is not over TCP is refused.
3. A LOCAL command is the balancer itself (its health check), and so is a connection of a family it does not know.
4. The header is bounded in octets and time. TLVs are not looked at: nothing here believes a balancer on a certificate.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import structlog

from server.base.errors import ProtocolViolation, Reason
from server.base.limits import PROXY_HEADER_BYTES, PROXY_HEADER_SECONDS
from server.base.sections import Network

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = len(SIGNATURE) + 4
_LOCAL, _PROXY = 0x20, 0x21  # version 2 in the high four bits
_UNKNOWN, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_ADDRESS_BYTES = {_TCP4: 4, _TCP6: 16}

Factory = Callable[[], asyncio.Protocol]

log = structlog.get_logger()


class Header(NamedTuple):
    """`octets` of the header, and whose connection it is: address and port, None for the balancer's own."""

    octets: int
    client: tuple[str, int] | None


def parse(data: bytes) -> Header | None:
    """The header at the start of `data`; None while more of it must come. Raises ProtocolViolation MALFORMED."""
    start = data[: len(SIGNATURE)]
    if not SIGNATURE.startswith(start):
        raise _malformed("no PROXY header of version 2")
    if len(data) < _FIXED:
        return None
    command, family = data[12], data[13]
    octets = _FIXED + int.from_bytes(data[14:16])
    if command not in (_LOCAL, _PROXY):
        raise _malformed("unknown version or command")
    if octets > PROXY_HEADER_BYTES:
        raise _malformed("header too long")
    if len(data) < octets:
        return None
    if command == _LOCAL or family == _UNKNOWN:
        return Header(octets, None)
    size = _ADDRESS_BYTES.get(family)
    if size is None:
        raise _malformed("neither TCP over IPv4 nor over IPv6")
    # Source address, destination address, source port, destination port.
    if octets < _FIXED + 2 * size + 4:
        raise _malformed("addresses missing")
    source = ipaddress.ip_address(data[_FIXED : _FIXED + size])
    port = int.from_bytes(data[_FIXED + 2 * size : _FIXED + 2 * size + 2])
    return Header(octets, (str(source), port))


def _malformed(sentence: str) -> ProtocolViolation:
    return ProtocolViolation(Reason.MALFORMED, sentence)


def behind(proxies: Sequence[Network], edge: Factory) -> Factory:
    """`edge`, reached by way of the balancers in `proxies` too; the edge sees the client's address as its peer's."""
    return partial(_Proxied, proxies, edge) if proxies else edge


class _Proxied(asyncio.Protocol):
    """The first octets of a connection; then its edge takes over."""

    def __init__(self, proxies: Sequence[Network], edge: Factory) -> None:
        self._proxies = proxies
        self._edge = edge
        self._read = b""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if any(address in network for network in self._proxies):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PROXY_HEADER_SECONDS, self._transport.abort)
        else:
            self._hand_over(self._transport)

    def data_received(self, data: bytes) -> None:
        self._read += data
        try:
            header = parse(self._read)
        except ProtocolViolation as error:
            log.warning("proxy_header_refused", why=error.sentence)
            self._transport.abort()
            return
        if header is None:
            return
        transport = self._transport
        if header.client is not None:
            transport = cast(asyncio.Transport, _Named(transport, header.client))
        self._hand_over(transport, self._read[header.octets :])

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _hand_over(self, transport: asyncio.Transport, data: bytes = b"") -> None:
        if self._timer is not None:
            self._timer.cancel()
        protocol = self._edge()
        self._transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data:
            protocol.data_received(data)


class _Named:
    """A transport whose peer is the client that the balancer named; all else is the socket's."""

    def __init__(self, transport: asyncio.Transport, client: tuple[str, int]) -> None:
        self._transport = transport
        self._client = client

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._client if name == "peername" else self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
