"""The PROXY header: its form, and on real sockets who must send one and whose address an edge then sees."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import uvloop

from crypto.pki import development
from server.base import clock, limits
from server.base.errors import ProtocolViolation
from server.base.proxy import SIGNATURE, Header, behind, parse
from server.base.sections import Network
from server.base.tls import client_context, server_context
from server.base.tls_stream import TlsStream

FOUR = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + (12_345).to_bytes(2) + (25).to_bytes(2)
SIX = ipaddress.ip_address("2001:db8::1").packed * 2 + (12_345).to_bytes(2) + (25).to_bytes(2)


def header(body: bytes, command: int = 0x21, family: int = 0x11) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2) + body


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (header(FOUR), Header(28, ("192.0.2.1", 12_345))),
        (header(FOUR) + b"EHLO x\r\n", Header(28, ("192.0.2.1", 12_345))),
        (header(SIX, family=0x21), Header(52, ("2001:db8::1", 12_345))),
        (header(FOUR + b"\x04\x00\x01x"), Header(32, ("192.0.2.1", 12_345))),
        (header(b"", command=0x20), Header(16, None)),
        (header(FOUR, command=0x20), Header(28, None)),
        (header(b"", family=0x00), Header(16, None)),
        (header(b"x" * (limits.PROXY_HEADER_BYTES - 16), family=0x00), Header(limits.PROXY_HEADER_BYTES, None)),
    ],
)
def test_a_header(data: bytes, expected: Header) -> None:
    assert parse(data) == expected
    for end in range(expected.octets):
        assert parse(data[:end]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 12345 25\r\n",
        b"EHLO poste.cabinet.fr\r\n",
        b"\x16\x03\x01",
        b"\r\n\r\n\0\r\nQUIT\r\n",
        header(FOUR, command=0x11),
        header(FOUR, command=0x22),
        header(FOUR, family=0x12),
        header(FOUR, family=0x31),
        header(FOUR[:-1]),
        header(FOUR, family=0x21),
        header(b"x" * (limits.PROXY_HEADER_BYTES - 15), family=0x00),
    ],
)
def test_what_is_no_header(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse(data)


class Edge(asyncio.Protocol):
    """Tells who its peer is, then repeats what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(f"{transport.get_extra_info('peername')[0]}\n".encode())

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@asynccontextmanager
async def listening(edge: Callable[[], asyncio.Protocol], *proxies: str) -> AsyncIterator[int]:
    networks: list[Network] = [ipaddress.ip_network(one) for one in proxies]
    server = await asyncio.get_running_loop().create_server(behind(networks, edge), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def told(port: int, *pieces: bytes) -> bytes:
    """What the edge says to a client that sends `pieces` and no more."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while piece := client.recv(1_000):
                said += piece
        except ConnectionResetError:
            pass
        return said


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_the_edge_sees_the_client_of_a_named_balancer(run: Callable[..., None]) -> None:
    async def main() -> None:
        async with listening(Edge, "10.0.0.0/8", "127.0.0.1") as port:
            whole = header(FOUR) + b"EHLO"
            assert await asyncio.to_thread(told, port, whole) == b"192.0.2.1\nEHLO"
            bytewise = [whole[i : i + 1] for i in range(len(whole))]
            assert await asyncio.to_thread(told, port, *bytewise) == b"192.0.2.1\nEHLO"
            assert await asyncio.to_thread(told, port, header(b"", command=0x20) + b"x") == b"127.0.0.1\nx"

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_named_balancer_must_say_whose_connection_it_is(run: Callable[..., None]) -> None:
    async def main() -> None:
        async with listening(Edge, "127.0.0.1") as port:
            for data in (b"EHLO x\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", header(FOUR[:-1]), b""):
                assert await asyncio.to_thread(told, port, data) == b""

    run(main())


async def test_nobody_else_chooses_an_address() -> None:
    async with listening(Edge, "10.0.0.0/8") as port:
        said = await asyncio.to_thread(told, port, header(FOUR))
        assert said == b"127.0.0.1\n" + header(FOUR)


async def test_a_balancer_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.base.proxy.PROXY_HEADER_SECONDS", 0.05)

    def wait(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(SIGNATURE)
            try:
                return client.recv(1)
            except ConnectionResetError:
                return b""

    async with listening(Edge, "127.0.0.1") as port:
        assert await asyncio.to_thread(wait, port) == b""


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_tls_begins_behind_the_header(run: Callable[..., None], tmp_path: Path) -> None:
    development.create(tmp_path, "exemple.fr", clock.now())
    ours, theirs = (
        server_context(tmp_path / "server.pem", tmp_path / "server.key"),
        client_context(tmp_path / "root.pem"),
    )

    def talk(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            plain.sendall(header(FOUR))
            with theirs.wrap_socket(plain, server_hostname="exemple.fr") as client:
                said = client.recv(1_000)
                client.sendall(b"EHLO")
                return said + client.recv(1_000)

    async def main() -> None:
        async with listening(lambda: TlsStream(Edge(), ours, 10), "127.0.0.1") as port:
            assert await asyncio.to_thread(talk, port) == b"192.0.2.1\nEHLO"

    run(main())
