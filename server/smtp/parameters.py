"""Parameters of MAIL and RCPT as values: SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), AUTH (RFC
4954), RET, ENVID, NOTIFY and ORCPT (RFC 3461), REQUIRETLS (RFC 8689), HOLDFOR and HOLDUNTIL (RFC 4865).

What is not known is refused, and so is what is known and malformed: a wish that nobody understood would be a promise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

from server.base import clock
from server.base.limits import SMTP_HOLD_SECONDS
from server.mail import xtext
from server.smtp import reply_codes as r
from server.smtp.replies import Objection
from server.transport.envelope import Body, Notify, Returned

_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 §4
_HOLD_FOR = re.compile(r"[0-9]{1,9}")  # RFC 4865 §4.1, seconds; the moment is RFC 3339's
_HOLD_UNTIL = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_ENVELOPE_ID = 100  # characters: RFC 3461 §4.4
_ORIGINAL = 500  # RFC 3461 §4.2
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]+")
# RFC 6533 §3: an address beyond ASCII is written as it is (with SMTPUTF8), or with \x{…} for each character beyond it.
_UTF8_ADDRESS = re.compile(r"(?:[!-*,-<>-\[\]-~\u0080-\ud7ff\ue000-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})+")
_Word = TypeVar("_Word", Body, Returned, Notify)
_RCPT = frozenset({"NOTIFY", "ORCPT"})


class Mail(NamedTuple):
    """What MAIL said beside the reverse-path. `size` is octets, 0 when not said; `envelope_id` "" likewise."""

    size: int = 0
    body: Body = Body.EIGHT_BIT
    utf8: bool = False
    require_tls: bool = False
    returned: Returned | None = None
    envelope_id: str = ""
    not_before: datetime | None = None


class Rcpt(NamedTuple):
    """What RCPT said beside the address; empty when nothing."""

    notify: frozenset[Notify] = frozenset()
    original: str = ""


NOTHING_OF_MAIL = Mail()
NOTHING_OF_RCPT = Rcpt()


def mail(given: Mapping[str, str], max_octets: int, *, holds: bool = False) -> Mail:
    """What the parameters of MAIL say; `holds`: messages may be given to be held (RFC 4865: at submission).

    Raises Objection: UNKNOWN_PARAMETER, SYNTAX, TOO_LARGE, HELD_TOO_LONG.
    """
    if not given:
        return NOTHING_OF_MAIL
    size, body, returned, envelope_id, not_before = NOTHING_OF_MAIL.size, NOTHING_OF_MAIL.body, None, "", None
    for name, value in given.items():
        match name:
            case "SIZE":
                if not _SIZE.fullmatch(value):
                    raise Objection(r.SYNTAX)
                size = int(value)
            case "BODY":
                body = _one_of(Body, value)
            case "SMTPUTF8" | "REQUIRETLS":
                if value:
                    raise Objection(r.SYNTAX)
            case "RET":
                returned = _one_of(Returned, value)
            case "ENVID":
                if not value or len(value) > _ENVELOPE_ID or xtext.decode(value) is None:
                    raise Objection(r.SYNTAX)
                envelope_id = value
            case "AUTH":
                pass  # RFC 4954 §5: taken and not believed; who speaks is known better
            case "HOLDFOR" | "HOLDUNTIL" if holds:
                if not_before is not None:  # one of the two
                    raise Objection(r.SYNTAX)
                not_before = _hold(name, value, clock.now())
            case _:
                raise Objection(r.UNKNOWN_PARAMETER)
    if size > max_octets:
        raise Objection(r.TOO_LARGE)
    return Mail(size, body, "SMTPUTF8" in given, "REQUIRETLS" in given, returned, envelope_id, not_before)


def rcpt(given: Mapping[str, str], *, utf8: bool) -> Rcpt:
    """What the parameters of RCPT say; `utf8` when MAIL had SMTPUTF8. Raises Objection: UNKNOWN_PARAMETER, SYNTAX."""
    if not given:
        return NOTHING_OF_RCPT
    if not given.keys() <= _RCPT:
        raise Objection(r.UNKNOWN_PARAMETER)
    original = given.get("ORCPT", "")
    if "ORCPT" in given and not _is_original(original, utf8):
        raise Objection(r.SYNTAX)
    return Rcpt(_notify(given["NOTIFY"]) if "NOTIFY" in given else frozenset(), original)


def _hold(name: str, value: str, now: datetime) -> datetime:
    """Until when the message is held; a moment that has passed holds nothing up."""
    if not (_HOLD_FOR if name == "HOLDFOR" else _HOLD_UNTIL).fullmatch(value):
        raise Objection(r.SYNTAX)
    try:
        if name == "HOLDFOR":
            until = now + timedelta(seconds=int(value))
        else:
            until = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Objection(r.SYNTAX) from None
    if until > now + timedelta(seconds=SMTP_HOLD_SECONDS):
        raise Objection(r.HELD_TOO_LONG)
    return until


def _notify(value: str) -> frozenset[Notify]:
    words = value.split(",")
    asked = frozenset(_one_of(Notify, word) for word in words)
    # RFC 3461 §4.1: NEVER stands alone, and each word once.
    if len(asked) != len(words) or (Notify.NEVER in asked and len(asked) > 1):
        raise Objection(r.SYNTAX)
    return asked


def _is_original(value: str, utf8: bool) -> bool:
    kind, found, address = value.partition(";")
    if not found or not address or len(value) > _ORIGINAL or not _ADDRESS_TYPE.fullmatch(kind):
        return False
    if kind.lower() == "utf-8":
        return bool(_UTF8_ADDRESS.fullmatch(address)) and address.isprintable() and (utf8 or address.isascii())
    return xtext.decode(address) is not None


def _one_of(words: type[_Word], value: str) -> _Word:
    try:
        return words(value.upper())
    except ValueError:
        raise Objection(r.SYNTAX) from None
