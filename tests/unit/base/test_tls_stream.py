"""TLS through memory buffers, over real sockets, on both loops: nothing lost, every end told once."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from crypto.pki import development
from server.base.tls import client_context, server_context
from server.base.tls_stream import TlsStream

BULK = bytes(range(256)) * 4_096  # 1 MiB: 64 records


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    development.create(folder, "exemple.fr", datetime.now(UTC))
    return folder


class Edge(asyncio.Protocol):
    """What an edge sees. It answers what `answer` says, or takes note."""

    def __init__(self, answer: Callable[[bytes], bytes] = lambda _: b"") -> None:
        self.answer = answer
        self.seen = bytearray()
        self.events: list[str] = []
        self.lost = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.seen += data
        self.transport.write(self.answer(data))

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append("lost")
        self.lost.set()


@asynccontextmanager
async def listening(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def contexts(pki: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    client = client_context(pki / "root.pem")
    client.maximum_version = version
    return client, server_context(pki / "server.pem", pki / "server.key")


def connect(port: int, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    """A client that blocks, told of every end that is none (`suppress_ragged_eofs`)."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    return client.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False, session=session)


def read_all(client: ssl.SSLSocket) -> bytes:
    said = bytearray()
    while piece := client.recv(65_536):
        said += piece
    return bytes(said)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_bytes_pass_both_ways_and_both_ends_say_so(pki: Path, version: ssl.TLSVersion) -> None:
    client, server = contexts(pki, version)
    edge = Edge(lambda data: data)

    def talk(port: int) -> bytes:
        with connect(port, client) as line:
            line.sendall(b"small")
            assert line.recv(100) == b"small"
            echoed = bytearray()
            for start in range(0, len(BULK), 65_536):
                line.sendall(BULK[start : start + 65_536])
                while len(echoed) < start + 65_536:
                    echoed += line.recv(65_536)
            line.unwrap().close()  # raises unless the server says close_notify too
            return bytes(echoed)

    async with listening(lambda: TlsStream(edge, server, 20)) as port:
        assert await asyncio.to_thread(talk, port) == BULK
        await edge.lost.wait()
    assert edge.events == ["made", "eof", "lost"]
    assert bytes(edge.seen) == b"small" + BULK
    assert edge.transport.get_extra_info("sslcontext") is server
    assert edge.transport.get_extra_info("cipher")[1] == version.name.replace("TLSv1_", "TLSv1.")


async def test_a_stream_cut_anywhere_is_the_same_stream(pki: Path) -> None:
    client, server = contexts(pki)
    edge = Edge()

    def talk(port: int) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        line = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            done = False
            while not done:
                try:
                    line.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
                sealed = outgoing.read()
                for start in range(0, len(sealed), 7):
                    plain.sendall(sealed[start : start + 7])
                if not done:
                    incoming.write(plain.recv(65_536))
            for size in (1, 20_000, 3):
                line.write(b"x" * size)
            sealed = outgoing.read()
            for start in range(0, len(sealed), 1_999):
                plain.sendall(sealed[start : start + 1_999])
                time.sleep(0.001)  # so that pieces are pieces

    async with listening(lambda: TlsStream(edge, server, 20)) as port:
        await asyncio.to_thread(talk, port)
        await edge.lost.wait()
    assert bytes(edge.seen) == b"x" * 20_004


