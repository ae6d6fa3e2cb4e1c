"""The verdict on a signed message.

Invariants:
- `verify` gives a verdict for any bytes; it never raises, asks no network, and its work is bounded.
- PASSED means: the content as it stands has the digest that was signed; every signature on it is of its certificate's
  key; each certificate may sign mail, is valid at `now` (or was at a moment that a time stamp proves), leads to an
  anchor, and names the sender.
- What proves deceit comes before what is only unknown: a message signed by somebody else is FAILED even when that
  somebody's certificate is not trusted either.
- What could not be looked at (revocation) is said as a doubt, never passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509

from crypto.pki.revocation import Revocations
from crypto.pki.standing import Status as Standing
from crypto.smime.algorithms import DIGESTS
from crypto.smime.anchors import TrustAnchors
from crypto.smime.attributes import signing_time, the_only
from crypto.smime.certificate import Certificate, comparable
from crypto.smime.digested import Digested
from crypto.smime.enclosed import beside
from crypto.smime.signature import Judged, certificate_of, check_signature, failed, unsettled
from crypto.smime.signed_data import (
    DATA,
    DETACHED_BYTES,
    OPAQUE_BYTES,
    SIGNING_TIME,
    Contents,
    Kind,
    SignedData,
    SignerInfo,
    read,
)
from crypto.smime.time_stamp import time_stamped
from crypto.smime.tlv import Malformed
from crypto.smime.verdict import Doubt, Status, SubReason, Verdict

CLOCK_LEEWAY = timedelta(days=1)  # a signing time further in the future is a wrong clock or a lie
LONG_AGO = timedelta(days=7)  # queues of operators try for five days


def verify(signed: SignedData, from_addresses: Sequence[str], anchors: TrustAnchors, now: datetime) -> Verdict:
    """Judge a signature at the moment `now` (aware). `from_addresses` are all that stand in the From field."""
    draft = Verdict(Status.FAILED, SubReason.MALFORMED, covers="whole" if signed.at_top else "part")
    try:
        contents = _contents(signed)
        if not contents.signers:
            raise failed(SubReason.NO_SIGNER)
        content = _content(signed, contents)
    except Malformed:
        return draft
    except Judged as judged:
        return replace(draft, status=judged.status, reason=judged.reason)
    given = [_judge(signed, one, contents, content, from_addresses, anchors, now) for one in contents.signers]
    return given[0] if len(given) == 1 else _together(given)


def _judge(
    signed: SignedData,
    signer: SignerInfo,
    contents: Contents,
    content: bytes | Digested,
    from_addresses: Sequence[str],
    anchors: TrustAnchors,
    now: datetime,
) -> Verdict:
    """The verdict on one signer."""
    holder = time = proven = None
    doubts: tuple[Doubt, ...] = ()
    status, reason = Status.PASSED, SubReason.VALID
    try:
        holder = certificate_of(signer, contents)
        check_signature(signer, holder, content)
        if not holder.for_mail:
            raise failed(SubReason.NOT_FOR_MAIL)
        time = _signing_time(signer)
        proven = time_stamped(signer, contents, anchors, now)
        _check_sender(holder, from_addresses)
        path = _check_trust(holder, contents, anchors, proven or now)
        checked = _check_revocation(path, contents, anchors, proven, now)
        doubts = _doubts(signed, signer, holder, time, now)
        if not checked:
            doubts = (Doubt.REVOCATION_NOT_CHECKED, *doubts)
    except Malformed:
        status, reason = Status.FAILED, SubReason.MALFORMED
    except Judged as judged:
        status, reason = judged.status, judged.reason
    named = None if holder is None else holder.signer
    return Verdict(status, reason, named, "whole" if signed.at_top else "part", time, doubts, proven_time=proven)


def _together(given: Sequence[Verdict]) -> Verdict:
    """Several signers (RFC 5652 §5.1): it passes when all are the sender (one holder, an old and a new key); a
    signature that is wrong counts before all that are right; of two persons none is shown as the one who signed."""
    reasons = {verdict.reason for verdict in given}
    if len(reasons) == 1:
        return replace(given[0], doubts=tuple(dict.fromkeys(doubt for verdict in given for doubt in verdict.doubts)))
    for verdict in given:
        if verdict.status is Status.FAILED and verdict.reason is not SubReason.OTHER_SENDER:
            return verdict
    return replace(given[0], status=Status.INDETERMINATE, reason=SubReason.SEVERAL_SIGNERS, signer=None, doubts=())


def _contents(signed: SignedData) -> Contents:
    if len(signed.cms) > (OPAQUE_BYTES if signed.kind is Kind.OPAQUE else DETACHED_BYTES):
        raise unsettled(SubReason.TOO_LARGE)
    contents = read(signed.cms)
    if contents.content_type != DATA:
        # RFC 8551 §2.4.1: what a message signs is id-data; receipts and the like are no text for people.
        raise failed(SubReason.BAD_ATTRIBUTES)
    return contents


def _content(signed: SignedData, contents: Contents) -> bytes | Digested:
    """The one content that is judged: outside for detached, inside for opaque, never both."""
    if signed.kind is Kind.OPAQUE:
        inside = contents.content if signed.content is None else signed.content
        if inside is None:
            raise failed(SubReason.NO_CONTENT)
        return inside
    # RFC 8551 §3.5.3.1: the content of a detached signature is absent. One reader would show the text outside,
    # another judge the text inside ("Johnny, you are fired", USENIX Security 2019, class of CMS attacks).
    if contents.content is not None:
        raise failed(SubReason.ENCLOSED_CONTENT)
    if signed.content is None:
        raise failed(SubReason.NO_CONTENT)
    return signed.content


def _check_sender(holder: Certificate, from_addresses: Sequence[str]) -> None:
    """RFC 8550 §3: every address of From is one that the certificate names. None at all is nobody's message."""
    senders = {comparable(address) for address in from_addresses}
    if holder.addresses and not (senders and senders <= holder.addresses):
        raise failed(SubReason.OTHER_SENDER)


