"""Transfer encodings that pass: whatever the pieces, what comes out is that of the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.mail import content

TRICKY = st.text("=\r\nAa3F \t_", max_size=60).map(str.encode)


@pytest.mark.parametrize("encoding", sorted(content.DECODERS))
@given(st.lists(TRICKY, max_size=8))
def test_pieces_decode_as_the_whole(encoding: str, pieces: list[bytes]) -> None:
    decoder = content.DECODERS[encoding]()
    told = b"".join(map(decoder.update, pieces)) + decoder.finish()
    assert told == content.octets(b"".join(pieces), encoding)
