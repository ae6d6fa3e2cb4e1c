"""Fetching over real HTTPS: fresh lists, and every way in which a list can be the wrong one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID
from lxml import etree

from crypto.pki import development
from crypto.pki.issue import Issued, new_root, server
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign
from crypto.smime.signed_data import Kind, SignedData
from crypto.smime.verify import verify
from server.base import clock
from server.base.https import NotFetched
from server.base.sections import Fetcher, Trust
from server.base.settings import Settings
from server.base.tls import client_context
from server.fetcher.http import fetch
from server.fetcher.refresh import Outcome, Refresher
from server.trust.follow import Follower
from tests.revocation_lists import crl, ocsp_answer
from tests.signers import DOCTOR, certificate
from tests.web_server import WebServer, web_server
from tests.white_lists import Manager, document, list_signer

NOW = clock.now().replace(microsecond=0)
PAGE = "/listeblanche.xml"
ROWS = [(f"d{n}.exemple.fr", f"CN=mx.d{n}.exemple.fr,C=FR") for n in range(10)]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    development.create(folder, "msg.exemple.fr", NOW - timedelta(days=1))
    return folder


@pytest.fixture(scope="module")
def manager(pki: Path) -> Manager:
    root = Issued.load(pki, "root")
    return Manager(root, list_signer(root, NOW - timedelta(days=1)))


@pytest.fixture
def site(pki: Path) -> Iterator[WebServer]:
    with web_server(pki / "server.pem", pki / "server.key") as running:
        yield running


@dataclass
class Place:
    """A fetcher with the rights of its role, before a site."""

    refresher: Refresher
    pool: asyncpg.Pool
    manager: Manager
    site: WebServer

    def publish(self, hours: int = 0, rows: list[tuple[str, str]] = ROWS, **given: Any) -> bytes:
        data = self.manager.signed(rows, NOW + timedelta(hours=hours))
        self.site.put(PAGE, data, **given)
        return data

    async def white_list(self, **given: bool) -> Outcome:
        """What became of the white list in a round of everything."""
        outcomes = await self.refresher.round(all_of_them=True, **given)
        (found,) = (one for one in outcomes if one.kind == "white-list")
        return found

    def knows(self, domain: str) -> bool:
        return self.refresher.follower.space.lists(domain)


@pytest.fixture
async def place(database: Any, pki: Path, manager: Manager, site: WebServer) -> AsyncIterator[Place]:
    pool = await database.pool("fetcher")
    trust = Trust(
        anchors=[pki / "root.pem"],
        white_list=site.url(PAGE),
        signer_name="Liste Blanche de Test",
        signer_unit="318751275100020",
        crls=[],
    )
    settings = database.settings.model_copy(update={"trust": trust})
    yield Place(refresher(settings, pool), pool, manager, site)
    await pool.close()


def refresher(settings: Settings, pool: asyncpg.Pool) -> Refresher:
    anchors = TrustAnchors.load([settings.path(anchor) for anchor in settings.trust.anchors])
    return Refresher(pool, settings, anchors, structlog.get_logger())


async def test_a_list_is_fetched_and_asked_for_only_when_it_changed(place: Place) -> None:
    place.publish(etag='"1"')
    assert (await place.white_list()).changed
    assert place.knows("d0.exemple.fr")
    again = await place.white_list()
    assert (again.changed, again.failure) == (False, "")
    method, path, headers = place.site.asked[-1]
    assert (method, path, headers["If-None-Match"]) == ("GET", PAGE, '"1"')
    place.publish(1, [*ROWS, ("neuf.exemple.fr", "CN=neuf")], etag='"2"')
    assert (await place.white_list()).changed
    assert place.knows("neuf.exemple.fr")


async def test_a_date_is_asked_for_where_there_is_no_tag(place: Place) -> None:
    place.publish(headers={"Last-Modified": "Wed, 25 Nov 2026 12:00:00 GMT"})
    await place.white_list()
    await place.white_list()
    assert place.site.asked[-1][2]["If-Modified-Since"] == "Wed, 25 Nov 2026 12:00:00 GMT"


def wrapped(signed: bytes, rows: list[tuple[str, str]]) -> bytes:
    """Another list, in which the signed one stands with its signature: what XML signature wrapping looks like."""
    evil = document(rows, NOW + timedelta(hours=2))
    evil.append(etree.fromstring(signed))
    return bytes(etree.tostring(evil))


async def test_the_last_good_list_stays_whatever_comes(place: Place, manager: Manager) -> None:
    place.publish()
    assert (await place.white_list()).changed
    later, evil = NOW + timedelta(hours=1), [("pirate.fr", "CN=pirate")]
    good = manager.signed(ROWS, later)
    other = Manager(manager.root, list_signer(manager.root, NOW, "Autre"))
    doctype = b'<!DOCTYPE ListeBlanche [<!ENTITY e "pirate.fr">]>'
    start = good.index(b"<ListeBlanche")
    for body, given, why in (
        (manager.signed(evil, NOW - timedelta(hours=1)), {}, "it is older"),
        (good.replace(b"d0.exemple.fr<", b"pirate.fr<"), {}, "does not hold"),
        (Manager.new(NOW).signed(evil, later), {}, "does not lead to an anchor"),
        (other.signed(evil, later), {}, "not the one that is pinned"),
        (good.replace(b"Signature", b"Sygnature"), {}, "not signed"),
        (manager.signed(ROWS[:5], later), {}, "lost 5 of 10 domains"),
        (good[:start] + doctype + good[start:], {}, "document type"),
        (wrapped(good, evil), {}, "at the end of the root"),
        (b"<html>maintenance</html>", {}, "not signed"),
        (good[: len(good) // 2], {}, "no XML"),
        (b"", {}, "no XML"),
        (b"", {"status": 503}, "answers 503"),
        (b"", {"status": 404}, "answers 404"),
        (b"", {"status": 302, "headers": {"Location": place.site.url("/ailleurs")}}, "redirects are not followed"),
        (good, {"headers": {"Content-Encoding": "gzip"}}, "compressed"),
        (b"x", {"headers": {"Content-Length": str(10**12)}}, "too large"),
    ):
        place.site.put(PAGE, body, **given)
        outcome = await place.white_list()
        assert why in outcome.failure, (outcome, why)
        assert place.knows("d0.exemple.fr")
        assert not place.knows("pirate.fr")
        state = await place.pool.fetchrow("SELECT good_at, failure FROM trust_source WHERE kind = 'white-list'")
        assert state["good_at"] is not None
        assert why in state["failure"]
    assert all(path == PAGE for _, path, _ in place.site.asked)
    place.site.put(PAGE, good)
    assert (await place.white_list()).changed
    assert await place.pool.fetchval("SELECT failure FROM trust_source WHERE kind = 'white-list'") == ""


async def test_an_operators_word_takes_a_smaller_list(place: Place) -> None:
    place.publish()
    await place.white_list()
    place.publish(1, ROWS[:5])
    assert "--accept-loss" in (await place.white_list()).failure
    assert (await place.white_list(accept_loss=True)).changed
    assert not place.knows("d9.exemple.fr")


async def test_a_site_that_is_another_or_away(place: Place, pki: Path, tmp_path: Path) -> None:
    place.publish()
    development.create(tmp_path, "msg.exemple.fr", NOW)
    with web_server(tmp_path / "server.pem", tmp_path / "server.key") as stranger:
        tls = client_context(pki / "root.pem")
        with pytest.raises(NotFetched, match="certificate does not hold"):
            await fetch(stranger.url(PAGE), tls, 1000)
        away = stranger.url(PAGE)
    with pytest.raises(NotFetched, match="cannot be reached"):
        await fetch(away, tls, 1000)
    with (
        web_server(pki / "organisation.pem", pki / "organisation.key") as unnamed,
        pytest.raises(NotFetched, match="certificate does not hold"),
    ):
        await fetch(unnamed.url(PAGE), tls, 1000)
    assert stranger.asked == unnamed.asked == []


@pytest.mark.parametrize(
    "url", ["https://", "nothing", "https://u:p@localhost/", "https://localhost:99999/", "ftp://a"]
)
async def test_no_address(url: str, pki: Path) -> None:
    with pytest.raises(NotFetched, match="no address"):
        await fetch(url, client_context(pki / "root.pem"), 1000)


async def test_a_server_that_says_nothing_or_nonsense(pki: Path) -> None:
    tls = client_context(pki / "root.pem")
    said = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        if not said:
            await reader.read()  # until the client has waited long enough
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/"
    with pytest.raises(NotFetched, match=r"within 0\.2 seconds"):
        await fetch(url, tls, 1000, seconds=0.2)
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n"
    for said, why in (  # noqa: B007 -- the server says it
        (b"220 mail ready\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "no HTTP"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "304"),
        (endless + b"y\r\n", "too large"),
    ):
        with pytest.raises(NotFetched, match=why):
            await fetch(url, tls, 1000)
    running.close()


async def test_a_list_from_a_file(database: Any, pki: Path, manager: Manager, tmp_path: Path) -> None:
    file = tmp_path / "trust" / "list.xml"
    file.parent.mkdir()
    trust = Trust(
        anchors=[pki / "root.pem"],
        white_list=str(file),
        signer_name="Liste Blanche de Test",
        signer_unit="318751275100020",
        crls=[str(tmp_path / "trust" / "root.crl")],
    )
    pool = await database.pool("fetcher")
    found = refresher(database.settings.model_copy(update={"trust": trust}), pool)
    failures = {one.kind: one.failure for one in await found.round()}
    assert failures == dict.fromkeys(("crl", "white-list"), "the file cannot be read (No such file or directory).")
    file.write_bytes(manager.signed(ROWS, NOW))
    file.with_name("root.crl").write_bytes(crl(manager.root, [], NOW))
    assert {one.kind: one.changed for one in await found.round(all_of_them=True)} == {"crl": True, "white-list": True}
    assert await found.round() == []
    await pool.close()


# Revocation


async def met(place: Place, leaf: x509.Certificate, *issuers: x509.Certificate) -> None:
    """A relay met a listed peer with this certificate, under `issuers` below the root."""
    path = [one.public_bytes(Encoding.DER) for one in (leaf, *issuers, place.manager.root.certificate)]
    admin: Any = place.pool
    await admin.execute(
        "INSERT INTO peer_certificate (fingerprint, path, seen_on) VALUES ($1, $2, current_date)",
        leaf.fingerprint(hashes.SHA256()),
        path,
    )


def published(url: str) -> x509.CRLDistributionPoints:
    name = x509.UniformResourceIdentifier(url)
    return x509.CRLDistributionPoints([x509.DistributionPoint([name], None, None, None)])


def with_access(root: Issued, extension: x509.ExtensionType) -> x509.Certificate:
    """A server's certificate that says where to ask about it."""
    plain = server(root, ["mx.exemple.fr"], "Un", NOW - timedelta(days=1)).certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.subject)
        .issuer_name(plain.issuer)
        .public_key(plain.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(plain.not_valid_before_utc)
        .not_valid_after(plain.not_valid_after_utc)
        .add_extension(extension, critical=False)
    )
    return builder.sign(root.key, hashes.SHA256())


