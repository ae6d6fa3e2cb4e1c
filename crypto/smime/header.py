"""Header protection (RFC 9788): the header of a message inside of what is signed or encrypted.

signed:     message(headers, signed_entity(protected_entity(entity, headers), …))
encrypted:  message(outer(headers), encrypted_entity(signed_entity(protected_entity(entity, headers,
            encrypted=True), …), …))
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from crypto.errors import CryptoError
from crypto.smime.sign import canonical, header_block

HIDDEN_SUBJECT: Final = "[...]"  # RFC 9788 §3.2.1
_REMOVED: Final = frozenset({"comments", "keywords"})
_CONTENT_TYPE = re.compile(rb"^content-type:[^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+", re.IGNORECASE | re.MULTILINE)


def protected_entity(entity: bytes, headers: Mapping[str, str], *, encrypted: bool = False) -> bytes:
    """`entity` with `headers` in its own header (RFC 9788 §5.2); for one that is `encrypted` also what will stand
    outside, so that its reader tells what was hidden from what was changed (HP-Outer, §2.2).

    Raises `CryptoError`: it has no Content-Type; ValueError: a header holds a line break.
    """
    block = header_block(headers)
    if encrypted:
        block += b"".join(header_block({"HP-Outer": f"{name}: {value}"}) for name, value in outer(headers).items())
    return with_header(entity, block, b"cipher" if encrypted else b"clear")


def with_header(entity: bytes, block: bytes, mark: bytes = b"clear") -> bytes:
    """The same with fields that are serialized already, and end with CRLF. Raises `CryptoError`."""
    header, empty_line, body = canonical(entity).partition(b"\r\n\r\n")
    found = _CONTENT_TYPE.search(header)
    if found is None or not empty_line:
        raise CryptoError("this MIME entity has no Content-Type")
    return block + header[: found.end()] + b';\r\n hp="%b"' % mark + header[found.end() :] + empty_line + body


def outer(headers: Mapping[str, str]) -> dict[str, str]:
    """What stands outside of an encrypted message (RFC 9788 §3.2.1, hcp_baseline): the subject is hidden, remarks and
    keywords are left out."""
    return {
        name: HIDDEN_SUBJECT if name.lower() == "subject" else value
        for name, value in headers.items()
        if name.lower() not in _REMOVED
    }
