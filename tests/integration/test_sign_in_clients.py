"""Sign-in as real clients do it, on real ports: swaks, curl, openssl s_client, smtplib, imaplib."""

from __future__ import annotations

import asyncio
import base64
import imaplib
import smtplib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from crypto.pki import client
from crypto.pki.issue import Issued, new_root, organisation_client, professional
from crypto.smime.anchors import TrustAnchors
from server.audit import trail
from server.base import clock
from server.identity import certificates, delegations
from server.identity.delegations import Delegation
from server.identity.model import Rights
from server.mailbox.create import create
from server.mailbox.model import NewMailbox, OwnerKind
from server.trust.keeping import keep_crl
from tests import imap_edge, relying
from tests.programs import need
from tests.provider_server import ProviderServer
from tests.revocation_lists import crl
from tests.smtp_edge import DOMAIN, Post, make_pki, post
from tests.store_world import DOCTOR, PHARMACY, World, message

in_thread = asyncio.to_thread
LAB = f"labo@{DOMAIN}"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PKI with the client certificates of an organisation's program, and some that are none of its own."""
    folder = make_pki(tmp_path_factory.mktemp("pki"))
    root, now = Issued.load(folder, "root"), clock.now()
    organisation_client(root, "AUTRE", "010000000", now).save(folder, "same-anchor")
    organisation_client(new_root(now), "LABORATOIRE", "010000000", now).save(folder, "other-anchor")
    organisation_client(root, "ANCIEN", "010000000", now.replace(year=now.year - 5)).save(folder, "expired")
    professional(root, DOCTOR, "Dr Anne Dupont", "10101010101", now).save(folder, "for-signing")
    return folder


@pytest.fixture
async def shared(world: World, pki: Path) -> World:
    """A program's mailbox with its certificate, and the pharmacy's shared with the doctor."""
    new = [NewMailbox(LAB, OwnerKind.APP, "Laboratoire", finess="010000000")]
    world.owners[LAB] = (await create(world.admin, world.keyring, world.edge, new))[0].owner_id
    shown = client.read(Issued.load(pki, "organisation").certificate.public_bytes(Encoding.DER), clock.now())
    await certificates.bind(world.admin, world.edge, world.owners[LAB], LAB, shown)
    part = Delegation(world.owners[DOCTOR], Rights.READ | Rights.SEND, None)
    await delegations.grant(world.admin, world.edge, world.owners[PHARMACY], (world.owners[DOCTOR], DOCTOR), part)
    return world


@pytest.fixture
def changes(tmp_path: Path, pki: Path) -> dict[str, Any]:
    """The settings of an edge that takes tokens of an identity provider."""
    (tmp_path / "pki").symlink_to(pki)
    return {"home": tmp_path, "identity": relying.identity(tmp_path, relying.free_port())}


@pytest.fixture
async def psc(world: World, changes: dict[str, Any]) -> AsyncIterator[ProviderServer]:
    async with relying.provided(world, world.database.settings.model_copy(update=changes)) as server:
        yield server


@pytest.fixture
async def submission(shared: World, pki: Path, anchors: TrustAnchors, changes: dict[str, Any]) -> AsyncIterator[Post]:
    async with post(shared, pki, anchors, changes=changes) as running:
        yield running


@pytest.fixture
async def imap(
    shared: World, pki: Path, anchors: TrustAnchors, changes: dict[str, Any]
) -> AsyncIterator[imap_edge.Access]:
    async with imap_edge.access(shared, pki, anchors, changes=changes) as running:
        yield running


def token(psc: ProviderServer) -> str:
    return str(psc.tokens(person=relying.DOCTOR)["access_token"])


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def xoauth2(mailbox: str, value: str) -> str:
    return f"user={mailbox}\1auth=Bearer {value}\1\1"


async def run(*words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in words]
    return await in_thread(lambda: subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60))


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks_signs_in_by_password(
    world: World, submission: Post, pki: Path, tmp_path: Path, mechanism: str
) -> None:
    need("swaks")
    text = tmp_path / "message"
    text.write_bytes(message())
    words = ["swaks", "--server", "127.0.0.1", "--port", submission.sockets.ports["submission"], "--tls"]
    words += ["--auth", mechanism, "--auth-user", DOCTOR, "--auth-password", submission.password(DOCTOR)]
    done = await run(*words, "--from", DOCTOR, "--to", PHARMACY, "--data", f"@{text}")
    assert done.returncode == 0, done.stdout
    assert len(await world.texts(PHARMACY)) == 1


