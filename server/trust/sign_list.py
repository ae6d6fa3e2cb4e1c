"""Making a trust space of one's own: a white list signed in the form that operators check (XAdES-B, enveloped)."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.xades.xades import XAdESSigner

from crypto.pki.issue import Issued


def sign(root: etree._Element, signer: Issued) -> bytes:
    """The document, its signature as the root's last child. Raises ValueError: a key that no list is signed with."""
    if isinstance(signer.key, rsa.RSAPrivateKey):
        method = SignatureMethod.RSA_SHA256
    elif isinstance(signer.key, ec.EllipticCurvePrivateKey):
        method = SignatureMethod.ECDSA_SHA256
    else:
        raise ValueError("a white list is signed with an RSA or an elliptic curve key")
    # signxml leaves the canonical form of the inner references to the default, which is 1.0 (XML-DSig §4.4.3.2).
    xades = XAdESSigner(
        method=SignatureConstructionMethod.enveloped,
        signature_algorithm=method,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_0,
    )
    signed = xades.sign(root, key=signer.key, cert=[signer.certificate])
    document: bytes = etree.tostring(signed, xml_declaration=True, encoding="UTF-8")
    return document
