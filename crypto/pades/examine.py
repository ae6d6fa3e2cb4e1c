"""What stands in a signed PDF, read with pyHanko, in a process of its own.

PDF is a format of many traps (compression bombs, cycles, cross-references that lie), so who asks never parses it:
`examiner` starts this with bounded memory and time, no key and nothing secret in its memory, under the seal of who
started it. It takes one document after the other from its standard input: eight octets of length, then the document;
and gives back four octets of length, then `Examined` as JSON.

Invariant: `examine` gives facts for any bytes, and raises only MemoryError.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import resource
import struct
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Any, Final

from asn1crypto import cms, core, tsp
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.decode_limits import DecodePurpose
from pyhanko.pdf_utils.misc import get_and_apply
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.general import SignedDataCerts
from pyhanko.sign.validation import generic_cms
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from crypto.pades.facts import Changes, Examined, Signature, Stamp
from crypto.pades.verdict import Reason

MEMORY_BYTES: Final = 1024 * 1024 * 1024  # the largest document, its copies, and pyHanko's own 60 MB
CPU_SECONDS: Final = 10  # for one document; a prescription takes 15 ms
SIGNATURES: Final = 16  # more than any prescription has; each costs a comparison of revisions
CERTIFICATES: Final = 64
PROOFS: Final = 64  # lists, and answers
PROOFS_BYTES: Final = 4 * 1024 * 1024  # of lists and answers together
DIGESTS: Final = frozenset({"sha256", "sha384", "sha512"})
WHITE: Final = b"\0\t\n\f\r "  # ISO 32000-1 §7.2.2
WEAK: Final = frozenset({"md2", "md4", "md5", "sha1", "sha224"})
_ALLOWED: Final = {
    ModificationLevel.NONE: Changes.NONE,
    ModificationLevel.LTA_UPDATES: Changes.PROOFS,
    ModificationLevel.FORM_FILLING: Changes.FORM,
}


def examine(pdf: bytes) -> Examined:
    """The signatures of a document in the order they were made. Document time stamps are no signatures of anybody."""
    try:
        found = PdfFileReader(BytesIO(pdf)).embedded_regular_signatures
        if len(found) > SIGNATURES:
            return _UNREADABLE
        certificates = [der for one in found for der in _certificates(one)]
        proofs = _security_store(found[0].reader) if found else ((), (), ())
    except MemoryError:
        raise
    except Exception:  # pyHanko has no common ancestor for what a broken document makes it raise
        return _UNREADABLE
    # What stands behind the last end mark is no revision: one reader passes over it, another repairs the file from it.
    followed = not pdf.rstrip(WHITE).endswith(b"%%EOF")
    signatures = (_examine(one) for one in found)
    return Examined(
        tuple(replace(one, changes=Changes.OTHER) if followed else one for one in signatures),
        tuple(dict.fromkeys((*certificates, *proofs[0])))[:CERTIFICATES],
        *proofs[1:],
    )


_UNREADABLE: Final = Examined((Signature(fault=Reason.UNREADABLE),))


def _examine(one: EmbeddedPdfSignature) -> Signature:
    try:
        return _facts(one)
    except MemoryError:
        raise
    except Exception:  # as above
        return Signature(fault=Reason.MALFORMED)


def _facts(one: EmbeddedPdfSignature) -> Signature:
    fault = _algorithm_fault(one.signer_info)
    if fault is not None:
        return Signature(fault=fault)
    # RFC 5652 §5.2: the content of a detached signature is absent.
    if one.signed_data["encap_content_info"]["content"] is not core.VOID:
        return Signature(fault=Reason.MALFORMED)
    one.compute_integrity_info()
    intact, made = generic_cms.validate_sig_integrity(one.signer_info, one.signer_cert, "data", one.compute_digest())
    return Signature(
        intact=intact,
        made=made,
        whole=one.coverage in (SignatureCoverageLevel.ENTIRE_FILE, SignatureCoverageLevel.ENTIRE_REVISION),
        changes=_changes(one),
        certificate=one.signer_cert.dump(),
        claimed_time=_aware(one.self_reported_timestamp),
        stamp=next((stamp for stamp in _stamps(one.signer_info) if stamp.holds), None),
    )


def _algorithm_fault(signer: cms.SignerInfo) -> Reason | None:
    names = {signer["digest_algorithm"]["algorithm"].native}
    algorithm = signer["signature_algorithm"]
    with contextlib.suppress(ValueError):  # it names none of its own: that of the content counts (RFC 5652 §5.3)
        names.add(algorithm.hash_algo)
    if names & WEAK:
        return Reason.WEAK_ALGORITHM
    return None if names <= DIGESTS else Reason.UNKNOWN_ALGORITHM


def _changes(one: EmbeddedPdfSignature) -> Changes:
    facts = one.summarise_integrity_info()
    if facts["coverage"] is SignatureCoverageLevel.ENTIRE_FILE:
        return Changes.NONE
    if not facts["docmdp_ok"]:
        return Changes.OTHER
    return _ALLOWED.get(facts["diff_result"].modification_level, Changes.OTHER)


def _stamps(signer: cms.SignerInfo) -> Iterator[Stamp]:
    """The time stamps on the signature's octets (RFC 5126 §6.1.1)."""
    for token in generic_cms.extract_tst_data_iter(signer, signed=False):
        content = token["encap_content_info"]["content"]
        info, authority = content.parsed, generic_cms.extract_certs_for_validation(token).signer_cert
        stamper = token["signer_infos"][0]
        if not isinstance(info, tsp.TSTInfo) or len(token["signer_infos"]) != 1 or _algorithm_fault(stamper):
            continue
        imprint = info["message_imprint"]
        algorithm = imprint["hash_algorithm"]["algorithm"].native
        if algorithm not in DIGESTS:
            continue
        about = hashlib.new(algorithm, signer["signature"].native).digest() == imprint["hashed_message"].native
        digest = hashlib.new(stamper["digest_algorithm"]["algorithm"].native, bytes(content)).digest()
        held = generic_cms.validate_sig_integrity(stamper, authority, "tst_info", digest)
        yield Stamp(info["gen_time"].native, about and all(held), authority.dump())


