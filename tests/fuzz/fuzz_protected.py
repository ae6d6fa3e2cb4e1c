"""Any bytes as the header of what is signed.

Invariant: `protected` and `changed` raise nothing; what is protected names no field of structure, and a message under
exactly the header that the sender put outside has changed in nothing.
"""

from __future__ import annotations

from server.mail import headers
from server.mail.protected import changed, protected


def fuzz(data: bytes) -> None:
    found = protected(data)
    assert not any(name.startswith(("content-", "mime-version", "hp-outer")) for name in found.fields)
    block = data.partition(b"\r\n\r\n")[0]
    changed(found, block, headers.read(block).fields)
    outside = b"".join(
        f"{name}: {value}\r\n".encode("latin-1")
        for name, values in found.outside.items()
        for value in values
        if name in found.fields and name.isascii()
    )
    if b"\n" not in outside.replace(b"\r\n", b"") and b"\r" not in outside.replace(b"\r\n", b""):
        assert changed(found, outside, headers.read(outside).fields) == ()
