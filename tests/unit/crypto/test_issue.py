from __future__ import annotations

import ipaddress
import stat
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from crypto.errors import CryptoError, KeyMissing
from crypto.pki import development
from crypto.pki.issue import Holder, Issued, issue, new_root, professional, server
from crypto.pki.profile import PROFILES, KeyKind, Profile, ProfileName
from crypto.smime.anchors import TrustAnchors
from tests.programs import need


def trusted(anchors: TrustAnchors, one: Issued, now: datetime, *others: Issued) -> bool:
    der = [other.certificate.public_bytes(Encoding.DER) for other in (one, *others)]
    return anchors.trusts(one.certificate, der[0], der[1:], now)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory, noon: datetime) -> Path:
    folder = tmp_path_factory.mktemp("home") / "pki"
    development.create(folder, "mss.example.test", noon)
    development.signer(folder, "Dr.Essai@mss.example.test", "Camille ESSAI", "10000000017", noon)
    development.signer(folder, "dr.essai@mss.example.test", "Camille ESSAI", "10000000017", noon, KeyKind.P256)
    return folder


def test_development_pki_is_whole_and_private(pki: Path) -> None:
    names = {str(path.relative_to(pki)) for path in pki.rglob("*") if path.is_file()}
    signers = {"smime/dr.essai@mss.example.test", "smime/dr.essai@mss.example.test-rsa-2048"}
    pairs = {"root", "server", "server-rsa", "organisation"} | signers
    published = {"crl/root.crl", "crl/root.issued", "crl/lock"}
    assert names == published | {f"{name}.{end}" for name in pairs for end in ("pem", "key")}
    for path in pki.rglob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_openssl_trusts_it(pki: Path, noon: datetime) -> None:
    at = str(int(noon.timestamp()) + 60)
    for purpose, name in (
        ("sslserver", "server"),
        ("sslserver", "server-rsa"),
        ("sslclient", "organisation"),
        ("smimesign", "smime/dr.essai@mss.example.test"),
        ("smimesign", "smime/dr.essai@mss.example.test-rsa-2048"),
    ):
        command = [need("openssl"), "verify", "-x509_strict", "-attime", at, "-purpose", purpose]
        done = subprocess.run([*command, "-CAfile", pki / "root.pem", pki / f"{name}.pem"], capture_output=True)
        assert done.returncode == 0, done.stderr


def test_pki_is_never_made_over_another(pki: Path, noon: datetime) -> None:
    before = (pki / "root.pem").read_bytes()
    with pytest.raises(FileExistsError):
        development.create(pki, "mss.example.test", noon)
    assert (pki / "root.pem").read_bytes() == before


def test_signer_is_made_once(pki: Path, noon: datetime) -> None:
    again = development.signer(pki, "dr.essai@mss.example.test", "Camille ESSAI", "10000000017", noon)
    assert again.certificate == Issued.load(pki / "smime", "dr.essai@mss.example.test-rsa-2048").certificate


def test_address_cannot_leave_the_folder(pki: Path, noon: datetime, tmp_path: Path) -> None:
    for address in ("../../escape@x.test", "/etc/passwd@x.test", "..", ".hidden@x.test"):
        try:
            development.signer(pki, address, "X", "10000000017", noon, KeyKind.P256)
        except ValueError:
            continue  # not an address that a certificate can name
    assert {path.parent for path in pki.parent.rglob("*.key")} == {pki, pki / "smime"}


def test_server_names(root: Issued, noon: datetime) -> None:
    one = server(root, ["mail.exämple.test", "localhost"], "Cabinet", noon)
    names = one.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mail.xn--exmple-cua.test", "localhost"]
    assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)


def test_professional_is_named_as_igc_sante_does(rsa_signer: Issued) -> None:
    subject = rsa_signer.certificate.subject
    assert subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value == "810000000017"
    usage = rsa_signer.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert isinstance(rsa_signer.key, rsa.RSAPrivateKey)
    assert rsa_signer.key.key_size == 2048


@pytest.mark.parametrize("kind", list(KeyKind))
def test_kinds_of_keys(root: Issued, noon: datetime, kind: KeyKind) -> None:
    key = professional(root, "a@b.test", "A", "10000000017", noon, kind=kind).key
    if isinstance(key, rsa.RSAPrivateKey):
        assert kind == f"rsa-{key.key_size}"
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        assert isinstance(key.curve, ec.SECP256R1 if kind is KeyKind.P256 else ec.SECP384R1)
    else:
        assert kind is KeyKind.ED25519


