"""A time stamp over a signature (RFC 3161, RFC 5126 §6.1.1): the proof that it was there at a moment.

Its worth is that of its authority, which leads to an anchor as signers do. A token that proves nothing changes
nothing: the signature is then judged at the moment of reading.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final

from asn1crypto import tsp
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from crypto.pki.standing import Status as Standing
from crypto.smime.algorithms import DIGESTS
from crypto.smime.anchors import TrustAnchors
from crypto.smime.signature import Judged, certificate_of, check_signature
from crypto.smime.signed_data import Contents, SignerInfo, oid, read
from crypto.smime.tlv import OID, Malformed, encoded

TOKEN_BYTES = 64 * 1024  # one with three certificates has 6 KB
INFO_BYTES = 4_096
_TST_INFO: Final = oid("1.2.840.113549.1.9.16.1.4")
_DIGEST_NAMES: Final = frozenset(digest.name for digest in DIGESTS.values())


def time_stamped(signer: SignerInfo, contents: Contents, anchors: TrustAnchors, now: datetime) -> datetime | None:
    """The moment at which the signature of `signer` is proven to have been there; None where nothing proves one."""
    token = signer.time_stamp
    if token is None or len(token) > TOKEN_BYTES:
        return None
    try:
        stamp = read(token)
        if stamp.content_type != _TST_INFO or stamp.content is None or len(stamp.signers) != 1:
            return None
        moment = _moment(stamp.content, signer.signature)
        if moment is None or moment > now:
            return None
        holder = certificate_of(stamp.signers[0], stamp)
        check_signature(stamp.signers[0], holder, stamp.content, encoded(OID, _TST_INFO))
    except (Malformed, Judged):
        return None
    if not for_time_stamps(holder.x509) or not holder.not_before <= moment <= holder.not_after:
        return None
    others = [der for der in (*stamp.certificates, *contents.certificates) if der != holder.der]
    path = anchors.stampers.path(holder.x509, holder.der, others, moment)
    if not path or anchors.revocations.judge(path, now).status is Standing.REVOKED:
        return None
    return moment


def _moment(info: bytes, signature: bytes) -> datetime | None:
    """The moment that a TSTInfo gives to this signature."""
    if len(info) > INFO_BYTES:
        return None
    try:
        read_info = tsp.TSTInfo.load(info, strict=True)
        imprint = read_info["message_imprint"]
        name, claimed = imprint["hash_algorithm"]["algorithm"].native, imprint["hashed_message"].native
        moment = read_info["gen_time"].native
    except (ValueError, TypeError, KeyError):
        return None
    if name not in _DIGEST_NAMES or not isinstance(moment, datetime):
        return None
    if not hmac.compare_digest(claimed, hashlib.new(name, signature).digest()):
        return None
    return moment.astimezone(UTC)


def for_time_stamps(certificate: x509.Certificate) -> bool:
    """RFC 3161 §2.3: extended key usage is there, critical, and names time stamping alone."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return False
    return usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
