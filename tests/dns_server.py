"""A small real DNS server on loopback, UDP and TCP: what resolvers of the product ask in tests."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

# name → record type → records as text; a name without records of the type asked is there and has none.
Zones = Mapping[str, Mapping[str, Sequence[str]]]
TTL = 60


class DnsServer:
    """Answers from `zones`. `silent` names get no answer, `failing` ones SERVFAIL, `long` ones only over TCP."""

    def __init__(self, zones: Zones) -> None:
        self.zones = dict(zones)
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        self.long: set[str] = set()
        self.port = 0

    def answer(self, query: bytes, *, over_tcp: bool) -> bytes | None:
        asked = dns.message.from_wire(query)
        (question,) = asked.question
        name = question.name.to_text(omit_final_dot=True).lower()
        reply = dns.message.make_response(asked)
        reply.flags |= dns.flags.AA
        if name in self.silent:
            return None
        if name in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.zones:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif name in self.long and not over_tcp:
            reply.flags |= dns.flags.TC
        else:
            kind = dns.rdatatype.to_text(question.rdtype)
            records = self.zones[name].get(kind, ())
            if records:
                reply.answer.append(dns.rrset.from_text(question.name, TTL, "IN", kind, *records))
        return reply.to_wire()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        answer = self._server.answer(data, over_tcp=False)
        if answer is not None:
            self._transport.sendto(answer, address)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def dns_server(zones: Zones, host: str = "127.0.0.1") -> AsyncIterator[DnsServer]:
    """A server that runs while the block does; `port` says where."""
    server = DnsServer(zones)

    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = server.answer(await reader.readexactly(length), over_tcp=True)
                if answer is not None:
                    writer.write(struct.pack("!H", len(answer)) + answer)
        writer.close()

    listener = await asyncio.start_server(over_tcp, host, 0)
    server.port = listener.sockets[0].getsockname()[1]
    datagrams, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Datagrams(server), local_addr=(host, server.port)
    )
    try:
        yield server
    finally:
        datagrams.close()
        listener.close()


@contextlib.contextmanager
def dns_in_a_thread(zones: Zones) -> Iterator[DnsServer]:
    """The same for tests without a loop of their own: the server has one in its own thread."""
    loop, started, made = asyncio.new_event_loop(), threading.Event(), list[DnsServer]()

    async def serve(stop: asyncio.Event) -> None:
        async with dns_server(zones) as server:
            made.append(server)
            started.set()
            await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(stop),), name="dns")
    thread.start()
    try:
        assert started.wait(10), "the DNS server did not start"
        yield made[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