@pytest.fixture
async def both(database: Any, pki: Path, manager: Manager) -> AsyncIterator[Place]:
    """A fetcher before a plain HTTP site, as authorities publish their lists. The pool may write peers too."""
    pool = await database.pool("admin")
    with web_server() as site:
        trust = Trust(anchors=[pki / "root.pem"], crls=[])
        settings = database.settings.model_copy(update={"trust": trust, "fetcher": Fetcher(refresh_minutes=1)})
        yield Place(refresher(settings, pool), pool, manager, site)
    await pool.close()


async def test_the_list_that_a_peers_certificate_names_is_fetched(both: Place) -> None:
    leaf = with_access(both.manager.root, published(both.site.url("/root.crl")))
    path = (leaf, both.manager.root.certificate)
    await met(both, leaf)
    (outcome,) = await both.refresher.round()
    assert (outcome.kind, outcome.failure) == ("crl", "the server answers 404.")
    space = both.refresher.follower.space
    for data, status in (
        (crl(both.manager.root, [], NOW), "good"),
        (crl(both.manager.root, [leaf], NOW + timedelta(seconds=1)), "revoked"),
        (crl(new_root(NOW), [], NOW + timedelta(seconds=2)), "revoked"),
        (crl(both.manager.root, [], NOW), "revoked"),
        (b"maintenance", "revoked"),
    ):
        both.site.put("/root.crl", data)
        await both.refresher.round(all_of_them=True)
        assert space.revocations.judge(path, clock.now()).status == status


