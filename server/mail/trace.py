"""Trace fields that we put on a message, and the forged ones that we take away (RFC 5321 §4.4, RFC 8601, RFC 7281).

Every value that comes from outside is reduced to printable characters on one line before it is written.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from server.mail import headers
from server.mail.addresses import ascii_domain
from server.mail.structure import Message, Octets

# Whole fields, folded lines with them. The header may be larger than what a scan reads of it: nothing escapes here.
_OURS = re.compile(
    rb"^(?:(authentication-results)|return-path)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?+", re.IGNORECASE | re.MULTILINE
)
# RFC 5322 §2.2.3: lines that would continue the last field put above them.
_LOOSE_LINES = re.compile(rb"(?:[ \t][^\n]*+(?:\n|\Z))++")
_COMMENT_STEP = re.compile(r"\\.|[()]", re.DOTALL)
_AUTHSERV_ID = re.compile(r'\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;"()=]++))')
_TOKEN_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")
# RFC 8601 §2.2: pvalue may be an address bare.
_ADDRESS_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+/^_`{|}~.-]+@[A-Za-z0-9.-]+")
# RFC 7281 §3.1 and RFC 8601 §2.7.1: results for the plain form of a verdict.
_RESULTS = {"passed": "pass", "failed": "fail", "indeterminate": "neutral", "none": "none"}
_PAST_ASCII = re.compile(r"[^\x00-\x7f\ud800-\udfff]+")
_VALUE = 500  # characters of a value that is not ours; a line may have 998 (RFC 5322 §2.1.1)


def return_path(reverse_path: str) -> bytes:
    """Return-Path, written at final delivery (RFC 5321 §4.4). `reverse_path` without brackets, "" for the null path."""
    return _field("Return-Path", f"<{_one_line(reverse_path)}>")


def received(
    client: str, by: str, protocol: str, identifier: str, at: datetime, *, recipient: str = "", tls: str = ""
) -> bytes:
    """Received (RFC 5321 §4.4).

    `client` is all that stands behind "from" ("poste.cabinet.fr ([192.0.2.1])"), "" to leave it out; `protocol` as in
    RFC 3848; `recipient` only when there is one (§7.2: others must not learn it); `tls` a comment; `at` aware.
    """
    parts = [f"from {_one_line(client)}"] if client else []
    parts.append(f"by {_one_line(by)}{f' ({_comment(tls)})' if tls else ''}")
    parts.append(f"with {_one_line(protocol)} id {_one_line(identifier)}")
    if recipient:
        parts.append(f"for <{_one_line(recipient)}>")
    return _field("Received", "\r\n\t".join(parts) + f";\r\n\t{email.utils.format_datetime(at)}")


def authentication_results(authserv_id: str, verdict: Mapping[str, Any], unproven: Sequence[str] = ()) -> bytes:
    """Authentication-Results with the S/MIME verdict in its plain form (RFC 8601 §2.2, RFC 7281 §3.1).

    `unproven`: domains of authors that the operator who brought the message is not listed for; a method of our own.
    """
    result = _RESULTS.get(str(verdict.get("status", "none")), "temperror")
    lines = [_one_line(authserv_id)]
    if result == "none":
        lines.append("smime=none")
    else:
        reason = verdict.get("reason")
        lines.append(f"smime={result}" + (f" reason={_value(str(reason))}" if reason else ""))
        signer = verdict.get("signer") or {}
        addresses = signer.get("addresses") or ()
        # RFC 7281 §3.2: body.smime-identifier, -serial, -issuer.
        if addresses:
            lines.append(f"body.smime-identifier={_value(str(addresses[0]))}")
        if signer.get("serial"):
            lines.append(f"body.smime-serial={_value(str(signer['serial']))}")
        if signer.get("issuer"):
            # RFC 4514 §2.4: octets past ASCII may stand as hexadecimal pairs, so that the field stays ASCII.
            issuer = _PAST_ASCII.sub(
                lambda found: "".join(f"\\{o:02X}" for o in found[0].encode()), str(signer["issuer"])
            )
            lines.append(f"body.smime-issuer={_value(issuer)}")
    marks = "".join(f";\r\n\tx-trust-space=fail header.from={_value(domain)}" for domain in unproven)
    return _field("Authentication-Results", f"{lines[0]};\r\n\t" + "\r\n\t".join(lines[1:]) + marks)


def strip(message: Message, data: Octets, authserv_id: str) -> bytes:
    """The top header, empty line included, without what only we may say.

    Removed are: every Authentication-Results in our name, or in none that can be read (RFC 8601 §5); Return-Path
    (RFC 5321 §4.4); and lines before the first field that begin with white space, for they would become part of the
    field that we put above them. `data`: the whole message or its header.
    """
    header = data[: message.root.body_start]
    loose = _LOOSE_LINES.match(header)
    if loose is not None:
        header = header[loose.end() :]
    ours = ascii_domain(authserv_id) or authserv_id.lower()

    def judge(match: re.Match[bytes]) -> bytes:
        if match[1] is not None:
            named = _authserv_id(match[2].decode("latin-1"))
            if named is not None and named != ours:
                return match[0]
        return b""

    return _OURS.sub(judge, header)


def _authserv_id(value: str) -> str | None:
    """The authserv-id of a raw value in the form that is compared, None when there is none (RFC 8601 §2.2)."""
    depth, at = 0, 0
    plain: list[str] = []
    # Comments may stand before it, nested and folded.
    for match in _COMMENT_STEP.finditer(value):
        if match[0] == "(":
            if depth == 0:
                plain.append(value[at : match.start()])
            depth += 1
        elif match[0] == ")" and depth:
            depth -= 1
            at = match.end()
    if depth == 0:
        plain.append(value[at:])
    found = _AUTHSERV_ID.match(" ".join(plain))
    if found is None:
        return None
    named = headers.utf8(found[2] if found[1] is None else re.sub(r"\\(.)", r"\1", found[1], flags=re.DOTALL)).strip()
    return ascii_domain(named) or named.lower() or None


def _field(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("utf-8", "replace")


def _one_line(text: str) -> str:
    return headers.printable(text[:_VALUE])


def _comment(text: str) -> str:
    return re.sub(r"[()\\]", " ", _one_line(text))


def _value(text: str) -> str:
    text = _one_line(text)
    if _TOKEN_VALUE.fullmatch(text) or _ADDRESS_VALUE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
