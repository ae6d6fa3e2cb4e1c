"""The record's intake: what a patient is given is filed by the jobs, once, and one bad message stops no other."""

from __future__ import annotations

import email.policy
from email.message import EmailMessage
from typing import Any

import pytest

from server.base.errors import Reason, TryLater
from server.base.limits import INTAKE_ATTEMPTS
from server.mailbox.model import INBOX_ID
from server.mailbox.store import Mailbox
from server.record.record import Record
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message
from tests.web_site import PDF


def letter(number: int, pdf: bytes = PDF) -> bytes:
    content = EmailMessage(policy=email.policy.SMTP)
    content["From"], content["To"], content["Message-ID"] = DOCTOR, PATIENT, f"<{number}@cabinet.example>"
    content.set_content("Voici.")
    content.add_attachment(pdf, maintype="application", subtype="pdf", filename=f"compte-rendu {number}.pdf")
    return content.as_bytes()


async def states(world: World) -> dict[str, int]:
    rows = await world.admin.fetch("SELECT state, count(*) AS n FROM intake GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def titles(world: World) -> list[str]:
    found = await Record(world.reader_pool).documents(await world.mailbox(PATIENT))
    return sorted(document.detail.title for document in found)


@pytest.fixture
async def reading(world: World) -> World:
    """The world, whose reader may list documents as the pages do."""
    await world.admin.execute("GRANT SELECT ON document TO caducee_imap")
    return world


async def test_only_what_a_patient_is_given_waits(reading: World) -> None:
    await reading.acceptor.accept(await reading.envelope(PATIENT, PHARMACY, DOCTOR), letter(1))
    mailbox = await reading.mailbox(PATIENT)
    sent = next(folder for folder in await mailbox.folders() if folder.special_use == "\\Sent")
    await mailbox.append(sent.folder_id, letter(2))
    await (await reading.mailbox(DOCTOR)).append(INBOX_ID, letter(3))
    assert await states(reading) == {"waiting": 1}
    assert await reading.intake().some() == 1
    assert await titles(reading) == ["compte-rendu 1.pdf"]
    assert await reading.intake().some() == 0


async def test_appended_copied_and_moved_is_filed_once(reading: World) -> None:
    mailbox = await reading.mailbox(PATIENT)
    uid = await mailbox.append(INBOX_ID, letter(1))
    kept = await mailbox.create_folder("Gardés")
    await mailbox.copy(INBOX_ID, [uid], kept.folder_id)
    await reading.intake().some()
    await mailbox.move(INBOX_ID, [uid], kept.folder_id)
    await mailbox.append(INBOX_ID, letter(2, PDF))  # other bytes around the same document of the same sender
    await reading.intake().some()
    assert await states(reading) == {"filed": 2}
    assert await titles(reading) == ["compte-rendu 1.pdf"]


async def test_what_came_through_the_local_queue_is_filed(reading: World) -> None:
    owner = reading.owners[PATIENT]
    envelope = await reading.envelope(PATIENT)
    await reading.admin.execute("UPDATE owner SET state = 'suspended' WHERE owner_id = $1", owner)
    await reading.acceptor.accept(envelope, letter(1))
    assert await states(reading) == {}  # not delivered, so not in the record either
    await reading.admin.execute("UPDATE owner SET state = 'active' WHERE owner_id = $1", owner)
    await reading.local_queue().deliver()
    await reading.intake().some()
    assert await titles(reading) == ["compte-rendu 1.pdf"]


async def test_a_poison_message_is_marked_and_the_next_is_filed(
    reading: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        await reading.acceptor.accept(await reading.envelope(PATIENT), letter(number, PDF + b"%d" % number))
    read = Mailbox.summaries
    poison = await reading.admin.fetchval("SELECT content_id FROM intake ORDER BY not_before, received_at LIMIT 1")

    async def summaries(mailbox: Mailbox, content_ids: list[bytes]) -> Any:
        if poison in content_ids:
            raise RecursionError
        return await read(mailbox, content_ids)

    monkeypatch.setattr(Mailbox, "summaries", summaries)
    for _ in range(INTAKE_ATTEMPTS):
        assert await states(reading) != {"failed": 1, "filed": 1}
        await reading.intake().some()
        await reading.admin.execute("UPDATE intake SET not_before = now() WHERE state = 'waiting'")
    assert await states(reading) == {"failed": 1, "filed": 1}
    monkeypatch.undo()
    assert len(await titles(reading)) == 1


async def test_a_message_that_ends_its_worker_is_marked(reading: World) -> None:
    await reading.acceptor.accept(await reading.envelope(PATIENT), letter(1))
    # What is left when the process dies in the middle, as often as it is allowed to.
    await reading.admin.execute("UPDATE intake SET attempts = $1", INTAKE_ATTEMPTS)
    await reading.intake().some()
    assert await states(reading) == {"failed": 1}
    assert await titles(reading) == []


async def test_a_store_that_is_away_blames_no_message(reading: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await reading.acceptor.accept(await reading.envelope(PATIENT), letter(1))

    async def summaries(mailbox: Mailbox, content_ids: list[bytes]) -> Any:
        raise TryLater(Reason.STORE_AWAY, "away")

    monkeypatch.setattr(Mailbox, "summaries", summaries)
    with pytest.raises(TryLater):
        await reading.intake().some()
    assert await states(reading) == {"waiting": 1}


async def test_a_message_without_documents_is_done(reading: World) -> None:
    await reading.acceptor.accept(await reading.envelope(PATIENT), message())
    await reading.intake().some()
    assert await states(reading) == {"filed": 1}
