"""What in a message is signed (RFC 8551 §3.5, RFC 1847 §2.1): found here, judged by `crypto.smime`.

A signature inside a forwarded message (message/rfc822) is that message's, not this one's: it is not looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from crypto.smime.digested import Digested
from crypto.smime.signed_data import DETACHED_BYTES
from server.mail import content, parameters
from server.mail.structure import AMBIGUOUS, Finding, Message, Octets, Part

_SIGNATURES = frozenset({"pkcs7-signature", "x-pkcs7-signature"})
_CMS = frozenset({"pkcs7-mime", "x-pkcs7-mime"})
# RFC 5652 §5.1: id-signedData, as DER stands at the head of a ContentInfo.
_SIGNED_DATA_OID = bytes.fromhex("06092a864886f70d010702")
_SIGNED_DATA = "signed-data"
_HEAD = 32  # octets in which the content type of a ContentInfo stands


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature and what it covers.

    `kind`: "detached" (multipart/signed) or "opaque" (application/pkcs7-mime). `content`: the exact octets signed as
    they stand in the message, or their digests where they have passed; None when they are in `cms`. `cms`: the CMS
    object without transfer encoding. `micalg`: lower case, "" when opaque or not given. `at_top`: it covers the whole
    body. `path`: number of the signed part. `outside`: a leaf of the message stands outside of what is signed.
    `several`: there is another signature beside this one. `ambiguous`: findings by which another reader may see another
    content than what is signed. `cut`: some of it has passed and was not kept, so that it cannot be judged.
    """

    kind: str
    content: bytes | Digested | None = field(repr=False)
    cms: bytes = field(repr=False)
    micalg: str
    at_top: bool
    path: str
    outside: bool
    several: bool
    ambiguous: tuple[Finding, ...] = ()
    cut: bool = False


class Passed(NamedTuple):
    """What was signed in a message that is no longer there: digests of what each multipart/signed covers, by where that
    begins; of an opaque signature what `OpaqueReader` gives, by where its body begins."""

    digests: Mapping[int, Digested]
    opaque: Mapping[int, tuple[bytes, Digested | None]]


def signed_data(message: Message, data: Octets, passed: Passed | None = None) -> Signed | None:
    """The outermost signature of a message, the first of several; None for none.

    `data`: the whole message, or what was kept of it when it `passed`.
    """
    found = _signed_parts(message.root, data)
    if not found:
        return None
    part = found[0]
    top = part is message.root
    ambiguous = tuple(finding for finding in message.findings if finding in AMBIGUOUS)
    several = len(found) > 1
    if part.type != "multipart":
        opaque: tuple[bytes, Digested | None] | None
        if passed is None:
            opaque = content.octets(data[part.body_start : part.body_end], part.encoding), None
        else:
            opaque = passed.opaque.get(part.body_start)
        (cms, inside), cut = opaque or (b"", None), opaque is None
        return Signed("opaque", inside, cms, "", top, part.path or "1", not top, several, ambiguous, cut)
    signed, signature, *more = part.children
    # RFC 8551 §3.5.3.1, RFC 1847 §2.1: from the header of the first part up to the line end before its delimiter, which
    # is the delimiter's.
    start = signed.header_start
    octets = data[start : signed.body_end] if passed is None else passed.digests.get(start)
    micalg = (parameters.get(part.params, "micalg") or "").lower()
    raw = data[signature.body_start : signature.body_end]
    cms, cut = content.octets(raw, signature.encoding), octets is None or len(raw) < signature.size
    whole = top and not more
    return Signed("detached", octets, cms, micalg, whole, signed.path, not whole, several, ambiguous, cut)


def needed(part: Part) -> int:
    """How much of the body of a part `signed_data` asks for when the message passes."""
    if part.type != "application":
        return 0
    return 2 * DETACHED_BYTES if part.subtype in _SIGNATURES else 2 * _HEAD if part.subtype in _CMS else 0


def may_be_opaque(part: Part) -> bool:
    """Whether a part says so or leaves it open (RFC 8551 §3.2.2: smime-type is optional)."""
    return (
        part.type == "application"
        and part.subtype in _CMS
        and (parameters.get(part.params, "smime-type") or _SIGNED_DATA).lower() == _SIGNED_DATA
    )


def _signed_parts(root: Part, data: Octets) -> list[Part]:
    """Signed parts in document order, none inside of another, none in messages inside."""
    found: list[Part] = []
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if _is_detached(part) or _is_opaque(part, data):
            found.append(part)
        else:
            waiting += reversed(part.children)
    return found


def _is_detached(part: Part) -> bool:
    # By the type of the second part, not by `protocol`: a signature must not escape notice by a wrong parameter.
    if part.type != "multipart" or part.subtype != "signed" or len(part.children) < 2:
        return False
    signature = part.children[1]
    return signature.type == "application" and signature.subtype in _SIGNATURES


def _is_opaque(part: Part, data: Octets) -> bool:
    if not may_be_opaque(part):
        return False
    if parameters.get(part.params, "smime-type"):
        return True
    # The object itself says what it is.
    head = data[part.body_start : min(part.body_end, part.body_start + 2 * _HEAD)]
    return _SIGNED_DATA_OID in content.octets(head, part.encoding)[:_HEAD]