async def test_what_is_no_tls_never_reaches_the_edge(pki: Path) -> None:
    _, server = contexts(pki)
    edge = Edge()

    def talk(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(b"EHLO stranger\r\n")
            return plain.recv(100)

    async with listening(lambda: TlsStream(edge, server, 20)) as port:
        alert = await asyncio.to_thread(talk, port)
    assert alert[:1] in (b"\x15", b"")  # an alert, or nothing at all
    assert edge.events == []


async def test_who_does_not_shake_hands_is_let_go(pki: Path) -> None:
    _, server = contexts(pki)
    edge = Edge()

    def talk(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            try:
                return plain.recv(100)
            except ConnectionResetError:
                return b""

    async with listening(lambda: TlsStream(edge, server, 0.05)) as port:
        assert await asyncio.to_thread(talk, port) == b""
    assert edge.events == []


async def test_an_end_without_close_notify_is_an_end(pki: Path) -> None:
    client, server = contexts(pki)
    edge = Edge(lambda data: data)

    def talk(port: int) -> None:
        line = connect(port, client)
        line.sendall(b"half a command")
        assert line.recv(100) == b"half a command"
        line.close()  # Python's socket says no close_notify

    async with listening(lambda: TlsStream(edge, server, 20)) as port:
        await asyncio.to_thread(talk, port)
        await edge.lost.wait()
    assert bytes(edge.seen) == b"half a command"
    assert edge.events[-1] == "lost"
    assert edge.events.count("lost") == 1


async def test_a_broken_record_ends_the_connection(pki: Path) -> None:
    client, server = contexts(pki)
    edge = Edge()

    def talk(port: int) -> None:
        line = connect(port, client)
        line.sendall(b"whole")
        with socket.socket(fileno=line.detach()) as plain:
            plain.settimeout(20)
            plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            while plain.recv(65_536):
                pass

    async with listening(lambda: TlsStream(edge, server, 20)) as port:
        await asyncio.to_thread(talk, port)
        await edge.lost.wait()
    assert bytes(edge.seen) == b"whole"
    assert edge.events == ["made", "lost"]


async def test_last_words_arrive_though_the_peer_went_on_talking(pki: Path) -> None:
    client, server = contexts(pki)

    class Closing(Edge):
        def data_received(self, data: bytes) -> None:
            self.transport.pause_reading()
            self.transport.write(b"x" * 100_000 + b"421 bye\r\n")
            self.transport.close()
            self.transport.write(b"too late")

    edge = Closing()

    def talk(port: int) -> bytes:
        with connect(port, client) as line:
            for _ in range(20):
                line.sendall(b"NOOP\r\n" * 100)
            said = read_all(line)  # raises when the end is no close_notify, or a reset
            line.close()
            return said

    async with listening(lambda: TlsStream(edge, server, 20)) as port:
        assert await asyncio.to_thread(talk, port) == b"x" * 100_000 + b"421 bye\r\n"
        await edge.lost.wait()
    assert edge.transport.is_closing()
    assert edge.events == ["made", "lost"]


async def test_a_slow_reader_is_the_edges_to_wait_for(pki: Path) -> None:
    client, server = contexts(pki)
    edge = Edge(lambda _: BULK * 8)
    reading = asyncio.Event()
    loop = asyncio.get_running_loop()

    def talk(port: int) -> int:
        with connect(port, client) as line:
            line.sendall(b"all of it")
            asyncio.run_coroutine_threadsafe(reading.wait(), loop).result(20)
            count = 0
            while count < len(BULK) * 8:
                count += len(line.recv(65_536))
            return count

    async with listening(lambda: TlsStream(edge, server, 20)) as port:
        talking = asyncio.create_task(asyncio.to_thread(talk, port))
        while "pause" not in edge.events:
            await asyncio.sleep(0.01)
        assert edge.transport.get_write_buffer_size() > 0
        reading.set()
        assert await talking == len(BULK) * 8
        await edge.lost.wait()
    assert "resume" in edge.events


async def test_paused_reading_leaves_the_bytes_in_the_socket(pki: Path) -> None:
    client, server = contexts(pki)

    class Pausing(Edge):
        def data_received(self, data: bytes) -> None:
            if not self.seen:
                self.transport.pause_reading()
            super().data_received(data)

    edge = Pausing()

    def talk(port: int) -> None:
        with connect(port, client) as line:
            line.sendall(BULK * 16)
            line.unwrap().close()

    async with listening(lambda: TlsStream(edge, server, 20)) as port:
        talking = asyncio.create_task(asyncio.to_thread(talk, port))
        while not edge.seen:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(edge.seen) <= 256 * 1024  # one read of the loop
        edge.transport.resume_reading()
        await talking
        await edge.lost.wait()
    assert len(edge.seen) == len(BULK) * 16


class Upgrading(Edge):
    """Says one line in clear, then TLS."""

    def __init__(self, server: ssl.SSLContext) -> None:
        super().__init__(lambda data: data)
        self.server = server
        self.upgrade: asyncio.Task[None]
        self.before: bytes | None = None

    def data_received(self, data: bytes) -> None:
        if not self.seen:
            self.seen += data
            self.transport.write(b"220 go ahead\r\n")
            self.upgrade = asyncio.get_running_loop().create_task(self._upgrade(self.transport))
        else:
            super().data_received(data)

    async def _upgrade(self, plain: asyncio.Transport) -> None:
        secured = TlsStream(self, self.server, 20)
        await secured.upgrade(plain)
        self.before = bytes(self.seen)
        self.transport = secured


async def test_an_upgrade_loses_nothing_that_came_with_the_handshake(pki: Path) -> None:
    client, server = contexts(pki)
    edge = Upgrading(server)

    def talk(port: int) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        line = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(b"STARTTLS\r\n")
            assert plain.recv(100) == b"220 go ahead\r\n"
            while True:
                try:
                    line.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65_536))
            line.write(b"EHLO at once\r\n")  # leaves with Finished, in one packet
            plain.sendall(outgoing.read())
            while True:
                try:
                    return line.read(100)
                except ssl.SSLWantReadError:
                    incoming.write(plain.recv(65_536))

    async with listening(lambda: edge) as port:
        assert await asyncio.to_thread(talk, port) == b"EHLO at once\r\n"
        await edge.upgrade
        await edge.lost.wait()
    assert edge.before == b"STARTTLS\r\n", "the edge goes on before it hears what came under TLS"
    assert edge.events.count("made") == 1


async def test_clear_bytes_behind_starttls_spoil_the_handshake(pki: Path) -> None:
    _, server = contexts(pki)
    edge = Upgrading(server)

    def talk(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(b"STARTTLS\r\n")
            assert plain.recv(100) == b"220 go ahead\r\n"
            plain.sendall(b"MAIL FROM:<injected@exemple.fr>\r\n")
            while plain.recv(100):
                pass

    async with listening(lambda: edge) as port:
        await asyncio.to_thread(talk, port)
        with pytest.raises(ssl.SSLError):
            await edge.upgrade
    assert bytes(edge.seen) == b"STARTTLS\r\n"


async def test_a_peer_that_leaves_in_the_handshake_is_told_to_who_waits(pki: Path) -> None:
    _, server = contexts(pki)
    edge = Upgrading(server)

    def talk(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(b"STARTTLS\r\n")
            plain.recv(100)

    async with listening(lambda: edge) as port:
        await asyncio.to_thread(talk, port)
        with pytest.raises(ConnectionError):
            await edge.upgrade


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed(pki: Path, version: ssl.TLSVersion) -> None:
    client, server = contexts(pki, version)

    def talk(port: int) -> bool | None:
        with connect(port, client) as first:
            first.sendall(b"x")
            assert first.recv(1) == b"x"  # tickets come with the first bytes
            session = first.session
        with connect(port, client, session) as second:
            return second.session_reused

    async with listening(lambda: TlsStream(Edge(lambda data: data), server, 20)) as port:
        assert await asyncio.to_thread(talk, port) is True
