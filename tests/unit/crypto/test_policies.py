"""Certificate policies of signers (RFC 5280 §6.1), as pyhanko-certvalidator computes them."""

from __future__ import annotations

import asyncio

from cryptography import x509

from crypto.pki.issue import Issued
from crypto.smime.anchors import TrustAnchors
from crypto.smime.sign import sign
from crypto.smime.signed_data import Kind, SignedData, oid
from crypto.smime.tlv import OID, SEQUENCE, encoded
from crypto.smime.verify import verify
from tests.signers import AUTHORITY, DOCTOR, NOON, certificate, root

MAIL, OTHER, THEIRS, ANY = "1.2.250.1.1", "1.2.250.1.2", "1.3.6.1.4.1.1", "2.5.29.32.0"


def policies(*oids: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids])


def under(*oids: str, extensions: tuple[x509.ExtensionType, ...] = ()) -> Issued:
    """An authority of these policies."""
    return certificate("AC", extensions=[*([policies(*oids)] if oids else []), *extensions], critical=[AUTHORITY])


def reason(authority: Issued, *oids: str) -> str:
    """Why a signer of these policies under this authority passes or not, where MAIL is asked for."""
    anchors = TrustAnchors([root().certificate], [MAIL])
    extensions = [policies(*oids)] if oids else []
    signer = certificate("A", [x509.RFC822Name(DOCTOR)], authority=authority, extensions=extensions)
    signature = sign(b"texte", signer, NOON, chain=[authority.certificate])
    return verify(SignedData(Kind.DETACHED, b"texte", signature), [DOCTOR], anchors, NOON).reason


def test_one_of_those_asked_for_all_along_the_path() -> None:
    assert reason(under(MAIL, OTHER), MAIL) == "valid"
    assert reason(under(ANY), OTHER, MAIL) == "valid"
    for authority, oids in ((under(MAIL), (OTHER,)), (under(OTHER), (MAIL,)), (under(MAIL), ()), (under(), (MAIL,))):
        assert reason(authority, *oids) == "other-policy"


def test_policies_that_an_authority_maps() -> None:
    """RFC 5280 §4.2.1.5: what the authority calls MAIL, its own certificates call THEIRS."""
    pair = encoded(SEQUENCE, encoded(OID, oid(MAIL)) + encoded(OID, oid(THEIRS)))
    mapping = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), encoded(SEQUENCE, pair))
    assert reason(under(MAIL, extensions=(mapping,)), THEIRS) == "valid"
    assert reason(under(MAIL), THEIRS) == "other-policy"


def test_it_needs_no_event_loop_of_its_own() -> None:
    async def within() -> str:
        return reason(under(MAIL), MAIL)

    assert asyncio.run(within()) == "valid"
