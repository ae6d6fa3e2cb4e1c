"""The LDAP edge in this process: strangers where they may read, and who reads too much or takes nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from crypto.edge import EdgeKeys
from crypto.pki import development
from directory.load import load
from server.app import Context, Sockets
from server.base import clock, log
from server.base.harvest import Harvest
from server.base.settings import Settings
from server.ldap import edge
from tests.conftest import Database
from tests.directory_sample import write
from tests.ldap_messages import bind, decode, encode, search
from tests.ldap_server import NOW, SUFFIX

MARTIN = ("equalityMatch", {"attributeDesc": b"sn", "assertionValue": b"martin"})


@asynccontextmanager
async def serving(home: Path, pool: Any = None, *, anonymous: bool = True) -> AsyncIterator[tuple[edge.LdapEdge, int]]:
    development.create(home / "pki", "msg.exemple.fr", clock.now(), ["localhost", "127.0.0.1"])
    settings = Settings(home=home, domain="msg.exemple.fr", directory={"anonymous": anonymous})
    context = Context(settings, "ldap", 0, pool, log.configure("ldap"), edge=EdgeKeys.new())
    bound = {}
    for name in ("ldap", "ldap_tls"):
        bound[name] = socket.socket()
        bound[name].bind(("127.0.0.1", 0))
    running = await edge.serve(context, Sockets(bound))
    assert isinstance(running, edge.LdapEdge)
    try:
        yield running, bound["ldap"].getsockname()[1]
    finally:
        await running.drain(clock.monotonic() + 5)
        await running.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> list[tuple[str, Any]]:
    """The operations of the answer, to its end."""
    writer.write(message)
    found: list[tuple[str, Any]] = []
    while not found or found[-1][0] == "searchResEntry":
        head = await asyncio.wait_for(reader.readexactly(2), 60)
        if head[1] >= 0x80:
            head += await reader.readexactly(head[1] - 0x80)
            size = int.from_bytes(head[2:], "big")
        else:
            size = head[1]
        found.append(decode(head + await reader.readexactly(size))["protocolOp"])
    return found


async def test_strangers_read_where_they_may_and_not_for_ever(database: Database, tmp_path: Path) -> None:
    owner = await database.connect()
    (tmp_path / "national").mkdir()
    await load(owner, write(tmp_path / "national"), NOW)
    pool = await database.pool("ldap")
    fields = {"baseObject": SUFFIX.encode(), "scope": "wholeSubtree", "filter": MARTIN}
    async with serving(tmp_path, pool) as (running, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        running._service.harvest = Harvest(entries=4, per_second=0.01)
        first = await ask(reader, writer, search(1, **fields))
        assert [kind for kind, _ in first] == ["searchResEntry"] * 3 + ["searchResDone"]
        assert first[-1][1]["resultCode"] == "success"
        assert (await ask(reader, writer, search(2, **fields)))[-1][1]["resultCode"] == "success"  # 4 - 3 > 0
        ((_, refused),) = await ask(reader, writer, search(3, **fields))
        assert refused["resultCode"] == "busy"
        assert refused["diagnosticMessage"] == b"too many entries were read from here; ask again in 300 s"
        # What says what this server is can always be read.
        assert (await ask(reader, writer, search(4)))[-1][1]["resultCode"] == "success"
        # Another connection of the same network is the same client.
        other = await asyncio.open_connection("127.0.0.1", port)
        assert (await ask(*other, search(1, **fields)))[-1][1]["resultCode"] == "busy"
        other[1].close()
        # A database that is away is said so, and the connection goes on.
        running._service.harvest = Harvest()
        pool.terminate()
        ((_, away),) = await ask(reader, writer, search(5, **fields))
        assert away["resultCode"] == "unavailable"
        writer.close()
    await owner.close()


async def test_choices_that_may_be_added_are_not_known(tmp_path: Path) -> None:
    """A scope and a way to sign in of some later RFC."""
    scope = search(1).replace(b"\x04\x00\x0a\x01\x00", b"\x04\x00\x0a\x01\x03", 1)
    method = bind(2, "x", "abc").replace(b"\x80\x03abc", b"\x85\x03abc")
    async with serving(tmp_path) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await ask(reader, writer, scope))[-1][1]["resultCode"] == "protocolError"
        assert (await ask(reader, writer, method))[-1][1]["resultCode"] == "authMethodNotSupported"
        assert (await ask(reader, writer, search(3)))[-1][1]["resultCode"] == "success"
        writer.close()


async def test_our_own_fault_is_temporary_and_ends_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as (running, port):

        async def broken(*_: object) -> None:
            raise RuntimeError("secret")

        monkeypatch.setattr(running._service.search, "find", broken)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ((_, told),) = await ask(reader, writer, search(1, baseObject=SUFFIX.encode(), scope="wholeSubtree"))
        assert told["resultCode"] == "unavailable"
        assert b"secret" not in told["diagnosticMessage"]
        assert (await ask(reader, writer, search(2)))[-1][1]["resultCode"] == "success"
        writer.close()


async def test_who_takes_nothing_is_left_and_costs_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "LDAP_SEND_SECONDS", 0.5)
    schema = {"baseObject": b"cn=subschema", "attributes": [b"+"]}
    async with serving(tmp_path) as (running, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        assert (await ask(reader, writer, search(1)))[-1][1]["resultCode"] == "success"
        (connection,) = running._connections.values()
        number, most = 1, 0
        while running._connections:  # until it is left, whatever the sockets between us hold
            writer.write(b"".join(search(number + n, **schema) for n in range(10)))
            number += 10
            most = max(most, connection.writer.transport.get_write_buffer_size())
            await asyncio.sleep(0.001)
        assert 0 < most < 1_000_000
        writer.close()


async def test_drain_says_goodbye(tmp_path: Path) -> None:
    async with serving(tmp_path) as (running, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        anonymous = {"version": 3, "name": b"", "authentication": ("simple", b"")}
        assert (await ask(reader, writer, encode(1, "bindRequest", anonymous)))[-1][1]["resultCode"] == "success"
        await running.drain(clock.monotonic() + 5)
        assert b"the server is shutting down" in await asyncio.wait_for(reader.read(), 20)
        writer.close()


async def test_a_client_that_speaks_no_tls_is_left(tmp_path: Path) -> None:
    async with serving(tmp_path) as (running, _):
        port = running._servers[1].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(encode(1, "unbindRequest", None))
        assert b"vendorName" not in await asyncio.wait_for(reader.read(), 60)
        writer.close()
