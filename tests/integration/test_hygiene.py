"""The daily look at certificates: each trouble is told once, in log and trail, and `caducee doctor` says what holds."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from crypto.pki.client import ClientCertificate
from crypto.pki.hygiene import Trouble, key_hash
from crypto.pki.issue import Holder, Issued, issue, new_root, server
from crypto.pki.profile import KeyKind, Profile, ProfileName
from crypto.smime.anchors import TrustAnchors
from server.audit.trail import of_owner
from server.base import clock
from server.identity import hygiene
from server.identity.certificates import bind
from server.identity.hygiene import Hygiene
from server.mailbox.create import create
from server.mailbox.model import NewMailbox, OwnerKind
from server.trust import queries as trust_queries
from server.trust.follow import Follower
from server.trust.keeping import keep_crl
from tests.revocation_lists import crl
from tests.serving import caducee, ended
from tests.store_world import World

LAB = "labo@msg.exemple.fr"


def ending(root: Issued, days: int) -> Issued:
    holder = Holder({"organisation": "LABO", "common_name": "LABO"})
    profile = Profile.load(ProfileName.ORGANISATION)
    return issue(root, profile, holder, clock.now(), kind=KeyKind.P256, validity=timedelta(days=days))


async def test_troubles_of_members_mailboxes_and_our_own_are_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    root = new_root(now)
    anchors = TrustAnchors([root.certificate])
    ours = server(root, ["mail.exemple.fr"], "NOUS", now)
    member, software = server(root, ["mx.pairs.example"], "PAIR", now), ending(root, 10)
    await world.admin.execute(
        trust_queries.NOTE_PEER,
        bytes(32),
        [one.public_bytes(Encoding.DER) for one in (member.certificate, root.certificate)],
        now.date(),
    )
    (lab,) = await create(world.admin, world.keyring, world.edge, [NewMailbox(LAB, OwnerKind.APP, "Labo")])
    bound = ClientCertificate(
        key_hash(member.certificate),  # the member's own key opens a mailbox here
        software.certificate.subject.rfc4514_string(),
        software.certificate.not_valid_after_utc,
    )
    await bind(world.admin, world.edge, lab.owner_id, LAB, bound)
    await keep_crl(
        world.admin, crl(root, [ours.certificate], now), "http://crl.example/root.crl", [root.certificate], now
    )
    own = [("our own, of relay", [ours.certificate])]
    trust = Follower(world.jobs_pool, world.database.settings.trust, anchors, structlog.get_logger())
    looking = Hygiene(world.jobs_pool, world.edge, trust, anchors, own)
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(hygiene.log, "warning", lambda event, **facts: said.append(facts), raising=False)
    await looking.look()
    assert {(one["kind"], one["name"].partition(" (")[0].split()[0]) for one in said} == {
        ("revoked", "our"),
        ("shared-key", "operator"),
        ("shared-key", "software"),
        ("ends-soon", "software"),
    }
    trail = [
        one for one in await of_owner(world.admin, world.keyring, lab.owner_id) if one.kind == "certificate-troubled"
    ]
    assert {one.detail["trouble"] for one in trail} == {Trouble.SHARED_KEY, Trouble.ENDS_SOON}
    said.clear()
    await looking.look()
    assert said == []
    await world.admin.execute("UPDATE certificate_trouble SET told_at = told_at - interval '8 days'")
    await looking.look()
    assert len(said) == 4
    await world.admin.execute("DELETE FROM client_certificate")
    await looking.look()
    assert await world.admin.fetchval("SELECT count(*) FROM certificate_trouble") == 1


@pytest.mark.soak
def test_doctor_says_that_our_own_certificate_is_revoked(home: Path) -> None:
    caducee("trust", "revoke", str(home / "pki" / "server.pem"), home=home)
    caducee("trust", "refresh", home=home)
    assert "our own, of relay is revoked" in ended("doctor", home=home).stdout
