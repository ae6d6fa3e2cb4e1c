"""The signature of the white list: an enveloped XAdES-B signature by the one signer we know (ETSI EN 319 132-1).

Invariants:
- Only what the verification gives back is read: never the document that came (XML signature wrapping).
- One signature, the last element of the root, over the whole document (URI="") but itself; every other reference points
  inside the signature. Any other shape or transform is refused before anything is computed.
- The signer's certificate leads to a configured anchor now, and its subject holds the attributes that are pinned.

The list's published form removes the signature by XPath Filter 2.0 ("subtract /descendant::ds:Signature"); with one
signature in the document that is the enveloped-signature transform, and is treated as such.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature as BadSignature
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.xades.xades import XAdESSignatureConfiguration, XAdESVerifier

from crypto.pki.path import UNREADABLE
from crypto.smime.anchors import TrustAnchors
from server.base.errors import CaduceeError
from server.trust.members import Attribute, DistinguishedName

DOCUMENT_BYTES: Final = 32 * 1024 * 1024  # the national list has some 4 MB
CERTIFICATES: Final = 8  # in KeyInfo
REFERENCES: Final = 4  # the document, SignedProperties, KeyInfo

DS: Final = "http://www.w3.org/2000/09/xmldsig#"
FILTER2: Final = "http://www.w3.org/2002/06/xmldsig-filter2"
SUBTRACT: Final = "/descendant::ds:Signature"
ENVELOPED: Final = SignatureConstructionMethod.enveloped.value
# Canonical XML 1.0 and 1.1 and the exclusive form, each without comments.
CANONICAL: Final = frozenset(
    {
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
        "http://www.w3.org/2006/12/xml-c14n11",
        "http://www.w3.org/2001/10/xml-exc-c14n#",
    }
)
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_METHODS = frozenset(
    SignatureMethod[name]
    for size in ("256", "384", "512")
    for name in (f"RSA_SHA{size}", f"ECDSA_SHA{size}", f"SHA{size}_RSA_MGF1")
)


Path = tuple[x509.Certificate, ...]


class NotSigned(Exception):
    """The document is not what the signer of the list signed; the text says why, and holds nothing of the document."""


class _Verifier(XAdESVerifier):
    """signxml's, which passes over transforms that it does not know: the filter that equals the enveloped transform is
    named as that one (its form was checked before, its digest is checked after)."""

    def _apply_transforms(self, payload: Any, *, transforms_node: Any, signature: Any) -> Any:
        for transform in () if transforms_node is None else transforms_node.iterfind(f"{{{DS}}}Transform"):
            if transform.get("Algorithm") == FILTER2:
                transform.set("Algorithm", ENVELOPED)
        return super()._apply_transforms(payload, transforms_node=transforms_node, signature=signature)


def signed_root(
    document: bytes,
    anchors: TrustAnchors,
    pinned: tuple[Attribute, ...],
    now: datetime,
    objection: Callable[[Path], CaduceeError | None] = lambda _: None,
) -> etree._Element:
    """The root element that was signed, without the signature.

    `pinned`: attributes that the signer's subject must hold, CN and OU at least. `objection` is asked about the path of
    the signer to its anchor (both included), for what is known of revocation. Raises NotSigned.
    """
    root = _parse(document)
    signature, uris = _shape(root)
    path = _signer(signature, anchors, pinned, now)
    refused = objection(path)
    if refused is not None:
        raise NotSigned(f"its signer: {refused.sentence}")
    expected = XAdESSignatureConfiguration(
        location="./",
        expect_references=len(uris),
        digest_algorithms=_DIGESTS,
        signature_methods=_METHODS,
        verification_time=now,
        default_reference_c14n_method=CanonicalizationMethod.CANONICAL_XML_1_0,  # XML-DSig §4.4.3.2
    )
    try:
        results = _Verifier().verify(document, x509_cert=path[0], parser=_parser(), expect_config=expected)
    except (SignXMLException, BadSignature, etree.LxmlError, ValueError, TypeError, KeyError, AttributeError) as error:
        # signxml meets a hostile document with any of these; none of them is a signature that holds.
        raise NotSigned(f"the signature does not hold ({type(error).__name__})") from None
    whole = results[uris.index("")].signed_xml
    if whole is None:
        raise NotSigned("the signature does not cover the document")
    return whole


def _parser() -> etree.XMLParser:
    """A parser that fetches nothing, follows no entity and repairs nothing."""
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False)


def _parse(document: bytes) -> etree._Element:
    if len(document) > DOCUMENT_BYTES:
        raise NotSigned("the document is too large")
    try:
        root = etree.fromstring(document, _parser())
    except (etree.XMLSyntaxError, ValueError):
        raise NotSigned("this is no XML") from None
    # A document type may define entities and default attributes: what is read would depend on it.
    if root.getroottree().docinfo.internalDTD is not None:
        raise NotSigned("a document type is not allowed")
    return root


def _shape(root: etree._Element) -> tuple[etree._Element, list[str]]:
    """The one signature and the URIs of its references in order, when both are of the form described above."""
    signatures = list(root.iter(f"{{{DS}}}Signature"))
    if not signatures:
        raise NotSigned("the document is not signed")
    signature = signatures[0]
    if len(signatures) != 1 or signature.getparent() is not root or signature.getnext() is not None:
        raise NotSigned("exactly one signature is expected, at the end of the root")
    if len(signature.findall(f"{{{DS}}}SignedInfo")) != 1:
        raise NotSigned("exactly one SignedInfo is expected")
    references = signature.findall(f"{{{DS}}}SignedInfo/{{{DS}}}Reference")
    if not 2 <= len(references) <= REFERENCES:
        raise NotSigned("an unexpected number of references")
    uris = [reference.get("URI", "#") for reference in references]
    if uris.count("") != 1 or len(set(uris)) != len(uris):
        raise NotSigned("the references do not cover the document once")
    inside, everywhere = set(_names(signature)), list(_names(root))
    for reference, uri in zip(references, uris, strict=True):
        if uri and (not uri.startswith("#") or uri[1:] not in inside or everywhere.count(uri[1:]) != 1):
            raise NotSigned("a reference leads out of the signature")
        _check_transforms(reference, whole=uri == "")
    return signature, uris


def _names(element: etree._Element) -> Iterator[str]:
    """What a reference could name in an element: each attribute that any reader takes for an identifier."""
    for each in element.iter(etree.Element):
        for name, value in each.attrib.items():
            if str(name).rpartition("}")[2].lower() == "id":
                yield str(value)


def _check_transforms(reference: etree._Element, *, whole: bool) -> None:
    transforms = reference.findall(f"{{{DS}}}Transforms/{{{DS}}}Transform")
    names = [transform.get("Algorithm") for transform in transforms]
    if whole:
        if not names or names[0] not in (ENVELOPED, FILTER2):
            raise NotSigned("the reference to the document must leave out the signature, and nothing else")
        if names[0] == FILTER2:
            _check_filter(transforms[0])
        names = names[1:]
    if len(names) > 1 or not set(names) <= CANONICAL:
        raise NotSigned("a transform that is not known")


def _check_filter(transform: etree._Element) -> None:
    """XPath Filter 2.0: one filter, subtract, this expression, with ds bound to XML signatures."""
    children = list(transform)
    if (
        len(children) != 1
        or children[0].tag != f"{{{FILTER2}}}XPath"
        or dict(children[0].attrib) != {"Filter": "subtract"}
        or len(children[0])
        or (children[0].text or "").strip() != SUBTRACT
        or children[0].nsmap.get("ds") != DS
    ):
        raise NotSigned("a filter that is not known")


def _signer(signature: etree._Element, anchors: TrustAnchors, pinned: tuple[Attribute, ...], now: datetime) -> Path:
    """The path from the certificate in KeyInfo that has the pinned name to an anchor."""
    texts = signature.findall(f"{{{DS}}}KeyInfo/{{{DS}}}X509Data/{{{DS}}}X509Certificate")
    if not 1 <= len(texts) <= CERTIFICATES:
        raise NotSigned("no certificate of the signer")
    try:
        ders = [base64.b64decode("".join((text.text or "").split()), validate=True) for text in texts]
        certificates = [x509.load_der_x509_certificate(der) for der in ders]
        subjects = [DistinguishedName.of(certificate.subject) for certificate in certificates]
    except UNREADABLE:
        raise NotSigned("a certificate that cannot be read") from None
    named = [n for n, subject in enumerate(subjects) if set(pinned) <= set(subject.attributes)]
    if len(named) != 1:
        raise NotSigned("the signer is not the one that is pinned")
    number = named[0]
    path = anchors.path(certificates[number], ders[number], [*ders[:number], *ders[number + 1 :]], now)
    if not path:
        raise NotSigned("the signer's certificate does not lead to an anchor, or is not valid")
    return path