def _check_trust(
    holder: Certificate, contents: Contents, anchors: TrustAnchors, now: datetime
) -> tuple[x509.Certificate, ...]:
    """The path to an anchor."""
    # A certificate out of its time is judged at the nearest moment of it, so that an expired colleague is told from
    # a stranger.
    moment = min(max(now, holder.not_before), holder.not_after)
    others = [der for der in contents.certificates if der != holder.der]
    path = anchors.path(holder.x509, holder.der, others, moment)
    # RFC 5280 §4.2.1.10: an authority that is held to some addresses is held to them in the old place too.
    if not path or (holder.address_in_subject and holder.addresses and any(map(_is_constrained, path[1:]))):
        raise unsettled(SubReason.UNTRUSTED)
    if not anchors.is_of_policy(path, moment):
        raise unsettled(SubReason.OTHER_POLICY)
    if now > holder.not_after:
        raise unsettled(SubReason.EXPIRED)
    if now < holder.not_before:
        raise unsettled(SubReason.NOT_YET_VALID)
    if not holder.addresses:
        raise unsettled(SubReason.NO_ADDRESS)
    return path


def _is_constrained(authority: x509.Certificate) -> bool:
    return any(extension.oid == x509.NameConstraints.oid for extension in authority.extensions)


def _check_revocation(
    path: tuple[x509.Certificate, ...],
    contents: Contents,
    anchors: TrustAnchors,
    proven: datetime | None,
    now: datetime,
) -> bool:
    """Whether it is known that nothing of the path is revoked. That something is, is no proof of deceit: the signature
    may be older than the revocation (ETSI EN 319 102-1, REVOKED_NO_POE)."""
    known = anchors.revocations
    status = known.judge(path, now).status
    if status is Standing.UNKNOWN and (contents.lists or contents.answers):
        known = beside(known, contents.lists, contents.answers)
        status = known.judge(path, now).status
    if status is Standing.UNKNOWN:
        anchors.note_open(path, now)
        if anchors.strict:
            raise unsettled(SubReason.REVOCATION_UNKNOWN)
    if status is Standing.REVOKED and not _is_older(proven, path, known, now):
        raise unsettled(SubReason.REVOKED)
    return status is not Standing.UNKNOWN


def _is_older(proven: datetime | None, path: tuple[x509.Certificate, ...], known: Revocations, now: datetime) -> bool:
    """Whether a time stamp shows the signature to be older than every revocation on the path."""
    if proven is None:
        return False
    answers = [known.standing(certificate, issuer, now) for certificate, issuer in pairwise(path)]
    revoked = [answer.revoked_at for answer in answers if answer.status is Standing.REVOKED]
    return all(moment is not None and proven < moment for moment in revoked)


def _signing_time(signer: SignerInfo) -> datetime | None:
    if signer.attributes is None:
        return None
    value = the_only(signer.attributes, SIGNING_TIME)
    return None if value is None else signing_time(value)


def _doubts(
    signed: SignedData, signer: SignerInfo, holder: Certificate, time: datetime | None, now: datetime
) -> tuple[Doubt, ...]:
    doubts = []
    if not signed.at_top:
        doubts.append(Doubt.PART_ONLY)
    if signed.micalg and signed.micalg.replace("-", "") != DIGESTS[signer.digest].name:
        doubts.append(Doubt.MICALG_DIFFERS)
    if time is not None:
        if time > now + CLOCK_LEEWAY:
            doubts.append(Doubt.SIGNING_TIME_IN_FUTURE)
        elif not holder.not_before <= time <= holder.not_after:
            doubts.append(Doubt.SIGNING_TIME_OUTSIDE_CERTIFICATE)
        elif time < now - LONG_AGO:
            doubts.append(Doubt.SIGNED_LONG_AGO)
    return tuple(doubts)
