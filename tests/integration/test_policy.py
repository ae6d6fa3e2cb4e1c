"""Who may write to whom, over real sockets: operators and their domains, reports, searches, room, patients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from crypto.smime.anchors import TrustAnchors
from server.base import limits
from server.base.sections import Relay, Transport
from server.identity.model import Principal
from server.mailbox import terms
from server.mailbox.model import OwnerKind
from server.smtp import reply_codes as r
from server.transport.envelope import Remote
from server.transport.policy import Policy
from server.trust.space import TrustSpace
from tests.smtp_edge import Client, Post, post
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World, message

OPERATOR, OTHER = "operateur.fr", "autre.fr"
WRITER = f"dr@{OPERATOR}"
REPORT = (
    f"From: MAILER-DAEMON@{OPERATOR}\r\nSubject: Rapport\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="x"\r\n\r\n'
    "--x\r\n\r\nperdu\r\n--x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a\r\n\r\n--x--\r\n"
).encode()


def subject(pki: Path) -> str:
    certificate = x509.load_pem_x509_certificate((pki / "organisation.pem").read_bytes())
    return certificate.subject.rfc4514_string()


def letter(sender: str = WRITER, to: str = PHARMACY, extra: str = "", number: int = 1) -> bytes:
    return (
        f"{extra}From: <{sender}>\r\nTo: <{to}>\r\nSubject: Bilan\r\n"
        f"Message-ID: <{number}@x.example>\r\n\r\nBonjour\r\n"
    ).encode()


def with_settings(world: World, **sections: Any) -> World:
    settings = world.database.settings.model_copy(update=sections)
    return replace(world, database=replace(world.database, settings=settings))


@asynccontextmanager
async def relay(world: World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[tuple[Post, Client]]:
    """The relay, with an operator of two domains at its door."""
    listed = [subject(pki)]
    others = {OTHER: ["CN=smtp.autre.fr,O=Autre,C=FR"], OPERATOR: listed, "hôpital.fr": listed}
    async with post(world, pki, anchors, "relay", others) as running:
        client = await running.client(certificate="organisation")
        yield running, client
        await client.close()


async def data(client: Client, sender: str, recipient: str, content: bytes) -> tuple[int, str]:
    """One transaction; the reply of whichever command refused, else of DATA."""
    await client.rset()
    for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"):
        code, text = await client.say(command)
        if code != 250:
            return code, text
    code, said = await client.data(content)
    return code, said.decode()


def is_reply(answer: tuple[int, str], reply: r.Reply) -> bool:
    return answer == (reply.code, "\n".join(f"{reply.status} {line}" for line in reply.text.split("\n")))


# Operators -----------------------------------------------------------------------------------------------------------


async def test_every_author_is_the_operators(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with relay(world, pki, anchors) as (_, client):
        assert (await data(client, WRITER, PHARMACY, letter()))[0] == 250
        foreign = f"dr@{OTHER}"
        for extra in (
            f"Sender: {foreign}\r\n",
            f"From: {foreign}\r\n",
            f"Resent-From: {foreign}\r\n",
            f"Resent-Sender: {foreign}\r\n",
            "From: dr@inconnu.fr\r\n",
            f"Sender: {DOCTOR}\r\n",
        ):
            assert is_reply(await data(client, WRITER, PHARMACY, letter(extra=extra)), r.PEER_NOT_TRUSTED), extra
    assert len(await world.texts(PHARMACY)) == 1


async def test_a_domain_past_ascii_is_the_same_in_both_writings(world: World, pki: Path, anchors: TrustAnchors) -> None:
    trust = TrustSpace({"xn--hpital-ixa.fr": [subject(pki)]})
    policy = Policy(world.edge_pool, world.edge, world.database.settings, trust)
    doctor = Principal(world.owners[DOCTOR], DOCTOR, OwnerKind.PER, "test")
    answers = await policy.recipients(doctor, ["dr@HÔPITAL.fr", "dr@xn--hpital-ixa.fr", "dr@hopital.fr"])
    assert answers[:2] == [Remote("xn--hpital-ixa.fr")] * 2
    assert getattr(answers[2], "reason", None) == "no-route"


async def test_an_operator_delivers_here_and_relays_nothing(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with relay(world, pki, anchors) as (_, client):
        for elsewhere in (f"dr@{OTHER}", f"dr@{OPERATOR}", "dr@inconnu.fr", "dr@[127.0.0.1]", "1@patient.mssante.fr"):
            answer = await data(client, WRITER, elsewhere, letter())
            assert is_reply(answer, r.BAD_PATIENT_ADDRESS if "mssante" in elsewhere else r.NO_RELAY), elsewhere


async def test_a_mailbox_here_writes_to_other_operators(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with post(world, pki, anchors, members={OTHER: ["CN=smtp.autre.fr,O=Autre,C=FR"]}) as submission:
        client = await submission.client(DOCTOR)
        await client.mail(DOCTOR)
        assert (await client.say(f"RCPT TO:<dr@{OTHER.upper()}>"))[0] == 250
        assert is_reply(await client.say("RCPT TO:<dr@inconnu.fr>"), r.NO_ROUTE)
        assert is_reply(await client.say(f"RCPT TO:<dr@sous.{OTHER}>"), r.NO_ROUTE)
        await client.close()


async def test_a_forwarder_is_marked_where_the_setting_says_so(world: World, pki: Path, anchors: TrustAnchors) -> None:
    forged = b"Authentication-Results: msg.exemple.fr; x-trust-space=pass\r\n"
    async with relay(with_settings(world, relay=Relay(forwarders="mark")), pki, anchors) as (_, client):
        forwarded = forged + letter(f"dr@{OTHER}")
        assert (await data(client, WRITER, PHARMACY, forwarded))[0] == 250
        assert is_reply(await data(client, WRITER, PHARMACY, letter("dr@inconnu.fr")), r.PEER_NOT_TRUSTED)
        assert is_reply(await data(client, f"dr@{OTHER}", PHARMACY, letter()), r.PEER_NOT_TRUSTED)
        # To a patient it arrives, and opens no conversation with somebody who is not proven to have written.
        assert (await data(client, WRITER, PATIENT, letter(f"dr@{OTHER}", PATIENT)))[0] == 250
        assert (await data(client, WRITER, PHARMACY, letter(number=2)))[0] == 250
    marked, plain = [message_from_bytes(text) for text in await world.texts(PHARMACY)]
    assert [" ".join(value.split()) for value in marked.get_all("Authentication-Results", [])] == [
        f"msg.exemple.fr; smime=none; x-trust-space=fail header.from={OTHER}"
    ]
    assert "x-trust-space" not in plain["Authentication-Results"]
    assert await world.admin.fetchval("SELECT count(*) FROM contact") == 0


async def test_the_null_sender_sends_reports_only(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with relay(world, pki, anchors) as (_, client):
        assert is_reply(await data(client, "", PHARMACY, letter()), r.REPORTS_ONLY)
        for foreign in (OTHER, "msg.exemple.fr"):
            of_others = REPORT.replace(OPERATOR.encode(), foreign.encode())
            assert is_reply(await data(client, "", PHARMACY, of_others), r.PEER_NOT_TRUSTED)
        inside = (
            b"From: a@operateur.fr\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n" + REPORT + b"--y--\r\n"
        )
        assert is_reply(await data(client, "", PHARMACY, inside), r.REPORTS_ONLY)
        assert (await data(client, "", PHARMACY, REPORT))[0] == 250
        assert (await data(client, "", PATIENT, REPORT))[0] == 250
    assert len(await world.texts(PHARMACY)) == 1
    assert await world.admin.fetchval("SELECT count(*) FROM contact") == 0, "nobody answers a report"


async def test_the_null_sender_of_nobody_is_refused(world: World, pki: Path, anchors: TrustAnchors) -> None:
    async with post(world, pki, anchors, "relay", {OTHER: ["CN=smtp.autre.fr"]}) as running:
        client = await running.client(certificate="organisation")
        assert is_reply(await data(client, "", PHARMACY, REPORT), r.PEER_NOT_TRUSTED)
        await client.close()


# Unknown recipients --------------------------------------------------------------------------------------------------


async def test_who_searches_for_addresses_is_stopped_and_learns_no_more(
    world: World, pki: Path, anchors: TrustAnchors
) -> None:
    async with relay(with_settings(world, relay=Relay(unknown_per_hour=60)), pki, anchors) as (running, client):
        await client.mail(WRITER)
        for number in range(limits.UNKNOWN_RECIPIENTS_PER_SENDER):
            assert is_reply(await client.say(f"RCPT TO:<n{number}@msg.exemple.fr>"), r.UNKNOWN_RECIPIENT)
        for address in ("more@msg.exemple.fr", PHARMACY, PATIENT):
            assert is_reply(await client.say(f"RCPT TO:<{address}>"), r.TOO_MANY_UNKNOWN), "known or not: the same"
        # Another sender of the same operator goes on, in a session of its own, until the operator's own limit.
        another = await running.client(certificate="organisation")
        await another.mail(f"other@{OPERATOR}")
        assert (await another.say(f"RCPT TO:<{PHARMACY}>"))[0] == 250
        for number in range(10):
            assert is_reply(await another.say(f"RCPT TO:<m{number}@msg.exemple.fr>"), r.UNKNOWN_RECIPIENT)
        await another.rset()
        await another.mail(f"third@{OPERATOR}")
        assert is_reply(await another.say(f"RCPT TO:<{PHARMACY}>"), r.TOO_MANY_UNKNOWN)
        # The hour is over.
        await world.admin.execute("UPDATE tally SET hour = hour - interval '1 hour'")
        assert (await another.say(f"RCPT TO:<{PHARMACY}>"))[0] == 250
        await another.close()


async def test_the_limit_holds_inside_one_pipelined_burst(world: World) -> None:
    policy = Policy(world.edge_pool, world.edge, world.database.settings, TrustSpace({}))
    doctor = Principal(world.owners[DOCTOR], DOCTOR, OwnerKind.PER, "test")
    burst = [f"n{number}@msg.exemple.fr" for number in range(60)] + [PHARMACY]
    answers = [getattr(one, "reason", "route") for one in await policy.recipients(doctor, burst)]
    assert answers == ["unknown-recipient"] * 50 + ["too-many-unknown"] * 11


# Patients' names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "allowed"),
    [("key", {"280012A00100111"}), ("form", {"280012A00100111", "280019900100186"}), ("none", None)],
)
async def test_a_patients_name_is_checked_before_it_is_looked_up(
    world: World, pki: Path, anchors: TrustAnchors, control: Any, allowed: set[str] | None
) -> None:
    names = ["280012A00100111", "280019900100186", "28001990010018", "jeanne.martin", "2800199001001820", "x" * 15]
    allowed = set(names) if allowed is None else allowed
    changed = with_settings(world, transport=Transport(ins_control=control))
    async with relay(changed, pki, anchors) as (_, client):
        await client.mail(WRITER)
        assert (await client.say(f"RCPT TO:<{PATIENT}>"))[0] == 250
        for name in names:
            answer = await client.say(f"RCPT TO:<{name}@patient.msg.exemple.fr>")
            assert is_reply(answer, r.UNKNOWN_RECIPIENT if name in allowed else r.BAD_PATIENT_ADDRESS), name
        assert is_reply(await client.say("RCPT TO:<postmaster@patient.msg.exemple.fr>"), r.UNKNOWN_RECIPIENT)
    counted = await world.admin.fetchval("SELECT sum(count) FROM tally WHERE kind = 'unknown-by-operator'")
    assert counted == len(allowed) + 1, "what cannot be a patient's address is no search"


# Room and opposition -------------------------------------------------------------------------------------------------


async def change(world: World, address: str, **changes: Any) -> None:
    owner_id = world.owners[address]
    before = (await terms.standing(world.admin, owner_id)).terms
    await terms.change(world.admin, world.edge, owner_id, replace(before, **changes), "test")


async def test_a_full_mailbox_is_told_and_stops_nobody_else(world: World, pki: Path, anchors: TrustAnchors) -> None:
    await change(world, PHARMACY, quota_bytes=1_500)
    async with post(world, pki, anchors) as submission:
        client = await submission.client(DOCTOR)
        await client.say(f"MAIL FROM:<{DOCTOR}> SIZE=1600")
        assert is_reply(await client.say(f"RCPT TO:<{PHARMACY}>"), r.MAILBOX_FULL)
        assert (await client.say(f"RCPT TO:<{PATIENT}>"))[0] == 250
        await client.rset()
        # What was not said is judged by what lies there: the quota is overshot once, and then it holds.
        assert (await data(client, DOCTOR, PHARMACY, message("x" * 3_000)))[0] == 250
        refused = await client.sendmail(DOCTOR, [PHARMACY, PATIENT], message())
        assert {address: code for address, (code, _) in refused.items()} == {PHARMACY: 452}
        await change(world, PHARMACY, quota_bytes=0)
        assert await client.sendmail(DOCTOR, [PHARMACY], message()) == {}
        await client.close()
    assert (len(await world.texts(PHARMACY)), len(await world.texts(PATIENT))) == (2, 1)


async def test_the_settings_quota_holds_for_a_mailbox_without_its_own(
    world: World, pki: Path, anchors: TrustAnchors
) -> None:
    changed = with_settings(world, transport=Transport(quota_bytes=1_000))
    async with post(changed, pki, anchors) as submission:
        client = await submission.client(DOCTOR)
        await client.say(f"MAIL FROM:<{DOCTOR}> SIZE=2000")
        assert is_reply(await client.say(f"RCPT TO:<{PHARMACY}>"), r.MAILBOX_FULL)
        await client.close()


async def test_who_opposes_messages_gets_none(world: World, pki: Path, anchors: TrustAnchors) -> None:
    await change(world, PATIENT, refuses_mail=True)
    async with relay(world, pki, anchors) as (_, client):
        assert is_reply(await data(client, WRITER, PATIENT, letter(to=PATIENT)), r.MAIL_OPPOSED)
        assert is_reply(await data(client, "", PATIENT, REPORT), r.MAIL_OPPOSED)
        await change(world, PATIENT, refuses_mail=False)
        assert (await data(client, WRITER, PATIENT, letter(to=PATIENT)))[0] == 250


# Large messages to patients ------------------------------------------------------------------------------------------


async def test_a_patients_limit_is_told_at_rcpt_and_holds_at_data(
    world: World, pki: Path, anchors: TrustAnchors
) -> None:
    changed = with_settings(world, transport=Transport(max_patient_bytes=70_000, max_message_bytes=200_000))
    large = message("x" * 70_000)
    async with post(changed, pki, anchors, members={"patient.mssante.fr": ["CN=mes"]}) as submission:
        client = await submission.client(DOCTOR)
        refused = await client.sendmail(DOCTOR, [PHARMACY, PATIENT], large)
        assert {address: code for address, (code, _) in refused.items()} == {PATIENT: r.TOO_LARGE_FOR_PATIENT.code}
        await client.say(f"MAIL FROM:<{DOCTOR}> SIZE={len(large)}")
        assert is_reply(await client.say("RCPT TO:<279035121518989@patient.mssante.fr>"), r.TOO_LARGE_FOR_PATIENT)
        assert is_reply(await data(client, DOCTOR, PATIENT, large), r.TOO_LARGE_FOR_PATIENT)
        exact = message("x" * (70_000 - len(message(""))))
        assert len(exact) == 70_000
        assert (await data(client, DOCTOR, PATIENT, exact))[0] == 250
        await client.close()
    assert (len(await world.texts(PHARMACY)), len(await world.texts(PATIENT))) == (1, 1)


# What is not ours to touch -------------------------------------------------------------------------------------------


async def test_national_headers_pass_byte_for_byte(world: World, pki: Path, anchors: TrustAnchors) -> None:
    national = (
        "X-MSS-NIL: 1234567890\r\nX-MSS-CODECDA:  34112-3,PRESC-BIO,\r\n\t15508-5\r\nx-mss-ins: O\r\nX-MSS-MES:FIN \r\n"
        f"Disposition-Notification-To: <{WRITER}>\r\n"
    )
    async with relay(world, pki, anchors) as (_, client):
        for recipient in (PHARMACY, PATIENT):
            assert (await data(client, WRITER, recipient, letter(to=recipient, extra=national)))[0] == 250
    for recipient in (PHARMACY, PATIENT):
        (text,) = await world.texts(recipient)
        assert text.endswith(letter(to=recipient, extra=national))
