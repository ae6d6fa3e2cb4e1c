"""The LDAP edge over real sockets, asked by OpenLDAP's ldapsearch and with raw bytes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crypto.pki import development
from server.app import Context, Running, Sockets
from server.base import clock, log
from server.base.settings import Settings
from server.ldap.edge import serve
from server.ldap.grammar import encode
from tests.programs import need


@dataclass
class Listening:
    port: int
    tls_port: int
    root: Path


@pytest.fixture
async def ldap(tmp_path: Path) -> AsyncIterator[Listening]:
    running, listening = await start(tmp_path)
    yield listening
    await running.drain(clock.monotonic() + 5)
    await running.close()


async def start(tmp_path: Path) -> tuple[Running, Listening]:
    development.create(tmp_path / "pki", "msg.exemple.fr", clock.now(), ["localhost", "127.0.0.1"])
    settings = Settings(home=tmp_path, domain="msg.exemple.fr")
    context = Context(settings=settings, role="ldap", worker=0, pool=None, log=log.configure("ldap"))  # type: ignore[arg-type]
    bound = {name: _bound() for name in ("ldap", "ldap_tls")}
    running = await serve(context, Sockets(bound))
    ports = (bound["ldap"].getsockname()[1], bound["ldap_tls"].getsockname()[1])
    return running, Listening(*ports, tmp_path / "pki" / "root.pem")


def _bound() -> socket.socket:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


async def ldapsearch(ldap: Listening, url: str, *words: str) -> tuple[int, str]:
    program = need("ldapsearch")
    environment = os.environ | {"LDAPTLS_CACERT": str(ldap.root), "LDAPTLS_REQCERT": "demand"}
    process = await asyncio.create_subprocess_exec(
        program, "-LLL", "-x", "-o", "nettimeout=20", "-H", url, *words,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize("way", ["clear", "starttls", "tls"])
async def test_ldapsearch_reads_the_root_dse(ldap: Listening, way: str) -> None:
    url = f"ldaps://127.0.0.1:{ldap.tls_port}" if way == "tls" else f"ldap://127.0.0.1:{ldap.port}"
    status, output = await ldapsearch(ldap, url, *(["-ZZ"] if way == "starttls" else []), "-s", "base", "-b", "", "+")
    assert status == 0, output
    assert "supportedLDAPVersion: 3" in output
    assert "namingContexts: dc=msg,dc=exemple,dc=fr" in output
    assert ("supportedExtension: 1.3.6.1.4.1.1466.20037" in output) == (way == "clear")


async def test_ldapsearch_elsewhere(ldap: Listening) -> None:
    status, output = await ldapsearch(ldap, f"ldap://127.0.0.1:{ldap.port}", "-b", "dc=autre")
    assert status == 32, output
    status, output = await ldapsearch(ldap, f"ldap://127.0.0.1:{ldap.port}", "-b", "dc=msg,dc=exemple,dc=fr", "cn=a*")
    assert status == 53, output


async def test_garbage_is_answered_and_closed(ldap: Listening) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ldap.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    assert b"1.3.6.1.4.1.1466.20036" in answer
    assert b"Traceback" not in answer
    writer.close()


async def test_what_follows_start_tls_in_clear_is_not_answered(ldap: Listening) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ldap.port)
    writer.write(
        encode(1, "extendedReq", {"requestName": b"1.3.6.1.4.1.1466.20037"}) + encode(2, "delRequest", b"cn=x")
    )
    answer = await asyncio.wait_for(reader.read(), 20)
    assert b"requests came along with StartTLS" in answer
    writer.close()


async def test_a_client_that_speaks_no_tls_is_left(ldap: Listening) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ldap.tls_port)
    writer.write(encode(1, "unbindRequest", None))
    assert b"vendorName" not in await asyncio.wait_for(reader.read(), 20)
    writer.close()


async def test_drain_says_goodbye(tmp_path: Path) -> None:
    running, listening = await start(tmp_path)
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    writer.write(encode(1, "bindRequest", {"version": 3, "name": b"", "authentication": ("simple", b"")}))
    assert await asyncio.wait_for(reader.read(64), 20)
    await running.drain(clock.monotonic() + 5)
    assert b"the server is shutting down" in await asyncio.wait_for(reader.read(), 20)
    writer.close()
