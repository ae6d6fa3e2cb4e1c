"""Strangers at the doors, with programs of others (openssl s_client, swaks): no byte of theirs comes in, and each is
told why in SMTP's own words where there is still a dialogue to say it in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509

from crypto.smime.anchors import TrustAnchors
from tests.programs import need
from tests.smtp_edge import DOMAIN, Post, make_pki, post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

PEER_DOMAIN = "operateur.fr"
PEER = f"dr@{PEER_DOMAIN}"
LETTER = message().replace(DOCTOR.encode(), PEER.encode(), 1)
REPORT = (
    f"From: Remise <postmaster@{PEER_DOMAIN}>\r\nTo: <{PHARMACY}>\r\nSubject: Message remis\r\n"
    'Date: Mon, 2 Mar 2026 12:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; boundary="b";\r\n'
    " report-type=delivery-status\r\n\r\n--b\r\n\r\nremis\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    f"Reporting-MTA: dns; {PEER_DOMAIN}\r\n\r\nFinal-Recipient: rfc822; dr@{PEER_DOMAIN}\r\nAction: delivered\r\n"
    "Status: 2.0.0\r\n--b--\r\n"
).encode()


def subject(pki: Path) -> str:
    certificate = x509.load_pem_x509_certificate((pki / "organisation.pem").read_bytes())
    return certificate.subject.rfc4514_string()


@pytest.fixture
async def relay(world: World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[Post]:
    """The relay of an instance whose trust space lists one operator."""
    async with post(world, pki, anchors, "relay", {PEER_DOMAIN: [subject(pki)]}) as running:
        yield running


async def nothing_came(world: World) -> None:
    """No message, no content, nothing in a queue."""
    for table in ("message", "content", "queue_message", "outgoing"):
        assert await world.admin.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def run(*command: str, given: bytes = b"") -> tuple[int, str]:
    """Run a client program to its end: its status and all it said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate(given)
    assert process.returncode is not None
    return process.returncode, said.decode(errors="replace")


async def swaks(running: Post, *more: str, sender: str = PEER, letter: bytes = LETTER) -> tuple[int, str]:
    name = "relay" if "relay" in running.sockets else "submission"
    return await run(
        need("swaks"),
        *("--server", "127.0.0.1", "--port", str(running.sockets.ports[name]), "--helo", f"mx.{PEER_DOMAIN}"),
        *("--from", sender or "<>", "--to", PHARMACY, "--data", "-", *more),
        given=letter,
    )


def certificate(folder: Path, name: str = "organisation") -> tuple[str, ...]:
    return ("--tls-cert", str(folder / f"{name}.pem"), "--tls-key", str(folder / f"{name}.key"))


class Openssl:
    """`openssl s_client` after STARTTLS; the lines it shows are the server's."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, running: Post, *more: str, starttls: bool = True) -> Openssl:
        name = "relay" if "relay" in running.sockets else "submission"
        words = ["-starttls", "smtp", "-name", "mx.operateur.fr"] if starttls else []
        process = await asyncio.create_subprocess_exec(
            need("openssl"),
            *("s_client", "-connect", f"127.0.0.1:{running.sockets.ports[name]}", "-crlf", "-quiet", *words, *more),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return cls(process)

    async def ask(self, command: str) -> str:
        """Say a command, hear the last line of the reply; "" when the connection has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n".encode())
        while line := (await self._process.stdout.readline()).decode():
            if line[3:4] == " " and line[:3].isdigit():
                return line.strip()
        return ""

    async def end(self) -> None:
        assert self._process.stdin is not None
        if self._process.returncode is None:
            self._process.stdin.write(b"QUIT\n")  # it goes on at the end of its input, until the server ends
        self._process.stdin.close()
        await self._process.wait()


async def test_in_clear_nothing_is_accepted(world: World, relay: Post) -> None:
    status, said = await swaks(relay)
    assert status != 0
    assert "530 5.7.0 must issue a STARTTLS command first" in said
    await nothing_came(world)


async def test_without_a_certificate_it_is_told_that_one_is_required(world: World, relay: Post) -> None:
    status, said = await swaks(relay, "--tls")
    assert status != 0
    assert "530 5.7.0 a client certificate of a trusted operator is required" in said
    client = await Openssl.start(relay)
    assert (await client.ask("EHLO mx.operateur.fr")).startswith("250 ")
    for command in (f"MAIL FROM:<{PEER}>", f"RCPT TO:<{PHARMACY}>", "DATA", "VRFY pharmacie", "MAIL FROM:<>"):
        assert (await client.ask(command)).startswith("530 5.7.0 a client certificate")
    assert (await client.ask("BDAT 0 LAST")).startswith("530 5.7.0")
    assert (await client.ask("AUTH PLAIN AGEAYg==")).startswith("502")
    await client.end()
    await nothing_came(world)


async def test_a_certificate_of_another_root_is_no_certificate(world: World, relay: Post, tmp_path: Path) -> None:
    stranger = make_pki(tmp_path / "stranger")
    status, _ = await swaks(relay, "--tls", *certificate(stranger))
    assert status != 0
    client = await Openssl.start(
        relay, "-cert", str(stranger / "organisation.pem"), "-key", str(stranger / "organisation.key")
    )
    assert await client.ask("EHLO mx.operateur.fr") == ""
    await client.end()
    await nothing_came(world)


