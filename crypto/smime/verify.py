"""The verdict on a signed message.

Invariants:
- `verify` gives a verdict for any bytes; it never raises, asks no network, and its work is bounded.
- PASSED means: exactly one signer; the content as it stands has the digest that was signed; the signature is of the
  certificate's key; the certificate may sign mail, is valid at `now`, leads to an anchor, and names the sender.
- What proves deceit comes before what is only unknown: a message signed by somebody else is FAILED even when that
  somebody's certificate is not trusted either.
- What could not be looked at (revocation) is said as a doubt, never passed over.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509

from crypto.pki.standing import Status as Standing
from crypto.smime.algorithms import DIGESTS, WEAK_DIGESTS, Unknown, Weak, signature_holds
from crypto.smime.anchors import TrustAnchors
from crypto.smime.attributes import names_other_certificate, signing_time, the_only
from crypto.smime.certificate import Certificate, certificate, comparable, issuer_and_serial
from crypto.smime.digested import Digested
from crypto.smime.signed_data import (
    CONTENT_TYPE,
    DATA,
    DETACHED_BYTES,
    MESSAGE_DIGEST,
    OPAQUE_BYTES,
    SIGNING_TIME,
    Contents,
    Kind,
    SignedData,
    SignerInfo,
    looks_like_attributes,
    read,
)
from crypto.smime.tlv import OCTET_STRING, OID, SET, Malformed, encoded
from crypto.smime.verdict import Doubt, Status, SubReason, Verdict

CLOCK_LEEWAY = timedelta(days=1)  # a signing time further in the future is a wrong clock or a lie

_DATA_VALUE = encoded(OID, DATA)


class _Judged(Exception):
    """The verdict is settled, and it is not PASSED."""

    def __init__(self, status: Status, reason: SubReason) -> None:
        super().__init__(reason.value)
        self.status = status
        self.reason = reason


def verify(signed: SignedData, from_addresses: Sequence[str], anchors: TrustAnchors, now: datetime) -> Verdict:
    """Judge a signature at the moment `now` (aware). `from_addresses` are all that stand in the From field."""
    draft = Verdict(Status.FAILED, SubReason.MALFORMED, covers="whole" if signed.at_top else "part")
    try:
        contents = _contents(signed)
        signer = contents.signer
        if signer is None:
            raise _failed(SubReason.NO_SIGNER)
        if contents.signers > 1:
            raise _open(SubReason.SEVERAL_SIGNERS)
        content = _content(signed, contents)
        holder = _certificate_of(signer, contents)
        draft = replace(draft, signer=holder.signer)
        _check_signature(signer, holder, content)
        draft = replace(draft, signing_time=_signing_time(signer))
        _check_sender(holder, from_addresses)
        path = _check_trust(holder, contents, anchors, now)
        checked = _check_revocation(path, anchors, now)
    except Malformed:
        return draft
    except _Judged as judged:
        return replace(draft, status=judged.status, reason=judged.reason)
    doubts = _doubts(signed, signer, holder, draft, now)
    if not checked:
        doubts = (Doubt.REVOCATION_NOT_CHECKED, *doubts)
    return replace(draft, status=Status.PASSED, reason=SubReason.VALID, doubts=doubts)


def _failed(reason: SubReason) -> _Judged:
    return _Judged(Status.FAILED, reason)


def _open(reason: SubReason) -> _Judged:
    return _Judged(Status.INDETERMINATE, reason)


def _contents(signed: SignedData) -> Contents:
    if len(signed.cms) > (OPAQUE_BYTES if signed.kind is Kind.OPAQUE else DETACHED_BYTES):
        raise _open(SubReason.TOO_LARGE)
    contents = read(signed.cms)
    if contents.content_type != DATA:
        # RFC 8551 §2.4.1: what a message signs is id-data; receipts and the like are no text for people.
        raise _failed(SubReason.BAD_ATTRIBUTES)
    return contents


def _content(signed: SignedData, contents: Contents) -> bytes | Digested:
    """The one content that is judged: outside for detached, inside for opaque, never both."""
    if signed.kind is Kind.OPAQUE:
        inside = contents.content if signed.content is None else signed.content
        if inside is None:
            raise _failed(SubReason.NO_CONTENT)
        return inside
    # RFC 8551 §3.5.3.1: the content of a detached signature is absent. One reader would show the text outside,
    # another judge the text inside ("Johnny, you are fired", USENIX Security 2019, class of CMS attacks).
    if contents.content is not None:
        raise _failed(SubReason.ENCLOSED_CONTENT)
    if signed.content is None:
        raise _failed(SubReason.NO_CONTENT)
    return signed.content


def _certificate_of(signer: SignerInfo, contents: Contents) -> Certificate:
    """The certificate that the signer names (RFC 5652 §5.3), among those that came along."""
    if signer.key_identifier is None:
        wanted = (signer.issuer, signer.serial)
        fitting = {der for der in contents.certificates if issuer_and_serial(der) == wanted}
    else:
        fitting = {der for der in contents.certificates if certificate(der).key_identifier == signer.key_identifier}
    if not fitting:
        raise _open(SubReason.NO_CERTIFICATE)
    if len(fitting) > 1:
        raise _open(SubReason.TWO_CERTIFICATES)
    return certificate(fitting.pop())


def _check_signature(signer: SignerInfo, holder: Certificate, content: bytes | Digested) -> None:
    if signer.digest in WEAK_DIGESTS:
        raise _failed(SubReason.WEAK_DIGEST)
    digest = DIGESTS.get(signer.digest)
    if digest is None:
        raise _open(SubReason.UNKNOWN_ALGORITHM)
    encodings: tuple[bytes | Digested, ...] = (content,)
    attributes = signer.attributes
    if attributes is not None:
        # RFC 5652 §11.1 and §11.2: contentType and messageDigest, once each with one value.
        if attributes.repeated or the_only(attributes, CONTENT_TYPE) != _DATA_VALUE:
            raise _failed(SubReason.BAD_ATTRIBUTES)
        claimed = the_only(attributes, MESSAGE_DIGEST)
        if claimed is None:
            raise _failed(SubReason.BAD_ATTRIBUTES)
        if not hmac.compare_digest(claimed, encoded(OCTET_STRING, _digest(content, digest.name))):
            raise _failed(SubReason.TAMPERED)
        encodings = attributes.signed
    elif isinstance(content, Digested):
        # No header of a part begins so; whether it is an encoding of attributes cannot be seen any more.
        if content.first == SET:
            raise _open(SubReason.TOO_LARGE)
    elif looks_like_attributes(content):
        raise _failed(SubReason.BAD_ATTRIBUTES)
    try:
        holds = any(signature_holds(signer, holder.key, digest, encoding) for encoding in encodings)
    except Weak as weak:
        raise _failed(SubReason.WEAK_KEY if weak.key else SubReason.WEAK_DIGEST) from None
    except Unknown:
        raise _open(SubReason.UNKNOWN_ALGORITHM) from None
    if not holds:
        # Without attributes content and signature cannot be told apart.
        raise _failed(SubReason.BAD_SIGNATURE if attributes is not None else SubReason.TAMPERED)
    if attributes is not None and names_other_certificate(attributes, holder.der):
        raise _failed(SubReason.OTHER_CERTIFICATE)
    if not holder.for_mail:
        raise _failed(SubReason.NOT_FOR_MAIL)


def _digest(content: bytes | Digested, name: str) -> bytes:
    return content.digest(name) if isinstance(content, Digested) else hashlib.new(name, content).digest()


def _check_sender(holder: Certificate, from_addresses: Sequence[str]) -> None:
    """RFC 8550 §3: every address of From is one that the certificate names. None at all is nobody's message."""
    senders = {comparable(address) for address in from_addresses}
    if holder.addresses and not (senders and senders <= holder.addresses):
        raise _failed(SubReason.OTHER_SENDER)