def test_key_kind_outside_of_the_profile_is_refused(root: Issued, noon: datetime) -> None:
    with pytest.raises(CryptoError, match="p384"):
        issue(root, Profile.load(ProfileName.SERVER), Holder({"common_name": "x"}), noon, kind=KeyKind.P384)
    with pytest.raises(CryptoError):
        new_root(noon, Profile.load(ProfileName.SERVER))


def test_private_key_is_not_shown(rsa_signer: Issued) -> None:
    assert "key=" not in repr(rsa_signer)


def test_load_refuses_what_does_not_belong_together(tmp_path: Path, rsa_signer: Issued, ec_signer: Issued) -> None:
    rsa_signer.save(tmp_path, "one")
    (tmp_path / "one.key").write_bytes(ec_signer.key_pem())
    with pytest.raises(CryptoError, match="not the certificate's"):
        Issued.load(tmp_path, "one")
    (tmp_path / "one.key").write_bytes(b"garbage")
    with pytest.raises(CryptoError):
        Issued.load(tmp_path, "one")
    with pytest.raises(KeyMissing):
        Issued.load(tmp_path, "two")


@pytest.mark.parametrize("name", list(ProfileName))
def test_profiles_are_sound(name: ProfileName) -> None:
    assert Profile.load(name).authority == (name is ProfileName.ROOT)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("days = 1095", "days = 0"),
        ("days = 1095", "days = 1095\nsurprise = 1"),
        ('default_key = "rsa-2048"', 'default_key = "rsa-1024"'),
        ('default_key = "rsa-2048"', 'default_key = "p256'),
        ('["email_protection"]', '["code_signing"]'),
        ('country = "FR"', 'planet = "FR"'),
        ("[subject]", "[object]"),
    ],
)
def test_wrong_profile_is_named(tmp_path: Path, line: str, instead: str) -> None:
    text = (PROFILES / "smime.toml").read_text()
    assert line in text
    (tmp_path / "smime.toml").write_text(text.replace(line, instead))
    with pytest.raises(CryptoError, match=r"smime\.toml"):
        Profile.load(ProfileName.SMIME, tmp_path)


def test_path_to_the_anchors(root: Issued, anchors: TrustAnchors, rsa_signer: Issued, noon: datetime) -> None:
    assert trusted(anchors, rsa_signer, noon)
    assert trusted(anchors, rsa_signer, noon)  # from memory
    assert not trusted(anchors, rsa_signer, noon + timedelta(days=1096))
    assert not trusted(anchors, rsa_signer, noon - timedelta(days=1))
    assert trusted(anchors, rsa_signer, noon)
    stranger = TrustAnchors([new_root(noon).certificate])  # the same name, another key
    assert not trusted(stranger, rsa_signer, noon)


def test_path_through_an_intermediate(root: Issued, anchors: TrustAnchors, noon: datetime) -> None:
    authority = Profile.load(ProfileName.ROOT)
    middle = issue(root, authority, Holder({"common_name": "AC INTERMEDIAIRE"}), noon)
    leaf = professional(middle, "a@b.test", "A", "10000000017", noon, kind=KeyKind.P256)
    assert not trusted(anchors, leaf, noon)
    assert trusted(anchors, leaf, noon, middle)


def test_leaf_is_no_authority(root: Issued, anchors: TrustAnchors, ec_signer: Issued, noon: datetime) -> None:
    leaf = professional(ec_signer, "a@b.test", "A", "10000000017", noon, kind=KeyKind.P256)
    assert not trusted(anchors, leaf, noon, ec_signer)


def test_memory_of_paths_is_bounded(
    anchors: TrustAnchors, rsa_signer: Issued, noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crypto.smime.anchors.CACHED_PATHS", 10)
    fresh = TrustAnchors(anchors.certificates)
    der = rsa_signer.certificate.public_bytes(Encoding.DER)
    for n in range(30):
        assert fresh.trusts(rsa_signer.certificate, der, [b"%d" % n], noon)
    assert len(fresh._found) == 10


def test_anchor_files(tmp_path: Path, root: Issued, noon: datetime) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(root.certificate_pem() + new_root(noon).certificate_pem())
    assert len(TrustAnchors.load([both]).certificates) == 2
    (tmp_path / "bad.pem").write_bytes(b"not a certificate")
    for wrong in (tmp_path / "bad.pem", tmp_path / "missing.pem"):
        with pytest.raises(CryptoError, match=wrong.name):
            TrustAnchors.load([wrong])
    with pytest.raises(CryptoError):
        TrustAnchors.load([])