def _certificates(one: EmbeddedPdfSignature) -> Iterator[bytes]:
    """All certificates that the signature, and the stamps on it, bring along."""
    tokens: Iterable[cms.SignedData] = generic_cms.extract_tst_data_iter(one.signer_info, signed=False)
    for data in (one.signed_data, *tokens):
        found: SignedDataCerts = generic_cms.extract_certs_for_validation(data)
        yield from (certificate.dump() for certificate in (found.signer_cert, *found.other_certs))


def _security_store(reader: PdfFileReader) -> tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]:
    """Certificates, lists and answers of the document security store (EN 319 142-1 §5.4.2)."""
    store = reader.root["/DSS"] if "/DSS" in reader.root else generic.DictionaryObject()
    certificates, crls, ocsps = (
        tuple(one.get_object().read_data(purpose) for one in _listed(store, name))
        for name, purpose in (
            ("/Certs", DecodePurpose.CERTIFICATE),
            ("/CRLs", DecodePurpose.CRL),
            ("/OCSPs", DecodePurpose.OCSP_RESPONSE),
        )
    )
    small = sum(map(len, (*crls, *ocsps))) <= PROOFS_BYTES
    return certificates, crls if small else (), ocsps if small else ()


def _listed(store: generic.DictionaryObject, name: str) -> list[generic.IndirectObject]:
    return list(get_and_apply(store, name, list, default=[]))[:PROOFS]


def _aware(time: datetime | None) -> datetime | None:
    """A time without a zone says no moment."""
    return time if time is not None and time.tzinfo is not None else None


def serve(read: Any, write: Any) -> None:
    """Examine what comes until there is no more."""
    while len(header := read.read(8)) == 8:
        (size,) = struct.unpack(">Q", header)
        pdf = read.read(size)
        used = resource.getrusage(resource.RUSAGE_SELF)
        # The soft limit ends the process by SIGXCPU; it counts from its start, so each document moves it on.
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_SECONDS, -1))
        answer = examine(pdf).to_bytes()
        write.write(struct.pack(">I", len(answer)) + answer)
        write.flush()


def main() -> None:
    """Be the process that examines."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)  # what a library would say could quote the document
    warnings.simplefilter("ignore")
    serve(sys.stdin.buffer, sys.stdout.buffer)
