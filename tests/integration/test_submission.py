"""Submission on a real port before a real database: what a doctor's software does, and what goes wrong around it."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from server.base import clock
from server.db.credentials import SUPERUSER
from server.mailbox.create import close
from server.smtp import reply_codes as r
from server.smtp.service import Budget
from tests.programs import need
from tests.smtp_edge import Post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

in_thread = asyncio.to_thread
REFUSED = r.NO_CONVERSATION.text.split("\n")  # French, then English


async def refused(call: Callable[..., Awaitable[object]], *arguments: Any) -> tuple[int, str]:
    with pytest.raises(smtplib.SMTPResponseException) as error:
        await call(*arguments)
    text = error.value.smtp_error
    return error.value.smtp_code, text.decode() if isinstance(text, bytes) else text


async def test_a_message_arrives(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    assert await client.sendmail(DOCTOR, [PHARMACY, PATIENT], message()) == {}
    await client.quit()
    for address in (PHARMACY, PATIENT):
        (text,) = await world.texts(address)
        assert text.startswith(f"Return-Path: <{DOCTOR}>\r\n".encode())
        assert b"with ESMTPSA" in text
        assert text.endswith(message())


async def test_a_message_arrives_over_implicit_tls(world: World, submission: Post) -> None:
    def send() -> None:
        context = submission.tls()
        context.check_hostname = False  # the name is that of the certificate, the address is the loopback's
        with smtplib.SMTP_SSL("127.0.0.1", submission.sockets.ports["submission_tls"], context=context) as smtp:
            smtp.login(DOCTOR, submission.password(DOCTOR))
            smtp.sendmail(DOCTOR, [PHARMACY], message())

    await in_thread(send)
    assert len(await world.texts(PHARMACY)) == 1


async def test_the_same_text_sent_twice_arrives_twice(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    for _ in range(2):
        await client.sendmail(DOCTOR, [PHARMACY], message())
    await client.quit()
    assert len(await world.texts(PHARMACY)) == 2


async def test_a_repeat_after_a_lost_reply_arrives_once(world: World, submission: Post) -> None:
    for _ in range(2):
        client = await submission.client(DOCTOR)
        await client.mail(DOCTOR)
        await client.rcpt(PHARMACY)
        await client.docmd("DATA")
        await client.send(message() + b".\r\n")
        await client.getreply()
        await client.close()  # as if the reply had been lost: nothing more is said in this session
    assert len(await world.texts(PHARMACY)) == 1


async def test_who_signs_in_wrongly_learns_nothing(submission: Post) -> None:
    client = await submission.client()
    wrong = await refused(client.login, DOCTOR, "abcd-efgh")
    unknown = await refused(client.login, "nobody@msg.exemple.fr", "abcd-efgh")
    assert wrong == unknown == (535, "5.7.8 address or password not accepted")
    await client.close()


async def test_recipients_and_senders_that_are_refused(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    assert (await client.say(f"MAIL FROM:<{PHARMACY}>"))[0] == 550
    await client.say(f"MAIL FROM:<{DOCTOR.upper()}>")
    assert (await client.say("RCPT TO:<nobody@msg.exemple.fr>"))[1].startswith("5.1.1")
    assert (await client.say("RCPT TO:<someone@autre.fr>"))[1].startswith("5.1.2")
    assert (await client.say("RCPT TO:<not an address>"))[0] == 501
    assert (await client.say("RCPT TO:<a..b@msg.exemple.fr>"))[1].startswith("5.1.3")
    assert (await client.say("RCPT TO:<postmaster>"))[1].startswith("5.1.1")
    await client.say("RSET")
    forged = message().replace(DOCTOR.encode(), PHARMACY.encode(), 1)
    assert (await refused(client.sendmail, DOCTOR, [PHARMACY], forged))[1].startswith("5.7.1")
    await client.close()
    assert await world.texts(PHARMACY) == []


async def test_a_patient_answers_and_never_begins(world: World, submission: Post) -> None:
    patient = await submission.client(PATIENT)
    answer = message().replace(DOCTOR.encode(), PATIENT.encode(), 1)
    await patient.mail(PATIENT)
    for stranger in (DOCTOR, "nobody@msg.exemple.fr", "someone@autre.fr"):
        code, text = await patient.say(f"RCPT TO:<{stranger}>")
        assert (code, text) == (r.NO_CONVERSATION.code, "\n".join(f"5.7.1 {line}" for line in REFUSED))
    await patient.rset()
    doctor = await submission.client(DOCTOR)
    await doctor.sendmail(DOCTOR, [PATIENT], message())
    assert await patient.sendmail(PATIENT, [DOCTOR], answer) == {}
    assert (await patient.say(f"MAIL FROM:<{PATIENT}>"))[0] == 250
    assert (await patient.say(f"RCPT TO:<{PHARMACY}>"))[0] == 550
    await doctor.close()
    await patient.close()
    assert len(await world.texts(DOCTOR)) == 1


async def test_reply_to_names_whom_a_patient_answers(world: World, submission: Post) -> None:
    doctor, patient = await submission.client(DOCTOR), await submission.client(PATIENT)
    await doctor.sendmail(DOCTOR, [PATIENT], f"Reply-To: <{PHARMACY}>\r\n".encode() + message())
    await patient.mail(PATIENT)
    assert (await patient.say(f"RCPT TO:<{DOCTOR}>"))[0] == 550
    assert (await patient.say(f"RCPT TO:<{PHARMACY}>"))[0] == 250
    # Who names another patient is answered himself: patients do not write to each other.
    await doctor.sendmail(DOCTOR, [PATIENT], f"Reply-To: <{PATIENT}>\r\n".encode() + message())
    assert (await patient.say(f"RCPT TO:<{PATIENT}>"))[0] == 550
    assert (await patient.say(f"RCPT TO:<{DOCTOR}>"))[0] == 250
    # A contact that the patient closed stays closed.
    await world.admin.execute("UPDATE contact SET closed_at = now()")
    await doctor.sendmail(DOCTOR, [PATIENT], message(number=2))
    assert (await patient.say(f"RCPT TO:<{DOCTOR}>"))[0] == 550
    await doctor.close()
    await patient.close()


async def test_too_large_is_refused_when_told_and_when_sent(world: World, submission: Post) -> None:
    submission.edge.service.max_message_bytes = 100_000
    client = await submission.client(DOCTOR)
    large = message("x" * 100_000)
    assert (await refused(client.sendmail, DOCTOR, [PHARMACY], large))[1].startswith("5.3.4")
    await client.rset()
    await client.mail(DOCTOR)
    await client.rcpt(PHARMACY)
    assert (await client.data(large))[1].startswith(b"5.3.4")
    assert await client.sendmail(DOCTOR, [PHARMACY], message()) == {}
    await client.close()
    assert len(await world.texts(PHARMACY)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b'Content-Type: multipart/mixed; boundary="a"; boundary="b"\r\n\r\n--a\r\n--b\r\n\0\xff--a--\r\n',
        b"Content-Type: multipart/mixed; boundary=\r\nbroken line\r\n\r\n--\r\n--\r\n",
        b"Content-Transfer-Encoding: base64\r\n\r\n!!!\0\0\0\r\n",
        b"Content-Type: " + b"multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: " * 50 + b"a\r\n",
    ],
    ids=["boundaries", "no-boundary", "nul", "deep"],
)
async def test_malformed_mime_is_delivered_whole(world: World, submission: Post, content: bytes) -> None:
    client = await submission.client(DOCTOR)
    sent = f"From: {DOCTOR}\r\n".encode() + content
    await client.sendmail(DOCTOR, [PHARMACY], sent)
    await client.sendmail(DOCTOR, [PHARMACY], message())
    await client.close()
    first, second = await world.texts(PHARMACY)
    assert first.endswith(content)
    assert second.endswith(message())


async def test_a_mailbox_that_closes_between_rcpt_and_data(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    await client.mail(DOCTOR)
    await client.rcpt(PHARMACY)
    await close(world.admin, world.owners[PHARMACY])
    code, text = await client.data(message())
    assert (code, text.split()[0]) in ((550, b"5.2.1"), (550, b"5.1.1"))
    await client.mail(DOCTOR)
    assert (await client.say(f"RCPT TO:<{PHARMACY}>"))[0] == 550
    await client.close()


async def test_the_database_goes_away_and_comes_back(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    await client.mail(DOCTOR)
    await client.rcpt(PHARMACY)
    superuser = await asyncpg.connect(world.database.cluster.dsn(SUPERUSER, "postgres"))
    name = world.database.name
    await superuser.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename LIKE '%submission'", name
    )
    try:
        assert await client.data(message()) == (451, b"4.3.0 temporary trouble here, try again later")
        assert (await client.say(f"MAIL FROM:<{DOCTOR}>"))[0] == 250
        assert (await client.say(f"RCPT TO:<{PHARMACY}>"))[0] == 451
    finally:
        await superuser.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await superuser.close()
    await client.rset()
    assert await client.sendmail(DOCTOR, [PHARMACY], message()) == {}
    await client.close()
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_worker_without_memory_says_later(world: World, submission: Post) -> None:
    service = submission.edge.service
    service.budget = Budget(20_000)
    small, other = await submission.client(DOCTOR), await submission.client(DOCTOR)
    await other.mail(DOCTOR)
    await other.rcpt(PHARMACY)
    await other.docmd("DATA")
    await other.send(message("x" * 15_000))  # and no end yet
    while not service.budget.used:
        await asyncio.sleep(0.01)
    await small.mail(DOCTOR)
    await small.rcpt(PHARMACY)
    assert (await small.data(message("x" * 15_000)))[0] == 452
    await other.send(b".\r\n")
    assert (await other.getreply())[0] == 250
    assert await small.sendmail(DOCTOR, [PHARMACY], message("x" * 15_000, number=2)) == {}
    assert service.budget.used == 0
    await small.close()
    await other.close()


async def test_a_client_that_goes_away_leaves_nothing(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    await client.mail(DOCTOR)
    await client.rcpt(PHARMACY)
    await client.docmd("DATA")
    await client.send(message())
    while not submission.edge.service.budget.used:
        await asyncio.sleep(0.01)
    await client.close()
    while submission.edge.service.sessions:
        await asyncio.sleep(0.01)
    assert submission.edge.service.budget.used == 0
    assert await world.texts(PHARMACY) == []


async def test_a_stop_waits_for_a_message_and_not_for_the_idle(world: World, submission: Post) -> None:
    idle, busy = await submission.client(DOCTOR), await submission.client(DOCTOR)
    await busy.mail(DOCTOR)
    await busy.rcpt(PHARMACY)
    draining = asyncio.create_task(submission.edge.drain(clock.monotonic() + 30))
    assert (await idle.getreply())[0] == 421
    with pytest.raises(OSError):
        await submission.client()
    assert (await busy.data(message()))[0] == 250
    assert (await busy.getreply())[0] == 421
    await draining
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_stop_does_not_wait_for_ever(submission: Post) -> None:
    busy = await submission.client(DOCTOR)
    await busy.mail(DOCTOR)
    await submission.edge.drain(clock.monotonic())
    await submission.edge.close()
    assert (await busy.getreply())[0] == 421


async def test_too_many_connections(submission: Post) -> None:
    submission.edge.service.max_sessions = 1
    first = await submission.client()
    with pytest.raises(smtplib.SMTPConnectError) as error:
        await submission.client()
    assert error.value.smtp_code == 421
    await first.close()


async def test_no_address_of_a_patient_reaches_the_log(world: World, submission: Post) -> None:
    with capture_logs() as logs:
        patient = await submission.client(PATIENT)
        await patient.mail(PATIENT)
        assert (await patient.say(f"RCPT TO:<{DOCTOR}>"))[0] == 550
        await patient.rset()
        doctor = await submission.client(DOCTOR)
        await doctor.sendmail(DOCTOR, [PATIENT], message())
        await refused(doctor.sendmail, PATIENT, [PATIENT], message())
        stranger = await submission.client()
        await refused(stranger.login, PATIENT, "wrong")
    assert {"sign_in_refused", "recipient_refused", "sender_refused", "message_accepted"} <= {e["event"] for e in logs}
    assert PATIENT.partition("@")[0] not in repr(logs)
    assert "Ordonnance" not in repr(logs)


async def run(*command: str, given: bytes = b"") -> bytes:
    """Run a client program to its good end; what it said."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate(given)
    assert process.returncode == 0, said.decode()
    return said


