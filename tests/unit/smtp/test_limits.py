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
from server.app import Sockets
from server.base import clock, limits
from server.smtp.edge import SmtpEdge
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


def sign_in(client: Client) -> None:
    assert client.line().startswith("220")
    sign_in_after_greeting(client)


def sign_in_after_greeting(client: Client) -> None:
    client.send(b"EHLO poste.cabinet.fr\r\n")
    while client.line()[3:4] == "-":
        pass
    client.send(b"STARTTLS\r\n")
    assert client.line().startswith("220")
    client.handshake()
    client.send(b"EHLO poste.cabinet.fr\r\nAUTH PLAIN AGRyQG1zZy5leGVtcGxlLmZyAGFiY2QtZWZnaA==\r\n")
    while not client.line().startswith("235"):
        pass


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


async def test_who_drips_gains_no_time(place: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    """An octet now and then, signed in, in a command and in a content: the whole has one time."""
    monkeypatch.setattr(limits, "SMTP_IDLE_SECONDS", 0.5)
    monkeypatch.setattr(limits, "SMTP_CONTENT_SECONDS", 0.5)

    def drip(client: Client) -> None:
        while not client.hears(0.02):
            client.send(b"x")

    def in_a_command(client: Client) -> None:
        sign_in(client)
        drip(client)
        assert client.line().startswith("421 4.4.2")

    def in_a_content(client: Client) -> None:
        sign_in(client)
        client.send(b"MAIL FROM:<dr@msg.exemple.fr>\r\nRCPT TO:<pharmacie@msg.exemple.fr>\r\nDATA\r\n")
        assert [client.line()[:3] for _ in range(3)] == ["250", "250", "354"]
        drip(client)
        assert client.line().startswith("421 4.4.2")

    def in_a_chunk(client: Client) -> None:
        sign_in(client)
        client.send(b"MAIL FROM:<dr@msg.exemple.fr>\r\nRCPT TO:<pharmacie@msg.exemple.fr>\r\nBDAT 1000\r\n")
        assert [client.line()[:3] for _ in range(2)] == ["250", "250"]
        drip(client)
        assert client.line().startswith("421 4.4.2")

    for dialogue in (in_a_command, in_a_content, in_a_chunk):
        await talk(place, dialogue)
    assert place[1].budget.used == 0


async def test_a_crowd_of_strangers_from_one_place_waits_and_the_known_are_not_counted(
    place: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SMTP_STRANGERS", 2)
    here, _, port = place

    def crowd() -> None:
        known = Client(here, port, False)
        sign_in(known)
        strangers = [Client(here, port, False) for _ in range(2)]
        assert [one.line()[:3] for one in strangers] == ["220", "220"]
        late = Client(here, port, False)
        assert late.line().startswith("421 4.3.2")
        sign_in_after_greeting(strangers[0])
        assert Client(here, port, False).line().startswith("220")
        for one in (known, late, *strangers):
            one.close()

    await asyncio.to_thread(crowd)


async def test_a_crowd_that_never_shakes_hands_is_cut_off(place: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SMTP_STRANGERS", 2)
    here, service, _ = place
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    edge = await SmtpEdge.listen(service, Sockets({"submission_tls": listener}), {"submission_tls": service.tls})

    def crowd() -> None:
        silent = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as late, contextlib.suppress(ConnectionError):
            assert late.recv(1) == b""
        silent.pop().close()
        while True:  # until the server has seen that one left
            try:
                client = Client(here, port, True)
                break
            except OSError:
                time.sleep(0.01)
        assert client.line().startswith("220")
        client.close()
        silent.pop().close()

    await asyncio.to_thread(crowd)
    await edge.drain(clock.monotonic())


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
