"""The white list: what is signed is read, and nothing else is."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from lxml import etree

from crypto.pki.issue import Issued, new_root
from crypto.pki.profile import KeyKind
from crypto.smime.anchors import TrustAnchors
from server.base.errors import Reason, Refused
from server.trust.sign_list import sign
from server.trust.signature import DS, ENVELOPED, FILTER2, NotSigned, signed_root
from server.trust.white_list import NAMESPACE, NoList, WhiteList, read
from tests.white_lists import PINNED, Manager, document, list_signer

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ROWS = [
    ("un.exemple.fr", "CN=smtp.un.exemple.fr,OU=318751275100020,O=Un,ST=Rhône (69),C=FR"),
    ("un.exemple.fr", "CN=smtpv2.un.exemple.fr,OU=318751275100020,O=Un,ST=Rhône (69),C=FR"),
    ("deux.exemple.fr", "CN=mx.deux.exemple.fr,O=Deux, Santé & Cie,C=FR"),
]
FILTER = f'<ft:XPath xmlns:ft="{FILTER2}" xmlns:ds="{DS}" Filter="subtract">/descendant::ds:Signature</ft:XPath>'
EVIL = ("pirate.exemple.fr", "CN=mx.pirate.exemple.fr,C=FR")


@pytest.fixture(scope="module")
def manager() -> Manager:
    return Manager.new(NOW)


@pytest.fixture(scope="module")
def signed(manager: Manager) -> bytes:
    return manager.signed(ROWS, NOW)


def check(manager: Manager, data: bytes, now: datetime = NOW) -> WhiteList:
    return read(signed_root(data, TrustAnchors([manager.root.certificate]), PINNED, now))


def test_it_comes_back_as_it_was_written(manager: Manager, signed: bytes) -> None:
    found = check(manager, signed)
    assert [(row.domain, row.name) for row in found.entries] == sorted(ROWS)
    assert found.generated_at == NOW
    assert found.left_out == 0


@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.P384], ids=str)
def test_other_keys(kind: KeyKind) -> None:
    manager = Manager.new(NOW, kind)
    assert len(check(manager, manager.signed(ROWS, NOW)).entries) == len(ROWS)


def with_filter(signer: Issued, form: str = FILTER) -> bytes:
    """A list signed in the published form: the signature is left out by an XPath filter (XML-Signature XPath 2.0)."""
    root = etree.fromstring(sign(document(ROWS, NOW), signer))
    signature = root.find(f"{{{DS}}}Signature")
    assert signature is not None
    transform = next(one for one in signature.iter(f"{{{DS}}}Transform") if one.get("Algorithm") == ENVELOPED)
    transform.set("Algorithm", FILTER2)
    transform.append(etree.fromstring(form))
    resign(signature, signer)
    return etree.tostring(root)


def resign(signature: etree._Element, signer: Issued) -> None:
    """Sign SignedInfo as it stands now (with canonical XML 1.0, as `sign` chose)."""
    info = signature.find(f"{{{DS}}}SignedInfo")
    value = signature.find(f"{{{DS}}}SignatureValue")
    assert info is not None
    assert value is not None
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    alone = etree.fromstring(etree.tostring(signature)).find(f"{{{DS}}}SignedInfo")
    der = signer.key.sign(etree.tostring(alone, method="c14n"), ec.ECDSA(hashes.SHA256()))
    r, s = utils.decode_dss_signature(der)
    value.text = base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()


def test_the_published_filter_is_the_enveloped_form(manager: Manager) -> None:
    assert len(check(manager, with_filter(manager.signer)).entries) == len(ROWS)


@pytest.mark.parametrize(
    "form",
    [
        FILTER.replace("subtract", "intersect"),
        FILTER.replace("/descendant::ds:Signature", "/descendant::ds:Signature | /descendant::Domaine"),
        FILTER.replace("/descendant::ds:Signature", "//*"),
        FILTER.replace(DS, "urn:other"),
        FILTER.replace("ft:XPath", "ft:Other"),
    ],
)
def test_another_filter_is_refused_even_when_signed(manager: Manager, form: str) -> None:
    with pytest.raises(NotSigned, match="filter that is not known"):
        check(manager, with_filter(manager.signer, form))


@pytest.mark.parametrize(
    "algorithm",
    [
        "http://www.w3.org/2000/09/xmldsig#base64",
        "http://www.w3.org/TR/1999/REC-xslt-19991116",
        "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments",
        "urn:unknown",
    ],
)
def test_another_transform_is_refused_even_when_signed(manager: Manager, signed: bytes, algorithm: str) -> None:
    root = etree.fromstring(signed)
    (transforms,) = (t for t in root.iter(f"{{{DS}}}Transforms") if ENVELOPED in etree.tostring(t, encoding="unicode"))
    etree.SubElement(transforms, f"{{{DS}}}Transform").set("Algorithm", algorithm)
    signature = root.find(f"{{{DS}}}Signature")
    assert signature is not None
    resign(signature, manager.signer)
    with pytest.raises(NotSigned, match="transform that is not known"):
        check(manager, etree.tostring(root))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"deux.exemple.fr</", b"deux.exempla.fr</"),
        (b"O=Deux", b"O=Trois"),
        (b"<Domaine>", b"<Domaine><Nom>pirate.fr</Nom></Domaine><Domaine>"),
        (b"2026-11-25T12:00:00Z</DateDeGeneration>", b"2027-11-25T12:00:00Z</DateDeGeneration>"),
    ],
)
def test_a_changed_list_does_not_hold(manager: Manager, signed: bytes, old: bytes, new: bytes) -> None:
    assert old in signed
    with pytest.raises(NotSigned, match="does not hold"):
        check(manager, signed.replace(old, new, 1))


def test_a_comment_changes_nothing_that_is_read(manager: Manager, signed: bytes) -> None:
    """Comments are not signed; a reader that stops at one would read "un" (CVE-2018-0489 and its class)."""
    found = check(manager, signed.replace(b">un.exemple.fr<", b">un<!-- -->.exemple.fr<"))
    assert {row.domain for row in found.entries} == {"un.exemple.fr", "deux.exemple.fr"}


def test_unsigned(manager: Manager) -> None:
    with pytest.raises(NotSigned, match="not signed"):
        check(manager, etree.tostring(document(ROWS, NOW)))


def test_another_signer_under_the_same_root(manager: Manager) -> None:
    other = list_signer(manager.root, NOW, "Liste Blanche d'un Autre")
    with pytest.raises(NotSigned, match="not the one that is pinned"):
        check(manager, sign(document([EVIL], NOW), other))


def test_the_same_name_under_another_root(manager: Manager) -> None:
    with pytest.raises(NotSigned, match="does not lead to an anchor"):
        check(manager, Manager.new(NOW).signed([EVIL], NOW))


def test_the_signers_certificate_beside_anothers_signature(manager: Manager) -> None:
    """KeyInfo is not signed: a stranger may put the real certificate there."""
    stranger = list_signer(new_root(NOW), NOW)
    mixed = Issued(manager.signer.certificate, stranger.key)
    with pytest.raises(NotSigned, match="does not hold"):
        check(manager, sign(document([EVIL], NOW), mixed))


@pytest.mark.parametrize("days", [-30, 1096])
def test_a_signer_out_of_its_time(manager: Manager, signed: bytes, days: int) -> None:
    with pytest.raises(NotSigned, match="not valid"):
        check(manager, signed, NOW + timedelta(days=days))


def test_a_revoked_signer(manager: Manager, signed: bytes) -> None:
    seen = []

    def objection(path: tuple[x509.Certificate, ...]) -> Refused:
        seen.append(path)
        return Refused(Reason.CERTIFICATE_REVOKED, "The certificate is revoked.")

    with pytest.raises(NotSigned, match="revoked"):
        signed_root(signed, TrustAnchors([manager.root.certificate]), PINNED, NOW, objection)
    assert seen == [(manager.signer.certificate, manager.root.certificate)]


# XML signature wrapping: what was signed stays in the document somewhere, and another list stands where readers look.


def wrapped_in_the_signature(signed: etree._Element, evil: etree._Element) -> etree._Element:
    signature = signed.find(f"{{{DS}}}Signature")
    assert signature is not None
    evil.append(signature)
    etree.SubElement(signature, f"{{{DS}}}Object").append(signed)
    return evil


def wrapped_beside(signed: etree._Element, evil: etree._Element) -> etree._Element:
    signature = signed.find(f"{{{DS}}}Signature")
    assert signature is not None
    evil.append(signed)
    evil.append(signature)
    return evil


def wrapped_whole(signed: etree._Element, evil: etree._Element) -> etree._Element:
    evil.append(signed)
    return evil


def wrapped_by_identifier(signed: etree._Element, evil: etree._Element) -> etree._Element:
    signed.set("Id", "whole")
    evil = wrapped_beside(signed, evil)
    for reference in evil.iter(f"{{{DS}}}Reference"):
        if reference.get("URI") == "":
            reference.set("URI", "#whole")
    return evil


def signed_twice(signed: etree._Element, evil: etree._Element) -> etree._Element:
    signature = signed.find(f"{{{DS}}}Signature")
    assert signature is not None
    evil.append(etree.fromstring(etree.tostring(signature)))
    evil.append(signature)
    return evil


def appended_behind_the_signature(signed: etree._Element, evil: etree._Element) -> etree._Element:
    signed.append(evil)
    return signed


def properties_named_twice(signed: etree._Element, evil: etree._Element) -> etree._Element:
    for reference in signed.iter(f"{{{DS}}}Reference"):
        if reference.get("URI"):
            signed.find(f".//{{{NAMESPACE}}}Domaine").set("id", reference.get("URI")[1:])  # type: ignore[union-attr]
    return signed


@pytest.mark.parametrize(
    "wrap",
    [
        wrapped_in_the_signature,
        wrapped_beside,
        wrapped_whole,
        wrapped_by_identifier,
        signed_twice,
        appended_behind_the_signature,
        properties_named_twice,
    ],
)
def test_a_wrapped_list(manager: Manager, signed: bytes, wrap: object) -> None:
    assert callable(wrap)
    forged = etree.tostring(wrap(etree.fromstring(signed), document([EVIL], NOW)))
    with pytest.raises(NotSigned):
        check(manager, forged)


def test_a_second_signed_info_is_refused(manager: Manager, signed: bytes) -> None:
    root = etree.fromstring(signed)
    info = root.find(f"{{{DS}}}Signature/{{{DS}}}SignedInfo")
    assert info is not None
    info.addprevious(etree.fromstring(etree.tostring(info)))
    with pytest.raises(NotSigned, match="SignedInfo"):
        check(manager, etree.tostring(root))


@pytest.mark.parametrize(
    "prologue",
    [
        b'<!DOCTYPE ListeBlanche [<!ENTITY d "pirate.fr">]>',
        b'<!DOCTYPE ListeBlanche [<!ENTITY d SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE ListeBlanche SYSTEM "http://127.0.0.1:9/list.dtd">',
        b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    ],
)
def test_a_document_type_is_refused(manager: Manager, signed: bytes, prologue: bytes) -> None:
    start = signed.index(b"<ListeBlanche")
    with pytest.raises(NotSigned, match="document type"):
        check(manager, signed[:start] + prologue + signed[start:])


@pytest.mark.parametrize("data", [b"", b"<", b"\x00", b"<a>" * 100_000, b"<ListeBlanche/>"])
def test_what_is_no_list(manager: Manager, data: bytes) -> None:
    with pytest.raises(NotSigned):
        check(manager, data)


def test_a_signed_document_of_another_kind(manager: Manager) -> None:
    root = etree.Element("Autre")
    etree.SubElement(root, "DateDeGeneration").text = NOW.isoformat()
    with pytest.raises(NoList, match="root"):
        check(manager, sign(root, manager.signer))


# Reading


def element(text: str) -> etree._Element:
    return etree.fromstring(f'<ListeBlanche xmlns="{NAMESPACE}">{text}</ListeBlanche>')


DATE = "<DateDeGeneration>2026-11-25T12:00:00Z</DateDeGeneration>"
ROW = "<Domaine><Nom>{}</Nom><DNCertificatOperateur>{}</DNCertificatOperateur></Domaine>"


def test_rows_that_cannot_be_read_are_counted_and_left_out() -> None:
    rows = [
        ROW.format("un.fr", "CN=a,C=FR"),
        ROW.format("un.fr", "pas un nom"),
        ROW.format("un .fr", "CN=a,C=FR"),
        ROW.format("", "CN=a,C=FR"),
        "<Domaine/>",
        ROW.format("un.fr", "CN=a,C=FR"),
    ]
    found = read(element(DATE + "".join(rows)))
    assert (len(found.entries), found.left_out) == (1, 4)


def test_an_international_domain_is_listed_in_its_ascii_form() -> None:
    found = read(element(DATE + ROW.format("Hôpital.exemple.fr", "CN=a,C=FR")))
    assert found.domains() == {"xn--hpital-ixa.exemple.fr"}


def test_the_form_of_the_sample_of_the_same_family() -> None:
    text = (
        '<ListeBlancheDRIM-M xmlns="https://listeblanche.mesimagesmedicales.fr/schema" versionFormat="1.0.0">'
        f"{DATE}<ListeDomaines><Domaine><Identifiant>un.fr</Identifiant><Denomination>Un</Denomination>"
        "<DNCertificatOperateur>CN=h,OU=318751275100020,O=n,ST=T (75),C=FR</DNCertificatOperateur></Domaine>"
        "</ListeDomaines></ListeBlancheDRIM-M>"
    )
    assert read(etree.fromstring(text)).domains() == {"un.fr"}


@pytest.mark.parametrize(
    "text",
    [
        ROW.format("un.fr", "CN=a"),
        DATE,
        DATE + DATE + ROW.format("un.fr", "CN=a"),
        "<DateDeGeneration>hier</DateDeGeneration>" + ROW.format("un.fr", "CN=a"),
        "<DateDeGeneration/>" + ROW.format("un.fr", "CN=a"),
    ],
)
def test_a_list_without_date_or_rows(text: str) -> None:
    with pytest.raises(NoList):
        read(element(text))
