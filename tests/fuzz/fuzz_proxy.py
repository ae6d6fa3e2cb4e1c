"""Invariant: the bytes of a new connection are a PROXY header, the beginning of one, or refused, however they are cut:
never more than PROXY_HEADER_BYTES are waited for, what was refused stays refused, and a client's address is an address.
"""

from __future__ import annotations

import ipaddress

from server.base.errors import ProtocolViolation
from server.base.limits import PROXY_HEADER_BYTES
from server.base.proxy import SIGNATURE, Header, parse


def fuzz(data: bytes) -> None:
    read(data)
    read(SIGNATURE + data)


def read(data: bytes) -> None:
    whole = outcome(data)
    for end in range(min(len(data), 64)):
        early = outcome(data[:end])
        assert early in (None, whole)
    if whole is None:
        assert len(data) < PROXY_HEADER_BYTES
    if isinstance(whole, Header):
        assert data.startswith(SIGNATURE)
        assert len(SIGNATURE) + 4 <= whole.octets <= min(len(data), PROXY_HEADER_BYTES)
        assert outcome(data[: whole.octets]) == whole
        if whole.client is not None:
            ipaddress.ip_address(whole.client[0])
            assert 0 <= whole.client[1] <= 65_535


def outcome(data: bytes) -> Header | str | None:
    try:
        return parse(data)
    except ProtocolViolation:
        return "refused"
