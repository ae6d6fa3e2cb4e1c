"""What a patient writes in the pages leaves signed: by whom, how it is judged, and the life of the key."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from crypto.pki.issue import Issued
from crypto.smime.verdict import Status, SubReason
from server.base import clock
from tests.integration.test_web import MESSAGE, sign_in, token_in
from tests.store_world import DOCTOR, PATIENT, World
from tests.web_site import Site, deliver, prescription, site


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    """A patient's mailbox with a key, and a prescription to answer."""
    async with site(world, tmp_path, sign_messages=True) as made:
        await deliver(world, made, prescription(tmp_path), PATIENT)
        await give(made, timedelta(minutes=5))
        yield made


async def give(web: Site, ago: timedelta) -> None:
    """A key that was made a while ago."""
    await web.world.give_signing_key(PATIENT, Issued.load(web.root.parent, "root"), clock.now() - ago)


async def answer(web: Site, times: int) -> list[bytes]:
    """Send one form of the patient's so many times; what the doctor has then."""
    async with web.browser() as patient:
        await sign_in(patient, PATIENT)
        form = (await patient.get(f"{MESSAGE}/reponse")).text
        sending = re.search(r'name="envoi" value="([^"]+)"', form)
        assert sending
        fields = {"jeton": token_in(form), "envoi": sending[1], "texte": "Merci.\né"}
        for _ in range(times):
            assert (await patient.post(f"{MESSAGE}/reponse", data=fields)).status_code == 303
            await give(web, timedelta())  # renewed between
    return await web.world.texts(DOCTOR)


async def test_an_answer_leaves_signed_and_is_one_message_however_often_sent(web: Site, tmp_path: Path) -> None:
    (data,) = await answer(web, times=2)
    doctor = await web.world.mailbox(DOCTOR)
    (row,) = (await doctor.view(1)).rows
    verdict = (await doctor.summaries([row.content_id]))[row.content_id].verdict
    assert (verdict["status"], verdict["reason"]) == (Status.PASSED, SubReason.VALID)
    assert verdict["covers"] == "whole"
    message = message_from_bytes(data, policy=policy.default)
    assert PATIENT in str(message["From"])
    (part,) = (one for one in message.walk() if one.get_content_type() == "application/pkcs7-signature")
    (certificate,) = pkcs7.load_der_pkcs7_certificates(bytes(part.get_payload(decode=True)))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == [PATIENT]
    assert certificate.subject.rfc4514_string() == "CN=Jeanne Martin,C=FR"
    assert message.get_body(("plain",)).get_content().split() == ["Merci.", "é"]  # type: ignore[union-attr]
    if shutil.which("openssl"):
        mail = tmp_path / "answer.eml"
        mail.write_bytes(data)
        words = ["cms", "-verify", "-in", str(mail), "-CAfile", str(web.root), "-purpose", "smimesign"]
        done = subprocess.run(["openssl", *words], capture_output=True)
        assert done.returncode == 0, done.stderr
        assert b"Subject: Re: Ordonnance" in done.stdout  # the header is signed with it (RFC 9788)
