"""Time, bytes and broken handshakes: what one connection may cost before it is somebody."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from crypto.pki import development
from server.base import clock, limits
from server.smtp.service import Service
from server.transport.envelope import SourceKind
from tests.conformance.smtp.test_transcripts import DOMAIN, Client, Place


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    development.create(folder, DOMAIN, clock.now())
    return folder


@pytest.fixture
async def place(pki: Path) -> AsyncIterator[tuple[Place, Service, int]]:
    here = Place(pki)
    async with here.listening(SourceKind.SUBMISSION) as (service, port):
        yield here, service, port


Where = tuple[Place, Service, int]


async def talk(where: Where, dialogue: Callable[[Client], None]) -> None:
    place, _, port = where

    def run() -> None:
        client = Client(place, port, False)
        try:
            dialogue(client)
        finally:
            client.close()

    await asyncio.to_thread(run)


async def test_the_idle_are_sent_away(place: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_SIGN_IN_SECONDS", 0.05)

    def dialogue(client: Client) -> None:
        assert client.line().startswith("220")
        assert client.line().startswith("421 4.4.2")
        assert client.rest() == b""

    await talk(place, dialogue)


async def test_a_stranger_is_not_read_for_ever(place: Where) -> None:
    def dialogue(client: Client) -> None:
        client.send(b"NOOP padding padding padding\r\n" * (limits.SMTP_UNAUTHENTICATED_BYTES // 20))
        said = client.line()
        while said.startswith(("220", "250")):
            said = client.line()
        assert said.startswith("421 4.7.0 too much sent before sign-in")

    await talk(place, dialogue)


async def test_an_endless_line_ends_the_session(place: Where) -> None:
    _, service, _ = place

    def dialogue(client: Client) -> None:
        with contextlib.suppress(ConnectionError):
            client.send(b"x" * 2_000_000)
        while service.sessions:
            time.sleep(0.01)

    await talk(place, dialogue)


def test_a_broken_handshake_leaves_no_session(pki: Path) -> None:
    """On uvloop, as the roles run."""

    async def main() -> None:
        async with Place(pki).listening(SourceKind.SUBMISSION) as (service, port):

            def dialogue() -> None:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
                    plain.recv(1000)
                    plain.sendall(b"EHLO x\r\n")
                    plain.recv(1000)
                    plain.sendall(b"STARTTLS\r\n")
                    plain.recv(1000)
                    plain.sendall(b"MAIL FROM:<dr@msg.exemple.fr>\r\n" * 100)
                    assert not plain.recv(1000).startswith(b"2")

            await asyncio.to_thread(dialogue)
            while service.sessions:
                await asyncio.sleep(0.01)

    uvloop.run(main())
