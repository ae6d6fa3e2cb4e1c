"""xtext: any text as printable ASCII without space, "+" or "=" (RFC 3461 §4), as ENVID and ORCPT are written.

xtext   = *( xchar / hexchar )
xchar   = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits
"""

from __future__ import annotations

import re

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")


def decode(text: str) -> str | None:
    """The text that `text` stands for; None when it is no xtext, or stands for something not printable ASCII."""
    if not _XTEXT.fullmatch(text):
        return None
    plain = _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), text) if "+" in text else text
    # RFC 3461 §4.2, §4.4: graphic characters and space of US-ASCII.
    return plain if plain.isascii() and plain.isprintable() else None
