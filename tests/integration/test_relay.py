"""The relay: another operator's certificate, the domains it is listed for, and nothing else."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from crypto.smime.anchors import TrustAnchors
from server.base import clock
from tests.smtp_edge import Smtp, make_pki, post
from tests.store_world import DOCTOR, PHARMACY, World, message

PEER_DOMAIN = "operateur.fr"
PEER = f"dr@{PEER_DOMAIN}"
LETTER = message().replace(DOCTOR.encode(), PEER.encode(), 1)


def subject(pki: Path) -> str:
    certificate = x509.load_pem_x509_certificate((pki / "organisation.pem").read_bytes())
    return certificate.subject.rfc4514_string()


async def test_a_listed_operator_delivers(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with post(world, pki, anchors, "relay", {PEER_DOMAIN: [subject(pki)]}) as relay:
        client = await relay.client(certificate="organisation")
        assert "auth" not in client.smtp.esmtp_features
        assert await client.sendmail(PEER, [PHARMACY], LETTER) == {}
        await client.mail(PEER)
        assert (await client.say("RCPT TO:<someone@autre.fr>"))[1].startswith("5.7.1")
        await client.close()
    (text,) = await world.texts(PHARMACY)
    assert text.endswith(LETTER)
    assert b"with ESMTPS" in text


async def test_it_speaks_for_its_own_domains_alone(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with post(world, pki, anchors, "relay", {PEER_DOMAIN: [subject(pki)]}) as relay:
        client = await relay.client(certificate="organisation")
        for foreign in ("dr@autre.fr", DOCTOR):
            code, text = await client.say(f"MAIL FROM:<{foreign}>")
            assert code == 550
            assert "5.7.1 the white list does not give your certificate for the sender's domain" in text
        for sender in (PEER, ""):
            await client.mail(sender)
            await client.rcpt(PHARMACY)
            forged = await client.data(message())
            assert forged[0] == 550
        await client.close()
    assert await world.texts(PHARMACY) == []


async def test_nobody_listed_is_nobody_trusted(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with post(world, pki, anchors, "relay") as relay:
        client = await relay.client(certificate="organisation")
        assert (await client.say(f"MAIL FROM:<{PEER}>"))[0] == 550
        await client.close()


async def test_without_a_certificate_nothing_moves(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with post(world, pki, anchors, "relay", {PEER_DOMAIN: [subject(pki)]}) as relay:
        client = await relay.client()
        assert await client.say(f"MAIL FROM:<{PEER}>") == (
            530,
            "5.7.0 a client certificate of a trusted operator is required",
        )
        await client.close()


async def test_a_certificate_of_another_root_ends_the_handshake(
    world: World, pki: Path, anchors: TrustAnchors, tmp_path: Path
) -> None:
    stranger = make_pki(tmp_path / "other")
    async with post(world, pki, anchors, "relay", {PEER_DOMAIN: [subject(pki)]}) as relay:
        context = relay.tls()
        context.load_cert_chain(stranger / "organisation.pem", stranger / "organisation.key")

        def talk() -> None:
            Smtp(relay.sockets.ports["relay"], context).ehlo()

        with pytest.raises((ssl.SSLError, OSError, smtplib.SMTPException)):
            await asyncio.to_thread(talk)
        while relay.edge.service.sessions:
            await asyncio.sleep(0.01)
        await relay.edge.drain(clock.monotonic())
