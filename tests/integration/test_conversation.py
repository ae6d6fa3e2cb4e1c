"""The conversation with a patient, over real sockets: who opens it, who ends it, and what a patient may then send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from crypto.smime.anchors import TrustAnchors
from server.mailbox import terms
from server.mailbox.create import create
from server.mailbox.model import NewMailbox, OwnerKind
from server.smtp import reply_codes as r
from tests.smtp_edge import Client, post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World

OPERATOR, LISTED = "operateur.fr", "autre.fr"
COLLEAGUE = f"dr@{OPERATOR}"
OTHER_PATIENT = "279035121518989@patient.msg.exemple.fr"


@dataclass
class Talk:
    """A doctor and a patient at the submission, a colleague at another operator at the relay."""

    world: World
    clients: dict[str, Client]
    written: int = 0

    async def writes(
        self, sender: str, *recipients: str, subject: str = "Bilan", extra: str = "", answering: str = ""
    ) -> tuple[int, str]:
        """Send one message; the reply of whichever command refused, else of DATA. Its Message-ID is <number@x>."""
        self.written += 1
        client = self.clients[sender]
        await client.rset()
        for command in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in recipients)):
            code, text = await client.say(command)
            if code != 250:
                return code, text
        if answering:
            extra += f"In-Reply-To: {answering}\r\n"
        head = f"From: <{sender}>\r\nSubject: {subject}\r\nMessage-ID: <{self.written}@x>\r\n{extra}"
        code, said = await client.data(f"{head}\r\nBonjour\r\n".encode())
        return code, said.decode()

    async def may_write(self, recipient: str) -> bool:
        """Whether RCPT takes this recipient from the patient; what it says else is that one rule."""
        client = self.clients[PATIENT]
        await client.rset()
        await client.mail(PATIENT)
        code, text = await client.say(f"RCPT TO:<{recipient}>")
        assert code == 250 or is_reply((code, text), r.NO_CONVERSATION)
        return bool(code == 250)

    async def sent(self, *arguments: Any, **words: Any) -> None:
        assert (await self.writes(*arguments, **words))[0] == 250


def is_reply(answer: tuple[int, str], reply: r.Reply) -> bool:
    return answer == (reply.code, "\n".join(f"{reply.status} {line}" for line in reply.text.split("\n")))


@pytest.fixture
async def talk(world: World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[Talk]:
    certificate = x509.load_pem_x509_certificate((pki / "organisation.pem").read_bytes())
    members = {OPERATOR: [certificate.subject.rfc4514_string()], LISTED: ["CN=smtp.autre.fr"]}
    new = NewMailbox(OTHER_PATIENT, OwnerKind.PATIENT, "Paul Martin", ins="279035121518989")
    (other,) = await create(world.admin, world.keyring, world.edge, [new])
    world.owners[OTHER_PATIENT] = other.owner_id
    async with AsyncExitStack() as stack:
        submission = await stack.enter_async_context(post(world, pki, anchors, members=members))
        beside = replace(world, edge_pool=await world.database.pool("relay"))  # each process has its own
        stack.callback(beside.edge_pool.terminate)
        relay = await stack.enter_async_context(post(beside, pki, anchors, "relay", members))
        clients = {one: await submission.client(one) for one in (DOCTOR, PHARMACY, PATIENT)}
        clients[COLLEAGUE] = await relay.client(certificate="organisation")
        yield Talk(world, clients)
        for client in clients.values():
            await client.close()


async def test_who_wrote_may_be_answered_and_written_to_again(talk: Talk) -> None:
    assert not await talk.may_write(DOCTOR)
    await talk.sent(DOCTOR, PATIENT)
    await talk.sent(PATIENT, DOCTOR, answering="<1@x>")
    await talk.sent(PATIENT, DOCTOR, subject="Autre question")
    assert not await talk.may_write(PHARMACY)


async def test_a_doctor_of_another_operator_is_answered(talk: Talk) -> None:
    assert not await talk.may_write(COLLEAGUE)
    await talk.sent(COLLEAGUE, PATIENT)
    assert await talk.may_write(COLLEAGUE)
    assert await talk.may_write(COLLEAGUE.upper())
    assert not await talk.may_write(f"other@{OPERATOR}")


@pytest.mark.parametrize(
    ("named", "opened"),
    [
        (PHARMACY, PHARMACY),
        (f"Secrétariat <secretariat@{LISTED}>", f"secretariat@{LISTED}"),
        ("dr@gmail.com", DOCTOR),  # outside the trust space: ignored
        (OTHER_PATIENT, DOCTOR),
        ("1@patient.mssante.fr", DOCTOR),
        ("nobody", DOCTOR),
        (f"{PHARMACY}, dr@gmail.com", PHARMACY),
    ],
)
async def test_a_reply_to_of_the_trust_space_takes_the_place_of_from(talk: Talk, named: str, opened: str) -> None:
    await talk.sent(DOCTOR, PATIENT, extra=f"Reply-To: {named}\r\n")
    assert await talk.may_write(opened)
    for other in {DOCTOR, PHARMACY, f"secretariat@{LISTED}", "dr@gmail.com"} - {opened}:
        assert not await talk.may_write(other)


async def test_a_patient_of_another_operator_is_named_by_an_ins(talk: Talk) -> None:
    client = talk.clients[DOCTOR]
    await client.mail(DOCTOR)
    for name in ("279035121518988", "27903512151898", "zoe.essai"):
        assert is_reply(await client.say(f"RCPT TO:<{name}@patient.mssante.fr>"), r.BAD_PATIENT_ADDRESS)
    # With its key it is refused for another reason: nobody of this trust space carries mail for that domain.
    assert is_reply(await client.say("RCPT TO:<279035121518989@patient.mssante.fr>"), r.NO_ROUTE)


async def test_patients_never_write_to_each_other(talk: Talk) -> None:
    for other in (OTHER_PATIENT, PATIENT, "279035121518989@patient.mssante.fr"):
        assert not await talk.may_write(other)
    owner = talk.world.owners[PATIENT]
    # Not even where the database says that the contact is open.
    await talk.sent(DOCTOR, PATIENT, OTHER_PATIENT)
    await talk.world.admin.execute(
        "INSERT INTO contact (owner_id, token, sender) SELECT $1, token, token FROM address WHERE owner_id = $2",
        owner,
        talk.world.owners[OTHER_PATIENT],
    )
    assert not await talk.may_write(OTHER_PATIENT)


async def test_another_operators_patient_writes_to_none_of_ours(world: World, pki: Path, anchors: TrustAnchors) -> None:
    certificate = x509.load_pem_x509_certificate((pki / "organisation.pem").read_bytes())
    members = {"patient.mssante.fr": [certificate.subject.rfc4514_string()]}
    stranger = "279035121518989@patient.mssante.fr"
    async with post(world, pki, anchors, "relay", members) as relay:
        mes = Talk(world, {stranger: await relay.client(certificate="organisation")})
        assert is_reply(await mes.writes(stranger, PATIENT), r.NO_CONVERSATION)
        assert (await mes.writes(stranger, DOCTOR))[0] == 250
        await mes.clients[stranger].close()


async def test_fin_as_the_whole_subject_ends_what_came_before_from_that_sender(talk: Talk) -> None:
    await talk.sent(DOCTOR, PATIENT)
    await talk.sent(DOCTOR, PATIENT, extra=f"Reply-To: {PHARMACY}\r\n")
    await talk.sent(COLLEAGUE, PATIENT)
    for subject in ("[fin]", "[FIN] merci", "Re: [FIN]", "FIN"):
        await talk.sent(DOCTOR, PATIENT, subject=subject)
    assert await talk.may_write(DOCTOR)
    await talk.sent(DOCTOR, PATIENT, subject="[FIN]")
    assert not await talk.may_write(DOCTOR)
    assert not await talk.may_write(PHARMACY), "it was opened by the same sender"
    assert await talk.may_write(COLLEAGUE)
    await talk.sent(DOCTOR, PATIENT)
    assert await talk.may_write(DOCTOR), "a later one opens again"
    assert not await talk.may_write(PHARMACY)


async def test_fin_of_one_sender_leaves_a_secretariat_that_another_opened(talk: Talk) -> None:
    for sender in (DOCTOR, COLLEAGUE):
        await talk.sent(sender, PATIENT, extra=f"Reply-To: {PHARMACY}\r\n")
    await talk.sent(DOCTOR, PATIENT, subject="[FIN]")
    assert await talk.may_write(PHARMACY)
    await talk.sent(COLLEAGUE, PATIENT, subject="=?utf-8?B?W0ZJTl0=?=")
    assert not await talk.may_write(PHARMACY)


async def test_fin_from_a_stranger_ends_nothing_and_opens_nothing(talk: Talk) -> None:
    await talk.sent(DOCTOR, PATIENT)
    await talk.sent(COLLEAGUE, PATIENT, subject="[FIN]")
    assert await talk.may_write(DOCTOR)
    assert not await talk.may_write(COLLEAGUE)


async def test_the_header_fin_mutes_that_one_message(talk: Talk) -> None:
    await talk.sent(DOCTOR, PATIENT)
    await talk.sent(DOCTOR, PATIENT, extra="X-MSS-MES: FIN\r\n")
    muted = f"<{talk.written}@x>"
    assert is_reply(await talk.writes(PATIENT, DOCTOR, answering=muted), r.NOT_ANSWERABLE)
    assert is_reply(await talk.writes(PATIENT, DOCTOR, extra=f"References: <1@x> {muted}\r\n"), r.NOT_ANSWERABLE)
    await talk.sent(PATIENT, DOCTOR, answering="<1@x>")
    await talk.sent(PATIENT, DOCTOR, answering="<9@x>", extra=f"References: {muted} <9@x>\r\n")
    await talk.sent(PATIENT, DOCTOR, subject="Autre question")
    await talk.sent(DOCTOR, PHARMACY, answering=muted)  # the rule is the patient's alone


@pytest.mark.parametrize("value", ["fin", "Fin", "FIN;", "NON", ""])
async def test_the_header_counts_in_three_capitals(talk: Talk, value: str) -> None:
    await talk.sent(DOCTOR, PATIENT, extra=f"X-MSS-MES: {value}\r\n")
    await talk.sent(PATIENT, DOCTOR, answering="<1@x>")


async def test_the_header_fin_opens_no_conversation_and_a_fin_subject_stays_ended(talk: Talk) -> None:
    await talk.sent(COLLEAGUE, PATIENT, extra="X-MSS-MES: FIN\r\n")
    assert not await talk.may_write(COLLEAGUE)
    await talk.sent(DOCTOR, PATIENT)
    await talk.sent(DOCTOR, PATIENT, subject="[FIN]")
    await talk.sent(DOCTOR, PATIENT, extra="X-MSS-MES: FIN\r\n")
    assert not await talk.may_write(DOCTOR)


async def test_a_pharmacy_that_is_open_may_be_written_to_first(talk: Talk) -> None:
    world = talk.world
    owner_id = world.owners[PHARMACY]
    before = (await terms.standing(world.admin, owner_id)).terms
    await terms.change(world.admin, world.edge, owner_id, replace(before, open_to_patients=True), "test")
    await talk.sent(PATIENT, PHARMACY)
    assert not await talk.may_write(DOCTOR)


async def test_what_the_patient_closed_no_sender_opens(talk: Talk) -> None:
    await talk.sent(DOCTOR, PATIENT)
    await talk.world.admin.execute("UPDATE contact SET closed_at = now()")
    await talk.sent(COLLEAGUE, PATIENT, extra=f"Reply-To: {DOCTOR}\r\n")
    await talk.sent(DOCTOR, PATIENT)
    assert not await talk.may_write(DOCTOR)


async def test_the_database_sees_no_correspondent(talk: Talk) -> None:
    await talk.sent(DOCTOR, PATIENT)
    await talk.sent(DOCTOR, PATIENT, extra="X-MSS-MES: FIN\r\n")
    rows = [bytes(value) for row in await talk.world.admin.fetch("SELECT token, sender FROM contact") for value in row]
    assert len(rows) == 4
    assert {len(value) for value in rows} == {32}
    assert not any(word in value for value in rows for word in (b"dupont", b"exemple", b"@x"))
