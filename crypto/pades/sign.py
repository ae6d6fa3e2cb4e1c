"""Signing of a document (PAdES baseline, EN 319 142-1 §6); `token` has the signer whose key is in a card.

The signature certifies the document: from then on nothing may be changed in it (ISO 32000-1 §12.8.2.2, P = 1) but time
stamps and proofs of revocation be added. Where it is signed already the new one only approves. SHA-256.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

from asn1crypto import cms, crl, keys, ocsp, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.sign import fields, signers
from pyhanko.sign.general import SigningError
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.timestamps.common_utils import TimestampRequestError
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.errors import PathError, ValidationError
from pyhanko_certvalidator.registry import SimpleCertificateStore

from crypto.errors import CryptoError
from crypto.pades.verdict import Level
from crypto.pki.issue import Issued

DIGEST: Final = "sha256"
REQUEST_TYPE: Final = "application/timestamp-query"  # RFC 3161 §3.4
STAMP_BYTES: Final = 64 * 1024  # of an answer: a token with its certificates takes 5 KB

Signer = signers.Signer
# Sends a time-stamp request (DER) to an authority and gives its answer.
Post = Callable[[bytes], Awaitable[bytes]]


class Authority(TimeStamper):
    """A time-stamp authority behind `post`: the request with a nonce, the answer checked against both (RFC 3161)."""

    def __init__(self, post: Post) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._post = post

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        answer = await self._post(req.dump())
        if len(answer) > STAMP_BYTES:
            raise CryptoError("the time-stamp authority's answer is too large")
        return tsp.TimeStampResp.load(answer, strict=True)

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
        try:
            return await super().async_timestamp(message_digest, md_algorithm)
        except (ValueError, TypeError, KeyError, AttributeError):  # no token, or one for another request
            raise TimestampRequestError("its answer is no stamp for what was asked") from None


@dataclass(frozen=True, slots=True)
class Material:
    """What proves certificates at level B-LT: anchors, and lists and answers (DER) for all that lead there."""

    anchors: Sequence[x509.Certificate]
    crls: Sequence[bytes] = field(default=(), repr=False)
    ocsps: Sequence[bytes] = field(default=(), repr=False)


def file_signer(signer: Issued, chain: Sequence[x509.Certificate] = ()) -> Signer:
    """A signer whose key was read from a file; `chain` are intermediates to send along."""
    key = signer.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return signers.SimpleSigner(_asn1(signer.certificate), keys.PrivateKeyInfo.load(key), _store(chain))


async def sign(
    pdf: bytes, signer: Signer, level: Level, *, post: Post | None = None, material: Material | None = None
) -> bytes:
    """The document with one more signature, as an incremental update of it.

    B-T and B-LT need `post`, B-LT `material` too. Raises CryptoError: a document that cannot be signed, an authority
    that gives no stamp, or, at B-LT, a certificate of which nothing proves that it is good.
    """
    if level is Level.NONE or (level is not Level.B and post is None) or (level is Level.LT and material is None):
        raise CryptoError(f"level {level.value!r} needs what was not given")
    try:
        writer = IncrementalPdfFileWriter(BytesIO(pdf))
        first = not writer.prev.embedded_signatures
        metadata = signers.PdfSignatureMetadata(
            field_name=_free_name(writer),
            md_algorithm=DIGEST,
            subfilter=fields.SigSeedSubFilter.PADES,
            certify=first,
            docmdp_permissions=fields.MDPPerm.NO_CHANGES,
            embed_validation_info=level is Level.LT,
            validation_context=_context(material) if level is Level.LT and material is not None else None,
        )
        stamper = Authority(post) if post is not None and level is not Level.B else None
        signed = await signers.PdfSigner(metadata, signer, timestamper=stamper).async_sign_pdf(writer)
    except (PathError, ValidationError) as error:
        raise CryptoError(f"nothing proves the stamp's certificate: {error}") from None
    except (PdfError, SigningError) as error:
        raise CryptoError(f"the document cannot be signed: {error}") from None
    except TimestampRequestError as error:
        raise CryptoError(f"the time-stamp authority gives no stamp: {error}") from None
    except (ValueError, TypeError, KeyError) as error:  # what else a broken document makes pyHanko raise
        raise CryptoError(f"the document cannot be signed ({type(error).__name__})") from None
    return bytes(signed.getvalue())


def _free_name(writer: IncrementalPdfFileWriter) -> str:
    """A name for the signature's field that the document does not have."""
    taken = {name for name, _, _ in fields.enumerate_sig_fields(writer)}
    return next(name for number in range(1, len(taken) + 2) if (name := f"Signature{number}") not in taken)


def _context(material: Material) -> ValidationContext:
    """Every certificate below the anchors needs a word on its standing, from what is at hand alone."""
    return ValidationContext(
        trust_roots=[_asn1(one) for one in material.anchors],
        crls=[crl.CertificateList.load(der) for der in material.crls],
        ocsps=[ocsp.OCSPResponse.load(der) for der in material.ocsps],
        allow_fetching=False,
        revocation_mode="require",
    )


def _store(certificates: Iterable[x509.Certificate]) -> SimpleCertificateStore:
    store = SimpleCertificateStore()
    store.register_multiple([_asn1(one) for one in certificates])
    return store


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