async def openssl(submission: Post, pki: Path, certificate: str | None, said: str) -> str:
    """What the server says to `openssl s_client`, which shows this certificate, says this and quits."""
    port = submission.sockets.ports["submission"]
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-starttls", "smtp", "-crlf", "-quiet"]
    words += ["-CAfile", str(pki / "root.pem")]
    if certificate is not None:
        words += ["-cert", str(pki / f"{certificate}.pem"), "-key", str(pki / f"{certificate}.key")]
    done = await run(*words, stdin=f"{said}quit\n")
    return done.stdout + done.stderr


async def test_openssl_signs_in_by_certificate(shared: World, submission: Post, pki: Path) -> None:
    need("openssl")
    heard = await openssl(submission, pki, "organisation", f"ehlo labo\nauth external =\nmail from:<{LAB}>\n")
    assert "EXTERNAL" in heard
    assert "235 2.7.0" in heard
    assert "250 2.1.0 sender OK" in heard
    named = await openssl(submission, pki, "organisation", f"ehlo labo\nauth external {encoded(LAB)}\n")
    assert "235 2.7.0" in named
    other = await openssl(submission, pki, "organisation", f"ehlo labo\nauth external {encoded(DOCTOR)}\n")
    assert "535 5.7.8" in other


async def test_a_program_sends_by_certificate(shared: World, submission: Post) -> None:
    program = await submission.client(certificate="organisation")
    await program.say(f"AUTH EXTERNAL {encoded(LAB)}")
    data = message().replace(DOCTOR.encode(), LAB.encode())
    assert await program.sendmail(LAB, [PHARMACY], data) == {}
    await program.quit()
    assert len(await shared.texts(PHARMACY)) == 1


async def test_certificates_that_are_not_the_programs(submission: Post, pki: Path) -> None:
    need("openssl")
    for certificate in (None, "same-anchor"):
        heard = await openssl(submission, pki, certificate, "ehlo labo\nauth external =\n")
        assert ("EXTERNAL" in heard) is (certificate is not None)
        assert ("504 5.5.4" if certificate is None else "535 5.7.8") in heard
    # TLS refuses these before anything is said.
    for certificate in ("other-anchor", "expired", "for-signing"):
        heard = await openssl(submission, pki, certificate, "ehlo labo\nauth external =\n")
        assert "235" not in heard
        assert "alert" in heard, heard


async def test_a_revoked_certificate_is_one_no_longer(shared: World, submission: Post, pki: Path) -> None:
    need("openssl")
    root, now = Issued.load(pki, "root"), clock.now()
    revoked = [Issued.load(pki, "organisation").certificate]
    assert await keep_crl(shared.admin, crl(root, revoked, now), "list", [root.certificate], now)
    trust = submission.edge.service.trust
    assert trust is not None
    await trust.look()
    heard = await openssl(submission, pki, "organisation", "ehlo labo\nauth external =\n")
    assert "535 5.7.8 address or password not accepted" in heard


async def test_a_person_without_a_certificate_is_not_disturbed(world: World, submission: Post) -> None:
    client_ = await submission.client(DOCTOR, certificate="same-anchor")
    assert await client_.sendmail(DOCTOR, [PHARMACY], message()) == {}
    await client_.quit()


async def test_smtplib_signs_in_by_token(shared: World, submission: Post, psc: ProviderServer) -> None:
    with capture_logs() as logs:
        secret = token(psc)
        person = await submission.client()
        await person.auth("XOAUTH2", lambda challenge=None: xoauth2(DOCTOR, secret))
        assert await person.sendmail(DOCTOR, [PHARMACY], message()) == {}
        # As the team that is shared with him, by "user" or by From alone.
        data = message(number=2).replace(DOCTOR.encode(), PHARMACY.encode())
        assert await person.sendmail(PHARMACY, [DOCTOR], data) == {}
        await person.quit()
        team = await submission.client()
        await team.auth("OAUTHBEARER", lambda challenge=None: f"n,a={PHARMACY},\1auth=Bearer {secret}\1\1")
        assert await team.sendmail(PHARMACY, [DOCTOR], data.replace(b"<2@", b"<3@")) == {}
        assert (await team.say(f"MAIL FROM:<{DOCTOR}>"))[0] == 550
        await team.quit()
        thief = await submission.client()
        with pytest.raises(smtplib.SMTPAuthenticationError) as error:
            await thief.auth("XOAUTH2", lambda challenge=None: xoauth2(DOCTOR, "c3RvbGVu") if challenge is None else "")
        assert error.value.smtp_code == 535
        await thief.close()
    assert len(await shared.texts(DOCTOR)) == 2
    told = str(logs)
    assert not [word for word in (secret, "c3RvbGVu", encoded(xoauth2(DOCTOR, secret))) if word in told]


