"""What the header of a part says of it: type, parameters, encoding, disposition (RFC 2045, RFC 2183, RFC 3282)."""

from __future__ import annotations

import re
from collections.abc import Callable

from server.mail import headers, parameters
from server.mail.headers import Field
from server.mail.parameters import Fault, Parsed
from server.mail.structure import ONLY_ONE, Finding, Part

IDENTITY = frozenset({"7bit", "8bit", "binary"})  # transfer encodings that change nothing (RFC 2045 §6.2)
_ENCODINGS = IDENTITY | {"base64", "quoted-printable"}
# RFC 2046 §5.1.1: bchars, not ending with a space, 1 to 70 of them.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_BOUNDARY_LENGTH = 256  # a longer boundary is not followed: over 70 characters none is valid, yet some are sent
_LANGUAGES = 20  # RFC 3282 sets no limit; a part has one or two
_FAULTS = {
    Fault.BAD: Finding.BAD_PARAMETER,
    Fault.TWICE: Finding.DUPLICATE_PARAMETER,
    Fault.TOO_MANY: Finding.TOO_MANY_PARAMETERS,
}
_TWICE = {
    "content-type": Finding.TWO_CONTENT_TYPES,
    "content-transfer-encoding": Finding.TWO_ENCODINGS,
    "content-disposition": Finding.TWO_DISPOSITIONS,
}


def describe(part: Part, block: bytes, findings: set[Finding]) -> headers.Block:
    """Fill in `part` from its header block, the first field of each name; what is wrong goes to `findings`."""
    read = headers.read(block, part.header_start)
    if read.broken:
        findings.add(Finding.BAD_HEADER_LINE)
    if read.more:
        findings.add(Finding.TOO_MANY_HEADERS)
    if not block.isascii() and not _is_utf8(block):
        findings.add(Finding.EIGHT_BIT_HEADER)
    check_endings(block.count(b"\n"), block.count(b"\r"), block.count(b"\r\n"), findings)
    seen: set[str] = set()
    for field in read.fields:
        fill = _FILL.get(field.name)
        if fill is None:
            continue
        if field.name not in seen:
            seen.add(field.name)
            fill(part, headers.raw(block, field, part.header_start), findings)
        elif field.name in _TWICE:
            findings.add(_TWICE[field.name])
    return read


def check_single(fields: list[Field], findings: set[Finding]) -> None:
    """RFC 5322 §3.6: From, Sender and their like stand at most once in the header of a message."""
    seen: set[str] = set()
    for field in fields:
        finding = ONLY_ONE.get(field.name)
        if finding is not None:
            if field.name in seen:
                findings.add(finding)
            seen.add(field.name)


def check_endings(lf: int, cr: int, both: int, findings: set[Finding]) -> None:
    """RFC 5322 §2.3: CR and LF only together. Counts of LF, CR and CR LF in one area."""
    if lf > both:
        findings.add(Finding.BARE_LF)
    if cr > both:
        findings.add(Finding.BARE_CR)


def boundary(part: Part, findings: set[Finding]) -> bytes | None:
    """The boundary that readers would use, None for none that can be; what makes it doubtful is told."""
    value = parameters.get(part.params, "boundary")
    if parameters.encoded(part.params, "boundary"):
        findings.add(Finding.ENCODED_BOUNDARY)
        value = value if value is not None else parameters.decoded(part.params, "boundary")
    value = (value or "").rstrip(" \t")
    if value.startswith("=?") and value.endswith("?="):
        findings.add(Finding.ENCODED_BOUNDARY)
    if not value or len(value) > _BOUNDARY_LENGTH or "\n" in value or "\r" in value:
        findings.add(Finding.NO_BOUNDARY)
        return None
    if _BOUNDARY.fullmatch(value) is None:
        findings.add(Finding.BAD_BOUNDARY)
    return value.encode("latin-1", "replace")


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _faults(parsed: Parsed, findings: set[Finding]) -> None:
    findings.update(_FAULTS[fault] for fault in parsed.faults)


def _content_type(part: Part, value: str, findings: set[Finding]) -> None:
    parsed = parameters.content_type(value)
    _faults(parsed, findings)
    if parsed.value:
        part.type, _, part.subtype = parsed.value.partition("/")
        part.params = parsed.parameters
    else:
        # RFC 2045 §5.2: what cannot be read is plain text.
        findings.add(Finding.BAD_CONTENT_TYPE)
        part.type, part.subtype = "text", "plain"


def _encoding(part: Part, value: str, findings: set[Finding]) -> None:
    word = value.partition(";")[0].partition("(")[0].strip().lower()
    if word not in _ENCODINGS:
        findings.add(Finding.UNKNOWN_ENCODING)
    part.encoding = word or "7bit"


def _disposition(part: Part, value: str, findings: set[Finding]) -> None:
    parsed = parameters.disposition(value)
    _faults(parsed, findings)
    part.disposition, part.disposition_params = parsed.value, parsed.parameters


def _content_id(part: Part, value: str, _: set[Finding]) -> None:
    part.content_id = value


def _description(part: Part, value: str, _: set[Finding]) -> None:
    part.description = value


def _language(part: Part, value: str, _: set[Finding]) -> None:
    part.language = tuple(tag for item in value.split(",", _LANGUAGES)[:_LANGUAGES] if (tag := item.strip()))


def _location(part: Part, value: str, _: set[Finding]) -> None:
    part.location = value


def _md5(part: Part, value: str, _: set[Finding]) -> None:
    part.md5 = value


_FILL: dict[str, Callable[[Part, str, set[Finding]], None]] = {
    "content-type": _content_type,
    "content-transfer-encoding": _encoding,
    "content-disposition": _disposition,
    "content-id": _content_id,
    "content-description": _description,
    "content-language": _language,
    "content-location": _location,
    "content-md5": _md5,
}
