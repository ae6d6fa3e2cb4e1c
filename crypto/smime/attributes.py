"""What single signed attributes say (RFC 5652 §11, RFC 5035)."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

from crypto.smime.algorithms import DIGESTS
from crypto.smime.signed_data import SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2, Attributes
from crypto.smime.tlv import (
    GENERALIZED_TIME,
    OCTET_STRING,
    OID,
    SEQUENCE,
    UTC_TIME,
    Malformed,
    element,
    expect,
    only,
)


def the_only(attributes: Attributes, kind: bytes) -> bytes | None:
    """The value of an attribute that has one. None when there is none. Raises `Malformed` for more."""
    values = attributes.values.get(kind)
    if values is None:
        return None
    if len(values) != 1:
        raise Malformed
    return values[0]


def signing_time(value: bytes) -> datetime | None:
    """The moment, or None when it is not written as RFC 5652 §11.3 says (UTC with seconds, ending in Z)."""
    time = only(value, 0, len(value), value[0] if value else 0)
    text = value[time.start : time.stop]
    if not text.endswith(b"Z") or not text[:-1].isdigit():
        return None
    digits = text[:-1].decode()
    if time.tag == UTC_TIME and len(digits) == 12:
        # RFC 5280 §4.1.2.5.1: years 50 to 99 are of the last century.
        digits = ("19" if digits >= "50" else "20") + digits
    elif time.tag != GENERALIZED_TIME:
        return None
    if len(digits) != 14:
        return None
    try:
        year, *rest = int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, 14, 2))
        month, day, hour, minute, second = rest
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def names_other_certificate(attributes: Attributes, der: bytes) -> bool:
    """Whether the signer bound another certificate than `der` into what it signed (RFC 5035 §5.4). Raises `Malformed`.

    Against a certificate put in the place of the signer's, with the same key and another name.
    """
    for kind, digest_name in ((SIGNING_CERTIFICATE_V2, "sha256"), (SIGNING_CERTIFICATE, "sha1")):
        value = the_only(attributes, kind)
        if value is None:
            continue
        whole = only(value, 0, len(value), SEQUENCE)
        certificates = expect(value, whole.start, whole.stop, SEQUENCE)
        first = expect(value, certificates.start, certificates.stop, SEQUENCE)
        part = element(value, first.start, first.stop)
        if kind == SIGNING_CERTIFICATE_V2 and part.tag == SEQUENCE:
            algorithm = expect(value, part.start, part.stop, OID)
            digest = DIGESTS.get(value[algorithm.start : algorithm.stop])
            if digest is None:
                return True  # a certificate that cannot be compared is not this one
            digest_name = digest.name
            part = element(value, part.after, first.stop)
        if part.tag != OCTET_STRING:
            raise Malformed
        # SHA-1 here only compares two certificates that were both signed by trusted hands (RFC 2634 §5.4).
        actual = hashlib.new(digest_name, der, usedforsecurity=False).digest()
        if not hmac.compare_digest(value[part.start : part.stop], actual):
            return True
    return False