async def test_the_trail_names_the_delegate(shared: World, submission: Post, psc: ProviderServer) -> None:
    team = await submission.client()
    await team.auth("XOAUTH2", lambda challenge=None: xoauth2(PHARMACY, token(psc)))
    data = message().replace(DOCTOR.encode(), PHARMACY.encode())
    await team.sendmail(PHARMACY, [DOCTOR], data)
    await team.quit()
    newest = (await trail.of_owner(shared.admin, shared.keyring, shared.owners[DOCTOR]))[0]
    assert (newest.kind, newest.detail["actor"], newest.detail["from"]) == ("message-accepted", DOCTOR, PHARMACY)


async def test_curl_signs_in_by_token(submission: Post, imap: imap_edge.Access, pki: Path, psc: ProviderServer) -> None:
    need("curl")
    usual = ["curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", pki / "root.pem"]
    to = ["--connect-to", f"::127.0.0.1:{submission.sockets.ports['submission']}"]
    for mechanism in ("XOAUTH2", "OAUTHBEARER"):
        who = ["--user", f"{DOCTOR}:", "--oauth2-bearer", token(psc), "--login-options", f"AUTH={mechanism}"]
        mail = ["--mail-from", DOCTOR, "--mail-rcpt", PHARMACY, "--upload-file", "-"]
        sent = await run(*usual, *to, *who, *mail, f"smtp://{DOMAIN}", stdin=message().decode())
        assert sent.returncode == 0, sent.stderr
        to_imap = ["--connect-to", f"::127.0.0.1:{imap.port}"]
        read = await run(*usual, *to_imap, *who, f"imap://{DOMAIN}/INBOX", "--request", "NOOP")
        assert read.returncode == 0, read.stderr
        stolen = ["--user", f"{DOCTOR}:", "--oauth2-bearer", "c3RvbGVu", "--login-options", f"AUTH={mechanism}"]
        for there, url in ((to, f"smtp://{DOMAIN}"), (to_imap, f"imap://{DOMAIN}/INBOX")):
            refused = await run(*usual, *there, *stolen, *(mail if there is to else []), url, stdin="x")
            assert refused.returncode == 67, refused  # CURLE_LOGIN_DENIED


async def test_imaplib_signs_in_by_token_and_certificate(imap: imap_edge.Access, psc: ProviderServer) -> None:
    def person() -> None:
        reader = imap_edge.Client(imap.port, imap.tls())
        reader.authenticate("XOAUTH2", lambda challenge: xoauth2(DOCTOR, token(psc)).encode())
        assert reader.select("INBOX")[0] == "OK"
        reader.logout()

    def delegate() -> None:
        reader = imap_edge.Client(imap.port, imap.tls())
        reader.authenticate("PLAIN", lambda challenge: f"{PHARMACY}\0{DOCTOR}\0{imap.password(DOCTOR)}".encode())
        assert reader.create("Dossier")[0] == "NO"
        assert reader.select("INBOX", readonly=True)[0] == "OK"
        reader.logout()

    def program() -> None:
        for certificate, mailbox in (("organisation", ""), ("organisation", LAB)):
            reader = imap_edge.Client(imap.port, imap.tls(certificate))
            assert "AUTH=EXTERNAL" in reader.capability()[1][0].decode()
            reader.authenticate("EXTERNAL", lambda challenge, mailbox=mailbox: mailbox.encode())
            assert reader.select("INBOX")[0] == "OK"
            reader.logout()
        other = imap_edge.Client(imap.port, imap.tls("same-anchor"))
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            other.authenticate("EXTERNAL", lambda challenge: LAB.encode())
        other.logout()

    for client_ in (person, delegate, program):
        await in_thread(client_)
