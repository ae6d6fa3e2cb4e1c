"""What the server announces, by what the session is. Each row stands in `docs/rfc.md` with a transcript test."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto


class Phase(Enum):
    """Which of the three lists a session sees."""

    CLEAR = auto()  # no TLS yet: nothing that could carry a password
    SIGN_IN = auto()
    SIGNED_IN = auto()


# One name a line with its RFC; those that depend on the phase are below.
CAPABILITIES: tuple[bytes, ...] = (
    b"IMAP4rev1",  # RFC 3501
    b"IMAP4rev2",  # RFC 9051
    b"LITERAL+",  # RFC 7888
    b"SASL-IR",  # RFC 4959
    b"ID",  # RFC 2971
    b"ENABLE",  # RFC 5161
    b"IDLE",  # RFC 2177
    b"NAMESPACE",  # RFC 2342
    b"UIDPLUS",  # RFC 4315
    b"UNSELECT",  # RFC 3691
    b"CHILDREN",  # RFC 3348
    b"MOVE",  # RFC 6851
    b"ESEARCH",  # RFC 4731
    b"SEARCHRES",  # RFC 5182
    b"SORT",  # RFC 5256
    b"SORT=DISPLAY",  # RFC 5957
    b"THREAD=ORDEREDSUBJECT",  # RFC 5256
    b"THREAD=REFERENCES",  # RFC 5256
    b"ESORT",  # RFC 5267
    b"CONTEXT=SEARCH",  # RFC 5267
    b"CONTEXT=SORT",  # RFC 5267
    b"MULTISEARCH",  # RFC 7377
    b"UTF8=ACCEPT",  # RFC 6855
    b"CONDSTORE",  # RFC 7162
    b"QRESYNC",  # RFC 7162
    b"COMPRESS=DEFLATE",  # RFC 4978
    b"UNAUTHENTICATE",  # RFC 8437
    b"INPROGRESS",  # RFC 9585
    b"NOTIFY",  # RFC 5465
    b"OBJECTID",  # RFC 8474
    b"PARTIAL",  # RFC 9394
    b"UIDONLY",  # RFC 9586
    b"SPECIAL-USE",  # RFC 6154
    b"LIST-EXTENDED",  # RFC 5258
    b"LIST-STATUS",  # RFC 5819
    b"STATUS=SIZE",  # RFC 8438
    b"WITHIN",  # RFC 5032
    b"SAVEDATE",  # RFC 8514
    b"MULTIAPPEND",  # RFC 3502
    b"BINARY",  # RFC 3516
    b"CATENATE",  # RFC 4469
    b"URLAUTH",  # RFC 4467
    b"URL-PARTIAL",  # RFC 5550
    b"REPLACE",  # RFC 8508
    b"PREVIEW",  # RFC 8970
    b"CREATE-SPECIAL-USE",  # RFC 6154
    b"QUOTA",  # RFC 9208
    b"QUOTA=RES-STORAGE",
    b"QUOTA=RES-MAILBOX",
    b"QUOTA=RES-ANNOTATION-STORAGE",
    b"METADATA",  # RFC 5464
    b"LIST-METADATA",  # RFC 9590
    b"ACL",  # RFC 4314
    b"RIGHTS=kxte",
    b"LIST-MYRIGHTS",  # RFC 8440
)
CAPABILITIES_IN_CLEAR: tuple[bytes, ...] = (b"STARTTLS", b"LOGINDISABLED")  # RFC 3501 §6.2.1, §6.2.3
CAPABILITIES_TO_SIGN_IN: tuple[bytes, ...] = (
    b"AUTH=PLAIN",  # RFC 4616
    b"AUTH=EXTERNAL",  # RFC 4422 Appendix A; to who showed a client certificate
    b"AUTH=XOAUTH2",  # where there is an identity provider, as the next
    b"AUTH=OAUTHBEARER",  # RFC 7628
)
_BEFORE = (b"IMAP4rev1", b"IMAP4rev2", b"LITERAL-", b"SASL-IR", b"ID", b"ENABLE")

_LINES = {
    Phase.CLEAR: b" ".join((*_BEFORE, *CAPABILITIES_IN_CLEAR)),
    Phase.SIGN_IN: b" ".join(_BEFORE),
    Phase.SIGNED_IN: b" ".join(CAPABILITIES),
}


def capabilities(phase: Phase, append_limit: int, mechanisms: Sequence[str]) -> bytes:
    """The list for the CAPABILITY response or code. APPENDLIMIT (RFC 7889) tells the setting."""
    line = _LINES[phase]
    if phase is Phase.SIGN_IN:
        offered = {b"AUTH=" + mechanism.encode() for mechanism in mechanisms}
        return b" ".join((line, *(name for name in CAPABILITIES_TO_SIGN_IN if name in offered)))
    return line + b" APPENDLIMIT=%d" % append_limit if phase is Phase.SIGNED_IN else line
