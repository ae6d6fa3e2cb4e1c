"""What a prescription shows on its paper: the QR code that leads to it, its number, and the digits that open it.

Drawn at the bottom left of the first page, as an incremental update before the signature, so that the signature covers
it. Vector graphics: no image library, sharp at any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Final

import segno
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError

from crypto.errors import CryptoError

MARGIN: Final = 28.0  # points: 1 cm
SIDE: Final = 85.0  # 3 cm: read by a telephone from a hand's breadth
QUIET: Final = 4  # modules of white around (ISO/IEC 18004 §6.3.8)
TEXT: Final = 8.0  # points
LEADING: Final = 11.0
_FONT: Final = "/CaduceeHelvetica"  # a name that no resource of the page has


def imprint(pdf: bytes, target: str, lines: Sequence[str]) -> bytes:
    """The document with a QR code of `target` and `lines` beside it. Raises CryptoError: it cannot be written to."""
    try:
        writer = IncrementalPdfFileWriter(BytesIO(pdf))
        if writer.prev.embedded_signatures:
            raise CryptoError("the document is signed already: what is drawn on it now would break its signature")
        stream = writer.add_object(generic.StreamObject(stream_data=_drawing(target, lines)))
        writer.add_stream_to_page(0, stream, resources=_resources())
        out = BytesIO()
        writer.write(out)
    except (
        PdfError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as error:  # of broken documents
        raise CryptoError(f"the document cannot be written to ({type(error).__name__})") from None
    return out.getvalue()


def _drawing(target: str, lines: Sequence[str]) -> bytes:
    matrix = segno.make_qr(target, error="m").matrix
    module = SIDE / (len(matrix) + 2 * QUIET)
    drawn = [f"q 1 g {MARGIN} {MARGIN} {SIDE} {SIDE} re f 0 g"]
    for row, modules in enumerate(matrix):
        bottom = MARGIN + SIDE - (row + 1 + QUIET) * module
        drawn += [
            f"{MARGIN + (column + QUIET) * module:.3f} {bottom:.3f} {module:.3f} {module:.3f} re"
            for column, dark in enumerate(modules)
            if dark
        ]
    top = MARGIN + SIDE - 2 * LEADING
    drawn.append(f"f BT {_FONT} {TEXT} Tf {LEADING} TL {MARGIN + SIDE + TEXT} {top:.3f} Td")
    drawn += [f"({_escaped(line)}) Tj T*" for line in lines]
    drawn.append("ET Q")
    return "\n".join(drawn).encode("cp1252", "replace")


def _resources() -> generic.DictionaryObject:
    name = generic.pdf_name
    font = {
        name("/Type"): name("/Font"),
        name("/Subtype"): name("/Type1"),
        name("/BaseFont"): name("/Helvetica"),
        name("/Encoding"): name("/WinAnsiEncoding"),
    }
    fonts = generic.DictionaryObject({name(_FONT): generic.DictionaryObject(font)})
    return generic.DictionaryObject({name("/Font"): fonts})


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
