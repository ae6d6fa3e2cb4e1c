"""Signed prescriptions over real HTTPS: the verdict beside the message's, and what the QR code leads to, for whom."""

from __future__ import annotations

import email.policy
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import asyncpg
import httpx
import pytest

from crypto.pades.sign import file_signer, sign
from crypto.pades.verdict import Level
from crypto.pki import development
from crypto.reference import found_by, new_reference, open_document
from server.audit.trail import Audit, of_owner
from server.base import clock
from server.record.prescriptions import TRIES, Prescriptions, Printed, forget_prescriptions, to_print
from tests.documents import altered, document
from tests.store_world import DOCTOR, PATIENT, PHARMACY, World
from tests.web_site import Site, deliver, site


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(world, tmp_path) as made:
        yield made


async def signed(place: Path) -> bytes:
    signer = development.signer(place / "pki", DOCTOR, "Anne DUPONT", "10101010101", clock.now())
    return await sign(document(), file_signer(signer), Level.B)


def letter(*documents: bytes) -> bytes:
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = DOCTOR, PATIENT, "Ordonnance"
    message["Message-ID"] = "<1@cabinet.example>"
    message.set_content("Voici.")
    for number, pdf in enumerate(documents):
        message.add_attachment(pdf, maintype="application", subtype="pdf", filename=f"ordonnance {number}.pdf")
    return message.as_bytes()


@pytest.fixture
async def kept(web: Site) -> AsyncIterator[Prescriptions]:
    """Prescriptions with the rights of the command line."""
    async with asyncpg.create_pool(web.world.database.dsn("admin"), min_size=1, max_size=1) as pool:
        yield Prescriptions(pool, web.world.edge, Audit(web.world.edge))


@pytest.fixture
async def printed(web: Site, kept: Prescriptions, tmp_path: Path) -> Printed:
    """A prescription for the patient."""
    printed = to_print()
    owners = web.world.owners
    await kept.add("operator", owners[DOCTOR], owners[PATIENT], printed, await signed(tmp_path), 30)
    return printed


