"""An unknown address at submission: the nearest published ones are proposed to who signed in, where the operator allows
it; never to peers, never of patients or unlisted mailboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from crypto.smime.anchors import TrustAnchors
from directory.model import MailboxKind
from directory.own.mailboxes import OwnMailbox, named, publish
from server.base.limits import UNKNOWN_RECIPIENTS_PER_SENDER
from server.base.settings import Submission
from server.smtp import reply_codes as r
from tests.integration.test_policy import WRITER, relay, with_settings
from tests.smtp_edge import Post, post
from tests.store_world import DOCTOR, NOON, PATIENT, PHARMACY, World

WRONG = PHARMACY.replace("pharmacie", "pharmcaie")
SHOP = named(OwnMailbox(PHARMACY, MailboxKind.ORG, finess="010000000"), "Pharmacie du Pont")
# As an unlisted mailbox's, and as a patient's: near what is asked, and never said.
HIDDEN = replace(SHOP, address=PHARMACY.replace("pharmacie", "pharmacia"), unlisted=True)


def allowing(world: World) -> World:
    return with_settings(world, submission=Submission(nearest_addresses=True))


@pytest.fixture
async def submission(world: World, pki: Path, anchors: TrustAnchors) -> AsyncIterator[Post]:
    await publish(world.admin, [SHOP, HIDDEN], NOON)
    async with post(allowing(world), pki, anchors) as running:
        yield running


async def test_the_nearest_is_proposed(submission: Post) -> None:
    client = await submission.client(DOCTOR)
    await client.say(f"MAIL FROM:<{DOCTOR}>")
    code, text = await client.say(f"RCPT TO:<{WRONG}>")
    assert code == 550
    expected = r.UNKNOWN_RECIPIENT.saying(f"{r.UNKNOWN_RECIPIENT.text}\n{r.DID_YOU_MEAN}\n{PHARMACY}")
    assert text == said(expected)
    # Nothing near, another domain, a patient's: as ever.
    for address in ("zoe.essai@msg.exemple.fr", PATIENT.replace("280019900100182", "280019900100183")):
        assert PHARMACY not in (await client.say(f"RCPT TO:<{address}>"))[1]
    # Who asks for more than an old address book holds hears nothing more.
    for number in range(UNKNOWN_RECIPIENTS_PER_SENDER):
        code, text = await client.say(f"RCPT TO:<{WRONG.replace('@', f'{number}@')}>")
    assert code == r.TOO_MANY_UNKNOWN.code
    assert PHARMACY not in text


async def test_a_patient_hears_of_nobody(submission: Post) -> None:
    client = await submission.client(PATIENT)
    await client.say(f"MAIL FROM:<{PATIENT}>")
    assert await client.say(f"RCPT TO:<{WRONG}>") == (550, said(r.NO_CONVERSATION))


async def test_no_peer_and_nobody_unless_it_is_allowed(world: World, pki: Path, anchors: TrustAnchors) -> None:
    await publish(world.admin, [SHOP], NOON)
    async with relay(allowing(world), pki, anchors) as (_, client):
        await client.say(f"MAIL FROM:<{WRITER}>")
        assert await client.say(f"RCPT TO:<{WRONG}>") == (550, said(r.UNKNOWN_RECIPIENT))
    async with post(world, pki, anchors) as running:
        client = await running.client(DOCTOR)
        await client.say(f"MAIL FROM:<{DOCTOR}>")
        assert await client.say(f"RCPT TO:<{WRONG}>") == (550, said(r.UNKNOWN_RECIPIENT))


def said(reply: r.Reply) -> str:
    return "\n".join(f"{reply.status} {line}" for line in reply.text.split("\n"))
