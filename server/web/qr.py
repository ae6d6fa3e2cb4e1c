"""QR codes drawn into a page: one path, no image library and no third party."""

from __future__ import annotations

from dataclasses import dataclass

import segno

_QUIET = 4  # modules of margin: ISO/IEC 18004 §9.1


@dataclass(frozen=True, slots=True)
class Drawing:
    """The path of the dark modules, and the side of the drawing in modules."""

    path: str
    side: int


def draw(text: str) -> Drawing:
    """The code of a text, with error correction M."""
    matrix = segno.make_qr(text, error="m").matrix
    squares = [
        f"M{column + _QUIET} {row + _QUIET}h1v1h-1z"
        for row, modules in enumerate(matrix)
        for column, dark in enumerate(modules)
        if dark
    ]
    return Drawing("".join(squares), len(matrix) + 2 * _QUIET)
