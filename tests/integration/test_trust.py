"""The trust space as it is kept: what is accepted, what is refused and why, and how the workers come to know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import structlog
from cryptography import x509

from crypto.pki.issue import new_root, server
from crypto.smime.anchors import TrustAnchors
from server.base import clock
from server.base.sections import Trust
from server.trust.follow import Follower
from server.trust.keeping import Keeper, Rejected, keep_crl, keep_ocsp
from server.trust.space import TrustSpace
from tests.revocation_lists import crl, ocsp_answer
from tests.white_lists import Manager, list_signer

NOW = clock.now().replace(microsecond=0)
LIST = "https://espace.exemple.fr/liste.xml"
SETTINGS = Trust(white_list=LIST, signer_name="Liste Blanche de Test", signer_unit="318751275100020")
ROWS = [(f"d{n}.exemple.fr", f"CN=mx.d{n}.exemple.fr,C=FR") for n in range(10)]


@pytest.fixture(scope="module")
def manager() -> Manager:
    return Manager.new(NOW - timedelta(days=2))


@pytest.fixture
def anchors(manager: Manager) -> TrustAnchors:
    return TrustAnchors([manager.root.certificate])


@pytest.fixture
async def fetcher(database: Any) -> AsyncIterator[asyncpg.Connection]:
    connection = await database.connect("fetcher")
    yield connection
    await connection.close()


@pytest.fixture
async def follower(database: Any, anchors: TrustAnchors) -> AsyncIterator[Follower]:
    pool = await database.pool("relay")
    yield Follower(pool, SETTINGS, anchors, structlog.get_logger())
    await pool.close()


@pytest.fixture
def keeper(anchors: TrustAnchors) -> Keeper:
    return Keeper(SETTINGS, anchors, TrustSpace({}))


async def keep(keeper: Keeper, connection: asyncpg.Connection, data: bytes, **given: bool) -> Any:
    return await keeper.white_list(connection, data, LIST, NOW, **given)


async def refused(keeper: Keeper, connection: asyncpg.Connection, data: bytes) -> str:
    """Why a list is refused; the kept one must stay."""
    before = await connection.fetchval("SELECT max(list_id) FROM trust_list")
    with pytest.raises(Rejected) as why:
        await keep(keeper, connection, data)
    assert await connection.fetchval("SELECT max(list_id) FROM trust_list") == before
    return str(why.value)


async def test_a_worker_knows_a_list_and_the_next_one(
    manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection, follower: Follower
) -> None:
    await follower.look()
    assert follower.space.white_list is None
    first = await keep(keeper, fetcher, manager.signed(ROWS, NOW - timedelta(hours=1)))
    assert (first.before, len(first.added), first.removed) == (False, 10, [])
    await follower.look()
    assert follower.space.lists("d0.exemple.fr")
    changed = [*ROWS[1:], ("neuf.exemple.fr", "CN=mx.neuf.exemple.fr,C=FR")]
    second = await keep(keeper, fetcher, manager.signed(changed, NOW))
    assert (second.before, second.added, second.removed) == (True, [changed[-1]], [ROWS[0]])
    await follower.look()
    assert not follower.space.lists("d0.exemple.fr")
    assert follower.space.lists("neuf.exemple.fr")
    history = await fetcher.fetch("SELECT added, domain FROM trust_change ORDER BY domain")
    assert [tuple(row) for row in history] == [(False, "d0.exemple.fr"), (True, "neuf.exemple.fr")]


async def test_the_same_list_again_changes_nothing(
    manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection
) -> None:
    data = manager.signed(ROWS, NOW)
    assert await keep(keeper, fetcher, data) is not None
    assert await keep(keeper, fetcher, data) is None
    assert await fetcher.fetchval("SELECT count(*) FROM trust_list") == 1


async def test_what_is_refused_and_why(manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection) -> None:
    await keep(keeper, fetcher, manager.signed(ROWS, NOW))
    older = manager.signed(ROWS, NOW - timedelta(minutes=1))
    assert "it is older" in await refused(keeper, fetcher, older)
    assert "another list of the same moment" in await refused(keeper, fetcher, manager.signed(ROWS[1:], NOW))
    assert "in the future" in await refused(keeper, fetcher, manager.signed(ROWS, NOW + timedelta(days=2)))
    later = NOW + timedelta(minutes=1)
    assert "lost 3 of 10 domains" in await refused(keeper, fetcher, manager.signed(ROWS[3:], later))
    assert "anchor" in await refused(keeper, fetcher, Manager.new(NOW).signed(ROWS, later))
    assert "no XML" in await refused(keeper, fetcher, b"<html>503 <br> Service Unavailable</html>")
    assert "not signed" in await refused(keeper, fetcher, b"<ListeBlanche/>")
    changed = manager.signed(ROWS, later).replace(b"d0.exemple.fr<", b"pirate.fr<")
    assert "does not hold" in await refused(keeper, fetcher, changed)


async def test_an_operators_word_takes_a_list_that_shrank(
    manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection
) -> None:
    await keep(keeper, fetcher, manager.signed(ROWS, NOW - timedelta(hours=1)))
    change = await keep(keeper, fetcher, manager.signed(ROWS[5:], NOW), accept_loss=True)
    assert len(change.removed) == 5


async def test_many_new_certificates_of_the_same_domains_are_no_loss(
    manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection
) -> None:
    await keep(keeper, fetcher, manager.signed(ROWS, NOW - timedelta(hours=1)))
    moved = [(domain, f"CN=v2.{domain},C=FR") for domain, _ in ROWS]
    change = await keep(keeper, fetcher, manager.signed(moved, NOW))
    assert len(change.added) == len(change.removed) == 10


async def test_a_revoked_signer_signs_no_new_list(
    manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection, follower: Follower
) -> None:
    await keep(keeper, fetcher, manager.signed(ROWS, NOW - timedelta(hours=1)))
    der = crl(manager.root, [manager.signer.certificate], NOW)
    assert await keep_crl(fetcher, der, "crl", [manager.root.certificate], NOW)
    await follower.look()
    knowing = Keeper(SETTINGS, TrustAnchors([manager.root.certificate]), follower.space)
    assert "revoked" in await refused(knowing, fetcher, manager.signed(ROWS, NOW))
    assert follower.space.lists("d0.exemple.fr")


async def test_an_unknown_signer_waits_where_revocation_is_required(
    manager: Manager, anchors: TrustAnchors, fetcher: asyncpg.Connection
) -> None:
    strict = Keeper(SETTINGS, anchors, TrustSpace({}, strict=True))
    assert "cannot be checked" in await refused(strict, fetcher, manager.signed(ROWS, NOW))
    assert strict.signer == (manager.signer.certificate, manager.root.certificate)


async def test_who_writes_to_the_database_alone_adds_no_operator(
    database: Any, manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection, follower: Follower
) -> None:
    await keep(keeper, fetcher, manager.signed(ROWS, NOW - timedelta(hours=1)))
    await follower.look()
    admin = await database.connect()
    pirate = [("pirate.fr", "CN=pirate")]
    stranger, other = Manager.new(NOW), Manager(manager.root, list_signer(manager.root, NOW, "Autre"))
    for data in (stranger.signed(pirate, NOW), other.signed(pirate, NOW), b"<ListeBlanche/>"):
        await admin.execute(
            "INSERT INTO trust_list (source, generated_at, accepted_at, digest, entries, document)"
            " VALUES ('', now(), now(), sha256($1), 1, $1)",
            data,
        )
        await follower.look()
        assert follower.space.lists("d0.exemple.fr")
        assert not follower.space.lists("pirate.fr")
    await admin.close()
    await keep(keeper, fetcher, manager.signed(ROWS[1:], NOW))
    await follower.look()
    assert not follower.space.lists("d0.exemple.fr")


async def test_an_old_list_in_the_database_is_not_taken_by_who_knows_a_newer_one(
    manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection, follower: Follower
) -> None:
    await keep(keeper, fetcher, manager.signed(ROWS, NOW))
    await follower.look()
    old = manager.signed([("ancien.fr", "CN=ancien")], NOW - timedelta(days=1))
    await fetcher.execute(
        "INSERT INTO trust_list (source, generated_at, accepted_at, digest, entries, document)"
        " VALUES ('', now(), now(), sha256($1), 1, $1)",
        old,
    )
    await follower.look()
    assert follower.space.lists("d0.exemple.fr")
    assert not follower.space.lists("ancien.fr")


async def test_a_kept_list_outlives_its_signers_certificate(
    manager: Manager, keeper: Keeper, fetcher: asyncpg.Connection, follower: Follower
) -> None:
    past = NOW - timedelta(days=1)
    signer = list_signer(manager.root, past, lasts=timedelta(hours=1))
    assert signer.certificate.not_valid_after_utc < NOW
    of_that_day = Manager(manager.root, signer)
    await keeper.white_list(fetcher, of_that_day.signed(ROWS, past), LIST, past)
    await follower.look()
    assert follower.space.lists("d0.exemple.fr")
    assert "not valid" in await refused(keeper, fetcher, of_that_day.signed(ROWS, NOW))


# Revocation lists


async def test_the_last_good_revocation_list_is_kept(
    manager: Manager, fetcher: asyncpg.Connection, follower: Follower
) -> None:
    root, leaf = manager.root.certificate, server(manager.root, ["mx.exemple.fr"], "Un", NOW).certificate
    path = (leaf, root)
    good = crl(manager.root, [leaf], NOW)
    assert await keep_crl(fetcher, good, "crl", [root], NOW)
    assert not await keep_crl(fetcher, good, "crl", [root], NOW)
    for bad, why in (
        (crl(new_root(NOW), [], NOW), "no authority that is known"),
        (crl(manager.root, [], NOW - timedelta(hours=1)), "older"),
        (crl(manager.root, [], NOW + timedelta(hours=1)), "future"),
        (b"<html>", "no revocation list"),
    ):
        with pytest.raises(Rejected, match=why):
            await keep_crl(fetcher, bad, "crl", [root], NOW)
    await follower.look()
    objection = follower.space.objection(path, NOW)
    assert objection is not None
    assert objection.reason == "certificate-revoked"


async def test_an_answer_is_kept_when_its_signature_holds(
    manager: Manager, fetcher: asyncpg.Connection, follower: Follower
) -> None:
    root, leaf = manager.root.certificate, server(manager.root, ["mx.exemple.fr"], "Un", NOW).certificate
    with pytest.raises(Rejected, match="not signed by"):
        await keep_ocsp(fetcher, ocsp_answer(leaf, root, new_root(NOW), NOW), "ocsp", leaf, root, NOW)
    assert await keep_ocsp(fetcher, ocsp_answer(leaf, root, manager.root, NOW), "ocsp", leaf, root, NOW)
    await follower.look()
    assert follower.space.revocations.judge((leaf, root), NOW).status == "good"


async def test_damage_in_the_database_is_no_word_of_the_authority(
    database: Any, manager: Manager, fetcher: asyncpg.Connection, follower: Follower
) -> None:
    leaf = server(manager.root, ["mx.exemple.fr"], "Un", NOW).certificate
    admin = await database.connect()
    forged: dict[str, bytes] = {"a": crl(new_root(NOW), [leaf], NOW), "b": b"nothing"}
    for source, document in forged.items():
        await admin.execute(
            "INSERT INTO trust_revocation VALUES ($1, 'crl', nextval('trust_revision'), now(), now(), $2)",
            source,
            document,
        )
    await admin.close()
    await follower.look()
    path: tuple[x509.Certificate, ...] = (leaf, manager.root.certificate)
    assert follower.space.objection(path, NOW) is None
    assert follower.space.revocations.judge(path, NOW).status == "unknown"
