"""Both ways with `openssl cms`: what it signs passes here, what is signed here passes there."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest

from crypto.pki.issue import Issued, new_root, professional
from crypto.pki.profile import KeyKind
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign, sign_detached, sign_opaque
from crypto.smime.signed_data import Kind, SignedData
from crypto.smime.verdict import Status, SubReason
from crypto.smime.verify import verify
from tests.programs import need

ENTITY = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + b"Bonjour, voici l'ordonnance.\r\n" * 400
DOCTOR = "aline.martin@mss.example.test"
HEADERS = {"From": f"Aline MARTIN <{DOCTOR}>", "To": "a@b.test", "Subject": "Ordonnance de Zoé"}


@pytest.fixture
def place(tmp_path: Path, root: Issued) -> Path:
    (tmp_path / "root.pem").write_bytes(root.certificate_pem())
    (tmp_path / "entity").write_bytes(ENTITY)
    return tmp_path


@pytest.fixture(params=["rsa_signer", "ec_signer"])
def signer(request: pytest.FixtureRequest) -> Issued:
    found: Issued = request.getfixturevalue(request.param)
    return found


def openssl(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([need("openssl"), "cms", *arguments], cwd=place, capture_output=True)


@pytest.mark.parametrize("form", ["detached", "opaque"])
@pytest.mark.parametrize("pss", [False, True])
def test_openssl_accepts_ours(
    place: Path, rsa_signer: Issued, ec_signer: Issued, noon: datetime, form: str, pss: bool
) -> None:
    make = sign_detached if form == "detached" else sign_opaque
    for signer in (rsa_signer,) if pss else (rsa_signer, ec_signer):
        (place / "message.eml").write_bytes(make(ENTITY, HEADERS, signer, noon, pss=pss))
        at = str(int(noon.timestamp()) + 60)
        done = openssl(
            place, "-verify", "-in", "message.eml", "-CAfile", "root.pem", "-attime", at, "-out", "out", "-crlfeol"
        )
        assert done.returncode == 0, done.stderr
        assert (place / "out").read_bytes() == ENTITY
        tampered = (place / "message.eml").read_bytes()
        if form == "detached":
            (place / "message.eml").write_bytes(tampered.replace(b"Bonjour", b"Bonsoir"))
            assert openssl(place, "-verify", "-in", "message.eml", "-CAfile", "root.pem", "-attime", at).returncode != 0


def test_headers_of_ours_are_readable(rsa_signer: Issued, noon: datetime) -> None:
    message = message_from_bytes(sign_detached(ENTITY, HEADERS, rsa_signer, noon))
    assert message.get_content_type() == "multipart/signed"
    assert [part.get_content_type() for part in message.get_payload()] == ["text/plain", "application/pkcs7-signature"]  # type: ignore[union-attr]
    with pytest.raises(ValueError):
        sign_detached(ENTITY, {"Subject": "x\r\nBcc: y@z.test"}, rsa_signer, noon)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("", Kind.DETACHED),
        ("-md sha384", Kind.DETACHED),
        ("-md sha512", Kind.DETACHED),
        ("-keyid", Kind.DETACHED),
        ("-noattr", Kind.DETACHED),
        ("-cades", Kind.DETACHED),
        ("-nosmimecap", Kind.DETACHED),
        ("-nodetach", Kind.OPAQUE),
        ("-nodetach -stream", Kind.OPAQUE),  # BER: indefinite lengths, content in pieces
        ("-nodetach -noattr", Kind.OPAQUE),
    ],
)
def test_openssls_pass_here(
    place: Path, signer: Issued, anchors: TrustAnchors, noon: datetime, options: str, kind: Kind
) -> None:
    signer.save(place, "signer")
    done = openssl(
        place, "-sign", "-binary", "-in", "entity", "-signer", "signer.pem", "-inkey", "signer.key",
        "-outform", "DER", "-out", "cms", *options.split(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = ENTITY if kind is Kind.DETACHED else None
    # openssl signs with the clock of the machine: the certificate is judged at its own noon.
    verdict = verify(SignedData(kind, content, (place / "cms").read_bytes()), [DOCTOR], anchors, noon)
    assert (verdict.status, verdict.reason) == (Status.PASSED, SubReason.VALID)
    if kind is Kind.DETACHED:
        other = verify(SignedData(kind, ENTITY + b"x", (place / "cms").read_bytes()), [DOCTOR], anchors, noon)
        assert (other.status, other.reason) == (Status.FAILED, SubReason.TAMPERED)


@pytest.mark.parametrize("salt", ["digest", "max", "0"])
def test_openssls_pss_passes_here(
    place: Path, rsa_signer: Issued, anchors: TrustAnchors, noon: datetime, salt: str
) -> None:
    rsa_signer.save(place, "signer")
    done = openssl(
        place, "-sign", "-binary", "-in", "entity", "-signer", "signer.pem", "-inkey", "signer.key", "-outform", "DER",
        "-out", "cms", "-keyopt", "rsa_padding_mode:pss", "-keyopt", f"rsa_pss_saltlen:{salt}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdict = verify(SignedData(Kind.DETACHED, ENTITY, (place / "cms").read_bytes()), [DOCTOR], anchors, noon)
    assert (verdict.status, verdict.reason) == (Status.PASSED, SubReason.VALID)


def test_openssls_sha1_is_weak(place: Path, signer: Issued, anchors: TrustAnchors, noon: datetime) -> None:
    signer.save(place, "signer")
    done = openssl(
        place, "-sign", "-binary", "-in", "entity", "-signer", "signer.pem", "-inkey", "signer.key", "-md", "sha1",
        "-outform", "DER", "-out", "cms",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdict = verify(SignedData(Kind.DETACHED, ENTITY, (place / "cms").read_bytes()), [DOCTOR], anchors, noon)
    assert (verdict.status, verdict.reason) == (Status.FAILED, SubReason.WEAK_DIGEST)


def certtool(place: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([need("certtool"), *arguments], cwd=place, capture_output=True)


@pytest.mark.parametrize("name", ["doctor", "doctor-ed25519"])
def test_gnutls_both_ways(place: Path, name: str) -> None:
    """Ed25519 (RFC 8419), for which OpenSSL 3.0 has no CMS."""
    now = datetime.now(UTC)
    authority = new_root(now)
    kind = KeyKind.ED25519 if name == "doctor-ed25519" else KeyKind.P256
    signer = professional(authority, DOCTOR, "Aline MARTIN", "10000000017", now, kind=kind)
    signer.save(place, "signer")
    (place / "root.pem").write_bytes(authority.certificate_pem())
    done = certtool(
        place, "--p7-detached-sign", "--load-certificate", "signer.pem", "--load-privkey", "signer.key", "--infile",
        "entity", "--outder", "--outfile", "theirs", "--p7-time",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    anchors = TrustAnchors([authority.certificate])
    later = now + timedelta(minutes=1)
    for content, expected in ((ENTITY, SubReason.VALID), (ENTITY + b"x", SubReason.TAMPERED)):
        found = SignedData(Kind.DETACHED, content, (place / "theirs").read_bytes())
        assert verify(found, [DOCTOR], anchors, later).reason is expected
    (place / "ours").write_bytes(sign(ENTITY, signer, now))
    check = ("--p7-verify", "--inder", "--infile", "ours", "--load-ca-certificate", "root.pem", "--load-data")
    assert certtool(place, *check, "entity").returncode == 0
    (place / "entity").write_bytes(ENTITY + b"x")
    assert certtool(place, *check, "entity").returncode != 0
