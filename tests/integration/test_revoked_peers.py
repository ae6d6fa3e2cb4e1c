"""The relay's door and certificates that are no longer what they were: revoked, expired, unknown; with openssl, swaks
and resumed TLS sessions as peers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from crypto.pki.issue import Holder, Issued, issue
from crypto.pki.profile import Profile, ProfileName
from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.smtp import reply_codes as r
from server.trust.keeping import keep_crl
from tests.programs import need
from tests.revocation_lists import crl
from tests.smtp_edge import Post, post
from tests.store_world import DOCTOR, PHARMACY, World, message

PEER_DOMAIN = "operateur.fr"
PEER = f"dr@{PEER_DOMAIN}"
LETTER = message().replace(DOCTOR.encode(), PEER.encode(), 1)


@pytest.fixture
def anchors(anchors: TrustAnchors) -> TrustAnchors:
    """A process's own: what one relay learns of revocation, the next one does not know."""
    return TrustAnchors(anchors.certificates)


@pytest.fixture(scope="module")
def members(pki: Path) -> dict[str, list[str]]:
    return {PEER_DOMAIN: [peer(pki).subject.rfc4514_string()]}


def peer(pki: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((pki / "organisation.pem").read_bytes())


async def publish(world: World, relay: Post, pki: Path, *revoked: x509.Certificate) -> None:
    """The authority's list reaches the database, as the fetcher keeps it, and from there the relay."""
    root, now = Issued.load(pki, "root"), clock.now()
    assert await keep_crl(world.admin, crl(root, revoked, now), "list", [root.certificate], now)
    assert relay.edge.service.trust is not None
    await relay.edge.service.trust.look()


def is_reply(answer: tuple[int, str], reply: r.Reply) -> bool:
    return answer[0] == reply.code and answer[1].startswith(reply.status) and reply.text.splitlines()[1] in answer[1]


async def test_a_revoked_operator_is_refused_from_then_on(
    world: World, pki: Path, anchors: TrustAnchors, members: dict[str, list[str]]
) -> None:
    async with post(world, pki, anchors, "relay", members) as relay:
        client = await relay.client(certificate="organisation")
        assert await client.sendmail(PEER, [PHARMACY], LETTER) == {}
        await publish(world, relay, pki, peer(pki))
        another = await relay.client(certificate="organisation")
        for connection in (client, another):
            for sender in (PEER, ""):
                assert is_reply(await connection.say(f"MAIL FROM:<{sender}>"), r.CERTIFICATE_REVOKED)
            assert (await connection.say(f"RCPT TO:<{PHARMACY}>"))[0] == 503
            await connection.close()
    assert len(await world.texts(PHARMACY)) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_resumed_session_hides_no_revocation(
    world: World, pki: Path, anchors: TrustAnchors, members: dict[str, list[str]], version: ssl.TLSVersion
) -> None:
    async with post(world, pki, anchors, "relay", members) as relay:
        context = relay.tls("organisation")
        context.check_hostname = False
        context.minimum_version = context.maximum_version = version

        def talk(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None, bytes]:
            with socket.create_connection(("127.0.0.1", relay.sockets.ports["relay"]), timeout=20) as clear:
                for line in (b"EHLO operateur.fr\r\n", b"STARTTLS\r\n"):
                    clear.recv(4096)
                    clear.sendall(line)
                clear.recv(4096)
                with context.wrap_socket(clear, session=session) as tls:
                    tls.sendall(b"EHLO operateur.fr\r\n")
                    tls.recv(4096)
                    tls.sendall(f"MAIL FROM:<{PEER}>\r\n".encode())
                    return bool(tls.session_reused), tls.session, tls.recv(4096)

        resumed, session, answer = await asyncio.to_thread(talk, None)
        assert (resumed, answer[:3]) == (False, b"250")
        resumed, session, answer = await asyncio.to_thread(talk, session)
        assert (resumed, answer[:3]) == (True, b"250")
        await publish(world, relay, pki, peer(pki))
        resumed, _, answer = await asyncio.to_thread(talk, session)
        assert (resumed, answer[:9]) == (True, b"550-5.7.1")


async def test_what_cannot_be_checked_is_a_doubt_or_waits(
    world: World, pki: Path, anchors: TrustAnchors, members: dict[str, list[str]]
) -> None:
    with capture_logs() as logs:
        async with post(world, pki, anchors, "relay", members) as relay:
            client = await relay.client(certificate="organisation")
            assert await client.sendmail(PEER, [PHARMACY], LETTER) == {}
            await client.close()
    assert "peer_revocation_unknown" in {entry["event"] for entry in logs}
    async with post(world, pki, anchors, "relay", members, revocation="require") as relay:
        client = await relay.client(certificate="organisation")
        assert is_reply(await client.say(f"MAIL FROM:<{PEER}>"), r.REVOCATION_UNKNOWN)
        await publish(world, relay, pki)
        assert (await client.say(f"MAIL FROM:<{PEER}>"))[0] == 250
        await client.close()


async def test_the_fetcher_hears_of_a_listed_peers_certificate(
    world: World, pki: Path, anchors: TrustAnchors, members: dict[str, list[str]]
) -> None:
    for listed in ({}, members):
        async with post(world, pki, anchors, "relay", listed) as relay:
            client = await relay.client(certificate="organisation")
            await client.close()
            await publish(world, relay, pki)
        paths = [row["path"] for row in await world.admin.fetch("SELECT path FROM peer_certificate")]
        assert len(paths) == len(listed)
        await world.admin.execute("DELETE FROM trust_revocation")
    root = Issued.load(pki, "root").certificate
    assert [x509.load_der_x509_certificate(der) for der in paths[0]] == [peer(pki), root]


# Programs of others


def expired(pki: Path) -> None:
    """A client certificate whose time is over, with the listed subject."""
    root, long_ago = Issued.load(pki, "root"), clock.now() - timedelta(days=30)
    names = {"organisation": "CADUCEE DEVELOPPEMENT", "organisation_unit": "1990000019"}
    holder = Holder(names | {"common_name": "CADUCEE DEVELOPPEMENT"})
    profile = Profile.load(ProfileName.ORGANISATION)
    issue(root, profile, holder, long_ago, validity=timedelta(days=1)).save(pki, "expired")


@pytest.fixture
def port(pki: Path) -> Path:
    if not (pki / "expired.pem").exists():
        expired(pki)
    return pki


async def ask(*command: str, said: bytes = b"") -> str:
    """A program's output, whatever its end."""
    done = await asyncio.to_thread(subprocess.run, command, input=said, capture_output=True, timeout=60)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


async def test_swaks_with_certificates_good_revoked_and_expired(
    world: World, port: Path, anchors: TrustAnchors, members: dict[str, list[str]]
) -> None:
    swaks = need("swaks")
    async with post(world, port, anchors, "relay", members) as relay:

        async def send(certificate: str) -> str:
            pair: Any = ["--tls-cert", str(port / f"{certificate}.pem"), "--tls-key", str(port / f"{certificate}.key")]
            where = f"127.0.0.1:{relay.sockets.ports['relay']}"
            words = ["--server", where, "--tls", *pair, "--from", PEER, "--to", PHARMACY, "--ehlo", "mx.operateur.fr"]
            return await ask(swaks, *words, "--h-From", PEER)

        assert "message accepted" in await send("organisation")
        assert "message accepted" not in await send("expired")
        await publish(world, relay, port, peer(port))
        assert "your certificate is revoked" in await send("organisation")
    assert len(await world.texts(PHARMACY)) == 1


async def test_openssl_with_an_expired_certificate_learns_why(
    world: World, port: Path, anchors: TrustAnchors, members: dict[str, list[str]]
) -> None:
    openssl = need("openssl")
    async with post(world, port, anchors, "relay", members) as relay:
        where = f"127.0.0.1:{relay.sockets.ports['relay']}"
        pair = ["-cert", str(port / "expired.pem"), "-key", str(port / "expired.key")]
        words = ["s_client", "-connect", where, "-starttls", "smtp", *pair, "-crlf", "-ign_eof"]
        output = await ask(openssl, *words, said=b"EHLO operateur.fr\nQUIT\n")
    assert "certificate expired" in output
