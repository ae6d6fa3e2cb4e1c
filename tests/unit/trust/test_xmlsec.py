"""White lists between two implementations: xmlsec1 checks ours, and we read what it signs in the published form."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from crypto.pki.issue import Issued
from crypto.pki.profile import KeyKind
from crypto.smime.anchors import TrustAnchors
from server.trust.signature import DS, ENVELOPED, FILTER2, NotSigned, signed_root
from server.trust.white_list import read
from tests.programs import need
from tests.white_lists import PINNED, Manager

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
ROWS = [("un.exemple.fr", "CN=mx.un.exemple.fr,O=Un,ST=Rhône (69),C=FR"), ("deux.exemple.fr", "CN=mx.deux,C=FR")]
XADES = "http://uri.etsi.org/01903/v1.3.2#:SignedProperties"
FILTER = f'<f:XPath xmlns:f="{FILTER2}" xmlns:ds="{DS}" Filter="subtract">/descendant::ds:Signature</f:XPath>'


@pytest.fixture(scope="module", params=[KeyKind.RSA_2048, KeyKind.P256], ids=str)
def manager(request: pytest.FixtureRequest) -> Manager:
    return Manager.new(NOW, request.param)


def xmlsec(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([need("xmlsec1"), *words], capture_output=True, text=True, timeout=60)


def test_what_we_sign_holds_elsewhere(manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(manager.root.certificate_pem())
    signed = manager.signed(ROWS, NOW)
    for data, holds in ((signed, True), (signed.replace(b"mx.deux", b"mx.trois"), False)):
        (tmp_path / "list.xml").write_bytes(data)
        at = ["--verification-time", f"{NOW:%Y-%m-%d} 12:30:00"]
        trust = ["--trusted-pem", tmp_path / "root.pem", "--id-attr:Id", XADES, *at]
        done = xmlsec("--verify", "--enabled-reference-uris", "empty,same-doc", *trust, tmp_path / "list.xml")
        assert (done.returncode == 0) is holds, done.stderr


def signed_elsewhere(data: bytes, signer: Issued, folder: Path, filtered: bool) -> bytes:
    """The list with the digests and the signature that xmlsec1 makes, in the published form or the plain one."""
    root = etree.fromstring(data)
    for name in ("DigestValue", "SignatureValue"):
        for element in root.iterfind(f"{{{DS}}}Signature/.//{{{DS}}}{name}"):
            if "CertDigest" not in str(getattr(element.getparent(), "tag", "")):
                element.text = None
    key_info = root.find(f"{{{DS}}}Signature/{{{DS}}}KeyInfo")
    assert key_info is not None
    for child in list(key_info):
        key_info.remove(child)
    etree.SubElement(key_info, f"{{{DS}}}X509Data")  # xmlsec1 writes the certificate there
    if filtered:
        (transform,) = (one for one in root.iter(f"{{{DS}}}Transform") if one.get("Algorithm") == ENVELOPED)
        transform.set("Algorithm", FILTER2)
        transform.append(etree.fromstring(FILTER))
    (folder / "template.xml").write_bytes(etree.tostring(root))
    signer.save(folder, "signer")
    done = xmlsec(
        *("--sign", "--id-attr:Id", XADES, "--privkey-pem", f"{folder / 'signer.key'},{folder / 'signer.pem'}"),
        *("--output", folder / "signed.xml", folder / "template.xml"),
    )
    assert done.returncode == 0, done.stderr
    return (folder / "signed.xml").read_bytes()


@pytest.mark.parametrize("filtered", [True, False], ids=["published", "enveloped"])
def test_what_is_signed_elsewhere_is_read(manager: Manager, tmp_path: Path, filtered: bool) -> None:
    data = signed_elsewhere(manager.signed(ROWS, NOW), manager.signer, tmp_path, filtered)
    assert (b"xmldsig-filter2" in data) is filtered
    anchors = TrustAnchors([manager.root.certificate])
    assert read(signed_root(data, anchors, PINNED, NOW)).keys() == set(ROWS)
    with pytest.raises(NotSigned, match="does not hold"):
        signed_root(data.replace(b"mx.deux", b"mx.trois"), anchors, PINNED, NOW)