async def test_swaks_submits(world: World, submission: Post) -> None:
    program = need("swaks")
    for port, tls, mechanism in (("submission", "--tls", "PLAIN"), ("submission_tls", "--tlsc", "LOGIN")):
        said = await run(
            program,
            *("--server", "127.0.0.1", "--port", str(submission.sockets.ports[port]), tls),
            *("--tls-ca-path", str(submission.pki / "root.pem"), "--auth", mechanism),
            *("--auth-user", DOCTOR, "--auth-password", submission.password(DOCTOR), "--auth-hide-password"),
            *("--from", DOCTOR, "--to", PHARMACY, "--helo", "poste.cabinet.fr", "--pipeline", "--data", "-"),
            given=message(port),
        )
        assert b"message accepted as" in said
    assert [text.split()[-1] for text in await world.texts(PHARMACY)] == [b"submission", b"submission_tls"]


async def test_curl_submits(world: World, submission: Post, tmp_path: Path) -> None:
    program = need("curl")
    letter = tmp_path / "letter"
    letter.write_bytes(message())
    host = "msg.exemple.fr"
    for scheme, port in (("smtp", "submission"), ("smtps", "submission_tls")):
        number = submission.sockets.ports[port]
        await run(
            program,
            *("--silent", "--show-error", "--ssl-reqd", "--cacert", str(submission.pki / "root.pem")),
            *("--resolve", f"{host}:{number}:127.0.0.1", "--user", f"{DOCTOR}:{submission.password(DOCTOR)}"),
            *("--mail-from", DOCTOR, "--mail-rcpt", PHARMACY, "--upload-file", str(letter)),
            f"{scheme}://{host}:{number}/poste.cabinet.fr",
        )
    assert all(text.endswith(message()) for text in await world.texts(PHARMACY))
    assert await world.texts(PHARMACY)