def _check_trust(
    holder: Certificate, contents: Contents, anchors: TrustAnchors, now: datetime
) -> tuple[x509.Certificate, ...]:
    """The path to an anchor."""
    # A certificate out of its time is judged at the nearest moment of it, so that an expired colleague is told from
    # a stranger.
    moment = min(max(now, holder.not_before), holder.not_after)
    others = [der for der in contents.certificates if der != holder.der]
    path = anchors.path(holder.x509, holder.der, others, moment)
    if not path:
        raise _open(SubReason.UNTRUSTED)
    if now > holder.not_after:
        raise _open(SubReason.EXPIRED)
    if now < holder.not_before:
        raise _open(SubReason.NOT_YET_VALID)
    if not holder.addresses:
        raise _open(SubReason.NO_ADDRESS)
    return path


def _check_revocation(path: tuple[x509.Certificate, ...], anchors: TrustAnchors, now: datetime) -> bool:
    """Whether it is known that nothing of the path is revoked. That something is, is no proof of deceit: the signature
    may be older than the revocation (ETSI EN 319 102-1, REVOKED_NO_POE)."""
    standing = anchors.revocations.judge(path, now).status
    if standing is Standing.REVOKED:
        raise _open(SubReason.REVOKED)
    return standing is Standing.GOOD


def _signing_time(signer: SignerInfo) -> datetime | None:
    if signer.attributes is None:
        return None
    value = the_only(signer.attributes, SIGNING_TIME)
    return None if value is None else signing_time(value)


def _doubts(
    signed: SignedData, signer: SignerInfo, holder: Certificate, draft: Verdict, now: datetime
) -> tuple[Doubt, ...]:
    doubts = []
    if not signed.at_top:
        doubts.append(Doubt.PART_ONLY)
    if signed.micalg and signed.micalg.replace("-", "") != DIGESTS[signer.digest].name:
        doubts.append(Doubt.MICALG_DIFFERS)
    time = draft.signing_time
    if time is not None:
        if time > now + CLOCK_LEEWAY:
            doubts.append(Doubt.SIGNING_TIME_IN_FUTURE)
        elif not holder.not_before <= time <= holder.not_after:
            doubts.append(Doubt.SIGNING_TIME_OUTSIDE_CERTIFICATE)
    return tuple(doubts)
