"""Invariant: a text is a distinguished name or InvalidName; each value of a name, escaped, reads as itself."""

from __future__ import annotations

from directory.ldap import names


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        parts = names.read(text)
    except names.InvalidName:
        return
    assert bool(parts) == bool(text)
    written = ",".join("+".join(f"{kind}={names.escaped(value)}" for kind, value in part) for part in parts)
    if len(written) <= names.NAME_CHARACTERS:
        assert names.read(written) == parts
        assert names.parse(written) == names.parse(text)
