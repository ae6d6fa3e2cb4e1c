"""Signer, From and the directory's entry: what a signed message is told of all three on its way in."""

from __future__ import annotations

from email.utils import format_datetime
from pathlib import Path

import pytest

from crypto.pki import development
from crypto.pki.profile import KeyKind
from crypto.smime.anchors import TrustAnchors
from crypto.smime.identity import Registration
from crypto.smime.sign import sign_detached
from directory.load import load
from directory.registration import Registrations
from server.base import clock
from tests.conftest import Database
from tests.directory_sample import write
from tests.smtp_edge import post
from tests.store_world import DOCTOR, PHARMACY, World

RPPS = "10101010101"
ENTITY = b"Content-Type: text/plain\r\n\r\nAmoxicilline 1 g.\r\n"

LISTED = """
WITH told AS (INSERT INTO directory.load (loaded_at, files, counts) VALUES (now(), '{}', '{}'))
INSERT INTO directory.mailbox_entry VALUES ($1, $2, $3, '10', '', '', false)
"""


def signed(pki: Path) -> bytes:
    signer = development.signer(pki, DOCTOR, "Anne DUPONT", RPPS, clock.now(), KeyKind.P256)
    headers = {"From": f"Dr Anne Dupont <{DOCTOR}>", "To": PHARMACY, "Date": format_datetime(clock.now())}
    return sign_detached(ENTITY, headers, signer, clock.now())


@pytest.mark.parametrize(
    ("entry", "directory", "result"),
    [
        (None, "not-asked", b"smime=pass"),
        ((DOCTOR, "PER", "8" + RPPS), "agrees", b"smime=pass"),
        ((DOCTOR, "PER", "810000000025"), "differs", b"smime=neutral reason=other-holder"),
        ((DOCTOR, "ORG", ""), "differs", b"smime=neutral reason=other-holder"),
        (("autre@msg.exemple.fr", "PER", "8" + RPPS), "absent", b"smime=pass"),
    ],
)
async def test_the_directory_has_a_word(
    world: World, pki: Path, entry: tuple[str, str, str] | None, directory: str, result: bytes
) -> None:
    if entry is not None:
        await world.admin.execute(LISTED, *entry)
    anchors = TrustAnchors.load([pki / "root.pem"])
    async with post(world, pki, anchors) as running:
        client = await running.client(DOCTOR)
        assert await client.sendmail(DOCTOR, [PHARMACY], signed(pki)) == {}
        await client.close()
    mailbox = await world.mailbox(PHARMACY)
    (row,) = (await mailbox.view(1)).rows
    (summary,) = (await mailbox.summaries([row.content_id])).values()
    assert summary.verdict["directory"] == directory
    assert summary.verdict["signer"]["rpps"] == RPPS
    assert ("not-in-directory" in summary.verdict["doubts"]) == (directory == "absent")
    assert result in (await world.texts(PHARMACY))[0]


async def test_what_is_registered(database: Database, tmp_path: Path) -> None:
    pool = await database.pool("submission")
    try:
        nobody = Registrations(pool)
        assert await nobody.of("claire.martin@msg.exemple.fr", 0) is None
        owner = await database.connect()
        await load(owner, write(tmp_path), clock.now())
        assert await nobody.of("claire.martin@msg.exemple.fr", 599) is None  # remembered
        found = await nobody.of("claire.martin@msg.exemple.fr", 601)
        assert found is not None
        assert (found.active, found.kind, found.rpps[:4], len(found.rpps)) == (True, "PER", "8999", 11)
        place = await owner.fetchrow(
            "SELECT m.address, o.finess FROM directory.mailbox_entry m JOIN directory.organisation o"
            " USING (organisation_id) WHERE m.kind = 'ORG' AND o.finess <> '' LIMIT 1"
        )
        await owner.close()
        organisation = await nobody.of(place["address"], 0)
        assert organisation is not None
        assert (organisation.kind, organisation.rpps) == ("ORG", "")
        assert place["finess"] in organisation.finess
        assert await nobody.of("nobody@msg.exemple.fr", 0) == Registration(active=False)
    finally:
        pool.terminate()