def intermediate(root: Issued, extension: x509.ExtensionType) -> Issued:
    """An authority under the root, as IGC-Santé has one for organisations."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "AC ORGANISATIONS")]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(extension, critical=False)
    )
    return Issued(builder.sign(root.key, hashes.SHA256()), key)


@pytest.mark.parametrize("anchored", [False, True], ids=["shown", "among the anchors"])
async def test_an_authority_between_is_checked_too(
    database: Any, both: Place, pki: Path, tmp_path: Path, anchored: bool
) -> None:
    root = both.manager.root
    between = intermediate(root, published(both.site.url("/root.crl")))
    leaf = with_access(between, published(both.site.url("/between.crl")))
    between.save(tmp_path, "between")
    anchors = [pki / "root.pem", *([tmp_path / "between.pem"] if anchored else [])]
    settings = database.settings.model_copy(update={"trust": Trust(anchors=anchors, crls=[])})
    found = refresher(settings, both.pool)
    both.site.put("/between.crl", crl(between, [], NOW))
    both.site.put("/root.crl", crl(root, [], NOW))
    await met(both, leaf, between.certificate)
    assert [(one.kind, one.failure) for one in await found.round()] == [("crl", "")] * 2
    path = (leaf, between.certificate, root.certificate)
    assert found.follower.space.revocations.judge(path, clock.now()).status == "good"
    both.site.put("/root.crl", crl(root, [between.certificate], NOW + timedelta(seconds=1)))
    await found.round(all_of_them=True)
    assert found.follower.space.revocations.judge(path, clock.now()).status == "revoked"


async def test_a_responder_is_asked_where_there_is_no_list(both: Place) -> None:
    access = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(both.site.url("/ocsp"))
    )
    leaf = with_access(both.manager.root, x509.AuthorityInformationAccess([access]))
    root = both.manager.root
    await met(both, leaf)
    both.site.put("/ocsp", ocsp_answer(leaf, root.certificate, root, NOW))
    (outcome,) = await both.refresher.round()
    assert (outcome.kind, outcome.changed) == ("ocsp", True)
    method, _, headers = both.site.asked[-1]
    assert (method, headers["Content-Type"]) == ("POST", "application/ocsp-request")
    space = both.refresher.follower.space
    assert space.revocations.judge((leaf, root.certificate), clock.now()).status == "good"
    both.site.put("/ocsp", ocsp_answer(leaf, root.certificate, new_root(NOW), NOW + timedelta(minutes=1)))
    (outcome,) = await both.refresher.round(all_of_them=True)
    assert "not signed by" in outcome.failure
    assert space.revocations.judge((leaf, root.certificate), clock.now()).status == "good"


async def test_an_answer_to_another_question_is_not_kept(both: Place) -> None:
    """RFC 9654: an old answer, sent again by who stands between."""
    access = x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(both.site.url("/ocsp"))
    )
    root = both.manager.root
    leaf = with_access(root, x509.AuthorityInformationAccess([access]))
    await met(both, leaf)
    both.site.put("/ocsp", ocsp_answer(leaf, root.certificate, root, NOW, nonce=bytes(32)))
    (outcome,) = await both.refresher.round()
    assert "another question" in outcome.failure


async def test_the_list_of_a_signers_authority_is_fetched(database: Any, both: Place) -> None:
    """The relay gives a verdict with a doubt; the fetcher asks; the next verdict has none."""
    root = both.manager.root
    complete = published(both.site.url("/root.crl"))
    fresh = x509.FreshestCRL([*published(both.site.url("/delta.crl"))])
    signer = certificate("A", [x509.RFC822Name(DOCTOR)], authority=root, extensions=[complete, fresh])
    signature = sign(b"texte", signer, clock.now())
    anchors = TrustAnchors([root.certificate])
    pool = await database.pool("relay")

    def judged() -> tuple[str, tuple[str, ...]]:
        verdict = verify(SignedData(Kind.DETACHED, b"texte", signature), [DOCTOR], anchors, clock.now())
        return verdict.reason, verdict.doubts

    try:
        relay = Follower(pool, Trust(), anchors, structlog.get_logger())
        assert judged() == ("valid", ("revocation-not-checked",))
        await relay.look()
        both.site.put("/root.crl", crl(root, [], NOW))
        both.site.put("/delta.crl", crl(root, [], NOW, extensions=[(x509.DeltaCRLIndicator(1), True)]))
        assert [(one.kind, one.failure) for one in await both.refresher.round()] == [("crl", "")] * 2
        await relay.look()
        assert judged() == ("valid", ())
        revoked = crl(root, [signer.certificate], clock.now(), extensions=[(x509.DeltaCRLIndicator(1), True)])
        both.site.put("/delta.crl", revoked)
        await both.refresher.round(all_of_them=True)
        await relay.look()
        assert judged() == ("revoked", ())
        assert anchors.open_paths == {}
    finally:
        pool.terminate()


async def test_the_certificate_of_a_patient_stands_nowhere_in_clear(database: Any, both: Place) -> None:
    patient = "279035121518989@patient.msg.exemple.fr"
    anchors = TrustAnchors([both.manager.root.certificate])
    for address in (patient, DOCTOR):
        signer = certificate("A", [x509.RFC822Name(address)], authority=both.manager.root)
        verify(
            SignedData(Kind.DETACHED, b"texte", sign(b"texte", signer, clock.now())), [address], anchors, clock.now()
        )
    pool = await database.pool("relay")
    try:
        await Follower(pool, Trust(), anchors, structlog.get_logger()).look()
    finally:
        pool.terminate()
    owner = await database.connect("admin")
    ((path,),) = await owner.fetch("SELECT path FROM peer_certificate")
    assert DOCTOR.encode() in path[0]
    await owner.close()


async def test_a_peer_that_the_database_alone_knows_is_not_asked_about(both: Place) -> None:
    stranger = new_root(NOW)
    await met(both, with_access(stranger, published(both.site.url("/root.crl"))))
    await both.pool.execute("INSERT INTO peer_certificate VALUES (sha256('x'), ARRAY['junk'::bytea], current_date)")
    assert await both.refresher.round() == []
    assert both.site.asked == []


async def test_what_passed_rests_and_what_failed_is_tried_again(both: Place) -> None:
    await met(both, with_access(both.manager.root, published(both.site.url("/root.crl"))))
    assert len(await both.refresher.round()) == 1
    assert await both.refresher.round() == []
    # both rest for the minute of the setting: a failure never longer than what passed
    for failed in (True, False):
        await both.pool.execute("UPDATE trust_source SET tried_at = tried_at - interval '1 minute'")
        (outcome,) = await both.refresher.round()
        assert bool(outcome.failure) is failed
        both.site.put("/root.crl", crl(both.manager.root, [], NOW))
        assert await both.refresher.round() == []


async def test_what_was_long_not_seen_or_asked_for_is_forgotten(both: Place) -> None:
    tables = ("peer_certificate", "trust_source", "trust_revocation")

    async def counts() -> set[int]:
        return {await both.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables}

    await met(both, with_access(both.manager.root, published(both.site.url("/root.crl"))))
    both.site.put("/root.crl", crl(both.manager.root, [], NOW))
    await both.refresher.round()
    await both.refresher.forget()
    assert await counts() == {1}
    await both.pool.execute("UPDATE peer_certificate SET seen_on = seen_on - 91")
    await both.pool.execute("UPDATE trust_source SET tried_at = tried_at - interval '91 days'")
    await both.refresher.forget()
    assert await counts() == {0}
