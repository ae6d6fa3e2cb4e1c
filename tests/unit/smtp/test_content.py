"""The lines of chunks: judged across their borders as if they had come in one piece."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.base.errors import ProtocolViolation
from server.transport.lines import Lines


@given(st.lists(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"]), max_size=4).map(b"".join), max_size=12))
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    lines = Lines()
    for piece in pieces:
        lines.add(piece)
    if re.search(rb"\r(?!\n)|(?<!\r)\n", b"".join(pieces)):
        with pytest.raises(ProtocolViolation):
            lines.check()
    else:
        lines.check()