@asynccontextmanager
async def signed_in(web: Site, address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with web.browser() as browser:
        front = (await browser.get("/")).text
        await browser.post("/connexion", data={"jeton": token_in(front), "adresse": address})
        yield browser


def token_in(page: str) -> str:
    found = re.search(r'name="jeton" value="([0-9a-f]{64})"', page)
    assert found, page
    return found[1]


async def told(web: Site) -> list[str]:
    events = await of_owner(web.world.admin, web.world.keyring, web.world.owners[DOCTOR])
    return [event.kind for event in events if event.kind.startswith("prescription")]


async def test_the_verdict_stands_beside_the_document(web: Site, tmp_path: Path) -> None:
    pdf = await signed(tmp_path)
    await deliver(web.world, web, letter(pdf, altered(pdf), document()), PATIENT, PHARMACY)
    for address in (PATIENT, PHARMACY):  # judged when it was filed; when it is first opened
        async with signed_in(web, address) as browser:
            for _ in range(2):
                page = (await browser.get("/messages/1/1")).text
                assert page.count("Document signé") == 1
                assert page.count("Anne DUPONT") >= 1
                assert page.count("ajouté au document après la signature") == 1
            assert await web.world.admin.fetchval("SELECT count(*) FROM document_signature") == (
                3 if address == PATIENT else 6
            )
    async with signed_in(web, PATIENT) as browser:
        record = (await browser.get("/dossier")).text
        assert record.count("Document signé") == 1
        assert record.count("Signature du document non valable") == 1


async def test_who_is_signed_in_opens_it_and_a_pharmacy_dispenses_it_once(web: Site, printed: Printed) -> None:
    path = f"/ordonnances/{printed.reference}"
    async with signed_in(web, PATIENT) as patient:
        page = (await patient.get(path)).text
        assert printed.number in page
        assert "Document signé" in page
        assert "Noter comme délivrée" not in page
    async with signed_in(web, PHARMACY) as pharmacy:
        page = (await pharmacy.get(path)).text
        opened = await pharmacy.get(f"{path}/document")
        assert opened.headers["content-type"] == "application/pdf"
        assert opened.content.startswith(b"%PDF")
        answer = await pharmacy.post(f"{path}/delivrance", data={"jeton": token_in(page)})
        assert answer.status_code == 303
        assert "Délivrée le" in (await pharmacy.get(path)).text
        assert (await pharmacy.post(f"{path}/delivrance", data={"jeton": token_in(page)})).status_code != 303
    assert set(await told(web)) == {"prescription-made", "prescription-read", "prescription-dispensed"}


async def test_who_is_not_signed_in_needs_the_code(web: Site, printed: Printed) -> None:
    path = f"/ordonnances/{printed.reference}"
    async with web.browser() as browser:
        form = (await browser.get(path)).text
        assert printed.number not in form
        assert (await browser.get(f"{path}/document")).status_code == 303  # to the front page
        wrong = await browser.post(path, data={"jeton": token_in(form), "code": "0" * 8})
        assert wrong.status_code == 403
        assert printed.number not in wrong.text
        spaced = f"{printed.code[:4]} {printed.code[4:]}"
        page = await browser.post(path, data={"jeton": token_in(form), "code": spaced})
        assert printed.number in page.text
        fields = {"jeton": token_in(form), "code": printed.code}
        assert (await browser.post(f"{path}/document", data=fields)).content.startswith(b"%PDF")
        assert (await browser.post(f"{path}/delivrance", data=fields)).status_code == 303  # to sign in
        assert await web.world.admin.fetchval("SELECT dispensed_at FROM prescription") is None
        for _ in range(TRIES):
            await browser.post(path, data={"jeton": token_in(form), "code": "0" * 8})
        assert (await browser.post(path, data=fields)).status_code == 429  # the right one too
        unknown = f"/ordonnances/{new_reference()}"
        assert (await browser.post(unknown, data=fields)).status_code == 404
        assert (await browser.get(unknown)).text == form.replace(printed.reference, unknown.rpartition("/")[2])
    assert (await told(web)).count("prescription-refused") == TRIES + 1
    async with signed_in(web, PHARMACY) as pharmacy:  # who is signed in is not concerned
        await pharmacy.post(f"{path}/delivrance", data={"jeton": token_in((await pharmacy.get(path)).text)})
    await web.world.admin.execute("UPDATE prescription SET tries = 0")
    async with web.browser() as browser:
        fields["jeton"] = token_in((await browser.get(path)).text)
        assert (await browser.post(path, data=fields)).status_code == 403  # its code opened it until it was dispensed


async def test_another_patient_and_a_form_of_another_site(web: Site, printed: Printed) -> None:
    path = f"/ordonnances/{printed.reference}"
    await web.world.admin.execute("UPDATE prescription SET patient_id = NULL")
    async with signed_in(web, PATIENT) as patient:
        assert (await patient.get(path)).status_code == 403
        page = (await patient.get("/messages")).text
        assert (await patient.post(f"{path}/delivrance", data={"jeton": token_in(page)})).status_code == 403
    async with signed_in(web, PHARMACY) as pharmacy:
        assert (await pharmacy.post(f"{path}/delivrance", data={"jeton": "0" * 64})).status_code == 403


async def test_withdrawn_and_forgotten(web: Site, kept: Prescriptions, printed: Printed) -> None:
    assert await kept.withdraw("operator", printed.number)
    assert not await kept.withdraw("operator", printed.number)
    path = f"/ordonnances/{printed.reference}"
    async with signed_in(web, PHARMACY) as pharmacy:
        page = (await pharmacy.get(path)).text
        assert "Annulée par le prescripteur" in page
        assert "Noter comme délivrée" not in page
        await web.world.admin.execute("UPDATE prescription SET ends_at = $1", clock.now() - timedelta(seconds=1))
        assert (await pharmacy.get(path)).status_code == 404
    assert await forget_prescriptions(web.world.jobs_pool) == 1
    assert await web.world.admin.fetchval("SELECT count(*) FROM prescription") == 0


async def test_neither_database_nor_keys_open_it_without_the_paper(web: Site, printed: Printed) -> None:
    row = await web.world.admin.fetchrow("SELECT * FROM prescription")
    stored = b"".join(value for value in row.values() if isinstance(value, bytes))
    assert row["reference"] == found_by(web.world.edge, printed.reference)
    for secret in (printed.reference.encode(), printed.code.encode(), b"%PDF", b"Amoxicilline"):
        assert secret not in stored
    assert open_document(web.world.edge, printed.reference, row["document"]).startswith(b"%PDF")
    with pytest.raises(Exception, match="does not open"):
        open_document(web.world.edge, new_reference(), row["document"])
