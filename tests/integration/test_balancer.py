"""Behind a load balancer: the client's own address stands in the trace and is what failed sign-ins are counted by."""

from __future__ import annotations

import asyncio
import imaplib
import ipaddress
import smtplib
import socket
from pathlib import Path

import pytest

from crypto.smime.anchors import TrustAnchors
from server.base.proxy import SIGNATURE
from server.identity.throttle import NETWORK_FAILURES
from tests.imap_edge import access
from tests.programs import need
from tests.smtp_edge import DOMAIN, post
from tests.store_world import DOCTOR, PHARMACY, World, message

OFFICE, OTHER = "192.0.2.77", "192.0.2.78"


def header(client: str) -> bytes:
    ends = ipaddress.ip_address(client).packed + ipaddress.ip_address("192.0.2.1").packed
    return SIGNATURE + b"\x21\x11\x00\x0c" + ends + b"\x9c\x40\x00\x19"


class Passed(smtplib.SMTP):
    """smtplib whose connection a balancer passes on."""

    def __init__(self, port: int, client: str) -> None:
        self._client = client
        super().__init__("127.0.0.1", port, local_hostname="poste.cabinet.fr", timeout=20)
        self._host = DOMAIN

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = socket.create_connection((host, port), timeout)
        connected.sendall(header(self._client))
        return connected


async def test_submission_sees_the_clients_address(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with post(world, pki, anchors, proxies=["127.0.0.0/8"]) as submission:

        def send() -> None:
            with Passed(submission.sockets.ports["submission"], OFFICE) as client:
                client.starttls(context=submission.tls())
                client.login(DOCTOR, submission.password(DOCTOR))
                client.sendmail(DOCTOR, [PHARMACY], message())

        await asyncio.to_thread(send)
    (text,) = await world.texts(PHARMACY)
    assert f"poste.cabinet.fr ([{OFFICE}])".encode() in text


async def test_failed_sign_ins_are_counted_by_the_clients_address(
    world: World, pki: Path, anchors: TrustAnchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.identity.throttle.NETWORK_FAILURES", 3)
    assert NETWORK_FAILURES > 3
    async with post(world, pki, anchors, proxies=["127.0.0.1"]) as submission:

        def fail(client: str, number: int) -> int:
            with Passed(submission.sockets.ports["submission"], client) as smtp:
                smtp.starttls(context=submission.tls())
                with pytest.raises(smtplib.SMTPAuthenticationError) as error:
                    smtp.login(f"nobody{number}@{DOMAIN}", "abcd-efgh")
                return error.value.smtp_code

        codes = [await asyncio.to_thread(fail, OFFICE, number) for number in range(3)]
        assert 454 in codes
        assert await asyncio.to_thread(fail, OTHER, 9) == 535


async def test_imap_stands_behind_it_too(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with access(world, pki, anchors, proxies=["127.0.0.1"]) as running:

        class Reader(imaplib.IMAP4):
            def _create_socket(self, timeout: float | None) -> socket.socket:
                connected = socket.create_connection(("127.0.0.1", running.port), 20)
                connected.sendall(header(OFFICE))
                return connected

        def read() -> str:
            reader = Reader(timeout=20)
            reader.host = DOMAIN
            reader.starttls(running.tls())
            reader.login(DOCTOR, running.password(DOCTOR))
            return reader.select()[0]

        assert await asyncio.to_thread(read) == "OK"


async def test_haproxy_passes_clients_on(world: World, pki: Path, anchors: TrustAnchors, tmp_path: Path) -> None:
    """A real balancer before submission: its health check (LOCAL) harms nobody, and who goes past it is himself."""
    program = need("haproxy")
    async with post(world, pki, anchors, proxies=["127.0.0.1"]) as submission:
        with socket.create_server(("127.0.0.1", 0)) as free:
            front = free.getsockname()[1]
        configuration = tmp_path / "haproxy.cfg"
        configuration.write_text(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
            f"frontend in\n  bind 127.0.0.1:{front}\n  default_backend mail\n"
            "backend mail\n  option smtpchk EHLO balancer.exemple.fr\n  default-server send-proxy-v2 check inter 100\n"
            f"  server one 127.0.0.1:{submission.sockets.ports['submission']} check-send-proxy\n"
        )
        balancer = await asyncio.create_subprocess_exec(program, "-db", "-f", str(configuration))

        def send(port: int, source: str, number: int) -> None:
            while True:
                try:
                    client = smtplib.SMTP("127.0.0.1", port, timeout=20, source_address=(source, 0))
                    break
                except OSError:
                    assert balancer.returncode is None
            client._host = DOMAIN
            client.starttls(context=submission.tls())
            client.login(DOCTOR, submission.password(DOCTOR))
            client.sendmail(DOCTOR, [PHARMACY], message(number=number))
            client.quit()

        try:
            await asyncio.to_thread(send, front, "127.0.0.77", 1)
            await asyncio.to_thread(send, submission.sockets.ports["submission"], "127.0.0.78", 2)
        finally:
            balancer.terminate()
            await balancer.wait()
    through, past = await world.texts(PHARMACY)
    assert b"([127.0.0.77])" in through
    assert b"([127.0.0.78])" in past