async def test_a_certificate_that_no_list_names_is_told_so(world: World, pki: Path, anchors: TrustAnchors) -> None:
    """Its path is right: who is refused is a member that forgot to be listed, and a person has to read why."""
    async with post(world, pki, anchors, "relay", {PEER_DOMAIN: ["CN=smtp.autre.fr,O=Autre,C=FR"]}) as running:
        for sender, letter in ((PEER, LETTER), ("", REPORT)):
            status, said = await swaks(running, "--tls", *certificate(pki), sender=sender, letter=letter)
            assert status != 0
            assert "550-5.7.1 la liste blanche ne donne pas votre certificat" in said
            assert "550 5.7.1 the white list does not give your certificate" in said
    await nothing_came(world)


@pytest.mark.parametrize(
    ("sender", "letter", "code"),
    [
        pytest.param(DOCTOR, message(), "550 5.7.1", id="our domain in the reverse-path"),
        pytest.param("dr@autre.fr", LETTER, "550 5.7.1", id="another domain in the reverse-path"),
        pytest.param(PEER, message(), "550 5.7.1", id="our domain in From"),
        pytest.param(PEER, b"Sender: x@autre.fr\r\n" + LETTER, "550 5.7.1", id="another domain in Sender"),
        pytest.param(PEER, b"From: x@autre.fr\r\n" + LETTER, "550 5.7.1", id="a second From"),
        pytest.param(PEER, b"Resent-From: x@autre.fr\r\n" + LETTER, "550 5.7.1", id="another domain in Resent-From"),
        pytest.param(PEER, LETTER.partition(b"\r\n")[2], "554 5.6.0", id="no From"),
        pytest.param("", LETTER, "550 5.7.1", id="the null reverse-path and no report"),
        pytest.param("", REPORT.replace(PEER_DOMAIN.encode(), b"autre.fr", 1), "550 5.7.1", id="another's report"),
    ],
)
async def test_a_listed_operator_speaks_for_its_own_domains(
    world: World, relay: Post, pki: Path, sender: str, letter: bytes, code: str
) -> None:
    status, said = await swaks(relay, "--tls", *certificate(pki), sender=sender, letter=letter)
    assert status != 0
    assert code in said
    await nothing_came(world)


async def test_what_a_listed_operator_may_bring_comes(world: World, relay: Post, pki: Path) -> None:
    for sender, letter in ((PEER, LETTER), ("", REPORT)):
        status, said = await swaks(relay, "--tls", *certificate(pki), sender=sender, letter=letter)
        assert status == 0, said
    assert len(await world.texts(PHARMACY)) == 2


async def test_a_listed_operator_holds_nothing_here(relay: Post) -> None:
    """RFC 4865 is for submission: an operator that wants a message later sends it later."""
    client = await relay.client(certificate="organisation")
    assert "futurerelease" not in client.smtp.esmtp_features
    assert (await client.say(f"MAIL FROM:<{PEER}> HOLDFOR=60"))[0] == 555
    await client.close()


async def test_nothing_is_relayed(world: World, relay: Post, pki: Path) -> None:
    for recipient in ("someone@autre.fr", f"someone@{PEER_DOMAIN}", f"a%autre.fr@{DOMAIN}", f'"a@autre.fr"@{DOMAIN}'):
        status, said = await swaks(relay, "--tls", *certificate(pki), "--to", recipient)
        assert status != 0
        assert "550 5." in said
    await nothing_came(world)


@pytest.mark.parametrize(
    "words",
    [
        ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "AES256-GCM-SHA384"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"],
        ["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
    ],
    ids=["TLS 1.1", "no forward secrecy", "CBC with SHA-1", "outside the list", "anonymous"],
)
async def test_weak_tls_is_refused(world: World, relay: Post, pki: Path, words: list[str]) -> None:
    """ECO.1.1.1 and ECO.1.1.3 (référentiel socle MSSanté #2), a right certificate or not."""
    shown = ["-cert", str(pki / "organisation.pem"), "-key", str(pki / "organisation.key")]
    client = await Openssl.start(relay, *words, *shown)
    assert await client.ask("EHLO mx.operateur.fr") == ""
    await client.end()
    await nothing_came(world)


async def test_the_suites_of_the_list_are_taken(relay: Post) -> None:
    """So that the refusals above say something."""
    for words in (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"], ["-tls1_3"]):
        client = await Openssl.start(relay, *words)
        assert (await client.ask("EHLO mx.operateur.fr")).startswith("250 ")
        await client.end()


async def test_tls_before_starttls_is_no_command(world: World, relay: Post) -> None:
    client = await Openssl.start(relay, starttls=False)
    assert await client.ask("EHLO mx.operateur.fr") == ""
    await client.end()
    await nothing_came(world)


async def test_a_stranger_at_submission(world: World, pki: Path, anchors: TrustAnchors) -> None:
    """No sign-in in clear, no message without one, a wrong one and an unknown mailbox answered alike."""
    async with post(world, pki, anchors) as submission:
        credentials = ("--auth", "PLAIN", "--auth-user", DOCTOR, "--auth-password", submission.password(DOCTOR))
        status, said = await swaks(submission, *credentials, sender=DOCTOR, letter=message())
        assert status != 0
        assert submission.password(DOCTOR) not in said
        status, said = await swaks(submission, "--tls", sender=DOCTOR, letter=message())
        assert status != 0
        assert "530 5.7.0 authentication required" in said
        status, said = await swaks(submission, "--tls", *certificate(pki), sender=DOCTOR, letter=message())
        assert status != 0
        assert "530 5.7.0 authentication required" in said
        for name in (DOCTOR, PATIENT, f"personne@{DOMAIN}"):
            wrong = ("--auth", "PLAIN", "--auth-user", name, "--auth-password", "abcd-efgh-ijkl")
            status, said = await swaks(submission, "--tls", *wrong, sender=DOCTOR, letter=message())
            assert status != 0
            assert "535 5.7.8 address or password not accepted" in said
    await nothing_came(world)
