"""What the extensions promise, before a real store: chunks and binary octets arrive as they were, receipts come."""

from __future__ import annotations

import pytest

from tests.smtp_edge import Client, Post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

BINARY = (
    f"From: <{DOCTOR}>\r\nTo: <{PHARMACY}>\r\nSubject: Image\r\nDate: Mon, 2 Mar 2026 12:00:00 +0100\r\n"
    "Message-ID: <image@cabinet.example>\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
    "Content-Transfer-Encoding: binary\r\n\r\n"
).encode() + bytes(range(256)) * 40


async def chunks(client: Client, data: bytes, size: int) -> list[int]:
    """Send in chunks of `size`, all of them in one piece; the codes of the replies."""
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    lines = [b"BDAT %d%s\r\n" % (len(part), b" LAST" if part is parts[-1] else b"") for part in parts]
    await client.send(b"".join(line + part for line, part in zip(lines, parts, strict=True)))
    return [(await client.getreply())[0] for _ in parts]


@pytest.mark.parametrize("size", [7, 1_000, 1_000_000])
async def test_a_binary_message_arrives_as_it_was(world: World, submission: Post, size: int) -> None:
    client = await submission.client(DOCTOR)
    await client.mail(DOCTOR, ["BODY=BINARYMIME", f"SIZE={len(BINARY)}"])
    await client.rcpt(PHARMACY)
    assert set(await chunks(client, BINARY, size)) == {250}
    await client.quit()
    (text,) = await world.texts(PHARMACY)
    assert text.endswith(BINARY)


async def test_who_asks_has_a_receipt_that_names_what_was_asked(world: World, submission: Post) -> None:
    client = await submission.client(DOCTOR)
    await client.mail(DOCTOR, ["RET=HDRS", "ENVID=Q+2B1", "REQUIRETLS"])
    await client.rcpt(PHARMACY, ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;officine+2Bnuit@msg.exemple.fr"])
    await client.rcpt(PATIENT, ["NOTIFY=NEVER"])
    assert set(await chunks(client, message(), 100)) == {250}
    await client.quit()
    (receipt,) = await world.texts(DOCTOR)
    assert b"Original-Envelope-Id: Q+1\r\n" in receipt
    assert b"Original-Recipient: rfc822;officine+nuit@msg.exemple.fr\r\n" in receipt
    assert receipt.count(b"Action: delivered") == 1
    assert len(await world.texts(PATIENT)) == 1
