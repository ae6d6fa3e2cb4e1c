"""Messages past 1 MiB, understood and stored while they come: whole or not at all, and judged like small ones."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crypto.pki import development
from crypto.pki.issue import Issued
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign_detached, sign_opaque
from server.base import clock
from server.base.limits import LARGE_MESSAGE_SECONDS, STRAY_PIECES_SECONDS
from server.base.sections import Transport
from server.mail.summary import Summary
from server.mailbox import maintenance
from server.mailbox.check import check, problems_of
from server.smtp import reply_codes as r
from server.smtp.service import Budget
from tests.smtp_edge import Client, Post, post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

LINE = b"iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAYAAAB/HSuDAAAACXBIWXMAAAsTAAALEwEAmpwYAA\r\n"
IMAGE = b"Content-Type: image/png; name=radio.png\r\nContent-Transfer-Encoding: base64\r\n\r\n"


@pytest.fixture(scope="module")
def doctor(pki: Path) -> Issued:
    return development.signer(pki, DOCTOR, "Anne DUPONT", "10101010101", clock.now())


@pytest.fixture
async def submission(world: World, pki: Path) -> AsyncIterator[Post]:
    async with post(world, pki, TrustAnchors([Issued.load(pki, "root").certificate])) as running:
        yield running


def large(megabytes: float = 3) -> bytes:
    return message() + LINE * int(megabytes * 1_000_000 / len(LINE))


async def summary_of(world: World, address: str) -> Summary:
    mailbox = await world.mailbox(address)
    (row,) = (await mailbox.view(1)).rows
    (summary,) = (await mailbox.summaries([row.content_id])).values()
    return summary


async def pieces(world: World) -> int:
    return int(await world.admin.fetchval("SELECT count(*) FROM body_piece"))


def signed(doctor: Issued, megabytes: int, make: Any = sign_detached) -> bytes:
    headers = {"From": DOCTOR, "To": PHARMACY, "Subject": "Radiographie", "Message-ID": "<1@cabinet.example>"}
    entity = IMAGE + LINE * (megabytes * 1_000_000 // len(LINE))
    return bytes(make(entity, headers, doctor, clock.now()))


async def test_a_signature_over_25_megabytes_is_judged(world: World, submission: Post, doctor: Issued) -> None:
    client = await submission.client(DOCTOR)
    sent = signed(doctor, 25)
    await client.sendmail(DOCTOR, [PHARMACY], sent)
    summary = await summary_of(world, PHARMACY)
    assert summary.verdict["status"] == "passed"
    assert summary.verdict["signer"]["rpps"] == "10101010101"
    (text,) = await world.texts(PHARMACY)
    assert text.startswith(f"Return-Path: <{DOCTOR}>\r\nAuthentication-Results: ".encode())
    assert b"smime=pass" in text[:1_000]
    assert text[text.index(b"From: ") :] == sent[sent.index(b"From: ") :]
    assert text[: summary.header_size] == summary.header
    (image,) = [part for part in summary.parts if part.type == "image"]
    assert text[image.body_start : image.body_end].startswith(LINE * 3)
    await client.quit()


async def test_an_octet_changed_far_inside_is_seen(world: World, submission: Post, doctor: Issued) -> None:
    client = await submission.client(DOCTOR)
    sent = bytearray(signed(doctor, 3))
    sent[2_000_000 // len(LINE) * len(LINE) + 20] ^= 1
    await client.sendmail(DOCTOR, [PHARMACY], bytes(sent))
    verdict = (await summary_of(world, PHARMACY)).verdict
    assert (verdict["status"], verdict["reason"]) == ("failed", "tampered")


async def test_for_several_here_by_chunks(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    sent = large(5)
    await client.docmd(f"MAIL FROM:<{DOCTOR}>")
    for address in (PHARMACY, PATIENT):
        await client.docmd(f"RCPT TO:<{address}>")
    for start in range(0, len(sent), 700_001):  # borders fall inside of lines and between CR and LF
        chunk = sent[start : start + 700_001]
        last = " LAST" if start + 700_001 >= len(sent) else ""
        code = await asyncio.to_thread(_chunk, client.smtp, chunk, last)
        assert code == 250
    for address in (PHARMACY, PATIENT):
        (text,) = await world.texts(address)
        assert text.endswith(sent)
    mailbox = await world.mailbox(PHARMACY)
    (row,) = (await mailbox.view(1)).rows
    (text,) = await world.texts(PHARMACY)
    header = text.index(b"\r\n\r\n") + 4
    for start, end in ((0, 10), (header - 5, header + 5), (header, header + 1), (2_000_000, 2_200_000), (0, header)):
        assert await mailbox.body(row.content_id, start, end) == text[start:end]
    assert await mailbox.body(row.content_id, len(text) - 3, len(text) + 10) == text[-3:]
    assert await mailbox.body(row.content_id, len(text), len(text) + 10) == b""
    await client.quit()


def _chunk(smtp: smtplib.SMTP, chunk: bytes, last: str) -> int:
    smtp.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
    return smtp.getreply()[0]


async def test_a_bare_line_ending_late_in_a_chunk_is_refused(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    await client.docmd(f"MAIL FROM:<{DOCTOR}>")
    await client.docmd(f"RCPT TO:<{PHARMACY}>")
    assert await asyncio.to_thread(_chunk, client.smtp, large(2) + b"a\r", "") == 250
    assert await asyncio.to_thread(_chunk, client.smtp, b"b\r\n", " LAST") == r.BARE_LINE_ENDING.code
    assert await world.texts(PHARMACY) == []


async def test_what_policy_refuses_is_not_kept(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    with pytest.raises(smtplib.SMTPDataError) as error:
        await client.sendmail(DOCTOR, [PHARMACY], large().replace(DOCTOR.encode(), b"autre@msg.exemple.fr", 1))
    assert error.value.smtp_code == r.SENDER_NOT_YOURS.code
    assert await world.admin.fetchval("SELECT count(*) FROM large_body") == 0
    await client.sendmail(DOCTOR, [PHARMACY], message())  # the session goes on
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_patient_is_not_given_more_than_fits(world: World, pki: Path, anchors: TrustAnchors) -> None:
    transport = Transport(max_patient_bytes=2_000_000)
    settings = world.database.settings.model_copy(update={"transport": transport})
    world.database = replace(world.database, settings=settings)
    async with post(world, pki, anchors) as submission:
        client = await submission.client(DOCTOR)
        await client.docmd(f"MAIL FROM:<{DOCTOR}>")
        await client.docmd(f"RCPT TO:<{PATIENT}>")
        assert (await client.data(large(4)))[0] == r.TOO_LARGE_FOR_PATIENT.code
        assert await world.texts(PATIENT) == []
        await client.sendmail(DOCTOR, [PHARMACY], large(4))
        assert len(await world.texts(PHARMACY)) == 1


async def test_memory_that_is_not_there_is_asked_for_later(world: World, submission: Post) -> None:
    submission.edge.service.budget = Budget(4_000_000)
    client = await submission.client(DOCTOR)
    with pytest.raises(smtplib.SMTPDataError) as error:
        await client.sendmail(DOCTOR, [PHARMACY], large())
    assert error.value.smtp_code == r.BUSY.code
    assert submission.edge.service.budget.used == 0
    await client.sendmail(DOCTOR, [PHARMACY], message())


async def begin(client: Client, data: bytes, until: int) -> None:
    """The beginning of a message by DATA, up to an octet."""

    def send() -> None:
        client.smtp.docmd("MAIL", f"FROM:<{DOCTOR}>")
        client.smtp.docmd("RCPT", f"TO:<{PHARMACY}>")
        client.smtp.docmd("DATA")
        client.smtp.send(data[:until])

    await asyncio.to_thread(send)


async def test_a_client_that_goes_away_leaves_nothing(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    await begin(client, large(6), 4_000_000)
    while await pieces(world) < 2:
        await asyncio.sleep(0.02)
    client.smtp.close()
    while submission.edge.service.sessions:
        await asyncio.sleep(0.02)
    assert submission.edge.service.budget.used == 0
    assert await world.texts(PHARMACY) == []
    assert await maintenance.collect_content(world.jobs_pool) == 0  # it may be a slow one
    assert await maintenance.collect_content(world.jobs_pool, stray_seconds=-1) == 1
    assert await pieces(world) == 0


async def test_trouble_in_the_middle_is_told_at_the_end(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    data = large(6)
    await begin(client, data, 3_000_000)
    while await pieces(world) == 0:
        await asyncio.sleep(0.02)
    await world.admin.execute("ALTER TABLE body_piece RENAME TO elsewhere")
    await asyncio.to_thread(client.smtp.send, data[3_000_000:] + b".\r\nNOOP\r\n")
    assert (await client.getreply())[0] == r.INTERNAL.code
    assert (await client.getreply())[0] == 250
    await world.admin.execute("ALTER TABLE elsewhere RENAME TO body_piece")
    assert await world.texts(PHARMACY) == []
    await client.sendmail(DOCTOR, [PHARMACY], data)
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_message_that_takes_too_long_is_given_up_before_its_pieces_are(
    world: World, submission: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LARGE_MESSAGE_SECONDS < STRAY_PIECES_SECONDS
    monkeypatch.setattr("server.transport.large.LARGE_MESSAGE_SECONDS", -1)
    client = await submission.client(DOCTOR)
    with pytest.raises(smtplib.SMTPDataError) as error:
        await client.sendmail(DOCTOR, [PHARMACY], large())
    assert error.value.smtp_code == r.BUSY.code


async def test_an_opaque_signature_is_judged_too(world: World, submission: Post, doctor: Issued) -> None:
    client = await submission.client(DOCTOR)
    sent = signed(doctor, 5, sign_opaque)
    await client.sendmail(DOCTOR, [PHARMACY], sent)
    verdict = (await summary_of(world, PHARMACY)).verdict
    assert (verdict["status"], verdict["covers"]) == ("passed", "whole")


async def test_an_octet_changed_inside_an_opaque_signature_is_seen(
    world: World, submission: Post, doctor: Issued
) -> None:
    client = await submission.client(DOCTOR)
    sent = bytearray(signed(doctor, 3, sign_opaque))
    place = sent.index(b"\r\n", 2_000_000) + 10
    sent[place] = ord("A") if sent[place] != ord("A") else ord("B")
    await client.sendmail(DOCTOR, [PHARMACY], bytes(sent))
    verdict = (await summary_of(world, PHARMACY)).verdict
    assert (verdict["status"], verdict["reason"]) == ("failed", "tampered")


async def test_the_check_opens_every_piece(world: World) -> None:
    await world.acceptor.accept(await world.envelope(PHARMACY), large())
    assert await check(world.admin, world.keyring, world.edge) == []
    *_, last = await world.admin.fetch("SELECT * FROM body_piece ORDER BY number")
    for damage in (
        "DELETE FROM body_piece WHERE number = 1",
        f"DELETE FROM body_piece WHERE number = {last['number']}",
        "UPDATE body_piece SET data = set_byte(data, 70000, get_byte(data, 70000) # 1) WHERE number = 0",
        f"UPDATE body_piece SET data = data || '\\x00' WHERE number = {last['number']}",
    ):
        transaction = world.admin.transaction()
        await transaction.start()
        await world.admin.execute(damage)
        assert len(await problems_of(world.admin, world.keyring, world.edge)) == 1
        await transaction.rollback()
